"""The connector's own state of one order: what was asked, what the broker said about it, what was filled.

An `OrderRecord` is changed by `evolve.evolve` alone, from `Change`s; everything a person reads (`state`, `filled`,
`avg_fill_price` …) is computed from it. The filled quantity is the sum of executions and of nothing else: a status that
counts more is a hint that executions are still to come (`awaiting_executions`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from ibkr_connector.backends.facts import Operation
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import Fill, OrderRequest, OrderSnapshot, OrderState
from ibkr_connector.orders.changes import Drift, OrderTerms

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What must be known beside a broker message to judge it."""

    link_up: bool
    """Whether the gateway's own link to IBKR is up: an error told while it is down ends nothing."""
    epoch: int
    """The number of this connection; rises with every (re)connect."""
    now: datetime
    client_id: int = 0
    """This connection's client id: the one that order ids in error messages belong to."""


@dataclass(slots=True)
class Branch:
    """One order at the broker under our ref. There is one, unless the broker made a fork of it (INV-02)."""

    perm_id: int
    """0 until the broker told it."""
    order_id: int
    client_id: int
    status: str = ""
    why_held: str = ""
    quantity: Decimal | None = None
    """By the last echo."""
    reported: Decimal = _ZERO
    """The highest filled quantity a status counted: a hint."""
    final: OrderState | None = None
    """How the broker says it ended; executions it counted may be missing."""
    waived: bool = False
    """Missing executions are not awaited any more (ended by hand)."""
    final_code: int | None = None
    final_why: str = ""
    shown_epoch: int | None = None
    """The connection in which the broker last showed this order, with its permId, under its number."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """An operation that may or may not have reached the broker."""

    operation: Operation
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How and why an order ended."""

    state: OrderState
    at: datetime
    code: int | None = None
    why: str = ""
    reusable: bool = False
    """True only when no write was ever made: the ref may be used again."""


