"""What becomes of one piece of work for the writer: kept, given up, undone, each exactly once and under the lock."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.clock import ManualClock, SystemClock
from ibkr_connector.errors import JournalError, JournalUnwritable, OrderValidationError
from ibkr_connector.orders import journal_queue
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.journal_file import JournalFile
from ibkr_connector.orders.journal_queue import Item, Write
from unit.orders.kit import ACCOUNT, NOW

PATIENCE = 0.05


def line(kind: str) -> Write:
    """Work that leaves a line in the audit trail."""

    def write(file: JournalFile) -> None:
        file.put_audit(kind, "", "{}", NOW)

    return write


def order() -> Item:
    return Item(line("done"), undo=line("undone"))


def lines(journal: Journal) -> list[str]:
    return [one.kind for one in journal.audit_lines(0)]


class Disk:
    """The writer's transactions: they can be made to fail, and to wait at one step."""

    def __init__(self, journal: Journal, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        real: Callable[..., None] = getattr(journal._file, step)

        def tried(**options: bool) -> None:
            self.reached.set()
            assert self.go_on.wait(10)
            if self.fails:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
                raise error
            real(**options)

        monkeypatch.setattr(journal._file, step, tried)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Journal]:
    """Written on the calling thread."""
    journal = Journal.open(tmp_path / "plain", ACCOUNT, ManualClock(NOW), threaded=False)
    yield journal
    journal.close()


@pytest.fixture
def threaded(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "threaded", ACCOUNT, SystemClock())
    yield journal
    journal.close()


async def test_what_is_on_the_disk_already_is_not_written_again_when_it_is_kept(plain: Journal) -> None:
    item = order()
    await plain._queue.durable(item)
    assert plain._queue.keep(item) is False
    await plain.flush()
    assert lines(plain) == ["done"]


async def test_what_is_on_the_disk_already_is_undone_when_it_is_given_up(plain: Journal) -> None:
    """The caller is told that nothing was sent: a restart must not take it for an order at the broker."""
    item = order()
    await plain._queue.durable(item)
    plain._queue.give_up(item)
    assert lines(plain) == ["done", "undone"]
    for_good = Item(line("for good"))
    await plain._queue.durable(for_good)
    plain._queue.give_up(for_good)
    assert lines(plain) == ["done", "undone", "for good"]


