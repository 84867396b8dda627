"""The invented market, minute by minute: a segment's promises kept, and its quotes and trades.

A minute knows the open, high, low and close of its bid, its spread, and how many trades of what volume happen in it;
that is enough to state its bars exactly without making its ticks. The ticks follow one rule: the bid walks from the
open to one extreme, to the other, to the close; trades happen at the bid or at the ask of the moment. The four turning
points trade (as far as there are trades), and all further trades come in pairs of equal size, mirrored about the
middle of the minute's range, so that their turnover is known before they are made.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from msgspec import Struct

from ..instruments import Instrument
from .base import MarketEvent, Quote, Trade
from .days import Segment
from .seeds import stream

_JUMP_CHANCE = 0.15
_JUMP_WEIGHT = 60.0
"""A regular session's chance of a minute in which news moves the price, and that minute's share of the variance."""
_WIDE_CHANCE = 0.06
_OPENING_MINUTES = 5
_MINUTE_US = 60_000_000
_O, _LOW, _HIGH, _C = range(4)


class Minute(Struct, frozen=True, gc=False):
    """One minute of one segment. Bid prices in ticks; the ask is the bid + spread throughout the minute."""

    open: int
    high: int
    low: int
    close: int
    spread: int
    high_first: bool
    """Whether the high comes before the low."""
    prints: tuple[tuple[int, int], ...]
    """The trades at turning points in time order: (which, price in ticks)."""
    print_size: int
    """Their size; the last one also takes `rest`."""
    rest: int
    pairs: int
    pair_volume: int
    """Number of mirrored pairs of trades, and the volume of one side of them all."""

    @property
    def trades(self) -> int:
        """How many trades happen in this minute."""
        return len(self.prints) + 2 * self.pairs

    @property
    def volume(self) -> int:
        """How much trades in this minute."""
        return len(self.prints) * self.print_size + self.rest + 2 * self.pair_volume

    @property
    def turnover(self) -> int:
        """Sum of price in ticks x size over all trades."""
        if not self.prints:
            return 0
        keys = sum(price for _, price in self.prints) * self.print_size + self.prints[-1][1] * self.rest
        return keys + self.pair_volume * (self.low + self.high + self.spread)


def minutes_of(segment: Segment) -> list[Minute]:
    """All minutes of a segment, keeping its promises exactly."""
    dice = stream(*segment.address, "minutes")
    closes, sigmas = _closes(segment, dice)
    trades = _spread_out(segment, dice)
    minutes: list[Minute] = []
    bid = segment.first
    traded = 0
    for index, (close, sigma) in enumerate(zip(closes, sigmas, strict=True)):
        high = min(segment.high, max(bid, close) + int(dice.random() * dice.random() * 2 * sigma))
        low = max(segment.low, min(bid, close) - int(dice.random() * dice.random() * 2 * sigma))
        if index == 0:
            high = min(high, segment.high + segment.spread - segment.first_spread)
        if index == segment.high_minute:
            high = segment.high
        if index == segment.low_minute:
            low = segment.low
        spread = _spread(segment, index, high, dice)
        count = trades[index]
        volume = _share_of_volume(segment, traded + count) - _share_of_volume(segment, traded)
        traded += count
        minutes.append(_minute(segment, index, (bid, high, low, close), spread, count, volume, dice.getrandbits(3)))
        bid = close
    return minutes


@lru_cache(maxsize=32)
def _shape(minutes: int, regular: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Relative variance and relative volume of each minute: busy at both ends of regular hours, even elsewhere."""
    if not regular:
        return (1.0,) * minutes, (1.0,) * minutes
    variance: list[float] = []
    volume: list[float] = []
    for index in range(minutes):
        from_middle = (2 * (index + 0.5) / minutes - 1) ** 4
        opening, closing = math.exp(-index / 6), math.exp(-(minutes - 1 - index) / 6)
        variance.append(1 + 1.2 * from_middle + 3 * opening)
        volume.append(1 + 1.8 * from_middle + 4 * opening + 6 * closing)
    return tuple(variance), tuple(volume)


