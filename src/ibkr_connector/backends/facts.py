"""What the broker said about orders, executions, the account and the link: the stream of facts of a backend.

Facts come in wire order, asked for or not; they are the truth about orders, and no library's objects are.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from ibkr_connector.models.account import Execution, PnL, Position
from ibkr_connector.models.contract import Contract


class Operation(StrEnum):
    """What was asked of the broker about an order, and may not be answered yet."""

    NEW = "new"
    MODIFY = "modify"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEchoed:
    """openOrder: the order as the broker holds it."""

    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    account: str
    contract: Contract
    action: str
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_amount: Decimal | None
    trail_percent: Decimal | None
    tif: str
    outside_rth: bool
    parent_id: int
    oca_group: str
    status: str
    warning: str = ""
    reject_reason: str = ""
    what_if: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStatusSeen:
    """orderStatus."""

    order_id: int
    client_id: int
    perm_id: int
    status: str
    filled: Decimal
    remaining: Decimal
    avg_fill_price: Decimal
    parent_id: int = 0
    why_held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSeen:
    """execDetails, live (`replayed` False) or as part of an answer (`replayed` True)."""

    execution: Execution
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommissionSeen:
    """commissionReport. `realized_pnl` is None on opening trades."""

    exec_id: str
    commission: Decimal
    currency: str
    realized_pnl: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCompleted:
    """completedOrder: an order that ended today, by perm_id (its order id is not told)."""

    perm_id: int
    order_ref: str
    account: str
    contract: Contract
    action: str
    quantity: Decimal
    filled: Decimal
    order_type: str
    status: str
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    tif: str = "DAY"
    outside_rth: bool = False
    oca_group: str = ""
    completed_status: str = ""
    completed_time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderNotice:
    """An error or warning whose id is one of our order ids. What it means depends on the operation outstanding."""

    order_id: int
    code: int
    text: str
    reject_json: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUnanswered:
    """What was handed over for writing got no answer that says what became of it: no word of the broker's, but ours.

    A backend whose writes go out behind the call (Web) tells it; TWS has no answers to miss.
    """

    order_id: int
    operation: Operation
    written: bool
    """False only where it is certain that nothing of it went out."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemNotice:
    """A message about no request (id -1): 1100, 1101, 1102, 2103 …"""

    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NextIdTold:
    """nextValidId."""

    order_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketClosed:
    """The connection ended, by the other side or by us."""

    reason: str
    expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionSeen:
    """A position update outside an answer (position and portfolio messages)."""

    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountValueSeen:
    """One account value changed."""

    account: str
    key: str
    value: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlSeen:
    """A new profit-and-loss figure."""

    pnl: PnL


BrokerFact: TypeAlias = (
    OrderEchoed
    | OrderStatusSeen
    | ExecutionSeen
    | CommissionSeen
    | OrderCompleted
    | OrderNotice
    | OrderUnanswered
    | SystemNotice
    | NextIdTold
    | SocketClosed
    | PositionSeen
    | AccountValueSeen
    | PnlSeen
)
