"""Orders as they are known once they were placed: `OrderSnapshot`, and each `Fill`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order_words import Action, OrderState

_WORD_OF_END = {
    OrderState.FILLED: "Filled",
    OrderState.CANCELLED: "Cancelled",
    OrderState.EXPIRED: "Cancelled",
    OrderState.REJECTED: "Inactive",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution of an order, with its cost when the commission report has come."""

    exec_id: str
    at: datetime
    quantity: Decimal
    price: Decimal
    venue: str = ""
    commission: Decimal | None = None
    commission_currency: str = ""
    realized_pnl: Decimal | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, numbers as floats."""
        return {
            "exec_id": self.exec_id,
            "timestamp": self.at.isoformat(),
            "quantity": float(self.quantity),
            "price": float(self.price),
            "venue": self.venue,
            "commission": None if self.commission is None else float(self.commission),
            "commission_currency": self.commission_currency,
            "realized_pnl": None if self.realized_pnl is None else float(self.realized_pnl),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSnapshot:
    """An order at one moment: what was asked, what the broker says, what was filled."""

    order_ref: str
    state: OrderState
    contract: Contract
    action: Action
    quantity: Decimal
    order_type: str
    account: str
    order_id: int = 0
    perm_id: int = 0
    client_id: int = 0
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    tif: str = "DAY"
    outside_rth: bool = False
    parent_ref: str = ""
    oca_group: str = ""
    oca_type: int = 0
    """What a fill does to the others of its OCA group (`OcaType`); 0 = none was said."""
    agent: str = ""
    """Which of the program's agents asked for it; "" = none was named, or it is not an order of this journal."""
    broker_status: str = ""
    """IBKR's own word: Submitted, PreSubmitted, Filled …"""
    filled: Decimal = Decimal(0)
    avg_fill_price: Decimal | None = None
    commission: Decimal | None = None
    why: str = ""
    """The broker's text or our reason, for rejected, cancelled, not sent and in doubt."""
    warning: str = ""
    fills: tuple[Fill, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    ours: bool = True
    """False for orders of other clients, TWS itself, or the time before the journal."""

    @property
    def status(self) -> str:
        """IBKR's word for where the order stands; once it has ended, the word for its end, whatever was told last."""
        return _WORD_OF_END.get(self.state) or self.broker_status or self.state.value

    @property
    def remaining(self) -> Decimal:
        """The quantity not filled yet (or never, once the order is done)."""
        return self.quantity - self.filled

    def to_dict(self) -> dict[str, Any]:
        """The guide's keys, numbers as floats."""
        return {
            "order_ref": self.order_ref,
            "order_id": self.order_id,
            "perm_id": self.perm_id,
            "client_id": self.client_id,
            "account": self.account,
            "symbol": self.contract.symbol,
            "con_id": self.contract.con_id,
            "secType": self.contract.sec_type,
            "action": self.action.value,
            "quantity": float(self.quantity),
            "order_type": self.order_type,
            "lmt_price": None if self.limit_price is None else float(self.limit_price),
            "stop_price": None if self.stop_price is None else float(self.stop_price),
            "tif": self.tif,
            "status": self.status,
            "state": self.state.value,
            "filled_quantity": float(self.filled),
            "remaining_quantity": float(self.remaining),
            "avg_fill_price": None if self.avg_fill_price is None else float(self.avg_fill_price),
            "commission": None if self.commission is None else float(self.commission),
            "why": self.why,
            "parent_ref": self.parent_ref,
            "oca_group": self.oca_group,
            "agent": self.agent,
            "fills": [fill.to_dict() for fill in self.fills],
            "success": self.state not in (OrderState.REJECTED, OrderState.NOT_SENT),
            "timestamp": None if self.updated_at is None else self.updated_at.isoformat(),
        }
