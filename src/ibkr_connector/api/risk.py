"""`connector.risk`: limits, the kill, and what they say."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import JournalError, JournalUnwritable
from ibkr_connector.events import EventBus, Incident, Severity
from ibkr_connector.models.arguments import sentence, shown, to_decimal
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.state import TradingAction, TradingRecord, TradingState

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

    @property
    def trading(self) -> TradingRecord:
        """State, reason and time, as every process of the account sees them now."""
        return self._engine.trading

    def kill(self, reason: str, *, cancel: bool = False) -> bool:
        """Stop every order, at once, in every process of the account; cancels go on working. Holds until `resume`.

        Whatever `reason` is, trading is stopped. True: it is saved, and outlives the program. False: no account is
        known yet, and the first connect saves it. `cancel` also cancels this journal's working orders, protecting stops
        among them, as soon as there is a connection.

        Raises:
            JournalUnwritable: it could not be saved. Trading is stopped all the same, in this process; saving is tried
                again for as long as it runs.
        """
        said = _said(reason)
        try:
            action = TradingAction.CANCEL if cancel else TradingAction.NONE
            self._engine.kill(said, self._clock.now(), action=action)
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

    def reduce_only(self, reason: str) -> None:
        """Let through only orders that reduce positions, in every process of the account; a kill stays a kill.

        Raises:
            InvalidRequest: no reason. JournalUnwritable: it holds in this process, and could not be saved.
        """
        words = sentence(reason, "reason")
        try:
            self._engine.reduce(words, self._clock.now())
        except JournalError as error:
            raise JournalUnwritable(
                f"only reducing orders are let through here, but that could not be saved: {error.message}",
                remedy="This process goes on trying to save it; repair the state directory.",
            ) from error
        finally:
            self._tell("reducing", Severity.WARNING, f"trading is reducing only: {words}")

    def deposited(self, amount: float | Decimal) -> None:
        """Say that money came (or, negative, left) today, base currency: it is neither profit nor loss of the day."""
        self._engine.adjust_baseline(to_decimal(amount, "amount"))

    def resume(self, reason: str) -> bool:
        """End a kill, a reducing phase, the day's trip and the drawdown. False when somebody killed again meanwhile.

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
