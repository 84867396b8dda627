"""Where the gateway's prices come from: invented (synthetic), bar files (csv) or LEAN's recorded quotes and trades."""

from __future__ import annotations

from .base import (
    Bar,
    BarSize,
    MarketDataFileError,
    MarketEvent,
    MarketSource,
    Quote,
    Trade,
    What,
)
from .spec import parse_market

__all__ = [
    "Bar",
    "BarSize",
    "MarketDataFileError",
    "MarketEvent",
    "MarketSource",
    "Quote",
    "Trade",
    "What",
    "parse_market",
]
