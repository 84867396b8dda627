"""The pacer for coroutines of one event loop: waiting without polling, safe to cancel.

A thin shell: every decision is the core's. While anything is pending one task sleeps until the core's next wake, on the
injected clock; whatever changes the core arms it anew.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ibkr_connector.clock import Clock
from ibkr_connector.errors import ConnectorClosed, PacingTimeout
from ibkr_connector.resilience.pacing import Pacer
from ibkr_connector.resilience.queues import Grant, Ticket
from ibkr_connector.resilience.rules import Lane, Work


class AsyncPacer:
    """`core` on the event loop this object is made on; every method is called there.

    async with pacer.slot(message(Lane.ACCOUNT), timeout=5.0):
        client.reqCurrentTime()  # counted as written when the block ends
    """

    def __init__(
        self, core: Pacer, clock: Clock, on_granted: Callable[[Lane, float], None] = lambda _lane, _seconds: None
    ) -> None:
        self.core = core
        self._on_granted = on_granted
        """Told with every grant how many seconds it took."""
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[int, tuple[Ticket, asyncio.Future[Grant]]] = {}
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = math.inf
        self._closed = False

    async def acquire(self, work: Work, timeout: float = math.inf) -> Grant:
        """Wait for a grant, at most `timeout` seconds. Follow it with `sent` or `give_back`, then `done`.

        Raises PacingTimeout, at once where it is certain that no slot comes in time; ConnectorClosed after `close`.
        Cancelled, it leaves nothing behind.
        """
        if self._closed:
            raise _closed(work)
        now = self._clock.monotonic()
        ticket = self.core.submit(now, work, now + timeout)
        if ticket.grant is not None:
            self._on_granted(work.lane, 0.0)
            return ticket.grant
        future: asyncio.Future[Grant] = self._loop.create_future()
        self._waiters[ticket.number] = (ticket, future)
        self._pump()
        try:
            grant = await future
            self._on_granted(work.lane, self._clock.monotonic() - now)
            return grant
        except asyncio.CancelledError:
            self._abandon(ticket)
            raise
        finally:
            self._waiters.pop(ticket.number, None)

    def write_soon(self, work: Work, write: Callable[[], bool]) -> None:
        """Write in its turn what nobody waits for: now if there is room, else as soon as there is.

        `write` says whether it wrote anything (its connection may be gone by then) and raises nothing.
        """
        if self._closed:
            return
        ticket = self.core.submit(self._clock.monotonic(), work)
        if ticket.grant is not None:
            self._write(ticket.grant, write)
            return
        future: asyncio.Future[Grant] = self._loop.create_future()
        self._waiters[ticket.number] = (ticket, future)

        def granted(done: asyncio.Future[Grant]) -> None:
            del self._waiters[ticket.number]
            if not done.cancelled() and done.exception() is None:
                self._write(done.result(), write)

        future.add_done_callback(granted)
        self._pump()

    def _write(self, grant: Grant, write: Callable[[], bool]) -> None:
        if write():
            self.sent(grant)
        else:
            self.give_back(grant)
        self.done(grant)

    def slot(self, work: Work, timeout: float = math.inf) -> Slot:
        """`acquire` as a block: what it costs is settled when the block ends."""
        return Slot(self, work, timeout)

    def sent(self, grant: Grant) -> None:
        """See `Pacer.sent`."""
        self.core.sent(grant, self._clock.monotonic())
        self._pump()

    def give_back(self, grant: Grant) -> None:
        """See `Pacer.give_back`."""
        self.core.give_back(grant, self._clock.monotonic())
        self._pump()

    def done(self, grant: Grant) -> None:
        """See `Pacer.done`."""
        self.core.done(grant, self._clock.monotonic())
        self._pump()

    def fail_pending(self, error: Callable[[Work], Exception]) -> int:
        """Fail everything that waits (the link is gone) with `error(work)`; returns how many."""
        waiters = list(self._waiters.values())
        now = self._clock.monotonic()
        count = 0
        for ticket, future in waiters:
            if self.core.cancel(ticket, now):
                count += 1
                if not future.done():
                    future.set_exception(error(ticket.work))
        self._pump()
        return count

    async def close(self) -> None:
        """Fail what waits with ConnectorClosed and end the alarm. Idempotent."""
        self._closed = True
        alarm = self._alarm
        self.fail_pending(_closed)  # nothing pending: the alarm is called off
        if alarm is not None:
            await asyncio.wait([alarm])

    def _pump(self) -> None:
        now = self._clock.monotonic()
        if self.core.next_wake(now) <= now:
            for ticket in self.core.poll(now):
                self._deliver(ticket)
        self._arm(self.core.next_wake(now))

    def _abandon(self, ticket: Ticket) -> None:
        now = self._clock.monotonic()
        # The grant may have come in the very iteration in which the caller was cancelled.
        if not self.core.cancel(ticket, now) and ticket.grant is not None:
            self.core.give_back(ticket.grant, now)
        self._pump()

    def _deliver(self, ticket: Ticket) -> None:
        _, future = self._waiters[ticket.number]
        if future.done():
            return  # cancelled: its own handler gives the grant back
        if ticket.grant is not None:
            future.set_result(ticket.grant)
        else:
            future.set_exception(ticket.error or PacingTimeout("No slot came in time."))

    def _arm(self, at: float) -> None:
        if at == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._alarm_at = at
        if at < math.inf:
            self._alarm = self._loop.create_task(self._ring(at), name="ibkr-pacer-alarm")

    async def _ring(self, at: float) -> None:
        await self._clock.sleep(max(0.0, at - self._clock.monotonic()))
        self._alarm = None
        self._alarm_at = math.inf
        self._pump()


class Slot:
    """A grant for the length of a block.

    Leaving the block counts the work as written (also with an exception: it may have been) and done. Inside, `sent`
    says earlier when it was written, `unused` that it was not.
    """

    def __init__(self, pacer: AsyncPacer, work: Work, timeout: float) -> None:
        self._pacer = pacer
        self._work = work
        self._timeout = timeout
        self._grant: Grant | None = None
        self._settled = False

    async def __aenter__(self) -> Self:
        self._grant = await self._pacer.acquire(self._work, self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._settled:
            self.sent()
        self._pacer.done(self.grant)

    @property
    def grant(self) -> Grant:
        """The grant; RuntimeError outside the block."""
        if self._grant is None:
            raise RuntimeError("the slot is not entered: use `async with pacer.slot(...) as slot`")
        return self._grant

    def sent(self) -> None:
        """It was written now: its windows start here and not at the block's end."""
        self._pacer.sent(self.grant)
        self._settled = True

    def unused(self) -> None:
        """Nothing was written and nothing will be in this block."""
        self._pacer.give_back(self.grant)
        self._settled = True


def _closed(work: Work) -> Exception:
    return ConnectorClosed(f"Nothing more is sent ({work.lane.name.lower()}): the connector is closed.")
