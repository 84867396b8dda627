"""When faults happen: arming, counting, timers, what lasts and when it ends, and the record of it all.

Everything runs on the gateway's loop. A fault's chances come from the gateway's seed and the fault's number alone, so
that the same plan and the same messages give the same faults, whatever other faults there are.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from .messages import ANY
from .plan import Fault
from .shots import Armed, Peer, Reply, Request, Shot, State

if TYPE_CHECKING:
    from ..exchange.types import Execution
    from ..tws.hub import Hub
    from .web_gate import WebRequest

MAX_ORDERS: Final = 50
"""Live orders an entry of the truth log names at most."""


class FaultEngine:
    """Armed faults and running ones. `on_activity` is told whether there are any; `act` does what a fault does."""

    def __init__(self, hub: Hub, seed: int) -> None:
        self.hub = hub
        self._seed = seed
        self._armed: dict[int, Armed] = {}
        self._shots = 0
        self._lasting: dict[Shot, asyncio.TimerHandle | None] = {}
        self.act: Callable[[Shot], bool] = _nothing_happens
        """Set by who knows how; True = the message that triggered it goes no further."""
        self.on_activity: Callable[[bool], None] = _nobody_asks

    # --- arming ---

    def arm(self, fault: Fault) -> int:
        """Wait for the fault's moment; its number."""
        number = len(self._armed) + 1
        armed = Armed(number, fault, random.Random(f"{self._seed}:fault:{number}"), since=self.hub.loop.time())
        self._armed[number] = armed
        if fault.at is None:
            self._due(armed)
        else:
            self._set_timer(armed)
        self.refresh()
        return number

    def faults(self) -> list[dict[str, object]]:
        """Every fault that was armed, with its state and how often it happened."""
        running = {shot.armed.number for shot in self._lasting}
        return [
            {
                "number": armed.number,
                "state": "running" if armed.number in running else armed.state.value,
                "fired": armed.fired,
                **armed.fault.to_dict(),
            }
            for armed in self._armed.values()
        ]

    def clear(self) -> int:
        """Disarm everything and end what lasts; how many faults that were."""
        found = set()
        for armed in self._armed.values():
            if armed.state in {State.WAITING, State.ARMED}:
                self._disarm(armed)
                found.add(armed)
        for shot in tuple(self._lasting):
            found.add(shot.armed)
            self.end(shot, "cleared")
        self.refresh()
        return len(found)

    def close(self) -> None:
        """The gateway closes: nothing happens any more, and nothing is repaired."""
        for armed in self._armed.values():
            if armed.timer is not None:
                armed.timer.cancel()
                armed.timer = None
        for timer in self._lasting.values():
            if timer is not None:
                timer.cancel()
        self._lasting.clear()
        self.on_activity(False)

    def on_jump(self) -> None:
        """Market time has jumped: faults that wait for a market time look again."""
        for armed in tuple(self._armed.values()):
            if armed.timer is not None and isinstance(armed.fault.at, datetime):
                self._set_timer(armed)

    def refresh(self) -> None:
        """Say whether messages must be looked at."""
        waits = any(armed.state is State.ARMED for armed in self._armed.values())
        self.on_activity(waits or bool(self._lasting))

    def _disarm(self, armed: Armed) -> None:
        armed.state = State.CLEARED
        if armed.timer is not None:
            armed.timer.cancel()
            armed.timer = None

    def _set_timer(self, armed: Armed) -> None:
        if armed.timer is not None:
            armed.timer.cancel()
        at = armed.fault.at
        wire = self.hub.clock.wire_at(at) if isinstance(at, datetime) else armed.since + float(at or 0.0)
        armed.timer = self.hub.loop.call_at(wire, self._due, armed)

    def _due(self, armed: Armed) -> None:
        """Its time has come: it happens, or begins to count messages."""
        armed.timer = None
        if armed.fault.on is not None:
            armed.state = State.ARMED
        else:
            armed.state = State.SPENT
            if armed.tossed():
                armed.fired += 1
                self.act(self.begin(armed))
        self.refresh()

    # --- happening ---

    def trigger(
        self,
        moment: str,
        client_id: int,
        *,
        request: Request | None = None,
        reply: Reply | None = None,
        web: WebRequest | None = None,
        execution: Execution | None = None,
        answer: Callable[[], None] | None = None,
    ) -> bool:
        """A message passes: let the faults it triggers happen, in the order they were armed.

        True if it goes no further; what it would have triggered besides happens at the next message that fits.
        """
        moments = (moment,) if request is None and web is None else (moment, ANY)
        firing = [armed for armed in tuple(self._armed.values()) if armed.counts(moments, client_id)]
        stopped = False
        for armed in firing:
            if stopped:
                armed.put_back()
            else:
                shot = self.begin(armed, request=request, reply=reply, web=web, execution=execution, answer=answer)
                stopped = self.act(shot)
        if firing:
            self.refresh()
        return stopped

    def begin(
        self,
        armed: Armed,
        *,
        request: Request | None = None,
        reply: Reply | None = None,
        web: WebRequest | None = None,
        execution: Execution | None = None,
        answer: Callable[[], None] | None = None,
    ) -> Shot:
        """A fault happens: write down what it hits, before it changes anything."""
        self._shots += 1
        hit, fault = request or reply or web, armed.fault
        session: Peer | None = None if hit is None else hit.session
        shot = Shot(self._shots, armed, session, request, reply, web, execution, answer)
        order = None if hit is None else hit.order
        client_id = fault.client_id if session is None else session.client_id
        if execution is not None:
            client_id = execution.client_id
            order = self.hub.exchange.mishaps.phase(client_id, execution.order_id)
        entry: dict[str, object] = {
            "fault": fault.kind,
            "number": armed.number,
            "shot": shot.number,
            "name": fault.name,
            "client_id": client_id,
            "front": "" if hit is None else "tws" if web is None else "web",
            "request": web.kind if web is not None else "" if request is None else request.kind,
            "reply": "" if reply is None else reply.kind,
            "request_id": None if hit is None else hit.id,
            "exec_id": "" if execution is None else execution.exec_id,
        }
        if order is not None:
            entry |= {"order_id": order.order_id, "order_ref": order.order_ref, "phase": order.phase}
        else:
            entry |= {"order_id": None, "order_ref": "", "phase": ""}
            entry["orders"] = self._orders_hit(client_id)
        self.hub.truth.record("fault", at=None, **entry)
        return shot

    def hit(
        self,
        shot: Shot,
        what: str,
        *,
        request: Request | None = None,
        reply: Reply | None = None,
        web: WebRequest | None = None,
    ) -> None:
        """A running fault has changed what became of a message."""
        found = request or reply or web
        order = None if found is None else found.order
        self.hub.truth.record(
            "fault_hit",
            fault=shot.fault.kind,
            number=shot.armed.number,
            shot=shot.number,
            what=what,
            client_id=None if found is None else found.session.client_id,
            request=web.kind if web is not None else "" if request is None else request.kind,
            reply="" if reply is None else reply.kind,
            request_id=None if found is None else found.id,
            order_id=None if order is None else order.order_id,
            order_ref="" if order is None else order.order_ref,
            phase="" if order is None else order.phase,
        )

    def last(self, shot: Shot, seconds: float | None, undo: Callable[[], None]) -> None:
        """What the fault began lasts so long (None = until `end`); then `undo`."""
        shot.undo.append(undo)
        timer = None
        if seconds is not None:
            timer = self.hub.loop.call_later(seconds, self.end, shot, "over")
        before = self._lasting.get(shot)
        if before is not None:
            before.cancel()
        self._lasting[shot] = timer
        self.refresh()

    def lasts(self, shot: Shot) -> bool:
        """Whether what the shot did goes on."""
        return shot in self._lasting

    def end(self, shot: Shot, reason: str) -> None:
        """It lasts no longer. Harmless when it has ended."""
        if shot not in self._lasting:
            return
        timer = self._lasting.pop(shot)
        if timer is not None:
            timer.cancel()
        self.hub.truth.record(
            "fault_end", fault=shot.fault.kind, number=shot.armed.number, shot=shot.number, reason=reason
        )
        while shot.undo:
            shot.undo.pop()()
        self.refresh()

    def _orders_hit(self, client_id: int | None) -> list[dict[str, object]]:
        """The live orders of the client a fault hits (None = of all) that no single order triggered."""
        found = self.hub.exchange.mishaps.live(client_id)[:MAX_ORDERS]
        return [
            {"client_id": o.client_id, "order_id": o.order_id, "order_ref": o.order_ref, "phase": o.phase}
            for o in found
        ]


def _nothing_happens(shot: Shot) -> bool:
    return False


def _nobody_asks(active: bool) -> None:
    return None
