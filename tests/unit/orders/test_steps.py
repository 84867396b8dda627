"""Our own steps: what they change, and that repeating them changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import InvalidRequest
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.record import OrderRecord
from unit.orders.kit import DOWN, PERM, UP, d, echo, fill, kinds, notice, sent, status

S = OrderState


def working() -> OrderRecord:
    record = sent()
    apply(record, echo(), UP)
    return record


def test_not_sent_frees_the_ref_and_a_second_attempt_starts_afresh() -> None:
    record = sent()
    steps.not_sent(record, "no slot", UP)
    assert record.ended is not None
    assert (record.state, record.ended.reusable, record.why) == (S.NOT_SENT, True, "no slot")
    steps.committed(record, order_id=99, client_id=3, ctx=UP)
    assert (record.state, record.order_id, record.why, record.outstanding) == (S.SENDING, 99, "", {Operation.NEW})


def test_never_arrived_does_not_free_the_ref() -> None:
    record = sent()
    steps.enter_doubt(record, Operation.NEW, "silence", UP)
    assert kinds(steps.settle_absent(record, Operation.NEW, "two rounds", UP)) == ["settled", "never_arrived"]
    assert record.ended is not None
    assert (record.state, record.ended.reusable) == (S.NOT_SENT, False)
    assert steps.settle_absent(record, Operation.NEW, "two rounds", UP) == []


def test_a_change_or_cancel_that_never_arrived_leaves_the_order_as_it_was() -> None:
    record = working()
    steps.modify_sent(record, replace(record.terms, quantity=d(150)), UP)
    steps.cancel_sent(record, UP)
    steps.link_lost(record, "gone", DOWN)
    assert kinds(steps.settle_absent(record, Operation.MODIFY, "shown as it was", UP)) == ["settled"]
    assert kinds(steps.settle_absent(record, Operation.CANCEL, "shown as it was", UP)) == ["settled"]
    assert (record.state, record.terms.quantity, record.outstanding, record.open_quantity) == (
        S.WORKING,
        d(100),
        set(),
        d(100),
    )


def test_an_order_filled_meanwhile_ends_when_the_larger_version_is_settled_as_absent() -> None:
    record = working()
    steps.modify_sent(record, replace(record.terms, quantity=d(150)), UP)
    steps.link_lost(record, "gone", DOWN)
    apply(record, fill(100), UP)
    assert kinds(steps.settle_absent(record, Operation.MODIFY, "gone", UP)) == ["settled", "filled"]


def test_a_cancel_of_an_ended_order_is_nothing() -> None:
    record = working()
    apply(record, status("Cancelled"), UP)
    assert steps.cancel_sent(record, UP) == []
    assert steps.lose_sight(record, "x", UP) == []
    assert steps.expire_unseen(record, "x", UP) == []


def test_sending_a_doubtful_cancel_again_ends_its_doubt() -> None:
    record = working()
    steps.cancel_sent(record, UP)
    steps.link_lost(record, "gone", DOWN)
    assert record.in_doubt
    steps.cancel_sent(record, replace(UP, epoch=2))
    assert (record.in_doubt, record.sent_epochs[Operation.CANCEL]) == (False, 2)


def test_only_what_is_unanswered_can_be_in_doubt() -> None:
    record = working()
    assert steps.enter_doubt(record, Operation.NEW, "x", UP) == []
    assert steps.link_lost(record, "x", UP) == []


def test_an_order_lost_from_sight_is_in_doubt_until_it_is_seen() -> None:
    record = working()
    assert kinds(steps.lose_sight(record, "not listed", UP)) == ["entered_doubt"]
    assert steps.lose_sight(record, "not listed", UP) == []
    assert (record.state, record.open_quantity) == (S.IN_DOUBT, d(100))
    apply(record, echo(), replace(UP, epoch=2))
    assert (record.state, record.in_doubt) == (S.WORKING, False)


def test_a_day_order_of_yesterday_expires_and_a_late_execution_wakes_nothing() -> None:
    record = working()
    steps.cancel_sent(record, UP)
    steps.link_lost(record, "gone", DOWN)
    changes = steps.expire_unseen(record, "not listed", UP)
    assert kinds(changes) == ["settled", "end_told", "expired"]
    apply(record, fill(10), UP)
    assert (record.state, record.filled, record.open_quantity) == (S.EXPIRED, d(10), d(0))


def test_an_end_by_hand_touches_only_what_the_broker_has_not_ended() -> None:
    record = working()
    apply(record, echo(perm_id=PERM + 1), UP)
    apply(record, status("Cancelled"), UP)
    assert kinds(steps.expire_unseen(record, "not listed", UP)) == ["end_told", "expired"]
    assert [branch.final for branch in record.branches.values()] == [S.CANCELLED, S.EXPIRED]


@pytest.mark.parametrize("state", [S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.NOT_SENT])
def test_an_operator_can_end_a_doubtful_order(state: OrderState) -> None:
    record = sent()
    steps.enter_doubt(record, Operation.NEW, "silence", UP)
    changes = steps.resolve(record, state, evidence="statement of 12 March", operator="jo", ctx=UP)
    assert kinds(changes)[:2] == ["resolved", "settled"]
    assert (record.state, record.why, record.in_doubt) == (state, "statement of 12 March", False)
    assert record.ended is not None
    assert not record.ended.reusable


def test_after_an_operators_word_missing_executions_are_not_awaited() -> None:
    record = working()
    apply(record, status("Filled", 100, 0), UP)
    assert record.awaiting_executions
    changes = steps.resolve(record, S.FILLED, evidence="statement", operator="jo", ctx=UP)
    assert kinds(changes) == ["resolved", "end_told", "filled"]
    assert (record.state, record.filled, record.awaiting_executions) == (S.FILLED, d(0), False)
    silent = sent()
    steps.enter_doubt(silent, Operation.NEW, "silence", UP)
    steps.resolve(silent, S.FILLED, evidence="statement", operator="jo", ctx=UP)
    assert not silent.awaiting_executions
    apply(silent, fill(100), UP)
    assert (silent.state, silent.filled) == (S.FILLED, d(100))


def test_what_the_broker_shows_wins_over_the_operator() -> None:
    record = sent()
    steps.enter_doubt(record, Operation.NEW, "silence", UP)
    steps.resolve(record, S.NOT_SENT, evidence="nothing there", operator="jo", ctx=UP)
    apply(record, echo(), UP)
    assert record.state is S.WORKING


def test_a_resolution_needs_an_end_evidence_and_an_open_order() -> None:
    record = working()
    for state, evidence, field in ((S.WORKING, "x", "as_"), (S.FILLED, " ", "evidence")):
        with pytest.raises(InvalidRequest) as caught:
            steps.resolve(record, state, evidence=evidence, operator="jo", ctx=UP)
        assert caught.value.context["field"] == field
    apply(record, status("Cancelled"), UP)
    with pytest.raises(InvalidRequest, match="ended already"):
        steps.resolve(record, S.FILLED, evidence="x", operator="jo", ctx=UP)


def test_an_order_that_resurfaces_is_live_again() -> None:
    record = sent()
    assert steps.revive(record, PERM, "listed as open", UP) == []
    apply(record, echo(), UP)
    apply(record, notice(202, "Order Canceled - reason:"), UP)
    assert kinds(steps.revive(record, PERM, "listed as open", UP)) == ["revived"]
    assert (record.state, record.open_quantity) == (S.WORKING, d(100))
    apply(record, status("Cancelled"), UP)
    assert record.state is S.CANCELLED
