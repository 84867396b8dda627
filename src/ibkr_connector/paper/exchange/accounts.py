"""One account's ledger: cash by currency, positions, what they cost and what they earned.

The books balance at every moment, for every currency c (with M the market value of the positions quoted in c):

    cash(c) + M(c) - deposits(c) = realised(c) + unrealised(c)

because a fill moves cash, cost and realised profit by amounts that sum to zero. Commissions are part of an opening
position's cost and are deducted from what a closing one realises, as IBKR does. Futures move no cash when they are
opened: their market value in the sum is what they have gained since, and their profit becomes cash when closed.
Currency trades exchange one cash balance for another; their commission, charged in the base currency, is realised
at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from ..instruments import Instrument
from .types import ZERO, AccountSpec, PositionView


class Prices(Protocol):
    """Marks and exchange rates (see `prices`)."""

    def mark(self, instrument: Instrument) -> Decimal | None:
        """The price positions are valued at."""

    def rate(self, currency: str, base: str) -> Decimal:
        """What one unit of `currency` is worth in `base`."""


@dataclass(slots=True)
class Position:
    """Holdings of one instrument. Costs are signed like the quantity: negative for a short position."""

    instrument: Instrument
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    """What the open quantity cost, multiplier and commissions included."""
    value_at_cost: Decimal = ZERO
    """The same without commissions: what futures are settled against."""
    realized: Decimal = ZERO
    realized_before_today: Decimal = ZERO
    profit_before_today: Decimal = ZERO
    """Realised plus unrealised at the start of the day."""

    @property
    def average_cost(self) -> Decimal:
        """Cost per unit (multiplier included), 0 when flat."""
        return self.cost / self.quantity if self.quantity else ZERO

    @property
    def realized_today(self) -> Decimal:
        """Realised since the day began."""
        return self.realized - self.realized_before_today

    def trade(self, quantity: Decimal, price: Decimal, commission: Decimal) -> tuple[Decimal | None, Decimal]:
        """Book a fill of a signed quantity. Returns (realised profit or None when it only opened, settled value).

        The settled value is the price gain, commissions apart, of the part that was closed.
        """
        multiplier = self.instrument.multiplier
        held = self.quantity
        closing = ZERO
        if held and (held > 0) != (quantity > 0):
            closing = min(abs(quantity), abs(held)) * (1 if quantity > 0 else -1)
        opening = quantity - closing
        closing_fee = commission * closing / quantity if opening else commission
        if not closing:
            closing_fee = ZERO
        realized: Decimal | None = None
        settled = ZERO
        if closing:
            whole = abs(closing) == abs(held)
            cost = self.cost if whole else self.cost * -closing / held
            base = self.value_at_cost if whole else self.value_at_cost * -closing / held
            proceeds = -closing * price * multiplier
            realized = proceeds - closing_fee - cost
            settled = proceeds - base
            self.cost -= cost
            self.value_at_cost -= base
            self.realized += realized
        value = opening * price * multiplier
        self.cost += value + (commission - closing_fee)
        self.value_at_cost += value
        self.quantity = held + quantity
        return realized, settled


class Account:
    """The books of one account, and what its working orders could add to its positions."""

    def __init__(self, spec: AccountSpec, prices: Prices) -> None:
        self.spec = spec
        self.name = spec.name
        self.base = spec.base_currency
        self.cash: dict[str, Decimal] = {spec.base_currency: spec.initial_cash}
        self.positions: dict[int, Position] = {}
        self.commissions: dict[str, Decimal] = {}
        self.fees_realized: dict[str, Decimal] = {}
        """Commissions of currency trades: realised losses that belong to no position."""
        self.fees_before_today: dict[str, Decimal] = {}
        self.day_start_value = spec.initial_cash
        """Net liquidation when the day began, base currency."""
        self._prices = prices
        self._working: dict[int, tuple[Instrument, Decimal, Decimal]] = {}

    # --- fills ---

    def trade(
        self, instrument: Instrument, quantity: Decimal, price: Decimal, commission: Decimal, currency: str
    ) -> Decimal | None:
        """Book a fill of a signed quantity; returns the realised profit in the instrument's currency, or None."""
        position = self.position(instrument)
        self.commissions[currency] = self.commissions.get(currency, ZERO) + commission
        self._move(currency, -commission)
        own = commission if currency == instrument.currency and instrument.sec_type != "CASH" else ZERO
        if own != commission:
            self.fees_realized[currency] = self.fees_realized.get(currency, ZERO) - commission
        realized, settled = position.trade(quantity, price, own)
        if instrument.sec_type == "FUT":
            self._move(instrument.currency, settled)
            return realized
        self._move(instrument.currency, -quantity * price * instrument.multiplier)
        if instrument.sec_type == "CASH":
            self._move(instrument.symbol, quantity)
        return realized

    def correct(self, instrument: Instrument, quantity: Decimal, change: Decimal, *, opened: bool) -> Decimal:
        """A fill of a signed quantity was at a price higher by `change`; returns what it costs more.

        It becomes part of what the position cost if the fill `opened` it and it is still held, else it is realised.
        """
        position = self.position(instrument)
        value = quantity * change * instrument.multiplier
        if opened and position.quantity and (position.quantity > 0) == (quantity > 0):
            position.cost += value
            position.value_at_cost += value
            if instrument.sec_type == "FUT":
                return value
        else:
            position.realized -= value
        self._move(instrument.currency, -value)
        return value

    def position(self, instrument: Instrument) -> Position:
        """The position in an instrument, flat if it was never traded."""
        position = self.positions.get(instrument.con_id)
        if position is None:
            position = self.positions[instrument.con_id] = Position(instrument)
        return position

    def held(self, instrument: Instrument) -> Decimal:
        """The quantity held of an instrument."""
        position = self.positions.get(instrument.con_id)
        return ZERO if position is None else position.quantity

    def _move(self, currency: str, amount: Decimal) -> None:
        if amount:
            self.cash[currency] = self.cash.get(currency, ZERO) + amount

    # --- working orders ---

    def work(self, instrument: Instrument, *, buys: Decimal = ZERO, sells: Decimal = ZERO) -> None:
        """Add to (or, negative, take from) what working orders may still buy and sell."""
        _, bought, sold = self._working.get(instrument.con_id, (instrument, ZERO, ZERO))
        if bought + buys or sold + sells:
            self._working[instrument.con_id] = (instrument, bought + buys, sold + sells)
        else:
            self._working.pop(instrument.con_id, None)

    def working(self, instrument: Instrument) -> tuple[Decimal, Decimal]:
        """What working orders may still buy and sell."""
        _, buys, sells = self._working.get(instrument.con_id, (instrument, ZERO, ZERO))
        return buys, sells

    def exposed(self) -> list[Instrument]:
        """Every instrument with a position or a working order."""
        found = {p.instrument.con_id: p.instrument for p in self.positions.values() if p.quantity}
        found.update({con_id: entry[0] for con_id, entry in self._working.items()})
        return list(found.values())

    # --- values ---

    def mark(self, position: Position) -> Decimal:
        """The price a position is valued at; its own cost where there is no market at all."""
        mark = self._prices.mark(position.instrument)
        if mark is not None:
            return mark
        return (
            position.value_at_cost / position.quantity / position.instrument.multiplier if position.quantity else ZERO
        )

    def price_of(self, instrument: Instrument) -> Decimal | None:
        """The mark of any instrument, held or not."""
        return self._prices.mark(instrument)

    def rate(self, currency: str) -> Decimal:
        """What one unit of a currency is worth in the base currency."""
        return self._prices.rate(currency, self.base)

    def market_value(self, position: Position) -> Decimal:
        """Quantity x mark x multiplier, in the instrument's currency."""
        if not position.quantity:
            return ZERO
        return position.quantity * self.mark(position) * position.instrument.multiplier

    def unrealized(self, position: Position) -> Decimal:
        """Market value less cost."""
        return self.market_value(position) - position.cost

    def sum_positions(self, *sec_types: str, currency: str | None = None) -> Decimal:
        """What positions of these kinds add to the account beyond its cash, in `currency` or (None) in base.

        Stocks their market value, futures their open gain, currencies nothing: they are cash.
        """
        total = ZERO
        for position in self.positions.values():
            instrument = position.instrument
            if not position.quantity or instrument.sec_type not in sec_types:
                continue
            if currency is not None and instrument.currency != currency:
                continue
            value = self.market_value(position)
            if instrument.sec_type == "FUT":
                value -= position.value_at_cost
            total += value if currency is not None else value * self.rate(instrument.currency)
        return total

    def cash_in_base(self) -> Decimal:
        """All cash, base currency."""
        return sum((amount * self.rate(currency) for currency, amount in self.cash.items()), ZERO)

    def net_liquidation(self) -> Decimal:
        """What the account is worth, base currency."""
        return self.cash_in_base() + self.sum_positions("STK", "FUT")

    def unrealized_in(self, currency: str | None = None) -> Decimal:
        """Unrealised profit in one currency, or of all of them in base."""
        total = ZERO
        for position in self.positions.values():
            if currency is None:
                total += self.unrealized(position) * self.rate(position.instrument.currency)
            elif position.instrument.currency == currency:
                total += self.unrealized(position)
        return total

    def realized_in(self, currency: str | None = None, *, today: bool = False) -> Decimal:
        """Realised profit (since the account began, or today) in one currency, or of all of them in base."""
        sums: dict[str, Decimal] = {}
        for position in self.positions.values():
            amount = position.realized_today if today else position.realized
            name = position.instrument.currency
            sums[name] = sums.get(name, ZERO) + amount
        for name, amount in self.fees_realized.items():
            before = self.fees_before_today.get(name, ZERO) if today else ZERO
            sums[name] = sums.get(name, ZERO) + amount - before
        if currency is not None:
            return sums.get(currency, ZERO)
        return sum((amount * self.rate(name) for name, amount in sums.items()), ZERO)

    def start_day(self) -> None:
        """A new profit-and-loss day begins: today's figures count from here."""
        self.day_start_value = self.net_liquidation()
        self.fees_before_today = dict(self.fees_realized)
        for position in self.positions.values():
            position.realized_before_today = position.realized
            position.profit_before_today = position.realized + self.unrealized(position)

    def view(self, position: Position) -> PositionView:
        """A copy of a position with its values; profits are today's, in the instrument's currency."""
        unrealized = self.unrealized(position)
        return PositionView(
            account=self.name,
            instrument=position.instrument,
            quantity=position.quantity,
            avg_cost=position.average_cost,
            market_price=self.mark(position),
            market_value=self.market_value(position),
            unrealized_pnl=unrealized,
            realized_pnl=position.realized_today,
            daily_pnl=position.realized + unrealized - position.profit_before_today,
        )
