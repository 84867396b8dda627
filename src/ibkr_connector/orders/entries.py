"""What goes into the journal and what comes out of it, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ibkr_connector.models.order import OrderRequest, OrderState
from ibkr_connector.orders.changes import CHANGE_KINDS, Change, OrderTerms

BROKER_AT = "broker_at"
"""The key of the broker's time in the data of an audit line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingEntry:
    """One new order about to be written: everything a later run needs to find out what became of it."""

    request: OrderRequest
    decision: Mapping[str, Any]
    """The risk decision as plain values."""
    account: str
    order_id: int
    client_id: int
    endpoint: str
    """`host:port` of the gateway: order ids belong to it and the client id."""
    epoch: int
    """The connection it is about to be written to."""
    sent_at: datetime
    """When, by the broker's clock: its day says for how long the broker tells what became of it."""
    group: str = ""
    """The group (bracket, OCA) it shares one commit and one reservation with."""
    parent_ref: str = ""
    parent_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEntry:
    """One change of a working order about to be written: both versions count until it is answered."""

    ref: str
    old: OrderTerms
    new: OrderTerms
    decision: Mapping[str, Any]
    order_id: int
    client_id: int
    endpoint: str
    epoch: int
    sent_at: datetime
    """When, by the broker's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalOrder:
    """One order as the journal knows it; `recover.recover` makes the record of it."""

    ref: str
    account: str
    request: OrderRequest
    decision: dict[str, Any]
    order_id: int
    client_id: int
    endpoint: str
    group: str
    parent_ref: str
    parent_id: int
    created_at: datetime
    updated_at: datetime
    ended: OrderState | None
    """How it ended by the journal; None while it is open."""
    changes: tuple[Change, ...] = ()
    """Everything that happened to it, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit trail. `hash` covers the line and the hash before it."""

    seq: int
    at: str
    """This machine's time, UTC; in a line without `has_machine_time` the broker's."""
    kind: str
    ref: str
    data: str
    prev: str
    hash: str

    @property
    def broker_at(self) -> str | None:
        """When it was by the broker's clock, ISO 8601 UTC; None where that is not told."""
        try:
            return datetime.fromisoformat(self._told().get(self._broker_key(), "")).isoformat()
        except (TypeError, ValueError):
            return None

    @property
    def has_machine_time(self) -> bool:
        """Whether `at` is this machine's time. Older programs put the broker's there in lines about a change."""
        return self._broker_key() != "at"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "seq": self.seq,
            "at": self.at,
            "broker_at": self.broker_at,
            "kind": self.kind,
            "order_ref": self.ref,
            "data": self.data,
            "prev": self.prev,
            "hash": self.hash,
        }

    def _broker_key(self) -> str:
        """Under which key of the data the broker's time is."""
        if self.kind == "modify_sending":
            return "sent_at"
        told = self._told()
        return "at" if self.kind in CHANGE_KINDS and BROKER_AT not in told and "at" in told else BROKER_AT

    def _told(self) -> dict[str, Any]:
        """The data; nothing where somebody changed it to what cannot be read."""
        try:
            told = json.loads(self.data)
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The result of checking the audit trail."""

    ok: bool
    entries: int
    """Lines that are in order, counted from the first."""
    head: str
    """The hash of the last line; compare it with the one printed when the program last ended."""
    problems: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"ok": self.ok, "entries": self.entries, "head": self.head, "problems": list(self.problems)}
