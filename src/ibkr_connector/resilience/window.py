"""One rule's log for one key: what is held, what lies in the window, and when there will be room."""

from __future__ import annotations

import math
from collections import deque

from ibkr_connector.resilience.rules import Lane, Rule, SlotRule


class Log:
    """Units under one (rule, key). A unit is *held* from the grant until it is sent, then ages out of the window.

    Held units count like fresh ones: were they stamped at the grant, work delayed between grant and write (a slow disk)
    would leave in one burst beside the work granted after it. Under a slot rule units stay held until they are done.
    """

    __slots__ = ("_entries", "_in_window", "freed", "held", "rule", "slots", "span", "waiting")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.slots = isinstance(rule, SlotRule)
        self.span = 0.0 if isinstance(rule, SlotRule) else rule.span
        self.held = 0
        self.waiting = 0
        """Units of pending work under this rule and key."""
        self.freed = 0
        """How often a held unit came back or began to age: only that, and time, ever makes room."""
        self._entries: deque[tuple[float, int]] = deque()
        self._in_window = 0

    def idle(self, now: float) -> bool:
        """Whether nothing counts and nobody waits: it can be dropped."""
        return self.used(now) == 0 and self.waiting == 0

    def used(self, now: float) -> int:
        """Units that count at `now`."""
        entries, span = self._entries, self.span
        while entries and entries[0][0] + span <= now:
            self._in_window -= entries.popleft()[1]
        return self.held + self._in_window

    def capacity(self, lane: Lane) -> int:
        """Units that may be in use when `lane` takes some."""
        rule = self.rule
        return rule.limit if isinstance(rule, SlotRule) or lane is Lane.CANCEL else rule.limit - rule.reserve

    def fits(self, now: float, units: int, lane: Lane) -> bool:
        """Whether `units` more may be taken now."""
        return self.used(now) + units <= self.capacity(lane)

    def room_at(self, now: float, units: int, lane: Lane) -> float:
        """The earliest moment at which `units` fit if nothing is added; inf when only a held unit's end makes room."""
        missing = self.used(now) + units - self.capacity(lane)
        if missing <= 0:
            return now
        for at, entry_units in self._entries:
            missing -= entry_units
            if missing <= 0:
                return at + self.span
        return math.inf

    def turn_at(self, now: float, units: int, lane: Lane) -> float:
        """The earliest moment at which the last of `units` queued units can go, all that are held coming back unused.

        A lower bound of the truth: unit k can go when unit k - capacity has left the window.
        """
        if self.slots:
            return now
        self.used(now)
        times = [at for at, entry_units in self._entries for _ in range(entry_units)]
        capacity = self.capacity(lane)
        rounds = 0
        while (index := len(times) + units - 1 - capacity) >= len(times):
            units -= capacity
            rounds += 1
        first = now if index < 0 else times[index] + self.span
        return first + rounds * self.span

    def note(self, units: int, at: float) -> None:
        """Put units into the window as written at `at` (not earlier than the newest there: the log stays sorted)."""
        if self._entries:
            at = max(at, self._entries[-1][0])
        self._entries.append((at, units))
        self._in_window += units

    def free(self, units: int) -> None:
        """Held units come back, or are noted as written next."""
        self.held -= units
        self.freed += 1

    def entries(self) -> list[tuple[float, int]]:
        """What lies in the window: (monotonic seconds, units), oldest first."""
        return list(self._entries)
