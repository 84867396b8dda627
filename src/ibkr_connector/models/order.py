"""Orders as a caller writes them (`OrderRequest`) and as they are known later (`OrderSnapshot`, `Fill`).

Quantities and prices are Decimals from here on; floats are accepted at the door and taken at their shortest decimal
form (`0.1` means 0.1). An order's `order_ref` is its name for ever: it travels in IBKR's orderRef field and comes back
in every echo and execution; the same ref never becomes a second order.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from ibkr_connector.clock import system_clock
from ibkr_connector.errors import OrderValidationError, TradingError
from ibkr_connector.models.arguments import kept, moment, shown, text, to_decimal
from ibkr_connector.models.contract import Contract

__all__ = [
    "Action",
    "BracketRequest",
    "Fill",
    "OcaType",
    "OrderRequest",
    "OrderSnapshot",
    "OrderState",
    "OrderType",
    "TimeInForce",
    "new_order_ref",
    "to_decimal",
]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REF_PATTERN = re.compile(r"[A-Za-z0-9_.:\-]{1,40}")
_LONGEST_NAME = 64
_NUMBERS = ("quantity", "limit_price", "stop_price", "trail_amount", "trail_percent", "reference_price")


class Action(StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Action.BUY else -1

    @property
    def opposite(self) -> Action:
        """The other side."""
        return Action.SELL if self is Action.BUY else Action.BUY


class OrderType(StrEnum):
    """Order types the connector sends, spelled as IBKR spells them."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    STOP_LIMIT = "STP LMT"
    TRAILING_STOP = "TRAIL"


class TimeInForce(StrEnum):
    """How long an order works."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"


class OcaType(IntEnum):
    """What a fill of one order of an OCA group does to the others, by IBKR's numbers.

    With block only one order of the group is at an exchange at a time, so that no more than one can fill at once.
    """

    CANCEL_WITH_BLOCK = 1
    """The others are cancelled."""
    REDUCE_WITH_BLOCK = 2
    """The others are reduced in proportion."""
    REDUCE_WITHOUT_BLOCK = 3
    """The others are reduced in proportion, and may fill before that reaches them. IBKR's own default."""

    @property
    def blocks(self) -> bool:
        """Whether the group can never fill more than its largest order."""
        return self is not OcaType.REDUCE_WITHOUT_BLOCK


class OrderState(StrEnum):
    """Where an order stands, from the caller's hand to its end."""

    NEW = "new"
    """Validated; nothing sent."""
    SENDING = "sending"
    """Committed to the journal; the write is being made or awaits its first answer."""
    WORKING = "working"
    """The broker acknowledged it (PreSubmitted, Submitted)."""
    PARTIALLY_FILLED = "partially_filled"
    """Working, with a part filled."""
    PENDING_CANCEL = "pending_cancel"
    """A cancel was sent and not answered yet."""
    IN_DOUBT = "in_doubt"
    """It may be at the broker; nothing is known yet."""
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NOT_SENT = "not_sent"
    """Given up before the write, or settled as never arrived."""

    @property
    def is_done(self) -> bool:
        """Whether the order has ended."""
        return self in _DONE_STATES

    @property
    def is_live(self) -> bool:
        """Whether the order can still fill (in doubt counts)."""
        return self in _LIVE_STATES


_DONE_STATES = frozenset(
    {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED, OrderState.NOT_SENT}
)
_WORD_OF_END = {
    OrderState.FILLED: "Filled",
    OrderState.CANCELLED: "Cancelled",
    OrderState.EXPIRED: "Cancelled",
    OrderState.REJECTED: "Inactive",
}
_LIVE_STATES = frozenset(set(OrderState) - _DONE_STATES - {OrderState.NEW})


def new_order_ref() -> str:
    """A new ULID: 26 characters, sorted by time, unique without coordination (48 bits of time, 80 random)."""
    milliseconds = int(system_clock.now().timestamp() * 1000)
    number = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


