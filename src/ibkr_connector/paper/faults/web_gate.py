"""What becomes of each request of the Web front while faults are armed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from ..exchange.mishaps import NEW, OrderPhase
from ..exchange.types import WEB_CLIENT_ID
from ..web.calls import Call, Reply
from .engine import FaultEngine
from .messages import CANCEL, MODIFY, PLACE, REPLY, WEB_SOCKET
from .shots import Shot

if TYPE_CHECKING:
    from ..web.hub import WebHub

CarryOut = Callable[[], Awaitable[Reply]]
End = Literal["answer", "drop", "hang"]


class WebPeer:
    """Whom the messages of the Web front come from, as plans see it."""

    client_id: Final = WEB_CLIENT_ID


PEER: Final = WebPeer()


@dataclass(slots=True)
class Fate:
    """What happens to one request. The faults it triggers write it, the gate carries it out."""

    before: End = "answer"
    """Instead of carrying it out."""
    after: End = "answer"
    """Instead of the answer, once it was carried out."""
    instead: Reply | None = None
    """Answered without carrying it out."""
    replaced: Reply | None = None
    """Answered after carrying it out."""
    delay: float = 0.0
    """Wire seconds by which the answer is late."""
    times: int = 1
    """How often it is carried out."""
    shot: Shot | None = None
    """Whose end ends a hanging."""


@dataclass(frozen=True, slots=True, eq=False)
class WebRequest:
    """A request as plans see it."""

    kind: str
    call: Call
    id: int | None
    order: OrderPhase | None
    fate: Fate = field(default_factory=Fate)
    session: WebPeer = PEER


@dataclass(slots=True, eq=False)
class WebWindow:
    """What happens to every request while a fault lasts."""

    shot: Shot
    what: str
    apply: Callable[[Fate], None]


class WebGate:
    """Stands between the server and the desks; the effects set its windows."""

    def __init__(self, engine: FaultEngine, hub: WebHub) -> None:
        self._engine = engine
        self._hub = hub
        self._hanging: dict[Shot, set[asyncio.Future[None]]] = {}
        self.windows: list[WebWindow] = []

    async def serve(self, call: Call, carry_out: CarryOut) -> Reply | None:
        """Let a request through, or not; None: the connection ends without an answer."""
        request = WebRequest(call.name, call, *self._order_of(call))
        fate = request.fate
        self._engine.trigger(call.name, WEB_CLIENT_ID, web=request)
        for window in tuple(self.windows):
            self._engine.hit(window.shot, window.what, web=request)
            window.apply(fate)
        if fate.before != "answer":
            await self._wait(fate, fate.before)
            return None
        if fate.instead is not None:
            return fate.instead
        reply = await carry_out()
        for _ in range(fate.times - 1):
            reply = await carry_out()
        if fate.delay:
            await self._hub.clock.sleep_wire(fate.delay)
        if fate.after != "answer":
            await self._wait(fate, fate.after)
            return None
        return fate.replaced if fate.replaced is not None else reply

    async def admit_socket(self) -> Reply | None:
        """Whether a websocket may be opened now: an answer below 400; None: the connection ends without one."""
        call = Call(name=WEB_SOCKET, path={}, query={})

        async def nothing() -> Reply:
            return Reply()

        return await self.serve(call, nothing)

    async def _wait(self, fate: Fate, end: End) -> None:
        if end != "hang" or fate.shot is None or not self._engine.lasts(fate.shot):
            return  # also what was over before the answer was there: nobody would let it go
        future: asyncio.Future[None] = self._hub.loop.create_future()
        self._hanging.setdefault(fate.shot, set()).add(future)
        await future

    def let_go(self, shot: Shot) -> None:
        """What hangs because of this fault ends."""
        for future in self._hanging.pop(shot, set()):
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """The gateway closes: nothing hangs any more."""
        for shot in tuple(self._hanging):
            self.let_go(shot)
        self.windows.clear()

    def _order_of(self, call: Call) -> tuple[int | None, OrderPhase | None]:
        """The order a request is about, as far as it can be told without carrying it out."""
        exchange = self._hub.exchange
        if call.name in {PLACE, REPLY}:
            refs = self._hub.refs_of(call)
            return None, OrderPhase(WEB_CLIENT_ID, 0, refs[0] if refs else "", NEW)
        if call.name in {MODIFY, CANCEL}:
            number = call.path.get("order", "")
            if number.isdecimal() and len(number) < 19:
                view = exchange.order_by_perm_id(int(number))
                if view is not None:
                    return view.perm_id, exchange.mishaps.phase(view.ticket.client_id, view.ticket.order_id)
        return None, None
