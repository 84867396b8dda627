"""The things the fault room speaks of: armed faults, their activations, and the messages they hit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from ..exchange.mishaps import NEW, OrderPhase
from ..exchange.types import WEB_CLIENT_ID, Execution
from ..tws.fields import Cursor, FieldError
from ..tws.place_order import decode_place_order
from .catalogue import KINDS, TWS, WEB
from .messages import CANCEL, FILL, MODIFY, ORDER_REPLIES, PLACE, WHAT_IF, reply_id, reply_name, request_name
from .plan import Fault

if TYPE_CHECKING:
    from ..tws.session import Session
    from .web_gate import WebRequest


class State(StrEnum):
    """Where an armed fault is."""

    WAITING = "waiting"
    """Its time has not come."""
    ARMED = "armed"
    SPENT = "spent"
    CLEARED = "cleared"


@dataclass(slots=True, eq=False)
class Armed:
    """A fault that waits for its moment."""

    number: int
    fault: Fault
    rng: random.Random
    state: State = State.WAITING
    since: float = 0.0
    """The wire time it was armed at: what `at` in seconds counts from."""
    seen: int = 0
    """Messages that fit so far."""
    fired: int = 0
    timer: asyncio.TimerHandle | None = None

    def counts(self, moments: Sequence[str], client_id: int) -> bool:
        """A message passes: whether the fault happens now."""
        fault = self.fault
        if self.state is not State.ARMED or fault.on not in moments or fault.client_id not in {None, client_id}:
            return False
        front = WEB if client_id == WEB_CLIENT_ID else TWS
        if fault.on != FILL and (fault.front not in {None, front} or front not in KINDS[fault.kind].fronts):
            return False
        self.seen += 1
        if self.seen < fault.nth or not self.tossed():
            return False
        self.fired += 1
        if self.fired == fault.times:
            self.state = State.SPENT
        return True

    def put_back(self) -> None:
        """It could not happen after all: the message it was to hit is gone. The next one that fits has to do."""
        self.fired -= 1
        self.state = State.ARMED

    def tossed(self) -> bool:
        """Whether chance wants it."""
        return self.fault.probability is None or self.rng.random() < self.fault.probability


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A request as plans see it."""

    session: Session
    fields: Sequence[str]
    kind: str
    id: int | None
    order: OrderPhase | None
    """The order it is about."""


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """A reply as plans see it."""

    session: Session
    fields: list[str]
    kind: str
    id: int | None
    order: OrderPhase | None


class Peer(Protocol):
    """Whoever a message comes from or goes to."""

    @property
    def client_id(self) -> int:
        """Its client id."""


@dataclass(slots=True, eq=False)
class Shot:
    """One activation of a fault."""

    number: int
    armed: Armed
    session: Peer | None = None
    request: Request | None = None
    reply: Reply | None = None
    web: WebRequest | None = None
    execution: Execution | None = None
    answer: Callable[[], None] | None = None
    """Carries the request out, replies muted or not."""
    undo: list[Callable[[], None]] = field(default_factory=list)
    """Ends what lasts, the last first."""

    @property
    def fault(self) -> Fault:
        """What was asked for."""
        return self.armed.fault

    @property
    def lasting(self) -> float:
        """How long it lasts, wire seconds."""
        return self.fault.for_ or 0.0


def describe_request(session: Session, fields: Sequence[str]) -> Request:
    """Look at a request without carrying it out. One that cannot be read has the kind of its number."""
    number = int(fields[0]) if fields[0].isdecimal() and len(fields[0]) < 10 else -1
    kind, request_id = request_name(number), session.id_of(fields)
    order: OrderPhase | None = None
    if request_id is not None and kind in {PLACE, CANCEL}:
        order = session.hub.exchange.mishaps.phase(session.client_id, request_id)
        if kind == PLACE:
            what_if, order_ref = _read_order(session, fields)
            kind = WHAT_IF if what_if else PLACE if order.phase == NEW else MODIFY
            order = OrderPhase(session.client_id, request_id, order_ref, order.phase)
    return Request(session, fields, kind, request_id, order)


def describe_reply(session: Session, fields: list[str]) -> Reply:
    """Look at a reply."""
    kind, number = reply_name(fields), reply_id(fields)
    order: OrderPhase | None = None
    if number is not None and kind in ORDER_REPLIES:
        order = session.hub.exchange.mishaps.phase(session.client_id, number)
        if order.phase == NEW:
            order = None
    return Reply(session, fields, kind, number, order)


def _read_order(session: Session, fields: Sequence[str]) -> tuple[bool, str]:
    try:
        order = decode_place_order(Cursor(fields, 1), session.version)
    except FieldError:
        return False, ""
    return order.flag("what_if"), order.values["order_ref"]
