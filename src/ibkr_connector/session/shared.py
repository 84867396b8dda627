"""A read that many callers make at once: one slot, one message, one answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from ibkr_connector.clock import Clock
from ibkr_connector.errors import ConnectionLost, PacingTimeout, RequestTimeout
from ibkr_connector.resilience import Deadline
from ibkr_connector.session.flight import Flight

_T = TypeVar("_T")


class Reader(Protocol):
    """What makes the read (`Session.read`)."""

    def read(self, what: str, call: Callable[[float], Awaitable[_T]], *, timeout: float) -> Coroutine[Any, Any, _T]:
        """Make a read: paced, retried, within `timeout` seconds."""
        ...


class SharedRead(Generic[_T]):
    """One kind of read without arguments. Used on the session loop.

    Callers share a read that is not written yet; whoever comes later gets an answer to a question that was written
    later, so that no answer is older than its question.
    """

    def __init__(self, reader: Reader, clock: Clock, what: str, call: Callable[[float], Awaitable[_T]]) -> None:
        self._reader = reader
        self._clock = clock
        self._what = what
        self._call = call
        self._waiting: Flight[_T] | None = None
        """The read that waits for its slot."""

    async def read(self, timeout: float) -> _T:
        """Share the read that waits, or begin one, and wait at most `timeout` seconds. Raises what `reader` raises."""
        deadline = Deadline(self._clock, timeout)
        while True:
            flight, joined = self._waiting, True
            if flight is None or not flight.open:
                flight, joined = self._begin(max(deadline.remaining(), 0.0)), False
            try:
                return await flight.join()
            except (PacingTimeout, RequestTimeout):
                # It began earlier, with less time than this caller has.
                if not joined or deadline.expired:
                    raise

    def _begin(self, timeout: float) -> Flight[_T]:
        async def written(left: float) -> _T:
            if self._waiting is flight:
                self._waiting = None
            return await self._call(left)

        flight = Flight(
            self._reader.read(self._what, written, timeout=timeout),
            name=f"ibkr-{self._what}",
            ended=lambda: ConnectionLost(f"{self._what} was not asked: the session ended."),
        )
        self._waiting = flight
        return flight
