"""What all messages share: who is meant, when an order is over, and what is said only once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ibkr_connector.backends.facts import Operation
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import Cancelled, EndTold, Filled, Noted
from ibkr_connector.orders.record import Branch, OrderRecord
from ibkr_connector.orders.step import Step
from unit.orders.kit import CLIENT_ID, DOWN, ORDER_ID, PERM, UP, completed, d, echo, fill, kinds, sent, status


def branch(perm_id: int = PERM, **values: Any) -> Branch:
    one = Branch(perm_id=perm_id, order_id=ORDER_ID, client_id=CLIENT_ID)
    for name, value in values.items():
        setattr(one, name, value)
    return one


def with_branches(*branches: Branch, fills: tuple[Any, ...] = ()) -> OrderRecord:
    """An order as the broker has it, put together by hand."""
    record = sent()
    record.acknowledged = True
    record.outstanding.clear()
    record.branches = {one.perm_id: one for one in branches}
    record.fills = {seen.execution.base_id: seen.execution for seen in fills}
    return record


def concluded(record: OrderRecord) -> list[Any]:
    step = Step(record, UP)
    step.conclude()
    return list(step.changes)


# --- notes ------------------------------------------------------------------------------------------------------------


def test_a_note_is_kept_once_and_an_empty_one_never() -> None:
    step = Step(sent(), UP)
    for _ in range(2):
        step.note(399, "held", ask=False)
    step.note(399, "", ask=True)
    (noted,) = step.changes
    assert isinstance(noted, Noted)
    assert (noted.text, noted.ask, noted.rejecting) == ("held", False, False)
    assert step.record.refusal is None


def test_a_known_text_that_now_refuses_is_kept_again() -> None:
    step = Step(sent(), UP)
    step.note(201, "no", ask=False)
    for _ in range(2):
        step.note(201, "no", ask=True, rejecting=True)
    assert step.record.refusal == (201, "no")
    step.note(202, "no", ask=True, rejecting=True)
    assert kinds(step.changes) == ["noted", "noted", "noted"]
    assert step.record.refusal == (202, "no")


# --- who is meant -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "taken"), [(0, ORDER_ID), (-1, ORDER_ID), (1, 1), (77, 77)])
def test_a_message_names_the_number_unless_it_has_none(told: int, taken: int) -> None:
    found = Step(sent(), UP).branch(echo(order_id=told, client_id=5))
    assert found is not None
    assert found.order_id == taken
    assert found.client_id == (CLIENT_ID if taken == ORDER_ID else 5)


def test_a_completed_order_has_the_number_we_know() -> None:
    found = Step(sent(), UP).branch(completed())
    assert found is not None
    assert (found.order_id, found.client_id) == (ORDER_ID, CLIENT_ID)


def test_a_status_under_another_perm_id_changes_nothing_and_asks_the_broker() -> None:
    record = with_branches(branch())
    step = Step(record, UP)
    assert step.branch(status("Submitted", perm_id=PERM + 1)) is None
    (noted,) = step.changes
    assert isinstance(noted, Noted)
    assert noted.ask
    assert record.perm_ids == {PERM}


# --- presence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "settles"), [("Submitted", True), ("PendingSubmit", False)])
def test_what_only_the_broker_can_say_settles_a_doubt_though_the_link_is_down(word: str, settles: bool) -> None:
    record = sent()
    steps.enter_doubt(record, Operation.NEW, "no answer", UP)
    Step(record, DOWN).present(word, "seen")
    assert (Operation.NEW not in record.doubts) is settles
    Step(record, UP).present(word, "seen")
    assert Operation.NEW not in record.doubts
    assert record.acknowledged is settles


# --- what may live ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("final", "waived", "filled", "lives"),
    [
        (None, False, 0, True),
        (None, False, 99, True),
        (None, False, 100, False),
        (OrderState.CANCELLED, False, 0, False),
        (OrderState.CANCELLED, True, 0, True),
        (OrderState.CANCELLED, True, 100, False),
    ],
)
def test_a_branch_may_live_unless_the_broker_ended_it_or_it_is_filled(
    final: OrderState | None, waived: bool, filled: int, lives: bool
) -> None:
    one = branch(final=final, waived=waived)
    record = with_branches(one, fills=(fill(filled),) if filled else ())
    assert Step(record, UP).can_live(one) is lives
    record.ours = False
    assert Step(record, UP).can_live(one) is (final is None or waived)


# --- the end ----------------------------------------------------------------------------------------------------------


def test_an_order_nobody_has_shown_does_not_end() -> None:
    assert concluded(with_branches()) == []


@pytest.mark.parametrize(("counted", "over"), [(40, True), (41, False), (39, True)])
def test_a_cancelled_order_ends_when_every_execution_the_broker_counted_is_here(counted: int, over: bool) -> None:
    record = with_branches(
        branch(final=OrderState.CANCELLED, final_code=202, final_why="asked for", reported=d(counted)),
        fills=(fill(40),),
    )
    found = concluded(record)
    assert found == ([Cancelled(at=UP.now, code=202, why="asked for")] if over else [])


def test_an_order_that_filled_before_its_cancel_is_filled() -> None:
    record = with_branches(branch(final=OrderState.CANCELLED, reported=d(100)), fills=(fill(100),))
    assert concluded(record) == [Filled(at=UP.now)]


def test_what_fills_after_its_end_is_filled_unless_it_is_one_of_several() -> None:
    record = with_branches(branch(final=OrderState.CANCELLED), fills=(fill(40),))
    assert kinds(concluded(record)) == ["cancelled"]
    late = replace(fill(60, "e2.01").execution, perm_id=PERM)
    record.fills[late.base_id] = late
    assert concluded(record) == [Filled(at=UP.now)]
    forked = with_branches(
        branch(final=OrderState.CANCELLED), branch(PERM + 1, final=OrderState.CANCELLED), fills=(fill(40),)
    )
    assert kinds(concluded(forked)) == ["cancelled"]
    forked.fills[late.base_id] = late
    assert concluded(forked) == []


def test_several_branches_end_as_the_one_that_did_not_fill() -> None:
    first = branch(final=OrderState.FILLED, quantity=d(100))
    second = branch(PERM + 1, final=OrderState.CANCELLED, final_code=202, final_why="operator", quantity=d(150))
    record = with_branches(first, second, fills=(fill(100),))
    assert concluded(record) == [Cancelled(at=UP.now, code=202, why="operator")]


def test_branches_that_are_all_complete_are_filled_though_less_than_the_largest_version() -> None:
    record = with_branches(
        branch(quantity=d(40)),
        branch(PERM + 1, quantity=d(50)),
        fills=(fill(40), fill(50, "e2.01", perm_id=PERM + 1)),
    )
    assert record.filled < record.wanted
    assert concluded(record) == [Filled(at=UP.now)]


def test_a_fork_without_a_quantity_of_its_own_needs_the_orders() -> None:
    one, other = branch(), branch(PERM + 1, quantity=d(30))
    step = Step(with_branches(one, other), UP)
    assert step.needed(one) == 100
    assert step.needed(other) == 30
    assert Step(with_branches(other), UP).needed(other) == 100


def test_the_word_of_the_broker_about_an_end_is_kept_whole() -> None:
    record = with_branches(branch())
    step = Step(record, UP)
    step.end_told(record.branches[PERM], OrderState.CANCELLED, 202, "asked for")
    (told,) = step.changes
    assert told == EndTold(at=UP.now, perm_id=PERM, state=OrderState.CANCELLED, code=202, why="asked for")
