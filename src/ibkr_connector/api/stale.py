"""`allow_stale`: when a caller takes an old answer instead of none, and how old it may be."""

from __future__ import annotations

import math

from ibkr_connector.errors import (
    CircuitOpen,
    IBKRConnectionError,
    MarketDataLost,
    NoMarketData,
    PacingError,
    RequestTimeout,
    TooManyMarketDataLines,
)
from ibkr_connector.models.arguments import needed_seconds

UNAVAILABLE = (
    IBKRConnectionError,
    CircuitOpen,
    RequestTimeout,
    PacingError,
    NoMarketData,
    MarketDataLost,
    TooManyMarketDataLines,
)
"""What an old answer may stand in for: it could not be had now. A wrong argument or a missing permission is none."""


def oldest(allow_stale: bool | float) -> float | None:
    """The greatest age in seconds that is taken; None = a stale answer is not wanted. Raises InvalidRequest."""
    if allow_stale is False:
        return None
    return math.inf if allow_stale is True else needed_seconds(allow_stale, "allow_stale", above_zero=True)
