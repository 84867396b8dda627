"""Commissions from the house's dated fee schedules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from ...fees import Schedule, Side, commission
from ..instruments import Instrument
from ..sessions import NEW_YORK

DOLLAR = "USD"


class HouseFees:
    """`ports.Fees` over `ibkr_connector.fees`: US markets, charged in dollars.

    `dollars` tells what one unit of a currency is worth in dollars; only pairs not quoted in dollars need it.
    """

    def __init__(self, dollars: Callable[[str], Decimal], schedule: Schedule = "fixed") -> None:
        self._dollars = dollars
        self._schedule: Schedule = schedule

    def order_total(
        self, instrument: Instrument, *, action: str, quantity: Decimal, value: Decimal, at: datetime
    ) -> Decimal:
        """Commission of one order that has executed `quantity` for `value`. ValueError where there is no schedule."""
        side: Side = "BUY" if action == "BUY" else "SELL"
        foreign = instrument.sec_type == "CASH" and instrument.currency != DOLLAR
        return commission(
            sec_type=instrument.sec_type,
            quantity=quantity,
            price=value / (quantity * instrument.multiplier),
            multiplier=instrument.multiplier,
            side=side,
            on=at.astimezone(NEW_YORK).date(),
            schedule=self._schedule,
            currency=instrument.currency,
            exchange=instrument.exchange,
            symbol=instrument.symbol,
            usd_rate=self._dollars(instrument.currency) if foreign else None,
        ).total

    def currency(self, instrument: Instrument) -> str:
        """Dollars, whatever is traded."""
        return DOLLAR
