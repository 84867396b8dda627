"""Orders and the market's hours: held until the open, worked in theirs, ended with the session."""

from __future__ import annotations

import pytest

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from unit.paper.exchange.kit import AAPL, ES, EURUSD, World, d


@pytest.fixture
def world() -> World:
    return World(behavior=ExchangeBehavior.instant())


def test_an_order_placed_while_closed_is_held_with_a_warning_and_works_at_the_open(world: World) -> None:
    world.at(world.new_york(12, 20, 30))
    order = world.place("BUY", 100, "LMT", "101")
    assert world.lines(order) == ["error 399", "echo", "PreSubmitted"]
    assert world.messages(399)[0].text == (
        "Order Message:\nBUY 100 AAPL NASDAQ.NMS\nWarning: Your order will not be placed at the exchange until "
        "2026-03-13 09:30:00 US/Eastern."
    )
    world.at(world.new_york(13, 9, 29, 0))
    world.quote("100.00", "100.05", after=1)
    assert world.fills() == []
    world.at(world.new_york(13, 9, 30))
    assert world.filled(order) == [(d(100), d("100.05"))]


def test_an_order_held_over_the_weekend_waits_for_monday(world: World) -> None:
    world.at(world.new_york(13, 20, 30))
    world.place("BUY", 100, "LMT", "101")
    assert "until 2026-03-16 09:30:00 US/Eastern." in world.messages(399)[0].text


def test_a_quote_left_over_from_yesterday_fills_nothing_at_the_open(world: World) -> None:
    world.at(world.new_york(12, 15, 59))
    world.quote("100.00", "100.05")
    world.at(world.new_york(12, 20, 30))
    order = world.place("BUY", 100)
    world.at(world.new_york(13, 9, 31))
    assert world.fills() == []
    world.quote("110.00", "110.05")
    assert world.filled(order) == [(d(100), d("110.05"))]


def test_outside_rth_works_before_and_after_regular_hours(world: World) -> None:
    world.at(world.new_york(12, 17))
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, "LMT", "100.05", outside_rth=True)
    assert world.filled(order) == [(d(10), d("100.05"))]
    inside = world.place("BUY", 10, "LMT", "100.05")
    assert world.lines(inside)[0] == "error 399"


@pytest.mark.parametrize("kind", ["MKT", "STP", "TRAIL", "MIT", "MOC"])
def test_orders_at_market_of_stocks_ignore_outside_rth_and_wait(world: World, kind: str) -> None:
    world.at(world.new_york(12, 17))
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, kind, aux="1" if kind == "TRAIL" else "101", outside_rth=True)
    assert [m.code for m in world.messages()] == [2109, 399]
    assert world.last(order).ticket.outside_rth is False
    world.trade("150", 10)
    assert world.fills() == []


def test_a_stop_limit_outside_rth_triggers_outside_rth(world: World) -> None:
    world.at(world.new_york(12, 17))
    world.quote("100.00", "100.05")
    late = world.place("BUY", 10, "STP LMT", "102", aux="101", outside_rth=True)
    regular = world.place("BUY", 10, "STP LMT", "102", aux="101")
    world.trade("101.50", 10)
    assert world.filled(late) == [(d(10), d("100.05"))]
    assert world.filled(regular) == []


def test_regular_stops_do_not_see_prints_outside_their_hours(world: World) -> None:
    world.quote("100.00", "100.05")
    order = world.place("SELL", 10, "STP", aux="95", tif="GTC")
    world.at(world.new_york(12, 17))
    world.trade("90", 10)
    assert world.status(order) == "PreSubmitted"
    world.at(world.new_york(13, 9, 30))
    world.quote("96.00", "96.05")
    world.trade("96.00", 10)
    assert world.fills() == []
    world.trade("94.90", 10)
    assert world.status(order) == "Filled"


def test_a_stop_held_overnight_is_not_triggered_by_prints_before_the_open(world: World) -> None:
    world.at(world.new_york(12, 20, 30))
    stop = world.place("SELL", 10, "STP", aux="95")
    trail = world.place("SELL", 10, "TRAIL", aux="1")
    world.at(world.new_york(13, 9, 29))
    world.quote("94.00", "94.05")
    world.trade("94.00", 10)
    world.at(world.new_york(13, 9, 30))
    assert world.last(stop).why_held == "trigger"
    assert world.exchange.open_orders(1)[1].ticket.trail_stop_price is None
    world.trade("96.00", 10)
    assert world.exchange.open_orders(1)[1].ticket.trail_stop_price == 95
    assert world.fills() == []
    world.trade("95.00", 10)
    assert {e.order_id for e in world.fills()} == {stop, trail}


def test_a_stop_placed_in_a_halt_waits_for_its_end(world: World) -> None:
    world.quote("100.00", "100.05")
    world.trade("100.00", 10)
    world.exchange.halt(AAPL)
    stop = world.place("SELL", 10, "STP", aux="101")
    assert world.last(stop).why_held == "trigger"
    world.exchange.resume(AAPL)
    world.trade("100.00", 10)
    assert world.status(stop) == "Filled"


