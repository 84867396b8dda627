"""fork() and SQLite: nobody is inside when a child is made, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.orders import fork_gate, journal_file, journal_queue, journal_read
from ibkr_connector.orders.fork_gate import ForkGate, sqlite_gate
from ibkr_connector.orders.journal import Journal
from support.threads import in_thread
from unit.orders.kit import ACCOUNT, NOW, sending

_T = TypeVar("_T")
SECONDS = 20


async def test_fork_waits_for_those_inside_and_keeps_others_out() -> None:
    gate = ForkGate()
    inside, leave, waiting = threading.Event(), threading.Event(), threading.Event()
    told: list[str] = []

    class Watched(threading.Condition):
        def wait_for(self, predicate: Callable[[], _T], timeout: float | None = None) -> _T:
            waiting.set()
            return super().wait_for(predicate, timeout)

    gate._changed = Watched()

    def first() -> None:
        with gate, gate:  # nested uses are one
            inside.set()
            assert leave.wait(SECONDS)
            told.append("first left")

    def fork() -> None:
        gate.before_fork()
        told.append("forked")
        forked.set()

    def second() -> None:
        with gate:
            told.append("second in")

    forked = threading.Event()
    works = [asyncio.create_task(in_thread(first))]
    assert await asyncio.to_thread(inside.wait, SECONDS)
    waiting.clear()
    works.append(asyncio.create_task(in_thread(fork)))
    assert await asyncio.to_thread(waiting.wait, SECONDS)
    works.append(asyncio.create_task(in_thread(second)))
    leave.set()
    assert await asyncio.to_thread(forked.wait, SECONDS)
    assert told == ["first left", "forked"]
    gate.after_in_parent()
    await asyncio.gather(*works)
    assert told == ["first left", "forked", "second in"]


def test_disk_that_hangs_does_not_hang_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_gate, "_FORK_WAIT_S", 0.01)
    gate = ForkGate()
    with gate:
        gate.before_fork()
        gate.after_in_parent()
    gate.before_fork()
    with gate:  # a fork whose end was never told
        pass
    gate.after_in_child()
    with gate:
        assert gate._inside == 1
    assert gate._inside == 0


async def test_journal_works_behind_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(tmp_path, ACCOUNT, ManualClock(NOW))
    inside: list[int] = []
    begin = journal._file.begin

    def watched(*, durable: bool) -> None:
        inside.append(sqlite_gate._inside)
        begin(durable=durable)

    monkeypatch.setattr(journal._file, "begin", watched)
    await journal.commit_sending([sending()])
    assert inside == [1]
    journal.close()


async def test_every_use_of_sqlite_is_behind_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside: list[str] = []
    used: set[str] = set()

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **values: Any) -> Any:
            used.add(name)
            if not getattr(sqlite_gate._mine, "depth", 0):
                outside.append(name)
            return real(*args, **values)

        monkeypatch.setattr(owner, name, watched)

    for name in ("begin", "commit", "checkpoint", "close", "forget_orders", "reopen"):
        watch(journal_file.JournalFile, name)
    watch(journal_file, "open_database")
    watch(journal_read, "connect")
    monkeypatch.setattr(journal_queue, "_CHECKPOINT_AFTER", 1)
    for _ in range(2):
        journal = Journal.open(tmp_path, ACCOUNT, ManualClock(NOW), threaded=False, forget_before=NOW)
        journal.put_meta("key", 1)
        assert journal.verify().ok
        assert journal.fills() == []
        journal._queue._writable = False  # as after trouble: the file is opened anew
        await journal.flush()
        journal._queue._work([])
        journal.close()
    assert outside == []
    assert used == {"begin", "commit", "checkpoint", "close", "forget_orders", "reopen", "open_database", "connect"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_journal_in_a_forked_child_is_closed_and_hangs_on_no_lock(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, ACCOUNT, ManualClock(NOW))
    await journal.commit_sending([sending()])
    reader, writer = os.pipe()

    def fork() -> None:
        with journal._queue._closing:  # held by a thread that does not come along
            child = os.fork()
        if child:
            os.close(writer)
            return
        try:
            journal.close()
            journal.put_meta("child", 1)
            os.write(writer, b"open" if journal.writable else b"closed")
        finally:
            os._exit(0)

    await in_thread(fork)
    try:
        assert await asyncio.wait_for(asyncio.to_thread(os.read, reader, 10), SECONDS) == b"closed"
    finally:
        os.close(reader)
        await asyncio.to_thread(os.wait)
    await journal.commit_sending([sending("AFTER", 12)])
    assert journal._reader.meta() == {}
    journal.close()
