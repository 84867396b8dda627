"""What can happen to one order, as values: the vocabulary of the life cycle and of the journal's event table.

A `Change` is both the news (what `lifecycle.apply` found in a broker message) and the memory (what the journal keeps):
`evolve.evolve` folds changes into an `OrderRecord`, so a record read back from disk is the record that was in
memory. `kind` names a change on disk for ever; fields may be added with defaults, never renamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

import msgspec

from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import JournalCorrupt
from ibkr_connector.models.account import Execution
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import Action, OrderRequest, OrderState


class SettledHow(StrEnum):
    """How a doubt ended."""

    PRESENT = "present"
    """The broker showed the order (or the change)."""
    ABSENT = "absent"
    """Complete evidence, twice, without it."""
    ENDED = "ended"
    """The order ended, which answers everything."""
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What an order says to the market; the part of an order that a change may change, and that an echo repeats."""

    contract: Contract
    action: Action
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    tif: str = "DAY"
    outside_rth: bool = False
    good_till: datetime | None = None
    oca_group: str = ""
    oca_type: int = 0
    """0 = not said."""

    @classmethod
    def of_request(cls, request: OrderRequest) -> OrderTerms:
        """The terms a caller asked for."""
        return cls(
            contract=request.contract,
            action=request.action,
            quantity=request.quantity,
            order_type=request.order_type.value,
            limit_price=request.limit_price,
            stop_price=request.stop_price,
            trail_amount=request.trail_amount,
            trail_percent=request.trail_percent,
            tif=request.tif.value,
            outside_rth=request.outside_rth,
            good_till=request.good_till,
            oca_group=request.oca_group or "",
            oca_type=int(request.oca_type or 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One field in which the broker's echo differs from the intent, both as text."""

    field: str
    intended: str
    echoed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBase:
    """Base of all changes. `at` is when we learnt it (UTC)."""

    kind: ClassVar[str] = ""
    at: datetime


# --- our own steps ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(ChangeBase):
    """SENDING is durable: from here on the order may reach the broker."""

    kind: ClassVar[str] = "committed"
    order_id: int
    client_id: int
    epoch: int
    """The connection it goes out on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent(ChangeBase):
    """Given up before the write: the ref may be used again."""

    kind: ClassVar[str] = "not_sent"
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted(ChangeBase):
    """A cancel was asked for: it is owed until the order ends or the broker refuses it, over outages and restarts."""

    kind: ClassVar[str] = "cancel_wanted"


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSent(ChangeBase):
    """A cancel was written (or may have been)."""

    kind: ClassVar[str] = "cancel_sent"
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifySent(ChangeBase):
    """A change was written (or may have been): until it is answered both versions count."""

    kind: ClassVar[str] = "modify_sent"
    terms: OrderTerms
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyNotSent(ChangeBase):
    """A committed change was given up before the write: the order is as it was."""

    kind: ClassVar[str] = "modify_not_sent"
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplySending(ChangeBase):
    """A reply to a question of the broker's is durable and about to be written (Web).

    Until it is answered the operation is as open as after its first write: a yes may make it work.
    """

    kind: ClassVar[str] = "reply_sending"
    operation: Operation
    message_ids: tuple[str, ...]
    question: str
    confirmed: bool
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnteredDoubt(ChangeBase):
    """An operation may or may not have reached the broker."""

    kind: ClassVar[str] = "entered_doubt"
    operation: Operation
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(ChangeBase):
    """A doubt ended."""

    kind: ClassVar[str] = "settled"
    operation: Operation
    how: SettledHow
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved(ChangeBase):
    """An operator said how the order ended, and on what evidence."""

    kind: ClassVar[str] = "resolved"
    state: OrderState
    evidence: str
    operator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revived(ChangeBase):
    """An order that was taken for ended is alive after all: what the broker shows wins."""

    kind: ClassVar[str] = "revived"
    perm_id: int
    was: OrderState
    why: str


# --- what the broker said ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified(ChangeBase):
    """The broker's own number for the order is known."""

    kind: ClassVar[str] = "identified"
    perm_id: int
    order_id: int
    client_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged(ChangeBase):
    """The broker holds the order."""

    kind: ClassVar[str] = "acknowledged"
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Echoed(ChangeBase):
    """The broker's version of the order: new, changed, or seen again in a new connection."""

    kind: ClassVar[str] = "echoed"
    perm_id: int
    epoch: int
    account: str
    order_ref: str
    terms: OrderTerms
    vouches: bool
    """It named both our ref and the permId: the broker holds this order in this connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged(ChangeBase):
    """The broker's status word or its own count of the filled quantity moved. The count is a hint."""

    kind: ClassVar[str] = "status"
    perm_id: int
    status: str
    reported: Decimal
    why_held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndTold(ChangeBase):
    """The broker says this order (this permId) ended; executions it counted may still be on their way."""

    kind: ClassVar[str] = "end_told"
    perm_id: int
    state: OrderState
    code: int | None = None
    why: str = ""
    waived: bool = False
    """Ended by hand: executions that are not here by now are not awaited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FillAdded(ChangeBase):
    """A new execution."""

    kind: ClassVar[str] = "fill"
    execution: Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class FillCorrected(ChangeBase):
    """A correction replaced an execution."""

    kind: ClassVar[str] = "fill_corrected"
    perm_id: int
    replaces: str
    execution: Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class CommissionAdded(ChangeBase):
    """What an execution cost."""

    kind: ClassVar[str] = "commission"
    exec_id: str
    commission: Decimal
    currency: str
    realized_pnl: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(ChangeBase):
    """A message about the order that ends nothing. `ask` = it is a reason to ask the broker for the order's state."""

    kind: ClassVar[str] = "noted"
    code: int | None
    text: str
    ask: bool = False
    rejecting: bool = False
    """The code refuses orders; what it refused here is not certain. An `Inactive` beside it means rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forked(ChangeBase):
    """The broker holds a further order under our ref (INV-02): counted in full, cancelled with the first."""

    kind: ClassVar[str] = "forked"
    perm_id: int
    order_id: int
    client_id: int
    quantity: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted(ChangeBase):
    """The echo differs from the intent. `severe` (side, account, contract, quantity) asks for a cancel."""

    kind: ClassVar[str] = "drifted"
    fields: tuple[Drift, ...]
    severe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyAcknowledged(ChangeBase):
    """The broker works the changed version."""

    kind: ClassVar[str] = "modify_acknowledged"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyRejected(ChangeBase):
    """The broker refused the change; the order works on as it was."""

    kind: ClassVar[str] = "modify_rejected"
    code: int | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRejected(ChangeBase):
    """The broker refused the cancel; `why` says the state it named."""

    kind: ClassVar[str] = "cancel_rejected"
    code: int | None
    why: str


# --- ends -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class End(ChangeBase):
    """Base of the ends of an order."""

    state: ClassVar[OrderState]
    code: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled(End):
    """Every unit is executed and every execution is here."""

    kind: ClassVar[str] = "filled"
    state: ClassVar[OrderState] = OrderState.FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(End):
    """Cancelled, by us, by the broker or by the exchange; a part may be filled."""

    kind: ClassVar[str] = "cancelled"
    state: ClassVar[OrderState] = OrderState.CANCELLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(End):
    """Refused by the broker."""

    kind: ClassVar[str] = "rejected"
    state: ClassVar[OrderState] = OrderState.REJECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(End):
    """Its time ran out; a part may be filled."""

    kind: ClassVar[str] = "expired"
    state: ClassVar[OrderState] = OrderState.EXPIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class NeverArrived(End):
    """Settled as never arrived. A write was made: the ref stays used for ever (INV-01)."""

    kind: ClassVar[str] = "never_arrived"
    state: ClassVar[OrderState] = OrderState.NOT_SENT


Change: TypeAlias = (
    Committed
    | NotSent
    | CancelWanted
    | CancelSent
    | ModifySent
    | ModifyNotSent
    | ReplySending
    | EnteredDoubt
    | Settled
    | Resolved
    | Revived
    | Identified
    | Acknowledged
    | Echoed
    | StatusChanged
    | EndTold
    | FillAdded
    | FillCorrected
    | CommissionAdded
    | Noted
    | Forked
    | Drifted
    | ModifyAcknowledged
    | ModifyRejected
    | CancelRejected
    | Filled
    | Cancelled
    | Rejected
    | Expired
    | NeverArrived
)

CHANGE_KINDS: dict[str, type[Change]] = {cls.kind: cls for cls in Change.__args__}
"""Every kind on disk and its class."""

END_OF_STATE: dict[OrderState, type[Filled | Cancelled | Rejected | Expired | NeverArrived]] = {
    cls.state: cls for cls in (Filled, Cancelled, Rejected, Expired, NeverArrived)
}
"""The change that ends an order in a given state."""


def encode_change(change: Change) -> str:
    """The fields of a change as JSON text (its `kind` is kept beside it)."""
    return msgspec.json.encode(change).decode()


def decode_change(kind: str, data: str) -> Change:
    """The change back from the journal. Raises `JournalCorrupt` for an unknown kind or fields that do not fit."""
    cls: type[Any] | None = CHANGE_KINDS.get(kind)
    if cls is None:
        msg = f"The journal holds an event of unknown kind {kind!r}."
        raise JournalCorrupt(msg, kind=kind)
    try:
        change: Change = msgspec.json.decode(data, type=cls)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        msg = f"An event of kind {kind!r} in the journal cannot be read: {error}."
        raise JournalCorrupt(msg, kind=kind) from None
    return change
