"""How the journal's work reaches the disk: one thread, one transaction for all that waits, and patience with the disk.

Commits that wait together share one transaction and one wait for the disk. When the disk fails, waiting commits fail
with it, and what was written behind is kept in memory and tried again twice a second until the disk is back (INV-12).
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


class Item:
    """One piece of work for the writer thread."""

    __slots__ = ("check", "done", "dropped", "error", "write")

    def __init__(
        self,
        write: Write,
        *,
        check: Write | None = None,
        done: Callable[[TradingError | None], None] | None = None,
    ) -> None:
        self.write = write
        self.check = check
        """Raises the item's own refusal, before anything is written."""
        self.done = done
        """Told the outcome once the disk has it; None for what is written behind."""
        self.dropped: Callable[[], bool] = lambda: False
        """Whether nobody waits for it any more: then it is not written."""
        self.error: TradingError | None = None


class WriteQueue:
    """The writer of one journal file: its thread, what waits for it, and whether the disk takes it."""

    def __init__(self, file: JournalFile, lock: FileLock, *, threaded: bool, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._file = file
        self._lock = lock
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._backlog: deque[Item] = deque()
        self._writable = True
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
        """Whether the last attempt to write worked, and another one can be made."""
        return self._writable and not self._closed

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

    async def durable(self, item: Item) -> None:
        """Queue work that counts once it is on the disk, and wait for that. Raises what becomes of it."""
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
        item.dropped = future.cancelled
        if not self.hand_over(item):
            msg = "The journal is closed."
            raise JournalUnwritable(msg, remedy="Make a new connector.")
        await future

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
        self._writable = True
        self._unsynced = not durable
        for item in items:
            if item.done is not None:
                item.done(item.error)
        if durable:
            self.on_durable()
        self._checkpoint(idle=not items)

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
        item.error = None
        if item.dropped():
            return
        try:
            with self._file.part():
                if item.check is not None:
                    item.check(self._file)
                item.write(self._file)
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
        self._backlog.extend(item for item in items if item.done is None)
        lost = len(self._backlog) - _BACKLOG
        for _ in range(lost):
            self._backlog.popleft()
        if lost > 0:
            _log.error("the journal cannot be written, and records in memory had to go", records=lost)
        was_writable, self._writable = self._writable, False
        if was_writable:
            _log.error("the journal cannot be written", error=str(error))
            try:
                self.on_trouble(error)
            except Exception:  # noqa: BLE001 - a listener's fault must not stop the journal
                _log.exception("the listener for journal trouble raised")
        for item in items:
            if item.done is not None:
                item.done(error)

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


_queues: weakref.WeakSet[WriteQueue] = weakref.WeakSet()


def _leave_to_parent() -> None:
    for one in list(_queues):
        one.leave_to_parent()
    _queues.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_leave_to_parent)