@pytest.mark.parametrize("keeps", [True, False])
async def test_what_the_disk_refused_leaves_nothing_to_undo_and_is_written_when_it_is_kept(
    plain: Journal, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    disk, item = Disk(plain, "begin", monkeypatch), order()
    disk.fails = True
    with pytest.raises(JournalUnwritable, match="disk is full"):
        await plain._queue.durable(item)
    if keeps:
        assert plain._queue.keep(item) is True
    else:
        plain._queue.give_up(item)
    disk.fails = False
    await plain.flush()
    assert lines(plain) == (["done"] if keeps else [])


def test_what_is_given_up_before_the_writer_comes_to_it_is_neither_written_nor_undone(plain: Journal) -> None:
    item = order()
    plain._queue.give_up(item)
    assert plain._queue.hand_over(item)
    assert lines(plain) == []
    plain._queue.hand_over(Item(line("the next")))
    assert lines(plain) == ["the next"]


def test_what_is_kept_is_written_also_when_its_caller_has_left(plain: Journal) -> None:
    """It was sent without the disk: nobody else remembers it."""
    item = order()
    assert plain._queue.keep(item) is True
    item.gone = lambda: True
    item.fate = journal_queue._Fate.KEPT
    assert plain._queue.hand_over(item)
    assert "done" in lines(plain)


async def test_what_is_for_good_asks_for_nothing_when_it_is_given_up(
    plain: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = Item(line("for good"))
    await plain._queue.durable(item)
    handed: list[Item] = []
    monkeypatch.setattr(plain._queue, "hand_over", handed.append)
    plain._queue.give_up(item)
    assert handed == []


async def test_what_is_kept_in_the_last_moment_stays_in_memory_for_as_long_as_the_disk_fails(
    threaded: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, again = threaded._queue, list[bool]()

    def decide(_: JournalFile) -> None:
        assert writer.keep(item) is True
        raise OrderValidationError("used before")

    settle = writer._settle

    def looked_at(one: Item) -> None:
        settle(one)
        again.extend(late.vital for late in writer._backlog)

    monkeypatch.setattr(writer, "_settle", looked_at)
    item = Item(line("done"), check=decide)
    with contextlib.suppress(OrderValidationError):
        await writer.durable(item)
    assert again[:1] == [True]


async def test_what_has_nothing_to_undo_is_given_up_without_a_complaint(
    plain: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    item = Item(line("done"), check=lambda _: plain._queue.give_up(item))
    await plain._queue.durable(item)
    await plain.flush()
    assert lines(plain) == ["done"]
    assert caplog.text == ""


async def test_what_is_given_up_twice_is_undone_once(threaded: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, item = Disk(threaded, "commit", monkeypatch), order()
    disk.go_on.clear()
    with pytest.raises(JournalUnwritable, match="has not answered"):
        await threaded._queue.durable(item, PATIENCE)
    assert disk.reached.wait(10)
    for _ in range(2):
        threaded._queue.give_up(item)
    disk.go_on.set()
    await threaded.flush()
    assert lines(threaded) == ["done", "undone"]


@pytest.mark.parametrize("fails", [False, True], ids=["hangs", "hangs, then fails"])
async def test_a_disk_that_goes_on_hanging_is_told_once(
    threaded: Journal, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """One alert for one trouble: the hundredth about the same disk would hide all others."""
    told: list[JournalError] = []
    threaded.on_trouble(told.append)
    disk = Disk(threaded, "begin", monkeypatch)
    disk.go_on.clear()
    for _ in range(3):
        with pytest.raises(JournalUnwritable, match="has not answered"):
            await threaded._queue.durable(Item(line("never")), PATIENCE)
    assert len(told) == 1
    disk.fails = fails
    disk.go_on.set()
    if fails:
        with pytest.raises(JournalUnwritable, match="disk is full"):
            await threaded.flush()
        disk.fails = False
    await threaded.flush()
    assert len(told) == 1
    disk.fails = True  # another trouble
    with pytest.raises(JournalUnwritable, match="disk is full"):
        await threaded.flush()
    assert len(told) == 2
    disk.go_on.clear()  # the same one: now it hangs, too
    with pytest.raises(JournalUnwritable, match="has not answered"):
        await threaded._queue.durable(Item(line("never")), PATIENCE)
    assert len(told) == 2
    disk.fails = False
    disk.go_on.set()


async def test_a_commit_that_fails_after_its_caller_left_is_nobodys_surprise(
    threaded: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller was told already: asyncio must not report an error that nobody took, as if one had been lost."""
    surprises: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: surprises.append(context))
    disk = Disk(threaded, "begin", monkeypatch)
    disk.go_on.clear()
    with pytest.raises(JournalUnwritable, match="has not answered"):
        await threaded._queue.durable(Item(line("never")), PATIENCE)
    disk.fails = True
    disk.go_on.set()
    with pytest.raises(JournalUnwritable, match="disk is full"):
        await threaded.flush()
    disk.fails = False
    await threaded.flush()
    gc.collect()
    assert surprises == []


@pytest.mark.parametrize("outcome", ["given up", "kept"])
async def test_what_is_decided_while_it_is_written_is_made_good_without_any_traffic(
    threaded: Journal, outcome: str
) -> None:
    """Else an order that was never sent stays in the journal as sent until the next one comes, or for good."""
    synced = threading.Semaphore(0)
    threaded.on_durable(synced.release)
    writer = threaded._queue

    def decide(_: JournalFile) -> None:
        if outcome == "given up":
            writer.give_up(item)
        else:
            assert writer.keep(item) is True
            raise OrderValidationError("used before")

    item = Item(line("done"), check=decide, undo=line("undone"))
    with contextlib.suppress(OrderValidationError):
        await writer.durable(item)
    for _ in range(2):  # its own transaction, and the one that makes it good
        assert await asyncio.to_thread(synced.acquire, timeout=10)
    assert lines(threaded) == (["done", "undone"] if outcome == "given up" else ["done"])


async def test_what_was_kept_while_the_disk_hung_outlasts_all_that_the_broker_tells_again(
    threaded: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an order that went out past the journal nobody else knows that it was ours."""
    monkeypatch.setattr(journal_queue, "_BACKLOG", 3)
    disk, item = Disk(threaded, "begin", monkeypatch), order()
    disk.go_on.clear()
    with pytest.raises(JournalUnwritable, match="has not answered"):
        await threaded._queue.durable(item, PATIENCE)
    assert threaded._queue.keep(item) is True
    disk.fails = True
    disk.go_on.set()
    for number in range(5):
        threaded._queue.hand_over(Item(line(f"told again {number}")))
    with pytest.raises(JournalUnwritable, match="disk is full"):
        await threaded.flush()
    disk.fails = False
    await threaded.flush()
    found = lines(threaded)
    assert found[0] == "done"
    assert "told again 0" not in found
    assert found[-1] == "told again 4"


class Guarded(Item):
    """Notes whether the lock was held whenever its fate changed."""

    __slots__ = ("_fate", "changed", "lock")

    def __init__(self, lock: threading.Lock, write: Write, **options: Any) -> None:
        self.lock = lock
        super().__init__(write, **options)
        self.changed: list[bool] = []

    @property
    def fate(self) -> Any:
        return self._fate

    @fate.setter
    def fate(self, value: Any) -> None:
        self._fate = value
        if hasattr(self, "changed"):
            self.changed.append(self.lock.locked())


async def test_writer_and_waiter_change_a_fate_under_one_lock(plain: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a look at the fate and its change the other side could finish: an order kept twice, or never undone."""
    writer = plain._queue
    settled, refused, kept, given_up = (Guarded(writer._fates, line("x"), undo=line("y")) for _ in range(4))
    await writer.durable(settled)
    writer.keep(kept)
    writer.give_up(given_up)
    disk = Disk(plain, "begin", monkeypatch)
    disk.fails = True
    with pytest.raises(JournalUnwritable):
        await writer.durable(refused)
    disk.fails = False
    assert [one.changed for one in (settled, refused, kept, given_up)] == [[True]] * 4


def test_a_forked_child_writes_nothing_and_waits_for_nobody(threaded: Journal) -> None:
    """File, thread and lock are the parent's; a lock that somebody held at the fork is never given back there."""
    writer = threaded._queue
    held = writer._closing
    with held:
        writer.leave_to_parent()
        assert writer._closing is not held
        assert writer.hand_over(order()) is False
        assert writer.close(1.0) is False
        assert not threaded.writable
    writer._closing, writer._closed = held, False  # we are the parent, after all


def test_every_open_journal_is_left_to_the_parent_at_a_fork(threaded: Journal) -> None:
    writer = threaded._queue
    held = writer._closing
    journal_queue._leave_to_parent()
    assert writer.hand_over(order()) is False
    writer._closing, writer._closed = held, False  # we are the parent, after all
