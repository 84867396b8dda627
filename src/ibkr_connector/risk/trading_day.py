"""Whether this account may trade now: the trading state that all processes share, and the loss of the day."""

from __future__ import annotations

import threading
from datetime import datetime
from decimal import Decimal

from ibkr_connector.risk.daily_loss import DailyLoss, DayFigures
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.state import TradingAction, TradingControl, TradingRecord, TradingState
from ibkr_connector.risk.view import RiskView


class TradingDay:
    """The stopping part of `RiskEngine`. All methods are safe from any thread."""

    def __init__(
        self, limits: RiskLimits, lock: threading.RLock, control: TradingControl | None, day: DailyLoss | None
    ) -> None:
        self.limits = limits
        self.control = control or TradingControl()
        self._day = day or DailyLoss()
        self._lock = lock

    def attach(self, control: TradingControl, day: DailyLoss) -> None:
        """Take over what was stored of the account, once it is known; a kill of before stays a kill."""
        with self._lock:
            old, self.control, self._day = self.control, control, day
        before = old.record  # after the swap: a kill that comes now sees the new one, see `kill`
        if before.state is TradingState.HALTED and control.record.state is not TradingState.HALTED and before.at:
            control.kill(before.reason, before.at, action=before.action)

    @property
    def trading(self) -> TradingRecord:
        """The trading state, why and since when; lock-free."""
        return self.control.record

    def kill(self, reason: str, at: datetime, *, action: TradingAction = TradingAction.NONE) -> None:
        """Refuse every order from now on; does not wait for a check under way (the check before the write sees it).

        Raises what saving raises, after it took effect.
        """
        while True:
            control = self.control
            try:
                control.kill(reason, at, action=action)
            except Exception:
                if control is self.control:
                    raise
            if control is self.control:  # else another one was attached meanwhile: it counts
                return

    def reduce(
        self, reason: str, at: datetime, *, action: TradingAction = TradingAction.NONE, from_halted: bool = False
    ) -> None:
        """Let through only orders that reduce positions; a kill stays one unless `from_halted` says otherwise."""
        self.control.reduce(reason, at, action=action, from_halted=from_halted)

    def resume(self, reason: str, at: datetime) -> bool:
        """End a kill, a reducing phase and the day's trip; False when somebody killed meanwhile.

        Raises what saving raises, and then nothing is resumed.
        """
        resumed = self.control.resume(reason, at)
        if resumed:
            with self._lock:
                self._day.latch(tripped=False)
                self._day.save_if_due(at)
        return resumed

    def observe(self, view: RiskView) -> bool:
        """Take in the account's figures; True when the daily loss limit was passed just now.

        To be called with every account update. Trouble with saving is told by `status`, never raised.
        """
        with self._lock:
            tripped = self._observe(view, self.control.record)
            try:
                self._day.save_if_due(view.now)
                self._day.problem = ""
            except Exception as error:  # noqa: BLE001 - a failing disk must not stop the account's figures
                self._day.problem = f"the daily loss cannot be saved: {error}"
            return tripped

    def adjust_baseline(self, amount: Decimal) -> None:
        """A deposit (positive) or withdrawal (negative), base currency: neither profit nor loss."""
        with self._lock:
            self._day.adjust(amount)

    def day_figures(self, view: RiskView) -> DayFigures:
        """The day's loss now."""
        with self._lock:
            return self._day.figures(view.net_liquidation, view.daily_pnl)

    @property
    def why_no_risk(self) -> str:
        """Why orders that add risk are refused whatever they are (halted, the day's loss); empty when they are not."""
        record = self.control.record
        if record.state is TradingState.REDUCING:
            return f"trading is reducing only ({record.reason})" if record.reason else "trading is reducing only"
        if record.state is TradingState.HALTED:
            return record.why_halted
        day = self._day.record
        return "the daily loss limit was passed" if day is not None and day.tripped else ""

    # --- inside -------------------------------------------------------------------------------------------------------

    def _observe(self, view: RiskView, trading: TradingRecord) -> bool:
        self._day.observe(view.now, view.net_liquidation, view.daily_pnl, trading.resumes)
        limit, loss = self.limits.daily_loss_limit, self._day.figures(view.net_liquidation, view.daily_pnl).loss
        if limit is None or loss is None or loss <= limit:
            return False
        return self._day.latch(tripped=True)
