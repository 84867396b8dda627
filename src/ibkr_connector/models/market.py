"""Market data: what arrives by the thousand, as frozen `msgspec` structs.

Prices are floats in the contract's currency, sizes in shares or contracts, times aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, overload

import msgspec

from ibkr_connector.models.contract import Contract


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one market-data line at a moment. Values IBKR has not sent are None."""

    symbol: str
    con_id: int = 0
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last_size: float | None = None
    volume: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    """The previous session's close."""
    halted: bool = False
    delayed: bool = False
    at: datetime | None = None
    """When the newest of these values arrived (UTC)."""
    age: float | None = None
    """Seconds between then and its being handed out by `get_live_quote`; None in streams."""
    stale: bool = False
    """A quote from before, handed out because no newer one could be had (`allow_stale`)."""

    @property
    def mid(self) -> float | None:
        """The middle of bid and ask, or None when one is missing."""
        if self.bid is None or self.ask is None:
            return None
        return (self.bid + self.ask) / 2

    @property
    def market_price(self) -> float | None:
        """The last price if it lies within bid and ask, else their middle, else the previous close (IBKR's rule)."""
        if self.bid is not None and self.ask is not None:
            if self.last is not None and self.bid <= self.last <= self.ask:
                return self.last
            return self.mid
        return self.last if self.last is not None else self.close

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        data = {name: getattr(self, name) for name in self.__struct_fields__ if name != "at"}
        data["timestamp"] = None if self.at is None else self.at.isoformat()
        return data


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar. `start` is its opening moment in UTC (daily bars: midnight UTC of the session's date)."""

    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    wap: float = 0.0
    count: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "datetime": self.start.isoformat(),
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "close": self.close,
            "volume": self.volume,
            "wap": self.wap,
            "count": self.count,
        }


class BarSeries(Sequence[Bar]):
    """Bars of one contract in time order, with what was asked for. Behaves as a tuple of `Bar`."""

    __slots__ = ("age", "bar_size", "bars", "contract", "stale", "what_to_show")

    def __init__(
        self,
        contract: Contract,
        bar_size: str,
        what_to_show: str,
        bars: Sequence[Bar],
        *,
        age: float = 0.0,
        stale: bool = False,
    ) -> None:
        self.age = age
        """Seconds since IBKR answered; 0 for a fresh answer."""
        self.stale = stale
        """An answer from before, handed out because no newer one could be had (`allow_stale`)."""
        self.contract = contract
        self.bar_size = bar_size
        self.what_to_show = what_to_show
        self.bars: tuple[Bar, ...] = tuple(bars)

    @overload
    def __getitem__(self, index: int) -> Bar: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Bar, ...]: ...
    def __getitem__(self, index: int | slice) -> Bar | tuple[Bar, ...]:
        return self.bars[index]

    def __len__(self) -> int:
        return len(self.bars)

    def __iter__(self) -> Iterator[Bar]:
        return iter(self.bars)

    def __repr__(self) -> str:
        span = f", {self.bars[0].start:%Y-%m-%d %H:%M} … {self.bars[-1].start:%Y-%m-%d %H:%M}" if self.bars else ""
        return f"BarSeries({self.contract.symbol}, {self.bar_size!r}, {len(self.bars)} bars{span})"

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dict a bar, with the columns datetime, open, high, low, close, volume, wap, count."""
        return [bar.to_dict() for bar in self.bars]
