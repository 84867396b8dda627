"""Retrying reads, and nothing else: tenacity behind one door, with stamina's rules.

Typed errors only, a bounded number of tries *and* a total deadline, jitter, the broker's own wish for a pause honoured.
A function is wrapped only if it says of itself that repeating it changes nothing (`@idempotent`): a common decorator
that sends an order twice is the accident this module exists to rule out.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ibkr_connector.clock import Clock
from ibkr_connector.errors import OrderError, Outcome, RequestTimeout, TradingError
from ibkr_connector.resilience.deadline import Deadline
from ibkr_connector.resilience.outcomes import hint_of

if TYPE_CHECKING:
    from tenacity import RetryCallState

_P = ParamSpec("_P")
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])

_MARK = "__ibkr_idempotent__"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long. `total` bounds everything: tries, pauses, and the last answer. Times in seconds."""

    tries: int = 3
    total: float = 30.0
    base: float = 0.25
    """The first pause's upper bound; doubles with each try."""
    cap: float = 5.0
    """No pause of ours is longer. The broker's may be."""

    def __post_init__(self) -> None:
        if self.tries < 1 or not 0 < self.total < float("inf") or not 0 <= self.base <= self.cap:
            raise ValueError(f"{self} needs tries >= 1, a finite total > 0 and 0 <= base <= cap")


@dataclass(frozen=True, slots=True)
class RetryNote:
    """One retry, told before its pause."""

    name: str
    try_number: int
    """The try that failed, from 1."""
    pause: float
    error: BaseException


def idempotent(function: _F) -> _F:
    """Mark `function` as one that may be made again without a second effect: a read, never an order."""
    setattr(function, _MARK, True)
    return function


def is_idempotent(function: Callable[..., Any]) -> bool:
    """Whether `function` (or what a bound method or partial stands for) carries the mark."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, _MARK, False) is True


def retryable(error: BaseException) -> bool:
    """The default judgement: one of our errors, marked retryable, not about an order, certain to have had no effect."""
    return (
        isinstance(error, TradingError)
        and error.retryable
        and not isinstance(error, OrderError)
        and error.outcome is not Outcome.UNKNOWN
    )


def retry_read(
    policy: RetryPolicy,
    classify: Callable[[BaseException], bool] = retryable,
    *,
    clock: Clock,
    rng: Random,
    on_retry: Callable[[RetryNote], None] | None = None,
) -> Callable[[Callable[_P, Awaitable[_T]]], Callable[_P, Awaitable[_T]]]:
    """A decorator that repeats an idempotent coroutine function while `classify(error)` holds.

    The last error is raised as it is. A try that outlives the total ends in RequestTimeout. TypeError when the function
    is not marked `@idempotent` or is no coroutine function.
    """

    def wrap(function: Callable[_P, Awaitable[_T]]) -> Callable[_P, Awaitable[_T]]:
        name = getattr(function, "__qualname__", repr(function))
        if not is_idempotent(function):
            raise TypeError(
                f"{name} is not marked @idempotent, so it is never retried. Mark it if repeating it has no effect; "
                "an order is never marked."
            )
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{name} is no coroutine function: retry_read wraps `async def` only")

        async def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            deadline = Deadline(clock, policy.total)

            async def once() -> _T:
                try:
                    return await clock.wait_for(function(*args, **kwargs), deadline.remaining())
                except TimeoutError as error:
                    if isinstance(error, TradingError):
                        raise
                    raise RequestTimeout(f"No answer from {name} within {policy.total:g} s.", step=name) from error

            return await _retrying(name, policy, classify, clock, rng, deadline, on_retry)(once)

        functools.update_wrapper(call, function)
        return call

    return wrap


def _retrying(
    name: str,
    policy: RetryPolicy,
    classify: Callable[[BaseException], bool],
    clock: Clock,
    rng: Random,
    deadline: Deadline,
    on_retry: Callable[[RetryNote], None] | None,
) -> Callable[[Callable[[], Awaitable[_T]]], Awaitable[_T]]:
    from tenacity import AsyncRetrying, retry_if_exception

    def pause(state: RetryCallState) -> float:
        # Full jitter: programs that failed together do not come back together.
        own = rng.random() * min(policy.cap, policy.base * 2.0 ** min(state.attempt_number - 1, 64))
        return max(own, hint_of(_error(state)) or 0.0)

    def stop(state: RetryCallState) -> bool:
        # A pause that ends after the deadline is not begun: the caller gets the real error, and gets it now.
        return state.attempt_number >= policy.tries or state.upcoming_sleep >= deadline.remaining()

    def tell(state: RetryCallState) -> None:
        if on_retry is not None:
            on_retry(RetryNote(name, state.attempt_number, state.upcoming_sleep, _error(state)))

    return AsyncRetrying(
        sleep=clock.sleep, stop=stop, wait=pause, retry=retry_if_exception(classify), before_sleep=tell, reraise=True
    )


def _error(state: RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome is not None else None
    return error or RuntimeError("a retry without an error")
