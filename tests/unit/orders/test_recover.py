"""From the journal back to a record."""

from __future__ import annotations

from dataclasses import replace

from ibkr_connector.backends.facts import Operation
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.recover import recover
from unit.orders.kit import ACCOUNT, CLIENT_ID, ORDER_ID, UP, d, echo, fill, journal_order, kinds, request


def test_sending_without_an_answer_is_in_doubt() -> None:
    record, changes = recover(journal_order(), UP)
    assert kinds(changes) == ["entered_doubt"]
    assert (record.state, record.group, record.parent_ref) == (OrderState.IN_DOUBT, "G", "P")
    assert (record.sent_epochs, record.echoed_epoch) == ({}, None)


def test_everything_unanswered_is_in_doubt_and_nothing_answered_is() -> None:
    original = steps.new_record(request(), account=ACCOUNT)
    history = steps.committed(original, order_id=ORDER_ID, client_id=CLIENT_ID, ctx=UP)
    history += apply(original, echo(), UP)
    history += apply(original, fill(30), UP)
    history += steps.modify_sent(original, replace(original.terms, quantity=d(150)), UP)
    history += steps.cancel_sent(original, UP)
    record, changes = recover(journal_order(changes=tuple(history)), UP)
    assert set(record.doubts) == {Operation.CANCEL, Operation.MODIFY}
    assert len(changes) == 2
    assert (record.filled, record.open_quantity, record.state) == (d(30), d(120), OrderState.PENDING_CANCEL)
    assert record.fills == original.fills


def test_an_ended_order_comes_back_ended() -> None:
    original = steps.new_record(request(), account=ACCOUNT)
    history = steps.committed(original, order_id=ORDER_ID, client_id=CLIENT_ID, ctx=UP)
    history += apply(original, fill(100), UP)
    record, changes = recover(journal_order(changes=tuple(history)), UP)
    assert (record.state, changes) == (OrderState.FILLED, [])
