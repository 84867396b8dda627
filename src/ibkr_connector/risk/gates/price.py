"""Prices that cannot be meant: off the tick, far through the market, or judged by an old quote."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import ClassVar

from ibkr_connector.risk.decision import DataMissing, GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck, PriceSource, Role


class TickGate:
    """Prices are multiples of the contract's tick and the quantity of its size increment (IBKR's error 110).

    The multiplier must be one, and where the order names it, the broker's: an ES order at a multiplier of 5 means
    another contract.
    """

    name: ClassVar[str] = "tick"
    again: ClassVar[bool] = False

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        request, instrument = order.request, order.instrument
        for what, value, step in (
            ("limit_price", request.limit_price, instrument.min_tick),
            ("stop_price", request.stop_price, instrument.min_tick),
            ("quantity", request.quantity, instrument.size_increment),
        ):
            if value is not None and step is not None and step > 0 and value % step:
                return refused(
                    self,
                    step,
                    value,
                    f"{what} {value:f} is no multiple of {step:f}",
                    f"Round {what} to a multiple of {step:f}.",
                )
        if instrument.multiplier <= 0:
            return refused(
                self,
                1,
                instrument.multiplier,
                f"the contract's multiplier is {instrument.multiplier:f}",
                "Look the contract up again (`get_contract`).",
            )
        named = _number(request.contract.multiplier)
        if named is not None and named != instrument.multiplier:
            return refused(
                self,
                instrument.multiplier,
                named,
                f"the order says multiplier {named:f}, the broker {instrument.multiplier:f}",
                "Check which contract is meant (`get_contract`).",
            )
        return passed(self, instrument.min_tick)


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text) if text else None
    except InvalidOperation:
        return None


class PriceCollarGate:
    """A limit price is at most `width` (0.05 = 5 %) through the market; wider when the quote is delayed.

    The limit of a stop-limit order is measured from its stop where that is further out: there it begins to work.
    """

    name: ClassVar[str] = "price_collar"
    again: ClassVar[bool] = False

    def __init__(self, width: Decimal) -> None:
        self._width = width

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        price = order.request.limit_price
        if price is None:
            return passed(self, message="it has no limit price")
        market, source = order.mark, order.price[1]
        if source in {PriceSource.ORDER, PriceSource.REFERENCE}:
            raise DataMissing("a quote", "Subscribe to market data for it, or switch price_collar off.")
        width = order.collar(self._width, source)
        stop = order.request.stop_price
        if stop is not None and order.sign * (stop - market) > 0:
            market = stop
        through = order.sign * (price - market)
        allowed = abs(market) * width
        if through <= allowed:
            return passed(self, market + order.sign * allowed, price)
        return refused(
            self,
            market + order.sign * allowed,
            price,
            f"the limit price {price:f} is more than {width:.1%} through the market ({market:f})",
            "Check the price, or widen price_collar in [risk_limits].",
        )


class HaltedGate:
    """Nothing is opened in a contract whose quote says that trading is halted (tick 49). Reducing orders pass."""

    name: ClassVar[str] = "halted"
    again: ClassVar[bool] = True

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        quote = order.quote
        if quote is None or not quote.halted:
            return passed(self, "trading", None if quote is None else "trading")
        if order.role is Role.EXIT or order.reduces:
            return passed(self, "trading", "halted", "it reduces the position")
        return refused(
            self,
            "trading",
            "halted",
            "trading in the contract is halted",
            "Wait until trading goes on (refuse_halted in [risk_limits]).",
        )


class QuoteAgeGate:
    """An order without a price of its own needs a quote at most `limit` seconds old."""

    name: ClassVar[str] = "quote_age"
    again: ClassVar[bool] = True

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        quote = order.quote
        if not order.is_market:
            return passed(self, self._limit, None if quote is None else quote.age, "its limit price protects it")
        if quote is None or order.price[1] not in {PriceSource.LIVE, PriceSource.DELAYED}:
            raise DataMissing("a quote", "Subscribe to market data for it, or use a limit order.")
        if quote.age <= self._limit:
            return passed(self, self._limit, quote.age)
        return refused(
            self,
            self._limit,
            quote.age,
            f"the newest quote is {quote.age:.1f} s old, more than max_quote_age {self._limit:g} s",
            "Wait for a fresh quote, use a limit order, or raise max_quote_age in [risk_limits].",
        )
