"""The order journal: one durable commit before every write of an order, everything else written behind.

One SQLite file per account (`<state_dir>/<account>/journal.sqlite3`), one holder at a time, one writer thread.

* `await commit_sending(...)` and `commit_change(...)` return when the disk has it. Commits that wait together share one
  transaction and one wait for the disk.
* `record`, `audit`, `raise_high_water`, `put_meta` return at once and never block or raise for the disk's sake. They
  survive the end of the process some milliseconds later, and a power loss after the next durable commit, at most a
  quarter of a second later. What is lost until then the broker tells again.
* When the disk fails, `writable` turns False, `on_trouble` is called once, waiting commits fail, and what was recorded
  is kept in memory and tried again twice a second until the disk is back (INV-12).
* What only reduces risk does not wait for such a disk: a commit may be given `patience` and a `keep` that says whether
  it may go on without being durable. Then it is recorded like the rest: in memory, on the disk when that is back.
* A ref is sent once, for ever (INV-01): committing it again raises `OrderValidationError` unless the earlier attempt
  ended as `NotSent`, before any write.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import JournalCorrupt, JournalError, JournalUnwritable
from ibkr_connector.logs import get_logger
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.changes import Change, ModifyNotSent, NotSent
from ibkr_connector.orders.entries import AuditEntry, AuditReport, ChangeEntry, JournalOrder, SendingEntry
from ibkr_connector.orders.fork_gate import sqlite_gate
from ibkr_connector.orders.journal_file import JournalFile, plain
from ibkr_connector.orders.journal_queue import THREAD_NAME, Item, WriteQueue
from ibkr_connector.orders.journal_read import FILE_NAME, JournalReader
from ibkr_connector.store import FileLock, account_dir, translate

__all__ = ["FILE_NAME", "THREAD_NAME", "Journal", "JournalReader", "JournalWriter"]

_log = get_logger(__name__)

LOCK_NAME = "journal.lock"
Keep = Callable[[], bool]
"""Whether something may go on although the journal cannot be written; asked when that is so."""
_LOOK_S = 0.5
"""How long a look into the file of a disk that fails may take."""
_NOT_TAKEN = "the disk did not take it in time"
_KEEP = timedelta(days=8)
"""Ended orders this young are loaded too: the broker can repeat their executions (TWS keeps up to 7 days)."""


class JournalWriter:
    """The journal of one account, open and held by this process. Every method is safe from any thread."""

    def __init__(self, file: JournalFile, lock: FileLock, clock: Clock, *, threaded: bool = True) -> None:
        self._file = file
        self._clock = clock
        self._reader = JournalReader(file.path)
        self._marks = self._reader.marks()
        self._meta = self._reader.meta()
        self._queue = WriteQueue(file, lock, threaded=threaded, clock=clock)
        # A program that ends without closing: whatever is queued gets a moment to be written.
        self._at_exit = _close_at_exit(self._queue)

    @classmethod
    def open(
        cls,
        state_dir: str | os.PathLike[str],
        account: str,
        clock: Clock,
        *,
        threaded: bool = True,
        forget_before: datetime | None = None,
    ) -> JournalWriter:
        """Open (or begin) the journal of an account and hold it. Blocks for a moment: call it off the event loop.

        Orders that ended before `forget_before` (broker time) are forgotten, but for their refs and the audit trail.
        `threaded=False` writes on the calling thread (for proofs on one stepped event loop).
        Raises: JournalInUse (naming the pid), JournalUnwritable, JournalCorrupt, JournalFromFuture, InvalidRequest.
        """
        folder = account_dir(state_dir, account)
        lock = FileLock(folder / LOCK_NAME)
        lock.acquire()
        with contextlib.ExitStack() as undo:
            undo.callback(lock.release)
            with sqlite_gate:
                file = JournalFile(folder / FILE_NAME)
                undo.callback(file.close)
                _forget(file, forget_before, clock.now())
            journal = cls(file, lock, clock, threaded=threaded)
            undo.pop_all()
        _log.info("the audit trail begins", **_line_and_head(journal.head))
        return journal

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """Whether the last attempt to write worked. While False, orders that add risk are refused (INV-12)."""
        return self._queue.writable

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last committed line of the audit trail: print it at start and stop."""
        return self._file.head

    def on_trouble(self, listener: Callable[[JournalError], None]) -> None:
        """Call `listener` on the writer's thread when writing starts to fail, once per spell."""
        self._queue.on_trouble = listener

    def on_written(self, listener: Callable[[float], None]) -> None:
        """Call `listener` on the writer's thread with the seconds that each transaction took. It must not raise."""
        self._queue.on_written = listener

    def on_durable(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the writer's thread whenever everything so far is on the disk. It must not raise."""
        self._queue.on_durable = listener

    # --- durable ------------------------------------------------------------------------------------------------------

    async def commit_sending(
        self, entries: Sequence[SendingEntry], *, patience: float | None = None, keep: Keep | None = None
    ) -> bool:
        """Intent, decision, SENDING and id marks of these orders, in one transaction, on the disk.

        If the caller is cancelled here the commit may still happen: record `NotSent` for the refs then.

        Args:
            entries: the orders.
            patience: seconds to wait for the disk (None = without end).
            keep: when the disk does not take it: whether the orders go on all the same, kept in memory for now.

        Returns: True when it is on the disk, False when it was kept.
        Raises: OrderValidationError (a ref was used before; nothing of this call is written), JournalUnwritable,
        JournalCorrupt.
        """
        at = self._clock.now()

        def write(file: JournalFile) -> None:
            for entry in entries:
                file.put_sending(entry, at)

        for entry in entries:
            self._mark(entry.endpoint, entry.client_id, entry.order_id)

        def undo(file: JournalFile) -> None:
            for entry in entries:
                file.put_event(entry.request.order_ref, NotSent(at=entry.sent_at, why=_NOT_TAKEN), self._clock.now())

        item = Item(write, check=lambda file: file.check_new(entries), undo=undo)
        return await self._commit(item, patience, keep, entries)

    async def commit_change(
        self, entry: ChangeEntry, *, patience: float | None = None, keep: Keep | None = None
    ) -> bool:
        """Old and new version of a change, before it is written. See `commit_sending`.

        Raises: JournalUnwritable, JournalCorrupt.
        """
        at = self._clock.now()

        def undo(file: JournalFile) -> None:
            file.put_event(entry.ref, ModifyNotSent(at=entry.sent_at, why=_NOT_TAKEN), self._clock.now())

        item = Item(lambda file: file.put_change_sending(entry, at), undo=undo)
        return await self._commit(item, patience, keep)

    async def commit_reply(
        self, changes: Mapping[str, Sequence[Change]], *, patience: float | None = None, keep: Keep | None = None
    ) -> bool:
        """A reply to the broker about to be written, by the ref of every order it is about. See `commit_sending`.

        Raises: JournalUnwritable, JournalCorrupt.
        """
        at = self._clock.now()

        def write(file: JournalFile) -> None:
            for ref, some in changes.items():
                _put_all(file, ref, some, at)

        return await self._commit(Item(write), patience, keep)

    async def commit(self, ref: str, changes: Sequence[Change]) -> None:
        """Changes that must be on the disk before going on (an operator's resolution). Raises like `commit_change`."""
        at = self._clock.now()
        await self._queue.durable(Item(lambda file: _put_all(file, ref, changes, at)))

    async def flush(self) -> None:
        """Wait until everything recorded so far is on the disk. Raises like `commit_change`."""
        await self._queue.durable(Item(JournalFile.touch))

    # --- written behind -----------------------------------------------------------------------------------------------

    def record(self, ref: str, change: Change) -> None:
        """Keep one change of an order. Returns at once."""
        at = self._clock.now()
        self._put(Item(lambda file: file.put_event(ref, change, at)))

    def record_all(self, ref: str, changes: Sequence[Change]) -> None:
        """Keep several changes of an order together. Returns at once."""
        at = self._clock.now()
        self._put(Item(lambda file: _put_all(file, ref, changes, at)))

    def not_sent(self, ref: str, why: str) -> None:
        """Keep that a committed order was given up before the write: its ref may be used again. Returns at once."""
        self.record(ref, NotSent(at=self._clock.now(), why=why))

    def audit(self, kind: str, data: Mapping[str, Any], *, ref: str = "") -> None:
        """Add a line to the audit trail (a refused order's decision, a kill, a global cancel). Returns at once."""
        at, text = self._clock.now(), plain(data)
        self._put(Item(lambda file: file.put_audit(kind, ref, text, at)))

    def put_meta(self, key: str, value: Any) -> None:
        """Keep a small JSON value. Returns at once."""
        text = json.dumps(value)
        self._meta[key] = json.loads(text)
        self._put(Item(lambda file: file.put_meta(key, text)))

    def raise_high_water(self, endpoint: str, client_id: int, order_id: int) -> None:
        """Never hand out an order id up to `order_id` again there (seen in use at the broker). Returns at once."""
        if self._mark(endpoint, client_id, order_id):
            self._put(Item(lambda file: file.put_mark(endpoint, client_id, order_id)))

    # --- read ---------------------------------------------------------------------------------------------------------

    def high_water(self, client_id: int) -> int:
        """The highest order id used with this client id, whatever the gateway; 0 if none (INV-08). From memory."""
        return max((high for (_, client), high in self._marks.items() if client == client_id), default=0)

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

    def agent_positions(self) -> dict[tuple[str, int], Decimal]:
        """What each agent's orders have filled, by (agent in lower case, con_id). Reads the disk."""
        return self._reader.agent_positions()

    def sent_since(self, since: datetime) -> list[tuple[datetime, OrderRequest]]:
        """The orders whose sending was recorded since `since` by this machine's clock, oldest first. Reads the disk."""
        return self._reader.sent_since(since)

    def audit_lines(self, after: int, limit: int = 1000) -> list[AuditEntry]:
        """The next lines of the audit trail after line `after`. Reads the disk."""
        return list(itertools.islice(self._reader.audit(after), limit))

    def verify(self) -> AuditReport:
        """Check the audit trail. Reads the disk."""
        return self._reader.verify()

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self, timeout: float = 5.0) -> None:
        """Write what is queued, make it durable, end the thread, give the lock back. Idempotent; any thread.

        After `timeout` seconds (a disk that hangs) the thread, a daemon, is left behind with the lock.
        """
        atexit.unregister(self._at_exit)
        if self._queue.close(timeout):
            _log.info("the audit trail ends", **_line_and_head(self.head))

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _commit(
        self, item: Item, patience: float | None, keep: Keep | None, entries: Sequence[SendingEntry] = ()
    ) -> bool:
        try:
            await self._queue.durable(item, patience)
        except (JournalUnwritable, JournalCorrupt) as error:
            try:
                if keep is None or not keep():
                    raise
                await self._refuse_used(entries, error)
                if not keep():
                    raise
                return not self._queue.keep(item)
            except BaseException:
                self._queue.give_up(item)
                raise
        return True

    async def _refuse_used(self, entries: Sequence[SendingEntry], trouble: JournalError) -> None:
        """The check of the refs that the commit would have made, as far as the file can be read at all (INV-01)."""
        try:
            if self._queue.thread is None:
                self._reader.refuse_used(entries)
            elif entries:
                await self._clock.wait_for(_aside(lambda: self._reader.refuse_used(entries)), _LOOK_S)
        except (JournalError, TimeoutError) as error:
            _log.warning("the journal can be neither written nor read", trouble=str(trouble), error=str(error))

    def _put(self, item: Item) -> None:
        if not self._queue.hand_over(item):
            _log.error("a record came after the journal was closed; it is lost")

    def _mark(self, endpoint: str, client_id: int, order_id: int) -> bool:
        rises = order_id > self._marks.get((endpoint, client_id), 0)
        if rises:
            self._marks[endpoint, client_id] = order_id
        return rises


