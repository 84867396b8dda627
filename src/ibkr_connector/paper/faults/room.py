"""The fault room of one gateway: everything above put together, and the doors the gateway and its users go through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from .broker import Broker
from .catalogue import KINDS, WEB
from .effects import Effects
from .engine import FaultEngine
from .gate import Gate
from .plan import Fault, PlanError

if TYPE_CHECKING:
    from ..instruments import Instrument
    from ..tws.hub import Hub
    from ..tws.server import TwsServer
    from ..web.front import WebFront
    from .web_effects import WebEffects
    from .web_gate import WebGate


class FaultRoom:
    """Faults of a running gateway. While none is armed or running, nothing in the gateway asks about them."""

    def __init__(
        self,
        hub: Hub,
        server: TwsServer,
        seed: int,
        jump: Callable[[datetime], None],
        web: WebFront | None = None,
    ) -> None:
        self._hub = hub
        self._web = web
        self._web_gate: WebGate | None = None
        self._engine = FaultEngine(hub, seed)
        self._gate = Gate(self._engine)
        self._broker = Broker(self._engine, self._gate)
        self._engine.act = Effects(self._engine, self._gate, self._broker, server, jump, self._web_effects(web))
        self._engine.on_activity = self._on_activity

    def _web_effects(self, web: WebFront | None) -> WebEffects | None:
        if web is None:
            return None
        # What they need of the Web front is installed where there is one.
        from .web_effects import WebEffects
        from .web_gate import WebGate

        self._web_gate = WebGate(self._engine, web.hub)
        return WebEffects(self._engine, self._gate, self._web_gate, web)

    def instruments(self, symbol: str) -> list[Instrument]:
        """What a plan's `symbol` means here. PlanError if nothing."""
        return self._broker.instruments(symbol)

    def check(self, fault: Fault) -> None:
        """PlanError if the fault cannot happen in this gateway: it has no such instrument, or no such front."""
        if self._web is None and (fault.front == WEB or KINDS[fault.kind].fronts == {WEB}):
            raise PlanError(f"{fault.kind}: this gateway has no Web front; give it a web port (--web-port)")
        if fault.symbol is not None:
            self._broker.instruments(fault.symbol)

    def arm(self, faults: Iterable[Fault]) -> list[int]:
        """Wait for the moments of these faults; their numbers. PlanError, and none is armed, if one cannot happen."""
        chosen = list(faults)
        for fault in chosen:
            self.check(fault)
        return [self._engine.arm(fault) for fault in chosen]

    def faults(self) -> list[dict[str, object]]:
        """Every fault that was armed: number, state (waiting, armed, running, spent, cleared), fired, and its keys."""
        return self._engine.faults()

    def clear(self) -> int:
        """Disarm all and end what lasts, as if its time were over; how many faults that were.

        Orders that `hold_then_forward` still holds are forwarded.
        """
        held = self._broker.release_held()
        cleared = self._engine.clear()
        self._broker.release_held()
        return held + cleared

    def on_jump(self) -> None:
        """Market time has jumped."""
        self._engine.on_jump()

    def close(self) -> None:
        """The gateway closes."""
        self._broker.close()
        if self._web_gate is not None:
            self._web_gate.close()
        self._engine.close()

    def _on_activity(self, active: bool) -> None:
        self._hub.taps = self._gate if active else None
        if self._web is not None:
            self._web.hub.gate = self._web_gate if active else None
        self._hub.exchange.mishaps.disturb(self._gate if active or self._gate.forking else None)
