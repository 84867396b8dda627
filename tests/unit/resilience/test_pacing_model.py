"""The pacer against a naive one that keeps every timestamp, and a judge that looks at every window."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ibkr_connector.errors import PacingTimeout
from ibkr_connector.resilience import Charge, Grant, Lane, Pacer, SlotRule, Ticket, TicketState, Wait, WindowRule, Work

RULES = (
    WindowRule("messages", 6, 1.0, margin=0.125, reserve=2),
    WindowRule("twin", 1, 4.0),
    WindowRule("long", 7, 16.0),
    SlotRule("open", 3),
)
BY_NAME = {rule.name: rule for rule in RULES}

WORKS = st.builds(
    lambda lane, units, key, caller: Work(
        lane,
        (Charge("messages", units=units),)
        if lane is not Lane.HISTORY
        else (Charge("messages"), Charge("open"))
        if key == "big"
        else (Charge("messages"), Charge("open"), Charge("twin", key), Charge("long", units=units)),
        caller,
    ),
    st.sampled_from(Lane),
    st.integers(1, 2),
    st.sampled_from(("x", "y", "z", "big")),
    st.sampled_from(("a", "b", "c")),
)


@dataclass
class Naive:
    """Lists, scanned from the start each time."""

    held: list[Work] = field(default_factory=list)
    open: list[Work] = field(default_factory=list)
    sent: list[tuple[float, Work]] = field(default_factory=list)

    def used(self, rule_name: str, key: str, now: float) -> int:
        rule_ = BY_NAME[rule_name]
        if isinstance(rule_, SlotRule):
            works = self.open
        else:
            works = self.held + [work for at, work in self.sent if now < at + rule_.span]
        return sum(c.units for work in works for c in work.charges if (c.rule, c.key) == (rule_name, key))

    def lacking(self, work: Work, now: float) -> set[tuple[str, str]]:
        found = set()
        for charge in work.charges:
            rule_ = BY_NAME[charge.rule]
            limit = rule_.limit
            if isinstance(rule_, WindowRule) and work.lane is not Lane.CANCEL:
                limit -= rule_.reserve
            if self.used(charge.rule, charge.key, now) + charge.units > limit:
                found.add((charge.rule, charge.key))
        return found

    def grant(self, work: Work) -> None:
        self.held.append(work)
        if any(charge.rule == "open" for charge in work.charges):
            self.open.append(work)


class PacerMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.pacer = Pacer(RULES)
        self.naive = Naive()
        self.queue: list[Ticket] = []  # in the order in which the naive pacer would ask
        self.unsent: list[Grant] = []
        self.open: list[Grant] = []
        self.turn: dict[str, int] = {}
        self.turns = 0
        self.counts = {"submitted": 0, "granted": 0, "cancelled": 0, "timed_out": 0}

    def took(self, grant: Grant) -> None:
        self.naive.grant(grant.work)
        self.unsent.append(grant)
        self.counts["granted"] += 1

    def in_turn(self, lane: Lane) -> list[Ticket]:
        waiting = [ticket for ticket in self.queue if ticket.work.lane is lane]
        if lane is not Lane.HISTORY:
            return waiting
        callers: dict[str, list[Ticket]] = {}
        for ticket in waiting:
            callers.setdefault(ticket.work.caller, []).append(ticket)
        order = sorted(callers, key=lambda caller: self.turn[caller])
        rounds = max((len(tickets) for tickets in callers.values()), default=0)
        return [callers[c][index] for index in range(rounds) for c in order if index < len(callers[c])]

    @rule(work=WORKS, patience=st.sampled_from((0.0, 0.5, 3.0, 20.0, math.inf)))
    def submit(self, work: Work, patience: float) -> None:
        ahead = [t for t in self.queue if t.work.lane <= work.lane]
        free = not ahead and not self.naive.lacking(work, self.now)
        try:
            ticket = self.pacer.submit(self.now, work, self.now + patience)
        except PacingTimeout:
            assert not free
            assert patience < math.inf
            return
        self.counts["submitted"] += 1
        assert (ticket.state is TicketState.GRANTED) is free
        if ticket.grant is not None:
            self.took(ticket.grant)
        else:
            if work.lane is Lane.HISTORY and not any(
                t.work.caller == work.caller for t in self.queue if t.work.lane is Lane.HISTORY
            ):
                self.turns += 1
                self.turn[work.caller] = self.turns
            self.queue.append(ticket)

    @rule(work=WORKS)
    def reserve(self, work: Work) -> None:
        ahead = any(t.work.lane <= work.lane for t in self.queue)
        lacking = self.naive.lacking(work, self.now)
        answer = self.pacer.reserve(self.now, work)
        assert isinstance(answer, Grant) is (not ahead and not lacking)
        if isinstance(answer, Grant):
            self.took(answer)
        elif not ahead:
            assert isinstance(answer, Wait)
            assert answer.until > self.now
            assert answer.rule in {name for name, _ in lacking}

    @rule()
    def poll(self) -> None:
        expected: list[Ticket] = []
        blocked: set[tuple[str, str]] = set()
        for lane in Lane:
            for ticket in self.in_turn(lane):
                lacking = self.naive.lacking(ticket.work, self.now)
                if self.now > ticket.deadline:
                    continue
                if lacking:
                    blocked |= lacking
                elif not any((c.rule, c.key) in blocked for c in ticket.work.charges):
                    expected.append(ticket)
                    self.naive.grant(ticket.work)
        settled = self.pacer.poll(self.now)
        assert [t for t in settled if t.state is TicketState.GRANTED] == expected
        for ticket in settled:
            self.queue.remove(ticket)
            if ticket.grant is not None:
                self.naive.held.remove(ticket.work)  # `took` adds it again
                if any(charge.rule == "open" for charge in ticket.work.charges):
                    self.naive.open.remove(ticket.work)
                self.took(ticket.grant)
                self.turns += 1
                if ticket.work.lane is Lane.HISTORY:
                    self.turn[ticket.work.caller] = self.turns
            else:
                assert ticket.state is TicketState.TIMED_OUT
                assert ticket.error is not None
                self.counts["timed_out"] += 1
        assert all(ticket.deadline >= self.now for ticket in self.queue)
        assert self.pacer.next_wake(self.now) > self.now

    @precondition(lambda self: self.unsent)
    @rule(data=st.data(), written=st.booleans())
    def settle(self, data: st.DataObject, written: bool) -> None:
        grant = self.unsent.pop(data.draw(st.integers(0, len(self.unsent) - 1)))
        self.naive.held.remove(grant.work)
        slots = any(charge.rule == "open" for charge in grant.work.charges)
        if written:
            self.pacer.sent(grant, self.now)
            self.naive.sent.append((self.now, grant.work))
            if slots:
                self.open.append(grant)
        else:
            self.pacer.give_back(grant, self.now)
            if slots:
                self.naive.open.remove(grant.work)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        grant = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.pacer.done(grant, self.now)
        self.naive.open.remove(grant.work)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ticket = self.queue.pop(data.draw(st.integers(0, len(self.queue) - 1)))
        assert self.pacer.cancel(ticket, self.now)
        self.counts["cancelled"] += 1

    @rule(seconds=st.sampled_from((0.125, 0.5, 1.0, 1.125, 4.0, 16.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sleep_until_woken(self) -> None:
        wake = self.pacer.next_wake(self.now)
        if wake < math.inf:
            self.now = wake
            self.poll()

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "pacer"):
            return
        shown = self.pacer.snapshot(self.now)
        queued = shown.submitted - shown.cancelled - shown.timed_out - sum(shown.pending.values())
        assert sum(shown.pending.values()) == len(self.queue)
        assert shown.submitted == self.counts["submitted"]
        assert shown.cancelled == self.counts["cancelled"]
        assert shown.timed_out == self.counts["timed_out"]
        assert shown.granted == self.counts["granted"] >= queued >= 0
        assert shown.held == len(self.unsent)
        waiting = sum(log.waiting for log in self.pacer._logs.values())
        assert waiting == sum(charge.units for ticket in self.queue for charge in ticket.work.charges)

    @invariant()
    def no_window_holds_more_than_its_rule(self) -> None:
        if not hasattr(self, "pacer"):
            return
        for rule_ in RULES:
            if isinstance(rule_, SlotRule):
                assert len(self.open) + sum(any(c.rule == "open" for c in g.work.charges) for g in self.unsent) <= 3
                continue
            stamped = [
                (at, charge) for at, work in self.naive.sent for charge in work.charges if charge.rule == rule_.name
            ]
            for start, first in stamped:
                total = sum(
                    charge.units
                    for at, charge in stamped
                    if charge.key == first.key and start <= at < start + rule_.span
                )
                assert total <= rule_.limit

    def teardown(self) -> None:
        """With everything written and answered, all that waits is served: nothing starves, and no wake is missed."""
        if not hasattr(self, "pacer"):
            return
        for _ in range(10_000):
            while self.unsent:
                grant = self.unsent.pop()
                self.pacer.sent(grant, self.now)
                self.pacer.done(grant, self.now)
            while self.open:
                self.pacer.done(self.open.pop(), self.now)
            self.unsent = [ticket.grant for ticket in self.pacer.poll(self.now) if ticket.grant is not None]
            wake = self.pacer.next_wake(self.now)
            if not self.unsent and wake == math.inf:
                break
            self.now = self.now if self.unsent else wake
        assert sum(self.pacer.snapshot(self.now).pending.values()) == 0


TestPacerModel = PacerMachine.TestCase


@given(st.lists(WORKS, max_size=25), WORKS, st.sampled_from((0.0, 1.0, 1.2, 2.5, 5.0, 17.0, 33.0)))
def test_work_refused_at_once_could_not_have_started_in_time(ahead: list[Work], work: Work, patience: float) -> None:
    pacers = (Pacer(RULES), Pacer(RULES))
    for pacer in pacers:
        for other in ahead:
            ticket = pacer.submit(0.0, other)
            if ticket.grant is not None:
                pacer.sent(ticket.grant, 0.0)
        for ticket in pacer.poll(0.0):
            assert ticket.grant is not None
            pacer.sent(ticket.grant, 0.0)
    try:
        pacers[0].submit(0.0, work, patience)
    except PacingTimeout:
        # The twin waits without a deadline; grants are written and answered at once.
        pacer, now = pacers[1], 0.0
        ticket = pacer.submit(0.0, work)
        while ticket.state is TicketState.PENDING:
            for settled in pacer.poll(now):
                assert settled.grant is not None
                pacer.sent(settled.grant, now)
            now = pacer.next_wake(now)
            if now == math.inf:  # only answers could make room: none comes in time either
                return
        assert ticket.grant is not None
        assert ticket.grant.at > patience


def test_the_pacer_uses_at_least_98_percent_of_each_rule() -> None:
    pacer, now, sent = Pacer(), 0.0, 0
    work = Work(Lane.CANCEL, (Charge("messages"),))
    while now < 600.0:
        answer = pacer.spend(now, work)
        if isinstance(answer, Grant):
            sent += 1
        else:
            now = answer.until
    assert sent >= 0.98 * 50 * 600
    assert sent <= 50 * 601
