"""A journal that is deleted, moved or replaced while it is used: nothing may be committed where nobody will look."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import JournalError, JournalUnwritable
from ibkr_connector.orders.journal import FILE_NAME, LOCK_NAME, Journal
from unit.orders.kit import ACCOUNT, NOW, REF, changing, request, sending, sent

Spoil = Callable[[Path], None]


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def troubles() -> list[JournalError]:
    return []


@pytest.fixture
def opened(state_dir: Path, troubles: list[JournalError]) -> Iterator[Journal]:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    journal.on_trouble(troubles.append)
    yield journal
    journal.close()


def folder(state_dir: Path) -> Path:
    return state_dir / ACCOUNT


def delete_everything(where: Path) -> None:
    for file in list(where.iterdir()):
        file.unlink()


def delete_the_database(where: Path) -> None:
    (where / FILE_NAME).unlink()


def delete_the_lock(where: Path) -> None:
    (where / LOCK_NAME).unlink()


def replace_the_database(where: Path) -> None:
    shutil.copy(where / FILE_NAME, where / "copy")
    (where / "copy").replace(where / FILE_NAME)


def replace_the_lock(where: Path) -> None:
    (where / "other").touch()
    (where / "other").replace(where / LOCK_NAME)


def move_the_folder(where: Path) -> None:
    where.rename(where.with_name("elsewhere"))


SPOILERS: list[Spoil] = [
    delete_everything,
    delete_the_database,
    delete_the_lock,
    replace_the_database,
    replace_the_lock,
    move_the_folder,
]


@pytest.mark.parametrize("spoil", SPOILERS)
async def test_nothing_is_committed_into_a_file_that_nobody_will_find(
    opened: Journal, state_dir: Path, troubles: list[JournalError], spoil: Spoil
) -> None:
    await opened.commit_sending([sending("BEFORE", 1)])
    spoil(folder(state_dir))
    with pytest.raises(JournalUnwritable, match="deleted, moved or replaced") as caught:
        await opened.commit_sending([sending("AFTER", 2)])
    assert "Put the file back" in caught.value.remedy
    assert not opened.writable
    with pytest.raises(JournalUnwritable):
        await opened.commit_change(changing(sent(request(order_ref="BEFORE")), quantity=5))
    assert len(troubles) == 1  # told once


@pytest.mark.parametrize("spoil", [delete_everything, replace_the_database])
async def test_it_stays_so_however_often_it_is_tried_again(opened: Journal, state_dir: Path, spoil: Spoil) -> None:
    """Opening the path anew would begin an empty journal and call that a repair."""
    spoil(folder(state_dir))
    for number in range(3):
        with pytest.raises(JournalUnwritable):
            await opened.commit_sending([sending(f"R{number}", number + 1)])
    rows = []
    if (folder(state_dir) / FILE_NAME).exists():
        with sqlite3.connect(folder(state_dir) / FILE_NAME) as connection:
            rows = connection.execute("SELECT ref FROM orders").fetchall()
        connection.close()
    assert rows == []
    assert not opened.writable


async def test_put_back_it_goes_on_with_what_was_recorded_meanwhile(opened: Journal, state_dir: Path) -> None:
    await opened.commit_sending([sending("BEFORE", 1)])
    move_the_folder(folder(state_dir))
    with pytest.raises(JournalUnwritable):
        await opened.commit_sending([sending("MEANWHILE", 2)])
    opened.put_meta("recorded", True)
    folder(state_dir).with_name("elsewhere").rename(folder(state_dir))
    await opened.commit_sending([sending("AFTER", 3)])
    assert opened.writable
    assert {order.ref for order in opened.load()} == {"BEFORE", "AFTER"}
    assert opened._reader.meta() == {"recorded": True}
    assert opened.verify().ok


async def test_deleted_log_is_noticed_and_what_was_in_it_is_saved(
    opened: Journal, state_dir: Path, troubles: list[JournalError]
) -> None:
    """The write-ahead log holds the newest orders: without its name they would be lost with the process."""
    await opened.commit_sending([sending("LOGGED", 1)])
    (folder(state_dir) / f"{FILE_NAME}-wal").unlink()
    with pytest.raises(JournalUnwritable, match="-wal"):
        await opened.commit_sending([sending("AFTER", 2)])
    await opened.commit_sending([sending("AFTER", 2)])
    assert len(troubles) == 1
    assert {order.ref for order in opened.load()} == {"LOGGED", "AFTER"}


async def test_recorded_behind_it_is_noticed_without_any_order(opened: Journal, state_dir: Path) -> None:
    told = threading.Event()
    opened.on_trouble(lambda _: told.set())
    delete_everything(folder(state_dir))
    opened.put_meta("key", 1)
    assert await asyncio.to_thread(told.wait, 20)
    assert not opened.writable


async def test_second_process_in_the_place_of_the_first_keeps_what_it_writes(opened: Journal, state_dir: Path) -> None:
    """SQLite removes the log by its name when it closes: the first one's end must not take the second one's along."""
    await opened.commit_sending([sending("FIRST", 1)])
    delete_everything(folder(state_dir))
    with pytest.raises(JournalUnwritable):
        await opened.commit_sending([sending("LOST", 2)])
    second = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    try:
        await second.commit_sending([sending("SECOND", 1)])
        await asyncio.to_thread(opened.close)
        assert (folder(state_dir) / f"{FILE_NAME}-wal").exists()
        await second.commit_sending([sending("THIRD", 2)])
        assert second.writable
    finally:
        second.close()
    third = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    assert {order.ref for order in third.load()} == {"SECOND", "THIRD"}
    third.close()


async def test_place_that_cannot_be_looked_at_is_no_place(
    opened: Journal, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat

    def broken(path: object, *args: object, **values: object) -> os.stat_result:
        if str(path).endswith(FILE_NAME):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **values)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", broken)
        with pytest.raises(JournalUnwritable, match="Permission denied"):
            await opened.commit_sending([sending()])
    await opened.commit_sending([sending()])
    assert [order.ref for order in opened.load()] == [REF]
