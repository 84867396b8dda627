"""Orders as a caller writes them, validated: `OrderRequest`, `BracketRequest`.

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
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from ibkr_connector.clock import system_clock
from ibkr_connector.errors import OrderValidationError, TradingError
from ibkr_connector.models.arguments import kept, moment, shown, text, to_decimal
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order_words import Action, OcaType, OrderType, TimeInForce

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REF_PATTERN = re.compile(r"[A-Za-z0-9_.:\-]{1,40}")
_LONGEST_NAME = 64
_NUMBERS = ("quantity", "limit_price", "stop_price", "trail_amount", "trail_percent", "reference_price")


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
