"""The invented market: reproducible, consistent at every scale, and shaped like a market."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from statistics import mean, pstdev

import pytest
from hypothesis import given, settings, strategies as st

from ibkr_connector.paper import sessions
from ibkr_connector.paper.instruments import ContractQuery, Instrument, InstrumentBook
from ibkr_connector.paper.market.aggregate import Part, build_bars, parts_of_events
from ibkr_connector.paper.market.base import Bar, BarSize, MarketEvent, Quote, Trade, What
from ibkr_connector.paper.market.days import ANCHOR
from ibkr_connector.paper.market.minutes import minutes_of, ticks_of
from ibkr_connector.paper.market.synthetic import SyntheticMarket

BOOK = InstrumentBook(lambda: date(2026, 11, 20))


def instrument(con_id: int) -> Instrument:
    found = BOOK.by_con_id(con_id)
    assert found is not None
    return found


SPY, AIG, LLY, FORD = (instrument(i) for i in (756733, 61319701, 9160, 9599491))
EURUSD, USDJPY, ES, VIX = (instrument(i) for i in (12087792, 15016059, 515416632, 13455763))
EVERY_KIND = [SPY, AIG, LLY, FORD, EURUSD, USDJPY, ES, VIX]
QUOTED = [item for item in EVERY_KIND if item.sec_type != "IND"]
TRADED = [item for item in EVERY_KIND if item.sec_type != "CASH"]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def own_kind(item: Instrument) -> What:
    return "MIDPOINT" if item.sec_type == "CASH" else "TRADES"


def between(market: SyntheticMarket, item: Instrument, start: datetime, end: datetime) -> list[MarketEvent]:
    return list(itertools.takewhile(lambda event: event.at < end, market.events(item, start)))


def bars_from_ticks(
    item: Instrument,
    events: list[MarketEvent],
    start: datetime,
    end: datetime,
    size: BarSize,
    what: What,
    use_rth: bool,
) -> list[Bar]:
    """The same grid, filled from ticks alone."""
    quotes = [event for event in events if isinstance(event, Quote)]
    times, quote_times = [event.at for event in events], [quote.at for quote in quotes]

    def parts(kind: What, low: datetime, high: datetime) -> list[Part]:
        inside = events[bisect_left(times, low) : bisect_left(times, high)]
        before = quotes[: bisect_right(quote_times, low)]
        return list(parts_of_events(inside, kind, low, high, before[-1] if before else None))

    return build_bars(parts, item, start, end, size, what, use_rth)


def ticks_until(market: SyntheticMarket, item: Instrument, start: datetime, end: datetime) -> list[MarketEvent]:
    """Ticks of `[start, end)` and of the minute before, for the quote in force at `start`."""
    return between(market, item, start - timedelta(minutes=1), end)


def shape(bar: Bar) -> tuple[object, ...]:
    return bar.start, bar.session, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count


days = st.sampled_from(["2013-10-07", "2024-02-29", "2025-07-03", "2026-11-19", "2026-11-20", "2026-11-27"])


@settings(max_examples=30)
@given(
    item=st.sampled_from(TRADED),
    day=days,
    seed=st.integers(0, 1_000),
    first=st.integers(0, 350),
    seconds=st.integers(1, 2_400),
    size=st.sampled_from([1, 5, 10, 30, 60, 120, 300, 900, 1800]),
)
def test_trade_bars_equal_the_aggregate_of_their_own_ticks(
    item: Instrument, day: str, seed: int, first: int, seconds: int, size: int
) -> None:
    market = SyntheticMarket(seed=seed)
    start = utc(f"{day}T14:30") + timedelta(seconds=first * 37)
    end = start + timedelta(seconds=seconds)
    asked = market.bars(item, start, end, size, "TRADES", use_rth=False)
    ticks = ticks_until(market, item, start, end)
    made = bars_from_ticks(item, ticks, start, end, size, "TRADES", use_rth=False)
    assert [shape(bar) for bar in asked] == [shape(bar) for bar in made]
    assert [bar.wap for bar in asked] == [pytest.approx(bar.wap, abs=2e-3) for bar in made]


@settings(max_examples=30)
@given(
    item=st.sampled_from(QUOTED),
    day=days,
    seed=st.integers(0, 1_000),
    first=st.integers(0, 350),
    seconds=st.integers(1, 2_400),
    size=st.sampled_from([5, 60, 300, 1800]),
    what=st.sampled_from(["BID", "ASK", "MIDPOINT"]),
)
def test_quote_bars_equal_the_aggregate_of_their_own_ticks(
    item: Instrument, day: str, seed: int, first: int, seconds: int, size: int, what: What
) -> None:
    market = SyntheticMarket(seed=seed)
    start = utc(f"{day}T14:30") + timedelta(seconds=first * 37)
    end = start + timedelta(seconds=seconds)
    asked = market.bars(item, start, end, size, what, use_rth=False)
    ticks = ticks_until(market, item, start, end)
    made = bars_from_ticks(item, ticks, start, end, size, what, use_rth=False)
    assert [shape(bar) for bar in asked] == [shape(bar) for bar in made]


@pytest.mark.parametrize(
    ("item", "use_rth"),
    [(SPY, True), (SPY, False), (FORD, False), (LLY, True), (EURUSD, True), (ES, True), (VIX, True)],
    ids=lambda value: value.local_symbol if isinstance(value, Instrument) else f"rth={value}",
)
def test_a_daily_bar_equals_the_aggregate_of_its_whole_day(item: Instrument, use_rth: bool) -> None:
    market = SyntheticMarket(seed=11)
    session = sessions.session_of(item, date(2026, 11, 19))
    assert session is not None
    ticks = between(market, item, session.bounds(use_rth)[0], session.bounds(use_rth)[1])
    for what in ("TRADES", "BID", "ASK", "MIDPOINT"):
        asked = market.bars(item, session.start, session.end, "day", what, use_rth)
        made = bars_from_ticks(item, ticks, session.start, session.end, "day", what, use_rth)
        assert [shape(bar) for bar in asked] == [shape(bar) for bar in made]
        for one, other in zip(asked, made, strict=True):
            assert one.wap == pytest.approx(other.wap, rel=0.01)


@settings(max_examples=40)
@given(item=st.sampled_from(EVERY_KIND), seed=st.integers(0, 10_000), offset=st.integers(0, 6_000))
def test_minutes_keep_every_promise_of_their_segment(item: Instrument, seed: int, offset: int) -> None:
    market = SyntheticMarket(seed=seed)
    session = sessions.next_session(item, utc("2004-01-05T15:00") + timedelta(days=offset))
    for segment in market._segments(item, session.day):
        minutes = minutes_of(segment)
        spread = segment.spread
        assert len(minutes) == segment.minutes
        assert minutes[0].open == segment.first
        assert minutes[-1].close == segment.last
        assert max(m.high for m in minutes) == segment.high
        assert min(m.low for m in minutes) == segment.low
        assert max(m.high + m.spread for m in minutes) == segment.high + spread
        assert min(m.low + m.spread for m in minutes) == segment.low + spread
        assert minutes[0].spread == segment.first_spread
        assert minutes[-1].spread == spread
        assert all(m.low <= min(m.open, m.close) <= max(m.open, m.close) <= m.high for m in minutes)
        assert all(before.close == after.open for before, after in itertools.pairwise(minutes))
        assert sum(m.trades for m in minutes) == segment.trades
        assert sum(m.volume for m in minutes) == segment.volume
        if segment.trades:
            prints = [price for m in minutes for _, price in m.prints]
            assert prints[0] == segment.first
            assert prints[-1] == segment.last
            assert max(prints) == segment.high + spread
            assert min(prints) == segment.low


@settings(max_examples=40)
@given(item=st.sampled_from(EVERY_KIND), seed=st.integers(0, 10_000), minute=st.integers(0, 209))
def test_ticks_of_a_minute_are_ordered_on_the_grid_and_trade_at_the_quote(
    item: Instrument, seed: int, minute: int
) -> None:
    market = SyntheticMarket(seed=seed)
    for segment in market._segments(item, date(2026, 11, 19)):
        made = minutes_of(segment)[minute]
        ticks = ticks_of(item, segment, minute, made)
        start = segment.start + timedelta(minutes=minute)
        assert [t.at for t in ticks] == sorted(t.at for t in ticks)
        assert ticks[0].at == start
        assert ticks[-1].at < start + timedelta(minutes=1)
        standing: Quote | None = None
        for tick in ticks:
            if isinstance(tick, Quote):
                assert tick.bid is not None
                assert tick.ask is not None
                assert tick.bid % item.min_tick == 0
                assert tick.ask - tick.bid == made.spread * item.min_tick
                assert tick.bid_size > 0
                assert tick.ask_size > 0
                standing = tick
            else:
                assert tick.price % item.min_tick == 0
                if item.sec_type == "IND":
                    assert tick.size == 0
                    continue
                assert tick.size > 0
                assert standing is not None
                assert tick.price in {standing.bid, standing.ask}


@settings(max_examples=20)
@given(
    item=st.sampled_from(EVERY_KIND),
    seed=st.integers(0, 1_000),
    minutes=st.integers(-3_000, 3_000),
    asked_before=st.lists(st.integers(-3_000, 3_000), max_size=4),
)
def test_the_same_seed_gives_the_same_ticks_whatever_was_asked_before(
    item: Instrument, seed: int, minutes: int, asked_before: list[int]
) -> None:
    moment = utc("2026-11-18T15:00") + timedelta(minutes=minutes)
    fresh, used = SyntheticMarket(seed=seed), SyntheticMarket(seed=seed)
    for other in asked_before:
        there = utc("2026-11-18T15:00") + timedelta(minutes=other)
        used.quote_at(item, there)
        used.last_trade_at(item, there)
        used.bars(item, there - timedelta(days=3), there, 300, own_kind(item), use_rth=False)
    assert list(itertools.islice(fresh.events(item, moment), 300)) == list(
        itertools.islice(used.events(item, moment), 300)
    )
    assert fresh.quote_at(item, moment) == used.quote_at(item, moment)
    assert fresh.last_trade_at(item, moment) == used.last_trade_at(item, moment)


@settings(max_examples=25)
@given(item=st.sampled_from(EVERY_KIND), seed=st.integers(0, 1_000), minutes=st.integers(-9_000, 9_000))
def test_quote_in_force_and_last_trade_are_the_latest_of_the_stream(item: Instrument, seed: int, minutes: int) -> None:
    market = SyntheticMarket(seed=seed)
    moment = utc("2026-11-11T15:00:30") + timedelta(minutes=minutes)
    session = sessions.last_session(item, moment)
    past = [
        event
        for event in between(market, item, session.start, moment + timedelta(microseconds=1))
        if event.at <= moment
    ]
    quotes = [event for event in past if isinstance(event, Quote)]
    trades = [event for event in past if isinstance(event, Trade)]
    if item.sec_type == "IND":
        assert market.quote_at(item, moment) is None
    else:
        assert market.quote_at(item, moment) == quotes[-1]
    found = market.last_trade_at(item, moment)
    if trades:
        assert found == trades[-1]
    elif item.sec_type == "CASH":
        assert found is None
    else:
        assert found is not None
        assert found.at < session.start


def test_events_begin_anywhere_without_walking_there() -> None:
    market = SyntheticMarket(seed=3)
    whole = between(market, SPY, utc("2026-11-19T14:30"), utc("2026-11-19T14:40"))
    late = between(market, SPY, utc("2026-11-19T14:37:12.345"), utc("2026-11-19T14:40"))
    assert late == [event for event in whole if event.at >= utc("2026-11-19T14:37:12.345")]
    assert len(late) > 100


def test_different_seeds_and_instruments_walk_differently() -> None:
    start, end = utc("2026-06-01T00:00"), utc("2026-06-30T00:00")

    def closes(seed: int, item: Instrument) -> list[float]:
        return [bar.close for bar in SyntheticMarket(seed=seed).bars(item, start, end, "day", "TRADES", use_rth=True)]

    assert closes(1, SPY) != closes(2, SPY)
    assert closes(1, SPY) != closes(1, AIG)


def test_nothing_happens_while_closed_and_the_close_withdraws_the_quote() -> None:
    market = SyntheticMarket(seed=5)
    friday_evening, monday = utc("2026-11-20T23:00"), utc("2026-11-24T01:00:01")
    events = between(market, SPY, friday_evening, monday)
    assert all(
        sessions.is_open(SPY, e.at, outside_rth=True) or (isinstance(e, Quote) and e.bid is None) for e in events
    )
    closing = [e for e in events if isinstance(e, Quote) and e.bid is None]
    assert [e.at for e in closing] == [utc("2026-11-21T01:00"), utc("2026-11-24T01:00")]
    weekend = market.quote_at(SPY, utc("2026-11-21T15:00"))
    assert weekend is not None
    assert (weekend.bid, weekend.ask, weekend.at) == (None, None, utc("2026-11-21T01:00"))
    stale = market.last_trade_at(SPY, utc("2026-11-21T15:00"))
    assert stale is not None
    assert stale.at < utc("2026-11-21T01:00")


def test_days_join_and_years_stay_plausible() -> None:
    market = SyntheticMarket(seed=9)
    for item in (SPY, LLY, EURUSD, ES):
        bars = market.bars(item, utc("2016-01-01T00:00"), utc("2026-11-20T00:00"), "day", own_kind(item), use_rth=True)
        assert len(bars) > 400
        gaps = [abs(math.log(after.open / before.close)) for before, after in itertools.pairwise(bars)]
        moves = [math.log(after.close / before.close) for before, after in itertools.pairwise(bars)]
        yearly = pstdev(moves) * math.sqrt(252)
        assert mean(gaps) < 0.6 * item.annual_volatility / math.sqrt(252)
        assert 0.6 * item.annual_volatility < yearly < 1.5 * item.annual_volatility
        reference = float(item.reference_price)
        assert all(reference / 4 < bar.close < reference * 4 for bar in bars)
        assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)


def test_the_walk_ends_its_anchor_date_at_the_reference_price() -> None:
    for item in (SPY, LLY, EURUSD, VIX):
        segments = SyntheticMarket(seed=4)._segments(item, ANCHOR)
        assert segments[-1].last * item.min_tick == item.reference_price


def test_volume_is_busy_at_both_ends_of_the_day() -> None:
    market = SyntheticMarket(seed=2)
    bars = market.bars(SPY, utc("2026-11-02T00:00"), utc("2026-11-20T00:00"), 1800, "TRADES", use_rth=True)
    by_time: dict[str, list[float]] = {}
    for bar in bars:
        by_time.setdefault(f"{bar.start.astimezone(sessions.NEW_YORK):%H%M}", []).append(bar.volume)
    usual = {at: mean(volumes) for at, volumes in by_time.items()}
    assert usual["0930"] > 1.5 * usual["1230"]
    assert usual["1530"] > 1.5 * usual["1230"]
    extended = market.bars(SPY, utc("2026-11-19T00:00"), utc("2026-11-20T02:00"), 1800, "TRADES", use_rth=False)
    early = [bar.volume for bar in extended if bar.start < utc("2026-11-19T14:30")]
    assert mean(early) < 0.2 * usual["1230"]


def test_spreads_are_wide_at_the_open_and_outside_regular_hours() -> None:
    market = SyntheticMarket(seed=6)

    def spread(at: str) -> float:
        quote = market.quote_at(AIG, utc(at))
        assert quote is not None
        assert quote.bid is not None
        assert quote.ask is not None
        return float((quote.ask - quote.bid) / AIG.min_tick)

    usual = AIG.typical_spread_ticks
    assert spread("2026-11-19T14:30:00") > usual
    assert spread("2026-11-19T12:00:30") == usual * 4
    midday = [spread(f"2026-11-19T17:{minute:02}:30") for minute in range(60)]
    assert sorted(midday)[30] == usual


def test_a_liquid_stock_updates_a_few_times_a_second() -> None:
    market = SyntheticMarket(seed=6)
    events = between(market, SPY, utc("2026-11-19T16:00"), utc("2026-11-19T16:10"))
    per_second = sum(isinstance(event, Quote) for event in events) / 600
    assert 1 <= per_second <= 5


def test_an_index_prints_and_a_pair_only_quotes() -> None:
    market = SyntheticMarket(seed=1)
    noon, later = utc("2026-11-19T16:00"), utc("2026-11-19T16:05")
    assert all(isinstance(event, Trade) for event in between(market, VIX, noon, later))
    assert all(isinstance(event, Quote) for event in between(market, EURUSD, noon, later))
    assert market.bars(EURUSD, noon, later, 60, "TRADES", use_rth=False) == []
    assert market.bars(VIX, noon, later, 60, "BID", use_rth=False) == []
    assert market.head(EURUSD, "TRADES") is None
    assert market.head(VIX, "MIDPOINT") is None
    assert market.head(EURUSD, "MIDPOINT") is not None


def test_futures_live_from_listing_to_expiry_and_share_one_market() -> None:
    market = SyntheticMarket(seed=1)
    after = utc("2026-12-21T15:00")
    assert not market.is_data_day(ES, date(2026, 12, 21))
    assert market.is_data_day(ES, date(2026, 12, 18))
    assert list(market.events(ES, after)) == []
    last = market.last_trade_at(ES, after)
    assert last is not None
    assert last.at.date() == date(2026, 12, 18)
    head = market.head(ES, "TRADES")
    assert head is not None
    assert head.date() == date(2024, 12, 17)  # two years before, the evening session of the 18th
    assert market.bars(ES, utc("2020-01-01T00:00"), utc("2020-02-01T00:00"), "day", "TRADES", use_rth=True) == []
    assert market.last_trade_at(ES, utc("2020-02-01T00:00")) is None
    assert next(market.events(ES, utc("2024-11-01T00:00"))).at.date() == date(2024, 12, 17)
    (following,) = BOOK.resolve(ContractQuery(symbol="ES", sec_type="FUT", expiry="202703"))
    noon, later = utc("2026-11-02T16:00"), utc("2026-11-19T16:00")

    def move(item: Instrument) -> float:
        bars = market.bars(item, noon, later, "day", "TRADES", use_rth=True)
        return math.log(bars[-1].close / bars[0].close)

    assert move(ES) == pytest.approx(move(following), abs=2e-3)
    near, far = (market.bars(item, noon, later, "day", "TRADES", use_rth=True)[0] for item in (ES, following))
    assert far.close > near.close
    assert far.volume < 0.1 * near.volume


def test_the_protocol_basics() -> None:
    market = SyntheticMarket(seed=1)
    assert market.name == "synthetic"
    assert market.suggested_start is None
    assert all(market.covers(item) for item in EVERY_KIND)
    assert not market.is_data_day(SPY, date(2026, 11, 21))
    head = market.head(SPY, "TRADES")
    assert head == utc("1998-01-02T09:00")
