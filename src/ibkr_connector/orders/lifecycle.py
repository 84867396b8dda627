"""What a broker message, or a step of our own, does to an order. Pure: no I/O, time comes with the context.

`apply(record, fact, ctx)` judges one message from the wire, folds the resulting changes into the record and returns
them (for the journal, the bus and whoever waits). The rules, in the order of their strength:

* **Executions are the quantity.** A status that counts more filled units, or says `Filled` or `Cancelled`, ends nothing
  until the executions it counted are here: the order stays live and `awaiting_executions` says what to ask for. An
  execution is believed in any state: after a cancel it moves the quantity (and makes the order FILLED when nothing is
  left), after a rejection or "never arrived" it proves them wrong and revives the order.
* **Presence wins.** The order's ref in any message ends the doubt whether it arrived. While the broker link is down a
  status that only says the gateway holds it (`PendingSubmit`) proves nothing.
* **An error code ends something only by `terminal.judge`**, for the operation outstanding, while the link is up, on an
  order the broker holds once. Everything else is a note, with `ask` where it is a reason to look.
* **What is over stays over.** Late, repeated and reordered statuses never bring a finished order back.
* **Several permIds are several orders** (INV-02), each with its own end; the order is over when all are.

`Inactive` is a rejection when a refusing code stands beside it, the end of an order that cannot rest (IOC, FOK) unless
it is held for a locate, and otherwise a hold: live, counted, worth a look.
"""

from __future__ import annotations

from decimal import Decimal

from ibkr_connector.backends.base import (
    BrokerFact,
    CommissionSeen,
    ExecutionSeen,
    Operation,
    OrderCompleted,
    OrderEchoed,
    OrderNotice,
    OrderStatusSeen,
)
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.changes import (
    END_OF_STATE,
    Acknowledged,
    CancelRejected,
    Change,
    CommissionAdded,
    Drifted,
    Echoed,
    EndTold,
    FillAdded,
    FillCorrected,
    Filled,
    Forked,
    Identified,
    ModifyAcknowledged,
    ModifyRejected,
    Noted,
    OrderTerms,
    Revived,
    Settled,
    SettledHow,
    StatusChanged,
)
from ibkr_connector.orders.drift import action_of, compare, compare_names, is_severe, terms_of_echo
from ibkr_connector.orders.evolve import LIVE_STATUSES, evolve
from ibkr_connector.orders.record import Branch, Context, Ended, OrderRecord
from ibkr_connector.orders.terminal import Verdict, is_warning, judge, refuses_orders

ACCEPTED_STATUSES = LIVE_STATUSES | {"PendingCancel", "Filled", "Cancelled", "ApiCancelled", "Inactive"}
"""Statuses that prove the broker has the order; `PendingSubmit` and `ApiPending` only say that the gateway does."""

_CANCELLED_STATUSES = frozenset({"Cancelled", "ApiCancelled"})
_FINAL_STATUSES = _CANCELLED_STATUSES | {"Filled"}
_CANNOT_REST = frozenset({"IOC", "FOK"})


__all__ = ["ACCEPTED_STATUSES", "Step", "apply", "evolve", "foreign"]


def foreign(fact: BrokerFact, ctx: Context) -> OrderRecord | None:
    """A record for an order that is not ours: another program's, TWS's own, or older than the journal.

    Only echoes, completed orders and executions say enough to make one; then `apply` the same fact to it. Its `ref` is
    a made-up key that no order ref can equal (two programs may use the same orderRef); `broker_ref` is what was told.
    An execution alone does not tell the order's quantity: until an echo does, it grows with the executions.
    """
    if isinstance(fact, OrderEchoed):
        terms, account, broker_ref = terms_of_echo(fact), fact.account, fact.order_ref
        key = f"perm/{fact.perm_id}" if fact.perm_id else f"client/{fact.client_id}/{fact.order_id}"
        order_id, client_id = fact.order_id, fact.client_id
    elif isinstance(fact, OrderCompleted):
        terms = OrderTerms(
            contract=fact.contract,
            action=action_of(fact.action),
            quantity=fact.quantity,
            order_type=fact.order_type,
        )
        key, order_id, client_id = f"perm/{fact.perm_id}", 0, 0
        account, broker_ref = fact.account, fact.order_ref
    elif isinstance(fact, ExecutionSeen):
        done = fact.execution
        terms = OrderTerms(
            contract=done.contract,
            action=action_of(done.side),
            quantity=max(done.cum_quantity, done.quantity),
            order_type="",
        )
        key = f"perm/{done.perm_id}" if done.perm_id else f"exec/{done.base_id}"
        order_id, client_id = done.order_id, done.client_id
        account, broker_ref = done.account, done.order_ref
    else:
        return None
    return OrderRecord(
        ref=key,
        terms=terms,
        account=account,
        ours=False,
        broker_ref=broker_ref,
        order_id=order_id,
        client_id=client_id,
        committed=True,
        created_at=ctx.now,
    )


