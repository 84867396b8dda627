"""`connector.risk`: limits, the kill, and what they say."""

from __future__ import annotations

from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import InvalidRequest
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.state import TradingState


class RiskApi:
    """The gates in front of every order. Everything here is safe from any thread, even with a stuck loop."""

    def __init__(self, engine: RiskEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    @property
    def limits(self) -> RiskLimits:
        """The limits in force."""
        return self._engine.limits

    @property
    def killed(self) -> bool:
        """Whether trading was stopped."""
        return self._engine.trading.state is TradingState.HALTED

    def kill(self, reason: str) -> None:
        """Stop every order that adds risk, at once; cancels go on working. Holds over restarts, until `resume`."""
        self._engine.kill(_needed(reason), self._clock.now())

    def resume(self, reason: str) -> bool:
        """End the kill and the day's trip. False when somebody killed again meanwhile."""
        return self._engine.resume(_needed(reason), self._clock.now())

    def status(self) -> dict[str, Any]:
        """State and reservations, as plain values."""
        return self._engine.status()


def _needed(reason: str) -> str:
    given: object = reason
    if not isinstance(given, str) or not given.strip():
        raise InvalidRequest("a reason is needed: it is kept.", field="reason", value=repr(reason), legal="a sentence")
    return reason.strip()
