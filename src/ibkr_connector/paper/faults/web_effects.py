"""What each kind of fault does to the Web front: its requests, its websockets, its sessions, its port."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..exchange.mishaps import NEW
from ..web.calls import Reply
from .broker import error_of
from .catalogue import KINDS, LINK_BACK, LINK_LOST, WEB
from .engine import FaultEngine
from .gate import Gate
from .messages import MODIFY, PLACE
from .shots import Shot
from .web_gate import Fate, WebGate, WebWindow

if TYPE_CHECKING:
    from ..web.front import WebFront

GO_ON, STOP = False, True
_UNFORKED: Final = frozenset({"held", "filled", "cancelled", "inactive", "withheld"})
_STATUS_TEXTS: Final = {
    401: "Unauthorized",
    410: "gone",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class WebEffects:
    """One method per kind that this front knows, named like it."""

    def __init__(self, engine: FaultEngine, gate: Gate, web_gate: WebGate, front: WebFront) -> None:
        self._engine = engine
        self._gate = gate
        self._web_gate = web_gate
        self._front = front
        self._closed_by: set[Shot] = set()

    def hits(self, shot: Shot) -> bool:
        """Whether the Web front has something to do about it."""
        fault = shot.fault
        if WEB not in KINDS[fault.kind].fronts or not hasattr(self, fault.kind):
            return False
        if shot.web is not None:
            return fault.kind != "error" or fault.code not in LINK_LOST | LINK_BACK
        by_tws = shot.request is not None or shot.reply is not None or shot.execution is not None
        return not by_tws and fault.front in {None, WEB} and fault.kind != "error"

    def alone(self, shot: Shot) -> bool:
        """Whether the other front has nothing to do about it."""
        return shot.web is not None or shot.fault.front == WEB or KINDS[shot.fault.kind].fronts == {WEB}

    def __call__(self, shot: Shot) -> bool:
        """Let it happen; STOP if the request that triggered it goes no further."""
        act: Callable[[Shot], bool] = getattr(self, shot.fault.kind)
        return act(shot)

    def _reply(self, shot: Shot) -> Reply:
        code = shot.fault.code or 503
        text = shot.fault.text if shot.fault.text is not None else _STATUS_TEXTS.get(code, "error")
        return Reply({"error": text, "statusCode": code}, code)

    def _window(self, shot: Shot, what: str, apply: Callable[[Fate], None]) -> None:
        window = WebWindow(shot, what, apply)
        self._web_gate.windows.append(window)

        def end() -> None:
            if window in self._web_gate.windows:
                self._web_gate.windows.remove(window)
            self._web_gate.let_go(shot)

        self._engine.last(shot, shot.lasting, end)

    def _hang(self, shot: Shot) -> None:
        self._engine.last(shot, shot.lasting, lambda: self._web_gate.let_go(shot))

    # --- the connection ----------------------------------------------------------------------------------------------

    def drop_connection(self, shot: Shot) -> bool:
        """The request is lost; without one, every connection ends."""
        if shot.web is not None:
            shot.web.fate.before = "drop"
        else:
            self._front.server.abort_all()
        return STOP

    def half_open(self, shot: Shot) -> bool:
        """Nothing is answered any more; connections are reset later."""

        def freeze(fate: Fate) -> None:
            fate.before, fate.shot = "hang", shot

        if shot.web is not None:
            freeze(shot.web.fate)
        self._window(shot, "not read", freeze)
        self._silence(shot)
        return STOP

    def reset_after_write(self, shot: Shot) -> bool:
        """Carried out, and then the connection ends."""
        if shot.web is not None:
            shot.web.fate.after = "drop"
        return GO_ON

    def refuse(self, shot: Shot) -> bool:
        """The port is closed; or, with a code, every request is answered with that status."""
        fault = shot.fault
        if fault.code is not None and fault.code >= 400 and fault.code < 600:
            reply = self._reply(shot)

            def deny(fate: Fate) -> None:
                fate.instead = reply

            self._window(shot, "refused", deny)
        elif fault.code is None:
            self._close_port(shot)
        return GO_ON

    def _close_port(self, shot: Shot) -> None:
        self._closed_by.add(shot)
        self._front.server.stop_listening()
        self._engine.last(shot, shot.lasting, lambda: self._open_port(shot))

    def _open_port(self, shot: Shot) -> None:
        self._closed_by.discard(shot)
        if not self._closed_by:
            self._front.server.listen_again()

    def restarted(self, shot: Shot) -> None:
        """The gateway restarts: connections end, the port is closed, nobody is logged in afterwards."""
        self._close_port(shot)
        self._front.server.abort_all()
        session = self._front.session
        session.log_out()
        options = self._front.hub.options
        self._front.forget()
        if self._front.verifier is not None:
            self._front.verifier.expire()
        elif options.logged_in:
            # Whoever keeps a real gateway logged in (IBeam) does so again when it is back.
            session.log_in(brokerage=options.brokerage)

    def slow(self, shot: Shot) -> bool:
        """Every answer comes later."""
        delay = shot.fault.delay or 0.0

        def late(fate: Fate) -> None:
            fate.delay = max(fate.delay, delay)

        self._window(shot, "late", late)
        return GO_ON

    # --- requests and answers ----------------------------------------------------------------------------------------

    def swallow_request(self, shot: Shot) -> bool:
        """Never seen, and never answered."""

        def lose(fate: Fate) -> None:
            fate.before, fate.shot = "hang", shot

        if shot.web is not None:
            lose(shot.web.fate)
            self._hang(shot)
        else:
            self._window(shot, "swallowed", lose)
        return STOP

    def swallow_reply(self, shot: Shot) -> bool:
        """Carried out, and never answered."""

        def mute(fate: Fate) -> None:
            fate.after, fate.shot = "hang", shot

        if shot.web is not None:
            mute(shot.web.fate)
            self._hang(shot)
        else:
            self._window(shot, "answer swallowed", mute)
        return GO_ON

    def duplicate_request(self, shot: Shot) -> bool:
        """Carried out twice."""
        if shot.web is not None:
            shot.web.fate.times = 2
        return GO_ON

    def duplicate_reply(self, shot: Shot) -> bool:
        """The next frames of every websocket are sent twice."""
        for socket in self._front.sockets.sockets:
            socket.twice += shot.fault.count or 1
        return GO_ON

    def reject(self, shot: Shot) -> bool:
        """The request is answered with an error (status 200, as refusals of orders are) and goes no further."""
        if shot.web is None:
            return GO_ON
        _, text = error_of(shot.fault, 201)
        words = text.removeprefix("Order rejected - reason:") or "Order rejected"
        shot.web.fate.instead = Reply({"error": words})
        if shot.web.kind == PLACE:
            truth, at = self._front.hub.truth, self._front.hub.exchange.now
            for ref in self._front.hub.refs_of(shot.web.call):
                truth.record("recv_place", at=at, source=WEB, order_ref=ref)
                truth.record("rejected", at=at, source=WEB, order_ref=ref, code=shot.fault.code or 201, text=words)
        return STOP

    error = reject

    def missing_end(self, shot: Shot) -> bool:
        """The list of live orders is what the first answer of a session is: empty, and no snapshot."""
        if shot.web is not None and shot.web.kind == "open_orders":
            shot.web.fate.replaced = Reply({"orders": [], "snapshot": False})
        return GO_ON

    def http_error(self, shot: Shot) -> bool:
        """A status, and nothing is carried out."""
        reply = self._reply(shot)
        if shot.web is not None:
            shot.web.fate.instead = reply
            return STOP

        def deny(fate: Fate) -> None:
            fate.instead = reply

        self._window(shot, "refused", deny)
        return GO_ON

    def http_error_after(self, shot: Shot) -> bool:
        """Carried out, and answered with a status that says nothing about it."""
        if shot.web is not None:
            shot.web.fate.replaced = self._reply(shot)
        return GO_ON

    def fork_on_modify(self, shot: Shot) -> bool:
        """Make a second order of the change."""
        web = shot.web
        if web is None or web.kind != MODIFY or web.order is None or web.order.phase == NEW:
            return GO_ON
        if web.order.phase in _UNFORKED:
            self._engine.hit(shot, "no live order to fork", web=web)
        else:
            self._gate.forking.add((web.order.client_id, web.order.order_id))
        return GO_ON

    # --- sessions ----------------------------------------------------------------------------------------------------

    def competing_login(self, shot: Shot) -> bool:
        """Another program takes the brokerage session."""
        self._front.session.rival()
        if shot.fault.for_ is not None:
            self._engine.last(shot, shot.lasting, self._front.session.rival_leaves)
        return GO_ON

    def brokerage_lost(self, shot: Shot) -> bool:
        """No bridge."""
        self._front.session.lose_brokerage()
        return GO_ON

    def session_expired(self, shot: Shot) -> bool:
        """The login is over."""
        self._front.session.log_out()
        if self._front.verifier is not None:
            self._front.verifier.expire()
        return GO_ON

    # --- websockets --------------------------------------------------------------------------------------------------

    def websocket_silent(self, shot: Shot) -> bool:
        """Open, and nothing comes."""
        self._silence(shot)
        return GO_ON

    def _silence(self, shot: Shot) -> None:
        silenced = list(self._front.sockets.sockets)
        for socket in silenced:
            socket.silent = True

        def speak() -> None:
            for socket in silenced:
                socket.silent = False

        self._engine.last(shot, shot.lasting, speak)

    def websocket_close(self, shot: Shot) -> bool:
        """Closed."""
        for socket in tuple(self._front.sockets.sockets):
            socket.abort()
        return GO_ON