def apply(record: OrderRecord, fact: BrokerFact, ctx: Context) -> list[Change]:
    """Judge one broker message about this order, fold what follows from it into `record`, and return it.

    A message that is about something else, an echo of a what-if, or anything told before the order was committed
    changes nothing.
    """
    if not record.committed:
        return []
    step = Step(record, ctx)
    match fact:
        case OrderEchoed():
            step.echo(fact)
        case OrderStatusSeen():
            step.status(fact)
        case ExecutionSeen():
            step.execution(fact.execution)
        case CommissionSeen():
            step.commission(fact)
        case OrderCompleted():
            step.completed(fact)
        case OrderNotice():
            step.notice(fact)
        case _:
            pass
    return step.changes


class Step:
    """One message, or one step of our own, at work on one record."""

    __slots__ = ("changes", "ctx", "record")

    def __init__(self, record: OrderRecord, ctx: Context) -> None:
        self.record = record
        self.ctx = ctx
        self.changes: list[Change] = []

    def emit(self, change: Change) -> None:
        """Fold a change into the record and keep it for the caller."""
        evolve(self.record, change)
        self.changes.append(change)

    def settle(self, operation: Operation, how: SettledHow, evidence: str) -> None:
        """End a doubt, if there is one."""
        if operation in self.record.doubts:
            self.emit(Settled(at=self.ctx.now, operation=operation, how=how, evidence=evidence))

    def note(self, code: int | None, text: str, *, ask: bool, rejecting: bool = False) -> None:
        """Keep a message, once."""
        known = self.record.warning == text and (not rejecting or self.record.refusal == (code, text))
        if text and not known:
            self.emit(Noted(at=self.ctx.now, code=code, text=text, ask=ask, rejecting=rejecting))

    # --- who is meant -------------------------------------------------------------------------------------------------

    def branch(self, fact: OrderEchoed | OrderStatusSeen | OrderCompleted | Execution) -> Branch | None:
        """The order at the broker that a message is about; None when that is not certain."""
        record, perm_id = self.record, fact.perm_id
        order_id, client_id = record.order_id, record.client_id
        if not isinstance(fact, OrderCompleted) and fact.order_id > 0:
            order_id, client_id = fact.order_id, fact.client_id
        if not perm_id:
            same = [one for one in record.branches.values() if one.order_id == order_id]
            return same[0] if len(same) == 1 else self.nameless(order_id, client_id)
        if perm_id in record.branches:
            return record.branches[perm_id]
        if not record.perm_ids:
            self.emit(Identified(at=self.ctx.now, perm_id=perm_id, order_id=order_id, client_id=client_id))
            return record.branches[perm_id]
        if isinstance(fact, OrderStatusSeen) or fact.order_ref != record.broker_ref:
            # Without our ref it may be an order of another life that had the same id.
            self.note(None, f"A message about this order names another permId ({perm_id}).", ask=True)
            return None
        quantity = None if isinstance(fact, Execution) else fact.quantity
        self.emit(Forked(at=self.ctx.now, perm_id=perm_id, order_id=order_id, client_id=client_id, quantity=quantity))
        return record.branches[perm_id]

    def nameless(self, order_id: int, client_id: int) -> Branch | None:
        """The first message about an order that is not ours may come without a permId."""
        if self.record.branches:
            return None
        self.emit(Identified(at=self.ctx.now, perm_id=0, order_id=order_id, client_id=client_id))
        return self.record.branches[0]

    def present(self, status: str, evidence: str) -> None:
        """The broker, or at least the gateway, showed the order."""
        accepted = status in ACCEPTED_STATUSES
        if accepted or self.ctx.link_up:
            self.settle(Operation.NEW, SettledHow.PRESENT, evidence)
        record = self.record
        if accepted and (not record.acknowledged or Operation.NEW in record.outstanding):
            self.emit(Acknowledged(at=self.ctx.now, status=status))

    def can_live(self, branch: Branch) -> bool:
        """Whether a branch of a finished order may be alive: nobody said it ended, and it is not filled.

        A fork that comes to light, an order of another program seen by its executions alone.
        """
        record = self.record
        if not record.ours:
            return branch.final is None
        return branch.final is None and not self.is_over(branch)

    def revive(self, branch: Branch, ended: Ended, why: str) -> None:
        """What was taken for ended is alive."""
        self.emit(Revived(at=self.ctx.now, perm_id=branch.perm_id, was=ended.state, why=why))

    # --- echo and status ----------------------------------------------------------------------------------------------

    def echo(self, fact: OrderEchoed) -> None:
        """An openOrder message."""
        if fact.what_if or (branch := self.branch(fact)) is None:
            return
        if (ended := self.record.ended) is not None:
            over = fact.status in _FINAL_STATUSES or fact.status == "Inactive"
            if ended.state is OrderState.NOT_SENT or (not over and self.can_live(branch)):
                self.revive(branch, ended, f"The broker shows it as {fact.status}.")
            elif over:
                self.late(branch, fact.status, branch.reported)
                return
            else:
                if self.record.filled < fact.quantity:
                    self.note(None, f"It ended as {ended.state}, but the broker showed it as {fact.status}.", ask=True)
                return
        self.present(fact.status, "openOrder")
        terms = terms_of_echo(fact)
        self.remember_echo(branch, fact, terms)
        self.match_change(branch, terms)
        self.drift(fact, terms)
        self.note(None, fact.warning, ask=False)
        self.word(branch, fact.status, branch.reported, branch.why_held, fact.reject_reason)
        self.conclude()

    def remember_echo(self, branch: Branch, fact: OrderEchoed, terms: OrderTerms) -> None:
        """Keep the broker's version, once per connection."""
        record, epoch = self.record, self.ctx.epoch
        vouches = fact.perm_id > 0 and fact.order_ref == record.broker_ref
        news = (record.echo, record.echo_account, record.echo_ref) != (terms, fact.account, fact.order_ref)
        if news or (vouches and record.echoed_epoch != epoch):
            self.emit(
                Echoed(
                    at=self.ctx.now,
                    perm_id=branch.perm_id,
                    epoch=epoch,
                    account=fact.account,
                    order_ref=fact.order_ref,
                    terms=terms,
                    vouches=vouches,
                )
            )

    def match_change(self, branch: Branch, terms: OrderTerms) -> None:
        """An echo of the changed version answers the change; one of the old version may simply be late.

        A change that became a second order did not change the first one.
        """
        proposed = self.record.proposed
        if proposed is not None and branch.perm_id == self.record.perm_id and not compare(proposed, terms):
            self.settle(Operation.MODIFY, SettledHow.PRESENT, "openOrder shows the changed version")
            self.emit(ModifyAcknowledged(at=self.ctx.now))

    def drift(self, fact: OrderEchoed, terms: OrderTerms) -> None:
        """Tell where the broker's version differs from every version we may have asked for; once."""
        record = self.record
        if not record.ours:
            return
        found = min((compare(version, terms) for version in record.versions()), key=len)
        found += compare_names(
            account=record.account, ref=record.ref, echo_account=fact.account, echo_ref=fact.order_ref
        )
        if found != record.drift:
            self.emit(Drifted(at=self.ctx.now, fields=found, severe=is_severe(found)))

    def status(self, fact: OrderStatusSeen) -> None:
        """An orderStatus message."""
        if (branch := self.branch(fact)) is None:
            return
        if (ended := self.record.ended) is not None:
            lives = fact.status in LIVE_STATUSES and self.can_live(branch)
            if ended.state is not OrderState.NOT_SENT and not lives:
                self.late(branch, fact.status, fact.filled)
                return
            self.revive(branch, ended, f"The broker told its status: {fact.status}.")
        self.present(fact.status, "orderStatus")
        self.word(branch, fact.status, fact.filled, fact.why_held)
        self.conclude()

    def word(self, branch: Branch, status: str, reported: Decimal, why_held: str, reject_reason: str = "") -> None:
        """The broker's status word about a branch of a living order (an echo may come without one)."""
        if not status:
            return
        if branch.final is not None:
            self.late(branch, status, reported)
            return
        news = (status, why_held) != (branch.status, branch.why_held) or reported > branch.reported
        if news or (self.record.refusal is not None and status in LIVE_STATUSES):
            self.emit(
                StatusChanged(
                    at=self.ctx.now,
                    perm_id=branch.perm_id,
                    status=status,
                    reported=reported,
                    why_held=why_held,
                )
            )
        self.end_by_status(branch, status, reject_reason)

    def end_by_status(self, branch: Branch, status: str, reject_reason: str = "") -> None:
        """Whether a status word ends the branch, and as what."""
        record = self.record
        code, reason = (None, reject_reason) if reject_reason else (record.refusal or (None, ""))
        refused = bool(reason) and Operation.CANCEL not in record.outstanding and not record.filled_of(branch)
        if status == "Filled":
            self.end_told(branch, OrderState.FILLED)
        elif status in _CANCELLED_STATUSES or (status == "Inactive" and reason):
            if refused:
                self.end_told(branch, OrderState.REJECTED, code, reason)
            else:
                self.end_told(branch, OrderState.CANCELLED, code, reason)
        elif status == "Inactive" and record.terms.tif in _CANNOT_REST and not branch.why_held:
            self.end_told(branch, OrderState.CANCELLED, None, f"{record.terms.tif}: not filled at once.")

    def late(self, branch: Branch, status: str, reported: Decimal) -> None:
        """A status about a branch that is over: only a higher count of filled units, or a first end, is news."""
        final = status in _FINAL_STATUSES
        if reported > branch.reported or (final and branch.final is None):
            shown = status if final else branch.status
            self.emit(
                StatusChanged(
                    at=self.ctx.now,
                    perm_id=branch.perm_id,
                    status=shown,
                    reported=reported,
                    why_held=branch.why_held,
                )
            )
        if status == "Filled" and branch.final is not OrderState.FILLED:
            self.end_told(branch, OrderState.FILLED)
        elif final and branch.final is None:
            self.end_told(branch, OrderState.CANCELLED)

    def end_told(self, branch: Branch, state: OrderState, code: int | None = None, why: str = "") -> None:
        """The broker says that this branch is over."""
        self.emit(EndTold(at=self.ctx.now, perm_id=branch.perm_id, state=state, code=code, why=why))

    # --- executions ---------------------------------------------------------------------------------------------------

    def execution(self, execution: Execution) -> None:
        """execDetails: the only thing that moves the filled quantity."""
        record, now = self.record, self.ctx.now
        held = record.fills.get(execution.base_id)
        if held is not None and _revision(execution) <= _revision(held):
            if held.exec_id == execution.exec_id and held.commission is None and execution.commission is not None:
                self.add_commission(execution, execution.commission)
            return
        if (branch := self.branch(execution)) is None:
            return
        if (ended := record.ended) is not None:
            wrong = ended.state in (OrderState.REJECTED, OrderState.NOT_SENT)
            if wrong or (record.ours and self.can_live(branch)):
                self.revive(branch, ended, f"Execution {execution.exec_id} proves that it is at the broker.")
        self.present("Filled", "execDetails")
        if held is None:
            self.emit(FillAdded(at=now, execution=execution))
        else:
            self.emit(FillCorrected(at=now, perm_id=branch.perm_id, replaces=held.exec_id, execution=execution))
        self.conclude()

    def commission(self, fact: CommissionSeen) -> None:
        """commissionReport, for the execution id it names."""
        for fill in self.record.fills.values():
            if fill.exec_id == fact.exec_id:
                told = (fill.commission, fill.commission_currency, fill.realized_pnl)
                if told != (fact.commission, fact.currency, fact.realized_pnl):
                    self.emit(
                        CommissionAdded(
                            at=self.ctx.now,
                            exec_id=fact.exec_id,
                            commission=fact.commission,
                            currency=fact.currency,
                            realized_pnl=fact.realized_pnl,
                        )
                    )
                return

    def add_commission(self, execution: Execution, commission: Decimal) -> None:
        """A repeated execution that now carries its cost."""
        self.emit(
            CommissionAdded(
                at=self.ctx.now,
                exec_id=execution.exec_id,
                commission=commission,
                currency=execution.commission_currency,
                realized_pnl=execution.realized_pnl,
            )
        )

    # --- the past and the errors --------------------------------------------------------------------------------------

    def completed(self, fact: OrderCompleted) -> None:
        """completedOrder: how it ended, and how much of it was filled by the broker's count."""
        if (branch := self.branch(fact)) is None:
            return
        status = fact.status if fact.status in _FINAL_STATUSES else "Cancelled"
        if (ended := self.record.ended) is not None:
            if ended.state is not OrderState.NOT_SENT:
                self.late(branch, status, fact.filled)
                return
            self.revive(branch, ended, f"The broker lists it as completed: {fact.status}.")
        self.present(status, "completedOrder")
        proposed = self.record.proposed
        if proposed is not None and fact.quantity == proposed.quantity != self.record.terms.quantity:
            self.settle(Operation.MODIFY, SettledHow.PRESENT, "completedOrder shows the changed quantity")
            self.emit(ModifyAcknowledged(at=self.ctx.now))
        if branch.final is not None:
            self.late(branch, status, fact.filled)
        else:
            self.emit(StatusChanged(at=self.ctx.now, perm_id=branch.perm_id, status=status, reported=fact.filled))
            state = _completed_state(status, f"{fact.status} {fact.completed_status}")
            self.end_told(branch, state, None, fact.completed_status.strip())
        self.conclude()

    def notice(self, fact: OrderNotice) -> None:
        """An error or warning with this order's id."""
        record, code, text = self.record, fact.code, fact.text
        if record.ended is not None:
            # The reason of an end often comes after it.
            if text != record.why:
                self.note(code, text, ask=False)
            return
        warning = is_warning(code)
        branches = list(record.branches.values())
        if not self.ctx.link_up or len(branches) != 1:
            # Told while the link is down, or of one of several orders: nothing ends by it.
            self.note(code, text, ask=not warning)
            return
        branch = branches[0]
        match judge(record.outstanding, code, text):
            case Verdict.REJECTED if not record.fills:
                self.end_told(branch, OrderState.REJECTED, code, text)
            case Verdict.CANCELLED:
                if branch.final is None:
                    state = OrderState.EXPIRED if "expired" in text.lower() else OrderState.CANCELLED
                    self.end_told(branch, state, code, text)
            case Verdict.MODIFY_REFUSED:
                self.settle(Operation.MODIFY, SettledHow.ENDED, text)
                self.emit(ModifyRejected(at=self.ctx.now, code=code, why=text))
            case Verdict.CANCEL_REFUSED:
                self.settle(Operation.CANCEL, SettledHow.ENDED, text)
                self.emit(CancelRejected(at=self.ctx.now, code=code, why=text))
            case _:
                rejecting = refuses_orders(code)
                self.note(code, text, ask=not warning, rejecting=rejecting)
                if rejecting and branch.final is None and branch.status == "Inactive":
                    self.end_by_status(branch, "Inactive")
        self.conclude()

    # --- the end ------------------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """End the order when every branch is over and every execution the broker counted is here."""
        record = self.record
        if (ended := record.ended) is not None:
            overtaken = ended.state in (OrderState.CANCELLED, OrderState.EXPIRED)
            if overtaken and not record.is_forked and record.filled >= record.wanted:
                self.emit(Filled(at=self.ctx.now))
            return
        branches = list(record.branches.values())
        if not branches or not all(self.is_over(branch) for branch in branches):
            return
        for operation in sorted(record.doubts):
            self.settle(operation, SettledHow.ENDED, "the order ended")
        finals = [branch for branch in branches if branch.final not in (None, OrderState.FILLED)]
        if record.filled >= record.wanted or not finals:
            self.emit(Filled(at=self.ctx.now))
        else:
            last = finals[0]
            end = END_OF_STATE[last.final or OrderState.CANCELLED]
            self.emit(end(at=self.ctx.now, code=last.final_code, why=last.final_why))

    def is_over(self, branch: Branch) -> bool:
        """Whether nothing more can come of a branch."""
        record = self.record
        if branch.final is not None:
            return record.missing_executions(branch) <= 0
        needed = (branch.quantity or record.terms.quantity) if record.is_forked else record.wanted
        return record.filled_of(branch) >= needed


def _revision(execution: Execution) -> int:
    """The correction number at the end of an execution id (`….01` -> 1)."""
    digits = execution.exec_id.rpartition(".")[2]
    return int(digits) if digits.isdecimal() else 0


def _completed_state(status: str, text: str) -> OrderState:
    lowered = text.lower()
    if status == "Filled":
        return OrderState.FILLED
    if "reject" in lowered:
        return OrderState.REJECTED
    return OrderState.EXPIRED if "expired" in lowered else OrderState.CANCELLED
