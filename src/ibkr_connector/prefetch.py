"""What the gates look at, gathered: contract rules, hours, quote, exchange rate, positions and account figures.

`prepare` does the waiting, within the order's deadline; the view it returns answers from what is at hand at the moment
the gates decide, without waiting for anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from ibkr_connector.contracts.lookup import ContractBook
from ibkr_connector.errors import MarketDataError, OrderValidationError, TradingError
from ibkr_connector.fees import commission
from ibkr_connector.logs import get_logger
from ibkr_connector.models.arguments import wrong
from ibkr_connector.models.contract import ContractDetails
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.road import Prepared
from ibkr_connector.orders.wire import wire_order
from ibkr_connector.portfolio.service import Portfolio
from ibkr_connector.resilience import Deadline
from ibkr_connector.risk.hours import MarketHours, Sessions, calendar_name, calendar_sessions
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.view import InstrumentView, PriceView, RiskView
from ibkr_connector.session.session import Session
from ibkr_connector.streams.hub import QuoteHub

_log = get_logger(__name__)
_QUOTE_MAX_AGE_S = 10.0
_QUOTE_SHARE = 0.5
"""Share of the order's deadline that waiting for a quote may take."""
_CALENDAR_DAYS = 7
_USUAL_CALENDAR = "XNYS"


class GateFeed:
    """Gathers for one connector. Used on the session loop."""

    def __init__(
        self,
        *,
        session: Session,
        book: ContractBook,
        hub: QuoteHub,
        portfolio: Portfolio,
        limits: RiskLimits,
        live: bool,
    ) -> None:
        self.session = session
        self.hub = hub
        self.portfolio = portfolio
        self.live = live
        self._book = book
        self._limits = limits
        self._hours_read: dict[int, tuple[ContractDetails, Sessions | None, MarketHours]] = {}
        self._calendars: dict[tuple[str, date], Sessions | None] = {}
        self._loading: dict[tuple[str, date], asyncio.Task[Sessions | None]] = {}

    async def prepare(self, request: OrderRequest, deadline: Deadline) -> Prepared:
        """Fetch what the gates need for `request`. What cannot be had is left out: the gate that needs it refuses.

        Raises: OrderValidationError for a good_till that has passed, by the broker's clock.
        """
        now = self.session.broker_now()
        if request.good_till is not None and request.good_till <= now:
            legal = f"a moment after {now:%Y-%m-%d %H:%M:%S} UTC, the time at the broker"
            raise wrong("good_till", request.good_till.isoformat(), legal, why="has passed", kind=OrderValidationError)
        details = await self._book.details(request.contract, deadline.remaining())
        if self._limits.needs_price:
            await self._warm_quote(details, deadline)
        hours = await self._hours(details, deadline) if self._limits.check_market_hours else None
        margin = await self._what_if(request, details, deadline) if self._limits.buying_power == "what_if" else None
        return Prepared(details, lambda: _View(self, details, hours, request.order_ref, margin))

    async def _what_if(self, request: OrderRequest, details: ContractDetails, deadline: Deadline) -> Decimal | None:
        """By how much the order raises the initial margin, as the broker sees it; None when it does not say."""
        order = wire_order(
            OrderTerms.of_request(request),
            contract=details.contract,
            order_id=0,
            account=request.account or self.portfolio.account_id,
            order_ref=request.order_ref,
            what_if=True,
        )
        try:
            told = await self.session.read(
                f"margin of {request.contract.symbol}",
                lambda left: self.session.backend.what_if(order, left),
                timeout=deadline.remaining() * _QUOTE_SHARE,
                retry=False,
            )
        except TradingError as error:
            _log.info("no margin for the gates", symbol=request.contract.symbol, error=error.message)
            return None
        return told.init_margin_change

    async def _warm_quote(self, details: ContractDetails, deadline: Deadline) -> None:
        at_hand = self.hub.latest(details.contract.con_id)
        if at_hand is not None and at_hand[1] <= _QUOTE_MAX_AGE_S:
            return
        if at_hand is None and self.hub.has_settled(details.contract.con_id):
            return  # there is no quote to be had
        try:
            await self.hub.quote(
                details.contract, max_age=_QUOTE_MAX_AGE_S, timeout=deadline.remaining() * _QUOTE_SHARE
            )
        except MarketDataError as error:
            _log.info("no quote for the gates", symbol=details.contract.symbol, error=error.message)

    async def _hours(self, details: ContractDetails, deadline: Deadline) -> MarketHours | None:
        """The contract's hours, read once for as long as its details and the calendar are the same.

        None when the calendar is not there by the deadline: without its second opinion nothing is said about hours.
        """
        calendar = None
        if name := calendar_name(details.contract):
            try:
                calendar = await self.session.clock.wait_for(self._sessions(name), deadline.remaining())
            except TimeoutError:
                _log.warning("the exchange calendar takes longer than an order may", name=name)
                return None
        known = self._hours_read.get(details.contract.con_id)
        if known is None or known[0] is not details or known[1] is not calendar:
            known = self._hours_read[details.contract.con_id] = (details, calendar, MarketHours.of(details, calendar))
        return known[2]

    async def warm(self) -> None:
        """Load the calendar that most orders need (importing it takes half a second) before the first order does."""
        if self._limits.check_market_hours:
            await self._sessions(_USUAL_CALENDAR)

    async def _sessions(self, name: str) -> Sessions | None:
        """The calendar around today. Whoever needs it meanwhile shares one loading, which outlives them all."""
        key = (name, self.session.broker_now().date())
        if key in self._calendars:
            return self._calendars[key]
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._load(*key), name=f"ibkr-calendar-{name}")
        return await asyncio.shield(loading)

    async def _load(self, name: str, day: date) -> Sessions | None:
        found: Sessions | None = None
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, calendar_sessions, name, day, _CALENDAR_DAYS)
        except Exception as error:  # noqa: BLE001 - a second opinion that cannot be had: the broker's hours stand alone
            _log.warning("no exchange calendar", name=name, error=repr(error))
        self._calendars[name, day] = found
        del self._loading[name, day]
        return found

    def account_view(self) -> RiskView:
        """The account's figures alone, for following the daily loss."""
        return _View(self, None, None)

    def unit_value(self, con_id: int) -> Decimal | None:
        """What one unit of a position is worth: by its quote, else as the broker values it, else what it cost."""
        account, portfolio = self.portfolio.account_id, self.portfolio
        held = portfolio.positions.find(account, con_id)
        if held is None:
            return None
        rate = portfolio.account.exchange_rates(account).get(held.contract.currency)
        if rate is None:
            return None
        details, found = self._book.known(held.contract), self.hub.latest(con_id)
        if details is not None and found is not None and found[0].last is not None:
            price = Decimal(str(found[0].last)) * details.multiplier / details.price_magnifier
        elif held.market_value is not None and held.quantity:
            price = held.market_value / held.quantity
        else:
            price = held.avg_cost
        return abs(price) * rate

    def net_liquidation(self) -> Decimal | None:
        """Net liquidation value, base currency, if it is current."""
        return self.portfolio.account.amount(self.portfolio.account_id, "NetLiquidation")

    def daily_pnl(self) -> Decimal | None:
        """The broker's own P&L of the day."""
        pnl = self.portfolio.pnl()
        return pnl.daily if pnl else None


