"""What became of a call, as the breaker counts it, and which exception means what."""

from __future__ import annotations

from enum import StrEnum

from ibkr_connector.errors import (
    CircuitOpen,
    IBKRConnectionError,
    LiveTradingRefused,
    OrderInDoubt,
    ProtocolError,
    RequestTimeout,
    TradingError,
)


class CallOutcome(StrEnum):
    """How a call that held a permit ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    """The other side or the way to it failed: timeout, lost connection, unparsable answer."""
    IGNORED = "ignored"
    """Says nothing about the other side's health: the caller's mistake, a rejection, a rate limit."""
    CANCELLED = "cancelled"
    """The caller gave up; the slot is free again and nothing is counted."""


_FAILURES = (IBKRConnectionError, RequestTimeout, ProtocolError, OrderInDoubt)
_NEVER = (CircuitOpen, LiveTradingRefused)


def classify(error: BaseException | None) -> CallOutcome:
    """The outcome that `error` means (None = the call returned).

    Only transport trips a breaker: lost or refused connections, silence, garbage. A wrong contract, a risk rejection,
    a broker's refusal or a pacing limit is an answer. What is no `Exception` (cancellation, Ctrl-C) is the caller's.
    """
    if error is None:
        return CallOutcome.SUCCESS
    if not isinstance(error, Exception):
        return CallOutcome.CANCELLED
    if isinstance(error, _NEVER):
        return CallOutcome.IGNORED
    if isinstance(error, _FAILURES):
        return CallOutcome.FAILURE
    if isinstance(error, TradingError):
        return CallOutcome.IGNORED
    # The builtin ConnectionError and TimeoutError are OSErrors.
    return CallOutcome.FAILURE if isinstance(error, OSError | EOFError) else CallOutcome.IGNORED


def hint_of(error: BaseException | None) -> float | None:
    """The seconds of silence the broker asked for (`context['retry_after']`), or None."""
    if not isinstance(error, TradingError):
        return None
    value = error.context.get("retry_after")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        return None
    return float(value)