class OrderRequest(BaseModel):
    """One order, validated. `OrderRequest.make` raises `OrderValidationError` naming field and legal values.

    What the journal holds is read back as it was written: rules of form that came later judge new orders only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    contract: Contract
    action: Action
    quantity: Decimal = Field(gt=0)
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    tif: TimeInForce = TimeInForce.DAY
    good_till: datetime | None = None
    order_ttl: float | None = Field(default=None, ge=5, le=31_536_000, allow_inf_nan=False)
    """Seconds of market time after which the broker ends it (sent as GTD), whether or not the program still lives."""
    outside_rth: bool = False
    account: str | None = None
    oca_group: str | None = None
    oca_type: OcaType | None = None
    """What a fill does to the others of `oca_group`; None = type 3, as IBKR has it."""
    order_ref: str = Field(default_factory=new_order_ref)
    agent: str | None = None
    """Which of the program's agents asked: for limits, logs and the journal."""
    reference_price: Decimal | None = None
    """The caller's own idea of the price, used by the gates only when no quote can be had."""

    @classmethod
    def make(cls, **values: Any) -> Self:
        """Build and validate; every problem becomes one `OrderValidationError` that names field and legal values."""
        if "action" in values and isinstance(values["action"], str):
            values["action"] = values["action"].strip().upper()
        for field in _NUMBERS:
            if values.get(field) is not None:
                values[field] = to_decimal(values[field], field)
        if values.get("order_ref") is None:
            values.pop("order_ref", None)
        try:
            return cls(**values)
        except ValidationError as error:
            raise _validation_error(error, values) from None

    @field_validator(*_NUMBERS, mode="before")
    @classmethod
    def _exact(cls, value: object, info: ValidationInfo) -> object:
        return value if value is None or info.mode == "json" else to_decimal(value, str(info.field_name))

    @field_validator(
        "order_ref", "account", "oca_group", "agent", "outside_rth", "good_till", "order_ttl", mode="before"
    )
    @classmethod
    def _of_its_own_type(cls, value: object, info: ValidationInfo) -> object:
        """Bytes are no text, a number is no moment and `"no"` is no flag, whatever could be made of them."""
        if value is None or info.mode == "json":
            return value
        kinds: dict[str, tuple[Any, str]] = {
            "outside_rth": (bool, "True or False"),
            "good_till": (datetime | str, "an aware datetime"),
            "order_ttl": (int | float | Decimal, "a number of seconds"),
        }
        kind, legal = kinds.get(str(info.field_name), (str, "text"))
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            msg = f"{info.field_name} must be {legal}, not {type(value).__name__}"
            raise ValueError(msg)
        return value

    @field_validator("account", "oca_group", "agent", "good_till")
    @classmethod
    def _can_be_sent(cls, value: str | datetime | None, info: ValidationInfo) -> str | datetime | None:
        if value is None or info.mode == "json":
            return value
        field = str(info.field_name)
        return moment(value, field) if isinstance(value, datetime) else text(value, field, most=_LONGEST_NAME)

    @field_validator("oca_type", mode="before")
    @classmethod
    def _one_of_three(cls, value: object, info: ValidationInfo) -> object:
        if value is None or info.mode == "json":
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= len(OcaType):
            msg = f"oca_type must be {_LEGAL['oca_type']}"
            raise ValueError(msg)
        return OcaType(value)

    @field_validator("order_ref")
    @classmethod
    def _ref_fits_the_wire(cls, value: str) -> str:
        if not _REF_PATTERN.fullmatch(value):
            msg = "order_ref takes 1 to 40 characters of A-Z a-z 0-9 _ . : -"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _prices_fit_the_type(self) -> Self:
        needed = _NEEDED_PRICES[self.order_type]
        for field in ("limit_price", "stop_price"):
            value = getattr(self, field)
            if field in needed and value is None:
                msg = f"{field} is needed for a {self.order_type.value} order"
                raise ValueError(msg)
            if (
                field not in needed
                and value is not None
                and not (field == "stop_price" and self.order_type is OrderType.TRAILING_STOP)
            ):
                msg = f"{field} has no meaning for a {self.order_type.value} order"
                raise ValueError(msg)
            if value is not None and value <= 0 and self.contract.sec_type not in _NEGATIVE_PRICE_TYPES:
                msg = f"{field} must be positive, not {value}"
                raise ValueError(msg)
        own = self.reference_price
        if own is not None and own <= 0 and self.contract.sec_type not in _NEGATIVE_PRICE_TYPES:
            msg = f"reference_price must be positive, not {own}"
            raise ValueError(msg)
        self._check_trail()
        if (self.tif is TimeInForce.GTD) != (self.good_till is not None):
            msg = "good_till goes with tif=GTD, and GTD needs it"
            raise ValueError(msg)
        if self.oca_type is not None and self.oca_group is None:
            msg = "oca_type goes with oca_group"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _ttl_is_the_only_end(self, info: ValidationInfo) -> Self:
        if info.mode != "json" and self.order_ttl is not None and self.tif not in (TimeInForce.DAY, TimeInForce.GTC):
            msg = f"order_ttl goes with tif=DAY or GTC; a {self.tif.value} order has an end of its own"
            raise ValueError(msg)
        return self

    def _check_trail(self) -> None:
        given = [value for value in (self.trail_amount, self.trail_percent) if value is not None]
        if self.order_type is OrderType.TRAILING_STOP:
            if len(given) != 1:
                msg = "a TRAIL order takes exactly one of trail_amount and trail_percent"
                raise ValueError(msg)
            if given[0] <= 0 or (self.trail_percent is not None and self.trail_percent >= 100):
                msg = "trail_amount must be positive, trail_percent between 0 and 100"
                raise ValueError(msg)
        elif given:
            msg = f"trail_amount and trail_percent have no meaning for a {self.order_type.value} order"
            raise ValueError(msg)


