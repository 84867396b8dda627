"""INV-12: a disk that is full refuses orders that add risk, and only those. And what a crash takes with it then."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from proof.evidence import Evidence
from proof.schedule import Step
from proof.truthview import ZERO, TruthView, exposure
from proof.verdict import Verdict

_COMMIT_S = 0.7
"""How long after the disk filled up a commit that came before may still be followed by its write."""
_LAG_S = 0.5
"""How long a fill, or an end, may take to be known."""


def disk(evidence: Evidence, verdict: Verdict) -> None:
    """Only what reduces is written while the disk is full; that is not refused for it, and neither is a cancel."""
    full_since: float | None = None
    seen: set[int] = set()
    reducing = _reducing(evidence)
    for note in evidence.history.notes:
        if note.kind == "disk":
            full_since = note.at if note.data["full"] else None
            verdict.check("INV-12", None)
        elif note.kind == "wire" and note.data["message"] == "place":
            number, changed = note.data["order_id"], note.data["order_id"] in seen
            if full_since is not None and note.at > full_since + _COMMIT_S:
                what = f"{'a change of ' if changed else ''}order id {number}"
                # What never arrived at the broker is not judged: nobody can say what it would have done.
                found = next((good for at, good in reducing.get((number, changed), ()) if at >= note.at), True)
                verdict.check(
                    "INV-12", None if found else f"{what} was written while the disk was full, and does not only reduce"
                )
            seen.add(number)
        elif (
            note.kind == "answer" and note.data["do"] in {"cancel", "cancel_all"} and "Journal" in note.data["outcome"]
        ):
            verdict.check("INV-12", f"{note.data['do']} {note.data['ref']} failed with {note.data['outcome']}")
    for ref in _refused_in_vain(evidence):
        verdict.check("INV-12", f"{ref} only reduces, and was refused because the disk was full")


def lost_with_the_disk(evidence: Evidence) -> dict[int, str]:
    """Orders written while the disk was full by a process that was killed before it was back: id -> ref.

    No journal can know of them. The broker does: their refs must not be sent again.
    """
    refs = {
        int(str(entry.fields["order_id"])): str(entry.fields["order_ref"])
        for entry in (evidence.truth.of("recv_place") if evidence.truth is not None else ())
        if entry.fields["client_id"] == evidence.schedule.client_id
    }
    unsure: set[int] = set()
    lost: set[int] = set()
    full = False
    for note in evidence.history.notes:
        if note.kind == "disk":
            full = note.data["full"] or full
        elif note.kind == "disk_caught_up":
            full = False
            unsure.clear()
        elif note.kind == "wire" and note.data["message"] == "place" and full:
            unsure.add(note.data["order_id"])
        elif note.kind == "crashed":
            lost |= unsure
            unsure.clear()
    return {number: refs.get(number, "") for number in lost}


def _reducing(evidence: Evidence) -> dict[tuple[int, bool], list[tuple[float, bool]]]:
    """By order id, and whether it was a change: when each message arrived, and whether it could only reduce then."""
    found: dict[tuple[int, bool], list[tuple[float, bool]]] = {}
    view = TruthView()
    for entry in view.steps(evidence.truth.entries if evidence.truth is not None else ()):
        if entry.kind not in {"recv_place", "recv_modify"}:
            continue
        number, changed = int(str(entry.fields["order_id"])), entry.kind == "recv_modify"
        if entry.fields["client_id"] != evidence.schedule.client_id:
            continue
        order = view.orders[-1] if not changed else next(iter(view.numbered(evidence.schedule.client_id, number)), None)
        good = order is None or any(one.ref in view.forked for one in view.orders if one.con_id == order.con_id)
        if order is not None and not good:
            position = view.positions.get(order.con_id, ZERO)
            long, short = exposure(view, order.con_id)
            good = (position < 0 and long <= 0) if order.sign > 0 else (position > 0 and short >= 0)
        found.setdefault((number, changed), []).append((entry.wire, good))
    return found


def _refused_in_vain(evidence: Evidence) -> Iterator[str]:
    """Orders refused for the journal although, by the truth, they could only reduce all the time.

    Judged without faults and crashes alone: elsewhere the connector may rightly believe less than the truth. What is
    known by halves of a fill leaves less room, too (`_half_known`).
    """
    if evidence.schedule.faults or evidence.schedule.crashes or evidence.truth is None:
        return
    steps = {(agent.name, at): step for agent in evidence.schedule.agents for at, step in enumerate(agent.steps)}
    called: dict[tuple[str, int], float] = {}
    for note in evidence.history.of("call", "answer"):
        key = (note.data["agent"], note.data["index"])
        if note.kind == "call":
            called[key] = note.at
        elif note.data["do"] == "place" and "Journal" in note.data["outcome"]:
            step = steps[key]
            needed = Decimal(step.quantity) + _half_known(evidence, step, called[key], note.at)
            if _always_reduced(evidence, step, needed, called[key] - _LAG_S, note.at):
                yield note.data["ref"]


def _half_known(evidence: Evidence, step: Step, called: float, until: float) -> Decimal:
    """What had filled on the order's side before its answer, and whose executions had not come when it was placed.

    The broker tells a fill three times, as a position, a status and an execution, in no certain order. Only the
    execution takes it from what is open, and until it is here gates assume the position that leaves less room: the one
    with the fill, beside an order that can still fill. That is their rule, and refuses for as long as it lasts.
    """
    learned: dict[str, list[float]] = {}
    for note in evidence.history.of("order"):
        if note.data["what"] == "fill":
            learned.setdefault(note.data["ref"], []).append(note.at)
    side = "BOT" if step.action == "BUY" else "SLD"
    view, halves = TruthView(), ZERO
    for entry in view.steps(evidence.truth.entries if evidence.truth is not None else ()):
        if entry.kind != "fill" or entry.wire > until:
            continue
        told = learned.get(str(entry.fields["order_ref"]), [])
        known = told.pop(0) if told else float("inf")
        symbols = {order.symbol for order in view.orders if order.con_id == int(str(entry.fields["con_id"]))}
        if known > called and entry.fields["side"] == side and step.symbol in symbols:
            halves += Decimal(str(entry.fields["quantity"]))
    return halves


def _always_reduced(evidence: Evidence, step: Step, needed: Decimal, since: float, until: float) -> bool:
    sign = 1 if step.action == "BUY" else -1
    view, room = TruthView(), ZERO
    for entry in view.steps(evidence.truth.entries if evidence.truth is not None else ()):
        if entry.wire > until:
            break
        before, room = room, _room(view, step.symbol, sign)
        if entry.wire >= since and min(before, room) < needed:
            return False
    return room >= needed


def _room(view: TruthView, symbol: str, sign: int) -> Decimal:
    """How much of a side can be sent without crossing zero."""
    con_ids = {order.con_id for order in view.orders if order.symbol == symbol}
    if not con_ids:
        return ZERO
    con_id = con_ids.pop()
    long, short = exposure(view, con_id)
    position = view.positions.get(con_id, ZERO)
    return max(-long if sign > 0 and position < 0 else short if sign < 0 and position > 0 else ZERO, ZERO)
