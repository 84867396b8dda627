"""Gates that look at more than one order: the account, its agents, what may be traded at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.models import BracketRequest, Contract, OrderRequest
from ibkr_connector.risk import RiskDecision, RiskEngine, RiskLimits, RiskSnapshot, SubLimits
from support.risk import AAPL, CONTRACTS, ES, INSTRUMENTS, NOW, OFF, PRICES, SPX, TOYOTA, VALUES, D, only, order, view


def decide(limits: RiskLimits, request: OrderRequest, seen: RiskSnapshot | None = None) -> RiskDecision:
    return RiskEngine(limits).check_and_reserve(request, seen or view())


def holding(**positions: int) -> RiskSnapshot:
    ids = {"aapl": AAPL, "toyota": TOYOTA, "es": ES, "spx": SPX}
    return view(positions={ids[name]: D(quantity) for name, quantity in positions.items()})


# --- restricted list -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["AAPL", "aapl", str(AAPL)])
def test_restricted_contracts_may_only_be_reduced(entry: str) -> None:
    limits = replace(OFF, restricted_symbols=(entry, "GME"))
    refused = only(decide(limits, order()), "restricted")
    assert not refused.passed
    assert "restricted_symbols" in refused.remedy
    assert only(decide(limits, order("SELL", 10), holding(aapl=10)), "restricted").passed
    assert not only(decide(limits, order("SELL", 11), holding(aapl=10)), "restricted").passed
    assert only(decide(limits, order(con_id=ES)), "restricted").passed


# --- tick, lot, multiplier -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("con_id", "limit", "quantity", "passes"),
    [
        (AAPL, "100.01", "1", True),
        (AAPL, "100.015", "1", False),
        (AAPL, "100", "1.5", False),
        (TOYOTA, "3000.5", "100", True),
        (TOYOTA, "3000.4", "100", False),
        (TOYOTA, "3000", "150", False),  # a lot is 100 shares
        (ES, "6000.25", "1", True),
        (ES, "6000.10", "1", False),
        (SPX, "42.05", "1", True),
        (SPX, "42.03", "1", False),
    ],
)
def test_tick_and_lot(con_id: int, limit: str, quantity: str, passes: bool) -> None:
    limits = replace(OFF, check_ticks=True)
    assert only(decide(limits, order("BUY", quantity, limit, con_id)), "tick").passed is passes


@pytest.mark.parametrize(("named", "passes"), [("50", True), ("50.0", True), ("", True), ("5", False)])
def test_multiplier_named_by_the_order_is_the_brokers(named: str, passes: bool) -> None:
    request = order(con_id=ES)
    request = request.model_copy(update={"contract": replace(request.contract, multiplier=named)})
    assert only(decide(replace(OFF, check_ticks=True), request), "tick").passed is passes


@pytest.mark.parametrize("multiplier", [0, -1])
def test_multiplier_that_makes_no_money_refuses(multiplier: int) -> None:
    seen = view(instruments={ES: replace(INSTRUMENTS[ES], multiplier=D(multiplier))})
    assert "multiplier" in only(decide(replace(OFF, check_ticks=True), order(con_id=ES), seen), "tick").message


# --- collar ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "stop", "limit", "passes"),
    [
        ("BUY", 120, 126, True),  # 5 % beyond the stop, where it begins to work
        ("BUY", 120, 127, False),
        ("BUY", 90, 105, True),  # works at once: measured from the market
        ("BUY", 90, 106, False),
        ("SELL", 80, 76, True),
        ("SELL", 80, 75, False),
    ],
)
def test_limit_of_a_stop_limit_order_is_measured_from_where_it_works(
    action: str, stop: int, limit: int, passes: bool
) -> None:
    request = order(action, 1, limit, order_type="STP LMT", stop_price=stop)
    assert only(decide(replace(OFF, price_collar=D("0.05")), request), "price_collar").passed is passes


# --- traffic ---------------------------------------------------------------------------------------------------------


def test_getting_out_is_not_held_up_as_a_repetition_or_for_its_pace() -> None:
    engine = RiskEngine(replace(OFF, duplicate_window=60.0, max_orders=1, max_orders_window=60.0))
    assert engine.check_and_reserve(order("SELL", 5), holding(aapl=10)).allowed
    assert engine.check_and_reserve(order("SELL", 5), holding(aapl=10)).allowed
    third = engine.check_and_reserve(order("SELL", 5), holding(aapl=10))  # beyond what is held
    assert [reason.gate for reason in third.reasons] == ["duplicate_order", "order_rate"]


# --- short selling ---------------------------------------------------------------------------------------------------


def test_nothing_is_sold_that_is_not_held_open_sells_included() -> None:
    limits = replace(OFF, allow_short=False)
    engine = RiskEngine(limits)
    assert engine.check_and_reserve(order("SELL", 6), holding(aapl=10)).allowed
    assert engine.check_and_reserve(order("SELL", 4, 200), holding(aapl=10)).allowed
    assert not only(engine.check_and_reserve(order("SELL", 1), holding(aapl=10)), "short_selling").passed
    assert not only(decide(limits, order("SELL", 1, con_id=SPX)), "short_selling").passed  # writing an option
    assert only(decide(limits, order("SELL", 1, con_id=ES)), "short_selling").passed
    assert only(decide(limits, order("BUY", 1)), "short_selling").passed


def test_exits_of_a_bracket_are_no_short_sales() -> None:
    bracket = BracketRequest(
        entry=order("BUY", 10, 100, order_ref="b"),
        take_profit=order("SELL", 10, 110, order_ref="b.tp"),
        stop_loss=order("SELL", 10, order_type="STP", stop_price=90, order_ref="b.sl"),
    )
    engine = RiskEngine(replace(OFF, allow_short=False, restricted_symbols=("GME",), max_gross_exposure=D(1_000)))
    assert engine.check_and_reserve_bracket(bracket, view()).allowed


# --- exposure --------------------------------------------------------------------------------------------------------


def test_gross_exposure_adds_up_long_and_short_in_base_currency() -> None:
    held = {"aapl": 100, "toyota": -200, "spx": 1}  # 10,000 + 3,900 + 4,200
    limits = replace(OFF, max_gross_exposure=D(318_100))
    result = only(decide(limits, order("BUY", 1, con_id=ES), holding(**held)), "gross_exposure")
    assert (result.passed, result.value) == (True, D(318_100))
    tighter = replace(OFF, max_gross_exposure=D("318_099.99"))
    assert not only(decide(tighter, order("BUY", 1, con_id=ES), holding(**held)), "gross_exposure").passed
    assert only(
        decide(replace(OFF, max_gross_exposure=D(1)), order("SELL", 100), holding(**held)), "gross_exposure"
    ).passed


def test_gross_exposure_counts_open_orders_at_their_worst_and_what_adds_nothing_passes() -> None:
    engine = RiskEngine(replace(OFF, max_gross_exposure=D(20_000)))
    assert engine.check_and_reserve(order("BUY", 150), view()).allowed  # 15,000
    assert engine.check_and_reserve(order("SELL", 150), view()).allowed  # only one side fills at worst
    toyota = engine.check_and_reserve(order("BUY", 300, con_id=TOYOTA), view())  # + 5,850
    assert only(toyota, "gross_exposure").value == D(20_850)
    assert not toyota.allowed


def test_order_that_makes_no_worst_case_worse_passes_beyond_the_limit() -> None:
    engine = RiskEngine(replace(OFF, max_gross_exposure=D(20_000)))
    assert engine.check_and_reserve(order("BUY", 150), view()).allowed
    doubled = replace(PRICES[AAPL], bid=D(200), ask=D(200))
    beyond = view(unit_values={**VALUES, AAPL: D(200)}, prices={**PRICES, AAPL: doubled})  # 30,000
    assert only(engine.check_and_reserve(order("SELL", 150), beyond), "gross_exposure").passed
    assert not only(engine.check_and_reserve(order("SELL", 1), beyond), "gross_exposure").passed


def test_net_exposure_takes_either_way_and_a_hedge_makes_room() -> None:
    limits = replace(OFF, max_net_exposure=D(10_000))
    assert only(decide(limits, order("BUY", 100)), "net_exposure").value == 10_000
    assert not only(decide(limits, order("BUY", 101)), "net_exposure").passed
    assert only(decide(limits, order("SELL", 100)), "net_exposure").value == -10_000
    assert not only(decide(limits, order("SELL", 101)), "net_exposure").passed
    assert only(decide(limits, order("BUY", 139), holding(toyota=-200)), "net_exposure").passed  # 13,900 - 3,900
    assert not only(decide(limits, order("BUY", 140), holding(toyota=-200)), "net_exposure").passed
    engine = RiskEngine(limits)
    assert engine.check_and_reserve(order("SELL", 200, con_id=TOYOTA), view()).allowed
    # An order that hedges may not fill: at its worst it makes no room yet.
    assert not only(engine.check_and_reserve(order("BUY", 139), view()), "net_exposure").passed


@pytest.mark.parametrize(
    ("gate", "limits"),
    [
        ("gross_exposure", replace(OFF, max_gross_exposure=D(10**9))),
        ("net_exposure", replace(OFF, max_net_exposure=D(10**9))),
    ],
)
def test_exposure_that_cannot_be_known_refuses(gate: str, limits: RiskLimits) -> None:
    assert "the position" in only(decide(limits, order(), view(positions=None)), gate).message
    blind = replace(holding(es=1), unit_values={})
    assert f"contract {ES}" in only(decide(limits, order(), blind), gate).message


def test_order_of_another_contract_counts_as_it_was_judged_while_nothing_newer_is_known() -> None:
    engine = RiskEngine(replace(OFF, max_gross_exposure=D(20_000)))
    assert engine.check_and_reserve(order("BUY", 100), view()).allowed
    later = engine.check_and_reserve(order("BUY", 100, con_id=TOYOTA), view(unit_values={}))
    assert only(later, "gross_exposure").value == D(11_950)


# --- money for it ----------------------------------------------------------------------------------------------------


def test_buying_power_covers_all_open_orders_by_value() -> None:
    engine = RiskEngine(replace(OFF, buying_power="value"))
    seen = view(figures={"BuyingPower": D(15_000)})
    assert only(engine.check_and_reserve(order("BUY", 100), seen), "buying_power").value == 10_000
    second = engine.check_and_reserve(order("BUY", 257, con_id=TOYOTA), seen)  # + 5,011.50
    assert (only(second, "buying_power").passed, only(second, "buying_power").value) == (False, D("15_011.5"))
    assert engine.check_and_reserve(order("BUY", 256, con_id=TOYOTA), seen).allowed
    broke = replace(seen, figures={"BuyingPower": D(0)}, positions={AAPL: D(10)})
    assert RiskEngine(replace(OFF, buying_power="value")).check_and_reserve(order("SELL", 10), broke).allowed


def test_buying_power_of_a_future_is_asked_of_the_broker() -> None:
    seen = view(figures={"BuyingPower": D(10**9), "AvailableFunds": D(30_000)})
    by_value = only(decide(replace(OFF, buying_power="value"), order(con_id=ES), seen), "buying_power")
    assert not by_value.passed
    assert "what_if" in by_value.remedy
    limits = replace(OFF, buying_power="what_if")
    engine = RiskEngine(limits)
    first = engine.check_and_reserve(order(con_id=ES, order_ref="a"), replace(seen, margins={"a": D(20_000)}))
    assert only(first, "buying_power").value == 20_000
    second = engine.check_and_reserve(order(con_id=ES, order_ref="b"), replace(seen, margins={"b": D(10_001)}))
    assert (only(second, "buying_power").passed, only(second, "buying_power").value) == (False, D(30_001))
    engine.on_done("a")
    assert engine.check_and_reserve(order(con_id=ES, order_ref="c"), replace(seen, margins={"c": D(20_000)})).allowed
    assert "preview" in only(decide(limits, order(con_id=ES), seen), "buying_power").message


def test_order_nobody_asked_about_counts_with_its_whole_value() -> None:
    engine = RiskEngine(replace(OFF, buying_power="what_if"))
    engine.adopt("x", con_id=AAPL, sign=1, quantity=D(100), open_quantity=D(100))
    seen = view(figures={"AvailableFunds": D(10_500)}, margins={"a": D(501)})
    assert only(engine.check_and_reserve(order(order_ref="a"), seen), "buying_power").value == D(10_501)


@pytest.mark.parametrize("setting", ["value", "what_if"])
def test_buying_power_that_is_not_told_refuses(setting: str) -> None:
    seen = view(margins={"a": D(1)})
    result = only(decide(replace(OFF, buying_power=setting), order(order_ref="a"), seen), "buying_power")
    assert "the account's" in result.message


@pytest.mark.parametrize(
    ("equity", "left", "con_id", "passes"),
    [
        (24_999, 0, AAPL, False),
        (24_999, 1, AAPL, True),
        (24_999, -1, AAPL, True),
        (24_999, 0, ES, True),
        (25_000, 0, AAPL, True),
        (24_999, None, AAPL, False),
    ],
)
def test_day_trades_count_only_below_the_old_threshold(
    equity: int, left: int | None, con_id: int, passes: bool
) -> None:
    figures = {} if left is None else {"DayTradesRemaining": D(left)}
    seen = view(net_liquidation=D(equity), figures=figures)
    assert (
        only(decide(replace(OFF, intraday_margin="pdt"), order(con_id=con_id), seen), "intraday_margin").passed
        is passes
    )


def test_excess_liquidity_covers_what_is_opened() -> None:
    limits = replace(OFF, intraday_margin="excess")
    for excess, passes in ((10_000, True), ("9999.99", False)):
        seen = view(figures={"ExcessLiquidity": D(excess)})
        assert only(decide(limits, order("BUY", 100), seen), "intraday_margin").passed is passes
    assert decide(limits, order("SELL", 10), holding(aapl=10)).allowed


# --- drawdown --------------------------------------------------------------------------------------------------------


def test_drawdown_is_measured_from_the_highest_value_over_days_until_somebody_resumes() -> None:
    engine = RiskEngine(replace(OFF, drawdown_limit=D(5_000), in_flight_collar=D(0)))
    engine.observe(view(net_liquidation=D(110_000)))
    days_later = {"now": NOW + timedelta(days=3), "monotonic": 9_000.0}
    edge = view(net_liquidation=D(105_001), **days_later)
    assert engine.check(order(), edge).allowed  # 4,999 and a fee of 1
    beyond = view(net_liquidation=D(105_000), positions={AAPL: D(10)}, **days_later)
    assert not only(engine.check(order(), beyond), "drawdown").passed
    assert not only(engine.recheck(order(), beyond), "drawdown").passed
    assert only(engine.check(order("SELL", 10), beyond), "drawdown").passed
    engine.adjust_baseline(D(-4_000))  # withdrawn
    assert engine.check(order(), beyond).allowed
    engine.observe(view(net_liquidation=D(90_000), **days_later))
    assert not engine.check(order(), view(net_liquidation=D(90_000), **days_later)).allowed
    assert engine.resume("looked at it", NOW)
    assert engine.check(order(), view(net_liquidation=D(90_000), **days_later)).allowed
    assert "net liquidation" in only(engine.check(order(), view(net_liquidation=None)), "drawdown").message


# --- agents and symbols ----------------------------------------------------------------------------------------------


def agents(**limits: Any) -> RiskLimits:
    return replace(OFF, agents={"fast": SubLimits(**limits)})


@pytest.mark.parametrize(
    ("limits", "request_", "name"),
    [
        ({"max_order_size": D(10)}, order("BUY", 11, agent="fast"), "max_order_size"),
        ({"max_order_value": D(1_950)}, order("BUY", 101, con_id=TOYOTA, agent="fast"), "max_order_value"),
        ({"max_order_value": D(299_999)}, order("BUY", 1, con_id=ES, agent="fast"), "max_order_value"),
        ({"max_order_value": D(4_199)}, order("BUY", 1, con_id=SPX, agent="fast"), "max_order_value"),
        ({"max_position_size": D(10)}, order("SELL", 11, agent="FAST"), "max_position_size"),
        ({"max_position_value": D(1_000)}, order("BUY", 11, agent="fast"), "max_position_value"),
    ],
)
def test_agent_keeps_within_its_own_limits_and_others_are_not_touched(
    limits: dict[str, Decimal], request_: OrderRequest, name: str
) -> None:
    result = only(decide(agents(**limits), request_), "agent_limits")
    assert not result.passed
    assert name in result.message
    assert "[agent.fast]" in result.remedy
    for other in (None, "slow"):
        assert decide(agents(**limits), request_.model_copy(update={"agent": other})).allowed


def test_position_of_an_agent_is_what_its_own_orders_fill() -> None:
    engine = RiskEngine(agents(max_position_size=D(100)))
    assert engine.check_and_reserve(order("BUY", 60, agent="fast", order_ref="a"), view()).allowed
    assert engine.check_and_reserve(order("BUY", 500, agent="slow", order_ref="s"), view()).allowed
    assert not engine.check(order("BUY", 41, agent="fast"), view()).allowed  # 60 open
    engine.on_fill("a", D(60), D(0))
    engine.on_done("a")
    engine.on_fill("s", D(500), D(0))
    engine.on_done("s")
    assert engine.agent_position("Fast", AAPL) == 60
    seen = view(positions={AAPL: D(560)})
    assert engine.check(order("BUY", 40, agent="fast"), seen).allowed
    assert not engine.check(order("BUY", 41, agent="fast"), seen).allowed
    assert engine.check(order("SELL", 160, agent="fast"), seen).allowed
    assert not engine.check(order("SELL", 161, agent="fast"), seen).allowed
    engine.on_fill("a", D(50), D(0))  # the broker corrected an execution after the order's end
    assert engine.agent_position("fast", AAPL) == 50


def test_an_agents_position_of_earlier_runs_counts_and_its_open_orders_are_not_counted_twice() -> None:
    engine = RiskEngine(agents(max_position_size=D(100)))
    engine.start_agents({("fast", AAPL): D(70)})
    engine.adopt(
        "a", con_id=AAPL, sign=1, quantity=D(30), open_quantity=D(20), filled=D(10), agent="fast"
    )  # its 10 are among the 70
    assert not engine.check(order("BUY", 11, agent="fast"), view()).allowed
    engine.on_fill("a", D(30), D(0))
    assert engine.agent_position("fast", AAPL) == 90


def test_an_agents_orders_are_counted_apart() -> None:
    engine = RiskEngine(replace(agents(max_open_orders=1, max_orders=2), max_orders_window=10.0))
    assert engine.check_and_reserve(order(agent="slow"), view()).allowed
    assert engine.check_and_reserve(order(agent="fast", order_ref="a"), view()).allowed
    second = only(engine.check_and_reserve(order(agent="fast"), view()), "agent_limits")
    assert (second.passed, second.value) == (False, 2)
    change = engine.check_and_reserve_change(order("BUY", 2, agent="fast", order_ref="a"), view())
    assert change.allowed  # its own place is not held against it
    engine.on_done("a")
    assert engine.check_and_reserve(order(agent="fast", order_ref="b"), view()).allowed
    engine.on_done("b")
    third = only(engine.check_and_reserve(order(agent="fast"), view(monotonic=1_009.0)), "agent_limits")
    assert "3 orders within 10 s" in third.message
    assert engine.check_and_reserve(order(agent="fast"), view(monotonic=1_010.0)).allowed


def test_several_limits_of_an_agent_are_all_named() -> None:
    limits = agents(max_order_size=D(1), max_position_size=D(1), max_open_orders=0)
    result = only(decide(limits, order("BUY", 5, agent="fast")), "agent_limits")
    assert all(name in result.message for name in ("max_order_size", "max_position_size", "max_open_orders"))


def test_symbol_keeps_within_its_own_limits() -> None:
    limits = replace(OFF, symbols={"aapl": SubLimits(max_position_size=D(10), max_order_value=D(900))})
    assert decide(limits, order("BUY", 9)).allowed
    assert not only(decide(limits, order("BUY", 10)), "symbol_limits").passed  # worth 1,000
    assert not only(decide(limits, order("BUY", 5), holding(aapl=6)), "symbol_limits").passed
    assert decide(limits, order("SELL", 8), holding(aapl=20)).allowed
    assert decide(limits, order("BUY", 1, con_id=ES)).allowed


def test_contract_without_names_matches_no_list() -> None:
    nameless = OrderRequest.make(contract=Contract.stock("X").with_con_id(AAPL), action="BUY", quantity=1)
    assert CONTRACTS[AAPL].symbol != "X"
    assert only(decide(replace(OFF, restricted_symbols=("AAPL",)), nameless), "restricted").passed
