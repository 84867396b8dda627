"""Keeping a connection: heartbeat, reconnect with jittered back-off, knowing again after an outage of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ibkr_connector.errors import RequestTimeout, TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.session.link import LinkState

if TYPE_CHECKING:
    from ibkr_connector.session.session import Session

_log = get_logger(__name__)

_HEARTBEAT_S = 20.0
_HEARTBEAT_ANSWER_S = 10.0
_BROKER_TIME_EVERY_S = 60.0
_BACKOFF_FIRST_S = 1.0
_BACKOFF_MOST_S = 60.0
_MOST_DOUBLINGS = 10
_LOOK_AGAIN_S = 5.0
"""How often a breaker that is open is looked at again."""


class LinkKeeper:
    """One per session; starts after the first connect, ends with `stop`."""

    def __init__(self, session: Session, rng: random.Random) -> None:
        self._session = session
        self._rng = rng
        self._work: asyncio.Task[None] | None = None
        self._heartbeat: asyncio.Task[None] | None = None
        self._mending: asyncio.Task[bool] | None = None

    @property
    def busy(self) -> bool:
        """Whether a reconnect or resync is under way."""
        return self._work is not None and not self._work.done()

    @property
    def started(self) -> bool:
        """Whether it has ever had to reconnect since the last `stop`."""
        return self._work is not None

    def watch(self) -> None:
        """The session is ready: keep asking whether the other side still answers."""
        if self._heartbeat is None or self._heartbeat.done():
            self._heartbeat = asyncio.create_task(self._beat(), name="ibkr-heartbeat")

    def lost(self) -> None:
        """The connection is gone: make it again."""
        if self._heartbeat is not None and self._heartbeat is not asyncio.current_task():
            self._heartbeat.cancel()
        self._heartbeat = None
        self._start(self._reconnect)

    def resync(self) -> None:
        """The gateway has its link to IBKR again: know again what the broker knows, on the same socket."""
        self._start(self._resync)

    async def stop(self) -> None:
        """End everything."""
        for task in (self._work, self._heartbeat, self._mending):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        self._work = self._heartbeat = self._mending = None

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        previous = self._work

        async def keep() -> None:
            if previous is not None and not previous.done():
                previous.cancel()
                await asyncio.wait([previous])  # its own end is no end of this task
            await work()

        self._work = asyncio.create_task(keep(), name="ibkr-keeper")
        self._work.add_done_callback(self._tell_failure)

    async def _beat(self) -> None:
        """Ask the time when the line is silent, and once a minute; two misses in a row mean a dead connection."""
        session = self._session
        misses, asked = 0, session.clock.monotonic()
        while True:
            await session.clock.sleep(_HEARTBEAT_S)
            if self._mending is None or self._mending.done():
                # A task of its own: the connection, and this one with it, ends while the gateway is restarted.
                self._mending = asyncio.create_task(session.mend(), name="ibkr-mend")
                self._mending.add_done_callback(self._tell_failure)
            now = session.clock.monotonic()
            if now - session.last_fact < _HEARTBEAT_S and now - asked < _BROKER_TIME_EVERY_S:
                continue
            try:
                await session.ask_time(_HEARTBEAT_ANSWER_S)
                misses, asked = 0, now
            except RequestTimeout:
                misses += 1
                if misses > 1:
                    await session.drop("two heartbeats went unanswered")
                    return
            except TradingError:
                continue

    async def _reconnect(self) -> None:
        """Try until the session is ready again; the breaker's word is honoured."""
        session, failures = self._session, 0
        while session.link.state is not LinkState.READY:
            if self._mending is not None and not self._mending.done():
                await asyncio.wait([self._mending])
            if await session.mend():
                failures = 0
            wait = session.guard.connect_wait()
            if wait > 0:
                session.move(LinkState.CIRCUIT_OPEN, self._why_wait(wait))
                # A little later than allowed: programs that share a gateway should not come back together. And not
                # for ever: what an operator opened, an operator closes.
                await session.clock.sleep(min(wait * self._rng.uniform(1.0, 1.05), _LOOK_AGAIN_S))
                if session.guard.connect_wait() > 0:
                    continue
            else:
                wait = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2**failures) * self._rng.uniform(0.5, 1.0)
                await session.clock.sleep(wait)
            try:
                await session.attempt()
            except Exception as error:  # noqa: BLE001 - whatever it was, giving up would leave orders unwatched
                failures = min(failures + 1, _MOST_DOUBLINGS)
                _log.warning("reconnect failed", failures=failures, error=repr(error))
                if not (isinstance(error, TradingError) and error.retryable):
                    session.incident("reconnect_refused", f"{type(error).__name__}: {error}")

    def _why_wait(self, wait: float) -> str:
        absence = self._session.absence
        known = f" ({absence.why})" if absence is not None else ""
        return f"next try in {wait:.0f} s{known}" if wait < float("inf") else "an operator has to close the breaker"

    async def _resync(self) -> None:
        session = self._session
        if session.info is None:
            return
        session.move(LinkState.SYNCING, "the broker link is back")
        try:
            await session.synchronise(session.info)
        except TradingError as error:
            _log.warning("resync failed; reconnecting", error=str(error))
            await session.backend.disconnect()
            session.link.socket_down()
            if session.link.state is LinkState.SYNCING:
                session.move(LinkState.RECONNECTING, f"resync failed: {error}")
            await self._reconnect()

    def _tell_failure(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the link keeper failed", error=repr(error))
            self._session.incident("unexpected_exception", f"the link keeper: {type(error).__name__}: {error}")
