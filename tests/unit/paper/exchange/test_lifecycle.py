"""The statuses of an order, in the order a real gateway shows them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.types import OrderChanged, OrderStatus
from unit.paper.exchange.kit import AAPL, ES, HARD_TO_BORROW, OPEN_BEHAVIOR, World, d, ds


@pytest.fixture
def world() -> World:
    made = World()
    made.quote("100.00", "100.02")
    return made


def test_a_resting_limit_order_is_presubmitted_then_submitted(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    assert world.lines(order) == ["echo", "PreSubmitted", "echo", "Submitted"]


def test_a_cancel_is_pending_then_cancelled_then_202(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    before = len(world.lines(order))
    world.cancel(order)
    assert world.lines(order)[before:] == ["PendingCancel", "Cancelled", "error 202"]
    assert world.messages(202)[0].text == "Order Canceled - reason:"
    assert world.exchange.open_orders(1) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_market_order_shows_its_fill_before_filled_and_the_commission_last(seed: int) -> None:
    world = World(seed=seed)
    world.quote("100.00", "100.02")
    order = world.place("BUY", 5)
    first = world.lines(order)[1]
    assert first in {"PreSubmitted", "Submitted"}
    assert world.lines(order) == ["echo", first, "fill", "echo", "Filled", "commission"]
    assert world.filled(order) == [(d(5), d("100.02"))]


def test_an_early_filled_status_is_followed_by_its_execution_and_commission() -> None:
    world = World(behavior=ExchangeBehavior(filled_before_exec_probability=1.0, duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 5)
    assert world.lines(order)[2:] == ["echo", "Filled", "fill", "commission"]


def test_an_execution_announced_early_is_not_queried_before_it_was_reported() -> None:
    behavior = ExchangeBehavior(filled_before_exec_probability=1.0, late_execution_latency=(5.0, 5.0))
    world = World(behavior=behavior)
    world.quote("100.00", "100.02")
    world.place("BUY", 5)
    assert world.exchange.executions() == []
    world.run(6)
    assert [e.shares for e, _ in world.exchange.executions()] == [d(5)]


def test_statuses_are_repeated_with_the_configured_probability() -> None:
    world = World(behavior=ExchangeBehavior(duplicate_status_probability=1.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 1, "LMT", "10")
    assert world.lines(order) == ["echo", "PreSubmitted", "PreSubmitted", "echo", "Submitted", "Submitted"]


def test_an_ioc_order_that_cannot_fill_is_cancelled_without_a_working_status(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "90", tif="IOC")
    assert world.lines(order) == ["echo", "PendingCancel", "Cancelled"]


def test_an_ioc_order_takes_what_is_there_and_the_rest_is_cancelled() -> None:
    world = World()
    world.quote("100.00", "100.02", ask_size=40)
    order = world.place("BUY", 100, "LMT", "100.02", tif="IOC")
    assert world.filled(order) == [(d(40), d("100.02"))]
    assert world.lines(order)[-3:] == ["PendingCancel", "Cancelled", "commission"]
    assert world.last(order).filled == 40


def test_a_fok_order_that_cannot_fill_whole_is_inactive_and_fills_nothing() -> None:
    world = World()
    world.quote("100.00", "100.02", ask_size=40)
    order = world.place("BUY", 100, "LMT", "100.02", tif="FOK")
    assert world.lines(order) == ["echo", "Inactive"]
    whole = world.place("BUY", 40, "LMT", "100.02", tif="FOK")
    assert world.status(whole) == "Filled"


def test_a_stop_is_shown_waiting_for_its_trigger_twice(world: World) -> None:
    order = world.place("SELL", 1, "STP", aux="90")
    assert world.lines(order) == ["echo", "PreSubmitted(trigger)"] * 2
    world.cancel(order)
    assert world.lines(order)[4:] == ["Cancelled", "error 202"]


def test_a_triggered_stop_is_submitted_then_filled(world: World) -> None:
    order = world.place("SELL", 1, "STP", aux="99")
    world.quote("98.90", "98.95")
    world.trade("98.95", 100)
    world.run()
    assert world.lines(order)[4:] == ["echo", "Submitted", "fill", "echo", "Filled", "commission"]


def test_an_unsent_order_says_nothing_until_it_is_transmitted(world: World) -> None:
    order = world.place("BUY", 10, "LMT", "13.26", transmit=False)
    world.run(10)
    assert world.lines(order) == []
    assert world.exchange.open_orders(None) == []
    world.place("BUY", 10, "LMT", "13.26", order_id=order, transmit=True)
    assert world.lines(order) == ["echo", "PreSubmitted", "echo", "Submitted"]


def test_cancelling_an_unsent_order_makes_it_apicancelled(world: World) -> None:
    order = world.place("BUY", 10, "LMT", "13.26", transmit=False)
    world.cancel(order)
    assert world.lines(order) == ["ApiCancelled"]
    assert world.exchange.completed_orders() == []


def test_a_margin_refusal_is_inactive_201_inactive(world: World) -> None:
    order = world.place("BUY", 1_000_000, "LMT", "100")
    assert world.lines(order) == ["echo", "Inactive", "error 201", "echo", "Inactive"]
    assert "Available Funds are in sufficient" in world.messages(201)[0].text
    assert world.exchange.open_orders(None) == []
    completed = world.exchange.completed_orders()
    assert [(view.status, view.ticket.order_id) for view in completed] == [(OrderStatus.CANCELLED, order)]


def test_a_short_sale_without_shares_to_borrow_is_held_for_locating() -> None:
    world = World()
    world.quote("10", "10.01", instrument=HARD_TO_BORROW)
    order = world.place("SELL", 100, instrument=HARD_TO_BORROW)
    world.run(60)
    assert world.last(order).why_held == "locate"
    assert world.messages(404)
    assert world.fills() == []
    world.cancel(order)
    assert world.status(order) == "Cancelled"


def test_partial_fills_show_what_is_left(world: World) -> None:
    world.quote("100.00", "100.02", ask_size=30)
    order = world.place("BUY", 400)
    view = world.last(order)
    assert (view.status.value, view.filled, view.remaining) == ("Submitted", d(300), d(100))
    world.quote("100.00", "100.02", ask_size=500)
    assert world.status(order) == "Filled"
    assert sum(shares for shares, _ in world.filled(order)) == 400


def test_latencies_are_wire_time_whatever_the_speed_of_the_market() -> None:
    behavior = ExchangeBehavior(
        ack_latency=(0.5, 0.5),
        fill_latency=(0.5, 0.5),
        duplicate_status_probability=0.0,
    )
    world = World(behavior=behavior, speed=60.0)
    world.quote("100.00", "100.02")
    order = world.place("BUY", 1, "LMT", "10", run=0)
    world.run(29)
    assert world.lines(order) == []
    world.run(1)
    assert world.lines(order) == ["echo", "PreSubmitted"]
    world.run(30)
    assert world.lines(order)[2:] == ["echo", "Submitted"]


def test_requests_of_one_client_are_acknowledged_in_the_order_they_were_sent() -> None:
    world = World(behavior=ExchangeBehavior(ack_latency=(0.0, 1.0), duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    ids = [world.place("BUY", 1, "LMT", "10", run=0) for _ in range(20)]
    world.run(5)
    echoes = [e.order.ticket.order_id for e in world.events if isinstance(e, OrderChanged) and e.echo]
    firsts = list(dict.fromkeys(echoes))
    assert firsts == ids


def test_nothing_happens_inside_place_itself() -> None:
    world = World(behavior=ExchangeBehavior.instant())
    world.quote("100.00", "100.02")
    order = world.place("BUY", 1, run=0)
    assert world.lines(order) == []
    assert world.exchange.next_event_at() == world.clock.now()
    world.exchange.advance()
    assert world.status(order) == "Filled"


def test_events_carry_copies_that_later_events_do_not_change(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    first = world.events[0]
    assert isinstance(first, OrderChanged)
    world.cancel(order)
    assert first.order.status is OrderStatus.PRE_SUBMITTED


def test_futures_ignore_outside_rth_with_a_warning() -> None:
    world = World(start=World().new_york(12, 3))
    world.quote("6000.00", "6000.25", instrument=ES)
    order = world.place("BUY", 1, instrument=ES, outside_rth=True)
    assert world.messages(2109)
    assert world.status(order) == "Filled"
    assert world.last(order).ticket.outside_rth is False


def test_a_gtd_order_ends_at_its_time(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10", tif="GTD", good_till="20260312 10:05:00 US/Eastern")
    world.at(world.new_york(12, 10, 4, 59))
    assert world.status(order) == "Submitted"
    world.run(2)
    assert world.status(order) == "Cancelled"
    assert world.truth.of("expired", order_id=order)


def test_a_listener_that_raises_harms_neither_the_exchange_nor_the_others(world: World) -> None:
    heard: list[object] = []

    def broken(event: object) -> None:
        raise RuntimeError("listener bug")

    world.exchange.listen(broken)
    world.exchange.listen(heard.append)
    world.exchange.place(world.ticket("BUY", 1, "LMT", "10"))
    with pytest.raises(ExceptionGroup, match="listeners"):
        for _ in range(3):
            world.run(1)
    assert heard


def test_a_listener_may_place_orders(world: World) -> None:
    def answer(event: object) -> None:
        if isinstance(event, OrderChanged) and event.order.status is OrderStatus.FILLED and event.order.filled == 5:
            world.exchange.place(world.ticket("SELL", 6, "MKT"))

    world.exchange.listen(answer)
    world.place("BUY", 5)
    world.run(1)
    assert [e.side for e in world.fills()] == ["BOT", "SLD"]


def test_a_closed_subscription_hears_nothing_more(world: World) -> None:
    heard: list[object] = []
    stop = world.exchange.listen(heard.append)
    stop()
    stop()
    world.place("BUY", 1, "LMT", "10")
    assert heard == []


def test_quotes_and_trades_are_sent_only_while_watched(world: World) -> None:
    def kinds() -> list[str]:
        return [type(e).__name__ for e in world.events]

    world.quote("100.00", "100.02")
    assert kinds() == []
    world.exchange.watch(AAPL)
    world.exchange.watch(AAPL)
    world.exchange.unwatch(AAPL)
    world.quote("100.00", "100.03")
    world.trade("100.01", 10)
    assert kinds() == ["QuoteChanged", "TradePrinted"]
    world.exchange.unwatch(AAPL)
    world.quote("100.00", "100.04")
    assert len(world.events) == 2
    with pytest.raises(ValueError, match="not watched"):
        world.exchange.unwatch(AAPL)


def test_day_stats_count_only_what_has_been_printed() -> None:
    world = World()
    world.quote("99", "101")
    world.exchange.watch(AAPL)
    world.trade("100", 10)
    assert world.exchange.day_stats(AAPL).open == 100
    world.trade("103", 5)
    world.trade("99", 5)
    stats = world.exchange.day_stats(AAPL)
    assert (stats.open, stats.high, stats.low, stats.volume) == ds(100, 103, 99, 20)
    assert stats.close is None


def test_the_pump_is_told_about_the_next_thing_to_happen(world: World) -> None:
    world.run(1)
    start = world.clock.now()
    later = start + timedelta(seconds=30)
    assert world.exchange.next_event_at() == world.new_york(12, 17)
    world.place("BUY", 1, "LMT", "10", tif="GTD", good_till=later.strftime("%Y%m%d-%H:%M:%S"))
    assert world.exchange.next_event_at() == later


@pytest.mark.parametrize("name", ["ack_latency", "cancel_latency"])
def test_impossible_latencies_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ExchangeBehavior(**{name: (2.0, 1.0)})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="probability"):
        ExchangeBehavior(duplicate_status_probability=1.5)
    with pytest.raises(ValueError, match="execution_days"):
        ExchangeBehavior(execution_days=0)


def test_the_same_seed_gives_the_same_story() -> None:
    def story(seed: int) -> list[str]:
        world = World(behavior=ExchangeBehavior(), seed=seed)
        world.quote("100.00", "100.02", ask_size=50)
        for _ in range(5):
            world.place("BUY", 120)
            world.quote("100.00", "100.02", ask_size=50)
        return [repr(event) for event in world.events]

    assert story(3) == story(3)
    assert story(3) != story(4)
    assert OPEN_BEHAVIOR.duplicate_status_probability == 0
