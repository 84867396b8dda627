"""The life of one order, message by message."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ibkr_connector.backends.facts import BrokerFact, NextIdTold, Operation
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import Change, Drifted, FillCorrected, Noted, Settled, SettledHow
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.record import Context, OrderRecord, snapshot
from ibkr_connector.orders.whose import foreign
from unit.orders.kit import (
    ACCOUNT,
    CLIENT_ID,
    DOWN,
    NOW,
    ORDER_ID,
    PERM,
    REF,
    UP,
    commission,
    completed,
    d,
    echo,
    fill,
    kinds,
    market,
    notice,
    request,
    sent,
    state_of,
    status,
)

S = OrderState


def feed(record: OrderRecord, *facts: BrokerFact, ctx: Context = UP) -> list[Change]:
    changes: list[Change] = []
    for fact in facts:
        changes += apply(record, fact, ctx)
    return changes


# --- the ordinary life ------------------------------------------------------------------------------------------------


def test_a_resting_limit_order_goes_from_sending_to_working_to_filled() -> None:
    record = sent()
    assert state_of(record) is S.SENDING
    changes = feed(record, echo(status="PreSubmitted"), status("PreSubmitted"), echo(), status("Submitted"))
    assert kinds(changes) == ["identified", "acknowledged", "echoed", "status", "status"]
    assert (record.state, record.perm_id, record.broker_status) == (S.WORKING, PERM, "Submitted")
    feed(record, fill(40), status("Submitted", 40, 60))
    assert (record.state, record.filled, record.open_quantity) == (S.PARTIALLY_FILLED, d(40), d(60))
    changes = feed(record, fill(60, "e2.01", price="11.00"))
    assert kinds(changes) == ["fill", "filled"]
    assert (record.state, record.filled, record.open_quantity) == (S.FILLED, d(100), d(0))
    assert record.avg_fill_price == d("10.6")


def test_repeated_messages_change_nothing() -> None:
    record = sent()
    script = (echo(), status("Submitted"), fill(40), commission(), status("Submitted", 40, 60))
    feed(record, *script)
    assert feed(record, *script) == []
    feed(record, fill(60, "e2.01"), status("Filled", 100, 0))
    assert feed(record, *script, status("Filled", 100, 0), fill(60, "e2.01")) == []


def test_an_echo_without_a_status_word_leaves_the_known_one() -> None:
    record = sent()
    feed(record, status("Submitted"), echo(status=""))
    assert (record.broker_status, record.state) == ("Submitted", S.WORKING)


def test_nothing_is_judged_before_the_commit() -> None:
    record = steps.new_record(request(), account=ACCOUNT)
    assert feed(record, echo(), fill(100)) == []
    assert (record.state, record.open_quantity) == (S.NEW, d(100))


def test_messages_about_other_things_and_what_ifs_change_nothing() -> None:
    record = sent()
    assert feed(record, NextIdTold(order_id=5), echo(what_if=True)) == []


def test_filled_by_status_alone_is_not_filled_until_the_executions_are_here() -> None:
    record = sent()
    feed(record, echo(), status("Filled", 100, 0))
    assert (record.state, record.filled, record.broker_status) == (S.WORKING, d(0), "Filled")
    assert record.awaiting_executions
    feed(record, fill(60))
    assert (record.state, record.awaiting_executions) == (S.PARTIALLY_FILLED, True)
    changes = feed(record, fill(40, "e2.01"))
    assert kinds(changes) == ["fill", "filled"]
    assert (record.state, record.awaiting_executions) == (S.FILLED, False)


def test_filled_in_an_echo_without_a_count_waits_for_the_whole_quantity() -> None:
    record = sent()
    feed(record, echo(status="Filled"))
    assert record.missing_executions(record.branches[PERM]) == d(100)
    feed(record, fill(100))
    assert state_of(record) is S.FILLED


def test_cancelled_with_a_higher_count_than_executions_waits_for_them() -> None:
    record = sent()
    steps.cancel_sent(record, UP)
    feed(record, echo(), status("Cancelled", 30, 70))
    assert (record.state, record.awaiting_executions) == (S.PENDING_CANCEL, True)
    changes = feed(record, fill(30))
    assert kinds(changes) == ["fill", "cancelled"]
    assert (record.state, record.filled) == (S.CANCELLED, d(30))


def test_a_status_count_never_moves_the_filled_quantity() -> None:
    record = sent()
    feed(record, echo(), status("Submitted", 70, 30))
    assert (record.filled, record.reported, record.state) == (d(0), d(70), S.WORKING)


def test_a_cancel_of_ours_ends_by_status_and_keeps_the_brokers_late_reason() -> None:
    record = sent()
    feed(record, echo())
    assert kinds(steps.cancel_sent(record, UP)) == ["cancel_sent"]
    assert state_of(record) is S.PENDING_CANCEL
    changes = feed(record, status("PendingCancel"), status("Cancelled"), notice(202, "Order Canceled - reason:late"))
    assert kinds(changes) == ["status", "status", "end_told", "cancelled", "noted"]
    assert (record.state, record.why, record.outstanding) == (S.CANCELLED, "Order Canceled - reason:late", set())


def test_202_alone_ends_a_cancelled_order() -> None:
    record = sent()
    feed(record, echo())
    steps.cancel_sent(record, UP)
    feed(record, notice(202, "Order Canceled - reason:"))
    assert state_of(record) is S.CANCELLED
    assert feed(record, notice(202, "Order Canceled - reason:"), status("Cancelled")) == feed(record)


def test_202_after_a_final_status_that_waits_for_executions_does_not_end_twice() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled", 30, 70))
    assert kinds(feed(record, notice(202, "Order Canceled - reason:"))) == []
    assert state_of(record) is S.PENDING_CANCEL


def test_an_expired_order_is_told_apart_from_a_cancelled_one() -> None:
    record = sent()
    feed(record, echo(), notice(202, "Order Canceled - reason:Expired"))
    assert state_of(record) is S.EXPIRED


def test_a_cancel_by_the_broker_shows_as_pending_and_can_be_taken_back() -> None:
    record = sent()
    feed(record, echo(), status("PendingCancel"))
    assert state_of(record) is S.PENDING_CANCEL
    feed(record, status("Submitted"))
    assert state_of(record) is S.WORKING


# --- errors and the operation they answer -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [103, 110, 200, 201, 203, 321, 10318])
def test_a_refusing_code_ends_a_new_order(code: int) -> None:
    record = sent()
    changes = feed(record, notice(code, "no"))
    assert kinds(changes) == ["end_told", "rejected"]
    assert (record.state, record.why, record.ended and record.ended.code) == (S.REJECTED, "no", code)
    assert record.open_quantity == 0


@pytest.mark.parametrize("code", [103, 110, 200, 201, 203, 321, 10318, 135, 10147])
def test_no_code_but_202_ends_a_working_order(code: int) -> None:
    record = sent()
    feed(record, echo())
    changes = feed(record, notice(code, "no"))
    assert kinds(changes) == ["noted"]
    assert (record.state, record.warning) == (S.WORKING, "no")
    assert feed(record, notice(code, "no")) == []


def test_an_error_told_while_the_link_is_down_ends_nothing() -> None:
    record = sent()
    changes = feed(record, notice(200, "No security definition"), notice(202, "x"), ctx=DOWN)
    assert kinds(changes) == ["noted", "noted"]
    assert all(isinstance(change, Noted) and change.ask for change in changes)
    assert state_of(record) is S.SENDING


def test_a_warning_is_shown_and_is_no_reason_to_ask() -> None:
    record = sent()
    (change,) = feed(record, notice(399, "Your order will not be placed at the exchange until tomorrow"))
    assert isinstance(change, Noted)
    assert not change.ask
    assert snapshot(record).warning.startswith("Your order")


def test_a_refused_order_that_has_executions_is_not_refused() -> None:
    record = sent()
    feed(record, fill(10))
    record.outstanding.add(Operation.NEW)
    assert kinds(feed(record, notice(201, "no"))) == ["noted"]
    assert state_of(record) is S.PARTIALLY_FILLED


def test_201_answers_a_change_and_the_order_works_on() -> None:
    record = sent()
    feed(record, echo())
    steps.modify_sent(record, replace(record.terms, limit_price=d("12")), UP)
    changes = feed(record, notice(201, "no"))
    assert kinds(changes) == ["modify_rejected"]
    assert (record.state, record.terms.limit_price, record.proposed) == (S.WORKING, d("10.00"), None)


def test_201_answers_a_cancel_and_the_order_works_on() -> None:
    record = sent()
    feed(record, echo())
    steps.cancel_sent(record, UP)
    assert kinds(feed(record, notice(201, "no"))) == ["cancel_rejected"]
    assert state_of(record) is S.WORKING


def test_201_with_a_change_and_a_cancel_outstanding_decides_nothing() -> None:
    record = sent()
    feed(record, echo())
    steps.modify_sent(record, replace(record.terms, limit_price=d("12")), UP)
    steps.cancel_sent(record, UP)
    (change,) = feed(record, notice(201, "no"))
    assert isinstance(change, Noted)
    assert change.ask
    assert record.outstanding == {Operation.MODIFY, Operation.CANCEL}


@pytest.mark.parametrize(("word", "state"), [("Filled", S.PENDING_CANCEL), ("Cancelled", S.CANCELLED)])
def test_10148_names_the_state_that_stands_in_the_way(word: str, state: OrderState) -> None:
    record = sent()
    feed(record, echo())
    steps.cancel_sent(record, UP)
    feed(record, notice(10148, f"OrderId 11 that needs to be cancelled can not be cancelled, state: {word}."))
    assert state_of(record) is (S.WORKING if word == "Filled" else state)


# --- Inactive ---------------------------------------------------------------------------------------------------------


def test_inactive_alone_is_a_hold() -> None:
    record = sent()
    feed(record, echo(status="Inactive"))
    assert (record.state, record.broker_status, record.open_quantity) == (S.WORKING, "Inactive", d(100))


@pytest.mark.parametrize("first", ["201", "Inactive"])
def test_inactive_beside_a_refusal_is_a_rejection_in_either_order(first: str) -> None:
    record = sent()
    feed(record, echo(status="PreSubmitted"))
    pair = [notice(201, "margin"), status("Inactive")]
    feed(record, *(pair if first == "201" else reversed(pair)))
    assert (record.state, record.why) == (S.REJECTED, "margin")


def test_inactive_with_the_brokers_own_reason_is_a_rejection() -> None:
    record = sent()
    feed(record, echo(status="Inactive", reject_reason="not allowed"))
    assert (record.state, record.why) == (S.REJECTED, "not allowed")


def test_a_refusal_followed_by_a_live_status_is_forgotten() -> None:
    record = sent()
    feed(record, echo(), notice(201, "margin"), status("Submitted"), status("Cancelled"))
    assert state_of(record) is S.CANCELLED


def test_a_partly_filled_order_that_turns_inactive_is_cancelled_not_refused() -> None:
    record = sent()
    feed(record, echo(), fill(10), notice(201, "margin"), status("Inactive", 10, 90))
    assert (record.state, record.filled) == (S.CANCELLED, d(10))


@pytest.mark.parametrize(("tif", "state"), [("IOC", S.CANCELLED), ("FOK", S.CANCELLED), ("DAY", S.WORKING)])
def test_inactive_ends_an_order_that_cannot_rest(tif: str, state: OrderState) -> None:
    record = sent(request(tif=tif))
    feed(record, echo(record), status("Inactive"))
    assert state_of(record) is state


def test_an_order_held_for_a_locate_is_live_whatever_its_tif() -> None:
    record = sent(request(tif="FOK"))
    feed(record, echo(record, "PreSubmitted"), status("Inactive", why_held="locate"))
    assert state_of(record) is S.WORKING


# --- what is over stays over, but executions and presence win ---------------------------------------------------------


def test_late_statuses_do_not_bring_a_finished_order_back() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled"))
    assert feed(record, status("Submitted"), status("PreSubmitted"), status("Cancelled")) == []
    assert state_of(record) is S.CANCELLED


def test_a_live_echo_of_a_finished_order_is_a_reason_to_ask_once() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled"))
    (change,) = feed(record, echo(), echo())
    assert isinstance(change, Noted)
    assert change.ask
    assert state_of(record) is S.CANCELLED


def test_a_fill_after_the_cancel_moves_the_quantity() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled"))
    feed(record, fill(40))
    assert (record.state, record.filled) == (S.CANCELLED, d(40))
    changes = feed(record, fill(60, "e2.01"))
    assert kinds(changes) == ["fill", "filled"]
    assert (record.state, record.filled) == (S.FILLED, d(100))


def test_a_late_status_that_counts_more_asks_for_executions_of_a_finished_order() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled"))
    assert kinds(feed(record, status("Submitted", 40, 60))) == ["status"]
    assert record.awaiting_executions
    assert record.broker_status == "Cancelled"
    assert kinds(feed(record, status("Filled", 100, 0))) == ["status", "end_told"]
    assert state_of(record) is S.CANCELLED
    feed(record, fill(100))
    assert state_of(record) is S.FILLED


def test_filled_after_cancelled_wins_while_executions_are_missing() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled", 30, 70), status("Filled", 100, 0))
    feed(record, fill(30))
    assert state_of(record) is S.PARTIALLY_FILLED
    feed(record, fill(70, "e2.01"))
    assert state_of(record) is S.FILLED


def test_an_execution_revives_a_rejected_order() -> None:
    record = sent()
    feed(record, notice(201, "no"))
    changes = feed(record, fill(40))
    assert kinds(changes) == ["identified", "revived", "fill"]
    assert (record.state, record.open_quantity) == (S.PARTIALLY_FILLED, d(60))


@pytest.mark.parametrize(
    ("fact", "state"),
    [
        (echo(), S.WORKING),
        (echo(status="Inactive"), S.WORKING),
        (status("Submitted"), S.WORKING),
        (fill(40), S.PARTIALLY_FILLED),
        (fill(100), S.FILLED),
        (completed("Cancelled"), S.CANCELLED),
        (completed("Filled", 100), S.WORKING),
    ],
)
def test_presence_proves_never_arrived_wrong(fact: BrokerFact, state: OrderState) -> None:
    record = sent()
    steps.enter_doubt(record, Operation.NEW, "silence", UP)
    steps.settle_absent(record, Operation.NEW, "two rounds", UP)
    assert state_of(record) is S.NOT_SENT
    changes = feed(record, fact)
    assert "revived" in kinds(changes)
    assert state_of(record) is state


# --- executions -------------------------------------------------------------------------------------------------------


def test_a_correction_replaces_the_execution() -> None:
    record = sent()
    feed(record, echo(), fill(100, "e1.01", price="10"), commission("e1.01"))
    (change,) = feed(record, fill(100, "e1.02", price="9"))
    assert isinstance(change, FillCorrected)
    assert change.replaces == "e1.01"
    assert (record.filled, record.avg_fill_price, record.commission) == (d(100), d(9), None)
    feed(record, commission("e1.02", "2"))
    assert record.commission == d(2)
    assert feed(record, fill(100, "e1.01", price="10"), commission("e1.01", "7")) == []


def test_a_correction_downwards_does_not_leave_the_order_waiting() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled", 40, 60), fill(30, "e1.01"))
    feed(record, fill(20, "e1.02"))
    assert record.reported == d(30)
    feed(record, fill(10, "e2.01"))
    assert (record.state, record.filled) == (S.CANCELLED, d(30))


def test_a_correction_of_an_unknown_execution_is_an_execution() -> None:
    record = sent()
    assert kinds(feed(record, fill(100, "e1.02"))) == ["identified", "acknowledged", "fill", "filled"]


def test_an_execution_id_without_a_number_is_its_own() -> None:
    record = sent()
    feed(record, fill(40, "late-exec-13"), fill(60, "late-exec-14"), fill(40, "late-exec-13"))
    assert record.filled == d(100)


def test_the_commission_comes_with_the_report_or_with_a_repeated_execution() -> None:
    record = sent()
    feed(record, fill(40))
    assert kinds(feed(record, commission("e1.01", "1.5"), commission("e1.01", "1.5"))) == ["commission"]
    assert feed(record, commission("unknown.01")) == []
    feed(record, fill(60, "e2.01"))
    again = fill(60, "e2.01", commission=d("0.5"), commission_currency="USD", realized_pnl=d(3))
    assert kinds(feed(record, again, again)) == ["commission"]
    assert record.commission == d("2.0")
    shown = snapshot(record)
    assert [(one.exec_id, one.commission) for one in shown.fills] == [("e1.01", d("1.5")), ("e2.01", d("0.5"))]
    assert shown.to_dict()["commission"] == 2.0


# --- permIds and forks ------------------------------------------------------------------------------------------------


def test_the_perm_id_may_come_later_than_the_first_status() -> None:
    record = sent()
    feed(record, status("PreSubmitted", perm_id=0))
    assert (record.state, record.perm_id) == (S.WORKING, 0)
    feed(record, echo())
    assert (record.perm_ids, record.broker_status) == (frozenset({PERM}), "Submitted")
    feed(record, status("Submitted", perm_id=0), fill(100, perm_id=0))
    assert state_of(record) is S.FILLED


def test_a_second_perm_id_under_our_ref_is_a_fork_counted_in_full() -> None:
    record = sent()
    feed(record, echo(), fill(30))
    changes = feed(record, echo(perm_id=PERM + 1, order_id=12))
    assert kinds(changes)[0] == "forked"
    assert record.is_forked
    assert record.open_quantity == d(170)
    assert {branch.order_id for branch in record.cancel_targets()} == {ORDER_ID, 12}
    feed(record, status("Cancelled", 30, 70))
    assert (record.state, record.open_quantity) == (S.PARTIALLY_FILLED, d(100))
    assert [branch.perm_id for branch in record.cancel_targets()] == [PERM + 1]
    feed(record, status("Cancelled", perm_id=PERM + 1, order_id=12))
    assert (record.state, record.filled, record.cancel_targets()) == (S.CANCELLED, d(30), ())


def test_a_change_that_became_a_second_order_did_not_change_the_first() -> None:
    record = sent()
    feed(record, echo())
    steps.modify_sent(record, replace(record.terms, quantity=d(150)), UP)
    feed(record, echo(perm_id=PERM + 1, quantity=d(150)))
    assert (record.terms.quantity, record.outstanding, record.open_quantity) == (d(100), {Operation.MODIFY}, d(300))


def test_both_orders_of_a_fork_can_fill() -> None:
    record = sent()
    feed(record, echo(), echo(perm_id=PERM + 1), fill(100), fill(100, "e2.01", perm_id=PERM + 1))
    assert (record.state, record.filled) == (S.FILLED, d(200))


def test_missing_executions_of_a_fork_still_count() -> None:
    record = sent()
    feed(record, echo(), echo(perm_id=PERM + 1), status("Filled", 100, 0))
    assert record.open_quantity == d(200)


def test_an_execution_reveals_a_fork_of_a_finished_order_and_a_completed_order_is_no_proof() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled"))
    changes = feed(record, fill(10, "f.01", perm_id=PERM + 1))
    assert kinds(changes) == ["forked", "revived", "fill"]
    assert (record.state, record.open_quantity) == (S.PARTIALLY_FILLED, d(90))
    other = sent()
    feed(other, echo(), status("Cancelled"))
    changes = feed(other, completed("Filled", 100, perm_id=PERM + 1))
    assert kinds(changes) == ["noted"]  # it names no client: another program may use our ref
    assert (other.state, other.awaiting_executions) == (S.CANCELLED, False)


def test_a_live_fork_of_a_finished_order_revives_it_and_an_ended_one_does_not() -> None:
    record = sent()
    feed(record, echo(), status("Cancelled"))
    feed(record, echo(perm_id=PERM + 1))
    assert record.open_quantity == d(100)
    other = sent()
    feed(other, echo(), status("Cancelled"))
    assert kinds(feed(other, echo(perm_id=PERM + 1, status="Cancelled"))) == ["forked", "status", "end_told"]
    assert state_of(other) is S.CANCELLED


def test_errors_about_a_forked_order_end_nothing() -> None:
    record = sent()
    feed(record, echo(), echo(perm_id=PERM + 1))
    assert kinds(feed(record, notice(202, "Order Canceled - reason:"))) == ["noted"]


def test_another_perm_id_without_our_ref_is_no_fork() -> None:
    record = sent()
    feed(record, echo())
    before = record.open_quantity
    assert kinds(feed(record, status("Submitted", perm_id=5))) == ["noted"]
    assert feed(record, status("Cancelled", perm_id=5)) == []
    assert feed(record, echo(perm_id=5, order_ref="other")) == []
    assert feed(record, fill(100, perm_id=5, order_ref="other")) == []
    assert feed(record, completed(perm_id=5, order_ref="other")) == []
    assert (record.is_forked, record.open_quantity, record.state) == (False, before, S.WORKING)


def test_a_message_without_perm_id_and_with_another_number_is_about_nothing_certain() -> None:
    record = sent()
    assert feed(record, status("Submitted", perm_id=0, order_id=99)) == []


# --- doubt ------------------------------------------------------------------------------------------------------------


def test_losing_the_link_puts_every_unanswered_operation_in_doubt() -> None:
    record = sent()
    changes = steps.link_lost(record, "1100", DOWN)
    assert kinds(changes) == ["entered_doubt"]
    assert (record.state, record.in_doubt, record.open_quantity) == (S.IN_DOUBT, True, d(100))
    assert steps.link_lost(record, "1100", DOWN) == []
    feed(record, echo(), ctx=UP)
    assert (record.state, record.in_doubt) == (S.WORKING, False)


def test_presence_at_the_gateway_alone_settles_only_while_the_link_is_up() -> None:
    record = sent()
    steps.link_lost(record, "1100", DOWN)
    feed(record, echo(status="PendingSubmit"), ctx=DOWN)
    assert state_of(record) is S.IN_DOUBT
    changes = feed(record, echo(status="PendingSubmit"), ctx=replace(UP, epoch=2))
    settled = [change for change in changes if isinstance(change, Settled)]
    assert [change.how for change in settled] == [SettledHow.PRESENT]
    assert state_of(record) is S.SENDING
    assert Operation.NEW in record.outstanding


def test_a_rejection_ends_the_doubt() -> None:
    record = sent()
    steps.enter_doubt(record, Operation.NEW, "silence", UP)
    changes = feed(record, notice(201, "no"))
    assert kinds(changes) == ["end_told", "settled", "rejected"]


def test_a_change_in_doubt_counts_both_versions_until_the_echo() -> None:
    record = sent()
    feed(record, echo(), fill(10))
    new = replace(record.terms, quantity=d(150))
    steps.modify_sent(record, new, UP)
    steps.link_lost(record, "gone", DOWN)
    assert (record.state, record.in_doubt, record.open_quantity) == (S.PARTIALLY_FILLED, True, d(140))
    feed(record, echo())
    assert record.in_doubt
    changes = feed(record, echo(quantity=d(150)))
    assert kinds(changes) == ["echoed", "settled", "modify_acknowledged"]
    assert (record.terms.quantity, record.in_doubt, record.open_quantity) == (d(150), False, d(140))


def test_a_refused_change_in_doubt_is_settled() -> None:
    record = sent()
    feed(record, echo())
    steps.modify_sent(record, replace(record.terms, limit_price=d(9)), UP)
    steps.enter_doubt(record, Operation.MODIFY, "silence", UP)
    assert kinds(feed(record, notice(104, "Can't modify a filled order."))) == ["settled", "modify_rejected"]


def test_an_order_filled_at_the_old_quantity_waits_for_the_answer_to_a_larger_one() -> None:
    record = sent()
    feed(record, echo())
    steps.modify_sent(record, replace(record.terms, quantity=d(150)), UP)
    feed(record, fill(100))
    assert state_of(record) is S.PARTIALLY_FILLED
    changes = feed(record, notice(104, "Can't modify a filled order."))
    assert kinds(changes) == ["modify_rejected", "filled"]


def test_the_end_of_an_order_settles_all_its_doubts() -> None:
    record = sent()
    feed(record, echo())
    steps.cancel_sent(record, UP)
    steps.modify_sent(record, replace(record.terms, quantity=d(150)), UP)
    steps.link_lost(record, "gone", DOWN)
    assert set(record.doubts) == {Operation.CANCEL, Operation.MODIFY}
    changes = feed(record, status("Cancelled"))
    assert kinds(changes) == ["status", "end_told", "settled", "settled", "cancelled"]


def test_completed_orders_tell_how_it_ended() -> None:
    for word, told, expected in (
        ("Cancelled", "Cancelled by Trader", S.CANCELLED),
        ("Cancelled", "Rejected by System: no", S.REJECTED),
        ("Cancelled", "Order expired", S.EXPIRED),
        ("Inactive", "", S.CANCELLED),
    ):
        record = sent()
        feed(record, completed(word, 0, told))
        assert (record.state, record.why) == (expected, told)
    record = sent()
    feed(record, fill(100), completed("Filled", 100))
    assert state_of(record) is S.FILLED
    record = sent()
    feed(record, completed("Filled", 100))
    assert state_of(record) is S.WORKING
    assert feed(record, completed("Filled", 100)) == []
    feed(record, fill(100))
    assert state_of(record) is S.FILLED


def test_a_completed_order_tells_which_version_was_in_force() -> None:
    record = sent()
    feed(record, echo())
    steps.modify_sent(record, replace(record.terms, quantity=d(150)), UP)
    steps.link_lost(record, "gone", DOWN)
    changes = feed(record, completed("Cancelled", 0, quantity=d(150)))
    assert "modify_acknowledged" in kinds(changes)
    assert (record.state, record.terms.quantity) == (S.CANCELLED, d(150))


# --- echo against intent ----------------------------------------------------------------------------------------------


def test_drift_is_told_once_with_its_fields_and_again_when_it_is_gone() -> None:
    record = sent()
    (change,) = [one for one in feed(record, echo(tif="GTC"), echo(tif="GTC")) if isinstance(one, Drifted)]
    assert [(one.field, one.intended, one.echoed) for one in change.fields] == [("tif", "DAY", "GTC")]
    assert not change.severe
    (change,) = [one for one in feed(record, echo()) if isinstance(one, Drifted)]
    assert change.fields == ()


@pytest.mark.parametrize(
    "values",
    [{"action": "SELL"}, {"account": "DU2"}, {"quantity": d(200)}, {"contract": replace(echo().contract, con_id=1)}],
)
def test_drift_in_side_account_contract_or_quantity_is_severe(values: dict[str, Any]) -> None:
    record = sent()
    (change,) = [one for one in feed(record, echo(**values)) if isinstance(one, Drifted)]
    assert change.severe


def test_a_larger_echoed_quantity_counts() -> None:
    record = sent()
    feed(record, echo(quantity=d(250)))
    assert record.open_quantity == d(250)
    feed(record, fill(100))
    assert state_of(record) is S.PARTIALLY_FILLED


def test_the_echo_of_either_version_of_a_change_is_no_drift() -> None:
    record = sent()
    feed(record, echo())
    steps.modify_sent(record, replace(record.terms, limit_price=d(9)), UP)
    assert not [one for one in feed(record, echo(), echo(limit_price=d(9))) if isinstance(one, Drifted)]


def test_an_echo_in_a_new_connection_is_remembered_once() -> None:
    record = sent()
    feed(record, echo())
    assert record.echoed_epoch == 1
    later = replace(UP, epoch=2)
    assert kinds(feed(record, echo(), echo(), ctx=later)) == ["echoed"]
    assert record.echoed_epoch == 2


def test_an_echo_without_our_ref_does_not_vouch_for_the_connection() -> None:
    record = sent()
    feed(record, echo(order_ref=""))
    assert record.echoed_epoch is None
    assert feed(record, echo(order_ref="")) == []
    other = sent()
    feed(other, echo(), ctx=replace(UP, epoch=0))
    feed(other, echo(perm_id=0, quantity=d(80)))
    assert (other.echoed_epoch, other.wanted, len(other.branches)) == (0, d(100), 1)
    assert other.branches[PERM].quantity == d(80)


# --- orders of others -------------------------------------------------------------------------------------------------


def test_an_echo_makes_a_foreign_record_that_follows_the_broker() -> None:
    fact = echo(perm_id=77, client_id=9, order_id=5, order_ref="theirs", action="SELL")
    record = foreign(fact, UP)
    assert record is not None
    feed(record, fact)
    assert (record.ref, record.broker_ref, record.ours, record.state) == ("perm/77", "theirs", False, S.WORKING)
    feed(record, replace(fact, quantity=d(60), tif="GTC"))
    assert (record.terms.quantity, record.terms.tif, record.drift) == (d(60), "GTC", ())
    assert not snapshot(record).ours


def test_a_foreign_order_without_perm_id_is_named_by_client_and_number() -> None:
    fact = echo(perm_id=0, client_id=9, order_id=5, order_ref="")
    record = foreign(fact, UP)
    assert record is not None
    feed(record, fact)
    assert (record.ref, record.state) == ("client/9/5", S.WORKING)


def test_executions_make_a_foreign_record_that_grows_until_an_echo_tells_its_size() -> None:
    first = fill(40, "x.01", perm_id=77, order_ref="", cum_quantity=d(40), side="SELL")
    record = foreign(first, UP)
    assert record is not None
    feed(record, first)
    assert (record.state, record.filled, record.terms.quantity) == (S.FILLED, d(40), d(40))
    feed(record, fill(10, "y.01", perm_id=77, order_ref=""))
    assert (record.filled, record.terms.quantity) == (d(50), d(50))
    feed(record, echo(perm_id=77, order_ref=""))
    assert (record.state, record.open_quantity) == (S.PARTIALLY_FILLED, d(50))


def test_an_execution_without_any_number_is_named_by_its_own_id() -> None:
    record = foreign(fill(40, "x.01", perm_id=0, order_ref=""), UP)
    assert record is not None
    assert record.ref == "exec/x"


def test_a_completed_foreign_order_is_done() -> None:
    fact = completed("Cancelled", perm_id=78, order_ref="theirs", action="SELL")
    record = foreign(fact, UP)
    assert record is not None
    feed(record, fact)
    assert (record.ref, record.state, record.terms.action.value) == ("perm/78", S.CANCELLED, "SELL")


def test_other_messages_make_no_record() -> None:
    assert foreign(status("Submitted"), UP) is None


def test_an_error_about_an_order_nothing_is_known_of_is_a_note() -> None:
    fact = fill(10, perm_id=77, order_ref="")
    record = foreign(fact, UP)
    assert record is not None
    assert kinds(feed(record, notice(201, "no"))) == ["noted"]


# --- snapshots --------------------------------------------------------------------------------------------------------


def test_a_snapshot_says_what_is_known() -> None:
    record = steps.new_record(request(agent="momentum"), account=ACCOUNT, group="G", parent_ref="P")
    assert snapshot(record).state is S.NEW
    steps.committed(record, order_id=ORDER_ID, client_id=CLIENT_ID, ctx=UP)
    feed(record, echo(), fill(40), ctx=replace(UP, now=NOW + timedelta(seconds=5)))
    shown = snapshot(record)
    assert (shown.order_ref, shown.order_id, shown.perm_id, shown.client_id) == (REF, ORDER_ID, PERM, CLIENT_ID)
    assert (shown.agent, shown.parent_ref, shown.filled, shown.remaining) == ("momentum", "P", d(40), d(60))
    assert (shown.created_at, shown.updated_at) == (NOW, NOW + timedelta(seconds=5))


def test_a_market_order_has_no_prices_in_its_snapshot() -> None:
    record = sent(market())
    feed(record, echo(record, limit_price=d(0)))
    assert (snapshot(record).limit_price, record.drift) == (None, ())


def test_cancel_targets_before_the_broker_answered_is_the_order_id() -> None:
    record = sent()
    assert [(one.order_id, one.client_id) for one in record.cancel_targets()] == [(ORDER_ID, CLIENT_ID)]
    new = steps.new_record(request(), account=ACCOUNT)
    assert [one.order_id for one in new.cancel_targets()] == [0]


@pytest.mark.parametrize(
    "record", [lambda: sent(request(oca_group="g", oca_type=2)), lambda: sent_child()], ids=["oca", "bracket's exit"]
)
def test_an_order_that_its_group_reduced_is_as_large_as_the_broker_shows_it(record: Callable[[], OrderRecord]) -> None:
    order = record()
    group = order.terms.oca_group or "made-up"
    apply(order, echo(order, oca_group=group), UP)
    apply(order, echo(order, oca_group=group, quantity=d(40)), UP)
    assert order.drift == ()
    shown = order.to_snapshot()
    assert [order.open_quantity, shown.quantity, shown.remaining] == [40, 40, 40]
    apply(order, fill(40), UP)
    apply(order, status("Filled", 40, 0), UP)
    assert order.state is OrderState.FILLED
    assert order.to_snapshot().remaining == 0


def test_an_order_without_a_group_that_shrank_has_drifted() -> None:
    record = sent()
    apply(record, echo(record, quantity=d(40)), UP)
    assert [one.field for one in record.drift] == ["quantity"]
    assert record.open_quantity == 100


def sent_child() -> OrderRecord:
    record = sent()
    record.group = record.parent_ref = "PARENT"
    return record
