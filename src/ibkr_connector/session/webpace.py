"""The pace of a Web API session: every request through the session's own pacer, and rest after a 429."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Protocol, Self

from ibkr_connector.clock import Clock
from ibkr_connector.errors import PacingError, PacingTimeout
from ibkr_connector.logs import get_logger
from ibkr_connector.resilience.pacing import Pacer
from ibkr_connector.resilience.rules import Lane, Work, message
from ibkr_connector.resilience.waiter import AsyncPacer, Slot
from ibkr_connector.resilience.web_rules import Penalty, request
from ibkr_connector.session.webwindows import SharedWindows

_log = get_logger(__name__)
_TRY_S = 5.0
"""How long the other cancels wait for the answer of the one that is tried after a rest."""
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


class _Probe(Enum):
    """The one cancel that may be tried during a rest: the 429 may have been another endpoint's own limit."""

    UNTRIED = "untried"
    OUT = "out"
    PASSED = "passed"
    REFUSED = "refused"


class ExitSlot:
    """Leave to write one cancel; see `Slot`."""

    def __init__(self, slot: Slot, unused: Callable[[], None]) -> None:
        self._slot = slot
        self._on_unused = unused

    def sent(self) -> None:
        """See `Slot`."""
        self._slot.sent()

    def unused(self) -> None:
        """See `Slot`."""
        self._slot.unused()
        self._on_unused()


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
        self._probe = _Probe.UNTRIED
        self._proven = True
        """No rest was, or a cancel was answered since it began: the others need not wait for one that is tried."""
        self._tried_at = -math.inf
        """When the cancel was let go that is tried after a rest."""
        self._exits_open = asyncio.Event()
        """Set when cancels that wait for the one that is tried may look again."""
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

    # --- cancels --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def exit(self, *, again: bool = False) -> AsyncIterator[Leave]:
        """Leave to write a cancel, however long that takes: it is owed.

        During a rest one cancel that was not written before is tried: the 429 may have been about something else. If
        that is answered, the others follow; if it is refused too, they wait for the end of the rest, and then for one
        that is tried again. Whoever goes on asking in the penalty box stays in it. `again`: it was written before, and
        waits for the end of the rest in any case.
        """
        while True:
            while (wait := self._exit_wait(again=again)) > 0:
                if again and self.resting > 0:
                    await self._clock.sleep(wait)
                else:
                    with suppress(TimeoutError):
                        await self._clock.wait_for(self._exits_open.wait(), wait)
            async with self._pacer().slot(message(Lane.CANCEL)) as slot:
                # A rest may have begun, or another one be tried, while it waited for its turn.
                if self._exit_wait(again=again) <= 0:
                    yield ExitSlot(slot, self._let_go())
                    return
                slot.unused()

    def _exit_wait(self, *, again: bool) -> float:
        """Seconds after which a cancel may look again whether it may go; 0 = it may."""
        rest = self.resting
        if rest > 0:
            return 0.0 if not again and self._probe in (_Probe.UNTRIED, _Probe.PASSED) else rest
        return 0.0 if self._proven else max(0.0, self._tried_at + _TRY_S - self._clock.monotonic())

    def _let_go(self) -> Callable[[], None]:
        """A cancel goes; returns what takes that back."""
        if self.resting > 0 and self._probe is _Probe.UNTRIED:
            self._probe = _Probe.OUT
        elif self.resting <= 0 and not self._proven:
            self._tried_at = self._clock.monotonic()
        else:
            return _nothing
        self._exits_open.clear()
        return self._not_tried

    def _not_tried(self) -> None:
        if self._probe is _Probe.OUT:
            self._probe = _Probe.UNTRIED
        self._tried_at = -math.inf
        self._exits_open.set()

    def exit_answered(self) -> None:
        """A cancel was answered, and not with 429."""
        if self.resting <= 0:
            self._proven = True
        elif self._probe is _Probe.OUT:
            self._probe, self._proven = _Probe.PASSED, True
        else:
            return
        self._exits_open.set()

    def late(self, path: str) -> None:
        """What had its leave long before was written just now: those that come after it must not join it."""
        self._core.note(self._clock.monotonic(), message(Lane.ORDERS))

    def limited(self, error: PacingError) -> None:
        """A 429 came."""
        if isinstance(error, PacingTimeout):
            return
        before = self.resting
        rest = self._penalty.limited(self._clock.monotonic())
        if before:
            if self._probe in (_Probe.OUT, _Probe.PASSED):
                self._probe, self._proven = _Probe.REFUSED, False
                self._exits_open.clear()
        else:
            self._probe, self._proven, self._tried_at = _Probe.UNTRIED, False, -math.inf
            self._exits_open.clear()
            _log.warning("too many requests: resting", seconds=round(rest), boxed=self._penalty.boxed)
            self.on_rest(rest, self._penalty.boxed)


def _nothing() -> None:
    """It was no probe."""