Journal = JournalWriter
"""The journal as most callers name it: `Journal.open(state_dir, account, clock)`."""


def _forget(file: JournalFile, before: datetime | None, at: datetime) -> None:
    if before is None:
        return
    try:
        count = file.forget_orders(before, at)
    except sqlite3.Error as error:
        raise translate(error, file.path) from error
    if count:
        _log.info("the journal forgot old orders", orders=count, ended_before=str(before.date()))


def _line_and_head(head: tuple[int, str]) -> dict[str, int | str]:
    line, digest = head
    return {"line": line, "head": digest}


def _put_all(file: JournalFile, ref: str, changes: Sequence[Change], at: datetime) -> None:
    for change in changes:
        file.put_event(ref, change, at)


def _aside(work: Callable[[], None]) -> asyncio.Future[None]:
    """Do it on a thread that nobody waits for at the end of the program: the disk may hang."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def run() -> None:
        failure: Exception | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=run, name=f"{THREAD_NAME}-look", daemon=True).start()
    return future


def _close_at_exit(writer: WriteQueue) -> Callable[[], None]:
    """Register a close that does not keep the writer alive; returns what to unregister."""
    reference = weakref.ref(writer)

    def close() -> None:
        found = reference()
        if found is not None:
            found.close(timeout=0.5)

    atexit.register(close)
    return close
