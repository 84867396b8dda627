"""What the gates said about an order: immutable, complete, fit for the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ibkr_connector.errors import RiskRejected

Figure = Decimal | str | int | float | None
"""A limit or a value: in the unit the gate names, or a word."""


class DataMissing(Exception):
    """A gate cannot judge without `what`: it refuses, and `remedy` says how to get it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's answer. `remedy` is empty when it passed."""

    gate: str
    passed: bool
    limit: Figure = None
    value: Figure = None
    message: str = ""
    remedy: str = ""
    order_ref: str = ""
    """Which leg, in a group."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; Decimals as text."""
        return {
            "gate": self.gate,
            "passed": self.passed,
            "limit": _plain(self.limit),
            "value": _plain(self.value),
            "message": self.message,
            "remedy": self.remedy,
            "order_ref": self.order_ref,
        }


@dataclass(frozen=True, slots=True)
class RiskDecision:
    """All gates' answers about one order, or one group of orders, and what they were judged on."""

    order_ref: str
    allowed: bool
    results: tuple[GateResult, ...]
    at: datetime
    """Market time."""
    account: str = ""
    inputs: tuple[tuple[str, str], ...] = ()
    """What was used: price and its source, value, position, what was in flight."""

    @property
    def reasons(self) -> tuple[GateResult, ...]:
        """The gates that refused."""
        return tuple(result for result in self.results if not result.passed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the journal, events and `RiskRejected`."""
        return {
            "order_ref": self.order_ref,
            "allowed": self.allowed,
            "at": self.at.isoformat(),
            "account": self.account,
            "inputs": dict(self.inputs),
            "gates": [result.to_dict() for result in self.results],
        }

    def to_error(self) -> RiskRejected:
        """The exception that tells a caller why. Lists every gate that refused."""
        reasons = self.reasons
        told = (f"{reason.order_ref} {reason.gate}: {reason.message}".strip() for reason in reasons)
        return RiskRejected(
            "; ".join(told) + ".",
            remedy=" ".join(dict.fromkeys(reason.remedy for reason in reasons if reason.remedy)) or None,
            order_ref=self.order_ref,
            gates=[reason.gate for reason in reasons],
            decision=self.to_dict(),
        )

    def require(self) -> RiskDecision:
        """Itself when allowed; raises `RiskRejected` otherwise."""
        if not self.allowed:
            raise self.to_error()
        return self


def _plain(value: Figure) -> str | int | float | None:
    return f"{value:f}" if isinstance(value, Decimal) else value
