"""IBKR's pacing rules as data, and the work they apply to.

Sources: IBKR, "Historical Data Limitations" and "API message rate"; see docs of the TWS API. Numbers:

* messages per second per connection = market data lines / 2, so 50 with the usual 100 lines;
* bars of 30 seconds or less (and what IBKR paces like them: head timestamps, real-time bars): no identical request
  within 15 seconds; not *six or more* for the same contract, exchange and kind of data within 2 seconds, so at most
  five; at most 60 in ten minutes; BID_ASK counts twice. For longer bars IBKR lifted these and slows down by itself;
* at most 50 historical requests open at a time, whatever their bars.

Windows are kept a little longer than IBKR counts them (`margin`): what leaves here evenly may arrive bunched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

MESSAGES = "messages"
HISTORY_IDENTICAL = "history-identical"
HISTORY_BURST = "history-burst"
HISTORY_LONG = "history-long"
HISTORY_OPEN = "history-open"

HISTORY_LONG_LIMIT = 60
"""Requests for small bars in ten minutes."""

SMALL_BAR_SECONDS = 30
"""Bars up to this length fall under the hard history rules."""


class Lane(IntEnum):
    """Who goes first. A lower number is served before a higher one; nothing of a later lane ever delays an earlier."""

    CANCEL = 0
    """Cancels, global cancel, the kill: may use the reserve of the message rate."""
    ORDERS = 1
    ACCOUNT = 2
    MARKET = 3
    HISTORY = 4


@dataclass(frozen=True, slots=True)
class WindowRule:
    """At most `limit` units in any `window` seconds, per key. `reserve` of them are kept for `Lane.CANCEL`."""

    name: str
    limit: int
    window: float
    margin: float = 0.0
    """Seconds by which the window is kept longer."""
    reserve: int = 0
    persistent: bool = False
    """Whether the window outlives a restart (`Pacer.export`)."""

    def __post_init__(self) -> None:
        if self.limit < 1 or not 0 < self.window < math.inf or not 0 <= self.margin < math.inf:
            raise ValueError(
                f"{self.name}: limit={self.limit}, window={self.window}, margin={self.margin} out of range"
            )
        if not 0 <= self.reserve < self.limit:
            raise ValueError(f"{self.name}: reserve={self.reserve} should be smaller than limit={self.limit}")

    @property
    def span(self) -> float:
        """Seconds a unit stays in the window here."""
        return self.window + self.margin


@dataclass(frozen=True, slots=True)
class SlotRule:
    """At most `limit` units under way at a time, per key: taken with the grant, free again with `Pacer.done`."""

    name: str
    limit: int

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"{self.name}: limit={self.limit} should be at least 1")


Rule = WindowRule | SlotRule


@dataclass(frozen=True, slots=True)
class Charge:
    """What one piece of work costs under one rule and key."""

    rule: str
    key: str = ""
    units: int = 1

    def __post_init__(self) -> None:
        if self.units < 1:
            raise ValueError(f"{self.rule}: units={self.units} should be at least 1")


@dataclass(frozen=True, slots=True)
class Work:
    """Something to be sent: its lane, all it costs (granted together or not at all), and who asked."""

    lane: Lane
    charges: tuple[Charge, ...]
    caller: str = ""

    def __post_init__(self) -> None:
        if len({(charge.rule, charge.key) for charge in self.charges}) != len(self.charges):
            raise ValueError("a piece of work names each rule and key once: add the units up")


def default_rules(messages_per_second: int = 50, cancel_reserve: int = 10) -> tuple[Rule, ...]:
    """The rules of a TWS connection. Margins keep at least 98 % of each rule's rate usable."""
    return (
        WindowRule(MESSAGES, messages_per_second, 1.0, margin=0.015, reserve=cancel_reserve),
        WindowRule(HISTORY_IDENTICAL, 1, 15.0, margin=0.1, persistent=True),
        WindowRule(HISTORY_BURST, 5, 2.0, margin=0.03, persistent=True),
        WindowRule(HISTORY_LONG, HISTORY_LONG_LIMIT, 600.0, margin=1.0, persistent=True),
        SlotRule(HISTORY_OPEN, 50),
    )


def message(lane: Lane, *, units: int = 1, caller: str = "") -> Work:
    """`units` plain messages sent together (a bracket is 3, a global cancel 1)."""
    return Work(lane, (Charge(MESSAGES, units=units),), caller)


def history(
    *, contract: str, exchange: str, what_to_show: str, identity: str, bar_seconds: float, caller: str = ""
) -> Work:
    """One historical-data request.

    contract: the contract's key (con_id). identity: everything that makes two requests the same (contract, end,
    duration, bar size, kind, hours). bar_seconds: length of one bar; 0 for a head timestamp, which is paced as a small
    bar. caller: whose turn it is in the round robin.
    """
    charges = [Charge(MESSAGES), Charge(HISTORY_OPEN)]
    if bar_seconds <= SMALL_BAR_SECONDS:
        kind = what_to_show.upper()
        units = 2 if kind == "BID_ASK" else 1
        charges += [
            Charge(HISTORY_IDENTICAL, identity),
            Charge(HISTORY_BURST, f"{contract}|{exchange}|{kind}", units),
            Charge(HISTORY_LONG, units=units),
        ]
    return Work(Lane.HISTORY, tuple(charges), caller)


def full_history() -> Work:
    """All that IBKR allows in ten minutes: what is noted when nobody knows what was asked for."""
    return Work(Lane.HISTORY, (Charge(HISTORY_LONG, units=HISTORY_LONG_LIMIT),))


def rules_by_name(rules: Iterable[Rule]) -> dict[str, Rule]:
    """The rules under their names. Raises ValueError when a name comes twice."""
    table: dict[str, Rule] = {}
    for rule in rules:
        if rule.name in table:
            raise ValueError(f"two pacing rules are named {rule.name!r}")
        table[rule.name] = rule
    return table
