"""How the journal's work reaches the disk: one thread, one transaction for all that waits, and patience with the disk.

Commits that wait together share one transaction and one wait for the disk. When the disk fails, waiting commits fail
with it, and what was written behind is kept in memory and tried again twice a second until the disk is back (INV-12).

A commit may be waited for with patience. What the disk has not taken by then is either given up (it is not written any
more, and undone if it was on its way) or kept: written behind, in its place in the order of things, sooner or later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable
from enum import Enum, auto

from ibkr_connector.clock import Clock, system_clock
from ibkr_connector.errors import JournalError, JournalUnwritable, TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.orders.fork_gate import sqlite_gate
from ibkr_connector.orders.journal_file import JournalFile, displaced
from ibkr_connector.store import FileLock, translate

_log = get_logger(__name__)

THREAD_NAME = "ibkr-journal"
_SYNC_AFTER = 0.25
"""Seconds without work after which what was written behind is made durable."""
_GATHER = 0.002
"""Seconds that records written behind wait for company."""
_RETRY_AFTER = 0.5
"""Seconds between attempts while the disk fails."""
_CHECKPOINT_AFTER = 500
"""Transactions after which an idle moment is used to shorten the write-ahead log."""
_BACKLOG = 100_000
"""Records kept in memory while the disk fails; beyond it the oldest go (the broker tells them again)."""

Write = Callable[[JournalFile], None]


class _Fate(Enum):
    """What becomes of an item; changed under the queue's lock, by the writer or by whoever waits."""

    OPEN = auto()
    KEPT = auto()
    """Nobody waits any more: it is written as soon as the disk takes it."""
    GIVEN_UP = auto()
    """It must not be on the disk: it is left out, or undone."""
    SETTLED = auto()
    """The writer is done with it."""


class Item:
    """One piece of work for the writer thread."""

    __slots__ = ("check", "done", "error", "fate", "gone", "undo", "vital", "write", "written")

    def __init__(
        self,
        write: Write,
        *,
        check: Write | None = None,
        undo: Write | None = None,
        done: Callable[[TradingError | None], None] | None = None,
        vital: bool = False,
    ) -> None:
        self.write = write
        self.check = check
        """Raises the item's own refusal, before anything is written."""
        self.undo = undo
        """What is written after it when it was given up in the middle of its transaction."""
        self.done = done
        """Told the outcome once the disk has it; None for what is written behind."""
        self.vital = vital
        """The broker does not tell it again: it stays in memory for as long as the disk fails."""
        self.gone: Callable[[], bool] = lambda: False
        """Whether whoever waited for it has left."""
        self.fate = _Fate.OPEN
        self.written = False
        self.error: TradingError | None = None

    @property
    def dropped(self) -> bool:
        """Whether it is not to be written any more."""
        return self.fate is _Fate.GIVEN_UP or (self.fate is _Fate.OPEN and self.gone())


