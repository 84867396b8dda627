"""One broker message, or one step of our own, at work on one order: what all of them share. Pure.

Who is meant (`branch`), that an order is present (`present`), how a doubt ends (`settle`) and when an order is over
(`conclude`). The messages themselves are `lifecycle`'s, our own steps are `steps`'.
"""

from __future__ import annotations

from decimal import Decimal

from ibkr_connector.backends.facts import Operation, OrderCompleted, OrderEchoed, OrderStatusSeen
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.changes import (
    END_OF_STATE,
    Acknowledged,
    Change,
    EndTold,
    Filled,
    Forked,
    Identified,
    Noted,
    Revived,
    Settled,
    SettledHow,
)
from ibkr_connector.orders.evolve import LIVE_STATUSES, evolve
from ibkr_connector.orders.record import Branch, Context, Ended, OrderRecord
from ibkr_connector.orders.whose import is_about

ACCEPTED_STATUSES = LIVE_STATUSES | {"PendingCancel", "Filled", "Cancelled", "ApiCancelled", "Inactive"}
"""Statuses that prove the broker has the order; `PendingSubmit` and `ApiPending` only say that the gateway does."""


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
        if isinstance(fact, OrderStatusSeen) or not is_about(record, fact):
            # It may be an order of another life that had the same id, or of another program.
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
        """Whether a branch of a finished order may be alive: nobody at the broker said it ended, and it is not filled.

        A fork that comes to light, an order of another program seen by its executions alone, or one that was declared
        ended without the broker's word (by an operator, or because its day was over).
        """
        record = self.record
        if branch.final is not None and not branch.waived:
            return False
        if not record.ours:
            return True
        return record.filled_of(branch) < self.needed(branch)

    def revive(self, branch: Branch, ended: Ended, why: str) -> None:
        """What was taken for ended is alive."""
        self.emit(Revived(at=self.ctx.now, perm_id=branch.perm_id, was=ended.state, why=why))

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
        return record.filled_of(branch) >= self.needed(branch)

    def needed(self, branch: Branch) -> Decimal:
        """The executions that make a branch complete."""
        record = self.record
        return (branch.quantity or record.terms.quantity) if record.is_forked else record.wanted

    def end_told(self, branch: Branch, state: OrderState, code: int | None = None, why: str = "") -> None:
        """The broker says that this branch is over."""
        self.emit(EndTold(at=self.ctx.now, perm_id=branch.perm_id, state=state, code=code, why=why))
