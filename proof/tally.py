"""What a run adds to the report: which fault met which order in which phase, doubts, races, answers, violations."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from ibkr_connector.paper.exchange.types import WEB_CLIENT_ID
from proof.evidence import Evidence
from proof.judge import judge
from proof.truthview import TruthView


class Tally(msgspec.Struct):
    """Counts of one run, or of many added up. Plain values: it travels between processes."""

    schedules: int = 0
    agents: int = 0
    wire_seconds: float = 0.0
    market_seconds: float = 0.0
    cpu_seconds: float = 0.0
    hits: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    """Fault kind -> order phase -> how often it really hit; crashes among them."""
    tested: dict[str, int] = msgspec.field(default_factory=dict)
    told: dict[str, int] = msgspec.field(default_factory=dict)
    """Runs in which each invariant was put to the test."""
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)
    asked: int = 0
    """Orders that agents asked for, by distinct ref."""
    accepted: int = 0
    """Of them, those that the broker accepted."""
    doubts: int = 0
    """Orders that were in doubt at some time."""
    settled: int = 0
    """Of them, those that were settled without an operator."""
    races: int = 0
    """Cancels that arrived, and a fill came after."""
    forks: int = 0
    crashes: int = 0
    posts: int = 0
    """Web API: orders, changes, cancels and replies that were written."""
    lost: int = 0
    """Of them, those that a fault kept from being answered, or answered with nothing that can be relied on."""
    questions: int = 0
    replies: int = 0
    moved: dict[str, int] = msgspec.field(default_factory=dict)
    """Faults of the socket, and what they were translated to."""
    violations: list[tuple[int, str, str]] = msgspec.field(default_factory=list)
    """Seed, invariant, what happened."""

    def add(self, other: Tally) -> None:
        """Add another one up."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("tested", "told", "outcomes", "moved"):
            mine = getattr(self, name)
            for key, count in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + count
        for kind, phases in other.hits.items():
            mine = self.hits.setdefault(kind, {})
            for phase, count in phases.items():
                mine[phase] = mine.get(phase, 0) + count
        self.violations += other.violations


_SUMS = (
    "schedules", "agents", "wire_seconds", "market_seconds", "cpu_seconds", "asked", "accepted", "doubts", "settled",
    "races", "forks", "crashes", "posts", "lost", "questions", "replies",
)  # fmt: skip


def tally(evidence: Evidence) -> Tally:
    """Judge a run and count it."""
    verdict = judge(evidence)
    schedule, history = evidence.schedule, evidence.history
    view = TruthView.of(evidence.truth.entries if evidence.truth is not None else ())
    refs = {step.ref for agent in schedule.agents for step in agent.steps if step.do in ("place", "bracket")}
    called = {note.data["ref"] for note in history.of("call")} & refs
    priced = called - _unpriced(evidence)
    accepted = {order.ref for order in view.orders if order.perm_id and not order.held}
    doubtful = {note.data["ref"] for note in history.of("order") if note.data["what"] == "entered_doubt"}
    open_at_end = {ref for ref, one in (evidence.final.orders if evidence.final else {}).items() if one.in_doubt}
    return Tally(
        schedules=1,
        agents=len(schedule.agents),
        wire_seconds=evidence.wire_seconds,
        market_seconds=evidence.market_seconds,
        hits=_hits(evidence),
        tested=dict(verdict.tested),
        told={name: int(count > 0) for name, count in verdict.tested.items()},
        outcomes=dict(Counter(note.data["outcome"] for note in history.of("answer"))),
        asked=len(priced),
        accepted=len(priced & accepted),
        doubts=len(doubtful),
        settled=len(doubtful - open_at_end),
        races=sum(order.raced for order in view.orders),
        forks=len(view.forked),
        crashes=len(history.of("crashed")),
        posts=_count(evidence, "http"),
        lost=_lost(evidence),
        questions=_count(evidence, "question"),
        replies=_count(evidence, "http", request="reply"),
        moved=dict(Counter(schedule.moved)),
        violations=[(schedule.seed, one.invariant, one.text) for one in verdict.violations],
    )


_LOSSES = frozenset({
    "drop_connection", "half_open", "reset_after_write", "swallow_request", "swallow_reply", "http_error_after",
})  # fmt: skip


def _count(evidence: Evidence, kind: str, **match: object) -> int:
    return len(evidence.truth.of(kind, **match)) if evidence.truth is not None else 0


def _lost(evidence: Evidence) -> int:
    """Requests about orders whose answer a fault of the Web front took away."""
    entries = evidence.truth.entries if evidence.truth is not None else ()
    return sum(
        entry.kind in {"fault", "fault_hit"}
        and entry.fields["fault"] in _LOSSES
        and entry.fields["client_id"] == WEB_CLIENT_ID
        and entry.fields["request"] in _ORDER_REQUESTS
        for entry in entries
    )


_ORDER_REQUESTS = frozenset({"place_order", "modify_order", "cancel_order", "reply"})


def _unpriced(evidence: Evidence) -> set[str]:
    """Orders that never became one: their agent could not learn a price, and asked the connector for nothing."""
    placed = {
        note.data["ref"]
        for note in evidence.history.of("answer")
        if note.data["do"] in ("place", "bracket", "resend") and note.data["outcome"] not in _NO_PRICE
    }
    asked = {
        note.data["ref"] for note in evidence.history.of("answer") if note.data["do"] in ("place", "bracket", "resend")
    }
    return asked - placed


_NO_PRICE = frozenset({"TimeoutError", "NoMarketData", "QuoteTimeout", "MarketDataError"})


def _hits(evidence: Evidence) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for entry in evidence.truth.entries if evidence.truth is not None else ():
        if entry.kind in {"fault", "fault_hit"}:
            counter = found.setdefault(_kind(entry.fields), Counter())
            phase = str(entry.fields.get("phase") or "")
            orders: Any = entry.fields.get("orders")
            if phase:
                counter[phase] += 1
            elif orders:
                counter.update(str(one["phase"]) for one in orders)
            elif entry.kind == "fault":
                counter["no order"] += 1
    for note in evidence.history.of("crashed"):
        found.setdefault("crash", Counter())[note.data["why"]] += 1
    for note in evidence.history.of("disk"):
        if note.data["full"]:
            found.setdefault("disk_full", Counter())["no order"] += 1
    for note in evidence.history.of("incident"):
        if note.data["name"] == "order_not_journaled":
            found.setdefault("disk_full", Counter())["not journaled"] += 1
    return {kind: dict(counter) for kind, counter in found.items()}


def _kind(fields: dict[str, object]) -> str:
    return str(fields["fault"])
