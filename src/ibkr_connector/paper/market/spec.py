"""The `--market` option: `synthetic`, `csv:DIR` or `lean:DIR` turned into a market source."""

from __future__ import annotations

from pathlib import Path

from .base import MarketSource


def parse_market(text: str, *, seed: int = 0) -> MarketSource:
    """Make the source a specification names.

    `seed` shapes the synthetic market only. Raises ValueError for an unknown specification and MarketDataFileError
    for a folder or file that cannot be used.
    """
    kind, _, place = text.strip().partition(":")
    if kind == "synthetic" and not place:
        from .synthetic import SyntheticMarket

        return SyntheticMarket(seed=seed)
    if kind == "csv" and place:
        from .csv import CsvMarket

        return CsvMarket(Path(place).expanduser())
    if kind == "lean" and place:
        from .lean import LeanMarket

        return LeanMarket(Path(place).expanduser())
    raise ValueError(
        f"unknown market {text!r}: use 'synthetic', 'csv:DIR' (DIR/SPY.csv with datetime,open,high,low,close,volume) "
        "or 'lean:DIR' (a LEAN Data folder)"
    )
