"""`connector.breakers`: the circuit breakers of connecting, of orders and of reads, and an operator's word on them."""

from __future__ import annotations

from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.models.arguments import sentence, wrong
from ibkr_connector.resilience import Breaker
from ibkr_connector.session.guard import Guard
from ibkr_connector.session.operator import PLANES, OperatorWord


class BreakersApi:
    """Look at the breakers, hold one open, let it go. Safe from any thread.

    Planes: `connect`, `orders`, `reads`. Cancels and the kill pass every breaker.
    """

    def __init__(self, guard: Guard, word: OperatorWord, clock: Clock) -> None:
        self._guard = guard
        self._word = word
        self._clock = clock

    def status(self) -> dict[str, dict[str, Any]]:
        """Each breaker's state, why, failures in a row, trips, and the seconds until it lets a call through."""
        self._guard.heed()
        now, found = self._clock.monotonic(), {}
        for breaker in self._guard.breakers:
            shown = breaker.snapshot(now)
            found[shown.name] = {
                "state": shown.state.value,
                "reason": shown.reason,
                "failures_in_a_row": shown.failures_in_a_row,
                "trips": shown.trips,
                "retry_after": None if shown.retry_after == float("inf") else round(shown.retry_after, 3),
            }
        return found

    def force_open(self, plane: str, reason: str) -> None:
        """Refuse all calls of a plane until `reset`, in every program that uses this gateway, over restarts too.

        Raises: InvalidRequest; JournalUnwritable when it cannot be saved (then it holds in this program alone).
        """
        breaker, words = self._breaker(plane), sentence(reason, "reason")
        breaker.force_open(self._clock.monotonic(), words)
        self._word.force_open(plane, words)

    def reset(self, plane: str) -> None:
        """Close a breaker, whoever opened it, and forget its failures. Raises: InvalidRequest; JournalUnwritable."""
        breaker = self._breaker(plane)
        self._word.reset(plane)
        breaker.reset(self._clock.monotonic())

    def _breaker(self, plane: str) -> Breaker:
        found = {breaker.name: breaker for breaker in self._guard.breakers}
        if plane not in found:
            raise wrong("plane", plane, ", ".join(PLANES), why="is not known")
        return found[plane]
