"""OCA groups before the limits: with block the worst leg counts, without block every leg does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.models import OrderRequest
from ibkr_connector.risk import Exposure, RiskDecision, RiskEngine
from support.risk import AAPL, ES, NOW, OFF, D, only, order, view

ROOM = replace(OFF, max_position_size=D(100))


def ask(engine: RiskEngine, *legs: OrderRequest, blocks: bool = True, **seen: Any) -> RiskDecision:
    return engine.check_and_reserve_oca([(leg, view(**seen)) for leg in legs], group="g", blocks=blocks)


def legs(*quantities: int, action: str = "BUY") -> list[OrderRequest]:
    return [order(action, quantity, order_ref=f"r{number}") for number, quantity in enumerate(quantities)]


def test_with_block_the_worst_leg_of_a_side_is_reserved() -> None:
    engine = RiskEngine(ROOM)
    assert ask(
        engine, *legs(100, 60), order("SELL", 30, order_ref="s"), order("BUY", 5, con_id=ES, order_ref="e")
    ).allowed
    assert engine.reserved_exposure(AAPL) == Exposure(D(100), D(30))
    assert engine.reserved_exposure(ES) == Exposure(D(5), D(0))
    assert only(engine.check_and_reserve(order("BUY", 1), view()), "position_limit").value == 101


def test_without_block_every_leg_is_reserved_and_judged_after_those_before_it() -> None:
    engine = RiskEngine(ROOM)
    decision = ask(engine, *legs(60, 60), blocks=False)
    assert [(reason.gate, reason.order_ref, reason.value) for reason in decision.reasons] == [
        ("position_limit", "r1", 120)
    ]
    assert engine.reserved_exposure(AAPL) == Exposure()
    assert ask(engine, *legs(60, 40), blocks=False).allowed
    assert engine.reserved_exposure(AAPL) == Exposure(D(100), D(0))


def test_a_group_that_is_refused_leaves_nothing_behind() -> None:
    engine = RiskEngine(replace(ROOM, max_orders=4, max_orders_window=60))
    assert not ask(engine, *legs(100, 101)).allowed
    assert (engine.status()["open_orders"], engine.in_flight_loss) == (0, D(0))
    assert engine._book._ocas == {}
    engine.on_revived("r0", D(100))  # it never was: nothing comes back
    assert engine.reserved_exposure(AAPL) == Exposure()
    assert ask(engine, *legs(1, 1, 1, 1)).allowed  # and the names and the rate are free


def test_each_leg_is_an_order_of_its_own_for_the_gates_on_traffic() -> None:
    engine = RiskEngine(replace(OFF, max_orders=2, max_orders_window=60, max_open_orders=2))
    decision = ask(engine, *legs(1, 2, 3))
    assert {(reason.gate, reason.order_ref) for reason in decision.reasons} == {
        ("order_rate", "r2"),
        ("open_orders", "r2"),
    }


def test_the_loss_in_flight_is_that_of_the_worst_leg() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(60)))  # enough for one of them
    alone = RiskEngine(OFF)
    alone.check_and_reserve(order("BUY", 100), view())
    assert ask(engine, *legs(100, 50), order("BUY", 99, order_ref="e")).allowed
    assert engine.in_flight_loss == alone.in_flight_loss
    several = RiskEngine(OFF)
    ask(several, *legs(100, 50), blocks=False)
    assert several.in_flight_loss > alone.in_flight_loss


def test_what_it_ties_up_is_the_worst_leg_of_each_contract() -> None:
    engine = RiskEngine(replace(OFF, max_gross_exposure=D(10_000), buying_power="value"))
    money = {"BuyingPower": D(10_000)}
    assert ask(engine, *legs(100, 60), figures=money).allowed
    assert engine.check(order("BUY", 1), view(figures=money)).reasons[0].value == 10_100
    engine.on_done("r0")
    assert engine.check(order("BUY", 40), view(figures=money)).allowed


def test_exits_of_a_position_only_reduce_it_with_block_and_may_cross_zero_without() -> None:
    engine = RiskEngine(OFF)
    engine.reduce("test", NOW)
    exits = [order("SELL", 10, 120, order_ref="t"), order("SELL", 10, order_type="STP", stop_price=90, order_ref="s")]
    held = {AAPL: D(10)}
    refused = ask(engine, *exits, blocks=False, positions=held)
    assert [reason.order_ref for reason in refused.reasons] == ["s"]
    assert ask(engine, *exits, positions=held).allowed
    assert engine.recheck(exits[1], view(positions=held)).allowed
    assert not engine.check(order("SELL", 1), view(positions=held)).allowed


def test_a_change_of_a_leg_is_judged_beside_its_group_not_on_top_of_it() -> None:
    engine = RiskEngine(ROOM)
    ask(engine, *legs(80, 60))
    assert engine.check_and_reserve_change(order("BUY", 100, order_ref="r1"), view()).allowed
    assert engine.reserved_exposure(AAPL) == Exposure(D(100), D(0))
    assert not engine.check_and_reserve_change(order("BUY", 101, order_ref="r0"), view()).allowed


def test_a_group_read_back_from_the_journal_counts_as_before() -> None:
    engine = RiskEngine(ROOM)
    for ref, quantity in (("r0", 100), ("r1", 60)):
        engine.adopt(ref, con_id=AAPL, sign=1, quantity=D(quantity), open_quantity=D(quantity), oca="g")
    assert engine.reserved_exposure(AAPL) == Exposure(D(100), D(0))
    engine.on_fill("r1", D(60), D(0))
    engine.on_done("r1")
    assert engine.reserved_exposure(AAPL) == Exposure(D(40), D(0))
    engine.on_done("r0")
    assert engine.reserved_exposure(AAPL) == Exposure()
    engine.on_revived("r0", D(100))
    assert engine.reserved_exposure(AAPL) == Exposure(D(100), D(0))


def test_a_leg_that_the_broker_made_several_orders_of_counts_in_full() -> None:
    engine = RiskEngine(OFF)
    ask(engine, *legs(100, 60))
    engine.on_open("r1", D(120))
    assert engine.reserved_exposure(AAPL) == Exposure(D(120), D(0))


def test_an_agents_share_is_the_worst_leg_too() -> None:
    engine = RiskEngine(OFF)
    ask(engine, *(order("BUY", quantity, order_ref=f"r{quantity}", agent="Ann") for quantity in (70, 30)))
    with engine.atomically():
        assert engine._book.exposure(AAPL, agent="ann") == Exposure(D(70), D(0))
        assert engine._book.open_of("ann") == 2


@given(
    quantities=st.lists(st.integers(1, 300), min_size=2, max_size=4),
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100), st.booleans()), max_size=12),
    cancels=st.booleans(),
)
def test_whatever_a_group_with_block_fills_it_never_holds_more_than_it_was_judged_by(
    quantities: list[int], steps: list[tuple[int, int, bool]], cancels: bool
) -> None:
    """INV-05 for types 1 and 2, against a broker that reduces in proportion, told early or late."""
    engine = RiskEngine(OFF)
    ask(engine, *legs(*quantities))
    filled = dict.fromkeys(range(len(quantities)), D(0))
    left = D(1)  # the share of the group that may still fill
    told: set[int] = set()
    for which, percent, tell in steps:
        number = which % len(quantities)
        if cancels and told and number not in told:
            continue  # type 1: only the first goes on
        quantity = D(quantities[number])
        part = left * quantity * percent / 100
        part -= part % 1
        if part <= 0:
            continue
        told.add(number)
        filled[number] += part
        left -= part / quantity
        engine.on_fill(f"r{number}", filled[number], quantity - filled[number])
        truth = max(
            (left * D(one) for other, one in enumerate(quantities) if not cancels or other == number), default=D(0)
        )
        held = engine.reserved_exposure(AAPL).buys
        assert held >= truth - truth % 1
        assert held + sum(filled.values(), D(0)) <= max(quantities)
        if tell:
            for other, one in enumerate(quantities):
                if other != number:
                    may = D(0) if cancels else left * D(one)
                    engine.on_open(f"r{other}", may - may % 1)
            held = engine.reserved_exposure(AAPL).buys
            assert held >= truth - truth % 1


class Torn:
    """A view that knows its account and falls over at everything else."""

    account = "DU1"


def test_nothing_stays_reserved_when_a_view_falls_over_in_the_middle() -> None:
    engine = RiskEngine(ROOM)
    first, second = legs(10, 20)
    with pytest.raises(AttributeError):
        engine.check_and_reserve_oca([(first, view()), (second, Torn())], group="g", blocks=True)  # type: ignore[list-item]
    assert (engine.reserved_exposure(AAPL), engine.status()["open_orders"]) == (Exposure(), 0)
