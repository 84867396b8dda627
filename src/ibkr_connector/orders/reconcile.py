"""What the broker's records prove about orders: presence at once, absence only on complete evidence. Pure.

*Presence* needs no decision here: the same messages go through `lifecycle.apply`. *Absence* may be said only when all
of this holds, and time alone never settles anything:

* it is still the broker day on which it was sent (executions and completed orders are told for that day only);
* the connection it was written to is closed (bytes on their way can still arrive through an open one);
* the broker link, not merely the socket, has been up for `link_up_for` seconds when the first round begins (orders held
  by the gateway during an outage are released after it);
* `rounds` complete rounds of open orders, completed orders and executions, in one connection and one spell of the link,
  each beginning `gap` seconds after the last one ended, show nothing of it. A round without one of its end markers is
  incomplete evidence: what it shows counts, what it does not show does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from ibkr_connector.backends.base import ExecutionRecords, OrderRecords
from ibkr_connector.backends.facts import Operation, OrderEchoed
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.drift import compare, terms_of_told
from ibkr_connector.orders.evolve import LIVE_STATUSES
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.whose import Named, is_about

_N = TypeVar("_N", bound=Named)

_NEW_YORK = ZoneInfo("America/New_York")
_DAY_ORDERS = frozenset({"DAY", "IOC", "FOK"})


def broker_day(at: datetime) -> date:
    """The day by IBKR's books: the date in New York."""
    return at.astimezone(_NEW_YORK).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleRules:
    """How much evidence absence needs. Seconds of real time."""

    link_up_for: float = 30.0
    gap: float = 10.0
    rounds: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRound:
    """One question for open orders, completed orders and executions, and its answers."""

    started: float
    finished: float
    """Monotonic seconds."""
    started_at: datetime
    """The same moment by the wall clock."""
    epoch: int
    missing: tuple[str, ...]
    """The answers whose end marker did not come."""
    named: Mapping[str, tuple[Named, ...]]
    """Everything told, by the order ref it names."""
    perm_ids: frozenset[int]
    open_echoes: tuple[OrderEchoed, ...]

    @classmethod
    def of(
        cls,
        open_orders: OrderRecords,
        completed_orders: OrderRecords,
        executions: ExecutionRecords,
        *,
        started: float,
        finished: float,
        started_at: datetime,
        epoch: int,
    ) -> EvidenceRound:
        """The evidence in three answers."""
        told: tuple[Named, ...] = (
            *open_orders.echoes,
            *completed_orders.echoes,
            *open_orders.completed,
            *completed_orders.completed,
            *executions.executions,
        )
        perm_ids = {one.perm_id for one in told} | {one.perm_id for one in open_orders.statuses}
        answers = (
            ("open orders", open_orders.complete),
            ("completed orders", completed_orders.complete),
            ("executions", executions.complete),
        )
        return cls(
            started=started,
            finished=finished,
            started_at=started_at,
            epoch=epoch,
            missing=tuple(name for name, complete in answers if not complete),
            named=_by_ref(told),
            perm_ids=frozenset(perm_ids - {0}),
            open_echoes=tuple(echo for echo in open_orders.echoes if not echo.what_if),
        )

    def shows(self, record: OrderRecord) -> bool:
        """Whether anything in it is about this order."""
        if not record.perm_ids.isdisjoint(self.perm_ids):
            return True
        return any(is_about(record, one) for one in self.named.get(record.broker_ref, ()))

    def open_versions(self, record: OrderRecord) -> list[OrderTerms]:
        """The versions of this order among the open ones."""
        return [terms_of_told(echo) for echo in self.open_echoes if is_about(record, echo)]


# --- decisions --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledAbsent:
    """It never arrived: `steps.settle_absent`."""

    ref: str
    operation: Operation
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StillInDoubt:
    """Not proven either way."""

    ref: str
    operation: Operation
    missing: tuple[str, ...]
    """What would have to be true, in words."""
    next_round_at: float | None
    """When the next round can count (monotonic seconds); None when no round can help as things are."""
    needs_operator: bool = False
    """No evidence will settle it any more: `resolve(as_=…, evidence=…)`."""
    needs_new_connection: bool = False
    """It was written to the connection that is still open: absence can be proven only after closing it."""

    @property
    def why(self) -> str:
        """The sentence for people."""
        return f"{self.operation.value} not settled: {'; '.join(self.missing)}"


