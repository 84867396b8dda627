"""The invented market, seen from afar: where each instrument's price is at the borders of every session.

A price is a random walk in log space around the instrument's reference price on `ANCHOR`, in both directions of time,
bent so that it never strays further than a fixed factor. Each session adds one normal step for the hours it was
closed and one for each of its segments (pre-market, regular hours, after hours), each with its own share of the
day's variance; a part of every step is common to the whole market. Inside a segment only the open, close, high, low,
volume and number of trades are fixed here, which is all that a daily bar needs; `minutes` fills the segment in without
contradicting them.
"""

from __future__ import annotations

import math
import random
from datetime import date, datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from .. import sessions
from ..instruments import Instrument
from .seeds import stream

ANCHOR = date(2026, 1, 2)
"""On this date every walk starts at the reference price."""

HISTORY_BEGINS = date(1998, 1, 2)
"""The earliest date of a head timestamp; shares, pairs and indices have prices before it too."""

_DAYS_A_YEAR = 252
_CLOSED, _EARLY, _REGULAR, _LATE = range(4)
_VARIANCE: dict[str, tuple[float, float, float, float]] = {
    "XNYS": (0.07, 0.13, 0.77, 0.03),
    "XNYS-INDEX": (0.23, 0.0, 0.77, 0.0),
    "CME": (0.01, 0.29, 0.70, 0.0),
    "FX": (0.01, 0.0, 0.99, 0.0),
}
_VOLUME: dict[str, tuple[float, float, float, float]] = {
    "XNYS": (0.0, 0.02, 0.93, 0.05),
    "XNYS-INDEX": (0.0, 0.0, 0.0, 0.0),
    "CME": (0.0, 0.25, 0.75, 0.0),
    "FX": (0.0, 0.0, 0.0, 0.0),
}
"""Shares of variance and of volume: closed, before, during and after regular hours."""

_LONG_BREAK = 3.0
"""How much more happens while closed over a weekend or holiday."""
_NEWS = 0.012
_NEWS_FACTOR = 3.5
"""A share's chance per day of news overnight, and what it does to the step of the closed hours."""
_STRAYING = {"STK": 1.2, "CASH": 0.25, "FUT": 0.8, "IND": 0.8}
_CARRY = 0.03
"""Annual rate by which a future stands above its underlying, vanishing at expiry."""
_FEWEST_TRADES = 12
_DAYS_KEPT = 4_096
_EXTENDED_SPREAD = 4
_OPENING_SPREAD = 3


class Segment(Struct, frozen=True, gc=False, kw_only=True):
    """A stretch of one session with fixed borders. Prices are bids in price increments (ticks).

    The promises `minutes` keeps: the bid opens at `first`, closes at `last` and spans exactly `low` to `high`; the ask
    opens `first_spread` above, closes `spread` above, and spans exactly `low + spread` to `high + spread`; trades span
    `low` to `high + spread`, the first at `first`, the last at `last`; volume and number of trades add up exactly.
    """

    address: tuple[object, ...]
    start: datetime
    minutes: int
    regular: bool
    first: int
    last: int
    high: int
    low: int
    high_minute: int
    low_minute: int
    sigma: float
    """Standard deviation of the whole segment's move, in ticks."""
    spread: int
    first_spread: int
    trades: int
    volume: int
    quote_rate: float
    """Quote updates per second."""

    @property
    def end(self) -> datetime:
        """The first instant after the segment."""
        return self.start + timedelta(minutes=self.minutes)


