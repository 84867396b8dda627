"""The order journal: one durable commit before every write of an order, everything else written behind.

One SQLite file per account (`<state_dir>/<account>/journal.sqlite3`), one holder at a time, one writer thread.

* `await commit_sending(...)` and `commit_change(...)` return when the disk has it. Commits that wait together share one
  transaction and one wait for the disk.
* `record`, `audit`, `raise_high_water`, `put_meta` return at once and never block or raise for the disk's sake. They
  survive the end of the process some milliseconds later, and a power loss after the next durable commit, at most a
  quarter of a second later. What is lost until then the broker tells again.
* When the disk fails, `writable` turns False, `on_trouble` is called once, waiting commits fail, and what was recorded
  is kept in memory and tried again twice a second until the disk is back (INV-12).
* A ref is sent once, for ever (INV-01): committing it again raises `OrderValidationError` unless the earlier attempt
  ended as `NotSent`, before any write.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import logging
import os
import queue
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import JournalError, JournalUnwritable, TradingError
from ibkr_connector.models.account import Execution
from ibkr_connector.orders.changes import Change, NotSent
from ibkr_connector.orders.entries import AuditReport, ChangeEntry, JournalOrder, SendingEntry
from ibkr_connector.orders.journal_file import JournalFile, plain
from ibkr_connector.orders.journal_read import FILE_NAME, JournalReader
from ibkr_connector.store import FileLock, account_dir, translate

__all__ = ["FILE_NAME", "Journal", "JournalReader", "JournalWriter"]

_log = logging.getLogger("ibkr_connector.orders.journal")

LOCK_NAME = "journal.lock"
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
_KEEP = timedelta(days=8)
"""Ended orders this young are loaded too: the broker can repeat their executions (TWS keeps up to 7 days)."""

_Write = Callable[[JournalFile], None]


class _Item:
    """One piece of work for the writer thread."""

    __slots__ = ("check", "done", "dropped", "error", "write")

    def __init__(
        self,
        write: _Write,
        *,
        check: _Write | None = None,
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


class JournalWriter:
    """The journal of one account, open and held by this process. Every method is safe from any thread."""

    def __init__(self, file: JournalFile, lock: FileLock, clock: Clock, *, threaded: bool = True) -> None:
        self._file = file
        self._lock = lock
        self._clock = clock
        self._reader = JournalReader(file.path)
        self._marks = self._reader.marks()
        self._meta = self._reader.meta()
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._backlog: deque[_Item] = deque()
        self._writable = True
        self._unsynced = False
        self._since_checkpoint = 0
        self._closing = threading.Lock()
        self._closed = False
        self._on_trouble: Callable[[JournalError], None] = lambda _: None
        self._thread: threading.Thread | None = None
        if threaded:
            self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self._thread.start()
        # A program that ends without closing: whatever is queued gets a moment to be written.
        self._at_exit = _close_at_exit(self)

    @classmethod
    def open(
        cls, state_dir: str | os.PathLike[str], account: str, clock: Clock, *, threaded: bool = True
    ) -> JournalWriter:
        """Open (or begin) the journal of an account and hold it. Blocks for a moment: call it off the event loop.

        `threaded=False` writes on the calling thread (for proofs on one stepped event loop).
        Raises: JournalInUse (naming the pid), JournalUnwritable, JournalCorrupt, JournalFromFuture, InvalidRequest.
        """
        folder = account_dir(state_dir, account)
        lock = FileLock(folder / LOCK_NAME)
        lock.acquire()
        with contextlib.ExitStack() as undo:
            undo.callback(lock.release)
            file = JournalFile(folder / FILE_NAME)
            undo.callback(file.close)
            journal = cls(file, lock, clock, threaded=threaded)
            undo.pop_all()
        return journal

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """Whether the last attempt to write worked. While False, orders that add risk are refused (INV-12)."""
        return self._writable and not self._closed

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last committed line of the audit trail: print it at start and stop."""
        return self._file.head

    def on_trouble(self, listener: Callable[[JournalError], None]) -> None:
        """Call `listener` on the writer's thread when writing starts to fail, once per spell."""
        self._on_trouble = listener

    # --- durable ------------------------------------------------------------------------------------------------------

    async def commit_sending(self, entries: Sequence[SendingEntry]) -> None:
        """Intent, decision, SENDING and id marks of these orders, in one transaction, on the disk.

        If the caller is cancelled here the commit may still happen: record `NotSent` for the refs then.
        Raises: OrderValidationError (a ref was used before; nothing of this call is written), JournalUnwritable,
        JournalCorrupt.
        """
        at = self._clock.now()

        def write(file: JournalFile) -> None:
            for entry in entries:
                file.put_sending(entry, at)

        for entry in entries:
            self._mark(entry.endpoint, entry.client_id, entry.order_id)
        await self._durable(_Item(write, check=lambda file: file.check_new(entries)))

    async def commit_change(self, entry: ChangeEntry) -> None:
        """Old and new version of a change, before it is written. Raises: JournalUnwritable, JournalCorrupt."""
        at = self._clock.now()
        await self._durable(_Item(lambda file: file.put_change_sending(entry, at)))

    async def commit(self, ref: str, changes: Sequence[Change]) -> None:
        """Changes that must be on the disk before going on (an operator's resolution). Raises like `commit_change`."""
        await self._durable(_Item(lambda file: _put_all(file, ref, changes)))

    async def set_meta(self, key: str, value: Any) -> None:
        """Keep a small JSON value (a baseline, a flag) durably. Raises like `commit_change`."""
        text = json.dumps(value)
        await self._durable(_Item(lambda file: file.put_meta(key, text)))
        self._meta[key] = json.loads(text)

    async def flush(self) -> None:
        """Wait until everything recorded so far is on the disk. Raises like `commit_change`."""
        await self._durable(_Item(JournalFile.touch))

    # --- written behind -----------------------------------------------------------------------------------------------

    def record(self, ref: str, change: Change) -> None:
        """Keep one change of an order. Returns at once."""
        self._put(_Item(lambda file: file.put_event(ref, change)))

    def record_all(self, ref: str, changes: Sequence[Change]) -> None:
        """Keep several changes of an order together. Returns at once."""
        self._put(_Item(lambda file: _put_all(file, ref, changes)))

    def not_sent(self, ref: str, why: str) -> None:
        """Keep that a committed order was given up before the write: its ref may be used again. Returns at once."""
        self.record(ref, NotSent(at=self._clock.now(), why=why))

    def audit(self, kind: str, data: Mapping[str, Any], *, ref: str = "") -> None:
        """Add a line to the audit trail (a refused order's decision, a kill, a global cancel). Returns at once."""
        at, text = self._clock.now(), plain(data)
        self._put(_Item(lambda file: file.put_audit(kind, ref, text, at)))

    def put_meta(self, key: str, value: Any) -> None:
        """Keep a small JSON value. Returns at once."""
        text = json.dumps(value)
        self._meta[key] = json.loads(text)
        self._put(_Item(lambda file: file.put_meta(key, text)))

    def raise_high_water(self, endpoint: str, client_id: int, order_id: int) -> None:
        """Never hand out an order id up to `order_id` again there (seen in use at the broker). Returns at once."""
        if self._mark(endpoint, client_id, order_id):
            self._put(_Item(lambda file: file.put_mark(endpoint, client_id, order_id)))

    # --- read ---------------------------------------------------------------------------------------------------------

    def high_water(self, endpoint: str, client_id: int) -> int:
        """The highest order id used with this gateway and client id; 0 if none (INV-08). From memory."""
        return self._marks.get((endpoint, client_id), 0)

    def meta(self, key: str, default: Any = None) -> Any:
        """A small value kept beside the orders. From memory."""
        return self._meta.get(key, default)

    def load(self, since: datetime | None = None) -> list[JournalOrder]:
        """Open orders and those that moved in the last 8 days (or since `since`), oldest first. Reads the disk."""
        return self._reader.load(since or self._clock.now() - _KEEP)

    def find(self, ref: str) -> JournalOrder | None:
        """One order by its ref. Reads the disk: what was recorded a moment ago may be missing (`flush` first)."""
        return self._reader.find(ref)

    def recent(self, limit: int = 50) -> list[JournalOrder]:
        """The orders that moved last, newest first. Reads the disk."""
        return self._reader.recent(limit)

    def fills(self, since: datetime | None = None) -> list[Execution]:
        """The executions of our orders, oldest first. Reads the disk."""
        return self._reader.fills(since)

    def verify(self) -> AuditReport:
        """Check the audit trail. Reads the disk."""
        return self._reader.verify()

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self, timeout: float = 5.0) -> None:
        """Write what is queued, make it durable, end the thread, give the lock back. Idempotent; any thread.

        After `timeout` seconds (a disk that hangs) the thread, a daemon, is left behind with the lock.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        atexit.unregister(self._at_exit)
        if self._thread is None:
            self._finish()
        elif self._thread is not threading.current_thread():
            self._thread.join(timeout)
            if self._thread.is_alive():
                _log.error("the journal did not finish writing in %.1f s; the disk hangs", timeout)

    # --- inside: handing over -----------------------------------------------------------------------------------------

    def _mark(self, endpoint: str, client_id: int, order_id: int) -> bool:
        rises = order_id > self._marks.get((endpoint, client_id), 0)
        if rises:
            self._marks[endpoint, client_id] = order_id
        return rises

    def _put(self, item: _Item) -> None:
        if not self._hand_over(item):
            _log.error("a record came after the journal was closed; it is lost")

    def _hand_over(self, item: _Item) -> bool:
        # Under the lock nothing can be queued behind the end mark, where it would wait for ever.
        with self._closing:
            if self._closed:
                return False
            if self._thread is None:
                self._work([item])
            else:
                self._queue.put(item)
            return True

    async def _durable(self, item: _Item) -> None:
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

        item.done = settle if self._thread is None else done
        item.dropped = future.cancelled
        if not self._hand_over(item):
            msg = "The journal is closed."
            raise JournalUnwritable(msg, remedy="Make a new connector.")
        await future

    # --- inside: the writer's thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            items, going = self._take()
            self._work(items)
        self._finish()

    def _take(self) -> tuple[list[_Item], bool]:
        """Everything that waits, at least one piece, or nothing when it is time to sync or to try again."""
        wait = _RETRY_AFTER if not self._writable else _SYNC_AFTER if self._unsynced else None
        items: list[_Item] = []
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

    def _work(self, items: list[_Item]) -> None:
        """One transaction for everything at hand, older records first."""
        durable = any(item.done is not None for item in items) or not items
        batch = [*self._backlog, *items]
        try:
            self._transaction(batch, durable=durable)
        except (sqlite3.Error, OSError, JournalError) as error:
            self._failed(items, error if isinstance(error, JournalError) else translate(error, self._file.path))
            return
        self._backlog.clear()
        self._writable = True
        self._unsynced = not durable
        for item in items:
            if item.done is not None:
                item.done(item.error)
        self._checkpoint(idle=not items)

    def _transaction(self, batch: list[_Item], *, durable: bool) -> None:
        if not self._writable:
            self._file.reopen()
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

    def _write(self, item: _Item) -> None:
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

    def _failed(self, items: list[_Item], error: JournalError) -> None:
        """Durable work fails now; the rest is kept and tried again."""
        self._backlog.extend(item for item in items if item.done is None)
        lost = len(self._backlog) - _BACKLOG
        for _ in range(lost):
            self._backlog.popleft()
        if lost > 0:
            _log.error("the journal cannot be written and %d records in memory had to go", lost)
        was_writable, self._writable = self._writable, False
        if was_writable:
            _log.error("the journal cannot be written: %s", error)
            try:
                self._on_trouble(error)
            except Exception:  # noqa: BLE001 - a listener's fault must not stop the journal
                _log.exception("the listener for journal trouble raised")
        for item in items:
            if item.done is not None:
                item.done(error)

    def _checkpoint(self, *, idle: bool) -> None:
        self._since_checkpoint += 1
        if idle and self._since_checkpoint >= _CHECKPOINT_AFTER:
            self._since_checkpoint = 0
            with contextlib.suppress(sqlite3.Error):
                self._file.checkpoint()

    def _finish(self) -> None:
        """Make everything durable, close, give the lock back."""
        if self._unsynced or self._backlog:
            self._work([])
        if self._backlog:
            _log.error("the journal was closed with %d records it could not write", len(self._backlog))
        self._file.close()
        self._lock.release()


Journal = JournalWriter
"""The journal as most callers name it: `Journal.open(state_dir, account, clock)`."""


def _put_all(file: JournalFile, ref: str, changes: Sequence[Change]) -> None:
    for change in changes:
        file.put_event(ref, change)


def _close_at_exit(journal: JournalWriter) -> Callable[[], None]:
    """Register a close that does not keep the journal alive; returns what to unregister."""
    reference = weakref.ref(journal)

    def close() -> None:
        found = reference()
        if found is not None:
            found.close(timeout=0.5)

    atexit.register(close)
    return close
