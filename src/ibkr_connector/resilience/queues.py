"""What waits for a slot: tickets, in lanes, in turn."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from ibkr_connector.errors import PacingTimeout
from ibkr_connector.resilience.rules import Work
from ibkr_connector.resilience.window import Log


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave to send one piece of work."""

    number: int
    work: Work
    at: float
    """When it was granted, monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Wait:
    """No room now. `until`: the earliest moment worth asking again; inf when only another grant's end makes room."""

    until: float
    rule: str


class TicketState(StrEnum):
    """Where submitted work stands."""

    PENDING = "pending"
    GRANTED = "granted"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


@dataclass(eq=False, slots=True)
class Ticket:
    """Submitted work: `grant` once granted, `error` once timed out. The rest is the pacer's."""

    number: int
    work: Work
    deadline: float
    """Monotonic seconds; inf = none."""
    state: TicketState = TicketState.PENDING
    grant: Grant | None = None
    error: PacingTimeout | None = None
    logs: tuple[tuple[Log, int], ...] = ()
    blockers: tuple[Log, ...] = ()
    blocked_until: float = -math.inf
    seen: int = -1


@dataclass(frozen=True, slots=True)
class PacerSnapshot:
    """Counts for health and metrics."""

    submitted: int
    granted: int
    """Queued and immediate."""
    cancelled: int
    timed_out: int
    pending: dict[str, int]
    """Per lane."""
    used: dict[str, int]
    """Units in use under the rules without a key."""
    held: int
    """Grants neither sent nor given back."""


class Rest:
    """What was found when a whole lane was looked through and nothing in it could go.

    It holds until `wake`, as long as the same rules are blocked by earlier lanes and none of those that its own tickets
    lack has made room. So an order's grant and write do not walk through five hundred waiting requests for bars.
    """

    __slots__ = ("_before", "_freed", "blocked", "wake")

    def __init__(self, before: frozenset[Log], blocked: frozenset[Log], wake: float) -> None:
        self._before = before
        """Blocked by earlier lanes."""
        self.blocked = blocked
        """The same, and what this lane's tickets lack."""
        self.wake = wake
        self._freed = sum(log.freed for log in blocked)

    def holds(self, now: float, blocked: set[Log]) -> bool:
        """Whether looking again would find the same."""
        return now < self.wake and blocked == self._before and self._freed == sum(log.freed for log in self.blocked)


class LaneQueue:
    """One lane's pending tickets: in order of submission, or callers in turn (`fair`)."""

    __slots__ = ("_callers", "count", "fair", "rest")

    def __init__(self, *, fair: bool) -> None:
        self.fair = fair
        self.count = 0
        self.rest: Rest | None = None
        """Why nothing in here can go; None when it must be looked through. Whatever is added or removed ends it."""
        self._callers: dict[str, dict[int, Ticket]] = {}

    def _key(self, ticket: Ticket) -> str:
        return ticket.work.caller if self.fair else ""

    def add(self, ticket: Ticket) -> None:
        """Queue it behind its caller's others."""
        self._callers.setdefault(self._key(ticket), {})[ticket.number] = ticket
        self.count += 1
        self.rest = None

    def remove(self, ticket: Ticket, *, served: bool) -> None:
        """Take it out; a caller who was served goes to the end of the round."""
        key = self._key(ticket)
        tickets = self._callers[key]
        del tickets[ticket.number]
        self.count -= 1
        self.rest = None
        if served or not tickets:
            del self._callers[key]
            if tickets:
                self._callers[key] = tickets

    def in_turn(self) -> Iterator[Ticket]:
        """Every ticket once, one of each caller per round. What was yielded may be removed meanwhile."""
        rounds = deque(iter(list(tickets.values())) for tickets in self._callers.values())
        while rounds:
            tickets = rounds.popleft()
            ticket = next(tickets, None)
            if ticket is not None:
                yield ticket
                rounds.append(tickets)

    def ahead_of(self, ticket: Ticket) -> Iterator[Ticket]:
        """The tickets that would be served before `ticket`, were it added now."""
        own = self._key(ticket)
        rank = len(self._callers.get(own, ()))
        first = True  # callers whose turn comes before the own one
        for key, tickets in self._callers.items():
            if key == own:
                first = False
                yield from tickets.values()
            else:
                yield from islice(tickets.values(), rank + 1 if first else rank)
