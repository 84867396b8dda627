"""The fault room of one gateway: everything above put together, and the doors the gateway and its users go through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from .broker import Broker
from .effects import Effects
from .engine import FaultEngine
from .gate import Gate
from .plan import Fault

if TYPE_CHECKING:
    from ..instruments import Instrument
    from ..tws.hub import Hub
    from ..tws.server import TwsServer


class FaultRoom:
    """Faults of a running gateway. While none is armed or running, nothing in the gateway asks about them."""

    def __init__(self, hub: Hub, server: TwsServer, seed: int, jump: Callable[[datetime], None]) -> None:
        self._hub = hub
        self._engine = FaultEngine(hub, seed)
        self._gate = Gate(self._engine)
        self._broker = Broker(self._engine, self._gate)
        self._engine.act = Effects(self._engine, self._gate, self._broker, server, jump)
        self._engine.on_activity = self._on_activity

    def instruments(self, symbol: str) -> list[Instrument]:
        """What a plan's `symbol` means here. PlanError if nothing."""
        return self._broker.instruments(symbol)

    def check(self, fault: Fault) -> None:
        """PlanError if the fault cannot happen in this gateway: it has no such instrument."""
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
        """Disarm all and end what lasts, as if its time were over; how many faults that were."""
        return self._engine.clear()

    def on_jump(self) -> None:
        """Market time has jumped."""
        self._engine.on_jump()

    def close(self) -> None:
        """The gateway closes."""
        self._broker.close()
        self._engine.close()

    def _on_activity(self, active: bool) -> None:
        self._hub.taps = self._gate if active else None
        self._hub.exchange.mishaps.disturb(self._gate if active or self._gate.forking else None)