def test_resting_orders_of_regular_hours_do_not_fill_after_them(world: World) -> None:
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, "LMT", "99", tif="GTC")
    extended = world.place("BUY", 10, "LMT", "99", tif="GTC", outside_rth=True)
    world.at(world.new_york(12, 17))
    world.trade("98", 100)
    world.quote("97", "98")
    assert world.fills(order) == []
    assert world.filled(extended) == [(d(10), d("99"))]


def test_a_gap_overnight_fills_a_gtc_order_at_the_market_not_at_its_limit(world: World) -> None:
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, "LMT", "99", tif="GTC")
    world.at(world.new_york(13, 9, 30))
    world.quote("94.00", "94.10")
    assert world.filled(order) == [(d(10), d("94.10"))]


def test_day_orders_end_with_their_hours(world: World) -> None:
    world.quote("100.00", "100.05")
    regular = world.place("BUY", 10, "LMT", "99")
    extended = world.place("BUY", 10, "LMT", "99", outside_rth=True)
    stop = world.place("SELL", 10, "STP", aux="95")
    forever = world.place("BUY", 10, "LMT", "99", tif="GTC")
    world.at(world.new_york(12, 16))
    assert [world.status(o) for o in (regular, stop)] == ["Cancelled", "Cancelled"]
    assert world.lines(regular)[-1] == "Cancelled"
    assert world.status(extended) == "Submitted"
    world.at(world.new_york(12, 20))
    assert world.status(extended) == "Cancelled"
    assert world.status(forever) == "Submitted"
    assert {e.fields["order_id"] for e in world.truth.of("expired")} == {regular, stop, extended}


def test_a_day_order_placed_while_closed_lives_through_the_next_session(world: World) -> None:
    world.at(world.new_york(12, 20, 30))
    order = world.place("BUY", 10, "LMT", "50")
    world.at(world.new_york(13, 15, 59))
    assert world.status(order) == "Submitted"
    world.at(world.new_york(13, 16))
    assert world.status(order) == "Cancelled"


def test_a_held_order_can_be_cancelled(world: World) -> None:
    world.at(world.new_york(12, 20, 30))
    order = world.place("BUY", 10)
    world.cancel(order)
    assert world.lines(order)[-2:] == ["Cancelled", "error 202"]
    world.at(world.new_york(13, 10))
    world.quote("100.00", "100.05")
    assert world.fills() == []


def test_immediate_orders_are_cancelled_while_closed(world: World) -> None:
    world.at(world.new_york(12, 20, 30))
    assert world.lines(world.place("BUY", 10, tif="IOC")) == ["echo", "PendingCancel", "Cancelled"]
    assert world.lines(world.place("BUY", 10, tif="FOK")) == ["echo", "Inactive"]


def test_a_half_day_ends_early() -> None:
    from datetime import UTC, datetime

    from unit.paper.exchange.kit import NEW_YORK

    start = datetime(2026, 11, 27, 10, tzinfo=NEW_YORK).astimezone(UTC)
    world = World(behavior=ExchangeBehavior.instant(), start=start)
    world.quote("100.00", "100.05")
    order = world.place("BUY", 10, "LMT", "99")
    world.at(datetime(2026, 11, 27, 13, 0, 1, tzinfo=NEW_YORK).astimezone(UTC))
    assert world.status(order) == "Cancelled"


def test_futures_and_currencies_work_through_the_night(world: World) -> None:
    world.at(world.new_york(12, 20, 30))
    world.quote("6000.00", "6000.25", instrument=ES)
    world.quote("1.10000", "1.10005", instrument=EURUSD, bid_size=10**6, ask_size=10**6)
    assert world.filled(world.place("BUY", 1, instrument=ES)) == [(d(1), d("6000.25"))]
    assert world.filled(world.place("BUY", 1000, instrument=EURUSD)) == [(d(1000), d("1.10005"))]


def test_the_warning_for_a_future_is_in_its_own_time_zone(world: World) -> None:
    world.at(world.new_york(13, 17, 30))
    world.place("BUY", 1, instrument=ES)
    assert "BUY 1 ESH6\n" in world.messages(399)[0].text
    assert "until 2026-03-15 17:00:00 US/Central." in world.messages(399)[0].text
    world.place("BUY", 1000, "LMT", "1.1", instrument=EURUSD)
    assert "BUY 1000 EUR.USD\n" in world.messages(399)[1].text


def test_weeks_pass_in_one_step_with_everything_in_its_place(world: World) -> None:
    world.quote("100.00", "100.05")
    good = world.place("BUY", 10, "LMT", "99", tif="GTC")
    day = world.place("BUY", 10, "LMT", "99")
    world.at(world.new_york(30, 12))
    assert (world.status(good), world.status(day)) == ("Submitted", "Cancelled")
    ended = world.truth.of("expired", order_id=day)[0].at
    assert ended == world.new_york(12, 16)
    assert AAPL.calendar == "XNYS"
