"""Changing a live order: what may change, what is refused, and what it costs."""

from __future__ import annotations

import pytest

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from unit.paper.exchange.kit import ACCOUNT, MSFT, World, d, ds


@pytest.fixture
def world() -> World:
    made = World()
    made.quote("100.00", "100.02")
    return made


def test_a_change_is_echoed_presubmitted_then_submitted(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    world.place("BUY", 2, "LMT", "11", order_id=order)
    assert world.lines(order)[4:] == ["echo", "PreSubmitted", "echo", "Submitted"]
    view = world.exchange.open_orders(1)[0]
    assert (view.ticket.limit_price, view.ticket.quantity, view.remaining) == ds(11, 2, 2)
    assert world.truth.of("recv_modify", order_id=order)
    assert world.truth.of("modified", order_id=order)


def test_a_limit_order_may_become_a_market_order(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    world.place("BUY", 1, "MKT", order_id=order)
    assert world.filled(order) == [(d(1), d("100.02"))]


def test_the_stop_price_of_a_waiting_stop_can_move(world: World) -> None:
    order = world.place("SELL", 1, "STP", aux="90")
    world.place("SELL", 1, "STP", aux="99", order_id=order)
    assert world.lines(order)[4:] == ["echo", "PreSubmitted(trigger)"] * 2
    world.trade("98.99", 10)
    assert world.status(order) == "Filled"


@pytest.mark.parametrize(
    "change",
    [{"action": "SELL"}, {"instrument": MSFT}, {"account": "DU2"}],
    ids=["side", "contract", "account"],
)
def test_a_change_of_side_contract_or_account_is_refused_and_the_order_restated(change: dict[str, object]) -> None:
    world = World(accounts=(ACCOUNT, "DU2"))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 1, "LMT", "10")
    world.place(**{"action": "BUY", "quantity": 1, "order_type": "LMT", "limit": "10", "order_id": order, **change})  # type: ignore[arg-type]
    assert world.lines(order)[4:] == ["error 105", "echo", "Submitted"]
    assert world.last(order).ticket.action == "BUY"


def test_a_change_to_a_price_off_the_tick_is_refused_and_the_order_restated(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    world.place("BUY", 1, "LMT", "10.001", order_id=order)
    assert world.lines(order)[4:] == ["error 110", "echo", "Submitted"]
    assert world.last(order).ticket.limit_price == 10


def test_a_change_beyond_the_margin_is_refused_and_the_order_restated(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "99")
    world.place("BUY", 1_000_000, "LMT", "99", order_id=order)
    assert world.lines(order)[4:] == ["error 201", "echo", "Submitted"]
    assert world.last(order).ticket.quantity == 1


def test_a_filled_order_cannot_be_changed(world: World) -> None:
    order = world.place("BUY", 1)
    world.place("BUY", 2, order_id=order)
    assert [m.text for m in world.messages(104)] == ["Can't modify a filled order."]


def test_a_change_overtaken_by_the_fill_is_refused() -> None:
    world = World(behavior=ExchangeBehavior(ack_latency=(2.0, 2.0), duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 1, "LMT", "99", run=5)
    world.place("BUY", 1, "LMT", "98", order_id=order, run=0)
    world.trade("97", 10)
    world.run(5)
    assert world.status(order) == "Filled"
    assert world.messages(104)


def test_a_change_overtaken_by_the_fill_after_its_echo_is_refused() -> None:
    world = World(behavior=ExchangeBehavior(fill_latency=(5.0, 5.0), duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 1, "LMT", "99", run=10)
    world.place("BUY", 1, "LMT", "98", order_id=order)
    assert world.status(order) == "PreSubmitted"
    world.trade("97", 10)
    assert world.status(order) == "Filled"
    assert world.filled(order) == [(d(1), d("99"))], "the old terms hold until the change is effective"
    world.run(10)
    assert world.messages(104)


def test_an_order_under_change_takes_no_second_change(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    world.place("BUY", 1, "LMT", "11", order_id=order, run=0)
    world.place("BUY", 1, "LMT", "12", order_id=order)
    assert world.messages(2102)
    assert world.exchange.open_orders(1)[0].ticket.limit_price == 11


def test_a_cancel_after_a_change_wins(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    world.place("BUY", 1, "MKT", order_id=order, run=0)
    world.cancel(order)
    assert world.status(order) in {"Cancelled", "Filled"}
    assert not world.messages(135)


def test_the_size_cannot_be_set_to_what_is_filled_already(world: World) -> None:
    world.quote("100.00", "100.02", ask_size=10)
    order = world.place("BUY", 200, "LMT", "100.02")
    assert world.last(order).filled == 10
    world.place("BUY", 10, "LMT", "100.02", order_id=order)
    assert world.messages(201)
    world.place("BUY", 11, "LMT", "100.02", order_id=order)
    assert world.exchange.open_orders(1)[0].remaining == 1


def test_a_smaller_size_keeps_the_place_in_the_queue_and_a_new_price_loses_it() -> None:
    for quantity, limit, expected in ((50, "100.00", 50), (100, "99.99", 0)):
        world = World(behavior=ExchangeBehavior.instant())
        world.quote("100.00", "100.05", bid_size=200)
        order = world.place("BUY", 100, "LMT", "100.00")
        world.trade("100.00", 200)
        world.place("BUY", quantity, "LMT", limit, order_id=order)
        if limit == "99.99":
            world.place("BUY", 100, "LMT", "100.00", order_id=order)
        world.trade("100.00", 100)
        assert world.last(order).filled == expected


def test_a_larger_size_goes_to_the_back_of_the_queue() -> None:
    world = World(behavior=ExchangeBehavior.instant())
    world.quote("100.00", "100.05", bid_size=200)
    order = world.place("BUY", 100, "LMT", "100.00")
    world.trade("100.00", 200)
    world.place("BUY", 101, "LMT", "100.00", order_id=order)
    world.trade("100.00", 200)
    assert world.last(order).filled == 0


def test_a_change_that_is_not_transmitted_leaves_the_order_alone(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    world.place("BUY", 1, "LMT", "11", order_id=order, transmit=False)
    assert world.exchange.open_orders(1)[0].ticket.limit_price == 10
    assert len(world.lines(order)) == 4


def test_a_changed_tif_changes_when_the_order_ends(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10", tif="GTC")
    world.place("BUY", 1, "LMT", "10", tif="DAY", order_id=order)
    world.at(world.new_york(12, 16, 0, 1))
    assert world.status(order) == "Cancelled"


def test_a_change_while_the_market_is_closed_stays_held(world: World) -> None:
    world.at(world.new_york(12, 20, 30))
    order = world.place("BUY", 1, "LMT", "10")
    world.place("BUY", 1, "LMT", "11", order_id=order)
    assert world.lines(order)[-4:] == ["echo", "PreSubmitted", "echo", "PreSubmitted"]
    world.at(world.new_york(13, 9, 31))
    assert world.status(order) == "Submitted"
    assert len(world.exchange.open_orders(1)) == 1


def test_a_size_reached_by_fills_before_the_change_is_effective_completes_the_order() -> None:
    world = World(behavior=ExchangeBehavior(fill_latency=(5.0, 5.0), duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 10, "LMT", "99", run=10)
    world.place("BUY", 6, "LMT", "99", order_id=order)
    world.trade("98", 7)
    world.run(10)
    view = world.last(order)
    assert (view.status.value, view.filled, view.remaining, view.ticket.quantity) == ("Filled", *ds(7, 0, 7))
    assert world.exchange.open_orders(1) == []


def test_a_change_that_meets_a_cancelled_order_is_told_it_is_gone() -> None:
    world = World(behavior=ExchangeBehavior(ack_latency=(2.0, 2.0), duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 10, "LMT", "99", tif="GTD", good_till="20260312 10:00:10 US/Eastern", run=8)
    world.place("BUY", 10, "LMT", "98", order_id=order, run=0)
    world.run(5)
    assert world.lines(order)[-2:] == ["Cancelled", "error 135"]


def test_a_change_of_an_unsent_order_is_taken_when_it_is_sent(world: World) -> None:
    order = world.place("BUY", 10, "LMT", "99", transmit=False)
    world.place("BUY", 20, "LMT", "98", order_id=order, transmit=False)
    world.place("BUY", 20, "LMT", "98.001", order_id=order, transmit=True)
    assert world.lines(order) == ["error 110"]
    world.place("BUY", 30, "LMT", "98", order_id=order, transmit=True)
    view = world.exchange.open_orders(1)[0]
    assert (view.ticket.quantity, view.ticket.limit_price, view.remaining) == ds(30, 98, 30)


def test_outside_rth_is_dropped_from_a_change_as_from_a_new_order(world: World) -> None:
    order = world.place("BUY", 10, "LMT", "99")
    world.place("BUY", 10, "STP", aux="120", order_id=order, outside_rth=True)
    assert world.messages(2109)
    assert world.last(order).ticket.outside_rth is False
    assert world.last(order).why_held == "trigger"


def test_a_child_with_nothing_left_to_do_says_that_it_waits_for_its_parent_again() -> None:
    world = World(behavior=ExchangeBehavior.instant())
    world.quote("100.00", "100.05", ask_size=40)
    parent = world.place("BUY", 100, "LMT", "100.05", transmit=False)
    child = world.place("SELL", 100, "LMT", "100.10", parent_id=parent)
    world.quote("100.10", "100.15")
    assert world.last(child).filled == 40
    world.place("SELL", 100, "LMT", "100.20", order_id=child, parent_id=parent)
    assert world.lines(child)[-2:] == ["echo", "PreSubmitted"]
    world.quote("100.00", "100.05", ask_size=60)
    assert world.status(child) == "Submitted"


def test_margin_is_freed_when_an_order_is_made_smaller(world: World) -> None:
    order = world.place("BUY", 39_000, "LMT", "99")
    assert world.lines(world.place("BUY", 39_000, "LMT", "99"))[-1] == "Inactive"
    world.place("BUY", 1_000, "LMT", "99", order_id=order)
    assert world.status(world.place("BUY", 38_000, "LMT", "99")) == "Submitted"
