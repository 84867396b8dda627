"""What a broker message does to an order. Pure: no I/O, time comes with the context.

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

from ibkr_connector.backends.facts import (
    BrokerFact,
    CommissionSeen,
    ExecutionSeen,
    Operation,
    OrderCompleted,
    OrderEchoed,
    OrderNotice,
    OrderStatusSeen,
    OrderUnanswered,
)
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.changes import (
    CancelRejected,
    Change,
    CommissionAdded,
    Drifted,
    Echoed,
    EnteredDoubt,
    FillAdded,
    FillCorrected,
    ModifyAcknowledged,
    ModifyNotSent,
    ModifyRejected,
    NotSent,
    OrderTerms,
    SettledHow,
    StatusChanged,
)
from ibkr_connector.orders.drift import compare, compare_names, is_severe, terms_of_told
from ibkr_connector.orders.evolve import LIVE_STATUSES
from ibkr_connector.orders.record import Branch, Context, OrderRecord
from ibkr_connector.orders.step import Step
from ibkr_connector.orders.terminal import Verdict, is_warning, judge, refuses_orders

_CANCELLED_STATUSES = frozenset({"Cancelled", "ApiCancelled"})
_FINAL_STATUSES = _CANCELLED_STATUSES | {"Filled"}
_CANNOT_REST = frozenset({"IOC", "FOK"})


def apply(record: OrderRecord, fact: BrokerFact, ctx: Context) -> list[Change]:
    """Judge one broker message about this order, fold what follows from it into `record`, and return it.

    A message that is about something else, an echo of a what-if, or anything told before the order was committed
    changes nothing.
    """
    if not record.committed:
        return []
    message = _Message(record, ctx)
    match fact:
        case OrderEchoed():
            message.echo(fact)
        case OrderStatusSeen():
            message.status(fact)
        case ExecutionSeen():
            message.execution(fact.execution)
        case CommissionSeen():
            message.commission(fact)
        case OrderCompleted():
            message.completed(fact)
        case OrderNotice():
            message.notice(fact)
        case OrderUnanswered():
            message.unanswered(fact)
        case _:
            pass
    return message.changes


class _Message(Step):
    """A message from the wire at work on one record."""

    __slots__ = ()

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
        terms = terms_of_told(fact)
        self.remember_echo(branch, fact, terms)
        self.match_change(branch, terms)
        self.drift(branch, fact, terms)
        self.note(None, fact.warning, ask=False)
        self.word(branch, fact.status, branch.reported, branch.why_held, fact.reject_reason)
        self.conclude()

    def remember_echo(self, branch: Branch, fact: OrderEchoed, terms: OrderTerms) -> None:
        """Keep the broker's version, once per connection."""
        record, epoch = self.record, self.ctx.epoch
        vouches = fact.perm_id > 0 and fact.order_ref == record.broker_ref
        news = (record.echo, record.echo_account, record.echo_ref) != (terms, fact.account, fact.order_ref)
        if news or (vouches and branch.shown_epoch != epoch):
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

    def drift(self, branch: Branch, fact: OrderEchoed, terms: OrderTerms) -> None:
        """Tell where the broker's version differs from every version we may have asked for; once.

        A fork is news of its own, and says nothing about the version of the first order.
        """
        record = self.record
        if not record.ours or branch.perm_id != record.perm_id:
            return
        found = min((compare(version, terms, may_shrink=record.may_shrink) for version in record.versions()), key=len)
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
        if self.record.is_cancel_told and self.ctx.link_up:
            self.settle(Operation.CANCEL, SettledHow.PRESENT, f"the broker says {status}")
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
            unheard = record.ours and branch.final is None and self.can_live(branch)
            if wrong or unheard:
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

    def unanswered(self, fact: OrderUnanswered) -> None:
        """What was handed over was not written at all, or got no answer: then it is in doubt, at once."""
        record, operation, now = self.record, fact.operation, self.ctx.now
        if record.ended is not None or operation not in record.outstanding:
            return
        if fact.written:
            if operation not in record.doubts:
                self.emit(EnteredDoubt(at=now, operation=operation, why=fact.why))
        elif operation is Operation.MODIFY:
            self.emit(ModifyNotSent(at=now, why=fact.why))
            self.conclude()
        elif operation is Operation.NEW and not record.perm_ids and not record.fills:
            self.emit(NotSent(at=now, why=fact.why))


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
