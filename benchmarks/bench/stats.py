"""Medians, percentiles, and ratios with their spread over the rounds of an interleaved run. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Rounds = Sequence[Sequence[float]]
"""Samples of one side, round by round."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of two sides' medians, in the middle round; `low` and `high` are the extremes of all rounds."""

    value: float
    low: float
    high: float


def flat(rounds: Rounds) -> list[float]:
    """All samples of all rounds."""
    return [sample for samples in rounds for sample in samples]


def median(rounds: Rounds) -> float:
    """The median of all samples."""
    return statistics.median(flat(rounds))


def percentile(samples: Iterable[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest sample with at least `percent` % of all samples at or below it."""
    ordered = sorted(samples)
    return ordered[max(math.ceil(percent / 100 * len(ordered)) - 1, 0)]


def tail_ratio(side: Rounds, floor: Rounds, percent: float = 99) -> Ratio:
    """A percentile of all samples of `side` over that of `floor`; `low` and `high` are those of single rounds.

    Of all samples together, because a tail needs many: with 40 of them the 99th percentile is the slowest alone.
    """
    if len(side) != len(floor):
        raise ValueError("both sides of a ratio need the same number of rounds: they are interleaved")
    each = [percentile(a, percent) / percentile(b, percent) for a, b in zip(side, floor, strict=True)]
    return Ratio(percentile(flat(side), percent) / percentile(flat(floor), percent), min(each), max(each))


def ratio(side: Rounds, *floor: Rounds) -> Ratio:
    """Median of `side` over the sum of the medians of the `floor` parts, round by round.

    The sides of a round were measured within seconds of each other: what slows the machine down slows them all.
    Raises ValueError when the sides have different numbers of rounds.
    """
    if any(len(part) != len(side) for part in floor):
        raise ValueError("all sides of a ratio need the same number of rounds: they are interleaved")
    parts = zip(*floor, strict=True)
    each = [
        statistics.median(samples) / sum(map(statistics.median, below))
        for samples, below in zip(side, parts, strict=True)
    ]
    return Ratio(statistics.median(each), min(each), max(each))
