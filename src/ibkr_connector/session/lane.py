"""The one writer of orders: commit, check again, write, with nothing in between.

The order of these three is the heart of the library. The commit is durable before the first byte is written, so a crash
leaves either nothing at the broker or a record of what may be there; the second check has no `await` between itself and
the write, so nothing (a kill, a lost link) can slip in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ibkr_connector.clock import Clock
from ibkr_connector.errors import OrderNotSent, Outcome, TradingError


class Written(StrEnum):
    """What is known after the lane's turn."""

    YES = "yes"
    """Every frame is with the operating system."""
    NO = "no"
    """Nothing was written."""
    MAYBE = "maybe"
    """A write raised: some of it may be on its way."""


@dataclass(frozen=True, slots=True)
class LaneOutcome:
    """The result of a turn: how many of the writes were begun, and how many of them are certainly complete."""

    written: Written
    frames: int = 0
    reason: str = ""
    whole: int = 0


class OrderLane:
    """Serialises orders of one session: rising ids reach the broker in rising order."""

    def __init__(self, clock: Clock, turn: Callable[[float], Awaitable[None]] | None = None) -> None:
        """`turn` waits, at most so many seconds, until the backend writes at once what it is handed."""
        self._clock = clock
        self._turn = turn
        self._lock = asyncio.Lock()

    async def write(
        self,
        *,
        prepare: Callable[[], None],
        commit: Callable[[], Awaitable[None]],
        recheck: Callable[[], str],
        frames: Callable[[], Sequence[Callable[[], None]]],
        timeout: float,
        written: Callable[[], None] = lambda: None,
    ) -> LaneOutcome:
        """Take a turn: `prepare` (ids), `commit` (durable), `recheck` (empty = go on), then each of `frames`.

        Args:
            prepare: allocates ids; synchronous, inside the turn, so that ids rise with the turns.
            commit: makes intent, decision and SENDING durable. What it raises goes to the caller; nothing is written.
            recheck: why the write must not happen now, or an empty string.
            frames: the writes, back to back.
            timeout: seconds to wait for the turn.
            written: told right after the writes, unless it is certain that nothing was written (`HeldSlot.sent`).

        Raises:
            OrderNotSent: the turn did not come in time, here or at the backend.
        """
        until = self._clock.monotonic() + timeout
        try:
            await self._clock.wait_for(self._lock.acquire(), timeout)
        except TimeoutError:
            raise OrderNotSent(f"the order lane was busy for {timeout:g} s.") from None
        try:
            if self._turn is not None:
                await self._turn(max(until - self._clock.monotonic(), 0.0))
            prepare()
            await commit()
            why = recheck()
            if why:
                return LaneOutcome(Written.NO, reason=why)
            outcome = _write_all(frames())
            if outcome.written is not Written.NO:
                written()
            return outcome
        finally:
            self._lock.release()


def _write_all(frames: Sequence[Callable[[], None]]) -> LaneOutcome:
    begun = 0
    for frame in frames:
        try:
            frame()
        except TradingError as error:
            # Ours, and it says itself that nothing was written: of a group, nothing of this frame and those after it.
            if error.outcome is not Outcome.NOT_SENT:
                return LaneOutcome(Written.MAYBE, begun + 1, error.message, begun)
            return LaneOutcome(Written.MAYBE if begun else Written.NO, begun, error.message, begun)
        except Exception as error:  # noqa: BLE001 - whatever it was, bytes may be on their way
            return LaneOutcome(Written.MAYBE, begun + 1, f"{type(error).__name__}: {error}", begun)
        begun += 1
    return LaneOutcome(Written.YES, begun, whole=begun)
