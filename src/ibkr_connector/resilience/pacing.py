"""The pacer: a sliding log per rule and key, queues by lane, all-or-nothing grants. Pure: time is passed in.

How work is chosen: lanes in their order; first come, first served inside a lane; in the history lane callers take
turns. Work is passed over only while a rule it needs has no room, and then nothing behind it may take that rule's room
before it. So a request that must wait 15 seconds for its own twin delays no other contract; and since IBKR's rules nest
(what falls under a narrow one falls under the wide ones too) it cannot starve.

A grant is *held* until `sent` says when it was written, or `give_back` that it was not; `done` frees its open slot.
Belongs to one thread (the session's loop). Times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ibkr_connector.errors import PacingTimeout
from ibkr_connector.resilience.queues import Grant, LaneQueue, PacerSnapshot, Rest, Ticket, TicketState, Wait
from ibkr_connector.resilience.rules import Lane, Rule, WindowRule, Work, default_rules, rules_by_name
from ibkr_connector.resilience.window import Log

__all__ = ["Grant", "Lane", "Pacer", "PacerSnapshot", "Ticket", "TicketState", "Wait", "Work"]

STATE_VERSION = 1
"""Version of what `Pacer.export` writes."""

_SWEEP_EVERY = 256
"""Grants between two clean-ups of idle logs."""


class Pacer:
    """Grants work under `rules` (default: IBKR's for a TWS connection)."""

    def __init__(self, rules: Iterable[Rule] | None = None) -> None:
        self._rules = rules_by_name(default_rules() if rules is None else rules)
        self._logs: dict[tuple[str, str], Log] = {}
        self._queues = tuple(LaneQueue(fair=lane is Lane.HISTORY) for lane in Lane)
        self._unsent: dict[int, tuple[tuple[Log, int], ...]] = {}
        self._open: dict[int, tuple[tuple[Log, int], ...]] = {}
        self._numbers = 0
        self._events = 0
        self._wake = math.inf
        self._submitted = self._granted = self._cancelled = self._timed_out = 0

    # --- at once ----------------------------------------------------------------------------------------------------

    def reserve(self, now: float, work: Work) -> Grant | Wait:
        """A grant if everything `work` costs is free now and nothing of its own or an earlier lane waits."""
        logs = self._logs_of(work)
        if any(self._queues[lane].count for lane in range(work.lane + 1)):
            return Wait(self._wake, "queue")
        return self._grant(now, work, logs) if self._fits(now, work, logs) else self._wait(now, work, logs)

    def spend(self, now: float, work: Work) -> Grant | Wait:
        """`reserve`, and `sent` in one: for what is written right now."""
        answer = self.reserve(now, work)
        if isinstance(answer, Grant):
            self.sent(answer, now)
        return answer

    def note(self, now: float, work: Work) -> None:
        """Count what was written without asking (the library's own handshake). Slot rules are left alone."""
        for log, units in self._logs_of(work):
            if not log.slots:
                log.note(units, now)

    # --- queued -----------------------------------------------------------------------------------------------------

    def submit(self, now: float, work: Work, deadline: float = math.inf) -> Ticket:
        """Queue `work` to start by `deadline`; the ticket may come back granted.

        Raises PacingTimeout at once when, given what is pending now, it cannot start in time. Raises ValueError for a
        rule that does not exist or units that never fit.
        """
        logs = self._logs_of(work)
        self._numbers += 1
        ticket = Ticket(self._numbers, work, deadline, logs=logs)
        if not any(self._queues[lane].count for lane in range(work.lane + 1)) and self._fits(now, work, logs):
            self._submitted += 1
            ticket.grant = self._grant(now, work, logs)
            ticket.state = TicketState.GRANTED
            return ticket
        if deadline < math.inf:
            earliest, rule = self._earliest(now, ticket)
            if earliest > deadline:
                raise _timeout(ticket, now, rule, earliest)
        self._submitted += 1
        self._queues[work.lane].add(ticket)
        for log, units in logs:
            log.waiting += units
        self._wake = min(self._wake, now)
        return ticket

    def poll(self, now: float) -> list[Ticket]:
        """Grant what can go and fail what cannot start in time any more; returns the tickets settled by this call."""
        settled: list[Ticket] = []
        blocked: set[Log] = set()
        wake = math.inf
        for queue in self._queues:
            if not queue.count:
                continue
            if queue.rest is not None and queue.rest.holds(now, blocked):
                blocked |= queue.rest.blocked
                wake = min(wake, queue.rest.wake)
                continue
            before, lane_wake, found = frozenset(blocked), math.inf, len(settled)
            for ticket in queue.in_turn():
                if now > ticket.deadline:
                    self._fail(ticket, now, "deadline", math.inf)
                    settled.append(ticket)
                    continue
                at, latest = self._blocked(ticket, now, blocked)
                if at <= now:
                    self._leave(ticket, served=True)
                    ticket.grant = self._grant(now, ticket.work, ticket.logs)
                    ticket.state = TicketState.GRANTED
                    settled.append(ticket)
                elif ticket.deadline < latest < math.inf:
                    self._fail(ticket, now, ticket.blockers[0].rule.name, latest)
                    settled.append(ticket)
                else:
                    # A deadline is missed only *after* its moment.
                    lane_wake = min(lane_wake, at, math.nextafter(ticket.deadline, math.inf))
            wake = min(wake, lane_wake)
            if len(settled) == found:
                queue.rest = Rest(before, frozenset(blocked), lane_wake)
        self._wake = wake
        return settled

    def next_wake(self, now: float) -> float:
        """When to `poll` next: `now` if at once, inf if only a call of this object can change anything."""
        return max(now, self._wake)

    def cancel(self, ticket: Ticket, now: float) -> bool:
        """Take pending work back; False when it was settled before (a grant must then be given back)."""
        if ticket.state is not TicketState.PENDING:
            return False
        self._leave(ticket, served=False)
        ticket.state = TicketState.CANCELLED
        self._cancelled += 1
        self._happened(now)
        return True

    # --- the life of a grant ----------------------------------------------------------------------------------------

    def sent(self, grant: Grant, now: float) -> None:
        """It was written at `now`: its windows start. RuntimeError when it was sent or given back before."""
        for log, units in self._take(grant):
            if not log.slots:
                log.free(units)
                log.note(units, now)
        self._happened(now)

    def give_back(self, grant: Grant, now: float) -> None:
        """It was not written and costs nothing. RuntimeError when it was sent or given back before."""
        for log, units in self._take(grant):
            log.free(units)
        self._open.pop(grant.number, None)
        self._happened(now)

    def done(self, grant: Grant, now: float) -> None:
        """Its answer came, or nobody waits for it any more: open slots are free. Idempotent."""
        if grant.number in self._unsent:
            raise RuntimeError(f"grant {grant.number} is neither sent nor given back: say which first")
        for log, units in self._open.pop(grant.number, ()):
            log.free(units)
        self._happened(now)

    # --- looking, keeping -------------------------------------------------------------------------------------------

    def snapshot(self, now: float) -> PacerSnapshot:
        """Counts at `now`."""
        return PacerSnapshot(
            submitted=self._submitted,
            granted=self._granted,
            cancelled=self._cancelled,
            timed_out=self._timed_out,
            pending={lane.name.lower(): self._queues[lane].count for lane in Lane},
            used={name: log.used(now) for (name, key), log in self._logs.items() if not key},
            held=len(self._unsent),
        )

    def is_kept(self, work: Work) -> bool:
        """Whether a restart must not forget that `work` was written: it costs something under a persistent rule."""
        rules = (self._rules.get(charge.rule) for charge in work.charges)
        return any(isinstance(rule, WindowRule) and rule.persistent for rule in rules)

    def export(self, now: float, wall: datetime) -> dict[str, Any]:
        """The windows of persistent rules, as ages at `wall` (aware UTC). Held units count as written now."""
        windows = []
        for (name, key), log in self._logs.items():
            rule = log.rule
            if isinstance(rule, WindowRule) and rule.persistent and log.used(now):
                entries = [[round(now - at, 3), units] for at, units in log.entries()]
                if log.held:
                    entries.append([0.0, log.held])
                windows.append({"rule": name, "key": key, "entries": entries})
        return {"version": STATE_VERSION, "at": wall.isoformat(), "windows": windows}

    def restore(self, state: Mapping[str, Any], now: float, wall: datetime) -> None:
        """Take over what `export` wrote; rules that are gone are left out.

        A wall clock that went back since then counts as no time passed. Raises ValueError for a newer version or an
        unknown shape, and then takes over nothing.
        """
        try:
            if state["version"] != STATE_VERSION:
                raise ValueError(f"version {state['version']!r}, this program knows {STATE_VERSION}")
            passed = max(0.0, (wall - datetime.fromisoformat(state["at"])).total_seconds())
            windows = [
                (str(item["rule"]), str(item["key"]), [(float(age) + passed, int(n)) for age, n in item["entries"]])
                for item in state["windows"]
            ]
            if any(not (0 <= age < math.inf and units > 0) for _, _, found in windows for age, units in found):
                raise ValueError("an age or a number of units is out of range")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the stored pacing windows cannot be used ({error}): use the version that wrote them, or remove them "
                "and ask for no history for ten minutes"
            ) from error
        for name, key, entries in windows:
            rule = self._rules.get(name)
            if isinstance(rule, WindowRule):
                log = self._logs.setdefault((name, key), Log(rule))
                for age, units in sorted(entries, reverse=True):
                    log.note(units, now - age)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _logs_of(self, work: Work) -> tuple[tuple[Log, int], ...]:
        found = []
        for charge in work.charges:
            log = self._logs.get((charge.rule, charge.key))
            if log is None:
                rule = self._rules.get(charge.rule)
                if rule is None:
                    raise ValueError(f"there is no pacing rule {charge.rule!r}; known: {', '.join(self._rules)}")
                log = self._logs[charge.rule, charge.key] = Log(rule)
            if charge.units > (limit := log.capacity(work.lane)):
                raise ValueError(
                    f"{charge.units} units at once never fit under {charge.rule} ({limit}): split the work"
                )
            found.append((log, charge.units))
        return tuple(found)

    @staticmethod
    def _fits(now: float, work: Work, logs: tuple[tuple[Log, int], ...]) -> bool:
        lane = work.lane
        return all(log.fits(now, units, lane) for log, units in logs)

    def _wait(self, now: float, work: Work, logs: tuple[tuple[Log, int], ...]) -> Wait:
        until, name = max((log.room_at(now, units, work.lane), log.rule.name) for log, units in logs)
        return Wait(until, name)

    def _grant(self, now: float, work: Work, logs: tuple[tuple[Log, int], ...]) -> Grant:
        self._numbers += 1
        self._granted += 1
        grant = Grant(self._numbers, work, now)
        for log, units in logs:
            log.held += units
        self._unsent[grant.number] = logs
        slots = tuple(pair for pair in logs if pair[0].slots)
        if slots:
            self._open[grant.number] = slots
        if self._granted % _SWEEP_EVERY == 0:
            self._logs = {name: log for name, log in self._logs.items() if not log.idle(now)}
        return grant

    def _take(self, grant: Grant) -> tuple[tuple[Log, int], ...]:
        logs = self._unsent.pop(grant.number, None)
        if logs is None:
            raise RuntimeError(f"grant {grant.number} was sent or given back before")
        return logs

    def _blocked(self, ticket: Ticket, now: float, blocked: set[Log]) -> tuple[float, float]:
        """When to look at `ticket` again, and the earliest moment it could go on its own; (now, now) = it can go."""
        if ticket.seen == self._events and now < ticket.blocked_until:
            blocked.update(ticket.blockers)
            return ticket.blocked_until, -math.inf
        lane = ticket.work.lane
        rooms = [(log, log.room_at(now, units, lane)) for log, units in ticket.logs]
        lacking = [(log, at) for log, at in rooms if at > now]
        if not lacking:
            if any(log in blocked for log, _ in ticket.logs):
                return math.inf, now
            return now, now
        ticket.seen = self._events
        ticket.blockers = tuple(log for log, _ in lacking)
        ticket.blocked_until = min(at for _, at in lacking)
        blocked.update(ticket.blockers)
        return ticket.blocked_until, max(at for _, at in lacking)

    def _earliest(self, now: float, ticket: Ticket) -> tuple[float, str]:
        """A lower bound for the start of new work behind all that is pending, and the rule it comes from.

        Only work that is certain to be served first counts: what may come to wait for a rule of its own may be passed.
        """
        lane = ticket.work.lane
        worst, name = now, ""
        mine = {log for log, _ in ticket.logs}
        for log, units in ticket.logs:
            if log.used(now) + log.waiting + units <= log.capacity(lane):
                continue
            ahead = sum(
                other_units
                for queue in self._queues[: lane + 1]
                for other in queue.ahead_of(ticket)
                if all(own in mine or own.fits(now, own.waiting, lane) for own, _ in other.logs)
                for other_log, other_units in other.logs
                if other_log is log
            )
            at = log.turn_at(now, ahead + units, lane)
            if at > worst:
                worst, name = at, log.rule.name
        return worst, name

    def _leave(self, ticket: Ticket, *, served: bool) -> None:
        self._queues[ticket.work.lane].remove(ticket, served=served)
        for log, units in ticket.logs:
            log.waiting -= units

    def _fail(self, ticket: Ticket, now: float, rule: str, earliest: float) -> None:
        self._leave(ticket, served=False)
        ticket.state = TicketState.TIMED_OUT
        ticket.error = _timeout(ticket, now, rule, earliest)
        self._timed_out += 1

    def _happened(self, now: float) -> None:
        """Something may have made room: look again at once."""
        self._events += 1
        self._wake = min(self._wake, now) if any(queue.count for queue in self._queues) else math.inf


def _timeout(ticket: Ticket, now: float, rule: str, earliest: float) -> PacingTimeout:
    lane = ticket.work.lane.name.lower()
    left = max(0.0, ticket.deadline - now)
    when = f"the earliest slot is in {earliest - now:.1f} s" if earliest < math.inf else "none came free"
    return PacingTimeout(
        f"No slot for {lane} work within {left:.1f} s: {when} (pacing rule {rule}).",
        rule=rule,
        lane=lane,
        retry_after=max(0.0, earliest - now) if earliest < math.inf else None,
    )
