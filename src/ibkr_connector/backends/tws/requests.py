"""Who waits for which answer: numbered requests by their number, un-numbered ones one at a time per kind.

The protocol numbers most requests; those are rows of a `RequestTable`. Positions, open orders, completed orders and the
time are asked for without a number and answered without one, so a `Channel` lets one question of a kind be in flight:

* callers that come before it is written share it; callers that come later share the next one, so an answer is never
  older than the question;
* an end marker belongs to the oldest question that has none. After a question was given up, its marker may still come:
  the next question lets as many markers pass as are owed, asks again for each, and starts collecting anew;
* a marker that is owed for `LATE_MARKER_S` seconds is taken for lost (real gateways do lose some).

Callers come with a slot of the pacer, good for writing now. A question that has to wait for the one before it, and one
that is asked again, is written through `later`, which asks for a slot of its own.

Nothing here does I/O; the writes are passed in as functions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ibkr_connector.backends.base import Later, Write
from ibkr_connector.clock import Clock
from ibkr_connector.errors import NotConnected, TradingError

_T = TypeVar("_T")

LATE_MARKER_S = 60.0
"""How long an end marker may be late before it counts as lost, seconds. Ours: no gateway was seen later than 10 s."""


def at_once(write: Write) -> None:
    """The `later` of a backend that nobody paces."""
    write()


def forget(future: asyncio.Future[None]) -> None:
    """Nobody looks at `future` any more: cancel it, or mark its error as seen so that asyncio does not log it."""
    if not future.cancel() and not future.cancelled():
        future.exception()


@dataclass(eq=False, slots=True)
class Request:
    """One numbered request that awaits its answer."""

    req_id: int
    what: str
    """What was asked, for people: `historical bars of AAPL (1 day)`."""
    future: asyncio.Future[None]
    items: list[Any] = field(default_factory=list)
    complete: bool = True
    """False once a part of the answer could not be read."""
    partial: bool = False
    """Whether an unreadable part leaves the rest of use (executions); otherwise it fails the request."""

    def finish(self) -> None:
        """The answer is whole."""
        if not self.future.done():
            self.future.set_result(None)

    def fail(self, error: TradingError) -> None:
        """There will be no (further) answer."""
        if not self.future.done():
            self.future.set_exception(error)


class RequestTable:
    """Numbered requests of one connection."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[int, Request] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, req_id: int, what: str, *, partial: bool = False) -> Request:
        """Begin to wait for an answer with number `req_id`."""
        request = Request(req_id, what, asyncio.get_running_loop().create_future(), partial=partial)
        self._open[req_id] = request
        return request

    def get(self, req_id: int) -> Request | None:
        """The request with that number, if it is still open."""
        return self._open.get(req_id)

    def add(self, req_id: int, item: object) -> None:
        """A part of an answer arrived; parts nobody waits for any more are dropped."""
        request = self._open.get(req_id)
        if request is not None:
            request.items.append(item)

    def add_to_partial(self, item: object) -> None:
        """A part arrived that does not say to which answer it belongs (commissions): all that collect parts get it."""
        for request in self._open.values():
            if request.partial:
                request.items.append(item)

    def finish(self, req_id: int) -> None:
        """The end of an answer arrived."""
        request = self._open.get(req_id)
        if request is not None:
            request.finish()

    def close(self, request: Request) -> None:
        """Stop waiting."""
        self._open.pop(request.req_id, None)
        forget(request.future)

    def damage(self, req_id: int, error: TradingError) -> bool:
        """A part of the answer could not be read; whether such a request is open."""
        request = self._open.get(req_id)
        if request is None:
            return False
        request.complete = False
        if not request.partial:
            request.fail(error)
        return True

    def damage_partial(self) -> None:
        """A part of some answer could not be read, not known of which: all that collect parts are incomplete."""
        for request in self._open.values():
            if request.partial:
                request.complete = False

    def fail_all(self, make: Callable[[str], TradingError]) -> None:
        """End every request with `make(what)`."""
        for request in list(self._open.values()):
            request.fail(make(request.what))


@dataclass(frozen=True, slots=True)
class Answer(Generic[_T]):
    """What a channel collected."""

    items: tuple[_T, ...]
    ended: bool
    """Whether the end marker came."""
    damaged: bool
    """Whether a part could not be read."""

    @property
    def complete(self) -> bool:
        """Whether this is the whole answer."""
        return self.ended and not self.damaged


class _Flight(Generic[_T]):
    """One question on its way, and those who wait for it."""

    __slots__ = ("damaged", "items", "skip", "variant", "waiters", "write")

    def __init__(self, variant: str, write: Callable[[], None]) -> None:
        self.variant = variant
        self.write = write
        self.items: list[_T] = []
        self.waiters: set[asyncio.Future[None]] = set()
        self.damaged = False
        self.skip = 0

    def settle(self, make: Callable[[], Exception] | None = None) -> None:
        for waiter in self.waiters:
            if waiter.done():
                continue
            if make is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(make())


