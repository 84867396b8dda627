"""A reply to a question is a send of its own: judged again, durable first, in doubt when its answer is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ibkr_connector.backends.base import OrderReply
from ibkr_connector.backends.facts import Operation, OrderUnanswered
from ibkr_connector.errors import JournalUnwritable
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import Change
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.recover import recover
from ibkr_connector.orders.replies import ReplyDesk
from ibkr_connector.orders.table import OrderTable
from unit.orders.kit import CLIENT_ID, NOW, ORDER_ID, REF, UP, echo, fill, journal_order, kinds, request, sent

YES = OrderReply(
    order_ids=(ORDER_ID,), operation=Operation.NEW, message_ids=("o354",), text="No data. Sure?", confirmed=True
)
NO = replace(YES, confirmed=False)
LATER = replace(UP, epoch=4)


def unanswered(operation: Operation = Operation.NEW, *, written: bool, why: str = "lost") -> OrderUnanswered:
    return OrderUnanswered(order_id=ORDER_ID, operation=operation, written=written, why=why)


# --- the record ------------------------------------------------------------------------------------------------------


def test_a_reply_counts_as_the_send_whose_absence_must_be_proven() -> None:
    record = sent()
    later = replace(LATER, now=NOW.replace(hour=20))
    assert kinds(steps.reply_sending(record, YES, later)) == ["reply_sending"]
    assert (record.sent_epochs, record.sent_at, record.state) == (
        {Operation.NEW: 4},
        later.now,
        OrderState.SENDING,
    )
    assert record.warning == "No data. Sure?"


def test_a_crash_between_the_reply_and_its_answer_is_a_doubt() -> None:
    original = steps.new_record(request(), account="DU1")
    history = steps.committed(original, order_id=ORDER_ID, client_id=CLIENT_ID, ctx=UP)
    history += steps.reply_sending(original, YES, UP)
    record, changes = recover(journal_order(changes=tuple(history)), UP)
    assert kinds(changes) == ["entered_doubt"]
    assert (record.state, record.sent_epochs) == (OrderState.IN_DOUBT, {})


def test_no_reply_is_journaled_about_what_nobody_asked_for() -> None:
    record = sent()
    apply(record, echo(), UP)
    assert steps.reply_sending(record, YES, UP) == []
    steps.modify_sent(record, replace(record.terms, outside_rth=True), UP)
    assert kinds(steps.reply_sending(record, replace(YES, operation=Operation.MODIFY), UP)) == ["reply_sending"]
    steps.cancel_wanted(record, UP)
    ended = sent()
    apply(ended, fill(100), UP)
    assert steps.reply_sending(ended, YES, UP) == []


def test_what_was_certainly_not_written_frees_the_ref() -> None:
    record = sent()
    assert kinds(apply(record, unanswered(written=False), UP)) == ["not_sent"]
    assert record.ended is not None
    assert (record.state, record.ended.reusable, record.why) == (OrderState.NOT_SENT, True, "lost")


def test_what_may_be_written_is_in_doubt_at_once_and_once() -> None:
    record = sent()
    assert kinds(apply(record, unanswered(written=True), UP)) == ["entered_doubt"]
    assert apply(record, unanswered(written=True), UP) == []
    apply(record, echo(), UP)
    assert record.state is OrderState.WORKING
    assert apply(record, unanswered(written=True), UP) == []


def test_an_order_the_broker_has_shown_is_not_unsent_by_our_own_word() -> None:
    record = sent()
    apply(record, echo(status="PendingSubmit"), UP)
    assert apply(record, unanswered(written=False), UP) == []


def test_a_change_that_was_not_written_leaves_the_order_as_it_was() -> None:
    record = sent()
    apply(record, echo(), UP)
    steps.modify_sent(record, replace(record.terms, outside_rth=True), UP)
    assert kinds(apply(record, unanswered(Operation.MODIFY, written=False), UP)) == ["modify_not_sent"]
    assert (record.outstanding, record.proposed) == (set(), None)


# --- the leave -------------------------------------------------------------------------------------------------------


class Journal:
    def __init__(self) -> None:
        self.committed: list[Mapping[str, Sequence[Change]]] = []
        self.broken = False

    async def commit_reply(self, changes: Mapping[str, Sequence[Change]], *, patience: float, keep: Any) -> bool:
        if self.broken and not keep():
            raise JournalUnwritable("full.")
        self.committed.append(changes)
        return not self.broken


class Desk:
    def __init__(self, record: OrderRecord) -> None:
        self.table = OrderTable()
        self.live = LiveOrder(record)
        self.table.add(self.live)
        self.journal: Journal | None = Journal()
        self.told: list[str] = []

    def context(self) -> Any:
        return UP

    def tell(self, live: LiveOrder, changes: list[Change], *, journal: bool = True) -> None:
        assert not journal
        self.told += [change.kind for change in changes]


@pytest.fixture
def desk() -> Desk:
    return Desk(sent())


def replies(desk: Desk) -> ReplyDesk:
    backend = SimpleNamespace(reply_with=lambda leave: None)
    session: Any = SimpleNamespace(backend=backend, settings=SimpleNamespace(client_id=CLIENT_ID))
    return ReplyDesk(session=session, desk=desk)  # type: ignore[arg-type]


async def test_a_yes_is_on_the_disk_before_leave_is_given(desk: Desk) -> None:
    with (room := replies(desk)).watched([REF], why_not=lambda: "", reduces=lambda: False):
        assert await room.leave(YES) == ""
    assert desk.journal is not None
    assert [list(one) for one in desk.journal.committed] == [[REF]]
    assert desk.told == ["reply_sending"]


async def test_what_stands_against_the_order_stands_against_the_yes(desk: Desk) -> None:
    with (room := replies(desk)).watched([REF], why_not=lambda: "killed", reduces=lambda: False):
        assert await room.leave(YES) == "killed"
        assert await room.leave(NO) == ""
    assert desk.told == ["reply_sending"]  # of the no alone


async def test_a_kill_during_the_commit_stops_the_yes(desk: Desk) -> None:
    said = iter(["", "killed"])
    with (room := replies(desk)).watched([REF], why_not=lambda: next(said), reduces=lambda: False):
        assert await room.leave(YES) == "killed"


async def test_nobody_waiting_means_no(desk: Desk) -> None:
    room = replies(desk)
    assert "nobody" in await room.leave(YES)
    with room.watched([REF], why_not=lambda: "", reduces=lambda: False):
        pass
    assert "nobody" in await room.leave(YES)
    assert "nobody" in await room.leave(replace(YES, order_ids=(99,)))


async def test_an_order_that_was_told_to_be_in_doubt_is_not_confirmed_behind_its_owner(desk: Desk) -> None:
    steps.enter_doubt(desk.live.record, Operation.NEW, "silence", UP)
    with (room := replies(desk)).watched([REF], why_not=lambda: "", reduces=lambda: False):
        assert "in doubt" in await room.leave(YES)


@pytest.mark.parametrize(("reduces", "expected"), [(False, "the journal cannot be written"), (True, "")])
async def test_without_a_journal_only_what_reduces_is_confirmed(desk: Desk, reduces: bool, expected: str) -> None:
    assert desk.journal is not None
    desk.journal.broken = True
    with (room := replies(desk)).watched([REF], why_not=lambda: "", reduces=lambda: reduces):
        assert await room.leave(YES) == expected
        assert await room.leave(NO) == ""


async def test_without_any_journal_a_yes_becomes_a_no(desk: Desk) -> None:
    desk.journal = None
    with (room := replies(desk)).watched([REF], why_not=lambda: "", reduces=lambda: False):
        assert await room.leave(YES) == "the journal cannot be written"
