"""What every call to the broker passes through: pace, breaker, deadline, retry. The async shell around pure policy."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from ibkr_connector.backends.base import HistoryRequest, Write
from ibkr_connector.clock import Clock
from ibkr_connector.config.settings import BreakerSettings, ConnectionSettings, PacingSettings
from ibkr_connector.errors import CircuitOpen, OrderNotSent, PacingTimeout, RequestTimeout, TradingError
from ibkr_connector.meters import Meters
from ibkr_connector.models.market import Bar
from ibkr_connector.resilience import (
    AttemptPlan,
    AttemptPolicy,
    Breaker,
    BreakerPolicy,
    BreakerState,
    CallOutcome,
    Lane,
    Pacer,
    PacerSnapshot,
    Permit,
    RetryNote,
    RetryPolicy,
    classify,
    default_rules,
    hint_of,
    idempotent,
    retry_read,
)
from ibkr_connector.resilience.breaker_types import how_to_reset
from ibkr_connector.resilience.rules import Work, history, message
from ibkr_connector.resilience.waiter import AsyncPacer, Slot
from ibkr_connector.resilience.web_rules import web_rules
from ibkr_connector.session.barsizes import BAR_SECONDS
from ibkr_connector.session.operator import OperatorWord
from ibkr_connector.session.permits import ConnectPermit, HeldSlot
from ibkr_connector.session.webpace import Leave, NoSlot, WebPace
from ibkr_connector.session.windows import KeptWindows

_T = TypeVar("_T")
_LEAST_S = 0.001
"""What zero seconds come to where a wait must have a length."""
_RESTING = {"protect": BreakerState.CLOSED, "watch": BreakerState.METRICS_ONLY, "off": BreakerState.DISABLED}
Check = Callable[[], None]
"""Raises when there is no point in trying now."""


class Guard:
    """Pacer and breakers of one session. Used on the session loop; snapshots may be read anywhere."""

    def __init__(
        self,
        *,
        connection: ConnectionSettings,
        pacing: PacingSettings,
        breaker: BreakerSettings,
        clock: Clock,
        rng: random.Random,
        meters: Meters | None = None,
        word: OperatorWord | None = None,
        oauth: bool = False,
    ) -> None:
        self._word = word
        self._meters = meters or Meters()
        self._clock = clock
        self._rng = rng
        policy = BreakerPolicy(
            failures=breaker.failures,
            cooldown=breaker.cooldown,
            max_cooldown=breaker.max_cooldown,
            half_open_trials=breaker.half_open_trials,
            failure_rate=breaker.failure_rate,
            minimum_sample=breaker.minimum_sample,
            slow_after=math.inf if breaker.slow_after is None else breaker.slow_after,
            slow_rate=breaker.slow_rate,
        )
        resting = _RESTING[breaker.action]
        self.connect = Breaker("connect", policy, rng=rng, resting=resting)
        self.orders = Breaker("orders", policy, rng=rng, resting=resting)
        self.reads = Breaker("reads", policy, rng=rng, resting=resting)
        self._attempts = AttemptPolicy.from_tiers(
            connection.connect_attempts, connection.connect_delays, connection.handshake_timeouts
        )
        web = connection.backend == "web"
        rate, reserve = pacing.messages_per_second, pacing.cancel_reserve
        rules = (
            web_rules(oauth=oauth, messages_per_second=rate, cancel_reserve=reserve)
            if web
            else default_rules(rate, reserve)
        )
        self._core = Pacer(rules)
        self.web = WebPace(lambda: self.pacer, self._core, clock) if web else None
        """The pace of the Web API: there a read is as many requests as it takes, and each of them is asked for."""
        self._pacer: AsyncPacer | None = None
        self._kept: KeptWindows | None = None

    def heed(self) -> None:
        """Look at what operators say of the breakers. Any thread."""
        if self._word is not None:
            self._word.heed(self.breakers)

    # --- connecting ------------------------------------------------------------------------------------------------

    def plan(self) -> AttemptPlan:
        """How patiently to connect, given the failures so far."""
        return self._attempts.plan(self.connect.failures_in_a_row)

    def connect_permit(self) -> ConnectPermit:
        """Leave to try once. Raises `CircuitOpen` with `retry_after`."""
        self.heed()
        return ConnectPermit(self.connect, self.connect.acquire(self._clock.monotonic()), self._clock)

    def connect_wait(self) -> float:
        """Seconds until the connect breaker lets a try through; 0 = now, inf = when an operator lets it."""
        self.heed()
        snapshot = self.connect.snapshot(self._clock.monotonic())
        return snapshot.retry_after if snapshot.state in (BreakerState.OPEN, BreakerState.FORCED_OPEN) else 0.0

    def connect_anew(self, reason: str) -> None:
        """Forget the failures to connect: what caused them was mended. What an operator opened stays open."""
        if self.connect.state is not BreakerState.FORCED_OPEN:
            self.connect.reset(self._clock.monotonic(), reason)

    # --- pace ------------------------------------------------------------------------------------------------------

    @property
    def pacer(self) -> AsyncPacer:
        """The pacer, bound to the loop that asks first: the session's."""
        if self._pacer is None:
            self._pacer = AsyncPacer(self._core, self._clock, self._waited)
        return self._pacer

    def _waited(self, lane: Lane, seconds: float) -> None:
        self._meters.observe("pacing_wait", seconds, lane.name.lower())

    def write_soon(self, write: Write) -> None:
        """Write in its turn what nobody waits for: ends of lines and of requests, before new ones."""
        self.pacer.write_soon(message(Lane.ACCOUNT), write)

    async def slot(self, lane: Lane, *, timeout: float, units: int = 1) -> None:
        """Wait for leave to write `units` messages, which the caller does at once. Raises `PacingTimeout`."""
        async with self.pacer.slot(message(lane, units=units), timeout):
            pass

    def exit_slot(self, *, again: bool) -> AbstractAsyncContextManager[Leave]:
        """Leave to write a cancel, however long it takes, as a block; `again`: it was written before."""
        return self.pacer.slot(message(Lane.CANCEL)) if self.web is None else self.web.exit(again=again)

    def wrote(self, lane: Lane) -> None:
        """One message was written without asking (a handshake's last): what comes after it is counted with it."""
        self._core.note(self._clock.monotonic(), message(lane))

    async def keep_windows(self, kept: KeptWindows) -> None:
        """Take over the history windows of earlier runs, once, and keep ours there from now on."""
        if self._kept is None and self.web is None:
            await kept.take_over(self._core)
            self._kept = kept

    async def close(self) -> None:
        """Fail whatever waits."""
        if self._pacer is not None:
            await self._pacer.close()

    # --- reads -----------------------------------------------------------------------------------------------------

    async def read(
        self,
        what: str,
        call: Callable[[float], Awaitable[_T]],
        *,
        timeout: float,
        lane: Lane,
        retry: bool,
        usable: Check,
        work: Work | None = None,
        op: str = "",
    ) -> _T:
        """Make a read; see `Session.read`."""
        begun = self._clock.monotonic()
        op, outcome = op or what.replace(" ", "_"), "ok"
        try:
            return await self._read(
                what, call, timeout=timeout, lane=lane, retry=retry, usable=usable, work=work, op=op
            )
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            self._meters.count("requests", op, outcome)
            self._meters.observe("request_duration", self._clock.monotonic() - begun, op)

    async def _read(
        self,
        what: str,
        call: Callable[[float], Awaitable[_T]],
        *,
        timeout: float,
        lane: Lane,
        retry: bool,
        usable: Check,
        work: Work | None,
        op: str,
    ) -> _T:
        until = self._clock.monotonic() + timeout

        @idempotent
        async def once() -> _T:
            usable()
            self.heed()
            self.reads.check(self._clock.monotonic())
            async with self._slot(work or message(lane), max(until - self._clock.monotonic(), 0.0)) as slot:
                try:
                    if self._kept is not None and work is not None and self._core.is_kept(work):
                        await self._kept.keep(self._core, max(until - self._clock.monotonic(), 0.0))
                    usable()
                    # Not before: what waits for its slot is no trial, and its wait is nobody's slowness.
                    permit = self.reads.acquire(self._clock.monotonic())
                except BaseException:
                    slot.unused()
                    raise
                slot.sent()
                try:
                    result = await self._answer(what, call, until)
                except BaseException as error:
                    self.reads.record(permit, classify(error), self._clock.monotonic(), hint=hint_of(error))
                    raise
                self.reads.record(permit, CallOutcome.SUCCESS, self._clock.monotonic())
            return result

        once.__qualname__ = what  # what a timeout or a retry calls it
        if not retry:
            return await once()
        policy = RetryPolicy(total=max(timeout, _LEAST_S))
        return await retry_read(policy, clock=self._clock, rng=self._rng, on_retry=lambda note: self._again(op, note))(
            once
        )()

    def _slot(self, work: Work, timeout: float) -> Slot | NoSlot:
        return self.pacer.slot(work, timeout) if self.web is None else NoSlot()

    def _again(self, op: str, note: RetryNote) -> None:
        self._meters.count("retries", op, type(note.error).__name__)

    async def _answer(self, what: str, call: Callable[[float], Awaitable[_T]], until: float) -> _T:
        left = max(until - self._clock.monotonic(), _LEAST_S)
        try:
            return await self._clock.wait_for(call(left), left)
        except TimeoutError as error:
            if isinstance(error, TradingError):
                raise
            raise RequestTimeout(f"no answer to {what} in time.", what=what) from None

    async def read_history(
        self,
        request: HistoryRequest,
        call: Callable[[HistoryRequest, float], Awaitable[list[Bar]]],
        *,
        timeout: float,
        caller: str,
        usable: Check,
    ) -> list[Bar]:
        """Bars under the history rules; see `Session.read_history`."""
        end = "now" if request.end is None else request.end.isoformat()
        parts = (
            request.contract.key,
            end,
            request.duration,
            request.bar_size,
            request.what_to_show,
            str(request.use_rth),
        )
        identity = "|".join(parts)
        work = history(
            contract=request.contract.key,
            exchange=request.contract.exchange,
            what_to_show=request.what_to_show,
            identity=identity,
            bar_seconds=BAR_SECONDS[request.bar_size],
            caller=caller,
        )

        async def ask(left: float) -> list[Bar]:
            return await call(request, left)

        what = f"{request.duration} of {request.bar_size} bars of {request.contract.symbol}"
        return await self.read(
            what, ask, timeout=timeout, lane=Lane.HISTORY, retry=True, usable=usable, work=work, op="history"
        )

    # --- orders ----------------------------------------------------------------------------------------------------

    async def order_slot(
        self,
        *,
        units: int,
        timeout: float,
        probe: Callable[[], Awaitable[None]],
        reduces: Callable[[], bool] = lambda: False,
    ) -> HeldSlot:
        """Leave to write `units` order messages, to be held until they are: the orders breaker, then the pacer.

        A breaker that wants a trial is given a read (`probe`), never an order. What only `reduces` waits for neither:
        getting out is never blocked (the slot then says `past_breaker`, and counts nothing). Raises `OrderNotSent`.
        """
        self.heed()
        if self.web is not None and (rest := self.web.resting) > 0 and not reduces():
            raise OrderNotSent(f"IBKR counted too many requests and wants none for {rest:.0f} s.", retry_after=rest)
        while (permit := self._order_permit(reduces)) is not None and permit.trial:
            if reduces():
                self.orders.record(permit, CallOutcome.IGNORED, self._clock.monotonic())
                permit = None
                break
            try:
                await probe()
            except BaseException as error:
                self.orders.record(permit, classify(error), self._clock.monotonic())
                if isinstance(error, TradingError):
                    raise OrderNotSent(f"the broker does not answer: {error.message}") from error
                raise
            self.orders.record(permit, CallOutcome.SUCCESS, self._clock.monotonic())
        try:
            grant = await self.pacer.acquire(message(Lane.ORDERS, units=units), timeout)
        except BaseException as error:
            if permit is not None:
                self.orders.record(permit, classify(error), self._clock.monotonic())
            if isinstance(error, PacingTimeout):
                raise OrderNotSent(f"no slot for the order in {timeout:g} s: {error.message}") from error
            raise
        return HeldSlot(self.pacer, grant, self.orders, permit, self._clock)

    def _order_permit(self, reduces: Callable[[], bool]) -> Permit | None:
        answer = self.orders.try_acquire(self._clock.monotonic())
        if isinstance(answer, Permit):
            return answer
        if reduces():
            return None
        forced = answer.state is BreakerState.FORCED_OPEN
        how_long = "until an operator resets the breaker" if forced else f"for {answer.retry_after:.0f} s"
        raise OrderNotSent(
            f"orders are held back {how_long}: {answer.reason}.",
            remedy=f"{how_to_reset('orders')} Orders that only reduce a position, and cancels, pass."
            if forced
            else None,
            retryable=not forced,
            retry_after=None if forced else answer.retry_after,
        )

    @property
    def breakers(self) -> tuple[Breaker, Breaker, Breaker]:
        """Of connecting, of orders, of reads."""
        return (self.connect, self.orders, self.reads)

    def pacing(self) -> PacerSnapshot:
        """What waits for a slot, and what is used up."""
        return self._core.snapshot(self._clock.monotonic())

    # --- looking ---------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The guide's keys about the connect breaker, and the states of the other two."""
        self.heed()
        now = self._clock.monotonic()
        return {
            **self.connect.snapshot(now).to_dict(self._clock.now()),
            "orders_breaker": self.orders.snapshot(now).state.value,
            "reads_breaker": self.reads.snapshot(now).state.value,
        }


def _outcome(error: BaseException) -> str:
    """How a request ended, in one of few words."""
    if isinstance(error, PacingTimeout):
        return "paced_out"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, CircuitOpen):
        return "circuit_open"
    if isinstance(error, ConnectionError):
        return "no_connection"
    if isinstance(error, TradingError):
        return "refused"
    return "cancelled" if not isinstance(error, Exception) else "error"
