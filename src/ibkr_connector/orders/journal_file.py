"""The writing side of the journal's SQLite file: what one transaction holds. Synchronous; one thread at a time."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ibkr_connector.errors import JournalCorrupt, JournalUnwritable, OrderValidationError
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.audit import GENESIS, link
from ibkr_connector.orders.changes import (
    Change,
    CommissionAdded,
    Committed,
    End,
    FillAdded,
    FillCorrected,
    ModifySent,
    NotSent,
    Revived,
    encode_change,
)
from ibkr_connector.orders.entries import BROKER_AT, ChangeEntry, SendingEntry
from ibkr_connector.orders.journal_schema import MIGRATIONS
from ibkr_connector.store import Synchronous, names_same_file, open_database, set_synchronous, translate

AUDITED_KINDS = frozenset(
    {
        "not_sent",
        "cancel_sent",
        "modify_not_sent",
        "reply_sending",
        "entered_doubt",
        "settled",
        "resolved",
        "revived",
        "forked",
        "drifted",
        "rejected",
        "never_arrived",
    }
)
"""Changes that also go into the audit trail; decisions, sends and changes sent have lines of their own."""

USER_PREFIX = "user."
"""What the values of `put_meta` are filed under: apart from our own."""
HEAD_KEY = "audit.head"
"""Where the meta table notes the last audit line, in the transaction that wrote it."""


_FORGET_MOST = 10_000
"""Orders dropped at one opening, so that it stays short."""


def plain(value: object) -> str:
    """Any of our values as JSON text, keys sorted."""
    return json.dumps(msgspec.to_builtins(value, str_keys=True), sort_keys=True, separators=(",", ":"), default=str)


class JournalFile:
    """The writing side. Every method between `begin` and `commit` belongs to one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._log_path = path.with_name(f"{path.name}-wal")
        self._connection = open_database(path, MIGRATIONS)
        self._known = self._status(path)
        self._begin_anew()

    def reopen(self) -> None:
        """Open the file anew after trouble: a connection that met an I/O error may stay broken.

        Raises: JournalUnwritable when it is not the same file any more.
        """
        self.close()
        self._connection = open_database(self.path, MIGRATIONS, check=False)
        self.require_place()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._level: Synchronous = "FULL"
        self._known_log = self._status(self._log_path)
        self._head = self._pending = self._note_head()

    def _status(self, path: Path) -> os.stat_result:
        try:
            return path.stat()
        except OSError as error:
            self.close()
            raise translate(error, path) from error

    def require_place(self) -> None:
        """Raise `JournalUnwritable` unless the path still names the file that was opened.

        SQLite writes on into a file that was deleted or moved: what is committed there is gone with the process.
        """
        if not names_same_file(self.path, self._known):
            raise displaced(self.path)

    def require_log(self) -> None:
        """The same for the write-ahead log, which `reopen` makes good: the close of the old one saves what is in it."""
        if not names_same_file(self._log_path, self._known_log):
            raise displaced(self._log_path)

    def close(self) -> None:
        """Close it. Idempotent; what is committed is on disk already."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @property
    def head(self) -> tuple[int, str]:
        """Number and hash of the last line of the audit trail that is committed."""
        return self._head

    # --- keeping it small ---------------------------------------------------------------------------------------------

    def forget_orders(self, before: datetime, at: datetime) -> int:
        """Drop requests, events and fills of orders that ended before `before` (10,000 at most); how many orders.

        Their refs stay used (INV-01); id marks and the audit trail stay whole, and tell of it (INV-15).
        """
        stamp = before.isoformat()
        rows = self._connection.execute(
            "SELECT ref, ended, reusable FROM orders WHERE ended IS NOT NULL AND updated_at < ?"
            " ORDER BY updated_at LIMIT ?",
            (stamp, _FORGET_MOST),
        ).fetchall()
        if not rows:
            return 0
        self.begin(durable=True)
        try:
            for ref, ended, reusable in rows:
                if not reusable:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO spent_refs (ref, ended) VALUES (?,?)", (ref, ended)
                    )
                self._connection.execute("DELETE FROM events WHERE ref = ?", (ref,))
                self._connection.execute("DELETE FROM orders WHERE ref = ?", (ref,))
            self._connection.execute("DELETE FROM fills WHERE at < ? AND ref IN (SELECT ref FROM spent_refs)", (stamp,))
            self.put_audit("orders_forgotten", "", plain({"orders": len(rows), "ended_before": stamp}), at)
            self.commit()
        except BaseException:
            self.rollback()
            raise
        return len(rows)

    # --- transactions -------------------------------------------------------------------------------------------------

    def begin(self, *, durable: bool) -> None:
        """Start one. Only a durable one waits for the disk; it also makes everything before it durable."""
        level: Synchronous = "FULL" if durable else "NORMAL"
        if level != self._level:
            set_synchronous(self._connection, level)
            self._level = level
        self._connection.execute("BEGIN IMMEDIATE")
        self._pending = self._head

    @contextlib.contextmanager
    def part(self) -> Iterator[None]:
        """A part of the transaction that can fail without taking the rest with it."""
        head = self._pending
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._pending = head
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO part")
                self._connection.execute("RELEASE part")
            raise
        self._connection.execute("RELEASE part")

    def touch(self) -> None:
        """Write something: a transaction that changes nothing does not wait for the disk."""
        self._connection.execute(
            "INSERT INTO meta (key, value) VALUES ('synced', '1')"
            " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
        )

    def commit(self) -> None:
        """End it: on return a durable one survives power loss, any other the end of the process."""
        if self._pending != self._head:
            self._put_meta(HEAD_KEY, json.dumps(list(self._pending)))
        self._connection.execute("COMMIT")
        self._head = self._pending

    def rollback(self) -> None:
        """Undo it, if one is open."""
        self._pending = self._head
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def checkpoint(self) -> None:
        """Move what is in the write-ahead log into the database, without waiting for readers."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    # --- writes -------------------------------------------------------------------------------------------------------

    def check_new(self, entries: Sequence[SendingEntry]) -> None:
        """Refuse refs that were used (INV-01). Raises: OrderValidationError; nothing was written."""
        refuse_used(self._connection, entries)

    def put_sending(self, entry: SendingEntry, at: datetime) -> None:
        """Intent, risk decision, SENDING and the id mark of one order."""
        request, stamp = entry.request, entry.sent_at.isoformat()
        body, decision = request.model_dump_json(), plain(entry.decision)
        self._connection.execute(
            "INSERT INTO orders (ref, account, request, decision, order_id, client_id, endpoint, grp, parent_ref,"
            " parent_id, created_at, updated_at, ended, reusable) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,NULL,0)"
            " ON CONFLICT (ref) DO UPDATE SET account = excluded.account, request = excluded.request,"
            " decision = excluded.decision, order_id = excluded.order_id, client_id = excluded.client_id,"
            " endpoint = excluded.endpoint, grp = excluded.grp, parent_ref = excluded.parent_ref,"
            " parent_id = excluded.parent_id, updated_at = excluded.updated_at, ended = NULL, reusable = 0",
            (
                request.order_ref,
                entry.account,
                body,
                decision,
                entry.order_id,
                entry.client_id,
                entry.endpoint,
                entry.group,
                entry.parent_ref,
                entry.parent_id,
                stamp,
                stamp,
            ),
        )
        sent = Committed(at=entry.sent_at, order_id=entry.order_id, client_id=entry.client_id, epoch=entry.epoch)
        self._put_event(request.order_ref, sent)
        self.put_mark(entry.endpoint, entry.client_id, entry.order_id)
        self.put_audit("decision", request.order_ref, decision, at)
        self.put_audit("sending", request.order_ref, plain(_sending_line(entry, body)), at)

    def put_change_sending(self, entry: ChangeEntry, at: datetime) -> None:
        """Old and new version of a change about to be written."""
        self.put_audit("decision", entry.ref, plain(entry.decision), at)
        self.put_audit("modify_sending", entry.ref, plain(entry), at)
        self.put_event(entry.ref, ModifySent(at=entry.sent_at, terms=entry.new, epoch=entry.epoch), at)

    def put_event(self, ref: str, change: Change, at: datetime) -> None:
        """One change of an order: the event, and what follows from it for the other tables. `at`: this machine's time.

        Events carry the broker's time, which orders are counted by.
        """
        self._put_event(ref, change)
        stamp = change.at.isoformat()
        match change:
            case NotSent():
                self._set_end(ref, stamp, OrderState.NOT_SENT, reusable=True)
            case End():
                self._set_end(ref, stamp, change.state, reusable=False)
            case Revived() | Committed():
                self._set_end(ref, stamp, None, reusable=False)
            case FillAdded() | FillCorrected():
                self._put_fill(ref, change.execution)
            case CommissionAdded():
                self._put_commission(change)
            case _:
                pass
        if change.kind in AUDITED_KINDS:
            told = msgspec.json.decode(encode_change(change))
            told[BROKER_AT] = told.pop("at")
            self.put_audit(change.kind, ref, _encode(told), at)

    def put_mark(self, endpoint: str, client_id: int, order_id: int) -> None:
        """Raise the highest order id used (INV-08); never lowers it."""
        self._connection.execute(
            "INSERT INTO id_marks (endpoint, client_id, high) VALUES (?,?,?)"
            " ON CONFLICT (endpoint, client_id) DO UPDATE SET high = max(high, excluded.high)",
            (endpoint, client_id, order_id),
        )

    def put_meta(self, key: str, value: str) -> None:
        """Set one of the small values kept beside the orders."""
        self._put_meta(USER_PREFIX + key, value)

    def put_audit(self, kind: str, ref: str, data: str, at: datetime) -> None:
        """Add a line to the audit trail. `at`: this machine's time, never the broker's, which belongs into `data`."""
        number, prev = self._pending
        seq, stamp = number + 1, at.isoformat()
        digest = link(seq, stamp, kind, ref, data, prev)
        self._connection.execute(
            "INSERT INTO audit (seq, at, kind, ref, data, prev, hash) VALUES (?,?,?,?,?,?,?)",
            (seq, stamp, kind, ref, data, prev, digest),
        )
        self._pending = (seq, digest)

    def _put_event(self, ref: str, change: Change) -> None:
        self._connection.execute(
            "INSERT INTO events (ref, at, kind, data) VALUES (?,?,?,?)",
            (ref, change.at.isoformat(), change.kind, encode_change(change)),
        )

    def _set_end(self, ref: str, stamp: str, state: OrderState | None, *, reusable: bool) -> None:
        self._connection.execute(
            "UPDATE orders SET ended = ?, reusable = ?, updated_at = ? WHERE ref = ?",
            (None if state is None else state.value, int(reusable), stamp, ref),
        )

    def _put_fill(self, ref: str, execution: Execution) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO fills (base_id, exec_id, ref, at, data) VALUES (?,?,?,?,?)",
            (execution.base_id, execution.exec_id, ref, execution.at.isoformat(), _encode(execution)),
        )

    def _put_commission(self, change: CommissionAdded) -> None:
        row = self._connection.execute(
            "SELECT base_id, data FROM fills WHERE exec_id = ?", (change.exec_id,)
        ).fetchone()
        if row is None:
            return
        known = msgspec.json.decode(row[1])
        known["commission"] = str(change.commission)
        known["commission_currency"] = change.currency
        known["realized_pnl"] = None if change.realized_pnl is None else str(change.realized_pnl)
        self._connection.execute("UPDATE fills SET data = ? WHERE base_id = ?", (_encode(known), row[0]))

    def _put_meta(self, key: str, value: str) -> None:
        self._connection.execute(
            "INSERT INTO meta (key, value) VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def _note_head(self) -> tuple[int, str]:
        """The noted head, not the last line: if lines were cut off, the gap must stay visible."""
        try:
            return read_head(self._connection, self.path)
        except BaseException:
            self.close()
            raise


def refuse_used(connection: sqlite3.Connection, entries: Sequence[SendingEntry]) -> None:
    """Raise `OrderValidationError` when one of these refs was sent before (INV-01)."""
    for entry in entries:
        ref = entry.request.order_ref
        row = connection.execute(
            "SELECT ended, reusable FROM orders WHERE ref = :ref"
            " UNION ALL SELECT ended, 0 FROM spent_refs WHERE ref = :ref",
            {"ref": ref},
        ).fetchone()
        if row is not None and not row[1]:
            state = row[0] or "open"
            raise OrderValidationError(
                f"order_ref={ref!r} names an order that was sent before ({state}); it is never sent again.",
                remedy="Look it up with get_order(order_ref); a new order needs a new order_ref.",
                field="order_ref",
                value=ref,
                legal="a ref that was never used",
                order_ref=ref,
                state=state,
            )


def displaced(path: Path) -> JournalUnwritable:
    """The error of a file that is not at its place any more."""
    return JournalUnwritable(
        f"{path} was deleted, moved or replaced while this program uses it: what it writes there would be lost.",
        remedy="Put the file back; or end the program, compare the account's open orders with the broker's, and start"
        " it again. Until then orders that add risk are refused; cancels work.",
        path=str(path),
    )


def read_head(connection: sqlite3.Connection, path: Path) -> tuple[int, str]:
    """Number and hash of the last audit line, as noted beside the trail. Raises: JournalCorrupt."""
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (HEAD_KEY,)).fetchone()
        seq, digest = json.loads(row[0]) if row else (0, GENESIS)
        return (int(seq), str(digest))
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except (TypeError, ValueError) as error:
        msg = f"The head of the audit trail noted in {path} cannot be read: {error}."
        raise JournalCorrupt(msg, path=str(path)) from None


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _sending_line(entry: SendingEntry, request: str) -> dict[str, Any]:
    return {
        BROKER_AT: entry.sent_at.isoformat(),
        "request": request,
        "account": entry.account,
        "order_id": entry.order_id,
        "client_id": entry.client_id,
        "endpoint": entry.endpoint,
        "epoch": entry.epoch,
        "group": entry.group,
        "parent_ref": entry.parent_ref,
        "parent_id": entry.parent_id,
    }
