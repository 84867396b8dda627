"""The reading side of the journal: from any thread, and from other processes while a connector writes.

Every call opens a connection of its own (about 0.1 ms), so nothing is shared and nothing waits for the writer.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from ibkr_connector.errors import JournalCorrupt, JournalError
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderRequest, OrderState
from ibkr_connector.orders.audit import verify_chain
from ibkr_connector.orders.changes import Change, decode_change
from ibkr_connector.orders.entries import AuditEntry, AuditReport, JournalOrder, SendingEntry
from ibkr_connector.orders.fork_gate import sqlite_gate
from ibkr_connector.orders.journal_file import USER_PREFIX, read_head, refuse_used
from ibkr_connector.store import account_path, connect, translate

FILE_NAME = "journal.sqlite3"
_COLUMNS = (
    "ref, account, request, decision, order_id, client_id, endpoint, grp, parent_ref, parent_id,"
    " created_at, updated_at, ended"
)


class JournalReader:
    """What the journal holds, by question."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, state_dir: str | os.PathLike[str], account: str) -> JournalReader:
        """The reader of an account's journal, for tools. Raises: JournalError when there is none yet."""
        path = account_path(state_dir, account) / FILE_NAME
        if not path.exists():
            msg = f"There is no journal for account {account} in {path.parent}."
            raise JournalError(msg, remedy="Check the account and state_dir; a journal begins with the first connect.")
        return cls(path)

    def load(self, since: datetime | None = None) -> list[JournalOrder]:
        """Every open order, and every other one that moved since `since` (None = open ones only), oldest first."""
        if since is None:
            return self._orders("WHERE ended IS NULL", (), "created_at, ref")
        return self._orders("WHERE ended IS NULL OR updated_at >= ?", (since.isoformat(),), "created_at, ref")

    def find(self, ref: str) -> JournalOrder | None:
        """One order by its ref."""
        found = self._orders("WHERE ref = ?", (ref,), "ref")
        return found[0] if found else None

    def recent(self, limit: int = 50) -> list[JournalOrder]:
        """The orders that moved last, newest first."""
        return self._orders("", (), f"updated_at DESC, ref LIMIT {int(limit)}")

    def fills(self, since: datetime | None = None) -> list[Execution]:
        """The executions of our orders, corrections in the place of what they correct, oldest first."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT data FROM fills WHERE at >= ? ORDER BY at, base_id",
                ("" if since is None else since.isoformat(),),
            ).fetchall()
        return [self._decode(row[0]) for row in rows]

    def agent_positions(self) -> dict[tuple[str, int], Decimal]:
        """What each agent's orders have filled, by (agent in lower case, con_id); orders forgotten do not count."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT json_extract(orders.request, '$.agent'), fills.data FROM fills JOIN orders USING (ref)"
                " WHERE json_extract(orders.request, '$.agent') IS NOT NULL"
            ).fetchall()
        held: dict[tuple[str, int], Decimal] = {}
        for agent, data in rows:
            fill = self._decode(data)
            key = (str(agent).lower(), fill.contract.con_id)
            held[key] = held.get(key, Decimal(0)) + (fill.quantity if fill.side == "BUY" else -fill.quantity)
        return held

    def sent_since(self, since: datetime) -> list[tuple[datetime, OrderRequest]]:
        """The orders whose sending was recorded since `since` by this machine's clock, oldest first."""
        found: list[tuple[datetime, OrderRequest]] = []
        with self._connection() as connection:
            # Newest first, to stop at the first that is too old: the trail only grows.
            rows = connection.execute("SELECT at, data FROM audit WHERE kind = 'sending' ORDER BY seq DESC")
            try:
                for at, data in rows:
                    when = datetime.fromisoformat(at)
                    if when < since:
                        break
                    found.append((when, OrderRequest.model_validate_json(json.loads(data)["request"])))
            except (ValidationError, ValueError, KeyError, TypeError) as error:
                msg = f"A line of the audit trail in {self.path} cannot be read: {error}."
                raise JournalCorrupt(msg, path=str(self.path)) from None
        return found[::-1]

    def marks(self) -> dict[tuple[str, int], int]:
        """The highest order id used per endpoint and client id."""
        with self._connection() as connection:
            rows = connection.execute("SELECT endpoint, client_id, high FROM id_marks").fetchall()
        return {(str(endpoint), int(client_id)): int(high) for endpoint, client_id, high in rows}

    def meta(self) -> dict[str, Any]:
        """The small values kept beside the orders."""
        with self._connection() as connection:
            rows = connection.execute("SELECT key, value FROM meta WHERE key LIKE ? || '%'", (USER_PREFIX,)).fetchall()
        try:
            return {str(key).removeprefix(USER_PREFIX): json.loads(value) for key, value in rows}
        except ValueError as error:
            msg = f"A value kept in {self.path} cannot be read: {error}."
            raise JournalCorrupt(msg, path=str(self.path)) from None

    def audit(self, after: int = 0) -> Iterator[AuditEntry]:
        """The lines of the audit trail after line `after`, oldest first."""
        with self._connection() as connection:
            yield from _audit_lines(connection, after)

    def audit_of(self, ref: str) -> list[AuditEntry]:
        """The lines of the audit trail about one order, oldest first."""
        with self._connection() as connection:
            return list(_audit_lines(connection, 0, ref))

    def head(self) -> tuple[int, str]:
        """Number and hash of the last audit line, as noted."""
        with self._connection() as connection:
            return read_head(connection, self.path)

    def verify(self, known_head: str | None = None) -> AuditReport:
        """Check the audit trail: its chain from the first line to the noted head, and a line for every order sent.

        `known_head`: a head that was noted elsewhere, which the chain must have gone through.
        """
        with self._connection() as connection:
            # One read transaction: lines added meanwhile must not look like a difference.
            connection.execute("BEGIN")
            report = verify_chain(
                _audit_lines(connection, 0), expected_head=read_head(connection, self.path)[1], known_head=known_head
            )
            missing = [
                str(row[0])
                for row in connection.execute(
                    "SELECT ref FROM orders WHERE NOT EXISTS"
                    " (SELECT 1 FROM audit WHERE audit.ref = orders.ref AND audit.kind = 'sending')"
                    " ORDER BY ref LIMIT 10"
                )
            ]
            connection.execute("COMMIT")
        if not missing:
            return report
        problem = f"orders without a line for their sending: {', '.join(missing)}"
        return AuditReport(ok=False, entries=report.entries, head=report.head, problems=(*report.problems, problem))

    def refuse_used(self, entries: Sequence[SendingEntry]) -> None:
        """Refuse refs that were sent before, on a disk that fails: nothing is made or written for it.

        Where the write-ahead log cannot be used, the database alone is asked.
        Raises: OrderValidationError; JournalError when it cannot be read.
        """
        with sqlite_gate:
            try:
                self._refuse_used(entries, "mode=ro")
            except sqlite3.Error:
                try:
                    self._refuse_used(entries, "mode=ro&immutable=1")
                except sqlite3.Error as error:
                    raise translate(error, self.path) from error

    # --- inside -------------------------------------------------------------------------------------------------------

    def _refuse_used(self, entries: Sequence[SendingEntry], how: str) -> None:
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{how}", uri=True, timeout=0.1)
        with contextlib.closing(connection):
            refuse_used(connection, entries)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with sqlite_gate:
            connection = connect(self.path, read_only=True)
            try:
                yield connection
            except sqlite3.Error as error:
                raise translate(error, self.path) from error
            finally:
                connection.close()

    def _orders(self, where: str, values: Sequence[object], order: str) -> list[JournalOrder]:
        with self._connection() as connection:
            # One read transaction: the orders and their events must be of the same moment.
            connection.execute("BEGIN")
            query = f"SELECT {_COLUMNS} FROM orders {where} ORDER BY {order}"  # noqa: S608 - our own constants
            rows = connection.execute(query, values).fetchall()
            orders = [self._order(row, self._changes(connection, str(row[0]))) for row in rows]
            connection.execute("COMMIT")
        return orders

    def _changes(self, connection: sqlite3.Connection, ref: str) -> tuple[Change, ...]:
        rows = connection.execute("SELECT kind, data FROM events WHERE ref = ? ORDER BY seq", (ref,))
        return tuple(decode_change(kind, data) for kind, data in rows)

    def _order(self, row: Sequence[Any], changes: tuple[Change, ...]) -> JournalOrder:
        ref, account, request, decision, order_id, client_id, endpoint, grp, parent_ref, parent_id = row[:10]
        created_at, updated_at, ended = row[10:]
        try:
            return JournalOrder(
                ref=ref,
                account=account,
                request=OrderRequest.model_validate_json(request),
                decision=json.loads(decision),
                order_id=order_id,
                client_id=client_id,
                endpoint=endpoint,
                group=grp,
                parent_ref=parent_ref,
                parent_id=parent_id,
                created_at=datetime.fromisoformat(created_at),
                updated_at=datetime.fromisoformat(updated_at),
                ended=None if ended is None else OrderState(ended),
                changes=changes,
            )
        except (ValidationError, ValueError) as error:
            msg = f"Order {ref} in {self.path} cannot be read: {error}."
            raise JournalCorrupt(msg, path=str(self.path), order_ref=ref) from None

    def _decode(self, data: str) -> Execution:
        try:
            return msgspec.json.decode(data, type=Execution)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            msg = f"A fill in {self.path} cannot be read: {error}."
            raise JournalCorrupt(msg, path=str(self.path)) from None


def _audit_lines(connection: sqlite3.Connection, after: int, about: str | None = None) -> Iterator[AuditEntry]:
    query = "SELECT seq, at, kind, ref, data, prev, hash FROM audit WHERE seq > ?"
    values: tuple[object, ...] = (after,)
    if about is not None:
        query, values = f"{query} AND ref = ?", (after, about)
    cursor = connection.execute(f"{query} ORDER BY seq", values)
    for seq, at, kind, ref, data, prev, digest in cursor:
        yield AuditEntry(seq=seq, at=at, kind=kind, ref=ref, data=data, prev=prev, hash=digest)