Decision: TypeAlias = SettledAbsent | StillInDoubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Resurfaced:
    """The broker works an order that was taken for ended: `steps.revive`."""

    ref: str
    perm_id: int
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """An order that worked is nowhere in complete evidence. `expired`: a day order of an earlier day, which is over;
    otherwise how it ended is not known (`steps.lose_sight`).
    """

    ref: str
    expired: bool
    why: str


# --- the reconciler ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Reconciler:
    """Keeps the rounds that count and decides. Time is passed in (monotonic seconds)."""

    rules: SettleRules = field(default_factory=SettleRules)
    epoch: int = 0
    """The present connection; 0 = none."""
    link_since: float | None = None
    """Since when the broker link is up; None = down."""
    _rounds: list[EvidenceRound] = field(default_factory=list)
    _last: EvidenceRound | None = None

    def connected(self, epoch: int) -> None:
        """A new connection; every earlier one is closed. Whether the broker link is up is told by `link`."""
        self.epoch = epoch
        self.link_since = None
        self._forget()

    def disconnected(self) -> None:
        """The connection is closed."""
        self.epoch = 0
        self.link_since = None
        self._forget()

    def link(self, *, up: bool, at: float) -> None:
        """The broker link went up or down (repeating the present state changes nothing)."""
        if not up:
            self.link_since = None
            self._forget()
        elif self.link_since is None:
            self.link_since = at

    def add(self, evidence: EvidenceRound) -> bool:
        """Take a round in; whether it counts towards absence."""
        self._last = evidence
        if evidence.missing or evidence.epoch != self.epoch or self.link_since is None:
            return False
        if evidence.started < self._earliest():
            return False
        self._rounds.append(evidence)
        del self._rounds[: -self.rules.rounds]
        return True

    def next_round_at(self) -> float | None:
        """The earliest moment at which a round that begins then can count; None without connection or link."""
        return None if self.link_since is None or not self.epoch else self._earliest()

    def decide(self, record: OrderRecord, operation: Operation, *, today: date) -> Decision | None:
        """What is proven about a doubtful operation of an order; None when the broker has shown it, whose messages say
        the rest. `today` is the broker's day now.
        """
        doubt = record.doubts.get(operation)
        if doubt is None:
            return None
        if operation is Operation.NEW and self._shown(record) and self.link_since is not None:
            return None
        sent_at = record.sent_at if operation is Operation.NEW and record.sent_at is not None else doubt.since
        hopeless: tuple[str, ...] = ()
        if operation is Operation.NEW and record.acknowledged:
            hopeless = ("it worked before, so that it is not shown does not say how it ended",)
        elif broker_day(sent_at) != today:
            hopeless = (f"it was sent on {broker_day(sent_at)}, and the broker tells the executions of {today} only",)
        if hopeless:
            return StillInDoubt(
                ref=record.ref, operation=operation, missing=hopeless, next_round_at=None, needs_operator=True
            )
        if missing := self._missing(record, operation):
            same = self._is_same_connection(record, operation)
            return StillInDoubt(
                ref=record.ref,
                operation=operation,
                missing=missing,
                next_round_at=None if same else self.next_round_at(),
                needs_new_connection=same,
            )
        first, last = self._rounds[0], self._rounds[-1]
        evidence = (
            f"{len(self._rounds)} complete rounds {last.started - first.finished:.1f} s apart on connection"
            f" {self.epoch}, link up for {first.started - (self.link_since or 0.0):.0f} s, without it"
        )
        return SettledAbsent(ref=record.ref, operation=operation, evidence=evidence)

    def vanished(self, records: Iterable[OrderRecord], *, today: date) -> list[Vanished]:
        """Working orders that complete evidence does not show as open any more, and nobody said why.

        Only orders that did not move since the first counting round began are judged. A day order of an earlier day
        needs no second round: what one whole answer does not show of it is over.
        """
        records = list(records)
        gone = {record.ref: record for record in self._lost(records)}
        gone.update((record.ref, record) for record in self._outlived(records, today))
        return [self._vanished(record, today) for record in gone.values()]

    def _lost(self, records: Iterable[OrderRecord]) -> list[OrderRecord]:
        """In none of the rounds that count."""
        if len(self._rounds) < self.rules.rounds:
            return []
        echoes = [echo for one in self._rounds for echo in one.open_echoes]
        return unseen(echoes, self._rounds[0].started_at, records)

    def _outlived(self, records: Iterable[OrderRecord], today: date) -> list[OrderRecord]:
        """Not in the last answer, which was whole and told over a working link, and of an earlier day."""
        last = self._last
        if last is None or last.missing or self.link_since is None:
            return []
        absent = unseen(last.open_echoes, last.started_at, records)
        return [record for record in absent if record.ours and _is_outlived(record, today)]

    # --- inside -------------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._rounds.clear()
        self._last = None

    def _earliest(self) -> float:
        earliest = (self.link_since or 0.0) + self.rules.link_up_for
        if self._rounds:
            earliest = max(earliest, self._rounds[-1].finished + self.rules.gap)
        return earliest

    def _shown(self, record: OrderRecord) -> bool:
        rounds = self._rounds if self._last is None else [*self._rounds, self._last]
        return any(one.shows(record) for one in rounds)

    def _is_same_connection(self, record: OrderRecord, operation: Operation) -> bool:
        epoch = record.sent_epochs.get(operation)
        return epoch is not None and epoch == self.epoch

    def _missing(self, record: OrderRecord, operation: Operation) -> tuple[str, ...]:
        """What the evidence lacks before absence may be said."""
        if not self.epoch:
            return ("there is no connection",)
        if self._is_same_connection(record, operation):
            return ("the connection it was written to is still open",)
        if self.link_since is None:
            return ("the broker link is down",)
        count, needed = len(self._rounds), self.rules.rounds
        if count < needed:
            last = self._last
            lack = f" (the last one lacked the end of {', '.join(last.missing)})" if last and last.missing else ""
            return (f"{count} of {needed} complete rounds of evidence{lack}",)
        if operation is Operation.NEW:
            return ()
        shown = [one.open_versions(record) for one in self._rounds]
        if not all(shown):
            return ("the order is not among the open ones, and its end is not told",)
        if operation is Operation.MODIFY and any(compare(record.terms, terms) for one in shown for terms in one):
            return ("the broker shows a version that is neither the old nor the new one",)
        return ()

    def _vanished(self, record: OrderRecord, today: date) -> Vanished:
        if not record.ours:
            return Vanished(ref=record.ref, expired=True, why="The broker does not list it any more.")
        if _is_outlived(record, today):
            why = "A day order of an earlier day that the broker lists no more; fills of that day may be missing."
            return Vanished(ref=record.ref, expired=True, why=why)
        why = "The broker does not list it as open any more and did not say how it ended."
        return Vanished(ref=record.ref, expired=False, why=why)


