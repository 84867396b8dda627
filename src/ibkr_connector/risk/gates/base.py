"""What a gate is."""

from __future__ import annotations

from typing import ClassVar, Protocol

from ibkr_connector.risk.decision import Figure, GateResult
from ibkr_connector.risk.order_check import OrderCheck


class Gate(Protocol):
    """One rule. Stateless: its limits come with its construction, everything else with the order.

    A gate that lacks data raises `DataMissing`; one that raises anything else counts as refusing.
    """

    name: ClassVar[str]
    again: ClassVar[bool]
    """Whether it is asked once more right before the write: what it looks at may change while an order waits."""

    def check(self, order: OrderCheck) -> GateResult:
        """Pass or refuse, with the limit and the value compared."""
        ...


RESUME = "resume trading (`ibkr-connector resume`)"
"""What ends a stop, for remedies."""


def passed(gate: Gate, limit: Figure = None, value: Figure = None, message: str = "") -> GateResult:
    """The answer of a gate that has no objection."""
    return GateResult(gate.name, True, limit, value, message)


def refused(gate: Gate, limit: Figure, value: Figure, message: str, remedy: str) -> GateResult:
    """The answer of a gate that says no."""
    return GateResult(gate.name, False, limit, value, message, remedy)
