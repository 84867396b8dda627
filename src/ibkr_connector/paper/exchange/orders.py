"""One order inside the exchange: what was asked, how far it is, and the copies of it that are shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto
from typing import TYPE_CHECKING

from .types import ZERO, OrderStatus, OrderTicket, OrderView

if TYPE_CHECKING:
    from .groups import OcaGroup
    from .timers import Timer

STOPS = frozenset({"STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT"})
"""Types that wait for a trigger."""
TRAILING = frozenset({"TRAIL", "TRAIL LIMIT"})
TOUCHED = frozenset({"MIT", "LIT"})
"""Triggered when the price comes *to* the order (a buy below the market), not through it."""
LIMITED = frozenset({"LMT", "STP LMT", "TRAIL LIMIT", "LIT", "LOC"})
"""Types that never trade at a worse price than their limit."""
AT_CLOSE = frozenset({"MOC", "LOC"})
IMMEDIATE = frozenset({"IOC", "FOK"})


@dataclass(frozen=True, slots=True)
class Route:
    """The way an order takes to its venues."""

    session: int
    """The first part of its execution ids."""
    direct: bool
    """Whether the first status of a market order is already Submitted, as captured for some routes."""


DEFAULT_ROUTE = Route(0x0000E0D5, direct=False)


class Stage(Enum):
    """Where an order is. Statuses are what clients are told; stages are what happens."""

    HELD = auto()
    """Not transmitted: nobody but the gateway knows it."""
    SENT = auto()
    """On its way to the first echo."""
    ACKNOWLEDGED = auto()
    """Echoed, on its way to the venue."""
    WAITING_PARENT = auto()
    WAITING_OPEN = auto()
    LOCATING = auto()
    """A short sale whose shares nobody lends."""
    WORKING = auto()
    """At the venue: matching, resting, or waiting for its trigger."""
    DONE = auto()


class Order:
    """A live or finished order. `ticket` is replaced, never changed: views share it."""

    __slots__ = (
        "ahead",
        "announced",
        "cancelled_by",
        "charged",
        "children",
        "completed_at",
        "completed_status",
        "expiry",
        "filled",
        "group",
        "initial_quantity",
        "last_price",
        "limit_offset",
        "margin_quantity",
        "parent",
        "pending_change",
        "perm_id",
        "reject_text",
        "rest_key",
        "route",
        "sequence",
        "stage",
        "status",
        "stop_price",
        "ticket",
        "trade_value",
        "triggered",
        "wake_timer",
        "warning_text",
        "why_held",
    )

    def __init__(self, ticket: OrderTicket, perm_id: int, sequence: int) -> None:
        self.ticket = ticket
        self.perm_id = perm_id
        self.sequence = sequence
        """Rising number: time priority among our own orders."""
        self.status = OrderStatus.PENDING_SUBMIT
        self.stage = Stage.HELD
        self.filled = ZERO
        self.trade_value = ZERO
        """Sum of price x quantity of the fills."""
        self.charged = ZERO
        """Commission so far."""
        self.last_price = ZERO
        self.why_held = ""
        self.reject_text = ""
        self.warning_text = ""
        self.parent: Order | None = None
        self.children: list[Order] = []
        self.group: OcaGroup | None = None
        self.initial_quantity = ticket.quantity
        """What the client asked for; an OCA group can reduce the ticket's quantity below it."""
        self.stop_price: Decimal | None = None
        """The trigger in force: the ticket's, or where a trailing stop has got to."""
        self.triggered = False
        self.ahead: Decimal | None = None
        """Displayed size before a resting limit order at its price; None while the price is not the best."""
        self.announced = False
        """Whether the order was ever shown as Submitted."""
        self.limit_offset = ZERO
        """TRAIL LIMIT: the limit's distance from the stop."""
        self.rest_key: tuple[Decimal, int] | None = None
        """Its place among the resting orders of its side, or None."""
        self.cancelled_by: int | None = None
        self.pending_change: OrderTicket | None = None
        self.expiry: Timer | None = None
        self.wake_timer: Timer | None = None
        """Set while waiting for the market's open or (MOC, LOC) its close."""
        self.margin_quantity = ZERO
        """How much of it counts as working in the account's exposure."""
        self.route = DEFAULT_ROUTE
        self.completed_at: datetime | None = None
        self.completed_status = ""

    @property
    def key(self) -> tuple[int, int]:
        """Client id and order id."""
        return (self.ticket.client_id, self.ticket.order_id)

    @property
    def is_buy(self) -> bool:
        """Whether it adds to the position."""
        return self.ticket.action == "BUY"

    @property
    def remaining(self) -> Decimal:
        """Not filled yet."""
        return self.ticket.quantity - self.filled

    @property
    def workable(self) -> Decimal:
        """How much may be filled now: a child works for what its parent has filled, and no more."""
        parent = self.parent
        if parent is None:
            return self.remaining
        base = parent.initial_quantity
        activated = self.initial_quantity if parent.filled >= base else parent.filled * self.initial_quantity / base
        step = self.ticket.instrument.size_increment
        activated -= activated % step
        reduced = self.initial_quantity - self.ticket.quantity
        return max(ZERO, min(self.remaining, activated - reduced - self.filled))

    @property
    def extended(self) -> bool:
        """Whether it works outside regular hours. Futures and currencies have one kind of hours only."""
        return self.ticket.outside_rth or self.ticket.instrument.sec_type != "STK"

    @property
    def average_price(self) -> Decimal:
        """Mean fill price, 0 before the first fill."""
        return self.trade_value / self.filled if self.filled else ZERO

    @property
    def is_waiting_trigger(self) -> bool:
        """A stop that has not been triggered."""
        return self.ticket.order_type in STOPS and not self.triggered

    @property
    def limit(self) -> Decimal | None:
        """The limit in force, or None for orders at market."""
        return self.ticket.limit_price if self.ticket.order_type in LIMITED else None

    def amend(self, **changes: object) -> None:
        """Replace fields of the ticket."""
        self.ticket = replace(self.ticket, **changes)  # type: ignore[arg-type]

    def view(self, *, ticket: OrderTicket | None = None) -> OrderView:
        """A copy for an event; `ticket` shows a change that is on its way instead of what is in force."""
        stop = self.stop_price
        if stop is not None and stop != self.ticket.trail_stop_price and self.ticket.order_type in TRAILING:
            self.amend(trail_stop_price=stop)
        shown = ticket or self.ticket
        return OrderView(
            ticket=shown,
            perm_id=self.perm_id,
            status=self.status,
            filled=self.filled,
            remaining=max(ZERO, shown.quantity - self.filled),
            avg_fill_price=self.average_price,
            last_fill_price=self.last_price,
            why_held=self.why_held,
            reject_text=self.reject_text,
            warning_text=self.warning_text,
            completed_at=self.completed_at,
            completed_status=self.completed_status,
            cancelled_by=self.cancelled_by,
        )
