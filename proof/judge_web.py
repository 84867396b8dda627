"""What only the Web API can break: POSTs and replies written again, questions, its pace. Judged by the `http` entries.

Each write of a client stands in the truth as `http`, whatever a fault made of it, so a request that was lost and
written once more counts twice there. What the connector's end of the wire showed is judged beside it.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from proof.evidence import Evidence
from proof.history import Note
from proof.judge_disk import lost_with_the_disk
from proof.verdict import Verdict

REQUESTS_PER_SECOND = 10
"""Of a Client Portal Gateway; the penalty box of ten minutes is behind it."""
Rule = Callable[[Evidence, Verdict], None]


def _http(evidence: Evidence, request: str) -> Iterator[tuple[str, list[str]]]:
    """Path and refs of what the gateway was sent."""
    for entry in evidence.truth.of("http", request=request) if evidence.truth is not None else ():
        listed = entry.fields["order_refs"]
        yield str(entry.fields["path"]), [str(ref) for ref in listed] if isinstance(listed, list) else []


def posts(evidence: Evidence, verdict: Verdict) -> None:
    """INV-01: at most one POST per intent, whatever became of it, by the gateway's log and by our end of the wire."""
    arrived = Counter(ref for _, refs in _http(evidence, "place_order") for ref in refs)
    written = Counter(ref for note in evidence.history.of("http") for ref in note.data.get("refs", ()))
    for ref in sorted(arrived | written):
        times = max(arrived[ref], written[ref])
        verdict.check("INV-01", f"order {ref} was written in {times} POSTs" if times > 1 else None)


def replies(evidence: Evidence, verdict: Verdict) -> None:
    """INV-01: a question is answered at most once. INV-15: a yes was journaled, and is on the list."""
    arrived = Counter(path.rpartition("/")[2] for path, _ in _http(evidence, "reply"))
    notes: dict[str, list[Note]] = {}
    for note in evidence.history.of("http"):
        if note.data["message"] == "reply":
            notes.setdefault(note.data["reply_id"], []).append(note)
    asked = {str(entry.fields["reply_id"]): entry.fields for entry in _of(evidence, "question")}
    for reply_id in sorted({*arrived, *notes}):
        times = max(arrived[reply_id], len(notes.get(reply_id, ())))
        verdict.check("INV-01", f"the question {reply_id} was answered {times} times" if times > 1 else None)
        question = asked.get(reply_id)
        if question is None or not any(note.data["confirmed"] for note in notes.get(reply_id, ())):
            continue
        message_id = str(question["message_id"])
        allowed = message_id in evidence.schedule.asking.confirm
        verdict.check("INV-15", None if allowed else f"the question {message_id} was confirmed and is not on the list")
    _journaled(evidence, verdict, notes, asked)


def _journaled(
    evidence: Evidence, verdict: Verdict, notes: dict[str, list[Note]], asked: dict[str, dict[str, object]]
) -> None:
    """Each yes has a line of its own in the trail, but for those that a crash took with a full disk."""
    lost = set(lost_with_the_disk(evidence).values())
    lines: Counter[tuple[str, str]] = Counter()
    for line in evidence.audit:
        if line.kind == "reply_sending":
            told = json.loads(line.data)
            if told["confirmed"]:
                lines.update((line.ref, str(one)) for one in told["message_ids"])
    yes: Counter[tuple[str, str]] = Counter()
    for reply_id, found in notes.items():
        question: dict[str, Any] = dict(asked.get(reply_id, {}))
        if question and any(note.data["confirmed"] for note in found):
            yes.update((str(ref), str(question["message_id"])) for ref in question["order_refs"] if ref)
    for (ref, message_id), times in yes.items():
        if ref not in lost and evidence.has_journal:
            known = lines[ref, message_id] >= times
            verdict.check("INV-15", None if known else f"{message_id} about {ref} was confirmed without a line for it")


def _of(evidence: Evidence, kind: str) -> list[Any]:
    return evidence.truth.of(kind) if evidence.truth is not None else []


def absent(evidence: Evidence, verdict: Verdict) -> None:
    """INV-03: "never arrived" is said of orders that the broker does not have, and of no other."""
    accepted = {str(entry.fields["order_ref"]): entry.wire for entry in reversed(_of(evidence, "accepted"))}
    for note in evidence.history.of("order"):
        if note.data["what"] == "never_arrived":
            there = accepted.get(note.data["ref"], float("inf")) < note.at
            broken = f"{note.data['ref']} was said never to have arrived, and the broker had accepted it"
            verdict.check("INV-03", broken if there else None)


def requests_in_time(evidence: Evidence, verdict: Verdict) -> None:
    """INV-09: never more requests in a second than a gateway takes, counted where they leave."""
    window: deque[float] = deque()
    most = 0
    for note in evidence.history.of("http"):
        window.append(note.at)
        while window[0] <= note.at - 1.0:
            window.popleft()
        most = max(most, len(window))
    if most >= REQUESTS_PER_SECOND // 2:
        broken = f"{most} requests in one second" if most > REQUESTS_PER_SECOND else None
        verdict.check("INV-09", broken)


def web_rules(evidence: Evidence) -> tuple[Rule, ...]:
    """The rules for this run: none unless it was over the Web API."""
    return (posts, replies, absent, requests_in_time) if evidence.schedule.backend == "web" else ()
