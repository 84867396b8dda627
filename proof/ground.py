"""What a connector stands on in the stepped engine: the loop's time, the loop's thread, a bus that tells at once.

The journal is the real one, on a real file; only its thread is the loop's own, and the disk takes a seeded moment.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from ibkr_connector.clock import Clock, SystemClock
from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.events import Event, EventBus, Listener
from ibkr_connector.ground import Ground
from ibkr_connector.orders.changes import Change
from ibkr_connector.orders.entries import ChangeEntry, SendingEntry
from ibkr_connector.orders.journal import Journal, Keep
from ibkr_connector.orders.journal_file import JournalFile
from ibkr_connector.session.thread import SessionThread
from proof.schedule import At
from proof.steploop import PROCESS, StepLoop

_T = TypeVar("_T")
DISK_S = (0.0005, 0.006)
"""How long a durable commit seems to take."""
_SLOW_DISK = 0.03
"""The chance that it takes fifty times as long."""


class LoopClock(SystemClock):
    """Both clocks follow the loop."""

    def __init__(self, loop: StepLoop, start: datetime) -> None:
        self._loop = loop
        self._zero = start.astimezone(UTC) - timedelta(seconds=loop.time())

    def monotonic(self) -> float:
        """Loop seconds."""
        return self._loop.time()

    def now(self) -> datetime:
        """Wall time: as far after the start as the loop is."""
        return self._zero + timedelta(seconds=self._loop.time())


class LoopThread(SessionThread):
    """A session thread that is the thread everything runs in."""

    def __init__(self, name: str, loop: StepLoop) -> None:
        super().__init__(name)
        self._step_loop = loop
        self._over = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The stepped loop."""
        if self._over:
            raise ConnectorClosed("the connector's session is not running.")
        return self._step_loop

    @property
    def is_current(self) -> bool:
        """Always."""
        return True

    @property
    def started(self) -> bool:
        """Until it is stopped."""
        return not self._over

    def start(self) -> None:
        """Nothing to start."""
        if self._over:
            raise ConnectorClosed("the connector was closed.")

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """On the stepped loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self, timeout: float = 5.0) -> bool:
        """Nothing can be started afterwards."""
        del timeout
        self._over = True
        return True


class InlineBus(EventBus):
    """Tells every listener at once, in order: what is told stands in the history where it happened."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._told: list[Listener] = []

    def subscribe(self, listener: Listener, *, name: str = "") -> Callable[[], None]:
        """Listen; returns the end of it."""
        del name
        self._told.append(listener)
        return lambda: self._told.remove(listener)

    def publish(self, event: Event) -> None:
        """Tell."""
        for listener in tuple(self._told):
            listener(event)

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens."""
        return bool(self._told)


class Disk:
    """The disk under one journal: how long it takes, when it is full, and who is told of the steps of a commit."""

    def __init__(self, loop: StepLoop, rng: random.Random) -> None:
        self._loop = loop
        self._rng = rng
        self.full = False
        self.on_step: Callable[[At], None] = lambda _: None
        """Told `before_commit` and `after_commit` of every new order; may kill the process."""

    async def delay(self) -> None:
        """The time until the disk has it."""
        seconds = self._rng.uniform(*DISK_S)
        await asyncio.sleep(seconds * 50 if self._rng.random() < _SLOW_DISK else seconds)

    def check(self) -> None:
        """Raise what SQLite raises when the disk is full."""
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")


class StepJournal(Journal):
    """The journal on a disk that takes its time. Everything it writes it writes as ever."""

    disk: Disk

    async def commit_sending(
        self, entries: Sequence[SendingEntry], *, patience: float | None = None, keep: Keep | None = None
    ) -> bool:
        """See `Journal`."""
        self.disk.on_step("before_commit")
        await self.disk.delay()
        durable = await super().commit_sending(entries, patience=patience, keep=keep)
        await self.disk.delay()
        self.disk.on_step("after_commit")
        return durable

    async def commit_change(
        self, entry: ChangeEntry, *, patience: float | None = None, keep: Keep | None = None
    ) -> bool:
        """See `Journal`."""
        await self.disk.delay()
        durable = await super().commit_change(entry, patience=patience, keep=keep)
        await self.disk.delay()
        return durable

    async def commit(self, ref: str, changes: Sequence[Change]) -> None:
        """See `Journal`."""
        await self.disk.delay()
        await super().commit(ref, changes)

    async def flush(self) -> None:
        """See `Journal`."""
        await self.disk.delay()
        await super().flush()


RETRY_S = 0.5
"""How long after the disk is back the journal's thread would try again."""


def try_again(journal: Journal) -> None:
    """What the journal's thread does by itself: write what was kept while the disk failed."""
    if not journal._queue._closed:
        journal._queue._work([])


def cut_off(journal: Journal) -> None:
    """What becomes of a journal whose process is killed: what is committed stays, the lock goes, nothing follows."""
    queue = journal._queue
    queue._closed = True
    journal._file.rollback()
    journal._file.close()
    queue._lock.release()


def step_ground(loop: StepLoop, start: datetime, rng: random.Random, disk: Disk, opened: list[Journal]) -> Ground:
    """The ground of one connector; `opened` gets the journals it opens."""
    clock = LoopClock(loop, start)

    def open_journal(
        state_dir: Path, account: str, clock: Clock, /, *, forget_before: datetime | None = None
    ) -> Journal:
        journal = cast(
            StepJournal, StepJournal.open(state_dir, account, clock, threaded=False, forget_before=forget_before)
        )
        journal.disk = disk
        _watch_disk(journal._file, disk)
        opened.append(journal)
        return journal

    return Ground(
        clock=clock,
        rng=rng,
        thread=lambda name: LoopThread(name, loop),
        bus=lambda: InlineBus(clock),
        journal=open_journal,
    )


def _watch_disk(file: JournalFile, disk: Disk) -> None:
    begin = file.begin

    def checked(*, durable: bool) -> None:
        process = PROCESS.get()
        if process is not None and not process.alive:
            raise sqlite3.OperationalError("the process is dead")
        disk.check()
        begin(durable=durable)

    file.begin = checked  # type: ignore[method-assign]
