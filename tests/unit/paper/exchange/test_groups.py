"""Brackets and one-cancels-all groups."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.types import OrderChanged, OrderStatus
from unit.paper.exchange.kit import World, d


@pytest.fixture
def world() -> World:
    made = World(behavior=ExchangeBehavior.instant())
    made.quote("100.00", "100.05", ask_size=1000)
    return made


def bracket(
    world: World, quantity: int = 100, limit: str = "99.00", take: str = "105", stop: str = "95", **more: Any
) -> tuple[int, int, int]:
    parent = world.place("BUY", quantity, "LMT", limit, transmit=False, **more)
    profit = world.place("SELL", quantity, "LMT", take, parent_id=parent, transmit=False, **more)
    loss = world.place("SELL", quantity, "STP", aux=stop, parent_id=parent, transmit=True, **more)
    return parent, profit, loss


def test_a_bracket_is_transmitted_by_its_last_order_and_its_children_wait_for_the_parent(world: World) -> None:
    parent = world.place("BUY", 10, "LMT", "99", transmit=False)
    profit = world.place("SELL", 10, "LMT", "105", parent_id=parent, transmit=False)
    assert world.events == []
    loss = world.place("SELL", 10, "STP", aux="95", parent_id=parent)
    assert world.lines(parent) == ["echo", "PreSubmitted", "echo", "Submitted"]
    assert world.lines(profit) == ["echo", "PreSubmitted(child)"]
    assert world.lines(loss) == ["echo", "PreSubmitted(child,trigger)"]


def test_children_share_an_oca_group_named_after_the_parents_perm_id(world: World) -> None:
    parent, profit, loss = bracket(world)
    name = str(world.last(parent).perm_id)
    assert [world.last(o).ticket.oca_group for o in (parent, profit, loss)] == ["", name, name]
    assert world.last(loss).ticket.oca_type == 3
    assert world.last(loss).ticket.parent_id == parent


def test_children_never_fill_before_their_parent(world: World) -> None:
    parent, profit, loss = bracket(world)
    world.quote("106", "106.05")
    world.trade("106", 1000)
    assert world.fills() == []
    world.trade("98", 1000)
    world.quote("106", "106.05")
    world.trade("106", 1000)
    filled = {e.order_id for e in world.fills()}
    assert filled == {parent, profit}
    assert world.fills()[0].order_id == parent
    assert world.status(loss) == "Cancelled"


def test_a_filled_parent_wakes_its_children(world: World) -> None:
    _, profit, loss = bracket(world, limit="100.05")
    assert world.lines(profit)[2:] == ["echo", "Submitted"]
    assert world.lines(loss)[2:] == ["echo", "PreSubmitted(trigger)"]


def test_profit_taken_cancels_the_stop(world: World) -> None:
    _, profit, loss = bracket(world, limit="100.05")
    world.quote("105.00", "105.05")
    assert world.status(profit) == "Filled"
    assert world.lines(loss)[-2:] == ["Cancelled", "error 202"]
    world.trade("90", 1000)
    assert world.exchange.positions() == []


def test_a_stopped_loss_cancels_the_profit_order(world: World) -> None:
    _, profit, loss = bracket(world, limit="100.05")
    world.quote("94.90", "95.00")
    world.trade("94.95", 10)
    assert world.filled(loss) == [(d(100), d("94.90"))]
    assert world.status(profit) == "Cancelled"


def test_children_work_only_for_what_the_parent_has_filled(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=4)
    _, profit, loss = bracket(world, limit="100.05", take="100.20")
    assert world.last(profit).ticket.quantity == 100
    world.quote("100.20", "100.25", bid_size=1000)
    assert world.filled(profit) == [(d(4), d("100.20"))]
    assert world.last(loss).ticket.quantity == 96
    world.quote("94.00", "94.05", ask_size=0)
    world.trade("94.50", 10)
    # The print fills ten more of the parent; the four that the profit order sold cannot be sold again.
    assert world.filled(loss) == [(d(10), d("94.00"))]
    assert world.exchange.positions() == []


def test_a_child_follows_each_further_fill_of_its_parent(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=40)
    parent, profit, _ = bracket(world, limit="100.05", take="101")
    assert world.last(parent).filled == 40
    world.trade("101.50", 500)
    assert sum(n for n, _ in world.filled(profit)) == 40
    world.quote("100.00", "100.05", ask_size=60)
    assert world.status(parent) == "Filled"
    world.trade("101.50", 500)
    assert sum(n for n, _ in world.filled(profit)) == 100


def test_a_childs_share_is_rounded_down_to_whole_shares(world: World) -> None:
    parent = world.place("BUY", 100, "LMT", "100.04", transmit=False)
    child = world.place("SELL", 50, "MKT", parent_id=parent)
    world.trade("100.00", 3)
    assert sum(n for n, _ in world.filled(child)) == 1
    world.trade("100.00", 1)
    assert sum(n for n, _ in world.filled(child)) == 2, "a child at market follows at once, on the quote in force"


def test_a_child_changed_in_size_works_for_its_new_share(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=40)
    parent, profit, _ = bracket(world, limit="100.05", take="101")
    world.quote("99.90", "100.20")
    world.place("SELL", 50, "LMT", "101", order_id=profit, parent_id=parent)
    world.quote("101.00", "101.05")
    assert world.filled(profit) == [(d(20), d("101"))]


def test_a_cancelled_parent_takes_its_children_along(world: World) -> None:
    parent, profit, loss = bracket(world)
    world.cancel(parent)
    for order in (parent, profit, loss):
        assert world.lines(order)[-2:] == ["Cancelled", "error 202"]
    assert world.exchange.open_orders(None) == []


def test_a_parent_cancelled_half_filled_leaves_its_children_for_what_was_filled(world: World) -> None:
    world.quote("100.00", "100.05", ask_size=40)
    parent, profit, loss = bracket(world, limit="100.05")
    world.cancel(parent)
    assert [world.last(o).ticket.quantity for o in (profit, loss)] == [40, 40]
    assert [world.last(o).ticket.parent_id for o in (profit, loss)] == [parent, parent]
    world.quote("94.90", "95.00")
    world.trade("94.95", 10)
    assert world.filled(loss) == [(d(40), d("94.90"))]
    assert world.exchange.positions() == []
    assert world.exchange.open_orders(None) == []


def test_a_refused_parent_takes_its_children_along(world: World) -> None:
    parent, profit, loss = bracket(world, quantity=10_000_000)
    assert world.status(parent) == "Inactive"
    assert world.status(profit) == world.status(loss) == "Cancelled"


def test_an_expired_parent_takes_its_children_along(world: World) -> None:
    parent = world.place("BUY", 10, "LMT", "99", transmit=False)
    loss = world.place("SELL", 10, "STP", aux="95", parent_id=parent, tif="GTC")
    world.at(world.new_york(12, 16, 1))
    assert world.status(parent) == world.status(loss) == "Cancelled"


def test_a_child_that_comes_after_its_parent_filled_works_at_once(world: World) -> None:
    parent = world.place("BUY", 10)
    child = world.place("SELL", 10, "LMT", "105", parent_id=parent)
    assert world.status(child) == "Submitted"


def test_a_child_of_a_cancelled_parent_is_refused(world: World) -> None:
    parent = world.place("BUY", 10, "LMT", "99")
    world.cancel(parent)
    world.place("SELL", 10, "LMT", "105", parent_id=parent)
    assert world.messages(135)


def test_cancelling_an_unsent_parent_withdraws_the_unsent_children(world: World) -> None:
    parent = world.place("BUY", 10, "LMT", "99", transmit=False)
    child = world.place("SELL", 10, "LMT", "105", parent_id=parent, transmit=False)
    world.cancel(parent)
    assert world.lines(parent) == world.lines(child) == ["ApiCancelled"]


def test_a_bracket_placed_while_closed_wakes_up_with_the_market(world: World) -> None:
    world.at(world.new_york(12, 20, 30))
    parent, profit, loss = bracket(world, limit="101")
    assert world.lines(parent) == ["error 399", "echo", "PreSubmitted"]
    world.at(world.new_york(13, 9, 30))
    world.quote("100.00", "100.05")
    assert world.status(parent) == "Filled"
    assert world.status(profit) == "Submitted"
    assert world.last(loss).why_held == "trigger"


def test_changing_a_waiting_child_keeps_it_waiting(world: World) -> None:
    parent, profit, _ = bracket(world)
    world.place("SELL", 100, "LMT", "106", order_id=profit, parent_id=parent)
    assert world.last(profit).why_held == "child"
    assert world.last(profit).ticket.oca_group == str(world.last(parent).perm_id)
    world.trade("98", 1000)
    assert world.status(profit) == "Submitted"
    assert world.last(profit).ticket.limit_price == 106


# --- OCA ------------------------------------------------------------------------------------------------------------


def oca(world: World, kind: int, *quantities: int) -> list[int]:
    return [
        world.place("BUY", quantity, "LMT", "99.00", oca_group="G", oca_type=kind, tif="GTC") for quantity in quantities
    ]


def test_type_1_cancels_the_others_on_any_fill(world: World) -> None:
    first, second, third = oca(world, 1, 100, 100, 50)
    world.trade("98", 10)
    assert world.last(first).filled == 10
    assert world.status(first) == "Submitted"
    assert [world.status(o) for o in (second, third)] == ["Cancelled", "Cancelled"]
    assert {e.order_id for e in world.fills()} == {first}


@pytest.mark.parametrize("kind", [2, 3, 0])
def test_types_2_and_3_reduce_the_others_in_proportion(world: World, kind: int) -> None:
    first, second, third = oca(world, kind, 100, 200, 50)
    world.trade("98", 40)
    assert world.last(first).filled == 40
    assert [world.last(o).remaining for o in (second, third)] == [120, 30]
    assert world.last(second).ticket.quantity == 120
    world.trade("98", 60)
    assert world.status(first) == "Filled"
    assert [world.status(o) for o in (second, third)] == ["Cancelled", "Cancelled"]


def test_a_group_never_buys_more_than_its_largest_order(world: World) -> None:
    oca(world, 3, 100, 100, 100)
    for _ in range(20):
        world.trade("98", 7)
    world.trade("98", 1000)
    assert sum(e.shares for e in world.fills()) == 100


def test_a_group_that_filled_takes_no_more_orders(world: World) -> None:
    oca(world, 1, 100, 100)
    world.trade("98", 1000)
    late = world.place("BUY", 100, "LMT", "99.00", oca_group="G", oca_type=1)
    assert world.lines(late) == ["echo", "Inactive", "error 201", "echo", "Inactive"]
    assert world.messages(201)[0].text == "Order rejected - reason:OCA group is already filled."


def test_cancelling_one_member_cancels_the_group(world: World) -> None:
    first, second = oca(world, 3, 100, 100)
    world.cancel(first)
    assert world.status(second) == "Cancelled"
    world.cancel(second)
    assert "state: Cancelled" in world.messages(10148)[0].text


def test_groups_of_the_same_name_in_two_accounts_are_two_groups() -> None:
    world = World(behavior=ExchangeBehavior.instant(), accounts=("DU1", "DU2"))
    world.quote("100.00", "100.05")
    one = world.place("BUY", 100, "LMT", "99", oca_group="G", account="DU1")
    two = world.place("BUY", 100, "LMT", "98", oca_group="G", account="DU2")
    world.trade("98.50", 100)
    assert world.status(one) == "Filled"
    assert world.status(two) == "Submitted"


def test_a_global_cancel_of_a_group_says_it_once_per_order(world: World) -> None:
    orders = oca(world, 3, 100, 100)
    parent, profit, loss = bracket(world)
    world.exchange.global_cancel(1)
    world.run()
    assert world.exchange.open_orders(None) == []
    for order in (*orders, parent, profit, loss):
        assert world.lines(order).count("error 202") == 1
        assert world.lines(order).count("Cancelled") == 1
    assert not world.messages(161)
    changes = [e.order for e in world.events if isinstance(e, OrderChanged)]
    ended = [view.ticket.order_id for view in changes if view.status is OrderStatus.CANCELLED]
    assert ended.index(parent) < ended.index(profit) < ended.index(loss)