class WriteQueue:
    """The writer of one journal file: its thread, what waits for it, and whether the disk takes it."""

    def __init__(self, file: JournalFile, lock: FileLock, *, threaded: bool, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._file = file
        self._lock = lock
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._backlog: deque[Item] = deque()
        self._fates = threading.Lock()
        self._writable = True
        self._stalled = False
        self._unsynced = False
        self._since_checkpoint = 0
        self._closing = threading.Lock()
        self._closed = False
        self.on_trouble: Callable[[JournalError], None] = lambda _: None
        """Told on the writer's thread when writing starts to fail, once per spell."""
        self.on_written: Callable[[float], None] = lambda _: None
        """Told on the writer's thread how many seconds a transaction took."""
        self.on_durable: Callable[[], None] = lambda: None
        """Told on the writer's thread when everything so far is on the disk. Must not raise."""
        self.thread: threading.Thread | None = None
        """None: everything is written on the calling thread."""
        if threaded:
            self.thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self.thread.start()
        _queues.add(self)

    @property
    def writable(self) -> bool:
        """Whether the last attempt to write worked in time, and another one can be made."""
        return self._writable and not self._stalled and not self._closed

    def hand_over(self, item: Item) -> bool:
        """Queue one piece of work; False when it came after the end."""
        # Under the lock nothing can be queued behind the end mark, where it would wait for ever.
        with self._closing:
            if self._closed:
                return False
            if self.thread is None:
                self._work([item])
            else:
                self._queue.put(item)
            return True

    async def durable(self, item: Item, patience: float | None = None) -> None:
        """Queue work that counts once it is on the disk, and wait for that. Raises what becomes of it.

        After `patience` seconds (None = without end) it raises `JournalUnwritable`; then `keep` the item, or `give_up`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def settle(error: TradingError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        def done(error: TradingError | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                loop.call_soon_threadsafe(settle, error)

        item.done = settle if self.thread is None else done
        item.gone = future.cancelled
        if not self.hand_over(item):
            msg = "The journal is closed."
            raise JournalUnwritable(msg, remedy="Make a new connector.")
        if patience is None:
            await future
            return
        try:
            await self._clock.wait_for(asyncio.shield(future), patience)
        except asyncio.CancelledError:
            future.cancel()
            raise
        except TimeoutError:
            future.add_done_callback(_look_at)
            raise self._stall(patience) from None

    def keep(self, item: Item) -> bool:
        """Have an item whose commit failed, or takes too long, written behind. False when it is on the disk already.

        Raises `JournalUnwritable` after the end. What is recorded afterwards is written after it.
        """
        with self._fates:
            if item.fate is _Fate.SETTLED and item.written:
                return False
            waits = item.fate is _Fate.OPEN and not self._closed
            if waits:  # where it is: in the queue, or with the writer
                item.fate, item.check, item.vital = _Fate.KEPT, None, True
        if not waits and not self.hand_over(Item(item.write, vital=True)):
            msg = "The journal is closed."
            raise JournalUnwritable(msg, remedy="Make a new connector.")
        return True

    def give_up(self, item: Item) -> None:
        """An item whose commit failed, or takes too long, shall not be on the disk."""
        with self._fates:
            if item.fate is _Fate.OPEN:
                item.fate = _Fate.GIVEN_UP
                return
            late = item.fate is _Fate.SETTLED and item.written
        if late and item.undo is not None:
            self.hand_over(Item(item.undo))

    def _stall(self, patience: float) -> JournalUnwritable:
        """The disk hangs: told like any other trouble, though not by the writer, which hangs with it."""
        error = JournalUnwritable(
            f"{self._file.path} cannot be written: the disk has not answered for {patience:.1f} s.",
            remedy="Look at the disk, and for another program that holds the journal locked; then try again.",
            path=str(self._file.path),
        )
        told, self._stalled = self._stalled or not self._writable, True
        if not told:
            self._tell_trouble(error)
        return error

    def close(self, timeout: float) -> bool:
        """Write what is queued, make it durable, end the thread, give the lock back. Idempotent; any thread.

        True when this call ended it.

        After `timeout` seconds (a disk that hangs) the thread, a daemon, is left behind with the lock.
        """
        with self._closing:
            if self._closed:
                return False
            self._closed = True
            self._queue.put(None)
        if self.thread is None:
            self._finish()
        elif self.thread is not threading.current_thread():
            self.thread.join(timeout)
            if self.thread.is_alive():
                _log.error("the journal did not finish writing: the disk hangs", seconds=timeout)
                return False
        return True

    def leave_to_parent(self) -> None:
        """In a forked child: file, thread and lock are the parent's. Nothing here may touch or wait for them."""
        self._closing = threading.Lock()  # somebody may have held it who did not come along
        self._closed = True

    # --- inside: the writer's thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            items, going = self._take()
            self._work(items)
        self._finish()

    def _take(self) -> tuple[list[Item], bool]:
        """Everything that waits, at least one piece, or nothing when it is time to sync or to try again."""
        wait = _RETRY_AFTER if not self._writable else _SYNC_AFTER if self._unsynced else None
        items: list[Item] = []
        try:
            item = self._queue.get(timeout=wait)
            while item is not None:
                items.append(item)
                # Someone waits for a durable commit: go now. Else give what belongs together a moment to gather; the
                # work would only compete with the answer that is being read.
                item = self._queue.get_nowait() if item.done is not None else self._queue.get(timeout=_GATHER)
        except queue.Empty:
            return items, True
        return items, False

    def _work(self, items: list[Item]) -> None:
        """One transaction for everything at hand, older records first."""
        durable = any(item.done is not None for item in items) or not items
        batch = [*self._backlog, *items]
        begun = self._clock.monotonic()
        try:
            with sqlite_gate:
                self._transaction(batch, durable=durable)
        except (sqlite3.Error, OSError, JournalError) as error:
            self._failed(items, error if isinstance(error, JournalError) else translate(error, self._file.path))
            return
        self.on_written(self._clock.monotonic() - begun)
        self._backlog.clear()
        self._writable, self._stalled = True, False
        self._unsynced = not durable
        for item in batch:
            self._settle(item)
        if durable:
            self.on_durable()
        self._checkpoint(idle=not items)

    def _settle(self, item: Item) -> None:
        """It is on the disk, or refused for reasons of its own."""
        with self._fates:
            fate, item.fate = item.fate, _Fate.SETTLED
        # Before anything that comes later: what was done in vain is undone, what was kept in the last moment is done.
        if fate is _Fate.GIVEN_UP and item.written and item.undo is not None:
            self._backlog.append(Item(item.undo))
            self._unsynced = True
        elif fate is _Fate.KEPT and item.error is not None:
            self._backlog.append(Item(item.write, vital=True))
            self._unsynced = True
        if item.done is not None:
            item.done(item.error)

    def _transaction(self, batch: list[Item], *, durable: bool) -> None:
        if not self._writable:
            self._require_place()
            self._file.reopen()
        elif durable:
            self._require_place()
            self._file.require_log()
        try:
            self._file.begin(durable=durable)
            if not batch:
                self._file.touch()
            for item in batch:
                self._write(item)
            self._file.commit()
        except BaseException:
            self._file.rollback()
            raise

    def _require_place(self) -> None:
        """Refuse to commit where nobody will look: into a file that was deleted or replaced meanwhile.

        With another lock file in the place of ours a second process may be writing, too.
        """
        self._file.require_place()
        if not self._lock.is_exclusive:
            raise displaced(self._lock.path)

    def _write(self, item: Item) -> None:
        """One item; what is wrong with it alone must not stop the others."""
        item.error, item.written = None, False
        if item.dropped:
            return
        try:
            check = item.check  # whoever keeps the item takes it away
            with self._file.part():
                if check is not None:
                    check(self._file)
                item.write(self._file)
            item.written = True
        except TradingError as refusal:
            item.error = refusal
        except (sqlite3.OperationalError, OSError):
            raise
        except Exception as error:
            if type(error) is sqlite3.DatabaseError:  # the file, not the item
                raise
            _log.exception("a journal record could not be written and is left out")
            item.error = JournalError(f"The journal could not keep this: {error!r}.", remedy="Report it with the log.")

    def _failed(self, items: list[Item], error: JournalError) -> None:
        """Durable work fails now; the rest is kept and tried again."""
        failed: list[Item] = []
        with self._fates:
            for item in items:
                item.written = False
                if item.done is None or item.fate is _Fate.KEPT:
                    self._backlog.append(item)
                else:
                    item.fate = _Fate.SETTLED
                    failed.append(item)
        self._shorten_backlog()
        known, self._writable = self._stalled or not self._writable, False
        if not known:
            self._tell_trouble(error)
        for item in failed:
            if item.done is not None:
                item.done(error)

    def _shorten_backlog(self) -> None:
        lost = len(self._backlog) - _BACKLOG
        if lost <= 0:
            return
        vital = []
        for _ in range(lost):
            item = self._backlog.popleft()
            if item.vital:
                vital.append(item)
        self._backlog.extendleft(reversed(vital))
        _log.error("the journal cannot be written, and records in memory had to go", records=lost - len(vital))

    def _tell_trouble(self, error: JournalError) -> None:
        _log.error("the journal cannot be written", error=str(error))
        try:
            self.on_trouble(error)
        except Exception:  # noqa: BLE001 - a listener's fault must not stop the journal
            _log.exception("the listener for journal trouble raised")

    def _checkpoint(self, *, idle: bool) -> None:
        self._since_checkpoint += 1
        if idle and self._since_checkpoint >= _CHECKPOINT_AFTER:
            self._since_checkpoint = 0
            with sqlite_gate, contextlib.suppress(sqlite3.Error):
                self._file.checkpoint()

    def _finish(self) -> None:
        """Make everything durable, close, give the lock back."""
        if self._unsynced or self._backlog:
            self._work([])
        if self._backlog:
            _log.error("the journal was closed with records it could not write", records=len(self._backlog))
        with sqlite_gate:
            self._file.close()
        self._lock.release()


def _look_at(future: asyncio.Future[None]) -> None:
    """Take note of how it ended: asyncio reports an error that nobody has looked at."""
    if not future.cancelled():
        future.exception()


_queues: weakref.WeakSet[WriteQueue] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for one in list(_queues):
        one.leave_to_parent()
    _queues.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_leave_to_parent)
