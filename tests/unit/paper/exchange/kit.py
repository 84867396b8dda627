"""A small world for exchange tests: a clock that is set by hand, a market that is written as the test goes along."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.book import Exchange
from ibkr_connector.paper.exchange.margin import MarginRules
from ibkr_connector.paper.exchange.types import (
    AccountSpec,
    Charged,
    ExchangeEvent,
    Execution,
    Filled,
    OrderChanged,
    OrderMessage,
    OrderTicket,
    OrderView,
)
from ibkr_connector.paper.instruments import ContractQuery, Instrument
from ibkr_connector.paper.market.base import Bar, BarSize, MarketEvent, Quote, Trade, What
from ibkr_connector.paper.truth import TruthLog

NEW_YORK = ZoneInfo("America/New_York")
THURSDAY = datetime(2026, 3, 12, 10, 0, tzinfo=NEW_YORK).astimezone(UTC)
"""A Thursday, 10:00 New York: half an hour into the session. The next day is a Friday."""
ACCOUNT = "DU9000001"
OPEN_BEHAVIOR = ExchangeBehavior(duplicate_status_probability=0.0, filled_before_exec_probability=0.0)

Number = str | int | Decimal


def d(value: Number) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)


def ds(*values: Number) -> tuple[Decimal, ...]:
    return tuple(d(value) for value in values)


def stock(symbol: str, con_id: int, *, shortable: bool = True) -> Instrument:
    return Instrument(
        con_id=con_id,
        symbol=symbol,
        sec_type="STK",
        currency="USD",
        exchange="SMART",
        primary_exchange="NASDAQ",
        local_symbol=symbol,
        trading_class="NMS",
        long_name=symbol,
        market_name="NMS",
        min_tick=Decimal("0.01"),
        valid_exchanges="SMART,ISLAND,ARCA,IEX",
        market_rule_ids="26,26",
        shortable=shortable,
    )


AAPL = stock("AAPL", 265598)
MSFT = stock("MSFT", 272093)
HARD_TO_BORROW = stock("GONE", 999, shortable=False)
ES = Instrument(
    con_id=637533641,
    symbol="ES",
    sec_type="FUT",
    currency="USD",
    exchange="CME",
    local_symbol="ESH6",
    trading_class="ES",
    long_name="E-mini S&P 500",
    market_name="ES",
    min_tick=Decimal("0.25"),
    multiplier=Decimal(50),
    multiplier_text="50",
    tz_id="US/Central",
    calendar="CME",
)
EURUSD = Instrument(
    con_id=12087792,
    symbol="EUR",
    sec_type="CASH",
    currency="USD",
    exchange="IDEALPRO",
    local_symbol="EUR.USD",
    trading_class="EUR.USD",
    long_name="European Monetary Union Euro",
    market_name="EUR.USD",
    min_tick=Decimal("0.00005"),
    calendar="FX",
    reference_price=Decimal("1.1"),
)
INSTRUMENTS = (AAPL, MSFT, HARD_TO_BORROW, ES, EURUSD)


class HandClock:
    """Market time and wire time that move when told to."""

    def __init__(self, start: datetime = THURSDAY, speed: float = 1.0) -> None:
        self.market = start
        self.seconds = 1000.0
        self._speed = speed

    @property
    def speed(self) -> float:
        return self._speed

    def now(self) -> datetime:
        return self.market

    def wire(self) -> float:
        return self.seconds

    def set(self, to: datetime) -> None:
        assert to >= self.market, "time does not go back"
        self.seconds += (to - self.market).total_seconds() / self._speed
        self.market = to


class HandMarket:
    """Events per instrument, in time order; answers are computed from them and nothing later than asked for."""

    def __init__(self) -> None:
        self._events: dict[int, list[MarketEvent]] = {}

    def add(self, instrument: Instrument, event: MarketEvent) -> None:
        insort(self._events.setdefault(instrument.con_id, []), event, key=lambda item: item.at)

    def events(self, instrument: Instrument, start: datetime) -> Iterator[MarketEvent]:
        return iter([e for e in self._events.get(instrument.con_id, []) if e.at >= start])

    def quote_at(self, instrument: Instrument, at: datetime) -> Quote | None:
        found = [e for e in self._events.get(instrument.con_id, []) if isinstance(e, Quote) and e.at <= at]
        return found[-1] if found else None

    def last_trade_at(self, instrument: Instrument, at: datetime) -> Trade | None:
        found = [e for e in self._events.get(instrument.con_id, []) if isinstance(e, Trade) and e.at <= at]
        return found[-1] if found else None

    def bars(
        self, instrument: Instrument, start: datetime, end: datetime, size: BarSize, what: What, use_rth: bool
    ) -> list[Bar]:
        prints = [e for e in self._events.get(instrument.con_id, []) if isinstance(e, Trade) and start <= e.at < end]
        if not prints:
            return []
        prices = [float(p.price) for p in prints]
        return [
            Bar(
                start=start,
                session=start.date(),
                open=prices[0],
                high=max(prices),
                low=min(prices),
                close=prices[-1],
                volume=float(sum(p.size for p in prints)),
                wap=prices[0],
                count=len(prints),
            )
        ]


class HandContracts:
    def resolve(self, query: ContractQuery) -> list[Instrument]:
        return [
            i
            for i in INSTRUMENTS
            if i.symbol == query.symbol and i.sec_type == query.sec_type and i.currency == query.currency
        ]

    def price_increments(self, rule_id: int) -> list[tuple[Decimal, Decimal]]:
        return {26: [(Decimal(0), Decimal("0.01"))]}[rule_id]


class FlatFees:
    """One dollar per order and half a cent per share beyond 200."""

    def order_total(
        self, instrument: Instrument, *, action: str, quantity: Decimal, value: Decimal, at: datetime
    ) -> Decimal:
        return max(Decimal(1), quantity * Decimal("0.005"))

    def currency(self, instrument: Instrument) -> str:
        return "USD"


@dataclass
class World:
    """An exchange with its surroundings. Times move by `after` seconds with each market event, or with `run`."""

    behavior: ExchangeBehavior = OPEN_BEHAVIOR
    start: datetime = THURSDAY
    speed: float = 1.0
    seed: int = 0
    cash: Decimal = Decimal(1_000_000)
    accounts: Sequence[str] = (ACCOUNT,)
    margin_rules: MarginRules | None = None
    events: list[ExchangeEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = HandClock(self.start, self.speed)
        self.market = HandMarket()
        self.truth = TruthLog(clock=self.clock)
        self.exchange = Exchange(
            clock=self.clock,
            market=self.market,
            instruments=HandContracts(),
            accounts=[AccountSpec(name=name, initial_cash=self.cash) for name in self.accounts],
            truth=self.truth,
            seed=self.seed,
            fees=FlatFees(),
            behavior=self.behavior,
            margin_rules=self.margin_rules,
        )
        self.exchange.listen(self.events.append)

    # --- the market ---

    def quote(
        self,
        bid: Number | None,
        ask: Number | None,
        *,
        bid_size: Number = 1000,
        ask_size: Number = 1000,
        instrument: Instrument = AAPL,
        after: float = 1.0,
    ) -> Quote:
        """A quote some seconds from now; everything up to it happens."""
        event = Quote(
            self.clock.now() + timedelta(seconds=after),
            None if bid is None else d(bid),
            None if ask is None else d(ask),
            d(bid_size),
            d(ask_size),
        )
        self._happen(instrument, event)
        return event

    def trade(self, price: Number, size: Number, *, instrument: Instrument = AAPL, after: float = 1.0) -> None:
        """A print some seconds from now."""
        self._happen(instrument, Trade(self.clock.now() + timedelta(seconds=after), d(price), d(size)))

    def _happen(self, instrument: Instrument, event: MarketEvent) -> None:
        self.market.add(instrument, event)
        core = self.exchange._core
        tape = core.tape(instrument)
        if tape.followed:
            # The exchange read the market when it had no next event: let it look again.
            core.feed.unfollow(tape)
            core.feed.follow(tape, self.clock.now())
        self.at(event.at)

    # --- time ---

    def run(self, seconds: float = 1.0) -> None:
        self.at(self.clock.now() + timedelta(seconds=seconds))

    def at(self, when: datetime) -> None:
        self.clock.set(when)
        self.exchange.advance()

    def new_york(self, day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
        """A time in March 2026."""
        return datetime(2026, 3, day, hour, minute, second, tzinfo=NEW_YORK).astimezone(UTC)

    # --- orders ---

    def ticket(
        self,
        action: str,
        quantity: Number,
        order_type: str = "MKT",
        limit: Number | None = None,
        aux: Number | None = None,
        *,
        order_id: int | None = None,
        client_id: int = 1,
        instrument: Instrument = AAPL,
        account: str = ACCOUNT,
        tif: str = "DAY",
        trail_stop: Number | None = None,
        percent: Number | None = None,
        **more: Any,
    ) -> OrderTicket:
        return OrderTicket(
            client_id=client_id,
            order_id=self.exchange.next_order_id(client_id) if order_id is None else order_id,
            instrument=instrument,
            account=account,
            action=action,
            quantity=d(quantity),
            order_type=order_type,
            limit_price=None if limit is None else d(limit),
            aux_price=None if aux is None else d(aux),
            trail_stop_price=None if trail_stop is None else d(trail_stop),
            trailing_percent=None if percent is None else d(percent),
            tif=tif,
            **more,
        )

    def place(self, *args: Any, run: float = 0.1, **kwargs: Any) -> int:
        """Place an order and let its first latencies pass (default 0.1 s; 0 = do not wait). Returns its id."""
        ticket = self.ticket(*args, **kwargs)
        self.exchange.place(ticket)
        if run:
            self.run(run)
        return ticket.order_id

    def cancel(self, order_id: int, *, client_id: int = 1, run: float = 0.1) -> None:
        self.exchange.cancel(client_id, order_id)
        if run:
            self.run(run)

    # --- what was said ---

    def lines(self, order_id: int, client_id: int = 1, *, messages: bool = True) -> list[str]:
        """What was said about one order, as words: `echo`, statuses with why held, `fill`, `commission`, `error N`."""
        said: list[str] = []
        mine: set[str] = set()
        for event in self.events:
            match event:
                case OrderChanged(order=view) if _is(view, client_id, order_id):
                    if event.echo:
                        said.append("echo")
                    if event.status:
                        said.append(view.status.value + (f"({view.why_held})" if view.why_held else ""))
                case Filled(execution=e) if (e.client_id, e.order_id) == (client_id, order_id):
                    mine.add(e.exec_id)
                    said.append("fill")
                case Charged(commission=c) if c.exec_id in mine:
                    said.append("commission")
                case OrderMessage(client_id=c, order_id=o, code=code) if messages and (c, o) == (client_id, order_id):
                    said.append(f"error {code}")
                case _:
                    pass
        return said

    def last(self, order_id: int, client_id: int = 1) -> OrderView:
        """The order as it was last shown."""
        views = [e.order for e in self.events if isinstance(e, OrderChanged) and _is(e.order, client_id, order_id)]
        return views[-1]

    def status(self, order_id: int, client_id: int = 1) -> str:
        return self.last(order_id, client_id).status.value

    def fills(self, order_id: int | None = None) -> list[Execution]:
        return [
            e.execution
            for e in self.events
            if isinstance(e, Filled) and (order_id is None or e.execution.order_id == order_id)
        ]

    def filled(self, order_id: int) -> list[tuple[Decimal, Decimal]]:
        """(shares, price) of each fill."""
        return [(e.shares, e.price) for e in self.fills(order_id)]

    def messages(self, code: int | None = None) -> list[OrderMessage]:
        return [e for e in self.events if isinstance(e, OrderMessage) and code in {None, e.code}]

    def value(self, key: str, currency: str = "USD", account: str = ACCOUNT) -> Decimal:
        rows = {(row.key, row.currency): row.value for row in self.exchange.account_values(account)}
        return Decimal(rows[key, currency])


def _is(view: OrderView, client_id: int, order_id: int) -> bool:
    return (view.ticket.client_id, view.ticket.order_id) == (client_id, order_id)
