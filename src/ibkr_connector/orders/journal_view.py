"""What journals tell a person: orders as they were last known, and everything that happened to one of them.

For tools that look beside a running program, or without one. Nothing is written, locked or created.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.entries import AuditEntry, JournalOrder
from ibkr_connector.orders.journal_read import FILE_NAME, JournalReader
from ibkr_connector.orders.recover import replayed

_RECENT = 500
"""Orders that are looked up by a number; older ones by their ref alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStep:
    """One thing that happened to an order, as the journal kept it."""

    at: datetime
    what: str
    details: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"at": self.at.isoformat(), "what": self.what, **self.details}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderHistory:
    """One order, whole: as it stands, the decision that let it pass, every step, and its lines of the audit trail."""

    order: OrderSnapshot
    account: str
    endpoint: str
    decision: dict[str, Any]
    perm_ids: tuple[int, ...]
    in_doubt: tuple[str, ...]
    """The operations that may or may not have arrived."""
    steps: tuple[JournalStep, ...]
    audit: tuple[AuditEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "order": self.order.to_dict(),
            "account": self.account,
            "endpoint": self.endpoint,
            "decision": self.decision,
            "perm_ids": list(self.perm_ids),
            "in_doubt": list(self.in_doubt),
            "history": [step.to_dict() for step in self.steps],
            "audit": [line.to_dict() for line in self.audit],
        }


class JournalView:
    """One account's journal as a person reads it. Raises JournalError where it cannot be read."""

    def __init__(self, reader: JournalReader) -> None:
        self.reader = reader

    @property
    def account(self) -> str:
        """Whose it is."""
        return self.reader.path.parent.name

    def recent(self, limit: int) -> list[OrderSnapshot]:
        """The orders that moved last, newest first."""
        return [replayed(order).to_snapshot() for order in self.reader.recent(limit)]

    def in_doubt(self) -> list[OrderSnapshot]:
        """Orders with an operation that may or may not have arrived, oldest first."""
        return [record.to_snapshot() for record in map(replayed, self.reader.load()) if record.in_doubt]

    def by_perm_id(self) -> dict[int, OrderSnapshot]:
        """The orders that moved lately, by every permId the broker gave them."""
        records = map(replayed, self.reader.recent(_RECENT))
        return {perm: record.to_snapshot() for record in records for perm in record.perm_ids}

    def find(self, key: str) -> list[OrderHistory]:
        """The orders that a ref, an order id or a permId names: ids may have been given several times."""
        named = self.reader.find(key)
        found = [named] if named is not None else []
        if not found and key.isascii() and key.isdigit():
            number = int(key)
            found = [
                order
                for order in self.reader.recent(_RECENT)
                if number == order.order_id or number in replayed(order).perm_ids
            ]
        return [self._history(order) for order in found]

    def _history(self, order: JournalOrder) -> OrderHistory:
        record = replayed(order)
        return OrderHistory(
            order=record.to_snapshot(),
            account=order.account,
            endpoint=order.endpoint,
            decision=order.decision,
            perm_ids=tuple(sorted(record.perm_ids)),
            in_doubt=tuple(sorted(operation.value for operation in record.doubts)),
            steps=tuple(
                JournalStep(at=change.at, what=change.kind, details=_details(change)) for change in order.changes
            ),
            audit=tuple(self.reader.audit_of(order.ref)),
        )


def journals_in(state_dir: str | os.PathLike[str], account: str = "") -> list[JournalView]:
    """The journals of a state directory: of one account, or of all, by account. Empty when there is none."""
    folder = Path(state_dir).expanduser()
    found: Sequence[Path] = sorted(folder.glob(f"*/{FILE_NAME}")) if folder.is_dir() else []
    return [JournalView(JournalReader(path)) for path in found if not account or path.parent.name == account]


def _details(change: object) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(msgspec.json.encode(change))
    del told["at"]
    return told