_NEEDED_PRICES: dict[OrderType, frozenset[str]] = {
    OrderType.MARKET: frozenset(),
    OrderType.LIMIT: frozenset({"limit_price"}),
    OrderType.STOP: frozenset({"stop_price"}),
    OrderType.STOP_LIMIT: frozenset({"limit_price", "stop_price"}),
    OrderType.TRAILING_STOP: frozenset(),
}
_NEGATIVE_PRICE_TYPES = frozenset({"BAG", "FUT", "FOP"})
_LEGAL = {
    "action": "BUY, SELL",
    "order_type": ", ".join(OrderType),
    "tif": ", ".join(TimeInForce),
    "quantity": "a number > 0",
    "oca_type": "1 (cancel with block), 2 (reduce with block), 3 (reduce without block)",
}


def _validation_error(error: ValidationError, values: dict[str, Any]) -> OrderValidationError:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, TradingError):  # said by a rule of ours, with field and legal values
        return OrderValidationError(cause.message, **cause.context)
    reason = str(first["msg"]).removeprefix("Value error, ")
    field = where[0] if where else _first_named(reason)
    # A price that must be positive may be negative for other kinds of contracts: the reason knows.
    legal = _LEGAL.get(field, "a number > 0" if "must be positive, not" in reason else reason)
    if first["type"] == "extra_forbidden":
        reason, legal = "an order has no such field", ", ".join(OrderRequest.model_fields)
    given = values.get(field)
    said = str(given) if isinstance(given, Decimal) else shown(given)
    message = f"{field}={said}: {reason}." + (f" Legal: {legal}." if field in _LEGAL else "")
    return OrderValidationError(message, field=field, value=kept(given), legal=legal)


def _first_named(reason: str) -> str:
    """The field that a sentence about the order names first."""
    places = {name: reason.find(name) for name in OrderRequest.model_fields if name in reason}
    return min(places, key=lambda name: places[name], default="order")


@dataclass(frozen=True, slots=True, kw_only=True)
class BracketRequest:
    """An entry with a profit target and a protecting stop. The three share one fate; only the last transmits."""

    entry: OrderRequest
    take_profit: OrderRequest
    stop_loss: OrderRequest

    def __post_init__(self) -> None:
        sides_ok = self.take_profit.action is self.entry.action.opposite is self.stop_loss.action
        if not sides_ok:
            msg = "the exits of a bracket must be on the other side of the entry."
            raise OrderValidationError(msg, field="action", legal=self.entry.action.opposite.value)
        target, stop = self.take_profit.limit_price, self.stop_loss.stop_price
        entry_price = self.entry.limit_price
        if target is None or stop is None:
            msg = "a bracket needs a limit price for the target and a stop price for the stop."
            raise OrderValidationError(msg, field="limit_price" if target is None else "stop_price")
        sign = self.entry.action.sign
        if sign * (target - stop) <= 0 or (
            entry_price is not None and not sign * stop < sign * entry_price < sign * target
        ):
            order = "stop < entry < target" if sign > 0 else "target < entry < stop"
            msg = f"bracket prices are in the wrong order: need {order}."
            raise OrderValidationError(
                msg, field="stop_price", value=f"stop {stop}, entry {entry_price}, target {target}", legal=order
            )

    @property
    def legs(self) -> tuple[OrderRequest, OrderRequest, OrderRequest]:
        """Entry, target, stop: the order in which they are sent."""
        return (self.entry, self.take_profit, self.stop_loss)


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
            "fills": [fill.to_dict() for fill in self.fills],
            "success": self.state not in (OrderState.REJECTED, OrderState.NOT_SENT),
            "timestamp": None if self.updated_at is None else self.updated_at.isoformat(),
        }
