"""Accidents at the broker: what they do to orders, ids and books."""

from __future__ import annotations

import pytest

from ibkr_connector.paper.exchange.types import Execution
from unit.paper.exchange.kit import World, d, ds


class Disturbance:
    """Forks every change, and delays every commission."""

    def __init__(self, delay: float = 0.0, *, fork: bool = False) -> None:
        self.delay = delay
        self.fork = fork

    def commission_delay(self, execution: Execution) -> float:
        return self.delay

    def forks(self, client_id: int, order_id: int) -> bool:
        return self.fork


@pytest.fixture
def world() -> World:
    made = World()
    made.quote("100.00", "100.02")
    return made


def test_a_fork_is_for_what_the_first_had_not_filled(world: World) -> None:
    order = world.place("BUY", 10, "LMT", "99.50")
    world.trade("99.49", 4)
    assert world.filled(order) == [(d(4), d("99.50"))]
    world.exchange.mishaps.disturb(Disturbance(fork=True))
    world.place("BUY", 8, "LMT", "99.40", order_id=order)
    first, fork = world.exchange.open_orders(1)
    assert (first.remaining, fork.remaining) == ds(6, 4)
    assert first.perm_id != fork.perm_id
    world.trade("99.00", 100)
    assert sum(quantity for quantity, _ in world.filled(order)) == 14
    assert world.exchange.open_orders(1) == []


def test_a_fork_of_an_impossible_change_is_refused(world: World) -> None:
    order = world.place("BUY", 10, "LMT", "99.50")
    world.exchange.mishaps.disturb(Disturbance(fork=True))
    world.place("BUY", 10, "LMT", "99.503", order_id=order)
    assert "error 110" in world.lines(order)
    assert len(world.exchange.open_orders(1)) == 1


def test_ids_fall_back_and_never_below_one(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    assert world.exchange.next_order_id(1) == order + 1
    world.exchange.mishaps.roll_back_ids(1)
    assert world.exchange.next_order_id(1) == order
    world.exchange.mishaps.roll_back_ids(1000)
    assert world.exchange.next_order_id(1) == 1


def test_an_order_that_waits_for_the_link_has_used_its_id(world: World) -> None:
    world.exchange.cut_link()
    order = world.place("BUY", 1, "LMT", "10")
    assert world.exchange.next_order_id(1) == order + 1
    assert world.exchange.mishaps.phase(1, order).phase == "withheld"
    world.exchange.mishaps.mend()
    later = world.place("BUY", 1, "LMT", "11")
    assert world.exchange.mishaps.release() == [(1, order)]
    world.run()
    assert {view.ticket.order_id for view in world.exchange.open_orders(1)} == {order, later}


def test_a_change_of_an_order_that_was_refused_while_it_waited_is_no_new_order(world: World) -> None:
    world.exchange.cut_link()
    order = world.place("BUY", 1, "LMT", "10.003")
    world.place("BUY", 1, "LMT", "10", order_id=order)
    world.exchange.mishaps.mend()
    world.exchange.mishaps.release()
    world.run()
    assert world.exchange.open_orders(1) == []
    assert [message.code for message in world.messages()] == [110, 103]


def test_a_correction_of_a_position_that_is_gone_is_realised(world: World) -> None:
    order = world.place("BUY", 10, "MKT")
    world.place("SELL", 10, "MKT")
    world.run()
    [execution] = world.fills(order)
    before = world.value("TotalCashBalance")
    world.exchange.mishaps.correct(execution, 2, 0.5)
    world.run(1.0)
    assert world.value("TotalCashBalance") - before == d("-0.20")
    [entry] = world.truth.of("correction")
    assert entry.fields["wrong_price"] == d("100.02")
    assert entry.fields["price"] == d("100.04")


def test_a_correction_below_nothing_does_not_happen(world: World) -> None:
    order = world.place("BUY", 10, "MKT")
    world.run()
    [execution] = world.fills(order)
    world.exchange.mishaps.correct(execution, -100_000, 0.0)
    world.run()
    assert world.truth.of("correction") == []


def test_a_correction_before_its_commission_leaves_the_commission_to_the_first(world: World) -> None:
    world.exchange.mishaps.disturb(Disturbance(delay=5.0))
    order = world.place("BUY", 10, "MKT")
    world.run()
    world.exchange.mishaps.correct(world.fills(order)[0], 1, 0.0)
    world.run(10)
    first, second = world.exchange.executions()
    assert (first[1] is not None, second[1] is not None) == (True, False)
    [position] = world.exchange.positions()
    assert first[1] is not None
    assert position.avg_cost * 10 == second[0].price * 10 + first[1].amount
