"""Whatever the market does and whatever is ordered: no fill is better than a real market would have given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given, strategies as st

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.matching import ADDED, DEPTH_LEVELS, REMOVED
from ibkr_connector.paper.exchange.orders import LIMITED
from ibkr_connector.paper.exchange.types import Execution, OrderTicket
from ibkr_connector.paper.market.base import MarketEvent, Quote, Trade
from unit.paper.exchange.kit import AAPL, THURSDAY, World

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Ask:
    """An order to place, in cents."""

    action: str
    quantity: int
    kind: str
    limit: int
    aux: int
    tif: str


@dataclass(frozen=True)
class Cancel:
    index: int


Step = Quote | Trade | Ask | Cancel
prices = st.integers(9_980, 10_020)
sizes = st.integers(0, 300)
quotes = st.builds(
    lambda bid, spread, bid_size, ask_size: Quote(
        THURSDAY, CENT * bid, CENT * (bid + spread), Decimal(bid_size), Decimal(ask_size)
    ),
    prices,
    st.integers(1, 6),
    sizes,
    sizes,
)
trades = st.builds(lambda price, size: Trade(THURSDAY, CENT * price, Decimal(size)), prices, st.integers(1, 300))
orders = st.builds(
    Ask,
    action=st.sampled_from(["BUY", "SELL"]),
    quantity=st.integers(1, 400),
    kind=st.sampled_from(["MKT", "LMT", "LMT", "LMT", "STP", "STP LMT", "TRAIL", "MIT", "LIT"]),
    limit=prices,
    aux=prices,
    tif=st.sampled_from(["DAY", "GTC", "IOC", "FOK"]),
)
cancels = st.builds(Cancel, st.integers(0, 20))
steps = st.lists(st.one_of(quotes, trades, orders, orders, cancels), min_size=5, max_size=60)
behaviors = st.sampled_from(
    [ExchangeBehavior.instant(), ExchangeBehavior(), ExchangeBehavior(ack_latency=(0.0, 3.0), fill_latency=(0.0, 3.0))]
)


def script(steps: Sequence[Step]) -> tuple[list[MarketEvent], list[tuple[datetime, Ask | Cancel]]]:
    """Market events one second apart, requests between them."""
    market: list[MarketEvent] = []
    requests: list[tuple[datetime, Ask | Cancel]] = []
    now = THURSDAY
    for step in steps:
        match step:
            case Quote():
                now += timedelta(seconds=1)
                market.append(Quote(now, step.bid, step.ask, step.bid_size, step.ask_size))
            case Trade():
                now += timedelta(seconds=1)
                market.append(Trade(now, step.price, step.size))
            case _:
                now += timedelta(seconds=0.1)
                requests.append((now, step))
    return market, requests


def ticket(world: World, ask: Ask) -> OrderTicket:
    immediate = ask.tif in {"IOC", "FOK"} and ask.kind not in {"MKT", "LMT"}
    trailing = ask.kind == "TRAIL"
    return world.ticket(
        ask.action,
        ask.quantity,
        ask.kind,
        CENT * ask.limit,
        Decimal("0.05") if trailing else CENT * ask.aux,
        tif="DAY" if immediate else ask.tif,
    )


def run(
    market: Sequence[MarketEvent],
    requests: Sequence[tuple[datetime, Ask | Cancel]],
    behavior: ExchangeBehavior,
    until: datetime,
    pump: float | None = None,
) -> World:
    world = World(behavior=behavior, cash=Decimal(100_000_000))
    for event in market:
        world.market.add(AAPL, event)
    world.exchange.watch(AAPL)
    placed: list[int] = []
    for at, request in requests:
        if at > until:
            break
        while pump is not None and world.clock.now() + timedelta(seconds=pump) < at:
            world.run(pump)
        world.clock.set(at)
        if isinstance(request, Cancel):
            if placed:
                world.exchange.cancel(1, placed[request.index % len(placed)])
        else:
            order = ticket(world, request)
            placed.append(order.order_id)
            world.exchange.place(order)
    while pump is not None and world.clock.now() + timedelta(seconds=pump) < until:
        world.run(pump)
    world.at(until)
    return world


def in_force(market: Sequence[MarketEvent], at: datetime) -> Quote | None:
    return next((e for e in reversed(market) if isinstance(e, Quote) and e.at <= at), None)


def happening(market: Sequence[MarketEvent], at: datetime) -> MarketEvent | None:
    return next((e for e in market if e.at == at), None)


def far(quote: Quote, side: str) -> tuple[Decimal, Decimal]:
    bid, ask = quote.bid, quote.ask
    assert bid is not None
    assert ask is not None
    return (ask, quote.ask_size) if side == "BOT" else (bid, quote.bid_size)


def at_or_beyond(side: str, price: Decimal, reference: Decimal) -> bool:
    return price >= reference if side == "BOT" else price <= reference


END = THURSDAY + timedelta(minutes=5)


@given(steps, behaviors)
def test_no_fill_flatters(steps: list[Step], behavior: ExchangeBehavior) -> None:
    market, requests = script(steps)
    world = run(market, requests, behavior, END)
    taken: dict[tuple[datetime, str, Decimal], Decimal] = defaultdict(Decimal)
    crossed: dict[tuple[datetime, str], Decimal] = defaultdict(Decimal)
    printed: dict[datetime, Decimal] = defaultdict(Decimal)
    for fill in world.fills():
        quote = in_force(market, fill.at)
        assert quote is not None, "a fill before there was any market"
        order = world.last(fill.order_id).ticket
        if order.order_type in LIMITED:
            assert order.limit_price is not None
            assert at_or_beyond(fill.side, order.limit_price, fill.price), "worse than its limit"
        price, size = far(quote, fill.side)
        if fill.liquidity == REMOVED:
            assert at_or_beyond(fill.side, fill.price, price), "better than the far side in force"
            assert abs(fill.price - price) < CENT * DEPTH_LEVELS
            taken[quote.at, fill.side, fill.price] += fill.shares
            assert taken[quote.at, fill.side, fill.price] <= size, "more than was displayed"
            if fill.price == price:
                crossed[quote.at, fill.side] += fill.shares
        else:
            assert fill.liquidity == ADDED
            assert fill.price == order.limit_price
            event = happening(market, fill.at)
            if isinstance(event, Trade):
                assert at_or_beyond(fill.side, fill.price, event.price), "not even traded at its price"
                printed[fill.at] += fill.shares
                assert printed[fill.at] <= event.size, "more than was printed"
            else:
                assert event is quote, "a resting order filled while the market stood still"
                assert at_or_beyond(fill.side, fill.price, price), "the market had not come to it"
                crossed[quote.at, fill.side] += fill.shares
        assert crossed[quote.at, fill.side] <= size, "more than was displayed"


@given(steps, behaviors)
def test_no_order_fills_beyond_its_quantity_or_after_its_end(steps: list[Step], behavior: ExchangeBehavior) -> None:
    market, requests = script(steps)
    world = run(market, requests, behavior, END)
    per_order: dict[int, list[Execution]] = defaultdict(list)
    for fill in world.fills():
        per_order[fill.order_id].append(fill)
    for order_id, fills in per_order.items():
        view = world.last(order_id)
        assert sum(f.shares for f in fills) == view.filled <= view.ticket.quantity
        assert [f.cum_qty for f in fills] == [sum(f.shares for f in fills[: i + 1]) for i in range(len(fills))]
        total = sum(f.shares * f.price for f in fills)
        assert abs(view.avg_fill_price - total / view.filled) < Decimal("1e-9")
        if view.completed_at is not None:
            assert fills[-1].at <= view.completed_at


@given(steps, behaviors, st.integers(0, 60))
def test_the_future_changes_nothing_about_the_past(steps: list[Step], behavior: ExchangeBehavior, cut: int) -> None:
    market, requests = script(steps)
    until = THURSDAY + timedelta(seconds=cut)
    known = [event for event in market if event.at <= until]
    other = [*known, Quote(until + timedelta(milliseconds=1), Decimal(1), Decimal(2), Decimal(9), Decimal(9))]
    stories = [
        [repr(event) for event in run(version, requests, behavior, until).events] for version in (market, known, other)
    ]
    assert stories[0] == stories[1] == stories[2]


@given(steps, behaviors)
def test_how_often_the_exchange_is_advanced_changes_nothing(steps: list[Step], behavior: ExchangeBehavior) -> None:
    market, requests = script(steps)
    rarely = run(market, requests, behavior, END)
    often = run(market, requests, behavior, END, pump=0.37)
    assert [repr(e) for e in rarely.events] == [repr(e) for e in often.events]