class Walk:
    """One instrument's path through the days, for one seed. Remembers what it has walked."""

    def __init__(self, instrument: Instrument, seed: int) -> None:
        self._instrument = instrument
        self._seed = seed
        self._calendar = sessions.calendar_of(instrument)
        # All expiries of a future share one underlying walk.
        self._market = (
            f"{instrument.sec_type}:{instrument.under_con_id}" if instrument.under_con_id else instrument.con_id
        )
        anchor = sessions.last_session_on_or_before(self._calendar, ANCHOR)
        self._ends: dict[date, float] = {anchor: 0.0}
        self._newest = self._oldest = anchor
        self._planned: dict[date, list[Segment]] = {}
        self._tick = float(instrument.min_tick)
        self._daily = instrument.annual_volatility / math.sqrt(_DAYS_A_YEAR)
        self._straying = _STRAYING.get(instrument.sec_type, 1.0)

    def segments(self, day: date) -> list[Segment]:
        """The segments of the session `day`; none when it is closed or the future is not listed."""
        planned = self._planned.get(day)
        if planned is None:
            if len(self._planned) >= _DAYS_KEPT:
                self._planned.clear()
            planned = self._planned[day] = self._plan(day)
        return planned

    def _plan(self, day: date) -> list[Segment]:
        session = sessions.calendar_session(self._calendar, day)
        instrument = self._instrument
        if session is None or not listed_on(instrument, day):
            return []
        steps = self._steps(day)
        level = self._end(day) - sum(steps) + steps[_CLOSED]
        borders = (
            (_EARLY, session.start, session.rth_start),
            (_REGULAR, session.rth_start, session.rth_end),
            (_LATE, session.rth_end, session.end),
        )
        planned: list[Segment] = []
        for part, start, end in borders:
            if end > start:
                planned.append(self._segment(day, part, start, end, level, level + steps[part]))
            level += steps[part]
        return planned

    def _end(self, day: date) -> float:
        """The walk's level at the end of a session."""
        while day > self._newest:
            following = sessions.next_session_on_or_after(self._calendar, self._newest + sessions.ONE_DAY)
            self._ends[following] = self._ends[self._newest] + sum(self._steps(following))
            self._newest = following
        while day < self._oldest:
            before = sessions.last_session_on_or_before(self._calendar, self._oldest - sessions.ONE_DAY)
            self._ends[before] = self._ends[self._oldest] - sum(self._steps(self._oldest))
            self._oldest = before
        return self._ends[day]

    def _steps(self, day: date) -> tuple[float, float, float, float]:
        own = stream(self._seed, self._market, "step", day)
        shared = _market_step(self._seed, day)
        correlation = self._instrument.market_correlation
        rest = math.sqrt(1 - correlation * correlation)
        closed, early, regular, late = (
            self._daily * math.sqrt(share) * (correlation * common + rest * own.gauss(0, 1))
            for share, common in zip(_VARIANCE[self._calendar], shared, strict=True)
        )
        if sessions.calendar_session(self._calendar, day - sessions.ONE_DAY) is None:
            closed *= math.sqrt(_LONG_BREAK)
        if self._instrument.stock_type == "COMMON" and own.random() < _NEWS:
            closed *= _NEWS_FACTOR
        return closed, early, regular, late

    def _ticks(self, level: float, day: date) -> int:
        price = float(self._instrument.reference_price) * math.exp(self._straying * math.tanh(level / self._straying))
        expiry = expiry_of(self._instrument)
        if expiry is not None:
            price *= math.exp(_CARRY * (expiry - day).days / 365)
        return max(20, round(price / self._tick))

    def _segment(
        self, day: date, part: int, start: datetime, end: datetime, from_level: float, to_level: float
    ) -> Segment:
        address = (self._seed, self._market, day, part)
        dice = stream(*address, "segment")
        instrument = self._instrument
        first, last = self._ticks(from_level, day), self._ticks(to_level, day)
        sigma = first * self._daily * math.sqrt(_VARIANCE[self._calendar][part])
        high = max(first, last, round(_extreme(first, last, sigma, dice, 1)))
        low = max(10, min(first, last, round(_extreme(first, last, sigma, dice, -1))))
        minutes = round((end - start).total_seconds() / 60)
        high_minute = 1 + int(dice.random() * (minutes - 2))
        low_minute = 1 + (high_minute + int(dice.random() * (minutes - 3))) % (minutes - 2)
        regular = part == _REGULAR
        spread = 0 if instrument.sec_type == "IND" else instrument.typical_spread_ticks
        if not regular:
            spread *= _EXTENDED_SPREAD if self._calendar == "XNYS" else 1
        trades, volume = self._activity(day, part, dice)
        return Segment(
            address=address,
            start=start,
            minutes=minutes,
            regular=regular,
            first=first,
            last=last,
            high=high,
            low=low,
            high_minute=high_minute,
            low_minute=low_minute,
            sigma=sigma,
            spread=spread,
            first_spread=min(_OPENING_SPREAD * spread, spread + high - first),
            trades=trades,
            volume=volume,
            quote_rate=self._quote_rate(part),
        )

    def _activity(self, day: date, part: int, dice: random.Random) -> tuple[int, int]:
        """Number of trades and volume of a segment."""
        usual = self._instrument.average_daily_volume * _VOLUME[self._calendar][part]
        if not usual:
            return 0, 0
        expiry = expiry_of(self._instrument)
        if expiry is not None:
            usual *= _front_share(expiry, day)
        busy = math.exp(dice.gauss(0, 0.35))
        usual_size = 60 if self._instrument.sec_type == "FUT" else 600
        usual_trades = min(30_000.0, max(400.0, self._instrument.average_daily_volume / usual_size))
        share = usual / max(1, self._instrument.average_daily_volume)
        trades = max(_FEWEST_TRADES, round(usual_trades * share * math.sqrt(busy)))
        return trades, max(trades, round(usual * busy))

    def _quote_rate(self, part: int) -> float:
        volume = self._instrument.average_daily_volume
        if self._instrument.sec_type in {"CASH", "FUT"}:
            rate = 2.0
        elif self._instrument.sec_type == "IND":
            rate = 0.5
        else:
            rate = min(2.5, max(0.6, 0.8 * math.log10(max(volume, 10)) - 4))
        return rate if part == _REGULAR or self._calendar != "XNYS" else rate * 0.15


@lru_cache(maxsize=16_384)
def _market_step(seed: int, day: date) -> tuple[float, float, float, float]:
    dice = stream(seed, "market", day)
    return dice.gauss(0, 1), dice.gauss(0, 1), dice.gauss(0, 1), dice.gauss(0, 1)


def _extreme(first: int, last: int, sigma: float, dice: random.Random, sign: int) -> float:
    """The maximum (sign 1) or minimum (-1) of a Brownian bridge, drawn from its exact distribution."""
    spread = math.sqrt((last - first) ** 2 - 2 * sigma * sigma * math.log(1 - dice.random()))
    return (first + last + sign * spread) / 2


def _front_share(expiry: date, day: date) -> float:
    """Trading concentrates in the nearest quarterly contract until a week before it expires."""
    left = (expiry - day).days
    if left < 7:
        return 0.2
    return 1.0 if left < 98 else 0.02


@lru_cache(maxsize=512)
def expiry_of(instrument: Instrument) -> date | None:
    """The last trading day of a future, None for anything else."""
    text = instrument.expiry
    return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if text else None


def first_listed(instrument: Instrument) -> date:
    """The first day of history: of the market, or two years before a future expires (IBKR keeps as much)."""
    expiry = expiry_of(instrument)
    return HISTORY_BEGINS if expiry is None else max(HISTORY_BEGINS, expiry - timedelta(days=730))


def listed_on(instrument: Instrument, day: date) -> bool:
    """Whether there is a market in the instrument on that day."""
    expiry = expiry_of(instrument)
    return expiry is None or first_listed(instrument) <= day <= expiry
