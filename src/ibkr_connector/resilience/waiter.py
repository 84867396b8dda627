"""The pacer for coroutines of one event loop: waiting without polling, safe to cancel.

A thin shell: every decision is the core's. While anything is pending one task sleeps until the core's next wake, on the
injected clock; whatever changes the core arms it anew.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType

from ibkr_connector.clock import Clock
from ibkr_connector.errors import OrderNotSent
from ibkr_connector.resilience.pacing import Pacer
from ibkr_connector.resilience.queues import Grant, Ticket, TicketState, Wait
from ibkr_connector.resilience.rules import Work


class AsyncPacer:
    """`core` on the loop that creates this object. All methods are called on that loop.

        async with pacer.slot(message(Lane.ACCOUNT), timeout=5.0):
            client.reqCurrentTime()          # counted as written when the block ends
    """

    def __init__(self, core: Pacer, clock: Clock) -> None:
        self.core = core
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[int, tuple[Ticket, asyncio.Future[Grant]]] = {}
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf
        self._closed = False