def _is_outlived(record: OrderRecord, today: date) -> bool:
    since = record.sent_at or record.created_at
    return since is not None and broker_day(since) < today and record.terms.tif in _DAY_ORDERS


# --- comparisons ------------------------------------------------------------------------------------------------------


def unseen(open_echoes: Iterable[OrderEchoed], since: datetime, records: Iterable[OrderRecord]) -> list[OrderRecord]:
    """Working orders that a whole list of open orders, asked for at `since`, does not hold; those that moved since, and
    those whose end was told, are left out. Each is a question: it ended unnoticed, or the list does not know it yet.
    """
    echoes = list(open_echoes)
    perm_ids = {echo.perm_id for echo in echoes}
    by_ref = _by_ref(echoes)

    def is_listed(record: OrderRecord) -> bool:
        if not record.perm_ids.isdisjoint(perm_ids):
            return True
        return any(is_about(record, echo) for echo in by_ref.get(record.broker_ref, ()))

    return [record for record in records if _works_since(record, since) and not is_listed(record)]


def resurfaced(evidence: EvidenceRound, records: Iterable[OrderRecord]) -> list[Resurfaced]:
    """Orders taken for ended that the broker lists as working. Those that moved since the round began are left out."""
    ended = [record for record in records if record.ended is not None and record.ended.at < evidence.started_at]
    by_perm = {perm_id: record for record in ended for perm_id in record.perm_ids}
    by_ref = {record.ref: record for record in ended if record.ours}
    found = []
    for echo in evidence.open_echoes:
        record = by_perm.get(echo.perm_id) or by_ref.get(echo.order_ref)
        if record is not None and is_about(record, echo) and echo.status in LIVE_STATUSES:
            found.append(Resurfaced(ref=record.ref, perm_id=echo.perm_id, status=echo.status))
    return found


def _works_since(record: OrderRecord, since: datetime) -> bool:
    """Whether an order works, was not told to have ended, and has not moved since then."""
    moved = record.updated_at is not None and record.updated_at >= since
    told = any(branch.final is not None for branch in record.branches.values())
    return record.acknowledged and record.ended is None and not record.doubts and not told and not moved


def _by_ref(told: Iterable[_N]) -> dict[str, tuple[_N, ...]]:
    found: dict[str, list[_N]] = {}
    for one in told:
        if one.order_ref:
            found.setdefault(one.order_ref, []).append(one)
    return {ref: tuple(ones) for ref, ones in found.items()}
