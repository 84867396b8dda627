"""Commits that do not wait for ever: given up they are not on the disk; kept they are, in their place, in the end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ibkr_connector.clock import SystemClock
from ibkr_connector.errors import JournalError, JournalUnwritable, OrderValidationError
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import journal as journal_module, journal_queue
from ibkr_connector.orders.entries import SendingEntry
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.recover import recover
from unit.orders.kit import ACCOUNT, NOW, REF, UP, changing, echo, fill, request, sending, sent

PATIENCE = 0.05


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal.open(tmp_path / "state", ACCOUNT, SystemClock())
    yield journal
    journal.close()


def writable(journal: Journal) -> bool:
    return journal.writable


class Held:
    """The writer stops at one step of its transaction until it may go on."""

    def __init__(self, journal: Journal, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.fails = False
        real = getattr(journal._file, step)

        def held(**options: bool) -> None:
            self.reached.set()
            assert self.go_on.wait(10)
            if self.fails:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
                raise error
            real(**options)

        monkeypatch.setattr(journal._file, step, held)


@pytest.mark.parametrize("step", ["begin", "commit"])
async def test_a_commit_that_was_given_up_was_never_sent_wherever_the_writer_is(
    opened: Journal, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """INV-01: the same ref can be sent, and a restart does not take it for one that may be at the broker."""
    told: list[JournalError] = []
    opened.on_trouble(told.append)
    held = Held(opened, step, monkeypatch)
    with pytest.raises(JournalUnwritable, match="has not answered"):
        await opened.commit_sending([sending()], patience=PATIENCE, keep=lambda: False)
    assert held.reached.wait(10)
    assert not writable(opened)
    assert len(told) == 1
    held.go_on.set()
    await opened.flush()
    found = opened.find(REF)
    # What the writer had not written yet it leaves out; what it had is undone.
    assert (None if found is None else found.ended) == (None if step == "begin" else OrderState.NOT_SENT)
    assert (found is None) is (step == "begin")
    assert opened.load(NOW) == ([] if found is None else [found])
    assert writable(opened)
    assert await opened.commit_sending([sending()], patience=10.0)
    assert opened.verify().ok


@pytest.mark.parametrize("step", ["begin", "commit"])
@pytest.mark.parametrize("fails", [False, True], ids=["hangs", "hangs and fails"])
async def test_what_is_kept_is_written_before_what_happened_to_it_later(
    opened: Journal, monkeypatch: pytest.MonkeyPatch, step: str, fails: bool
) -> None:
    held = Held(opened, step, monkeypatch)
    held.fails = fails
    assert await opened.commit_sending([sending()], patience=PATIENCE, keep=lambda: True) is False
    record = sent()
    for fact in (echo(), fill(100)):
        for change in apply(record, fact, UP):
            opened.record(REF, change)
    held.go_on.set()
    if fails:
        with pytest.raises(JournalUnwritable):
            await opened.flush()
        held.fails = False
    await opened.flush()
    found = opened.find(REF)
    assert found is not None
    assert found.ended is OrderState.FILLED
    assert recover(found, UP)[0].fills == record.fills
    report = opened.verify()
    assert report.ok
    assert [line.kind for line in opened.audit_lines(0)].count("sending") == 1


async def test_a_change_is_kept_and_given_up_like_an_order(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    with monkeypatch.context() as patch:
        held = Held(opened, "commit", patch)
        with pytest.raises(JournalUnwritable):
            await opened.commit_change(changing(record, quantity=150), patience=PATIENCE)
        held.go_on.set()
        await opened.flush()
    found = opened.find(REF)
    assert found is not None
    assert [change.kind for change in found.changes][-2:] == ["modify_sent", "modify_not_sent"]
    held = Held(opened, "begin", monkeypatch)
    assert await opened.commit_change(changing(record, quantity=50), patience=PATIENCE, keep=lambda: True) is False
    held.go_on.set()
    await opened.flush()
    found = opened.find(REF)
    assert found is not None
    assert [change.kind for change in found.changes][-1] == "modify_sent"


async def test_a_ref_that_was_sent_is_not_kept_either(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """INV-01: a disk that cannot be written can most often be read."""
    await opened.commit_sending([sending()])
    held = Held(opened, "begin", monkeypatch)
    held.fails = True
    held.go_on.set()
    for _ in range(2):  # the second time the writer has no connection any more
        with pytest.raises(OrderValidationError, match="never sent again"):
            await opened.commit_sending([sending(order_id=12)], patience=PATIENCE, keep=lambda: True)
    assert await opened.commit_sending([sending("NEW", 12)], patience=10.0, keep=lambda: True) is False


async def test_what_the_broker_does_not_tell_again_stays_in_memory_when_the_rest_has_to_go(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_queue, "_BACKLOG", 3)
    held = Held(opened, "begin", monkeypatch)
    held.fails = True
    held.go_on.set()
    assert await opened.commit_sending([sending()], patience=10.0, keep=lambda: True) is False
    for number in range(5):
        opened.put_meta(f"key{number}", number)
    with pytest.raises(JournalUnwritable):
        await opened.flush()
    held.fails = False
    await opened.flush()
    assert opened.find(REF) is not None
    assert sorted(opened._reader.meta()) == ["key2", "key3", "key4"]


async def test_nothing_is_kept_by_a_journal_that_is_closed(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "state", ACCOUNT, SystemClock())
    journal.close()
    with pytest.raises(JournalUnwritable, match="closed"):
        await journal.commit_sending([sending(request=request())], patience=PATIENCE, keep=lambda: True)


async def test_a_caller_that_leaves_while_it_waits_with_patience_was_never_committed(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(opened, "begin", monkeypatch)
    task = asyncio.create_task(opened.commit_sending([sending()], patience=10.0, keep=lambda: True))
    assert await asyncio.to_thread(held.reached.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.go_on.set()
    await opened.flush()
    assert opened.find(REF) is None


async def test_what_may_not_go_on_is_refused_at_once_without_a_look_at_the_failing_disk(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr(opened._reader, "refuse_used", looked.append)
    held = Held(opened, "begin", monkeypatch)
    held.fails = True
    held.go_on.set()
    with pytest.raises(JournalUnwritable, match="disk is full"):
        await opened.commit_sending([sending()], patience=10.0, keep=lambda: False)
    assert looked == []


async def test_what_does_not_only_reduce_any_more_after_the_look_is_not_kept(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-12: the position may have changed while the file was asked; an order that adds risk needs its journal."""
    held = Held(opened, "begin", monkeypatch)
    held.fails = True
    held.go_on.set()
    answers = iter((True, False))
    with pytest.raises(JournalUnwritable, match="disk is full"):
        await opened.commit_sending([sending()], patience=10.0, keep=lambda: next(answers))
    held.fails = False
    await opened.flush()
    assert opened.find(REF) is None


