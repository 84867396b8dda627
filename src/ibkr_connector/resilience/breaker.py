"""An adaptive circuit breaker as a pure state machine: time is passed in, nothing waits, nothing runs under its lock.

Most breakers judge a call by the state they find when the call ends, and let everybody in once the cool-down is over.
This one hands out numbered permits instead. A permit belongs to a *generation*; every change of state starts a new one,
and a result that comes back from an older generation is only counted. After the cool-down a bounded number of trials
goes through, each with a deadline of its own, so that a lost trial cannot hold the door shut for ever.

    CLOSED ──(failures in a row | failure rate | slow rate)──▶ OPEN ──(cool-down over)──▶ HALF_OPEN
       ▲                                                        ▲                            │
       └───────────────(enough trials succeeded)────────────────┼────────────────────────────┤
                                                                └──(a trial failed or hung)──┘

    operator: FORCED_OPEN (refuses all, survives a restart) until `reset`
    settings: a breaker may rest METRICS_ONLY (counts, refuses nothing) or DISABLED (neither) instead of CLOSED

Retry belongs outside the breaker, the deadline of one attempt inside. Cancels and the kill never ask it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from random import Random
from typing import Any

from ibkr_connector.errors import CircuitOpen
from ibkr_connector.logs import get_logger
from ibkr_connector.resilience.breaker_types import (
    LEGAL,
    BreakerChange,
    BreakerPolicy,
    BreakerSnapshot,
    BreakerState,
    Permit,
    Rejected,
    how_to_reset,
)
from ibkr_connector.resilience.outcomes import CallOutcome

_log = get_logger(__name__)

STATE_VERSION = 1
"""Version of what `Breaker.export` writes."""


_BYPASS = frozenset({BreakerState.METRICS_ONLY, BreakerState.DISABLED})


class IllegalMove(RuntimeError):
    """Our own bug: a move that `LEGAL` does not know."""


Listener = Callable[[BreakerChange], None]


class Breaker:
    """One plane's breaker (`connect`, `orders`, `reads`). Safe from any thread; `now` is monotonic seconds."""

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy | None = None,
        *,
        rng: Random,
        resting: BreakerState = BreakerState.CLOSED,
    ) -> None:
        """`resting`: where it begins and a reset leads: CLOSED, METRICS_ONLY (refuses nothing) or DISABLED."""
        if resting not in {BreakerState.CLOSED, *_BYPASS}:
            raise ValueError(f"a breaker cannot rest {resting.value}")
        self.name = name
        self._resting = resting
        self.policy = policy or BreakerPolicy()
        self._rng = rng
        self._lock = threading.Lock()
        self._state = resting
        self._generation = 0
        self._reason = ""
        self._open_until = 0.0
        self._cooldown = self.policy.cooldown
        self._level = 0
        self._closed_at = 0.0
        self._hint_until = -math.inf
        self._in_a_row = 0
        self._numbers = 0
        self._outstanding: dict[int, Permit] = {}
        self._trials: dict[int, float] = {}
        self._trial_successes = 0
        self._window: deque[tuple[float, bool, bool]] = deque()
        self._window_failures = 0
        self._window_slow = 0
        self._last_attempt: float | None = None
        self._counts = dict.fromkeys(("admitted", "refused", "successes", "failures", "ignored", "late", "trips"), 0)
        self._listeners: tuple[Listener, ...] = ()
        self._changes: deque[BreakerChange] = deque()
        self._telling = threading.Lock()

    # --- asking and answering ---------------------------------------------------------------------------------------

    def try_acquire(self, now: float) -> Permit | Rejected:
        """A permit, or when to ask again. Never waits."""
        with self._lock:
            answer = self._admit(now)
            if isinstance(answer, Permit):
                self._counts["admitted"] += 1
                self._last_attempt = now
                self._outstanding[answer.number] = answer
            else:
                self._counts["refused"] += 1
        self._tell()
        return answer

    def acquire(self, now: float) -> Permit:
        """A permit, or `CircuitOpen` with `retry_after`."""
        answer = self.try_acquire(now)
        if isinstance(answer, Permit):
            return answer
        raise self._refusal(answer)

    def check(self, now: float) -> None:
        """Raise `CircuitOpen` where a permit would be refused now. Takes none: for who has yet to wait."""
        with self._lock:
            left = self._retry_after(now)
            if left <= 0:
                return
            self._counts["refused"] += 1
            refused = Rejected(left, self._state, self._why_refused())
        raise self._refusal(refused)

    def _refusal(self, answer: Rejected) -> CircuitOpen:
        forced = answer.state is BreakerState.FORCED_OPEN
        when = "until an operator resets it" if forced else f"for {answer.retry_after:.1f} s"
        return CircuitOpen(
            f"The circuit breaker for {self.name} refuses calls {when}: {answer.reason}.",
            remedy=how_to_reset(self.name) if forced else None,
            retryable=not forced,
            retry_after=answer.retry_after,
            state=answer.state.value,
            plane=self.name,
        )

    def record(
        self,
        permit: Permit,
        outcome: CallOutcome,
        now: float,
        *,
        hint: float | None = None,
        took: float | None = None,
    ) -> None:
        """Give `permit` back with what became of the call.

        `hint`: the other side asked for that many seconds of silence (counts with a failure only). `took`: how long the
        other side needed, where the permit was held for longer.
        Raises RuntimeError when the permit was given back before: each is recorded exactly once.
        """
        with self._lock:
            if self._outstanding.pop(permit.number, None) is None:
                raise RuntimeError(f"permit {permit.number} of breaker {self.name} was given back before")
            self._settle(permit, outcome, now, hint, now - permit.issued_at if took is None else took)
        self._tell()

    # --- the operator -----------------------------------------------------------------------------------------------

    def force_open(self, now: float, reason: str) -> None:
        """Refuse everything until `reset`, also after a restart (`export`)."""
        with self._lock:
            if self._state is not BreakerState.FORCED_OPEN:
                self._move(BreakerState.FORCED_OPEN, now, reason)
            else:
                self._reason = reason
        self._tell()

    def reset(self, now: float, reason: str = "reset by operator") -> None:
        """Go back to where it rests (closed, as a rule), and forget failures and growth."""
        with self._lock:
            self._level = 0
            self._in_a_row = 0
            self._hint_until = -math.inf
            self._cooldown = self.policy.cooldown
            if self._state is not self._resting:
                self._move(self._resting, now, reason)
            else:
                self._clear_window()
        self._tell()

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> BreakerState:
        """The state as last moved; an elapsed cool-down shows only when somebody asks for a permit."""
        return self._state

    @property
    def failures_in_a_row(self) -> int:
        """Failures since the last success, trips included: what `AttemptPolicy.plan` takes."""
        return self._in_a_row

    def snapshot(self, now: float) -> BreakerSnapshot:
        """Everything a status page wants, consistent."""
        with self._lock:
            return BreakerSnapshot(
                name=self.name,
                state=self._state,
                generation=self._generation,
                failures_in_a_row=self._in_a_row,
                trips=self._counts["trips"],
                retry_after=self._retry_after(now),
                cooldown=self._cooldown,
                last_attempt=self._last_attempt,
                now=now,
                admitted=self._counts["admitted"],
                refused=self._counts["refused"],
                successes=self._counts["successes"],
                failures=self._counts["failures"],
                ignored=self._counts["ignored"],
                late=self._counts["late"],
                outstanding=len(self._outstanding),
                trials=len(self._trials),
                reason=self._reason,
            )

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` for every change from now on: in order, outside the lock, on whichever thread caused it."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    # --- what survives a restart ------------------------------------------------------------------------------------

    def export(self, wall: datetime) -> dict[str, Any]:
        """The state worth keeping: whether an operator forced it open, why, and the stamp `wall` (aware UTC)."""
        with self._lock:
            forced = self._state is BreakerState.FORCED_OPEN
            reason = self._reason if forced else ""
        return {"version": STATE_VERSION, "forced_open": forced, "reason": reason, "at": wall.isoformat()}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        """Take over what `export` wrote. Raises ValueError for a newer version or an unknown shape."""
        version, forced, reason = state.get("version"), state.get("forced_open"), state.get("reason", "")
        if version != STATE_VERSION or not isinstance(forced, bool) or not isinstance(reason, str):
            raise ValueError(
                f"the stored state of breaker {self.name} has version {version!r}, this program knows {STATE_VERSION}: "
                "use the version that wrote it, or remove the entry"
            )
        if forced:
            self.force_open(now, reason or "forced open before the restart")

    # --- inside the lock --------------------------------------------------------------------------------------------

    def _admit(self, now: float) -> Permit | Rejected:
        if self._state is BreakerState.OPEN and now >= self._open_until:
            self._move(BreakerState.HALF_OPEN, now, "cool-down over")
        if self._state is BreakerState.HALF_OPEN and any(now >= deadline for deadline in self._trials.values()):
            self._in_a_row += 1
            self._trip(now, "a trial was not answered in time")
        if self._state is BreakerState.CLOSED or self._state in _BYPASS:
            return self._permit(now, trial=False)
        if self._state is BreakerState.HALF_OPEN and len(self._trials) < self.policy.half_open_trials:
            permit = self._permit(now, trial=True)
            self._trials[permit.number] = now + self.policy.trial_deadline
            return permit
        return Rejected(self._retry_after(now), self._state, self._why_refused())

    def _why_refused(self) -> str:
        return "a trial is under way" if self._state is BreakerState.HALF_OPEN else self._reason

    def _permit(self, now: float, *, trial: bool) -> Permit:
        self._numbers += 1
        return Permit(self._numbers, self._generation, trial, now)

    def _settle(self, permit: Permit, outcome: CallOutcome, now: float, hint: float | None, took: float) -> None:
        counted = outcome in {CallOutcome.SUCCESS, CallOutcome.FAILURE}
        failed = outcome is CallOutcome.FAILURE
        if self._state is not BreakerState.DISABLED:
            self._counts["ignored" if not counted else "failures" if failed else "successes"] += 1
        if permit.generation != self._generation:
            self._counts["late"] += 1
            return
        self._trials.pop(permit.number, None)
        if not counted or self._state is BreakerState.DISABLED:
            return
        self._in_a_row = self._in_a_row + 1 if failed else 0
        if failed and hint is not None and hint > 0:
            self._hint_until = max(self._hint_until, now + min(hint, self.policy.max_hint))
        if self._state is BreakerState.HALF_OPEN:
            self._settle_trial(failed=failed, now=now)
        elif self._state is BreakerState.CLOSED:
            self._count_in_window(now, failed=failed, slow=took > self.policy.slow_after)
            if why := self._why_trip():
                self._trip(now, why)

    def _settle_trial(self, *, failed: bool, now: float) -> None:
        if failed:
            self._trip(now, "a trial failed")
            return
        self._trial_successes += 1
        if self._trial_successes >= self.policy.successes_to_close:
            self._move(BreakerState.CLOSED, now, "trials succeeded")

    def _why_trip(self) -> str:
        policy, sample = self.policy, len(self._window)
        if self._in_a_row >= policy.failures:
            return f"{self._in_a_row} failures in a row"
        if sample >= policy.minimum_sample:
            if self._window_failures >= policy.failure_rate * sample:
                return f"{self._window_failures} of {sample} calls failed"
            if self._window_slow >= policy.slow_rate * sample:  # never while `slow_after` is infinite
                return f"{self._window_slow} of {sample} calls were slow"
        return ""

    def _count_in_window(self, now: float, *, failed: bool, slow: bool) -> None:
        self._window.append((now, failed, slow))
        self._window_failures += failed
        self._window_slow += slow
        # Bounded twice: by time, and by number so that a burst cannot grow it.
        limit = max(self.policy.minimum_sample, 1_000)
        while self._window[0][0] <= now - self.policy.window or len(self._window) > limit:
            _, old_failed, old_slow = self._window.popleft()
            self._window_failures -= old_failed
            self._window_slow -= old_slow

    def _clear_window(self) -> None:
        self._window.clear()
        self._window_failures = self._window_slow = 0

    def _trip(self, now: float, reason: str) -> None:
        policy = self.policy
        closed = self._state is BreakerState.CLOSED
        forgiven = int((now - self._closed_at) / policy.healthy_after) if closed else 0
        self._level = max(0, self._level - forgiven) + 1
        # The exponent is bounded: the cap is reached long before, and floats end at 2**1023.
        grown = min(policy.max_cooldown, policy.cooldown * policy.growth ** min(self._level - 1, 64))
        # Half of the growth is jitter, so that many programs on one gateway do not come back together.
        cooldown = policy.cooldown + (grown - policy.cooldown) * (0.5 + 0.5 * self._rng.random())
        self._open_until = max(now + cooldown, self._hint_until)
        self._cooldown = self._open_until - now
        self._counts["trips"] += 1
        self._move(BreakerState.OPEN, now, reason)

    def _move(self, state: BreakerState, now: float, reason: str) -> None:
        previous = self._state
        if state not in LEGAL[previous]:
            raise IllegalMove(f"breaker {self.name}: {previous.value} -> {state.value} ({reason})")
        self._state = state
        self._generation += 1
        self._reason = reason
        self._trials.clear()
        self._trial_successes = 0
        self._clear_window()
        if state is BreakerState.CLOSED:
            self._closed_at = now
        cooldown = self._cooldown if state is BreakerState.OPEN else 0.0
        self._changes.append(BreakerChange(self.name, previous, state, now, self._generation, reason, cooldown))

    def _retry_after(self, now: float) -> float:
        if self._state is BreakerState.FORCED_OPEN:
            return math.inf
        if self._state is BreakerState.OPEN:
            return max(0.0, self._open_until - now)
        if len(self._trials) >= self.policy.half_open_trials:  # there are trials in HALF_OPEN only
            return max(0.0, min(self._trials.values()) - now)
        return 0.0

    # --- outside the lock -------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        # One teller at a time keeps the order. Whoever finds it busy may go: the busy one looks again after letting go.
        while self._changes and self._telling.acquire(blocking=False):
            try:
                while self._changes:
                    change = self._changes.popleft()
                    for listener in self._listeners:
                        self._call(listener, change)
            finally:
                self._telling.release()

    def _call(self, listener: Listener, change: BreakerChange) -> None:
        try:
            listener(change)
        except Exception:  # noqa: BLE001 - a listener must not reach the call that moved the breaker
            _log.exception("a listener of a breaker raised; it stays subscribed", breaker=self.name)
