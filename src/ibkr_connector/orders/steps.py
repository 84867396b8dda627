"""Our own steps on an order: commit, write, cancel, change, doubt, settlement. Pure, like `lifecycle`.

Each function folds the step into the record and returns the changes, to be journaled and published like those that a
broker message caused.
"""

from __future__ import annotations

from ibkr_connector.backends.base import OrderReply
from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import InvalidRequest
from ibkr_connector.models.order import OrderRequest, OrderState
from ibkr_connector.orders.changes import (
    END_OF_STATE,
    CancelSent,
    CancelWanted,
    Change,
    Committed,
    EndTold,
    EnteredDoubt,
    Expired,
    ModifyNotSent,
    ModifySent,
    NeverArrived,
    NotSent,
    OrderTerms,
    ReplySending,
    Resolved,
    Revived,
    SettledHow,
)
from ibkr_connector.orders.record import Context, OrderRecord
from ibkr_connector.orders.step import Step


def new_record(request: OrderRequest, *, account: str, group: str = "", parent_ref: str = "") -> OrderRecord:
    """The record of a validated order that was not committed yet (state NEW)."""
    return OrderRecord(
        ref=request.order_ref,
        terms=OrderTerms.of_request(request),
        account=account,
        request=request,
        broker_ref=request.order_ref,
        group=group,
        parent_ref=parent_ref,
        agent=request.agent or "",
    )


def committed(record: OrderRecord, *, order_id: int, client_id: int, ctx: Context) -> list[Change]:
    """SENDING is durable; the write follows, on connection `ctx.epoch`. State: SENDING."""
    step = Step(record, ctx)
    step.emit(Committed(at=ctx.now, order_id=order_id, client_id=client_id, epoch=ctx.epoch))
    return step.changes


def not_sent(record: OrderRecord, why: str, ctx: Context) -> list[Change]:
    """Given up before the write, which was certainly not made. The ref may be used again. State: NOT_SENT."""
    step = Step(record, ctx)
    step.emit(NotSent(at=ctx.now, why=why))
    return step.changes


def cancel_wanted(record: OrderRecord, ctx: Context) -> list[Change]:
    """A cancel is owed from now on. Nothing changes on an order that has ended, or whose cancel is owed already."""
    step = Step(record, ctx)
    if record.ended is None and not record.cancel_wanted:
        step.emit(CancelWanted(at=ctx.now))
    return step.changes


def cancel_sent(record: OrderRecord, ctx: Context) -> list[Change]:
    """A cancel is being written. Nothing changes on an order that has ended."""
    step = Step(record, ctx)
    if record.ended is None:
        step.emit(CancelSent(at=ctx.now, epoch=ctx.epoch))
    return step.changes


def modify_sent(record: OrderRecord, terms: OrderTerms, ctx: Context) -> list[Change]:
    """A change is durable and about to be written: both versions count until it is answered."""
    step = Step(record, ctx)
    step.emit(ModifySent(at=ctx.now, terms=terms, epoch=ctx.epoch))
    return step.changes


def modify_not_sent(record: OrderRecord, why: str, ctx: Context) -> list[Change]:
    """A committed change was given up before the write."""
    step = Step(record, ctx)
    if Operation.MODIFY in record.outstanding:
        step.emit(ModifyNotSent(at=ctx.now, why=why))
        step.conclude()
    return step.changes


def reply_sending(record: OrderRecord, reply: OrderReply, ctx: Context) -> list[Change]:
    """A reply is durable and about to be written, on connection `ctx.epoch`. Nothing changes where nothing is open."""
    step = Step(record, ctx)
    if record.ended is None and reply.operation in record.outstanding:
        step.emit(
            ReplySending(
                at=ctx.now,
                operation=reply.operation,
                message_ids=reply.message_ids,
                question=reply.text,
                confirmed=reply.confirmed,
                epoch=ctx.epoch,
            )
        )
    return step.changes


def enter_doubt(record: OrderRecord, operation: Operation, why: str, ctx: Context) -> list[Change]:
    """An unanswered operation may or may not have arrived. Nothing changes when it was answered or is in doubt."""
    step = Step(record, ctx)
    if operation in record.outstanding and operation not in record.doubts:
        step.emit(EnteredDoubt(at=ctx.now, operation=operation, why=why))
    return step.changes