@pytest.mark.parametrize("threaded", [True, False])
async def test_the_look_at_a_failing_disk_holds_up_no_loop_and_is_made_without_a_thread_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threaded: bool
) -> None:
    """A disk that hangs must not take the session's loop with it: cancels and the kill are written there."""
    journal = Journal.open(tmp_path / "state", ACCOUNT, SystemClock(), threaded=threaded)
    try:
        await journal.commit_sending([sending()])
        looked: list[threading.Thread] = []
        real = journal._reader.refuse_used

        def refuse_used(entries: Sequence[SendingEntry]) -> None:
            looked.append(threading.current_thread())
            real(entries)

        monkeypatch.setattr(journal._reader, "refuse_used", refuse_used)
        held = Held(journal, "begin", monkeypatch)
        held.fails = True
        held.go_on.set()
        with pytest.raises(OrderValidationError, match="never sent again"):
            await journal.commit_sending([sending(order_id=12)], patience=10.0, keep=lambda: True)
        assert [thread is threading.current_thread() for thread in looked] == [not threaded]
        assert looked[0].daemon is threaded  # the program's end does not wait for the disk
        held.fails = False
    finally:
        journal.close()


async def test_a_look_that_finds_nothing_wrong_ends_at_once(
    opened: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Else every order of a flatten waits half a second more for a disk that fails, and is told it cannot be read."""
    held = Held(opened, "begin", monkeypatch)
    held.fails = True
    held.go_on.set()
    assert await opened.commit_sending([sending()], patience=10.0, keep=lambda: True) is False
    assert "neither written nor read" not in caplog.text
    held.fails = False


def test_a_look_that_hangs_is_not_waited_for_and_its_late_end_harms_nobody(
    opened: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_module, "_LOOK_S", 0.01)
    looked: list[threading.Thread] = []
    go_on = threading.Event()

    def refuse_used(_: object) -> None:
        looked.append(threading.current_thread())
        assert go_on.wait(10)

    monkeypatch.setattr(opened._reader, "refuse_used", refuse_used)
    held = Held(opened, "begin", monkeypatch)
    held.fails = True
    held.go_on.set()
    assert asyncio.run(opened.commit_sending([sending()], patience=10.0, keep=lambda: True)) is False
    assert "neither written nor read" in caplog.text
    go_on.set()
    (thread,) = looked
    thread.join(10)
    assert not thread.is_alive()
    held.fails = False