def _closes(segment: Segment, dice: random.Random) -> tuple[list[int], list[float]]:
    """Each minute's closing bid (a bridge through the extremes) and standard deviation."""
    variance = list(_shape(segment.minutes, segment.regular)[0])
    if segment.regular and dice.random() < _JUMP_CHANCE:
        variance[int(dice.random() * segment.minutes)] *= _JUMP_WEIGHT
    unit = segment.sigma / math.sqrt(sum(variance))
    sigmas = [unit * math.sqrt(share) for share in variance]
    knots = sorted(
        [
            (segment.high_minute, segment.high - abs(dice.gauss(0, 0.5)) * sigmas[segment.high_minute]),
            (segment.low_minute, segment.low + abs(dice.gauss(0, 0.5)) * sigmas[segment.low_minute]),
        ]
    )
    knots.append((segment.minutes - 1, float(segment.last)))
    low, high = float(segment.low), float(segment.high)
    closes: list[int] = []
    level = float(segment.first)
    for until, target in knots:
        first = len(closes)
        left = sum(variance[first : until + 1])
        for index in range(first, until + 1):
            step = variance[index]
            left -= step
            if index == until:
                level = target
            else:
                level += (target - level) * step / (step + left)
                level += dice.gauss(0, 1) * unit * math.sqrt(step * left / (step + left))
            level = min(high, max(low, level))
            closes.append(round(level))
    if closes:
        # The opening spread must fit under the segment's highest ask.
        closes[0] = min(closes[0], segment.high + segment.spread - segment.first_spread)
    return closes, sigmas


def _spread(segment: Segment, index: int, high: int, dice: random.Random) -> int:
    """The minute's spread: wide at the open, sometimes later, and never above the segment's highest ask."""
    wide = dice.random() < _WIDE_CHANCE
    if index == 0:
        return segment.first_spread
    if index in {segment.high_minute, segment.low_minute, segment.minutes - 1}:
        return segment.spread
    if wide or (segment.regular and index < _OPENING_MINUTES):
        return min(2 * segment.spread, segment.spread + segment.high - high)
    return segment.spread


def _spread_out(segment: Segment, dice: random.Random) -> list[int]:
    """The number of trades of each minute; the open, the extremes and the close always trade."""
    counts = [0] * segment.minutes
    if not segment.trades:
        return counts
    weights = [share * (0.5 + dice.random()) for share in _shape(segment.minutes, segment.regular)[1]]
    per_weight = (segment.trades - 4) / sum(weights)
    total = 0.0
    given = 0
    for index, weight in enumerate(weights):
        total += weight * per_weight
        upto = segment.trades - 4 if index == segment.minutes - 1 else min(int(total), segment.trades - 4)
        counts[index] = upto - given
        given = upto
    for index in (0, segment.high_minute, segment.low_minute, segment.minutes - 1):
        counts[index] += 1
    return counts


