from __future__ import annotations

import asyncio

import pytest

from ibkr_connector.errors import (
    AuthenticationError,
    CircuitOpen,
    ConnectionLost,
    ContractNotFound,
    LiveTradingRefused,
    OrderInDoubt,
    OrderRejected,
    PacingError,
    ProtocolError,
    RequestRejected,
    RequestTimeout,
    RiskRejected,
)
from ibkr_connector.resilience import CallOutcome, classify, hint_of


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, CallOutcome.SUCCESS),
        (ConnectionLost("x"), CallOutcome.FAILURE),
        (AuthenticationError("x"), CallOutcome.FAILURE),
        (RequestTimeout("x"), CallOutcome.FAILURE),
        (ProtocolError("x"), CallOutcome.FAILURE),
        (OrderInDoubt("x"), CallOutcome.FAILURE),
        (ConnectionResetError(), CallOutcome.FAILURE),
        (TimeoutError(), CallOutcome.FAILURE),
        (EOFError(), CallOutcome.FAILURE),
        (CircuitOpen("x"), CallOutcome.IGNORED),
        (LiveTradingRefused("x"), CallOutcome.IGNORED),
        (ContractNotFound("x"), CallOutcome.IGNORED),
        (RequestRejected("x"), CallOutcome.IGNORED),
        (RiskRejected("x"), CallOutcome.IGNORED),
        (OrderRejected("x"), CallOutcome.IGNORED),
        (PacingError("x"), CallOutcome.IGNORED),
        (ValueError("x"), CallOutcome.IGNORED),
        (asyncio.CancelledError(), CallOutcome.CANCELLED),
        (KeyboardInterrupt(), CallOutcome.CANCELLED),
    ],
)
def test_only_transport_trips_and_cancellation_is_nobodys_failure(
    error: BaseException | None, outcome: CallOutcome
) -> None:
    assert classify(error) is outcome


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (None, None),
        (ValueError("x"), None),
        (PacingError("x"), None),
        (PacingError("x", retry_after=15), 15.0),
        (PacingError("x", retry_after=0.5), 0.5),
        (PacingError("x", retry_after=-1), None),
        (PacingError("x", retry_after=float("inf")), None),
        (PacingError("x", retry_after=float("nan")), None),
        (PacingError("x", retry_after=True), None),
        (PacingError("x", retry_after="soon"), None),
    ],
)
def test_a_hint_is_a_finite_number_of_seconds_or_nothing(error: BaseException | None, hint: float | None) -> None:
    assert hint_of(error) == hint
