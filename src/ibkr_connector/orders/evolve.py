"""Fold one `Change` into an `OrderRecord`: the only code that writes to a record.

Nothing is decided here. What is folded is a function of the record and the change alone, so the changes read back from
the journal rebuild the very record that was in memory (INV-14).
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from ibkr_connector.backends.facts import Operation
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.changes import (
    Acknowledged,
    CancelRejected,
    CancelSent,
    CancelWanted,
    Change,
    CommissionAdded,
    Committed,
    Drifted,
    Echoed,
    End,
    EndTold,
    EnteredDoubt,
    FillAdded,
    FillCorrected,
    Forked,
    Identified,
    ModifyAcknowledged,
    ModifyNotSent,
    ModifyRejected,
    ModifySent,
    Noted,
    NotSent,
    ReplySending,
    Resolved,
    Revived,
    Settled,
    SettledHow,
    StatusChanged,
)
from ibkr_connector.orders.record import Branch, Doubt, Ended, OrderRecord

LIVE_STATUSES = frozenset({"PreSubmitted", "Submitted"})
"""The broker works the order."""


def evolve(record: OrderRecord, change: Change) -> None:  # noqa: C901, PLR0912, PLR0915 - one arm per kind of change
    """Fold `change` into `record`."""
    if record.created_at is None:
        record.created_at = change.at
    record.updated_at = change.at
    match change:
        case Committed():
            record.committed, record.acknowledged, record.ended = True, False, None
            record.outstanding.clear()
            record.order_id, record.client_id = change.order_id, change.client_id
            record.sent_epochs, record.sent_at = {}, change.at
            _sent(record, Operation.NEW, change.epoch)
            record.branches = {0: Branch(perm_id=0, order_id=change.order_id, client_id=change.client_id)}
            record.why = ""
        case NotSent():
            _close(record, Ended(OrderState.NOT_SENT, change.at, None, change.why, reusable=True))
        case CancelWanted():
            record.cancel_wanted = True
        case CancelSent():
            _sent(record, Operation.CANCEL, change.epoch)
            record.doubts.pop(Operation.CANCEL, None)
        case ModifySent():
            _sent(record, Operation.MODIFY, change.epoch)
            record.proposed = change.terms
        case ModifyNotSent():
            _drop(record, Operation.MODIFY)
        case ReplySending():
            _sent(record, change.operation, change.epoch)
            if change.operation is Operation.NEW:
                record.sent_at = change.at
            record.warning = change.question
        case EnteredDoubt():
            record.doubts[change.operation] = Doubt(change.operation, change.at, change.why)
            record.why = change.why
        case Settled():
            record.doubts.pop(change.operation, None)
            if change.how is not SettledHow.PRESENT:
                _drop(record, change.operation)
        case Resolved():
            record.why = change.evidence
        case Revived():
            record.ended = None
            record.committed = record.acknowledged = True
            record.why = change.why
            branch = _branch(record, change.perm_id)
            branch.final, branch.waived = None, False
        case Identified():
            _identify(record, change)
        case Acknowledged():
            record.acknowledged = True
            record.outstanding.discard(Operation.NEW)
        case Echoed():
            _echo(record, change)
        case StatusChanged():
            branch = _branch(record, change.perm_id)
            branch.status, branch.why_held = change.status, change.why_held
            branch.reported = max(branch.reported, change.reported)
            if change.status in LIVE_STATUSES:
                record.refusal = None
        case EndTold():
            branch = _branch(record, change.perm_id)
            branch.final, branch.final_code, branch.final_why = change.state, change.code, change.why
            branch.waived = change.waived
        case FillAdded():
            record.fills[change.execution.base_id] = change.execution
            if not record.ours and record.echo is None and record.filled > record.terms.quantity:
                record.terms = replace(record.terms, quantity=record.filled)
        case FillCorrected():
            _correct(record, change)
        case CommissionAdded():
            for base_id, fill in record.fills.items():
                if fill.exec_id == change.exec_id:
                    record.fills[base_id] = replace(
                        fill,
                        commission=change.commission,
                        commission_currency=change.currency,
                        realized_pnl=change.realized_pnl,
                    )
        case Noted():
            record.warning = change.text
            if record.ended is not None and not record.why:
                record.why = change.text
            if change.rejecting:
                record.refusal = (change.code, change.text)
        case Forked():
            record.branches[change.perm_id] = Branch(
                perm_id=change.perm_id,
                order_id=change.order_id,
                client_id=change.client_id,
                quantity=change.quantity,
            )
        case Drifted():
            record.drift = change.fields
        case ModifyAcknowledged():
            record.terms = record.proposed or record.terms
            _drop(record, Operation.MODIFY)
        case ModifyRejected():
            record.warning = change.why
            _drop(record, Operation.MODIFY)
        case CancelRejected():
            record.warning = change.why
            # A refusal of what may still be on its way settles nothing: the cancel stays owed.
            record.cancel_wanted = record.cancel_wanted and Operation.NEW in record.doubts
            _drop(record, Operation.CANCEL)
        case End():  # pragma: no branch - the last of the kinds
            _close(record, Ended(change.state, change.at, change.code, change.why))


def _sent(record: OrderRecord, operation: Operation, epoch: int) -> None:
    record.outstanding.add(operation)
    record.sent_epochs[operation] = epoch


def _close(record: OrderRecord, ended: Ended) -> None:
    record.ended = ended
    record.cancel_wanted = False
    record.outstanding.clear()
    record.doubts.clear()
    record.proposed = None
    if ended.why:
        record.why = ended.why


def _drop(record: OrderRecord, operation: Operation) -> None:
    """Forget an operation that got its answer."""
    record.outstanding.discard(operation)
    record.doubts.pop(operation, None)
    if operation is Operation.MODIFY:
        record.proposed = None


def _branch(record: OrderRecord, perm_id: int) -> Branch:
    fresh = Branch(perm_id=perm_id, order_id=record.order_id, client_id=record.client_id)
    return record.branches.setdefault(perm_id, fresh)


def _identify(record: OrderRecord, change: Identified) -> None:
    """The nameless branch gets its permId."""
    branch = record.branches.pop(0, None) or Branch(perm_id=0, order_id=change.order_id, client_id=change.client_id)
    branch.perm_id, branch.order_id, branch.client_id = change.perm_id, change.order_id, change.client_id
    record.branches = {change.perm_id: branch, **record.branches}


def _echo(record: OrderRecord, change: Echoed) -> None:
    record.echo, record.echo_account, record.echo_ref = change.terms, change.account, change.order_ref
    branch = _branch(record, change.perm_id)
    branch.quantity = change.terms.quantity
    if not record.ours:
        record.terms, record.account, record.broker_ref = change.terms, change.account, change.order_ref
    if change.vouches:
        record.echoed_epoch = branch.shown_epoch = change.epoch


def _correct(record: OrderRecord, change: FillCorrected) -> None:
    """Replace, never add; the broker's own count moves with it, or it would seem that executions are missing."""
    base_id = change.execution.base_id
    before = record.fills.get(base_id, change.execution).quantity
    record.fills[base_id] = change.execution
    branch = _branch(record, change.perm_id)
    lost = before - change.execution.quantity
    if lost > 0:
        branch.reported = max(branch.reported - lost, Decimal(0))
