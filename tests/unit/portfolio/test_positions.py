"""Positions for the gates: snapshot plus executions since, each counted once, corrections by their difference."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.models.account import Execution, Position
from ibkr_connector.models.contract import Contract
from ibkr_connector.portfolio.positions import PositionBook

AAPL = Contract(symbol="AAPL", con_id=265598)
ME = "DU1"


def position(quantity: int) -> Position:
    return Position(account=ME, contract=AAPL, quantity=Decimal(quantity), avg_cost=Decimal(100))


def execution(number: int, quantity: int, side: str = "BUY", revision: int = 1) -> Execution:
    return Execution(
        exec_id=f"0001.{number}.{revision:02d}",
        at=datetime(2026, 1, 5, tzinfo=UTC),
        account=ME,
        contract=AAPL,
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(100),
        order_id=1,
        client_id=1,
        perm_id=1,
        order_ref="A",
        cum_quantity=Decimal(quantity),
        avg_price=Decimal(100),
    )


def book(quantity: int = 0) -> PositionBook:
    made = PositionBook()
    assert made.install([position(quantity)], made.begin_snapshot())
    return made


def test_execution_counts_once_however_often_it_is_told() -> None:
    positions = book(10)
    assert positions.on_execution(execution(1, 5))
    assert not positions.on_execution(execution(1, 5))
    assert positions.counted(ME, AAPL.con_id) == 15


def test_correction_replaces_also_when_the_first_is_in_the_snapshot() -> None:
    positions = book()
    positions.on_execution(execution(1, 5))
    assert positions.install([position(5)], positions.begin_snapshot())
    positions.on_execution(execution(1, 3, revision=2))
    assert positions.counted(ME, AAPL.con_id) == 3


def test_snapshot_that_an_execution_interrupts_is_not_taken() -> None:
    positions = book()
    mark = positions.begin_snapshot()
    positions.on_execution(execution(1, 5))
    assert not positions.install([position(0)], mark)
    assert positions.counted(ME, AAPL.con_id) == 5


MSFT = Contract(symbol="MSFT", con_id=272093)


def test_snapshot_that_ends_before_its_last_row_does_not_lose_a_position() -> None:
    positions = book(10)
    positions.on_execution(replace(execution(1, 50), contract=MSFT))
    positions.on_position(replace(position(50), contract=MSFT))
    mark = positions.begin_snapshot()
    assert not positions.install([position(10)], mark)  # the marker overtook the row of MSFT
    assert positions.counted(ME, MSFT.con_id) == 50
    assert {p.contract.con_id: p.quantity for p in positions.snapshot} == {AAPL.con_id: 10, MSFT.con_id: 50}
    assert positions.install([position(10), replace(position(50), contract=MSFT)], positions.begin_snapshot())
    assert positions.counted(ME, MSFT.con_id) == 50


def test_snapshot_that_nothing_explains_is_taken_when_a_second_one_says_the_same() -> None:
    positions = book(10)
    assert not positions.install([position(7)], positions.begin_snapshot())
    assert not positions.install([position(8)], positions.begin_snapshot())
    assert positions.counted(ME, AAPL.con_id) == 10
    assert positions.install([position(8)], positions.begin_snapshot())
    assert positions.counted(ME, AAPL.con_id) == 8


def test_doubt_about_a_snapshot_ends_with_one_that_fits() -> None:
    positions = book(10)
    assert not positions.install([], positions.begin_snapshot())
    assert positions.install([position(10)], positions.begin_snapshot())
    assert not positions.install([], positions.begin_snapshot())
    assert positions.counted(ME, AAPL.con_id) == 10


@pytest.mark.parametrize("first", [True, False])
def test_position_that_nobody_knew_and_whose_row_comes_after_the_end_marker_is_not_lost(first: bool) -> None:
    positions = PositionBook() if first else book()
    mark = positions.begin_snapshot()
    positions.on_position(position(40))
    assert not positions.install([], mark)
    assert positions.told(ME, AAPL.con_id) == 40
    assert positions.install([position(40)], positions.begin_snapshot())
    assert positions.counted(ME, AAPL.con_id) == 40


def test_first_snapshot_of_what_was_held_before_is_taken_at_once() -> None:
    positions = PositionBook()
    positions.on_execution(execution(1, 5))  # replayed: today's
    assert positions.install([position(25)], positions.begin_snapshot())
    assert positions.counted(ME, AAPL.con_id) == 25


def test_snapshot_that_agrees_with_a_position_message_is_taken_at_once() -> None:
    positions = book(10)
    positions.on_position(position(40))  # a trade that nobody told of
    assert positions.install([position(40)], positions.begin_snapshot())
    assert positions.counted(ME, AAPL.con_id) == 40


def test_gates_get_the_worse_figure_while_the_two_differ() -> None:
    positions = book(10)
    positions.on_position(position(40))
    assert positions.worst(ME, AAPL.con_id, +1) == 40
    assert positions.worst(ME, AAPL.con_id, -1) == 10
    assert positions.diverging() == {(ME, AAPL.con_id)}
    positions.on_execution(execution(1, 30))
    assert positions.diverging() == set()


def test_zero_positions_are_not_listed_and_prices_are_kept() -> None:
    positions = book(10)
    positions.on_position(replace(position(10), market_price=Decimal(101)))
    positions.on_position(position(12))
    assert positions.snapshot[0].market_price == 101
    positions.on_position(position(0))
    assert positions.snapshot == ()


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(1, 50), st.sampled_from(["BUY", "SELL"]), st.booleans()), max_size=40
    )
)
def test_any_order_of_executions_repeats_and_snapshots_counts_the_truth(
    events: list[tuple[int, int, str, bool]],
) -> None:
    positions, truth = book(), dict[int, int]()
    for number, quantity, side, snapshot_follows in events:
        told = execution(number, quantity, side)
        if number not in truth:
            truth[number] = quantity if side == "BUY" else -quantity
            positions.on_execution(told)
        else:
            known = truth[number]
            positions.on_execution(execution(number, abs(known), "BUY" if known > 0 else "SELL"))
        if snapshot_follows:
            assert positions.install([position(sum(truth.values()))], positions.begin_snapshot())
        assert positions.counted(ME, AAPL.con_id) == sum(truth.values())


def test_fill_is_shown_before_the_brokers_position_message() -> None:
    positions = book(10)
    positions.on_execution(execution(1, 30))
    assert [(p.quantity, p.avg_cost) for p in positions.snapshot] == [(Decimal(40), Decimal(100))]
    positions.on_execution(execution(2, 60, "SELL"))
    assert [(p.quantity, p.avg_cost) for p in positions.snapshot] == [(Decimal(-20), Decimal(100))]
    positions.on_position(replace(position(-20), avg_cost=Decimal(99)))
    assert positions.snapshot[0].avg_cost == 99


def test_position_message_before_its_execution_is_not_counted_twice() -> None:
    positions = book(10)
    positions.on_position(position(40))
    positions.on_execution(execution(1, 30))
    assert [p.quantity for p in positions.snapshot] == [40]