@dataclass(frozen=True, slots=True)
class _View:
    """A `RiskView` over the live rooms."""

    feed: GateFeed
    details: ContractDetails | None
    market_hours: MarketHours | None
    ref: str = ""
    """The order whose margin was asked for."""
    init_margin: Decimal | None = None

    @property
    def account(self) -> str:
        return self.feed.portfolio.account_id

    @property
    def currency(self) -> str:
        return self.feed.portfolio.account.base_currency.get(self.account, "USD")

    @property
    def now(self) -> datetime:
        return self.feed.session.broker_now()

    @property
    def monotonic(self) -> float:
        return self.feed.session.clock.monotonic()

    @property
    def live(self) -> bool:
        return self.feed.live

    @property
    def net_liquidation(self) -> Decimal | None:
        return self.feed.net_liquidation()

    @property
    def daily_pnl(self) -> Decimal | None:
        return self.feed.daily_pnl()

    def figure(self, tag: str) -> Decimal | None:
        return self.feed.portfolio.account.amount(self.account, tag) if self.feed.portfolio.is_current else None

    def margin(self, ref: str) -> Decimal | None:
        return self.init_margin if ref == self.ref else None

    def holdings(self) -> Mapping[int, tuple[Decimal, Decimal]] | None:
        portfolio, account = self.feed.portfolio, self.account
        if not portfolio.is_current:
            return None
        worst = portfolio.positions.worst
        return {key: (worst(account, key, -1), worst(account, key, 1)) for key in portfolio.positions.keys(account)}

    def unit_value(self, con_id: int) -> Decimal | None:
        return self.feed.unit_value(con_id)

    def _rules(self, con_id: int) -> ContractDetails | None:
        details = self.details
        return details if details is not None and details.contract.con_id == con_id else None

    def position(self, con_id: int, sign: int) -> Decimal | None:
        if not self.feed.portfolio.is_current:
            return None
        return self.feed.portfolio.positions.worst(self.account, con_id, sign)

    def instrument(self, con_id: int) -> InstrumentView | None:
        details = self._rules(con_id)
        return None if details is None else InstrumentView.of(details)

    def price(self, con_id: int) -> PriceView | None:
        found = self.feed.hub.latest(con_id)
        if found is None:
            return None
        quote, age = found
        return PriceView(
            bid=_price(quote.bid),
            ask=_price(quote.ask),
            last=_price(quote.last),  # not the close: yesterday's price is no price to judge an order by
            age=age,
            delayed=quote.delayed,
            halted=quote.halted,
        )

    def hours(self, con_id: int) -> MarketHours | None:
        return self.market_hours if self._rules(con_id) is not None else None

    def fx(self, currency: str) -> Decimal | None:
        if currency == self.currency:
            return Decimal(1)
        return self.feed.portfolio.account.exchange_rates(self.account).get(currency)

    def fee(self, con_id: int, quantity: Decimal, price: Decimal) -> Decimal | None:
        details = self._rules(con_id)
        rate = None if details is None else self.fx(details.contract.currency)
        if details is None or rate is None or quantity == 0 or price <= 0:
            return None
        contract = details.contract
        try:
            cost = commission(
                sec_type=contract.sec_type,
                quantity=abs(quantity),
                price=price,
                multiplier=details.multiplier,
                side="SELL",  # the dearer side: regulatory fees are charged on sales
                on=self.now.date(),
                currency=contract.currency,
            )
        except (TradingError, ValueError):
            return None
        return cost.total * rate


def _price(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))
