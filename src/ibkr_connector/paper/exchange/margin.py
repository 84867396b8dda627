"""Margin in the manner of a US Reg T account, and whether an order fits in it.

Stocks: 50 % to open and 25 % (long) or 30 % (short, with FINRA's minima per share) to hold; while the stock market is
in regular hours an account of 25 000 or more may carry stock at 25 % (buying power 4x, otherwise 2x), as IBKR LLC
does. Futures: a fixed amount per contract. Currencies: 3 % of the value. The amounts per contract are round numbers
of this gateway, not IBKR's of any day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from .. import sessions
from ..instruments import Instrument
from .accounts import Account
from .types import ZERO

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginRules:
    """Rates as fractions of market value, amounts in the instrument's currency."""

    long_initial: Decimal = Decimal("0.50")
    long_maintenance: Decimal = Decimal("0.25")
    short_initial: Decimal = Decimal("0.50")
    short_maintenance: Decimal = Decimal("0.30")
    intraday: Decimal = Decimal("0.25")
    intraday_equity: Decimal = Decimal(25_000)
    """Equity from which the intraday rate applies, base currency."""
    short_per_share: Decimal = Decimal(5)
    """Least maintenance per share sold short (FINRA 4210(c)); 2.50 or 100 % below a price of 5."""
    cheap_short_per_share: Decimal = Decimal("2.50")
    currency: Decimal = Decimal("0.03")
    futures: dict[str, tuple[Decimal, Decimal]] = field(
        default_factory=lambda: {
            "ES": (Decimal(25_000), Decimal(22_500)),
            "MES": (Decimal(2_500), Decimal(2_250)),
            "NQ": (Decimal(36_000), Decimal(32_500)),
            "MNQ": (Decimal(3_600), Decimal(3_250)),
        }
    )
    """Initial and maintenance margin per contract, by symbol."""
    future_initial: Decimal = Decimal("0.08")
    """For other futures, of the contract's value."""
    future_maintenance: Decimal = Decimal("0.07")


@dataclass(frozen=True, slots=True)
class Requirement:
    """Margin in base currency."""

    initial: Decimal = ZERO
    maintenance: Decimal = ZERO
    intraday: Decimal = ZERO
    """The initial requirement at the intraday rate."""

    def __add__(self, other: Requirement) -> Requirement:
        return Requirement(
            self.initial + other.initial, self.maintenance + other.maintenance, self.intraday + other.intraday
        )


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why an order does not fit: equity after it, and what would be required, base currency."""

    equity: Decimal
    required: Decimal

    def reason(self, currency: str) -> str:
        """The words of a captured refusal, its typing error included."""
        return (
            "We are unable to accept your order. Your Available Funds are in sufficient to cover the change in the "
            "account's margin requirements if this order executes. In order to obtain the desired position your Equity "
            f"with Loan Value [{_cents(self.equity)} {currency}] must exceed the new total Initial Margin of "
            f"[{_cents(self.required)} {currency}]."
        )


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def requirement(rules: MarginRules, instrument: Instrument, quantity: Decimal, price: Decimal) -> Requirement:
    """Margin of a signed quantity at a price, in the instrument's currency."""
    size = abs(quantity)
    value = size * price * instrument.multiplier
    if instrument.sec_type == "FUT":
        amounts = rules.futures.get(instrument.symbol)
        if amounts is not None:
            return Requirement(size * amounts[0], size * amounts[1], size * amounts[0])
        initial = value * rules.future_initial
        return Requirement(initial, value * rules.future_maintenance, initial)
    if instrument.sec_type == "CASH":
        return Requirement(*(value * rules.currency,) * 3)
    if quantity >= 0:
        return Requirement(
            value * rules.long_initial,
            value * rules.long_maintenance,
            value * max(rules.intraday, rules.long_maintenance),
        )
    if price >= rules.short_per_share:
        maintenance = max(value * rules.short_maintenance, size * rules.short_per_share)
    else:
        maintenance = max(value, size * rules.cheap_short_per_share)
    return Requirement(
        max(value * rules.short_initial, maintenance), maintenance, max(value * rules.intraday, maintenance)
    )


class Margin:
    """The margin of accounts, now and with one more order."""

    def __init__(self, rules: MarginRules) -> None:
        self.rules = rules

    def held(self, account: Account) -> Requirement:
        """What the positions require, base currency."""
        total = Requirement()
        for position in account.positions.values():
            if position.quantity:
                price = account.mark(position)
                total += self._in_base(account, position.instrument, position.quantity, price)
        return total

    def buying_power(self, account: Account, equity: Decimal, held: Requirement, now: datetime) -> Decimal:
        """How much stock could be bought: 4x in regular hours from 25 000 of equity on, else 2x what is free."""
        if self.is_intraday(equity, now):
            return max(ZERO, (equity - held.intraday) / self.rules.intraday)
        return max(ZERO, (equity - held.initial) / self.rules.long_initial)

    def is_intraday(self, equity: Decimal, now: datetime) -> bool:
        """Whether the intraday rate applies: enough equity, and the US stock market in regular hours."""
        if equity < self.rules.intraday_equity:
            return False
        session = sessions.calendar_session("XNYS", now.astimezone(sessions.NEW_YORK).date())
        return session is not None and session.rth_start <= now < session.rth_end

    def shortfall(
        self,
        account: Account,
        instrument: Instrument,
        *,
        is_buy: bool,
        quantity: Decimal,
        price: Decimal,
        now: datetime,
    ) -> Shortfall | None:
        """Whether an order fits beside the positions and all working orders. None = it does.

        An order that cannot increase the worst case of its instrument always fits: getting out is never refused.
        """
        held = account.held(instrument)
        buys, sells = account.working(instrument)
        before = max(abs(held + buys), abs(held - sells))
        buys, sells = (buys + quantity, sells) if is_buy else (buys, sells + quantity)
        if max(abs(held + buys), abs(held - sells)) <= before:
            return None
        equity = account.net_liquidation()
        required = self._worst(account, instrument, held, buys, sells, price)
        for other in account.exposed():
            if other.con_id != instrument.con_id:
                mark = account.price_of(other) or other.reference_price
                required += self._worst(account, other, account.held(other), *account.working(other), mark)
        needed = required.intraday if self.is_intraday(equity, now) else required.initial
        return Shortfall(equity, needed) if needed > equity else None

    def _worst(
        self, account: Account, instrument: Instrument, held: Decimal, buys: Decimal, sells: Decimal, price: Decimal
    ) -> Requirement:
        """The dearer of all buys filling and all sells filling."""
        up = self._in_base(account, instrument, held + buys, price)
        down = self._in_base(account, instrument, held - sells, price)
        return up if up.initial >= down.initial else down

    def _in_base(self, account: Account, instrument: Instrument, quantity: Decimal, price: Decimal) -> Requirement:
        found = requirement(self.rules, instrument, quantity, price)
        rate = account.rate(instrument.currency)
        if rate == 1:
            return found
        return Requirement(found.initial * rate, found.maintenance * rate, found.intraday * rate)

    def change(
        self, account: Account, instrument: Instrument, quantity: Decimal, price: Decimal
    ) -> tuple[Requirement, Requirement]:
        """Margin of the positions before and after a signed fill, base currency."""
        before = self.held(account)
        held, without = account.held(instrument), before
        if held:
            own = self._in_base(account, instrument, held, account.mark(account.position(instrument)))
            without = before + Requirement(-own.initial, -own.maintenance, -own.intraday)
        return before, without + self._in_base(account, instrument, held + quantity, price)
