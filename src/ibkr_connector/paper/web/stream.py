"""What all subscriptions of a websocket have in common: they begin, hear the exchange, and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..exchange.types import ExchangeEvent

if TYPE_CHECKING:
    from .socket import Socket


class Stream:
    """One subscription. Timers are wire time; the base class looks after them."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.hub = socket.hub
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def open(self) -> None:
        """Begin."""
        raise TypeError(f"{type(self).__name__} does not say how it begins")

    def on_event(self, event: ExchangeEvent) -> None:
        """The exchange said something. Most streams look for themselves."""

    def close(self) -> None:
        """End: nothing is sent any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def later(self, name: str, seconds: float, what: Callable[[], None]) -> None:
        """Do something once, in so many wire seconds; the timer of that name is set anew."""
        before = self._timers.get(name)
        if before is not None:
            before.cancel()
        self._timers[name] = self.hub.loop.call_later(seconds, what)

    @property
    def is_live(self) -> bool:
        """Whether anything may be sent: nothing comes over a cut link or a lost brokerage session."""
        return self.hub.session.authenticated and not self.hub.exchange.mishaps.is_cut
