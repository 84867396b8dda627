"""What evidence proves, and above all what it does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.backends.base import ExecutionRecords, OrderRecords
from ibkr_connector.backends.facts import Operation
from ibkr_connector.models.account import Execution
from ibkr_connector.orders import steps
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.reconcile import (
    EvidenceRound,
    Reconciler,
    SettledAbsent,
    SettleRules,
    StillInDoubt,
    broker_day,
    resurfaced,
    unseen,
)
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.recover import recover
from ibkr_connector.orders.whose import foreign
from unit.orders.kit import (
    ACCOUNT,
    CLIENT_ID,
    DOWN,
    NOW,
    PERM,
    REF,
    UP,
    completed,
    d,
    echo,
    fill,
    journal_order,
    request,
    sent,
    status,
)

NEW, MODIFY, CANCEL = Operation.NEW, Operation.MODIFY, Operation.CANCEL
TODAY = broker_day(NOW)
LATER = NOW + timedelta(hours=1)


def evidence(
    at: float,
    *,
    epoch: int = 2,
    took: float = 1.0,
    open_: tuple[Any, ...] = (),
    done: tuple[Any, ...] = (),
    executions: tuple[Execution, ...] = (),
    lacking: str = "",
    started_at: datetime = LATER,
) -> EvidenceRound:
    return EvidenceRound.of(
        OrderRecords(echoes=open_, complete=lacking != "open"),
        OrderRecords(completed=done, complete=lacking != "completed"),
        ExecutionRecords(executions=executions, complete=lacking != "executions"),
        started=at,
        finished=at + took,
        started_at=started_at,
        epoch=epoch,
    )


def doubtful(operation: Operation = NEW) -> OrderRecord:
    record = sent()
    if operation is not NEW:
        apply(record, echo(), UP)
    if operation is MODIFY:
        steps.modify_sent(record, replace(record.terms, quantity=d(150)), UP)
    if operation is CANCEL:
        steps.cancel_sent(record, UP)
    steps.link_lost(record, "socket closed", DOWN)
    assert operation in record.doubts
    return record


def reconnected(at: float = 100.0) -> Reconciler:
    """The order was written to connection 1; this is connection 2, its link up since `at`."""
    reconciler = Reconciler()
    reconciler.connected(2)
    reconciler.link(up=True, at=at)
    return reconciler


def still(decision: object) -> StillInDoubt:
    assert isinstance(decision, StillInDoubt), decision
    return decision


# --- absence of a new order -------------------------------------------------------------------------------------------


def test_two_complete_rounds_after_thirty_seconds_of_link_prove_absence() -> None:
    reconciler, record = reconnected(), doubtful()
    assert reconciler.add(evidence(130.0))
    assert reconciler.add(evidence(141.0))
    decision = reconciler.decide(record, NEW, today=TODAY)
    assert isinstance(decision, SettledAbsent)
    assert (decision.ref, decision.operation) == (REF, NEW)
    assert "2 complete rounds 10.0 s apart on connection 2, link up for 30 s" in decision.evidence


def test_time_alone_settles_nothing() -> None:
    reconciler, record = reconnected(), doubtful()
    decision = still(reconciler.decide(record, NEW, today=TODAY))
    assert decision.missing == ("0 of 2 complete rounds of evidence",)
    assert (decision.next_round_at, decision.needs_operator, decision.needs_new_connection) == (130.0, False, False)
    assert decision.why == "new not settled: 0 of 2 complete rounds of evidence"


@pytest.mark.parametrize(
    ("second", "counts"),
    [
        ({"at": 140.9}, False),
        ({"at": 141.0}, True),
        ({"at": 141.0, "epoch": 1}, False),
        ({"at": 141.0, "lacking": "open"}, False),
        ({"at": 141.0, "lacking": "completed"}, False),
        ({"at": 141.0, "lacking": "executions"}, False),
    ],
)
def test_a_round_counts_only_when_it_is_complete_late_enough_and_of_this_connection(
    second: dict[str, Any], counts: bool
) -> None:
    reconciler, record = reconnected(), doubtful()
    assert reconciler.add(evidence(130.0))
    assert reconciler.add(evidence(**second)) is counts
    assert isinstance(reconciler.decide(record, NEW, today=TODAY), SettledAbsent) is counts


def test_a_round_before_the_link_was_up_long_enough_does_not_count() -> None:
    reconciler = reconnected()
    assert not reconciler.add(evidence(129.9))
    assert reconciler.next_round_at() == 130.0


def test_the_missing_end_marker_is_named() -> None:
    reconciler, record = reconnected(), doubtful()
    reconciler.add(evidence(130.0, lacking="executions"))
    decision = still(reconciler.decide(record, NEW, today=TODAY))
    assert decision.missing == ("0 of 2 complete rounds of evidence (the last one lacked the end of executions)",)


def test_losing_the_link_or_the_connection_starts_the_evidence_over() -> None:
    for spoil in ("link", "connection", "socket"):
        reconciler, record = reconnected(), doubtful()
        reconciler.add(evidence(130.0))
        if spoil == "link":
            reconciler.link(up=False, at=135.0)
            assert still(reconciler.decide(record, NEW, today=TODAY)).missing == ("the broker link is down",)
            assert not reconciler.add(evidence(141.0))
            reconciler.link(up=True, at=136.0)
        elif spoil == "socket":
            reconciler.disconnected()
            assert reconciler.next_round_at() is None
            decision = still(reconciler.decide(record, NEW, today=TODAY))
            assert (decision.missing, decision.next_round_at) == (("there is no connection",), None)
            reconciler.connected(3)
            assert reconciler.next_round_at() is None
            reconciler.link(up=True, at=136.0)
        else:
            reconciler.connected(3)
            reconciler.link(up=True, at=136.0)
        assert reconciler.next_round_at() == 166.0
        assert isinstance(reconciler.decide(record, NEW, today=TODAY), StillInDoubt)


def test_repeating_that_the_link_is_up_does_not_start_its_time_over() -> None:
    reconciler = reconnected()
    reconciler.link(up=True, at=125.0)
    assert reconciler.next_round_at() == 130.0


def test_absence_is_never_said_while_the_connection_it_was_written_to_is_open() -> None:
    record = sent(ctx=replace(UP, epoch=2))
    steps.enter_doubt(record, NEW, "silence", UP)
    reconciler = reconnected()
    reconciler.add(evidence(130.0))
    reconciler.add(evidence(141.0))
    decision = still(reconciler.decide(record, NEW, today=TODAY))
    assert decision.missing == ("the connection it was written to is still open",)
    assert (decision.needs_new_connection, decision.next_round_at) == (True, None)


def test_the_connection_of_an_ended_process_is_closed() -> None:
    record, _ = recover(journal_order(), replace(UP, epoch=2))
    reconciler = reconnected()
    reconciler.add(evidence(130.0))
    reconciler.add(evidence(141.0))
    assert isinstance(reconciler.decide(record, NEW, today=TODAY), SettledAbsent)


def test_another_broker_day_never_settles_by_absence() -> None:
    reconciler, record = reconnected(), doubtful()
    reconciler.add(evidence(130.0))
    reconciler.add(evidence(141.0))
    decision = still(reconciler.decide(record, NEW, today=TODAY + timedelta(days=1)))
    assert (decision.needs_operator, decision.next_round_at) == (True, None)
    assert "2026-03-12" in decision.why


def test_the_broker_day_is_new_yorks() -> None:
    assert broker_day(datetime(2026, 3, 12, 3, 59, tzinfo=UTC)) == date(2026, 3, 11)
    assert broker_day(datetime(2026, 3, 12, 4, 1, tzinfo=UTC)) == date(2026, 3, 12)


@pytest.mark.parametrize("where", ["open", "completed", "executions"])
def test_presence_anywhere_settles_at_once_even_in_an_incomplete_round(where: str) -> None:
    reconciler, record = reconnected(), doubtful()
    answers: dict[str, dict[str, Any]] = {
        "open": {"open_": (echo(status="PendingSubmit"),)},
        "completed": {"done": (completed(),)},
        "executions": {"executions": (fill(1).execution,)},
    }
    reconciler.add(evidence(101.0, lacking="open", **answers[where]))
    assert reconciler.decide(record, NEW, today=TODAY) is None


def test_what_the_gateway_alone_holds_while_the_link_is_down_is_not_present() -> None:
    reconciler, record = Reconciler(), doubtful()
    reconciler.connected(2)
    reconciler.add(evidence(101.0, open_=(echo(status="PendingSubmit"),)))
    assert still(reconciler.decide(record, NEW, today=TODAY)).missing == ("the broker link is down",)


def test_an_answered_operation_is_settled() -> None:
    record = sent()
    apply(record, echo(), UP)
    assert reconnected().decide(record, NEW, today=TODAY) is None


def test_an_order_that_worked_and_is_lost_from_sight_needs_an_operator() -> None:
    record = sent()
    apply(record, echo(), UP)
    steps.lose_sight(record, "not listed", UP)
    reconciler = reconnected()
    reconciler.add(evidence(130.0))
    reconciler.add(evidence(141.0))
    assert still(reconciler.decide(record, NEW, today=TODAY)).needs_operator


@given(
    starts=st.lists(st.floats(0, 300), min_size=0, max_size=6).map(sorted),
    complete=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_absence_always_has_its_two_rounds(starts: list[float], complete: list[bool]) -> None:
    reconciler, record = reconnected(), doubtful()
    for at, whole in zip(starts, complete, strict=False):
        reconciler.add(evidence(at, took=0.5, lacking="" if whole else "open"))
    good = [at for at, whole in zip(starts, complete, strict=False) if whole and at >= 130.0]
    proven = any(later >= earlier + 10.5 for earlier in good for later in good)
    assert isinstance(reconciler.decide(record, NEW, today=TODAY), SettledAbsent) is proven


def test_the_rules_can_be_set() -> None:
    reconciler = Reconciler(SettleRules(link_up_for=1.0, gap=0.0, rounds=1))
    reconciler.connected(2)
    reconciler.link(up=True, at=100.0)
    assert reconciler.add(evidence(101.0))
    assert isinstance(reconciler.decide(doubtful(), NEW, today=TODAY), SettledAbsent)


# --- absence of a change or a cancel ----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", [MODIFY, CANCEL])
def test_a_change_or_cancel_is_absent_when_the_order_is_shown_as_it_was(operation: Operation) -> None:
    reconciler, record = reconnected(), doubtful(operation)
    reconciler.add(evidence(130.0, open_=(echo(),)))
    reconciler.add(evidence(141.0, open_=(echo(),)))
    assert isinstance(reconciler.decide(record, operation, today=TODAY), SettledAbsent)


@pytest.mark.parametrize("operation", [MODIFY, CANCEL])
def test_an_order_that_is_not_open_says_nothing_about_its_change(operation: Operation) -> None:
    reconciler, record = reconnected(), doubtful(operation)
    reconciler.add(evidence(130.0, open_=(echo(),)))
    reconciler.add(evidence(141.0))
    assert "not among the open ones" in still(reconciler.decide(record, operation, today=TODAY)).why


def test_a_third_version_settles_no_change() -> None:
    reconciler, record = reconnected(), doubtful(MODIFY)
    reconciler.add(evidence(130.0, open_=(echo(),)))
    reconciler.add(evidence(141.0, open_=(echo(quantity=d(77)),)))
    assert "neither the old nor the new" in still(reconciler.decide(record, MODIFY, today=TODAY)).why


def test_a_change_written_to_the_open_connection_waits_for_its_end() -> None:
    record = sent()
    apply(record, echo(), UP)
    later = replace(UP, epoch=2)
    steps.modify_sent(record, replace(record.terms, quantity=d(150)), later)
    steps.enter_doubt(record, MODIFY, "silence", later)
    assert still(reconnected().decide(record, MODIFY, today=TODAY)).needs_new_connection


# --- what is missing and what is too much -----------------------------------------------------------------------------


def working(**values: Any) -> OrderRecord:
    record = sent(request(**values))
    apply(record, echo(record), UP)
    return record


def looked(*open_: Any, started_at: datetime = LATER) -> Reconciler:
    reconciler = reconnected()
    reconciler.add(evidence(130.0, open_=open_, started_at=started_at))
    reconciler.add(evidence(141.0, open_=open_, started_at=started_at + timedelta(seconds=11)))
    return reconciler


def test_a_working_order_that_is_not_listed_has_vanished() -> None:
    (gone,) = looked().vanished([working()], today=TODAY)
    assert (gone.ref, gone.expired) == (REF, False)
    assert looked(echo()).vanished([working()], today=TODAY) == []
    assert looked(echo(order_ref="")).vanished([working()], today=TODAY) == []


def test_nothing_vanishes_on_incomplete_evidence() -> None:
    reconciler = reconnected()
    reconciler.add(evidence(130.0))
    assert reconciler.vanished([working()], today=TODAY) == []


@pytest.mark.parametrize(("tif", "expired"), [("DAY", True), ("IOC", True), ("GTC", False)])
def test_a_day_order_of_an_earlier_day_has_expired(tif: str, expired: bool) -> None:
    (gone,) = looked().vanished([working(tif=tif)], today=TODAY + timedelta(days=1))
    assert gone.expired is expired


def test_an_order_of_another_program_that_is_gone_is_over() -> None:
    fact = echo(perm_id=5, order_ref="theirs")
    record = foreign(fact, UP)
    assert record is not None
    apply(record, fact, UP)
    assert [gone.expired for gone in looked().vanished([record], today=TODAY)] == [True]


def test_orders_that_moved_are_done_doubtful_or_waiting_have_not_vanished() -> None:
    moved = working()
    assert looked(started_at=NOW).vanished([moved], today=TODAY) == []
    done = working()
    apply(done, status("Cancelled"), UP)
    waiting = working()
    apply(waiting, status("Filled", 100, 0), UP)
    cancelling = working()
    steps.cancel_sent(cancelling, UP)
    steps.link_lost(cancelling, "gone", DOWN)
    assert looked().vanished([done, waiting, cancelling, sent()], today=TODAY) == []


def test_a_working_order_that_a_whole_list_lacks_is_a_question() -> None:
    shown, lacking = working(), working()
    theirs = echo(client_id=CLIENT_ID + 1, perm_id=77)  # another program's order under the very ref of ours
    since = NOW + timedelta(seconds=60)
    assert unseen((echo(),), since, [shown]) == []
    assert unseen((theirs,), since, [lacking]) == [lacking]
    assert unseen((), NOW, [lacking]) == []  # it moved since the list was asked for
    done, changing = working(), working()
    apply(done, status("Cancelled"), UP)
    steps.modify_sent(changing, replace(changing.terms, quantity=d(5)), UP)
    steps.link_lost(changing, "gone", DOWN)
    assert unseen((), since, [done, changing, sent()]) == []


def test_a_day_order_of_yesterday_needs_one_whole_answer_over_a_working_link() -> None:
    record = working()
    tomorrow = TODAY + timedelta(days=1)
    late = NOW + timedelta(days=1)
    one = Reconciler()
    one.connected(2)
    one.link(up=False, at=100.0)
    one.add(evidence(100.5, started_at=late))
    assert one.vanished([record], today=tomorrow) == []  # the gateway knows nothing while its link is down
    one.link(up=True, at=101.0)
    one.add(evidence(101.5, started_at=late, lacking="executions"))
    assert one.vanished([record], today=tomorrow) == []
    one.add(evidence(102.0, started_at=late, open_=(echo(),)))
    assert one.vanished([record], today=tomorrow) == []
    one.add(evidence(102.5, started_at=late))
    (gone,) = one.vanished([record], today=tomorrow)
    assert (gone.ref, gone.expired) == (REF, True)
    assert one.vanished([record], today=TODAY) == []


def test_a_finished_order_among_the_open_ones_resurfaces() -> None:
    record = working()
    apply(record, status("Cancelled"), UP)
    (found,) = resurfaced(evidence(130.0, open_=(echo(), echo(perm_id=5, order_ref="x"))), [record, working()])
    assert (found.ref, found.perm_id, found.status) == (REF, PERM, "Submitted")
    assert resurfaced(evidence(130.0, open_=(echo(status="PendingCancel"),)), [record]) == []
    assert resurfaced(evidence(130.0, open_=(echo(),), started_at=NOW), [record]) == []
    theirs = completed("Cancelled", perm_id=5, order_ref="theirs")
    other = foreign(theirs, UP)
    assert other is not None
    apply(other, theirs, UP)
    (found,) = resurfaced(evidence(130.0, open_=(echo(perm_id=5, order_ref="theirs"),)), [other])
    assert found.ref == "perm/5"


def test_a_round_knows_permids_of_statuses_and_refs_of_everything() -> None:
    round_ = EvidenceRound.of(
        OrderRecords(echoes=(echo(),), statuses=(status("Submitted", perm_id=44),)),
        OrderRecords(completed=(completed(perm_id=45, order_ref=""),)),
        ExecutionRecords(executions=(fill(1, perm_id=0, order_ref="x").execution,)),
        started=1.0,
        finished=2.0,
        started_at=NOW,
        epoch=1,
    )
    assert set(round_.named) == {REF, "x"}
    assert round_.perm_ids == frozenset({PERM, 44, 45})
    assert not round_.missing
    stranger = steps.new_record(request(order_ref="other"), account=ACCOUNT)
    assert not round_.shows(stranger)
