"""The decision about a doubtful order, against a model that keeps the whole history and reads the rules from it.

Whatever the order of connections, link changes, rounds and questions: absence is said if and only if the rules of
`reconcile` hold, and never of an order that any round of this connection has shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ibkr_connector.backends.base import ExecutionRecords, OrderRecords
from ibkr_connector.backends.facts import Operation
from ibkr_connector.orders import steps
from ibkr_connector.orders.reconcile import (
    EvidenceRound,
    Reconciler,
    SettledAbsent,
    StillInDoubt,
    broker_day,
)
from unit.orders.kit import NOW, UP, echo, sent

TODAY = broker_day(NOW)
TOOK = 0.5


@dataclass
class Round:
    """One round as the model remembers it."""

    started: float
    whole: bool
    shows: bool
    spell: int
    epoch: int
    counted: bool = False


class ReconcileMachine(RuleBasedStateMachine):
    @initialize(sent_on=st.integers(3, 5), up=st.booleans())
    def begin(self, sent_on: int, up: bool) -> None:
        self.reconciler = Reconciler()
        self.record = sent()
        self.record.sent_epochs[Operation.NEW] = sent_on
        steps.enter_doubt(self.record, Operation.NEW, "no answer", UP)
        self.sent_on = sent_on
        self.now = 1_000.0
        self.epoch, self.epochs = 0, 3
        self.up_since: float | None = None
        self.spell = 0
        """Counts every loss of the connection or the link: what was seen before does not count after."""
        self.rounds: list[Round] = []
        self._connect(up=up)

    @rule(what=st.sampled_from(("connect", "connect", "disconnect", "link up", "link up", "link down")))
    def disturb(self, what: str) -> None:
        if what == "connect":
            self._connect(up=True)
        elif what == "disconnect":
            self.epoch, self.up_since = 0, None
            self.spell += 1
            self.reconciler.disconnected()
        elif self.epoch:
            self._link(up=what == "link up")

    def _connect(self, *, up: bool) -> None:
        self.epochs += 1
        self.epoch, self.up_since = self.epochs, None
        self.spell += 1
        self.reconciler.connected(self.epoch)
        if up:
            self._link(up=True)

    def _link(self, *, up: bool) -> None:
        if not up:
            self.up_since = None
            self.spell += 1
        elif self.up_since is None:
            self.up_since = self.now
        self.reconciler.link(up=up, at=self.now)

    @rule(
        after=st.sampled_from((0.0, 9.9, 10.0, 29.9, 30.0, 45.0)),
        lacking=st.sampled_from(("", "", "", "", "open", "completed", "executions")),
        shows=st.sampled_from((False, False, False, True)),
        late=st.sampled_from((False, False, False, True)),
    )
    def ask(self, after: float, lacking: str, shows: bool, late: bool) -> None:
        self._ask(after, lacking, shows=shows, late=late)

    @rule(after=st.sampled_from((9.9, 10.0, 30.0, 30.0)))
    def ask_in_peace(self, after: float) -> None:
        self._ask(after, "", shows=False, late=False)

    def _ask(self, after: float, lacking: str, *, shows: bool, late: bool) -> None:
        """One round; `late`: of the connection before this one."""
        self.now += after
        epoch = self.epoch - 1 if late else self.epoch
        shows = shows and lacking != "open" and not late
        found = EvidenceRound.of(
            OrderRecords(echoes=(echo(),) if shows else (), complete=lacking != "open"),
            OrderRecords(complete=lacking != "completed"),
            ExecutionRecords(complete=lacking != "executions"),
            started=self.now,
            finished=self.now + TOOK,
            started_at=NOW + timedelta(hours=1),
            epoch=epoch,
        )
        one = Round(self.now, not lacking, shows, self.spell, epoch)
        one.counted = self.counts(one)
        assert self.reconciler.add(found) is one.counted
        self.rounds.append(one)
        self.now += TOOK

    def counting(self) -> list[Round]:
        """The rounds that count so far."""
        return [one for one in self.rounds if one.spell == self.spell and one.counted]

    def counts(self, one: Round) -> bool:
        before = self.counting()
        settled = self.up_since is not None and one.started >= self.up_since + 30.0
        apart = not before or one.started >= before[-1].started + TOOK + 10.0
        return one.whole and one.epoch == self.epoch and settled and apart

    @invariant()
    def it_is_said_what_the_rules_say(self) -> None:
        if not hasattr(self, "reconciler"):
            return
        decision = self.reconciler.decide(self.record, Operation.NEW, today=TODAY)
        good = self.counting()
        if decision is None:
            assert any(one.shows and one.spell == self.spell for one in self.rounds)
        elif isinstance(decision, SettledAbsent):
            assert self.epoch
            assert self.epoch != self.sent_on
            assert len(good) >= 2
            assert not any(one.shows for one in good[-2:])
        else:
            assert isinstance(decision, StillInDoubt)
            same = self.epoch == self.sent_on and self.epoch != 0
            assert decision.needs_new_connection is same
            assert not decision.needs_operator
            assert same or not self.epoch or self.up_since is None or len(good) < 2
            if decision.next_round_at is None:
                assert same or not self.epoch or self.up_since is None

    @invariant()
    def nothing_is_proven_of_another_day(self) -> None:
        if not hasattr(self, "reconciler"):
            return
        later = self.reconciler.decide(self.record, Operation.NEW, today=TODAY + timedelta(days=1))
        assert later is None or (isinstance(later, StillInDoubt) and later.needs_operator)


TestReconcileMachine = ReconcileMachine.TestCase
