"""`connector.risk`: limits, the kill, and what they say."""

from __future__ import annotations

from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import JournalError, JournalUnwritable
from ibkr_connector.events import EventBus, Incident, Severity
from ibkr_connector.models.arguments import sentence, shown
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.state import TradingState

_LONGEST_REASON = 1_000


class RiskApi:
    """The gates in front of every order. Everything here is safe from any thread, even with a stuck loop."""

    def __init__(self, engine: RiskEngine, clock: Clock, bus: EventBus | None = None) -> None:
        self._engine = engine
        self._bus = bus
        self._clock = clock

    @property
    def limits(self) -> RiskLimits:
        """The limits in force."""
        return self._engine.limits

    @property
    def killed(self) -> bool:
        """Whether trading was stopped."""
        return self._engine.trading.state is TradingState.HALTED

    def kill(self, reason: str) -> bool:
        """Stop every order that adds risk, at once; cancels go on working. Holds over restarts, until `resume`.

        Whatever `reason` is, trading is stopped. True: it is saved. False: no account is known yet, and the first
        connect saves it.

        Raises:
            JournalUnwritable: it could not be saved. Trading is stopped all the same, in this process; saving is tried
                again for as long as it runs.
        """
        said = _said(reason)
        try:
            self._engine.kill(said, self._clock.now())
        except JournalError as error:
            raise JournalUnwritable(
                f"trading is stopped, but that could not be saved: {error.message}",
                remedy="This process refuses orders, and goes on trying to save it. Before a restart repair the state "
                "directory and kill again, or the kill may be lost.",
                killed=True,
            ) from error
        finally:
            self._tell("killed", Severity.CRITICAL, f"trading is halted: {said}")
        return self._engine.control.is_stored

    def resume(self, reason: str) -> bool:
        """End the kill and the day's trip. False when somebody killed again meanwhile.

        Raises:
            InvalidRequest: no reason. JournalError: it cannot be saved (or no account is known yet, before the first
                connect); then nothing is resumed.
        """
        words = sentence(reason, "reason")
        if not self._engine.control.is_stored:
            raise JournalError(
                "not resumed: the journal of the account is not open, so what it says cannot be changed.",
                remedy="Connect first (read_only connectors have no journal, and send no orders).",
            )
        try:
            resumed = self._engine.resume(words, self._clock.now())
        except JournalError as error:
            raise JournalUnwritable(
                f"not resumed, because it could not be saved: {error.message}",
                remedy="Make room in the state directory, or repair its permissions, then resume again.",
            ) from error
        if resumed:
            self._tell("resumed", Severity.INFO, f"trading goes on: {words}")
        return resumed

    def _tell(self, kind: str, severity: Severity, text: str) -> None:
        if self._bus is not None:
            self._bus.publish(Incident(at=self._clock.now(), severity=severity, kind=kind, text=text))

    def status(self) -> dict[str, Any]:
        """State and reservations, as plain values."""
        return self._engine.status()


def _said(reason: object) -> str:
    """The reason as it is kept. A kill waits for no grammar."""
    words = " ".join(reason.split()) if isinstance(reason, str) else shown(reason)
    kept = "".join(letter if letter.isprintable() else "?" for letter in words[:_LONGEST_REASON])
    return kept or "no reason was given"
