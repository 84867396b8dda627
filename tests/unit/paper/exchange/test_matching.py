"""Matching does not flatter: each rule once, by example."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from unit.paper.exchange.kit import AAPL, EURUSD, MSFT, World, d


@pytest.fixture
def world() -> World:
    return World(behavior=ExchangeBehavior.instant())


def test_market_orders_pay_the_far_side(world: World) -> None:
    world.quote("100.00", "100.05")
    assert world.filled(world.place("BUY", 10)) == [(d(10), d("100.05"))]
    assert world.filled(world.place("SELL", 10)) == [(d(10), d("100.00"))]


def test_a_market_order_larger_than_the_display_walks_to_worse_prices(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=100)
    order = world.place("BUY", 250)
    assert world.filled(order) == [(d(100), d("100.05")), (d(100), d("100.06")), (d(50), d("100.07"))]
    assert world.last(order).avg_fill_price == d("100.058")


def test_what_one_order_took_is_gone_for_the_next(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=100)
    orders = [world.place("BUY", 60) for _ in range(3)]
    prices = [[str(price) for _, price in world.filled(order)] for order in orders]
    assert prices == [["100.05"], ["100.05", "100.06"], ["100.06"]]


def test_a_new_quote_brings_new_size(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=100)
    world.place("BUY", 100)
    world.quote("100.00", "100.05", ask_size=100)
    assert world.filled(world.place("BUY", 100)) == [(d(100), d("100.05"))]


def test_an_order_deeper_than_ten_levels_waits_for_the_next_quote(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=10)
    order = world.place("BUY", 150)
    assert sum(n for n, _ in world.filled(order)) == 100
    assert max(price for _, price in world.filled(order)) == d("100.14")
    assert world.status(order) == "Submitted"
    world.quote("100.00", "100.05", ask_size=10)
    assert world.filled(order)[10:] == [(d(10), d("100.05") + d("0.01") * i) for i in range(5)]


def test_a_market_order_without_a_far_side_waits(world: World) -> None:
    world.quote("100.00", None)
    order = world.place("BUY", 10)
    assert world.lines(order) == ["echo", "PreSubmitted", "echo", "Submitted"] or world.lines(order) == [
        "echo",
        "Submitted",
    ]
    assert world.fills() == []
    world.quote("100.00", "100.10")
    assert world.filled(order) == [(d(10), d("100.10"))]


def test_sells_do_not_walk_below_zero(world: World) -> None:
    world.quote("0.02", "0.04", bid_size=1)
    order = world.place("SELL", 100)
    assert [price for _, price in world.filled(order)] == [d("0.02"), d("0.01")]


def test_a_marketable_limit_order_takes_the_far_side_only_up_to_its_limit(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=100)
    order = world.place("BUY", 300, "LMT", "100.06")
    assert world.filled(order) == [(d(100), d("100.05")), (d(100), d("100.06"))]
    assert world.last(order).remaining == 100


def test_the_rest_of_a_marketable_limit_order_takes_the_next_quote_at_its_price(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=100)
    order = world.place("BUY", 300, "LMT", "100.06")
    world.quote("100.00", "100.05", ask_size=500)
    assert world.filled(order)[2:] == [(d(100), d("100.05"))]


def test_a_resting_limit_order_is_not_filled_by_a_touch(world: World) -> None:
    world.quote("100.00", "100.05", bid_size=500)
    order = world.place("BUY", 100, "LMT", "100.00")
    world.trade("100.00", 400)
    assert world.fills() == []
    world.trade("100.00", 150)
    # 550 printed, 500 stood before us.
    assert world.filled(order) == [(d(50), d("100.00"))]
    world.trade("100.00", 1000)
    assert world.filled(order) == [(d(50), d("100.00")), (d(50), d("100.00"))]


def test_a_trade_through_the_limit_fills_at_the_limit_for_no_more_than_was_printed(world: World) -> None:
    world.quote("100.00", "100.05", bid_size=500)
    order = world.place("BUY", 100, "LMT", "100.00")
    world.trade("99.99", 60)
    assert world.filled(order) == [(d(60), d("100.00"))]


def test_one_print_is_shared_by_all_our_orders(world: World) -> None:
    world.quote("100.00", "100.05", bid_size=0, ask_size=0)
    orders = [world.place("BUY", 100, "LMT", "100.01") for _ in range(3)]
    world.trade("100.00", 250)
    assert [sum(n for n, _ in world.filled(o)) for o in orders] == [100, 100, 50]


def test_better_prices_are_filled_first_then_earlier_orders(world: World) -> None:
    world.quote("100.00", "100.10")
    late_but_better = [world.place("BUY", 10, "LMT", p) for p in ("100.01", "100.03", "100.03")]
    world.trade("100.00", 25)
    assert [sum(n for n, _ in world.filled(o)) for o in late_but_better] == [5, 10, 10]


def test_orders_at_one_price_stand_behind_each_other(world: World) -> None:
    world.quote("100.00", "100.05", bid_size=100)
    first, second = (world.place("BUY", 50, "LMT", "100.00") for _ in range(2))
    world.trade("100.00", 160)
    assert [sum(n for n, _ in world.filled(o)) for o in (first, second)] == [50, 10]


def test_an_order_inside_the_spread_is_first_in_line(world: World) -> None:
    world.quote("100.00", "100.05", bid_size=1000)
    order = world.place("SELL", 10, "LMT", "100.03")
    world.trade("100.03", 10)
    assert world.filled(order) == [(d(10), d("100.03"))]


def test_an_order_away_from_the_market_joins_the_back_when_its_price_becomes_the_best(world: World) -> None:
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, "LMT", "99.95")
    world.trade("99.95", 100)
    assert world.fills() == []
    world.quote("99.95", "100.00", bid_size=300)
    world.trade("99.95", 300)
    assert world.fills() == []
    world.trade("99.95", 10)
    assert world.filled(order) == [(d(10), d("99.95"))]


def test_an_offer_that_comes_down_to_a_resting_bid_fills_it_at_its_own_limit(world: World) -> None:
    world.quote("100.00", "100.05")
    order = world.place("BUY", 100, "LMT", "100.00")
    world.quote("99.90", "99.95", ask_size=30)
    assert world.filled(order) == [(d(30), d("100.00"))]
    assert world.fills()[0].liquidity == 1


def test_displayed_size_that_crosses_is_shared(world: World) -> None:
    world.quote("100.00", "100.05")
    orders = [world.place("SELL", 100, "LMT", "100.04") for _ in range(2)]
    world.quote("100.04", "100.06", bid_size=120)
    assert [sum(n for n, _ in world.filled(o)) for o in orders] == [100, 20]


def test_all_or_none_fills_whole_or_not_at_all(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=5)
    order = world.place("BUY", 100, "LMT", "100.05", all_or_none=True)
    assert world.fills() == []
    world.quote("100.00", "100.05", ask_size=100)
    assert world.filled(order) == [(d(100), d("100.05"))]


def test_a_resting_all_or_none_order_ignores_prints_that_are_too_small(world: World) -> None:
    world.quote("100.00", "100.05")
    order = world.place("BUY", 100, "LMT", "100.02", all_or_none=True)
    world.trade("100.01", 99)
    assert world.fills() == []
    world.trade("100.01", 100)
    assert world.filled(order) == [(d(100), d("100.02"))]


def test_an_order_never_meets_a_quote_older_than_its_arrival_when_a_newer_one_is_in_force() -> None:
    world = World(behavior=ExchangeBehavior(ack_latency=(1.0, 1.0), fill_latency=(1.0, 1.0)))
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, run=0)
    world.quote("101.00", "101.05", after=1.5)
    world.run(1)
    assert world.filled(order) == [(d(10), d("101.05"))]


def test_a_quote_stamped_after_the_arrival_is_not_used_even_if_known_to_the_market_source(world: World) -> None:
    world.quote("100.00", "100.05")
    from ibkr_connector.paper.market.base import Quote

    world.market.add(AAPL, Quote(world.clock.now() + timedelta(seconds=0.05), d("90.00"), d("90.01"), d(1000), d(1000)))
    world.exchange.place(world.ticket("BUY", 10))
    world.exchange.advance()
    assert [e.price for e in world.fills()] == [d("100.05")]


def test_a_quote_is_in_force_from_its_own_stamp_on() -> None:
    world = World(behavior=ExchangeBehavior(ack_latency=(1.0, 1.0), fill_latency=(0.0, 0.0)))
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, run=0)
    world.quote("101.00", "101.05", after=1.0)
    assert world.filled(order) == [(d(10), d("101.05"))]


def test_nothing_fills_in_a_halt(world: World) -> None:
    world.quote("100.00", "100.05")
    resting = world.place("BUY", 10, "LMT", "99.00")
    stop = world.place("BUY", 10, "STP", aux="101.00")
    world.exchange.halt(AAPL)
    order = world.place("BUY", 10)
    world.trade("98.00", 1000)
    world.quote("97.00", "98.00")
    world.trade("105.00", 1000)
    assert world.fills() == []
    world.exchange.resume(AAPL)
    world.quote("98.99", "99.05")
    assert world.filled(order) == [(d(10), d("99.05"))]
    assert world.filled(resting) == world.filled(stop) == []


def test_a_halt_of_one_stock_does_not_stop_another(world: World) -> None:
    world.quote("100.00", "100.05")
    world.quote("200.00", "200.05", instrument=MSFT)
    world.exchange.halt(AAPL)
    assert world.filled(world.place("BUY", 1, instrument=MSFT)) == [(d(1), d("200.05"))]


def test_currency_limits_fill_when_the_offer_comes_to_them_without_any_trade(world: World) -> None:
    world.quote("1.10000", "1.10005", bid_size=10**6, ask_size=10**6, instrument=EURUSD)
    order = world.place("BUY", 20_000, "LMT", "1.09000", instrument=EURUSD)
    world.quote("1.08995", "1.09000", bid_size=10**6, ask_size=10**6, instrument=EURUSD)
    assert world.filled(order) == [(d(20_000), d("1.09000"))]


def test_executions_name_a_venue_and_who_took_liquidity(world: World) -> None:
    world.quote("100.00", "100.05")
    world.place("BUY", 1)
    world.place("BUY", 1, exchange="ARCA")
    world.place("BUY", 1, "LMT", "100.02")
    world.trade("100.01", 5)
    smart, direct, passive = world.fills()
    assert smart.venue in {"ISLAND", "ARCA", "IEX"}
    assert direct.venue == "ARCA"
    assert (smart.liquidity, passive.liquidity) == (2, 1)
    assert passive.side == "BOT"


def test_execution_ids_are_unique_and_end_with_correction_one(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=1)
    for _ in range(20):
        world.place("BUY", 5)
        world.quote("100.00", "100.05", ask_size=1)
    ids = [e.exec_id for e in world.fills()]
    assert len(set(ids)) == len(ids) == 100
    assert all(part.endswith(".01.01") and len(part) == 23 for part in ids)


def test_market_on_close_fills_at_the_last_moment_of_the_session(world: World) -> None:
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, "MOC")
    limited = world.place("BUY", 10, "LOC", "99.00")
    world.at(world.new_york(12, 15, 59, 50))
    assert world.fills() == []
    world.quote("101.00", "101.05")
    world.at(world.new_york(12, 16, 1))
    assert world.filled(order) == [(d(10), d("101.05"))]
    assert world.fills()[0].at < world.new_york(12, 16)
    assert world.status(limited) == "Cancelled"


def test_market_if_touched_buys_below_and_limit_if_touched_waits_at_its_limit(world: World) -> None:
    world.quote("100.00", "100.05")
    touched = world.place("BUY", 10, "MIT", aux="99.50")
    limited = world.place("BUY", 10, "LIT", "99.40", aux="99.50")
    world.trade("99.60", 10)
    assert world.fills() == []
    world.quote("99.48", "99.52")
    world.trade("99.50", 10)
    assert world.filled(touched) == [(d(10), d("99.52"))]
    assert world.filled(limited) == []
    assert world.status(limited) == "Submitted"