@dataclass(slots=True)
class OrderRecord:
    """One order. Changed by `evolve.evolve` alone."""

    ref: str
    """Our order ref; for orders that are not ours a made-up key (`perm/123`, `client/7/12`) no ref can equal."""
    terms: OrderTerms
    """The version in force: the intent, or the last change the broker acknowledged."""
    account: str
    request: OrderRequest | None = None
    """What the caller asked for; None for orders that are not ours."""
    ours: bool = True
    broker_ref: str = ""
    """The orderRef the broker shows (equals `ref` for ours)."""
    group: str = ""
    parent_ref: str = ""
    agent: str = ""

    order_id: int = 0
    client_id: int = 0
    committed: bool = False
    """SENDING is in the journal."""
    acknowledged: bool = False
    sent_epochs: dict[Operation, int] = field(default_factory=dict)
    """The connection each operation was last written to; empty before that, and after a restart of the program."""
    sent_at: datetime | None = None
    """When SENDING was committed."""

    branches: dict[int, Branch] = field(default_factory=dict)
    """By permId; the key 0 holds what is told before the permId is known."""
    outstanding: set[Operation] = field(default_factory=set)
    proposed: OrderTerms | None = None
    """The version of an unanswered change."""
    cancel_wanted: bool = False
    """A cancel was asked for, and is owed until the order ends or the broker refuses the cancel."""
    doubts: dict[Operation, Doubt] = field(default_factory=dict)
    fills: dict[str, Execution] = field(default_factory=dict)
    """By base id (the execution id without its correction number)."""
    ended: Ended | None = None

    echo: OrderTerms | None = None
    echo_account: str = ""
    echo_ref: str = ""
    echoed_epoch: int | None = None
    """The connection in which the broker last showed the order with our ref and its permId."""
    drift: tuple[Drift, ...] = ()
    refusal: tuple[int | None, str] | None = None
    """A refusing code that came while it was not certain what it refused."""
    why: str = ""
    warning: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None

    # --- computed -----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> OrderState:
        """Where the order stands. A status word alone does not end it while executions are missing."""
        if self.ended is not None:
            return self.ended.state
        if not self.committed:
            return OrderState.NEW
        if Operation.NEW in self.doubts:
            return OrderState.IN_DOUBT
        if not self.acknowledged:
            return OrderState.SENDING
        if Operation.CANCEL in self.outstanding or self.is_cancel_told:
            return OrderState.PENDING_CANCEL
        return OrderState.PARTIALLY_FILLED if self.filled > 0 else OrderState.WORKING

    @property
    def is_done(self) -> bool:
        """Whether the order ended."""
        return self.ended is not None

    @property
    def in_doubt(self) -> bool:
        """Whether any operation on it is in doubt (new, modify or cancel): what `orders_in_doubt()` lists."""
        return bool(self.doubts)

    @property
    def perm_ids(self) -> frozenset[int]:
        """Every number the broker gave to orders under our ref; more than one is a fork."""
        return frozenset(perm_id for perm_id in self.branches if perm_id)

    @property
    def is_forked(self) -> bool:
        """Whether the broker holds several orders under our ref."""
        return len(self.perm_ids) > 1

    @property
    def perm_id(self) -> int:
        """The first permId told; 0 if none."""
        return next((perm_id for perm_id in self.branches if perm_id), 0)

    @property
    def broker_status(self) -> str:
        """The broker's own word, of the branch that still lives if there are several."""
        told = [branch for branch in self.branches.values() if branch.status]
        alive = [branch for branch in told if branch.final is None]
        return (alive or told)[0].status if told else ""

    @property
    def filled(self) -> Decimal:
        """The sum of the executions, corrections replaced, all branches."""
        return sum((fill.quantity for fill in self.fills.values()), _ZERO)

    @property
    def reported(self) -> Decimal:
        """What the broker's statuses count as filled: a hint, never the filled quantity."""
        return sum((branch.reported for branch in self.branches.values()), _ZERO)

    @property
    def awaiting_executions(self) -> bool:
        """Whether the broker counts more as filled than the executions here add up to: ask for executions."""
        return any(self.missing_executions(branch) > 0 for branch in self.branches.values())

    @property
    def avg_fill_price(self) -> Decimal | None:
        """The quantity-weighted price of the executions."""
        total = self.filled
        if total == 0:
            return None
        return sum((fill.quantity * fill.price for fill in self.fills.values()), _ZERO) / total

    @property
    def commission(self) -> Decimal | None:
        """The commissions told so far; None when none was."""
        told = [fill.commission for fill in self.fills.values() if fill.commission is not None]
        return sum(told, _ZERO) if told else None

    def versions(self) -> tuple[OrderTerms, ...]:
        """The versions that may be in force: one, or old and new while a change is unanswered or in doubt."""
        return (self.terms,) if self.proposed is None else (self.terms, self.proposed)

    @property
    def bracket(self) -> str:
        """The ref of the entry, for the orders of a bracket; else empty."""
        return self.group if self.parent_ref or self.group == self.ref else ""

    @property
    def oca(self) -> str:
        """The OCA group it was placed with as one; else empty."""
        return "" if self.bracket else self.group

    @property
    def may_shrink(self) -> bool:
        """Whether the broker may reduce it: a fill elsewhere in its OCA group, an entry that ends half filled."""
        return bool(self.terms.oca_group or self.parent_ref)

    @property
    def wanted(self) -> Decimal:
        """The largest quantity the order may have at the broker: over all versions and what the echo shows.

        What the broker reduced by itself is as large as it shows, unless a change of ours is unanswered.
        """
        told = [branch.quantity for branch in self.branches.values() if branch.quantity is not None]
        if told and self.may_shrink and self.proposed is None:
            return max(told)
        return max([*(terms.quantity for terms in self.versions()), *told])

    @property
    def open_quantity(self) -> Decimal:
        """The quantity that can still fill, worst case: max(old, new) of a change, every fork in full; 0 once ended."""
        if self.ended is not None:
            return _ZERO
        if not self.is_forked:
            return max(self.wanted - self.filled, _ZERO)
        total = _ZERO
        for branch in self.branches.values():
            if branch.final is None:
                total += max(self.wanted - self.filled_of(branch), _ZERO)
            else:
                total += max(self.missing_executions(branch), _ZERO)
        return total

    def filled_of(self, branch: Branch) -> Decimal:
        """The executions of one branch."""
        if len(self.branches) <= 1:
            return self.filled
        return sum((fill.quantity for fill in self.fills.values() if fill.perm_id == branch.perm_id), _ZERO)

    def missing_executions(self, branch: Branch) -> Decimal:
        """How much the broker counted as filled in a branch beyond its executions here (<= 0: nothing is missing)."""
        if branch.waived:
            return _ZERO
        counted = branch.reported
        if branch.final is OrderState.FILLED and counted == 0:
            counted = branch.quantity or self.terms.quantity
        return counted - self.filled_of(branch)

    def cancel_targets(self) -> tuple[Branch, ...]:
        """Every order at the broker that a cancel of this one must reach."""
        if self.ended is not None:
            return ()
        if not self.branches:
            return (Branch(perm_id=0, order_id=self.order_id, client_id=self.client_id),)
        return tuple(branch for branch in self.branches.values() if branch.final is None)

    def is_reachable(self, branch: Branch, *, epoch: int, client_id: int) -> bool:
        """Whether the branch's number certainly means this order on the present connection.

        A gateway that was restarted or replaced may have given the number to another order: it counts only after this
        very connection wrote the order, or showed it with its permId.
        """
        written = self.sent_epochs.get(Operation.NEW) == epoch and branch.order_id == self.order_id
        return branch.client_id == client_id and (written or branch.shown_epoch == epoch)

    def forget_connections(self) -> None:
        """The connections it was written to and shown on belong to another run: their numbers mean nothing any more."""
        self.sent_epochs.clear()
        self.echoed_epoch = None
        for branch in self.branches.values():
            branch.shown_epoch = None

    @property
    def is_cancel_told(self) -> bool:
        """Whether the broker says that it is cancelling: the cancel arrived, whenever its end comes."""
        alive = [branch for branch in self.branches.values() if branch.final is None]
        if alive:
            return all(branch.status == "PendingCancel" for branch in alive)
        return any(branch.final is OrderState.CANCELLED for branch in self.branches.values())

    def to_snapshot(self) -> OrderSnapshot:
        """The order at this moment, for people."""
        terms = self.terms
        return OrderSnapshot(
            order_ref=self.ref,
            state=self.state,
            contract=terms.contract,
            action=terms.action,
            quantity=min(terms.quantity, self.wanted) if self.may_shrink else terms.quantity,
            order_type=terms.order_type,
            account=self.account,
            order_id=self.order_id,
            perm_id=self.perm_id,
            client_id=self.client_id,
            limit_price=terms.limit_price,
            stop_price=terms.stop_price,
            trail_amount=terms.trail_amount,
            trail_percent=terms.trail_percent,
            tif=terms.tif,
            outside_rth=terms.outside_rth,
            parent_ref=self.parent_ref,
            oca_group=terms.oca_group,
            oca_type=terms.oca_type,
            agent=self.agent,
            broker_status=self.broker_status,
            filled=self.filled,
            avg_fill_price=self.avg_fill_price,
            commission=self.commission,
            why=self.why,
            warning=self.warning,
            fills=tuple(
                sorted((_fill(fill) for fill in self.fills.values()), key=lambda fill: (fill.at, fill.exec_id))
            ),
            created_at=self.created_at,
            updated_at=self.updated_at,
            ours=self.ours,
        )


def snapshot(record: OrderRecord) -> OrderSnapshot:
    """The order at this moment, for people."""
    return record.to_snapshot()


def _fill(execution: Execution) -> Fill:
    return Fill(
        exec_id=execution.exec_id,
        at=execution.at,
        quantity=execution.quantity,
        price=execution.price,
        venue=execution.venue,
        commission=execution.commission,
        commission_currency=execution.commission_currency,
        realized_pnl=execution.realized_pnl,
    )
