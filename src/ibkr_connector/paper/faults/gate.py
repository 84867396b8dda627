"""What becomes of each message while faults are armed: the front's taps, and the exchange's disturbance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..exchange.types import ExchangeEvent, Execution, QuoteChanged, TradePrinted
from .engine import FaultEngine
from .messages import FILL, ORDER_REPLIES, ORDER_REQUESTS, TICKS
from .shots import Reply, Request, Shot, describe_reply, describe_request

if TYPE_CHECKING:
    from ..tws.session import Session
    from ..tws.texts import Error

Doing = Literal["swallow", "duplicate", "reorder"]


@dataclass(slots=True, eq=False)
class Rule:
    """What happens to replies while a fault lasts."""

    shot: Shot
    doing: Doing
    client_id: int | None
    request: Request | None
    """Only what answers this."""
    kinds: frozenset[str] | None
    """Only these replies."""
    left: int | None
    """So many more."""
    held: list[Reply] = field(default_factory=list)

    def fits(self, reply: Reply, answering: Request | None) -> bool:
        """Whether it is about this reply."""
        if self.client_id not in {None, reply.session.client_id}:
            return False
        if self.kinds is not None and reply.kind not in self.kinds:
            return False
        return self.request is None or _answers(self.request, reply, answering)


@dataclass(slots=True, eq=False)
class Window:
    """What happens to requests while a fault lasts."""

    shot: Shot
    what: str
    client_id: int | None
    kinds: frozenset[str] | None
    act: Callable[[Request, Callable[[], None]], None]
    unless: Callable[[Request], bool] | None = None
    """Requests of these kinds that are none of its business."""

    def fits(self, request: Request) -> bool:
        """Whether it is about this request."""
        return (
            self.client_id in {None, request.session.client_id}
            and (self.kinds is None or request.kind in self.kinds)
            and (self.unless is None or not self.unless(request))
        )


def unanswered(request: Request, answer: Callable[[], None]) -> None:
    """What a window does with requests that are lost: nothing."""


class Gate:
    """Implements `tws.taps.Taps` and the exchange's `Disturbance`; the effects set its rules."""

    def __init__(self, engine: FaultEngine) -> None:
        self._engine = engine
        self._hub = engine.hub
        self._answering: Request | None = None
        self.rules: list[Rule] = []
        self.windows: list[Window] = []
        self.mutes: dict[Shot, frozenset[int] | None] = {}
        """Instruments whose quotes nobody hears; None = all."""
        self.refusals: dict[Shot, tuple[int | None, Error]] = {}
        """Newcomers that are refused: their client id (None = all) and the error."""
        self.forking: set[tuple[int, int]] = set()
        """Orders whose next change becomes a second order."""
        self.commission_late = 0.0
        """Wire seconds by which the commission of the execution being reported is late."""

    # --- taps ---

    def request(self, session: Session, fields: Sequence[str], answer: Callable[[], None]) -> None:
        """A request has arrived."""
        request = describe_request(session, fields)

        def carry_out() -> None:
            # What the market did until now is no answer to this.
            self._hub.exchange.advance()
            before, self._answering = self._answering, request
            try:
                answer()
            finally:
                self._answering = before

        if self._engine.trigger(request.kind, session.client_id, request=request, answer=carry_out):
            return
        self.pass_on(request, carry_out)

    def pass_on(self, request: Request, carry_out: Callable[[], None]) -> None:
        """Carry a request out, unless a running fault has something against it."""
        for window in tuple(self.windows):
            if window.fits(request):
                self._engine.hit(window.shot, window.what, request=request)
                window.act(request, carry_out)
                return
        carry_out()

    def reply(self, session: Session, fields: list[str]) -> None:
        """A message is about to be sent."""
        reply = describe_reply(session, fields)
        if self._is_silenced(reply):
            return
        if self._engine.trigger(reply.kind, session.client_id, reply=reply):
            return
        for rule in tuple(self.rules):
            if rule.fits(reply, self._answering):
                self._apply(rule, reply)
                return
        session.transmit(fields)

    def hides(self, event: ExchangeEvent) -> bool:
        """Nothing comes over a cut link; no quotes come from a farm that is down."""
        if self._hub.exchange.mishaps.is_cut:
            return True
        if self.mutes and isinstance(event, QuoteChanged | TradePrinted):
            con_id = event.instrument.con_id
            return any(muted is None or con_id in muted for muted in self.mutes.values())
        return False

    def refusal(self, client_id: int) -> Error | None:
        """The error with which a newcomer is refused."""
        for shot, (refused, error) in self.refusals.items():
            if refused in {None, client_id}:
                self._engine.hit(shot, "refused")
                return error
        return None

    def _is_silenced(self, reply: Reply) -> bool:
        if self._hub.exchange.mishaps.is_cut:
            # Answers from what the gateway knew, and its own notices: nothing else.
            own = self._answering is not None or (reply.kind == "error" and reply.order is None)
            return reply.kind in TICKS or not own
        mute_all = any(muted is None for muted in self.mutes.values())
        return mute_all and reply.kind in TICKS and self._answering is None

    def _apply(self, rule: Rule, reply: Reply) -> None:
        self._engine.hit(rule.shot, rule.doing, reply=reply)
        if rule.left is not None:
            rule.left -= 1
        if rule.doing == "duplicate":
            reply.session.transmit(reply.fields)
            reply.session.transmit(reply.fields)
        elif rule.doing == "reorder":
            rule.held.append(reply)
        if rule.left == 0:
            self._engine.end(rule.shot, "over")

    def add_rule(self, rule: Rule, seconds: float) -> None:
        """Begin a rule; it ends after `seconds` or when it has been applied often enough."""
        self.rules.append(rule)
        self._engine.last(rule.shot, seconds, lambda: self._end_rule(rule))

    def _end_rule(self, rule: Rule) -> None:
        self.rules.remove(rule)
        for reply in reversed(rule.held):
            reply.session.transmit(reply.fields)
        rule.held.clear()

    def add_window(self, window: Window, seconds: float | None) -> None:
        """Begin a window; it ends after `seconds` (None = with its fault)."""
        self.windows.append(window)
        self._engine.last(window.shot, seconds, lambda: self.windows.remove(window))

    # --- disturbance ---

    def commission_delay(self, execution: Execution) -> float:
        """An execution was reported: the faults it triggers, and by how much its commission is late."""
        self.commission_late = 0.0
        self._engine.trigger(FILL, execution.client_id, execution=execution)
        return self.commission_late

    def forks(self, client_id: int, order_id: int) -> bool:
        """Whether a change of this order becomes a second order; asked once."""
        if (client_id, order_id) not in self.forking:
            return False
        self.forking.discard((client_id, order_id))
        self._engine.refresh()
        return True


def _answers(request: Request, reply: Reply, answering: Request | None) -> bool:
    """Whether a reply belongs to a request: by the order's id, or because it is sent while the request is answered."""
    if reply.session is not request.session:
        return False
    if request.kind in ORDER_REQUESTS:
        asked_for = answering is not None and answering.kind not in ORDER_REQUESTS
        return reply.kind in ORDER_REPLIES and reply.id == request.id and not asked_for
    if answering is request:
        return True
    return answering is None and request.id is not None and reply.id == request.id and reply.order is None
