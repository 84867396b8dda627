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

from ibkr_connector.backends.base import (
    BrokerFact,
    CommissionSeen,
    ExecutionSeen,
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
    CancelSent,
    Change,
    CommissionAdded,
    Committed,
    Drifted,
    Echoed,
    EndTold,
    EnteredDoubt,
    Filled,
    FillAdded,
    FillCorrected,
    Forked,
    Identified,
    ModifyAcknowledged,
    ModifyNotSent,
    ModifyRejected,
    ModifySent,
    NeverArrived,
    Noted,
    NotSent,
    Operation,
    OrderTerms,
    Resolved,
    Revived,
    Settled,
    SettledHow,
    StatusChanged,
)
from ibkr_connector.orders.drift import compare, compare_names, is_severe, terms_of_echo
from ibkr_connector.orders.evolve import LIVE_STATUSES, evolve
from ibkr_connector.orders.record import Branch, Context, OrderRecord
from ibkr_connector.orders.terminal import Verdict, is_warning, judge, refuses_orders

ACCEPTED_STATUSES = LIVE_STATUSES | {"PendingCancel", "Filled", "Cancelled", "ApiCancelled", "Inactive"}
"""Statuses that prove the broker has the order; `PendingSubmit` and `ApiPending` only say that the gateway does."""

_CANCELLED_STATUSES = frozenset({"Cancelled", "ApiCancelled"})
_CANNOT_REST = frozenset({"IOC", "FOK"})
_RESOLVABLE = frozenset(
    {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED, OrderState.NOT_SENT}
)


