"""What the guard hands out: leave to try a connection, leave to write orders."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from ibkr_connector.clock import Clock
from ibkr_connector.resilience import Breaker, CallOutcome, Grant, Permit, classify, hint_of
from ibkr_connector.resilience.waiter import AsyncPacer


class ConnectPermit:
    """One connection attempt under the connect breaker: `done` says how it ended, exactly once."""

    def __init__(self, breaker: Breaker, permit: Permit, clock: Clock) -> None:
        self._breaker = breaker
        self._permit = permit
        self._clock = clock

    def done(self, error: BaseException | None, hint: float | None = None) -> None:
        """Give the permit back. `hint`: seconds for which the broker is known to be away, unless it says so itself."""
        told = hint_of(error)
        hint = hint if told is None else told
        self._breaker.record(self._permit, classify(error), self._clock.monotonic(), hint=hint)


class HeldSlot:
    """Leave to write order messages, held until it is known when they were written.

    Between the leave and the write lie the lane and a durable commit, of unknown length: were the messages counted
    from the leave on, orders held up by a slow disk would leave in one burst beside those granted after them (INV-09).
    `sent` right after the write; leaving the block without it gives the slot back.
    """

    def __init__(self, pacer: AsyncPacer, grant: Grant, breaker: Breaker, permit: Permit | None, clock: Clock) -> None:
        self._pacer = pacer
        self._grant: Grant | None = grant
        self._breaker = breaker
        self._permit = permit
        self.past_breaker = permit is None
        """The breaker refused, and it goes because it only reduces: that must still hold right before the write."""
        self._clock = clock
        self._sent_at = 0.0

    def sent(self) -> None:
        """The messages were written just now (or a part of them: then all count). Idempotent."""
        grant, self._grant = self._grant, None
        if grant is not None:
            self._sent_at = self._clock.monotonic()
            self._pacer.sent(grant)

    def answered(self, *, in_doubt: bool) -> None:
        """The broker answered (a rejection is an answer), or was silent: then the order is in doubt. Idempotent.

        Said of this very order: an answer to one that was sent before the breaker moved says nothing about now.
        """
        self._settle(CallOutcome.FAILURE if in_doubt else CallOutcome.SUCCESS)

    def unanswered(self) -> None:
        """Nobody waits for the answer any more. Idempotent."""
        self._settle(CallOutcome.CANCELLED)

    def _settle(self, outcome: CallOutcome) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            now = self._clock.monotonic()
            self._breaker.record(permit, outcome, now, took=now - self._sent_at if self._sent_at else 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        grant, self._grant = self._grant, None
        if grant is not None:
            self._pacer.give_back(grant)
            self._settle(CallOutcome.IGNORED)
        elif error is not None:
            self.unanswered()
