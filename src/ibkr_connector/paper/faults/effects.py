"""What each kind of fault does when its moment has come."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ..tws import texts
from ..tws.connection import Connection
from ..tws.fields import FieldError
from .broker import Broker, error_of
from .catalogue import LINK_BACK, LINK_LOST
from .engine import FaultEngine
from .gate import Doing, Gate, Rule, Window, unanswered
from .messages import CONTRACT_REQUESTS, ENDS, MODIFY
from .shots import Request, Shot

if TYPE_CHECKING:
    from datetime import datetime

    from ..tws.server import TwsServer
    from ..tws.taps import Pipe
    from .web_effects import WebEffects

PIECE_WAIT: Final = 0.001
"""Wire seconds between the pieces of a frame."""
GO_ON, STOP = False, True
"""Whether the message that triggered a fault goes its way, or no further."""
_UNFORKED: Final = frozenset({"held", "filled", "cancelled", "inactive", "withheld"})


class Effects:
    """One method per kind, named like it."""

    def __init__(
        self,
        engine: FaultEngine,
        gate: Gate,
        broker: Broker,
        server: TwsServer,
        jump: Callable[[datetime], None],
        web: WebEffects | None = None,
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._broker = broker
        self._server = server
        self._jump = jump
        self._hub = engine.hub
        self._closed_by: set[Shot] = set()
        self._web = web

    def __call__(self, shot: Shot) -> bool:
        """Let a fault happen; STOP if the message that triggered it goes no further."""
        web = self._web
        if web is not None and web.hits(shot):
            stopped = web(shot)
            if web.alone(shot):
                return stopped
        act: Callable[[Shot], bool] = getattr(self, shot.fault.kind)
        return act(shot)

    def _connections(self, shot: Shot) -> list[Connection]:
        chosen = shot.fault.client_id if shot.session is None else shot.session.client_id
        ids = [i for i in self._server.clients if chosen in {None, i}]
        found = [self._server.connection(client_id) for client_id in ids]
        return [connection for connection in found if connection is not None]

    def _client_id(self, shot: Shot) -> int | None:
        return shot.fault.client_id if shot.session is None else shot.session.client_id

    # --- the connection ---

    def drop_connection(self, shot: Shot) -> bool:
        """End it."""
        for connection in self._connections(shot):
            connection.drop("dropped by a fault")
        return STOP

    def half_open(self, shot: Shot) -> bool:
        """Neither read nor write; reset later."""
        frozen = self._connections(shot)

        def reset() -> None:
            for connection in frozen:
                connection.drop("half open by a fault", reset=True)

        for connection in frozen:
            connection.freeze()
        self._engine.last(shot, shot.lasting, reset)
        return STOP

    def reset_after_write(self, shot: Shot) -> bool:
        """Carry the request out and reset before anything of it is answered."""
        for connection in self._connections(shot):
            connection.make_pipe().close()
            if shot.answer is not None:
                shot.answer()
            connection.drop("reset by a fault", reset=True)
        return STOP

    def refuse(self, shot: Shot) -> bool:
        """Close the port, or refuse newcomers with an error."""
        fault = shot.fault
        if fault.code is not None:
            refused = fault.client_id if fault.on is None else None
            self._gate.refusals[shot] = (refused, error_of(fault, 326))
            self._engine.last(shot, shot.lasting, lambda: self._forget_refusal(shot))
        else:
            self._close_port(shot)
        return GO_ON

    def _forget_refusal(self, shot: Shot) -> None:
        del self._gate.refusals[shot]

    def _close_port(self, shot: Shot) -> None:
        self._closed_by.add(shot)
        self._server.stop_listening()
        self._engine.last(shot, shot.lasting, lambda: self._open_port(shot))

    def _open_port(self, shot: Shot) -> None:
        self._closed_by.discard(shot)
        if not self._closed_by:
            self._server.listen_again()

    def slow(self, shot: Shot) -> bool:
        """Delay everything that is sent."""
        delay = shot.fault.delay or 0.0

        def bend(pipe: Pipe) -> None:
            pipe.delay = delay

        def straighten(pipe: Pipe) -> None:
            pipe.delay = 0.0

        self._bend(shot, bend, straighten)
        return GO_ON

    def split_frames(self, shot: Shot) -> bool:
        """Cut everything that is sent."""
        cut = partial(_cut, shot.armed.rng, shot.fault.pieces or 2)

        def bend(pipe: Pipe) -> None:
            pipe.cut = cut

        def straighten(pipe: Pipe) -> None:
            pipe.cut = None

        self._bend(shot, bend, straighten)
        return GO_ON

    def _bend(self, shot: Shot, begin: Callable[[Pipe], None], end: Callable[[Pipe], None]) -> None:
        chosen = self._connections(shot)
        for connection in chosen:
            begin(connection.make_pipe())

        def straighten() -> None:
            for connection in chosen:
                if connection.pipe is not None:
                    end(connection.pipe)

        self._engine.last(shot, shot.lasting, straighten)

    # --- requests and replies ---

    def swallow_request(self, shot: Shot) -> bool:
        """Never see it."""
        if shot.request is None:
            self._gate.add_window(Window(shot, "swallowed", shot.fault.client_id, None, unanswered), shot.lasting)
        return STOP

    def swallow_reply(self, shot: Shot) -> bool:
        """Do not send replies."""
        return self._replies(shot, "swallow", self._kinds(shot), shot.fault.count)

    def duplicate_reply(self, shot: Shot) -> bool:
        """Send replies twice."""
        return self._replies(shot, "duplicate", self._kinds(shot), shot.fault.count)

    def reorder_replies(self, shot: Shot) -> bool:
        """Hold replies and send them in reverse."""
        named = None if shot.fault.reply is None else frozenset({shot.fault.reply})
        return self._replies(shot, "reorder", named, shot.fault.count)

    def missing_end(self, shot: Shot) -> bool:
        """Do not send the marker that ends a list."""
        return self._replies(shot, "swallow", ENDS, shot.fault.count)

    @staticmethod
    def _kinds(shot: Shot) -> frozenset[str] | None:
        if shot.fault.reply is not None:
            return frozenset({shot.fault.reply})
        return None if shot.reply is None else frozenset({shot.reply.kind})

    def _replies(self, shot: Shot, doing: Doing, kinds: frozenset[str] | None, count: int | None) -> bool:
        if count is None and shot.reply is not None:
            count = 1  # the reply that triggered it
        rule = Rule(shot, doing, self._client_id(shot), shot.request, kinds, count)
        self._gate.add_rule(rule, shot.lasting)
        return GO_ON

    def reject(self, shot: Shot) -> bool:
        """Refuse the request with an error."""
        return self._refuse_request(shot.request, error_of(shot.fault, 201))

    def false_200(self, shot: Shot) -> bool:
        """Deny that the contract exists."""
        if shot.request is not None:
            return self._refuse_request(shot.request, texts.NO_DEFINITION)
        client_id = shot.fault.client_id
        self._broker.end_lines(client_id, texts.NO_DEFINITION)
        self._gate.add_window(Window(shot, "answered with 200", client_id, CONTRACT_REQUESTS, self._deny), shot.lasting)
        return GO_ON

    def _deny(self, request: Request, answer: Callable[[], None]) -> None:
        if self._refuse_request(request, texts.NO_DEFINITION) is GO_ON:
            answer()

    @staticmethod
    def _refuse_request(request: Request | None, error: texts.Error) -> bool:
        if request is None:
            return GO_ON
        try:
            request.session.refuse(request.fields, error)
        except FieldError:
            return GO_ON  # unreadable: the gateway itself has more to say about it
        return STOP

    # --- the broker behind the gateway ---

    def error(self, shot: Shot) -> bool:
        """Send an error or notice, with what it means."""
        fault, client_id = shot.fault, self._client_id(shot)
        code, text = error_of(fault, 0)
        if code in LINK_LOST:
            self._broker.cut_link(shot, (code, text), fault.for_, fault.restore or 1102)
        elif code in LINK_BACK:
            if not self._broker.restore_link(code):
                self._broker.tell((code, text))
        elif code == 10182 and shot.request is None:
            self._broker.kill_updates(client_id, text)
        elif code == 10197 and shot.request is None:
            self._broker.compete(shot, client_id, text, fault.for_ or 0.0)
        elif shot.request is not None and shot.request.id is not None and not _is_notice(code):
            self._broker.say(shot.request.session, shot.request.id, (code, text))
        else:
            self._broker.tell((code, text), client_id)
        return GO_ON

    def hold_then_forward(self, shot: Shot) -> bool:
        """Cut the link; what is ordered meanwhile goes on long after it is back."""
        fault = shot.fault
        notice = error_of(fault, 1100)
        self._broker.cut_link(shot, notice, shot.lasting, fault.restore or 1102, fault.delay or 0.0)
        return GO_ON

    def farm_down(self, shot: Shot) -> bool:
        """Break a data farm."""
        self._broker.farm_down(shot, shot.fault.farm or "usfarm", shot.lasting)
        return GO_ON

    def restart(self, shot: Shot) -> bool:
        """End every connection, be away for a while, and come back with lower order ids."""
        self._close_port(shot)
        if self._web is not None:
            self._web.restarted(shot)
        self._broker.lose_withheld()
        self._server.end_all("the gateway restarts")
        self._hub.exchange.mishaps.roll_back_ids(shot.fault.rollback_ids or 0)
        return STOP

    # --- orders and executions ---

    def late_commission(self, shot: Shot) -> bool:
        """Delay the report of what the execution cost."""
        self._gate.commission_late += shot.fault.delay or 0.0
        return GO_ON

    def execution_correction(self, shot: Shot) -> bool:
        """Correct the execution's price later."""
        if shot.execution is not None:
            self._hub.exchange.mishaps.correct(shot.execution, shot.fault.ticks or 1, shot.fault.delay or 0.0)
        return GO_ON

    def fork_on_modify(self, shot: Shot) -> bool:
        """Make a second order of the change."""
        request = shot.request
        if request is None or request.kind != MODIFY or request.order is None or request.id is None:
            return GO_ON
        if request.order.phase in _UNFORKED:
            self._engine.hit(shot, "no live order to fork", request=request)
        else:
            self._gate.forking.add((request.session.client_id, request.id))
        return GO_ON

    # --- market and time ---

    def clock_jump(self, shot: Shot) -> bool:
        """Move market time forward once what happens now has happened."""
        by = timedelta(seconds=shot.fault.by or 0.0)
        self._hub.loop.call_soon(lambda: self._jump(self._hub.clock.now() + by))
        return GO_ON

    def halt(self, shot: Shot) -> bool:
        """Halt a symbol."""
        self._broker.halt(shot, shot.fault.symbol or "", shot.lasting)
        return GO_ON

    def stale(self, shot: Shot) -> bool:
        """Let quotes stand still."""
        self._broker.mute(shot, shot.fault.symbol, shot.lasting)
        return GO_ON


def _is_notice(code: int) -> bool:
    """Whether an error code belongs to no request."""
    return 1100 <= code < 1400 or 2100 <= code < 2200


def _cut(rng: random.Random, pieces: int, data: bytes) -> list[tuple[float, bytes]]:
    """Up to `pieces` pieces of a write, cut at places of the fault's own chance."""
    cuts = sorted(rng.sample(range(1, len(data)), min(pieces, len(data)) - 1)) if len(data) > 1 else []
    edges = [0, *cuts, len(data)]
    return [(PIECE_WAIT if low else 0.0, data[low:high]) for low, high in pairwise(edges)]