class _Step:
    """One message at work on one record."""

    __slots__ = ("changes", "ctx", "record")

    def __init__(self, record: OrderRecord, ctx: Context) -> None:
        self.record = record
        self.ctx = ctx
        self.changes: list[Change] = []

    def emit(self, change: Change) -> None:
        evolve(self.record, change)
        self.changes.append(change)

    def settle(self, operation: Operation, how: SettledHow, evidence: str) -> None:
        if operation in self.record.doubts:
            self.emit(Settled(at=self.ctx.now, operation=operation, how=how, evidence=evidence))

    def note(self, code: int | None, text: str, *, ask: bool, rejecting: bool = False) -> None:
        """Keep a message once."""
        known = self.record.warning == text and (not rejecting or self.record.refusal == (code, text))
        if text and not known:
            self.emit(Noted(at=self.ctx.now, code=code, text=text, ask=ask, rejecting=rejecting))

    # --- who is meant -------------------------------------------------------------------------------------------------

    def branch(self, fact: OrderEchoed | OrderStatusSeen | OrderCompleted | Execution) -> Branch | None:
        """The order at the broker that a message is about; None when that is not certain."""
        record, perm_id = self.record, fact.perm_id
        if perm_id in record.branches:
            return record.branches[perm_id]
        order_id, client_id = record.order_id, record.client_id
        if not isinstance(fact, OrderCompleted) and fact.order_id > 0:
            order_id, client_id = fact.order_id, fact.client_id
        if not perm_id:
            same = [one for one in record.branches.values() if one.order_id == order_id]
            return same[0] if len(same) == 1 else None
        if not record.perm_ids:
            self.emit(Identified(at=self.ctx.now, perm_id=perm_id, order_id=order_id, client_id=client_id))
            return record.branches[perm_id]
        if isinstance(fact, OrderStatusSeen) or fact.order_ref != record.broker_ref:
            # No ref, no proof: an order of another life may have had the same id.
            self.note(None, f"A message about this order names another permId ({perm_id}).", ask=True)
            return None
        quantity = None if isinstance(fact, Execution) else fact.quantity
        self.emit(
            Forked(at=self.ctx.now, perm_id=perm_id, order_id=order_id, client_id=client_id, quantity=quantity)
        )
        return record.branches[perm_id]

    def present(self, status: str, evidence: str) -> None:
        """The broker (or the gateway) showed the order."""
        accepted = status in ACCEPTED_STATUSES
        if accepted or self.ctx.link_up:
            self.settle(Operation.NEW, SettledHow.PRESENT, evidence)
        record = self.record
        if accepted and (not record.acknowledged or Operation.NEW in record.outstanding):
            self.emit(Acknowledged(at=self.ctx.now, status=status))

    def revive(self, branch: Branch, why: str) -> None:
        ended = self.record.ended
        if ended is not None:
            self.emit(Revived(at=self.ctx.now, perm_id=branch.perm_id, was=ended.state, why=why))

    # --- echo and status ----------------------------------------------------------------------------------------------

    def echo(self, fact: OrderEchoed) -> None:
        record, ctx = self.record, self.ctx
        known = record.perm_ids
        if fact.what_if or (branch := self.branch(fact)) is None:
            return
        if record.ended is not None:
            if fact.status in LIVE_STATUSES or fact.status in ("PendingSubmit", "PendingCancel"):
                is_fork = bool(known) and fact.perm_id not in known
                if is_fork or record.ended.state is OrderState.NOT_SENT:
                    self.revive(branch, f"The broker shows it as {fact.status}.")
                else:
                    text = f"Taken for {record.ended.state.value}, but the broker showed it as {fact.status}."
                    self.note(None, text, ask=True)
                    return
            else:
                self.status_word(branch, fact.status, branch.reported, branch.why_held)
                self.conclude()
                return
        self.present(fact.status, "openOrder")
        terms = terms_of_echo(fact)
        seen = (record.echo, record.echo_account, record.echo_ref)
        if seen != (terms, fact.account, fact.order_ref) or record.echoed_epoch != ctx.epoch:
            self.emit(
                Echoed(
                    at=ctx.now,
                    perm_id=fact.perm_id,
                    epoch=ctx.epoch,
                    account=fact.account,
                    order_ref=fact.order_ref,
                    terms=terms,
                )
            )
        if record.proposed is not None and not compare(record.proposed, terms):
            self.settle(Operation.MODIFY, SettledHow.PRESENT, "openOrder shows the changed version")
            self.emit(ModifyAcknowledged(at=ctx.now))
        self.drift(fact, terms)
        self.note(None, fact.warning, ask=False)
        self.status_word(branch, fact.status, branch.reported, branch.why_held, fact.reject_reason)
        self.conclude()

    def drift(self, fact: OrderEchoed, terms: OrderTerms) -> None:
        record = self.record
        if not record.ours:
            return
        by_version = [compare(version, terms) for version in record.versions()]
        best = min(by_version, key=len)
        found = best + compare_names(
            account=record.account, ref=record.ref, echo_account=fact.account, echo_ref=fact.order_ref
        )
        if found != record.drift:
            self.emit(Drifted(at=self.ctx.now, fields=found, severe=is_severe(found)))

    def status(self, fact: OrderStatusSeen) -> None:
        if (branch := self.branch(fact)) is None:
            return
        if self.record.ended is not None:
            self.late_status(branch, fact)
            return
        self.present(fact.status, "orderStatus")
        self.status_word(branch, fact.status, fact.filled, fact.why_held)
        self.conclude()

    def late_status(self, branch: Branch, fact: OrderStatusSeen) -> None:
        """A status of a finished order: only its count of filled units is news (and a reason to ask)."""
        ended = self.record.ended
        if ended is not None and ended.state is OrderState.NOT_SENT and fact.status in ACCEPTED_STATUSES:
            self.revive(branch, f"The broker told its status: {fact.status}.")
            self.status(fact)
            return
        if fact.filled > branch.reported:
            status = fact.status if fact.status not in LIVE_STATUSES else branch.status
            self.told(branch, status, max(fact.filled, branch.reported), branch.why_held)

    def told(self, branch: Branch, status: str, reported: object, why_held: str) -> None:
        raise AssertionError
