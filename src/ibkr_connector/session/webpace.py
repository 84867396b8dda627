"""The pace of a Web API session: every request through the session's own pacer, and rest after a 429."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol, Self

from ibkr_connector.clock import Clock
from ibkr_connector.errors import PacingError, PacingTimeout
from ibkr_connector.logs import get_logger
from ibkr_connector.resilience.pacing import Pacer
from ibkr_connector.resilience.rules import Lane, Work, message
from ibkr_connector.resilience.waiter import AsyncPacer
from ibkr_connector.resilience.web_rules import Penalty, request
from ibkr_connector.session.webwindows import SharedWindows

_log = get_logger(__name__)
_EXITS = frozenset({Lane.CANCEL})


class Leave(Protocol):
    """Leave to write one request."""

    def sent(self) -> None:
        """It is being written now."""
        ...

    def unused(self) -> None:
        """It was not and will not be written."""
        ...


class NoSlot:
    """What a read of the Web API takes instead of a slot: its requests are paced one by one."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *left: object) -> None:
        pass

    def sent(self) -> None:
        """See `Slot`."""

    def unused(self) -> None:
        """See `Slot`."""


class _Told:
    """Leave whose use other programs are told of."""

    def __init__(self, leave: Leave, shared: SharedWindows, work: Work) -> None:
        self._leave, self._shared, self._work = leave, shared, work

    def sent(self) -> None:
        """See `Leave`."""
        self._leave.sent()
        self._shared.sent(self._work)

    def unused(self) -> None:
        """See `Leave`."""
        self._leave.unused()


class WebPace:
    """Hands out leave for requests. Used on the session loop.

    Args:
        pacer: gives the session's, which is made when it is first asked for.
        core: what it stands on.
        clock: where time comes from.
    """

    def __init__(self, pacer: Callable[[], AsyncPacer], core: Pacer, clock: Clock) -> None:
        self._pacer = pacer
        self._core = core
        self._clock = clock
        self._penalty = Penalty()
        self.shared: SharedWindows | None = None
        """What other programs asked; None: nothing is shared."""
        self.on_rest: Callable[[float, bool], None] = lambda _seconds, _boxed: None
        """Told of every rest: seconds, and whether it is IBKR's penalty box."""

    @property
    def resting(self) -> float:
        """Seconds for which IBKR wants no requests; 0 = none."""
        return self._penalty.left(self._clock.monotonic())

    @asynccontextmanager
    async def request(self, method: str, path: str, timeout: float) -> AsyncIterator[Leave]:
        """Leave to write a request, until the block ends (its answer is there)."""
        until = self._clock.monotonic() + timeout
        work = request(method, path)
        while work.lane not in _EXITS and (rest := self.resting) > 0:
            left = until - self._clock.monotonic()
            if rest > left:
                raise PacingTimeout(
                    f"IBKR counted too many requests and wants none for {rest:.0f} s.", retry_after=rest, rule="penalty"
                )
            await self._clock.sleep(rest)
        if self.shared is not None:
            await self.shared.heed(self._core, work)
        async with self._pacer().slot(work, max(until - self._clock.monotonic(), 0.0)) as slot:
            yield slot if self.shared is None else _Told(slot, self.shared, work)

    def late(self, path: str) -> None:
        """What had its leave long before was written just now: those that come after it must not join it."""
        self._core.note(self._clock.monotonic(), message(Lane.ORDERS))

    def limited(self, error: PacingError) -> None:
        """A 429 came."""
        if isinstance(error, PacingTimeout):
            return
        before = self.resting
        rest = self._penalty.limited(self._clock.monotonic())
        if not before:
            _log.warning("too many requests: resting", seconds=round(rest), boxed=self._penalty.boxed)
            self.on_rest(rest, self._penalty.boxed)
