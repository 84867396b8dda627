"""Small values that a caller waits for: on the disk when the call returns, or an error that says they are not."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibkr_connector.clock import SystemClock
from ibkr_connector.errors import JournalUnwritable
from ibkr_connector.orders.journal import Journal, JournalReader

ACCOUNT = "DU1"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path, ACCOUNT, SystemClock())
    yield journal
    journal.close()


def on_disk(journal: Journal) -> object:
    return JournalReader(journal._file.path).meta().get("state")


def fill(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(journal._file, "commit", commit)


@pytest.mark.parametrize("insist", [False, True])
def test_value_is_on_the_disk_when_the_call_returns(opened: Journal, insist: bool) -> None:
    opened.keep_meta("state", {"a": 1}, insist=insist)
    assert on_disk(opened) == {"a": 1}
    assert opened.meta("state") == {"a": 1}


def test_value_that_cannot_be_kept_is_not_kept_later(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.keep_meta("state", "old")
    with monkeypatch.context() as broken:
        fill(opened, broken)
        with pytest.raises(JournalUnwritable):
            opened.keep_meta("state", "new")
    opened.close()
    assert on_disk(opened) == "old"
    assert opened.meta("state") == "old"


def test_value_insisted_on_is_kept_as_soon_as_the_disk_is_back(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.keep_meta("state", "old")
    with monkeypatch.context() as broken:
        fill(opened, broken)
        with pytest.raises(JournalUnwritable):
            opened.keep_meta("state", "new", insist=True)
        assert opened.meta("state") == "new"
        assert on_disk(opened) == "old"
    opened.close()
    assert on_disk(opened) == "new"


@pytest.mark.parametrize(("insist", "kept"), [(False, "old"), (True, "new")])
def test_disk_that_hangs_is_not_waited_for_beyond_the_patience(
    opened: Journal, monkeypatch: pytest.MonkeyPatch, insist: bool, kept: str
) -> None:
    opened.keep_meta("state", "old")
    reached, go_on = threading.Event(), threading.Event()
    begin = opened._file.begin

    def hangs(*, durable: bool) -> None:
        reached.set()
        assert go_on.wait(20)
        begin(durable=durable)

    monkeypatch.setattr(opened._file, "begin", hangs)
    with pytest.raises(JournalUnwritable, match="did not answer"):
        opened.keep_meta("state", "new", insist=insist, timeout=0.05)
    assert reached.wait(20)
    go_on.set()
    opened.close()
    assert on_disk(opened) == kept


def test_closed_journal_says_so(opened: Journal) -> None:
    opened.close()
    with pytest.raises(JournalUnwritable, match="closed"):
        opened.keep_meta("state", 1)