class Channel(Generic[_T]):
    """One kind of un-numbered question. `variant`s share the end marker but not the answer (open orders: mine, all)."""

    def __init__(self, what: str, clock: Clock, late_after: float = LATE_MARKER_S, later: Later = at_once) -> None:
        self.what = what
        self._clock = clock
        self._late_after = late_after
        self._later = later
        self._current: _Flight[_T] | None = None
        self._queue: list[_Flight[_T]] = []
        self._owed = 0
        self._owed_since = 0.0
        self._launching = False
        """Whether the next question is on its way to the wire."""

    @property
    def busy(self) -> bool:
        """Whether a question is in flight."""
        return self._current is not None

    @property
    def owed(self) -> int:
        """End markers of given-up questions that may still come."""
        if self._owed and self._clock.monotonic() - self._owed_since >= self._late_after:
            self._owed = 0
        return self._owed

    async def ask(self, write: Callable[[], None], timeout: float, *, variant: str = "") -> Answer[_T]:
        """Ask, or share a question that is not written yet; what came within `timeout` seconds.

        Raises what `write` raises (to all who share the question), and the error of `fail`.
        """
        flight = self._join(variant, write)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flight.waiters.add(waiter)
        try:
            await self._clock.wait_for(waiter, timeout)
            return Answer(tuple(flight.items), ended=True, damaged=flight.damaged)
        except TimeoutError as error:
            if isinstance(error, TradingError):
                raise
            return Answer(tuple(flight.items), ended=False, damaged=flight.damaged)
        finally:
            flight.waiters.discard(waiter)
            if not flight.waiters:
                self._give_up(flight)

    def add(self, item: _T) -> None:
        """A part of an answer arrived."""
        if self._current is not None:
            self._current.items.append(item)

    def end(self) -> None:
        """An end marker arrived."""
        flight = self._current
        if flight is None:
            self._owed = max(self._owed - 1, 0)
            return
        if not flight.skip:
            self._current = None
            flight.settle()
            self._launch_later()
            return
        # The marker may be the late one of an earlier question. Ask again, so that as many markers come as are waited
        # for; whichever question the last of them answers was asked after this flight's callers came.
        flight.skip -= 1
        flight.items.clear()
        flight.damaged = False
        self._later(lambda: self._ask_again(flight))

    def _ask_again(self, flight: _Flight[_T]) -> bool:
        if flight is not self._current:  # ended or given up meanwhile: one marker less is owed
            self._owed = max(self._owed - 1, 0)
            return False
        try:
            _put(flight.write)
        except TradingError as error:
            self._current = None
            failure = error
            flight.settle(lambda: failure)
            self._launch_later()
        return True

    def damage(self) -> None:
        """A part of the answer could not be read."""
        if self._current is not None:
            self._current.damaged = True

    def fail(self, make: Callable[[str], TradingError]) -> None:
        """End the question in flight, and those that wait, with `make(what)`: no answer will come."""
        flights = [*([self._current] if self._current else []), *self._queue]
        self._current = None
        self._queue.clear()
        for flight in flights:
            flight.settle(lambda: make(self.what))

    def _join(self, variant: str, write: Callable[[], None]) -> _Flight[_T]:
        for waiting in self._queue:
            if waiting.variant == variant:
                return waiting
        flight = _Flight[_T](variant, write)
        self._queue.append(flight)
        self._launch_soon()
        return flight

    def _launch_soon(self) -> None:
        """Write the next question in the loop's next round, so that callers of this round share it."""
        if self._current is None and self._queue and not self._launching:
            self._launching = True
            asyncio.get_running_loop().call_soon(self._launch)

    def _launch_later(self) -> None:
        """Write the next question when there is a slot: those of its callers are long used up."""
        if self._queue and not self._launching:
            self._launching = True
            self._later(self._launch)

    def _launch(self) -> bool:
        self._launching = False
        if self._current is not None or not self._queue:
            return False
        flight = self._queue.pop(0)
        flight.skip = self.owed
        try:
            _put(flight.write)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who asked
            failure = error
            flight.settle(lambda: failure)
            self._launch_later()
            return True
        self._current = flight
        return True

    def _give_up(self, flight: _Flight[_T]) -> None:
        """Nobody waits for `flight` any more (or it is done)."""
        if flight is self._current:
            self._current = None
            self._owed = self.owed + 1
            self._owed_since = self._clock.monotonic()
            self._launch_later()
        elif flight in self._queue:
            self._queue.remove(flight)


def _put(write: Callable[[], None]) -> None:
    """Write a question that may have waited: the libraries raise a bare `ConnectionError` once their socket is gone."""
    try:
        write()
    except ConnectionError as error:
        if isinstance(error, TradingError):
            raise
        raise NotConnected(f"the connection ended before the question could be written ({error}).") from None
