"""The writing side of the journal's file, without a thread around it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.errors import JournalCorrupt, JournalUnwritable
from ibkr_connector.orders import journal_file
from ibkr_connector.orders.journal_file import JournalFile, plain, read_head
from ibkr_connector.orders.journal_schema import MIGRATIONS
from ibkr_connector.store import Synchronous, connect, set_synchronous
from unit.orders.kit import NOW


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


@pytest.fixture
def file(path: Path) -> Iterator[JournalFile]:
    opened = JournalFile(path)
    yield opened
    opened.close()


def put(file: JournalFile, key: str, *, durable: bool = True) -> None:
    file.begin(durable=durable)
    file.put_audit(key, "", "{}", NOW)
    file.commit()


def keys(path: Path) -> list[str]:
    connection = connect(path, read_only=True)
    try:
        return [str(row[0]) for row in connection.execute("SELECT kind FROM audit ORDER BY seq")]
    finally:
        connection.close()


def is_open(file: JournalFile) -> bool:
    try:
        file._connection.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_the_text_of_a_value_does_not_depend_on_the_order_of_its_keys() -> None:
    assert plain({"b": Decimal("1.50"), "a": {2: None, 1: (True,)}}) == '{"a":{"1":[true],"2":null},"b":"1.50"}'


def test_opened_anew_it_goes_on_where_it_was(file: JournalFile, path: Path) -> None:
    put(file, "first")
    put(file, "behind", durable=False)
    log = path.parent / f"{path.name}-wal"
    log.rename(path.parent / "elsewhere")  # kept: the next log cannot have its number in the file system
    with pytest.raises(JournalUnwritable):
        file.require_log()
    file.reopen()
    for key in ("second", "third"):
        file.require_log()
        put(file, key)
    assert keys(path) == ["first", "behind", "second", "third"]
    assert file.head[0] == 4
    connection = connect(path, read_only=True)
    assert read_head(connection, path) == file.head
    connection.close()


def test_another_file_in_its_place_is_not_opened_anew(file: JournalFile, path: Path) -> None:
    put(file, "first")
    other = path.with_name("other")
    JournalFile(other).close()
    other.replace(path)
    with pytest.raises(JournalUnwritable, match="deleted, moved or replaced"):
        file.reopen()


def test_a_place_that_cannot_be_looked_at_is_an_error_of_ours_and_nothing_stays_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[JournalFile] = []
    real = Path.stat

    class Watched(JournalFile):
        def _begin_anew(self) -> None:
            made.append(self)
            monkeypatch.setattr(Path, "stat", fails)
            super()._begin_anew()

    def fails(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.name.endswith("-wal"):
            raise PermissionError(13, "no permission")
        return real(self, follow_symlinks=follow_symlinks)

    with pytest.raises(JournalUnwritable, match="no permission"):
        Watched(path)
    assert not is_open(made[0])


def test_only_a_durable_transaction_waits_for_the_disk(file: JournalFile, monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[Synchronous] = []

    def watched(connection: sqlite3.Connection, level: Synchronous) -> None:
        levels.append(level)
        set_synchronous(connection, level)

    monkeypatch.setattr(journal_file, "set_synchronous", watched)
    for durable in (True, False, False, True, True, False):
        put(file, "x", durable=durable)
    assert levels == ["NORMAL", "FULL", "NORMAL"]
    assert file._connection.execute("PRAGMA synchronous").fetchone() == (1,)


def test_what_was_undone_leaves_no_gap_in_the_trail(file: JournalFile, path: Path) -> None:
    put(file, "first")
    head = file.head
    file.begin(durable=True)
    file.put_audit("undone", "", "{}", NOW)
    assert file.head == head
    file.rollback()
    file.rollback()
    file.begin(durable=True)
    with pytest.raises(KeyError), file.part():
        file.put_audit("undone part", "", "{}", NOW)
        raise KeyError
    with file.part():
        file.put_audit("second", "", "{}", NOW)
    file.commit()
    assert keys(path) == ["first", "second"]
    assert file.head[0] == head[0] + 1
    assert len(MIGRATIONS) == 2


def test_the_noted_head_is_touched_only_with_the_trail(file: JournalFile) -> None:
    changes = file._connection.total_changes
    file.begin(durable=True)
    file.commit()
    assert file._connection.total_changes == changes
    put(file, "line")
    assert file._connection.total_changes == changes + 2  # the line, and the head


def test_a_durable_transaction_always_changes_something(file: JournalFile) -> None:
    """What changes nothing does not wait for the disk, and what was written behind would not be durable after it."""
    changes = file._connection.total_changes
    for _ in range(2):
        file.begin(durable=True)
        file.touch()
        file.commit()
    assert file._connection.total_changes == changes + 2


def test_a_checkpoint_moves_the_log_into_the_database(file: JournalFile, path: Path) -> None:
    for number, key in enumerate(("first", "second")):
        put(file, key)
        file.checkpoint()
        alone = path.with_name(f"alone{number}")
        shutil.copy(path, alone)  # without its log
        assert keys(alone) == ["first", "second"][: number + 1]


@pytest.mark.parametrize(
    "statement", ["UPDATE meta SET value = 'nonsense' WHERE key = 'audit.head'", "DROP TABLE meta"]
)
def test_a_head_that_cannot_be_read_is_damage_and_nothing_stays_open(
    file: JournalFile, path: Path, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(file, "first")
    file._connection.execute(statement)
    made: list[JournalFile] = []

    class Watched(JournalFile):
        def _begin_anew(self) -> None:
            made.append(self)
            super()._begin_anew()

    with pytest.raises(JournalCorrupt):
        Watched(path)
    assert not is_open(made[0])
