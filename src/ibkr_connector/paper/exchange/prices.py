"""What things are worth now: marks for positions, exchange rates for cash."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from ..instruments import ContractQuery, Instrument
from .ports import Contracts
from .tape import Feed

TWO = Decimal(2)
ONE = Decimal(1)


class NoExchangeRateError(LookupError):
    """An account needs a currency for which the gateway knows no pair. Trade instruments in the base currency."""


class Marks:
    """Prices for valuation, taken from the tapes at the exchange's time."""

    def __init__(self, feed: Feed, contracts: Contracts, now: Callable[[], datetime]) -> None:
        self._feed = feed
        self._contracts = contracts
        self._now = now
        self._pairs: dict[tuple[str, str], tuple[Instrument, bool]] = {}

    def mark(self, instrument: Instrument) -> Decimal | None:
        """The last trade, held within the bid and ask in force (IBKR's mark price); currencies: the midpoint."""
        tape = self._feed.tape(instrument)
        now = self._now()
        quote = self._feed.look_up(tape, now)
        bid, ask = (quote.bid, quote.ask) if quote is not None else (None, None)
        if instrument.sec_type == "CASH":
            if bid is not None and ask is not None:
                tape.last_mark = (bid + ask) / TWO
            return tape.last_mark
        trade = self._feed.look_up_trade(tape, now)
        if trade is None:
            if bid is not None and ask is not None:
                tape.last_mark = (bid + ask) / TWO
            return tape.last_mark
        price = trade.price
        if bid is not None and price < bid:
            return bid
        return ask if ask is not None and price > ask else price

    def rate(self, currency: str, base: str) -> Decimal:
        """What one unit of `currency` is worth in `base`, at the midpoint of their pair."""
        if currency == base:
            return ONE
        pair, inverted = self._pair(currency, base)
        mark = self.mark(pair)
        price = pair.reference_price if mark is None else mark
        return ONE / price if inverted else price

    def _pair(self, currency: str, base: str) -> tuple[Instrument, bool]:
        known = self._pairs.get((currency, base))
        if known is not None:
            return known
        for symbol, quoted, inverted in ((currency, base, False), (base, currency, True)):
            found = self._contracts.resolve(ContractQuery(symbol=symbol, sec_type="CASH", currency=quoted))
            if found:
                self._pairs[currency, base] = (found[0], inverted)
                return found[0], inverted
        raise NoExchangeRateError(
            f"no exchange rate from {currency} to {base}: "
            f"the gateway has neither {currency}.{base} nor {base}.{currency}"
        )
