"""The vocabulary of market data inside the gateway, and the protocol of everything that supplies it.

Quotes and trades carry Decimals because orders are matched against them; bars carry floats, each the nearest float
to an exact tick price, because they are only shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from ..instruments import Instrument

BarSize: TypeAlias = int | Literal["day", "week", "month"]
"""Seconds for intraday bars (1 … 28 800, dividing a day), or a calendar word."""

What: TypeAlias = Literal["TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST"]
"""IBKR's whatToShow, as far as a market source knows it."""


class Quote(Struct, frozen=True, gc=False):
    """A top of book, in force from `at` until the next quote. A side that is None is absent (no bid, no offer)."""

    at: datetime
    bid: Decimal | None
    ask: Decimal | None
    bid_size: Decimal
    """Shares, contracts or units of the base currency; 0 when the side is absent."""
    ask_size: Decimal


class Trade(Struct, frozen=True, gc=False):
    """One print on the tape. Indices print with size 0."""

    at: datetime
    price: Decimal
    size: Decimal


MarketEvent: TypeAlias = Quote | Trade


class Bar(Struct, frozen=True, gc=False, kw_only=True):
    """One bar. `start` is what IBKR stamps it with; daily and longer bars are labelled by `session`.

    `volume`, `wap` and `count` are -1 for everything but TRADES, as IBKR sends them.
    """

    start: datetime
    """Aware UTC: the first instant the bar covers (intraday), or the open of its first session (day and longer)."""
    session: date
    """The date printed for daily bars: the session's own; for weeks and months the last session in them."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    wap: float
    count: int


class MarketDataFileError(Exception):
    """A market data file cannot be used. The text names the file, the row where there is one, and what to do."""


@runtime_checkable
class MarketSource(Protocol):
    """A supply of quotes and trades. Deterministic: the same question has the same answer, in any order of asking.

    No answer about a time `t` depends on anything a real observer would learn after `t`.
    """

    @property
    def name(self) -> str:
        """The specification this source was made from (`synthetic`, `csv:DIR`, `lean:DIR`)."""

    @property
    def suggested_start(self) -> datetime | None:
        """A market time at which this source has data: 10:00 New York of a recorded day; None when any time will do."""

    def covers(self, instrument: Instrument) -> bool:
        """Whether there is any data for the instrument."""

    def is_data_day(self, instrument: Instrument, day: date) -> bool:
        """Whether the session `day` has data: without it, that session is closed as far as this source is concerned."""

    def events(self, instrument: Instrument, start: datetime) -> Iterator[MarketEvent]:
        """Everything with `at >= start` in time order; endless, or until the data ends. Cheap to start anywhere."""

    def quote_at(self, instrument: Instrument, at: datetime) -> Quote | None:
        """The quote in force at `at` (`quote.at <= at`). Both sides are None while the market is closed."""

    def last_trade_at(self, instrument: Instrument, at: datetime) -> Trade | None:
        """The most recent print with `trade.at <= at`, across sessions; None where the data begins later."""

    def bars(
        self,
        instrument: Instrument,
        start: datetime,
        end: datetime,
        size: BarSize,
        what: What,
        use_rth: bool,
    ) -> list[Bar]:
        """Bars overlapping `[start, end)`, oldest first; the last is cut at `end` and knows nothing later.

        A bar that began before `start` is left out for intraday sizes and whole for days and longer. Periods
        without data have no bar.
        """

    def head(self, instrument: Instrument, what: What) -> datetime | None:
        """The earliest moment with data."""
