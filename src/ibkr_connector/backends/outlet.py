"""The way of facts to their one receiver: in wire order, never raising, held back until a connection is announced.

Facts that arrive in the same packet as the end of the handshake (farm notices, even a 1100) must not overtake the news
that there is a connection: the receiver resets its idea of the link with that news. They are held until the caller of
`connect` had its turn, and then told in order.
"""

from __future__ import annotations

import asyncio

from ibkr_connector.backends.base import FactSink
from ibkr_connector.backends.facts import BrokerFact
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)


class Outlet:
    """Hands facts to the sink named by `to`."""

    __slots__ = ("_held", "_sink")

    def __init__(self) -> None:
        self._sink: FactSink | None = None
        self._held: list[BrokerFact] | None = None

    def to(self, sink: FactSink) -> None:
        """Name the receiver."""
        self._sink = sink

    def hold(self) -> None:
        """Keep facts from now on; those held before are dropped (their connection never came to be)."""
        self._held = []

    def drop(self) -> None:
        """Forget what is held and tell again at once."""
        self._held = None

    def release_soon(self) -> None:
        """Tell what is held after the present step of the running task; what comes until then queues behind it."""
        asyncio.get_running_loop().call_soon(self._release)

    def _release(self) -> None:
        held, self._held = self._held, None
        for fact in held or ():
            self.emit(fact)

    def emit(self, fact: BrokerFact) -> None:
        """Tell one fact. A sink that raises is logged: it must not make a readable message count as unreadable."""
        if self._held is not None:
            self._held.append(fact)
        elif self._sink is not None:
            try:
                self._sink(fact)
            except Exception:  # noqa: BLE001 - logged; whatever it is, the wire goes on
                _log.exception("the receiver of facts raised", fact=type(fact).__name__)
