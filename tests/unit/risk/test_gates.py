"""Each gate at its edge: the limit itself passes, the next step beyond is refused, missing data refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.models import Contract, ContractDetails, OrderRequest
from ibkr_connector.risk import (
    GateResult,
    InstrumentView,
    MarketHours,
    PriceView,
    RiskDecision,
    RiskEngine,
    RiskLimits,
    RiskSnapshot,
    calendar_sessions,
    parse_hours,
)

D = Decimal
AAPL, TOYOTA, ES, SPX, PENCE = 265598, 14016545, 495512563, 700000001, 700000002
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)  # Friday, 10:00 New York

CONTRACTS = {
    AAPL: Contract.stock("AAPL").with_con_id(AAPL),
    TOYOTA: Contract.stock("7203", "TSEJ", "JPY").with_con_id(TOYOTA),
    ES: Contract.future("ES", "202612", "CME").with_con_id(ES),
    SPX: Contract(symbol="SPX", sec_type="OPT", expiry="20261218", strike=6000, right="C", con_id=SPX),
    PENCE: Contract.stock("VOD", "LSE", "GBP").with_con_id(PENCE),
}
INSTRUMENTS = {
    AAPL: InstrumentView(con_id=AAPL, currency="USD", min_tick=D("0.01"), size_increment=D(1)),
    TOYOTA: InstrumentView(con_id=TOYOTA, currency="JPY", min_tick=D("0.5"), size_increment=D(100)),
    ES: InstrumentView(con_id=ES, currency="USD", multiplier=D(50), min_tick=D("0.25"), signed_price=True),
    SPX: InstrumentView(con_id=SPX, currency="USD", multiplier=D(100), min_tick=D("0.05")),
    PENCE: InstrumentView(con_id=PENCE, currency="GBP", price_magnifier=100),
}
PRICES = {
    AAPL: PriceView(bid=D("149.99"), ask=D(150), last=D("149.99")),
    TOYOTA: PriceView(bid=D(2999), ask=D(3000), last=D(3000)),
    ES: PriceView(bid=D(6000), ask=D("6000.25"), last=D(6000)),
    SPX: PriceView(bid=D("41.90"), ask=D(42), last=D(42)),
    PENCE: PriceView(bid=D(70), ask=D(71)),
}
HOURS = MarketHours(
    trading=parse_hours("20261120:0400-20261120:2000;20261121:CLOSED", "US/Eastern"),
    liquid=parse_hours("20261120:0930-20261120:1600;20261121:CLOSED", "US/Eastern"),
)
OFF = RiskLimits(
    max_position_size=None,
    max_order_size=None,
    max_order_value=None,
    daily_loss_limit=None,
    check_market_hours=False,
)


def view(**changes: Any) -> RiskSnapshot:
    base = RiskSnapshot(
        account="DU1",
        currency="USD",
        now=NOW,
        monotonic=1_000.0,
        net_liquidation=D(100_000),
        daily_pnl=D(0),
        positions={},
        instruments=INSTRUMENTS,
        prices=PRICES,
        market_hours=dict.fromkeys(CONTRACTS, HOURS),
        rates={"JPY": D("0.0065"), "GBP": D("1.25")},
        fee_estimate=D(1),
    )
    return replace(base, **changes)


def order(
    action: str = "BUY", quantity: float | str = 1, limit: float | str | None = None, con_id: int = AAPL, **more: Any
) -> OrderRequest:
    kind = more.pop("order_type", "MKT" if limit is None else "LMT")
    return OrderRequest.make(
        contract=CONTRACTS[con_id], action=action, quantity=quantity, order_type=kind, limit_price=limit, **more
    )


def decide(limits: RiskLimits, request: OrderRequest, seen: RiskSnapshot | None = None) -> RiskDecision:
    return RiskEngine(limits).check_and_reserve(request, seen or view())


def only(decision: RiskDecision, gate: str) -> GateResult:
    (result,) = [result for result in decision.results if result.gate == gate]
    if not result.passed:
        assert result.remedy, "a refusal says what to do"
        assert result.message
    return result


# --- order size and value --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantity", "passes"), [(100, True), ("100.01", False), (101, False)])
def test_order_size(quantity: float | str, passes: bool) -> None:
    result = only(decide(replace(OFF, max_order_size=D(100)), order(quantity=quantity)), "order_size")
    assert result.passed is passes
    assert (result.limit, result.value) == (D(100), D(str(quantity)))


@pytest.mark.parametrize(("sec_type", "told"), [("CASH", True), ("STK", False)])
def test_refused_pair_is_told_what_the_limit_counts(sec_type: str, told: bool) -> None:
    request = order(quantity=101)
    request = request.model_copy(update={"contract": replace(request.contract, sec_type=sec_type)})
    result = only(decide(replace(OFF, max_order_size=D(100)), request), "order_size")
    assert ("base currency" in result.remedy) is told


@pytest.mark.parametrize(
    ("request_", "value"),
    [
        (order("BUY", 100), D(15_000)),  # at the ask
        (order("SELL", 100), D(14_999)),  # at the bid
        (order("BUY", 100, "140.00"), D(14_000)),  # a buy never costs more than its limit
        (order("BUY", 100, "160.00"), D(16_000)),
        (order("SELL", 100, "140.00"), D(14_999)),  # a sell is worth what the market pays
        (order("SELL", 100, "160.00"), D(16_000)),
        (order("BUY", 100, order_type="STP", stop_price=155), D(15_500)),
        (order("SELL", 100, order_type="STP", stop_price=145), D(14_999)),
        (order("BUY", 100, 156, order_type="STP LMT", stop_price=155), D(15_600)),
        (order("SELL", 100, order_type="TRAIL", trail_percent=5), D(14_999)),
        (order("BUY", 100, con_id=TOYOTA), D(1_950)),  # 300,000 yen
        (order("BUY", 2, con_id=ES), D(600_025)),
        (order("SELL", 3, con_id=SPX), D(12_570)),
        (order("BUY", 1000, con_id=PENCE), D("887.5")),  # 71 pence
    ],
)
def test_order_value_in_base_currency(request_: OrderRequest, value: Decimal) -> None:
    at_limit = only(decide(replace(OFF, max_order_value=value), request_), "order_value")
    assert (at_limit.passed, at_limit.value) == (True, value)
    beyond = only(decide(replace(OFF, max_order_value=value - D("0.01")), request_), "order_value")
    assert not beyond.passed
    assert "max_order_value" in beyond.message


def test_price_sources_in_their_order() -> None:
    limits = replace(OFF, max_order_value=D(10**9))
    delayed = view(prices={AAPL: replace(PRICES[AAPL], delayed=True)})
    bare = view(prices={})
    for request_, seen, price in (
        (order(), view(), "150 (live quote)"),
        (order(), delayed, "150 (delayed quote)"),
        (order(limit=99), bare, "99 (the order's own price)"),
        (order(order_type="STP", stop_price=98), bare, "98 (the order's own price)"),
        (order(limit=99, reference_price=97), bare, "99 (the order's own price)"),
        (order(reference_price=97), bare, "97 (the caller's reference price)"),
    ):
        assert dict(decide(limits, request_, seen).inputs)["price"] == price


@pytest.mark.parametrize(
    "quote",
    [
        None,
        PriceView(),
        PriceView(bid=D(0), ask=D(0), last=D(0)),
        PriceView(ask=D(-1)),
        PriceView(ask=D("NaN"), last=D("Infinity")),
    ],
)
def test_no_price_refuses_and_says_how_to_get_one(quote: PriceView | None) -> None:
    seen = view(prices={} if quote is None else {AAPL: quote})
    result = only(decide(replace(OFF, max_order_value=D(10**9)), order(), seen), "order_value")
    assert not result.passed
    assert result.message == "it cannot judge without a price"
    assert "reference_price" in result.remedy


def test_a_one_sided_quote_falls_back_to_last_and_to_the_other_side() -> None:
    limits = replace(OFF, max_order_value=D(10**9))
    for quote, value in (
        (PriceView(bid=D(10), last=D(12)), D(12)),
        (PriceView(bid=D(10)), D(10)),
        (PriceView(ask=D("0.05")), D("0.05")),
    ):
        assert only(decide(limits, order(), view(prices={AAPL: quote})), "order_value").value == value


def test_futures_may_have_prices_below_zero_and_their_size_counts() -> None:
    seen = view(prices={ES: PriceView(bid=D("-37.75"), ask=D("-37.50"))})
    result = only(decide(replace(OFF, max_order_value=D(1_875)), order(con_id=ES), seen), "order_value")
    assert (result.passed, result.value) == (True, D(1_875))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"instruments": {}}, "the contract's rules"),
        ({"rates": {}}, "the exchange rate JPY/USD"),
        ({"rates": {"JPY": D(0)}}, "the exchange rate JPY/USD"),
        ({"instruments": {TOYOTA: replace(INSTRUMENTS[TOYOTA], multiplier=D(0))}}, "the contract's multiplier"),
        ({"instruments": {TOYOTA: replace(INSTRUMENTS[TOYOTA], price_magnifier=0)}}, "the contract's multiplier"),
    ],
)
def test_money_without_its_factors_refuses(changes: dict[str, Any], missing: str) -> None:
    decision = decide(replace(OFF, max_order_value=D(10**9)), order(con_id=TOYOTA), view(**changes))
    assert only(decision, "order_value").message == f"it cannot judge without {missing}"
    assert dict(decision.inputs)["value"] == "unknown"


# --- position --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "action", "quantity", "passes"),
    [
        (0, "BUY", 100, True),
        (0, "BUY", 101, False),
        (0, "SELL", 100, True),
        (0, "SELL", 101, False),
        (60, "BUY", 40, True),
        (60, "BUY", 41, False),
        (-60, "BUY", 160, True),
        (-60, "BUY", 161, False),
        (-60, "SELL", 41, False),
        (500, "SELL", 1, True),  # beyond the limit already: what reduces passes
        (500, "SELL", 600, True),
        (500, "SELL", 601, False),
        (500, "BUY", 1, False),
        (-500, "BUY", 1, True),
    ],
)
def test_position_limit(position: int, action: str, quantity: int, passes: bool) -> None:
    decision = decide(
        replace(OFF, max_position_size=D(100)), order(action, quantity), view(positions={AAPL: D(position)})
    )
    assert only(decision, "position_limit").passed is passes


def test_what_is_open_counts_on_its_own_side_only() -> None:
    engine = RiskEngine(replace(OFF, max_position_size=D(100)))
    assert engine.check_and_reserve(order("BUY", 70), view()).allowed
    assert engine.check_and_reserve(order("SELL", 100), view()).allowed
    assert engine.check_and_reserve(order("BUY", 30), view()).allowed
    refused = engine.check_and_reserve(order("BUY", 1), view())
    assert [reason.gate for reason in refused.reasons] == ["position_limit"]
    assert "open on this side 100" in refused.reasons[0].message
    assert engine.check_and_reserve(order("BUY", 100, con_id=TOYOTA), view()).allowed


def test_position_value_at_the_markets_price() -> None:
    limits = replace(OFF, max_position_value=D(15_000))
    held = view(positions={AAPL: D(90)})
    assert only(decide(limits, order("BUY", 10), held), "position_value").value == D(15_000)
    assert not only(decide(limits, order("BUY", 11), held), "position_value").passed
    assert not only(decide(limits, order("BUY", 11, "1.00"), held), "position_value").passed  # not at its own price
    assert only(decide(limits, order("SELL", 90), held), "position_value").value == 0
    assert not only(decide(replace(OFF, max_position_value=D("149.99")), order()), "position_value").passed
    bare = view(prices={}, positions={AAPL: D(90)})
    assert only(decide(limits, order("BUY", 10, 100), bare), "position_value").value == 10_000


def test_an_es_position_is_worth_its_multiplier() -> None:
    limits = replace(OFF, max_position_value=D(600_025))
    assert only(decide(limits, order(quantity=2, con_id=ES)), "position_value").passed
    assert not only(decide(limits, order(quantity=3, con_id=ES)), "position_value").passed


def test_unknown_positions_refuse() -> None:
    decision = decide(replace(OFF, max_position_size=D(100)), order(), view(positions=None))
    assert only(decision, "position_limit").message == "it cannot judge without the position"
    assert dict(decision.inputs)["position"] == "unknown"


# --- daily loss ------------------------------------------------------------------------------------------------------

LOSS = replace(OFF, daily_loss_limit=D(500), in_flight_collar=D("0.01"))


@pytest.mark.parametrize(
    ("pnl", "quantity", "passes"),
    [
        (D(0), 332, True),  # 1 fee + 1 % of 49,800
        (D(0), 333, False),
        (D("-349"), 100, True),
        (D("-349.01"), 100, False),
        (D("-349"), 101, False),
        (D("1000"), 999, True),
        (D("1000"), 1_000, False),
    ],
)
def test_daily_loss_with_fees_and_slippage_of_what_is_in_flight(pnl: Decimal, quantity: int, passes: bool) -> None:
    decision = decide(LOSS, order("BUY", quantity), view(daily_pnl=pnl))
    result = only(decision, "daily_loss")
    expected = -pnl + 1 + quantity * 150 * D("0.01")
    assert result.value == expected
    assert result.passed is (expected <= 500) is passes


def test_a_loss_at_the_limit_passes_and_a_cent_more_does_not() -> None:
    free = replace(LOSS, in_flight_collar=D(0))
    assert only(decide(free, order(), view(daily_pnl=D(-500), fee_estimate=D(0))), "daily_loss").passed
    assert not only(decide(free, order(), view(daily_pnl=D(-500), fee_estimate=D("0.01"))), "daily_loss").passed


def test_a_tripped_day_lets_only_reducing_orders_through_also_after_a_recovery() -> None:
    engine = RiskEngine(LOSS)
    held = {AAPL: D(10)}
    assert engine.check(order(), view()).allowed
    assert not engine.check(order(), view(daily_pnl=D("-500.01"), positions=held)).allowed
    recovered = engine.check(order(), view(daily_pnl=D(0), positions=held))
    assert only(recovered, "daily_loss").message.startswith("the day's loss passed daily_loss_limit 500.00 today")
    assert engine.check(order("SELL", 10), view(daily_pnl=D(-9_999), positions=held)).allowed
    assert not engine.check(order("SELL", 11), view(daily_pnl=D(0), positions=held)).allowed


def test_what_others_have_in_flight_counts_until_it_has_ended() -> None:
    engine = RiskEngine(LOSS)
    first = order("BUY", 200)
    assert engine.check_and_reserve(first, view()).allowed  # 301
    assert not engine.check_and_reserve(order("BUY", 200), view()).allowed
    assert engine.check_and_reserve(order("BUY", 130), view()).allowed  # 301 + 196
    assert engine.in_flight_loss == D(497)
    engine.on_done(first.order_ref)
    assert engine.in_flight_loss == D(196)


def test_prices_that_are_not_live_widen_the_collar() -> None:
    for seen in (view(prices={AAPL: replace(PRICES[AAPL], delayed=True)}), view(prices={})):
        result = only(decide(LOSS, order("BUY", 10, 150), seen), "daily_loss")
        assert result.value == 1 + 10 * 150 * D("0.02")


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"net_liquidation": None}, "the loss of the day"),
        ({"daily_pnl": None}, "the loss of the day"),
        ({"fee_estimate": None}, "the fees"),
        ({"prices": {}}, "a price"),
    ],
)
def test_daily_loss_without_its_figures_refuses(changes: dict[str, Any], missing: str) -> None:
    assert missing in only(decide(LOSS, order(), view(**changes)), "daily_loss").message


# --- market hours ----------------------------------------------------------------------------------------------------

HOURS_ON = replace(OFF, check_market_hours=True)


@pytest.mark.parametrize(
    ("moment", "outside", "passes"),
    [
        ("2026-11-20T14:29:59", False, False),
        ("2026-11-20T14:30:00", False, True),
        ("2026-11-20T20:59:59", False, True),
        ("2026-11-20T21:00:00", False, False),
        ("2026-11-20T21:00:00", True, True),
        ("2026-11-21T01:00:00", True, False),
    ],
)
def test_market_hours(moment: str, outside: bool, passes: bool) -> None:
    seen = view(now=datetime.fromisoformat(moment).replace(tzinfo=UTC))
    result = only(decide(HOURS_ON, order(outside_rth=outside), seen), "market_hours")
    assert result.passed is passes


def test_a_closed_market_says_until_when() -> None:
    before = view(now=datetime(2026, 11, 20, 12, 0, tzinfo=UTC))
    result = only(decide(HOURS_ON, order(), before), "market_hours")
    assert result.message == "the market is closed until 2026-11-20 14:30 UTC (by IBKR)"
    assert "outside_rth" in result.remedy
    after = view(now=datetime(2026, 11, 21, 3, 0, tzinfo=UTC))
    result = only(decide(HOURS_ON, order(outside_rth=True), after), "market_hours")
    assert result.message == "the market is closed (by IBKR)"
    assert "outside_rth" not in result.remedy


def test_sources_that_disagree_refuse_live_orders_and_not_paper_ones() -> None:
    # IBKR's text says a whole day, the exchange closes at 13:00: the day after Thanksgiving.
    wrong = MarketHours(
        liquid=parse_hours("20261127:0930-20261127:1600", "US/Eastern"),
        calendar=calendar_sessions("XNYS", date(2026, 11, 27)),
    )
    afternoon = datetime(2026, 11, 27, 19, 0, tzinfo=UTC)
    seen = view(now=afternoon, market_hours={AAPL: wrong})
    assert only(decide(HOURS_ON, order(), seen), "market_hours").passed
    live = only(decide(HOURS_ON, order(), replace(seen, live=True)), "market_hours")
    assert not live.passed
    assert "IBKR says the market is open" in live.message
    other_way = replace(wrong, liquid=parse_hours("20261127:CLOSED", "US/Eastern"))
    morning = replace(seen, now=datetime(2026, 11, 27, 16, 0, tzinfo=UTC), market_hours={AAPL: other_way}, live=True)
    assert "IBKR says the market is closed" in only(decide(HOURS_ON, order(), morning), "market_hours").message


@pytest.mark.parametrize("hours", [{}, {AAPL: MarketHours()}])
def test_unknown_hours_refuse(hours: dict[int, MarketHours]) -> None:
    result = only(decide(HOURS_ON, order(), view(market_hours=hours)), "market_hours")
    assert "trading hours for this moment" in result.message


def test_orders_outside_regular_hours_can_be_forbidden_with_hours_checked_or_not() -> None:
    for checked in (True, False):
        limits = replace(OFF, check_market_hours=checked, allow_outside_rth=False)
        assert not only(decide(limits, order(outside_rth=True)), "market_hours").passed
        closed = view(now=datetime(2026, 11, 21, 15, 0, tzinfo=UTC))
        assert only(decide(limits, order(), closed), "market_hours").passed is (not checked)
    assert not [result for result in decide(OFF, order()).results if result.gate == "market_hours"]


# --- prices ----------------------------------------------------------------------------------------------------------

TICKS = replace(OFF, check_ticks=True)


@pytest.mark.parametrize(
    ("request_", "passes"),
    [
        (order(limit="150.01"), True),
        (order(limit="150.011"), False),
        (order(order_type="STP", stop_price="149.995"), False),
        (order(quantity="0.5"), False),
        (order(quantity=100, limit="3000.5", con_id=TOYOTA), True),
        (order(quantity=150, limit=3000, con_id=TOYOTA), False),
        (order(limit="6000.10", con_id=ES), False),
        (order(limit="6000.25", quantity="1", con_id=ES), True),
        (order(limit="1.23456", con_id=PENCE), True),
    ],
)
def test_ticks_and_lots(request_: OrderRequest, passes: bool) -> None:
    assert only(decide(TICKS, request_), "tick").passed is passes
    unruled = {key: replace(value, min_tick=D(0), size_increment=D(0)) for key, value in INSTRUMENTS.items()}
    assert only(decide(TICKS, request_, view(instruments=unruled)), "tick").passed


COLLAR = replace(OFF, price_collar=D("0.02"))


@pytest.mark.parametrize(
    ("action", "limit", "passes"),
    [
        ("BUY", "153.00", True),
        ("BUY", "153.01", False),
        ("BUY", "10.00", True),  # far below the market: it only waits
        ("SELL", "146.9902", True),
        ("SELL", "146.99", False),
        ("SELL", "300.00", True),
    ],
)
def test_price_collar(action: str, limit: str, passes: bool) -> None:
    result = only(decide(COLLAR, order(action, 1, limit)), "price_collar")
    assert result.passed is passes
    assert result.limit == (D(153) if action == "BUY" else D("146.9902"))


def test_price_collar_of_other_quotes() -> None:
    delayed = view(prices={AAPL: replace(PRICES[AAPL], delayed=True)})
    assert only(decide(COLLAR, order("BUY", 1, 156), delayed), "price_collar").passed
    assert not only(decide(COLLAR, order("BUY", 1, "156.01"), delayed), "price_collar").passed
    assert "a quote" in only(decide(COLLAR, order("BUY", 1, 150), view(prices={})), "price_collar").message
    assert only(decide(COLLAR, order(), view(prices={})), "price_collar").passed


AGE = replace(OFF, max_quote_age=5.0)


def test_quote_age() -> None:
    fresh, old = (view(prices={AAPL: replace(PRICES[AAPL], age=age)}) for age in (5.0, 5.1))
    assert only(decide(AGE, order(), fresh), "quote_age").passed
    assert not only(decide(AGE, order(), old), "quote_age").passed
    assert only(decide(AGE, order(limit=150), old), "quote_age").passed
    assert only(decide(AGE, order(limit=150), view(prices={})), "quote_age").passed
    assert "a quote" in only(decide(AGE, order(), view(prices={})), "quote_age").message


def test_nothing_is_opened_in_a_halt_and_what_reduces_may_wait_for_its_end() -> None:
    halted = view(prices={AAPL: replace(PRICES[AAPL], halted=True)}, positions={AAPL: D(10)})
    assert "halted" in only(decide(OFF, order(limit=150), halted), "halted").message
    assert only(decide(OFF, order("SELL", 10, 150), halted), "halted").passed
    assert not only(decide(OFF, order("SELL", 11, 150), halted), "halted").passed
    assert only(decide(OFF, order(limit=150), view(prices={})), "halted").passed  # nobody says so
    assert [r.gate for r in decide(replace(OFF, refuse_halted=False), order(limit=150), halted).reasons] == []


def test_quote_that_tells_no_price_is_no_quote_however_fresh() -> None:
    blank = view(prices={AAPL: PriceView(age=0.1)})
    assert not only(decide(AGE, order(), blank), "quote_age").passed
    assert not only(decide(AGE, order(reference_price=150), blank), "quote_age").passed
    assert only(decide(AGE, order(limit=150), blank), "quote_age").passed
    value = decide(replace(OFF, max_order_value=D(10_000)), order(quantity=10), blank)
    assert "a price" in only(value, "order_value").message


# --- traffic ---------------------------------------------------------------------------------------------------------


def test_the_same_order_twice_in_a_moment_is_refused() -> None:
    engine = RiskEngine(replace(OFF, duplicate_window=3.0))
    assert engine.check_and_reserve(order("BUY", 5, 150), view(monotonic=10.0)).allowed
    assert engine.check_and_reserve(order("BUY", 5, 151), view(monotonic=10.0)).allowed
    again = engine.check_and_reserve(order("BUY", 5, 150), view(monotonic=12.9))
    assert only(again, "duplicate_order").message == "the same order was placed 2.9 s ago, within duplicate_window 3 s"
    assert engine.check_and_reserve(order("BUY", 5, 150, agent="other"), view(monotonic=12.9)).allowed
    assert engine.check_and_reserve(order("BUY", 5, 150), view(monotonic=13.0)).allowed


def test_order_rate() -> None:
    engine = RiskEngine(replace(OFF, max_orders=2, max_orders_window=1.0))
    assert engine.check_and_reserve(order(), view(monotonic=10.0)).allowed
    assert engine.check_and_reserve(order(), view(monotonic=10.5)).allowed
    assert only(engine.check_and_reserve(order(), view(monotonic=10.9)), "order_rate").value == 3
    assert engine.check_and_reserve(order(), view(monotonic=11.0)).allowed
    assert len(engine._recent) == 2


def test_orders_of_earlier_runs_count_as_long_as_the_window_is() -> None:
    limits = replace(OFF, duplicate_window=3.0, max_orders=3, max_orders_window=10.0)
    assert (RiskEngine(limits).remembers, RiskEngine(OFF).remembers) == (10.0, 0.0)
    engine = RiskEngine(limits)
    engine.start_recent([(1.0, order("BUY", 5, 149)), (8.0, order("BUY", 5, 150))])
    again = engine.check_and_reserve(order("BUY", 5, 150), view(monotonic=10.9))
    assert only(again, "duplicate_order").message == "the same order was placed 2.9 s ago, within duplicate_window 3 s"
    assert only(again, "order_rate").value == 3
    assert engine.check_and_reserve(order("BUY", 5, 150), view(monotonic=11.0)).allowed
    assert len(engine._recent) == 2


def test_open_orders() -> None:
    engine = RiskEngine(replace(OFF, max_open_orders=2))
    first = order()
    assert engine.check_and_reserve(first, view()).allowed
    assert engine.check_and_reserve(order(), view()).allowed
    assert only(engine.check_and_reserve(order(), view()), "open_orders").value == 3
    engine.on_done(first.order_ref)
    assert engine.check_and_reserve(order(), view()).allowed


# --- all together ----------------------------------------------------------------------------------------------------


def test_all_reasons_are_collected_and_the_cheap_gates_come_first() -> None:
    limits = RiskLimits(
        max_position_size=D(1),
        max_position_value=D(1),
        max_order_size=D(1),
        max_order_value=D(1),
        daily_loss_limit=D(1),
        check_ticks=True,
        price_collar=D("0.01"),
        max_quote_age=1.0,
        duplicate_window=1.0,
        max_orders=10,
        max_open_orders=10,
    )
    night = view(
        now=datetime(2026, 11, 21, 15, 0, tzinfo=UTC), prices={AAPL: replace(PRICES[AAPL], age=2.0, halted=True)}
    )
    decision = decide(limits, order("BUY", 10, "170.001"), night)
    assert [reason.gate for reason in decision.reasons] == [
        "tick",
        "market_hours",
        "halted",
        "price_collar",
        "order_size",
        "order_value",
        "position_limit",
        "position_value",
        "daily_loss",
    ]
    assert [result.gate for result in decision.results if result.passed] == [
        "trading_state",
        "forked_order",
        "duplicate_order",
        "quote_age",
        "order_rate",
        "open_orders",
    ]


def test_what_may_change_while_an_order_waits_is_asked_again_before_the_write() -> None:
    limits = RiskLimits(
        max_position_value=D(1),
        check_ticks=True,
        price_collar=D("0.01"),
        max_quote_age=1.0,
        duplicate_window=1.0,
        max_orders=10,
        max_open_orders=10,
    )
    engine = RiskEngine(limits)
    again = [result.gate for result in engine.recheck(order(), view()).results]
    assert again == ["trading_state", "forked_order", "market_hours", "halted", "quote_age", "daily_loss"]


def test_an_instrument_view_comes_from_contract_details() -> None:
    details = ContractDetails(
        contract=CONTRACTS[ES], multiplier=D(50), min_tick=D("0.25"), size_increment=D(1), price_magnifier=1
    )
    assert InstrumentView.of(details) == replace(INSTRUMENTS[ES], size_increment=D(1))