def link_lost(record: OrderRecord, why: str, ctx: Context) -> list[Change]:
    """The broker link or the connection is gone: every unanswered operation is in doubt at once."""
    changes: list[Change] = []
    for operation in sorted(record.outstanding):
        changes += enter_doubt(record, operation, why, ctx)
    return changes


def lose_sight(record: OrderRecord, why: str, ctx: Context) -> list[Change]:
    """The broker no longer shows an order that worked, and does not say how it ended: in doubt until it is known."""
    step = Step(record, ctx)
    if record.committed and record.ended is None and Operation.NEW not in record.doubts:
        step.emit(EnteredDoubt(at=ctx.now, operation=Operation.NEW, why=why))
    return step.changes


def settle_absent(record: OrderRecord, operation: Operation, evidence: str, ctx: Context) -> list[Change]:
    """Complete evidence says that a doubtful operation never arrived (`reconcile` decides when that may be said).

    A new order ends as NOT_SENT, its ref stays used (INV-01); a change or cancel leaves the order as it was.
    """
    step = Step(record, ctx)
    if operation in record.doubts:
        step.settle(operation, SettledHow.ABSENT, evidence)
        if operation is Operation.NEW:
            step.emit(NeverArrived(at=ctx.now, why=f"Never arrived at the broker: {evidence}"))
        else:
            step.conclude()
    return step.changes


def expire_unseen(record: OrderRecord, why: str, ctx: Context) -> list[Change]:
    """A day order of an earlier day that the broker shows nowhere: it cannot work any more."""
    step = Step(record, ctx)
    if record.ended is None:
        for operation in sorted(record.doubts):
            step.settle(operation, SettledHow.ENDED, why)
        _end_branches(step, OrderState.EXPIRED)
        step.emit(Expired(at=ctx.now, why=why))
    return step.changes


def resolve(record: OrderRecord, state: OrderState, *, evidence: str, operator: str, ctx: Context) -> list[Change]:
    """An operator says how a doubtful order ended, and on what evidence. What the broker shows later still wins.

    No execution is made up for it, not for FILLED either: the broker's own may still come and count twice (INV-04).

    Raises: InvalidRequest if `state` is no end, the evidence is empty, or the order is not in doubt.
    """
    if state not in END_OF_STATE:
        legal = ", ".join(sorted(one.value for one in END_OF_STATE))
        msg = f"as_={state.value!r} does not end an order. Legal: {legal}."
        raise InvalidRequest(msg, field="as_", value=state.value, legal=legal)
    if not evidence.strip():
        msg = "evidence is empty: say what you looked at (statement, trader workstation, support)."
        raise InvalidRequest(msg, field="evidence", value=evidence, legal="a sentence")
    if record.ended is not None:
        msg = f"Order {record.ref} has ended already ({record.state.value}); there is nothing to resolve."
        raise InvalidRequest(msg, field="order_ref", value=record.ref, legal="an order in doubt")
    if not (record.in_doubt or record.awaiting_executions):
        msg = f"Order {record.ref} is not in doubt: the broker shows it as {record.broker_status or 'working'}."
        remedy = "Cancel it if it must not work; only an order in orders_in_doubt() can be resolved by hand."
        raise InvalidRequest(msg, field="order_ref", value=record.ref, legal="an order in doubt", remedy=remedy)
    step = Step(record, ctx)
    step.emit(Resolved(at=ctx.now, state=state, evidence=evidence, operator=operator))
    for operation in sorted(record.doubts):
        step.settle(operation, SettledHow.OPERATOR, evidence)
    if state not in (OrderState.REJECTED, OrderState.NOT_SENT):
        _end_branches(step, state)
    step.emit(END_OF_STATE[state](at=ctx.now, why=evidence))
    return step.changes


def _end_branches(step: Step, state: OrderState) -> None:
    """Nothing of the order works any more: a late execution moves the quantity, and nothing is waited for."""
    record = step.record
    for branch in record.branches.values():
        if branch.final is None or record.missing_executions(branch) > 0:
            final = branch.final or state
            step.emit(EndTold(at=step.ctx.now, perm_id=branch.perm_id, state=final, waived=True))


def revive(record: OrderRecord, perm_id: int, why: str, ctx: Context) -> list[Change]:
    """The broker's list of open orders holds an order that was taken for ended (`reconcile.Resurfaced`)."""
    step = Step(record, ctx)
    if record.ended is not None:
        step.emit(Revived(at=ctx.now, perm_id=perm_id, was=record.ended.state, why=why))
    return step.changes