def _share_of_volume(segment: Segment, trades: int) -> int:
    """The volume of the segment's first `trades` trades: at least one each, the rest in proportion."""
    if not segment.trades:
        return 0
    half = max(1, segment.volume // (2 * segment.trades))
    return half * trades + (segment.volume - half * segment.trades) * trades // segment.trades


def _minute(
    segment: Segment, index: int, bid: tuple[int, int, int, int], spread: int, count: int, volume: int, bits: int
) -> Minute:
    opening, high, low, close = bid
    high_first = bits >= 4
    if not count:
        return Minute(opening, high, low, close, spread, high_first, (), 0, 0, 0, 0)
    at_open = opening + (spread if bits & 1 and index else 0)
    at_close = close + (spread if bits & 2 and index < segment.minutes - 1 else 0)
    prices = {_O: at_open, _LOW: low, _HIGH: high + spread, _C: at_close}
    order = (_O, _HIGH, _LOW, _C) if high_first else (_O, _LOW, _HIGH, _C)
    must = {0: _O, segment.high_minute: _HIGH, segment.low_minute: _LOW}.get(index, _C)
    chosen = order if count >= 4 else _first(must, count)
    prints = [(which, prices[which]) for which in order if which in chosen]
    pairs = max(0, count - 4) // 2
    if count > 4 and count % 2:
        prints.append((_C, at_close))
    pair_volume = volume * pairs // count if pairs else 0
    remaining = volume - 2 * pair_volume
    size = remaining // len(prints)
    return Minute(
        opening,
        high,
        low,
        close,
        spread,
        high_first,
        tuple(prints),
        size,
        remaining - size * len(prints),
        pairs,
        pair_volume,
    )


def _first(must: int, count: int) -> tuple[int, ...]:
    """The turning points that trade in a quiet minute."""
    return tuple(dict.fromkeys((must, _C, _O, _HIGH)))[:count]


# --- ticks ---------------------------------------------------------------------------------------------------------


def ticks_of(instrument: Instrument, segment: Segment, index: int, minute: Minute) -> list[MarketEvent]:
    """Every quote and trade of one minute in time order; they add up to exactly what the minute says."""
    dice = stream(*segment.address, "ticks", index)
    start = segment.start + timedelta(minutes=index)
    path = _Path(segment, minute, dice)
    path.walk()
    path.points.sort(key=_time_of)
    if instrument.sec_type == "IND":
        return _prints_of_index(instrument, start, path.points)
    return list(_events(instrument, start, minute.spread, path.points, dice))


Point = tuple[int, int, list[tuple[int, int]]]
"""Microseconds into the minute, bid in ticks, and the trades right after: (price in ticks, size)."""


def _time_of(point: Point) -> int:
    return point[0]


class _Path:
    """The bid's way through one minute."""

    def __init__(self, segment: Segment, minute: Minute, dice: random.Random) -> None:
        self.points: list[Point] = []
        self._segment = segment
        self._minute = minute
        self._dice = dice

    def walk(self) -> None:
        """Lay out the turning points, the trades between them, and further quote updates."""
        minute, dice = self._minute, self._dice
        first, second = (minute.high, minute.low) if minute.high_first else (minute.low, minute.high)
        opened = round(dice.uniform(0.05, 3.0) * 1e6)
        turn, back = round(dice.uniform(6, 24) * 1e6), round(dice.uniform(30, 54) * 1e6)
        settled, closed = round(dice.uniform(56.0, 58.5) * 1e6), round(dice.uniform(58.6, 59.95) * 1e6)
        sizes = [minute.print_size] * len(minute.prints)
        if sizes:
            sizes[-1] += minute.rest
        trades: dict[int, list[tuple[int, int]]] = {}
        for (which, price), size in zip(minute.prints, sizes, strict=True):
            trades.setdefault(which, []).append((price, size))
        turns = (_HIGH, _LOW) if minute.high_first else (_LOW, _HIGH)
        self.points.append((0, minute.open, []))
        self.points.append((opened, minute.open, trades.get(_O, [])))
        self.points.append((turn, first, trades.get(turns[0], [])))
        self.points.append((back, second, trades.get(turns[1], [])))
        self.points.append((settled, minute.close, []))
        self.points.append((closed, minute.close, trades.get(_C, [])))
        self._pairs(turn, back, first, second)
        updates = round(self._segment.quote_rate * 60 * dice.uniform(0.7, 1.3))
        self._updates(updates * (turn - opened) // _MINUTE_US, opened, minute.open, turn, first)
        self._updates(updates * (back - turn) // _MINUTE_US - 2 * minute.pairs, turn, first, back, second)
        self._updates(updates * (settled - back) // _MINUTE_US, back, second, settled, minute.close)

    def _pairs(self, turn: int, back: int, first: int, second: int) -> None:
        minute, dice = self._minute, self._dice
        left = minute.pair_volume
        span = minute.high - minute.low
        for number in range(minute.pairs):
            after = minute.pairs - number - 1
            size = left if not after else 1 + int((left - after - 1) * min(1.0, dice.random() * 2 / (after + 1)))
            left -= size
            depth = int(dice.random() * (span + 1))
            for bid, price in (
                (minute.low + depth, minute.low + depth),
                (minute.high - depth, minute.high - depth + minute.spread),
            ):
                way = (bid - first) / (second - first) if second != first else dice.random()
                jitter = (dice.random() - 0.5) * 0.02
                at = turn + round((back - turn) * min(0.999, max(0.001, way + jitter)))
                self.points.append((at, bid, [(price, size)]))

    def _updates(self, count: int, start: int, from_bid: int, end: int, to_bid: int) -> None:
        """Quote updates along one leg: a little noise around the straight line, inside the minute's range."""
        minute, dice = self._minute, self._dice
        noise = max(1.0, 0.05 * (minute.high - minute.low))
        for _ in range(count):
            way = dice.random()
            bid = round(from_bid + (to_bid - from_bid) * way + (dice.random() - 0.5) * 2 * noise)
            at = start + 1 + int((end - start - 2) * way)
            self.points.append((at, min(minute.high, max(minute.low, bid)), []))


def _events(
    instrument: Instrument, start: datetime, spread: int, points: list[Point], dice: random.Random
) -> Iterator[MarketEvent]:
    tick, lot = instrument.min_tick, _lot(instrument)
    for microseconds, bid, trades in points:
        at = start + timedelta(microseconds=microseconds)
        yield Quote(at, tick * bid, tick * (bid + spread), _depth(lot, dice), _depth(lot, dice))
        for price, size in trades:
            if size:
                yield Trade(at, tick * price, Decimal(size))


def _prints_of_index(instrument: Instrument, start: datetime, points: list[Point]) -> list[MarketEvent]:
    tick = instrument.min_tick
    return [
        Trade(start + timedelta(microseconds=microseconds), tick * level, Decimal(0))
        for microseconds, level, _ in points
    ]


def _lot(instrument: Instrument) -> int:
    return {"STK": 100, "CASH": 500_000}.get(instrument.sec_type, 5)


def _depth(lot: int, dice: random.Random) -> Decimal:
    """Size at the top of the book: mostly a few lots, sometimes many."""
    return Decimal(lot * (1 + int(-3.0 * math.log(1 - dice.random()))))
