"""Market hours."""

from __future__ import annotations

from datetime import UTC
from typing import ClassVar

from ibkr_connector.risk.decision import DataMissing, GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck, Role


class MarketHoursGate:
    """The contract must trade now: in its regular hours, or with `outside_rth` in all its trading hours.

    Hours are the contract's own. Where exchange_calendars disagrees about regular hours a live order is refused; on
    paper the contract's own word counts. Exits of a bracket wait for their entry and are not judged.
    """

    name: ClassVar[str] = "market_hours"
    again: ClassVar[bool] = True

    def __init__(self, *, check_hours: bool, allow_outside_rth: bool) -> None:
        self._check_hours = check_hours
        self._allow_outside_rth = allow_outside_rth

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        outside = order.request.outside_rth
        if outside and not self._allow_outside_rth:
            return refused(
                self,
                "regular hours",
                "outside_rth",
                "orders outside regular trading hours are not allowed",
                "Leave outside_rth out, or set allow_outside_rth in [risk_limits].",
            )
        if not self._check_hours:
            return passed(self, message="hours are not checked")
        if order.role is Role.EXIT:
            return passed(self, message="it waits for its entry")
        hours, now = order.view.hours(order.con_id), order.view.now
        verdict = None if hours is None else hours.at(now, outside_rth=outside)
        if verdict is None or verdict.open is None:
            raise DataMissing(
                "the contract's trading hours for this moment",
                "Look the contract up again (`get_contract`), or set check_market_hours = no in [risk_limits].",
            )
        if verdict.disputed and order.view.live:
            return refused(
                self,
                "open",
                "disputed",
                f"IBKR says the market is {'open' if verdict.open else 'closed'}, exchange_calendars the opposite",
                "Look the contract up again, update exchange_calendars, or wait until both agree.",
            )
        if verdict.open:
            return passed(self, "open", "open", verdict.source)
        following = verdict.next_open
        until = "" if following is None else f" until {following.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return refused(
            self,
            "open",
            "closed",
            f"the market is closed{until} (by {verdict.source})",
            "Wait until it opens" + ("." if outside else ", or set outside_rth if it trades in extended hours."),
        )
