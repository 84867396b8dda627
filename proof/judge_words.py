"""The judge on what is said about orders that exist: changes, cancels, corrections, and what the gates count."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

from ibkr_connector.paper.truth import TruthEntry
from proof.evidence import Evidence
from proof.truthview import TruthView
from proof.verdict import Verdict

Rule = Callable[[Evidence, Verdict], None]
_REFUSED = frozenset({"OrderNotFound", "OrderNotCancellable"})
_PROOF_S = 25.0
"""Before so many seconds no absence can be proven: the link has to be up for 30 s first."""
_REACH_S = 1.0
"""How long an order must have been known to the connection before its cancel can be expected on the wire at once."""


def _view(evidence: Evidence, checkpoint: str) -> TruthView:
    entries = list(evidence.truth.entries if evidence.truth is not None else ())
    return TruthView.of(entries[: evidence.checkpoints.get(checkpoint, len(entries))])


def changes(evidence: Evidence, verdict: Verdict) -> None:
    """INV-01: a change goes only to what the broker has; at one that never arrived it would be a second new order."""
    received: dict[int, float] = {}
    for entry in evidence.truth.of("recv_place") if evidence.truth is not None else ():
        if entry.fields["client_id"] == evidence.schedule.client_id:
            received.setdefault(int(str(entry.fields["order_id"])), entry.wire)
    written: dict[int, int] = {}
    for note in evidence.history.of("wire"):
        if note.data["message"] != "place":
            continue
        number = note.data["order_id"]
        written[number] = written.get(number, 0) + 1
        if written[number] > 1:
            known = received.get(number, float("inf")) <= note.at
            verdict.check("INV-01", None if known else f"id {number} was changed before the broker had the order")


def cancels(evidence: Evidence, verdict: Verdict) -> None:
    """INV-03: a cancel that was asked for is carried out, whatever came in between, or its refusal is told."""
    if evidence.settled is None:
        return
    refused = {note.data["ref"] for note in evidence.history.of("answer") if note.data["outcome"] in _REFUSED} | {
        note.data["ref"] for note in evidence.history.of("order") if note.data["what"] == "cancel_rejected"
    }
    view = _view(evidence, "settled")
    for ref in sorted(_cancels_owed(evidence) - refused):
        orders = [order for order in view.by_ref(ref) if order.perm_id]
        picture = evidence.settled.orders.get(ref)
        if not orders or picture is None or picture.in_doubt:
            continue
        alive = any(order.is_live for order in orders)
        verdict.check("INV-03", f"the cancel of {ref} was never carried out: it works on" if alive else None)


def _cancels_owed(evidence: Evidence) -> set[str]:
    """Refs of which a cancel was asked for that its answer did not carry out already.

    That is so where the order was given up unsent and the cancel said so: its name is free, and whoever places an
    order under it again asks for another order, which that cancel was not meant for. What is sent under it without
    being asked for again after the answer makes the cancel count.
    """
    arrived: dict[str, list[float]] = {}
    for entry in _of(evidence, "recv_place"):
        if entry.fields["client_id"] == evidence.schedule.client_id:
            arrived.setdefault(str(entry.fields["order_ref"]), []).append(entry.wire)
    placed: dict[str, list[tuple[float, int]]] = {}
    owed: dict[tuple[str, int], str] = {}
    unsent: list[tuple[str, tuple[float, int]]] = []
    for at, note in enumerate(evidence.history.notes):
        if note.kind not in {"call", "answer"}:
            continue
        ref, key = note.data["ref"], (note.data["agent"], note.data["index"])
        if note.kind == "call" and note.data["do"] in {"place", "resend", "bracket"}:
            placed.setdefault(ref, []).append((note.at, at))
        elif note.data["do"] != "cancel":
            continue
        elif note.kind == "call":
            owed[key] = ref
        elif note.data["outcome"] == "ok" and note.data["state"] == "not_sent":
            owed.pop(key, None)
            unsent.append((ref, (note.at, at)))
    again = {
        ref
        for ref, answered in unsent
        if (arrivals := arrived.get(ref))
        and min(arrivals) < min((call[0] for call in placed.get(ref, ()) if call > answered), default=float("inf"))
    }
    return set(owed.values()) | again


def cancels_on_a_full_disk(evidence: Evidence, verdict: Verdict) -> None:
    """INV-12: a cancel that is asked for while the disk is full is written all the same."""
    full = up = False
    since = 0.0
    ids = _ids(evidence)
    accepted = {
        int(str(entry.fields["order_id"])): entry.wire
        for entry in (evidence.truth.of("accepted") if evidence.truth is not None else ())
    }
    waiting: dict[str, float] = {}
    written: set[int] = set()
    for note in evidence.history.notes:
        if note.kind == "disk":
            full = note.data["full"]
        elif note.kind in {"started", "crashed"}:
            up = False
            waiting.clear()
        elif note.kind == "link":
            up, since = note.data["state"] == "ready", note.at
            waiting.clear()
        elif note.kind == "broker_link":
            waiting.clear()
        elif note.kind == "wire" and note.data["message"] == "cancel":
            written.add(note.data["order_id"])
        elif note.kind == "call" and note.data["do"] == "cancel" and full and up:
            number = ids.get(note.data["ref"], 0)
            if since < accepted.get(number, float("inf")) < note.at - _REACH_S and number not in written:
                waiting[note.data["ref"]] = note.at
        elif note.kind == "answer" and note.data["ref"] in waiting and note.data["do"] == "cancel":
            del waiting[note.data["ref"]]
            lost = note.data["outcome"] != "ok" and ids[note.data["ref"]] not in written
            broken = f"the cancel of {note.data['ref']} was not written while the disk was full" if lost else None
            verdict.check("INV-12", broken)


def _ids(evidence: Evidence) -> dict[str, int]:
    """The id of each order, from the audit trail."""
    return {line.ref: int(json.loads(line.data)["order_id"]) for line in evidence.audit if line.kind == "sending"}


def corrections(evidence: Evidence, verdict: Verdict) -> None:
    """INV-04: a correction stands in the place of what it corrects."""
    versions: dict[str, list[str]] = {}
    for fill in evidence.fills:
        versions.setdefault(fill.exec_id.rpartition(".")[0], []).append(fill.exec_id)
    corrected = {str(entry.fields["exec_id"]) for entry in _of(evidence, "correction")}
    for base, ids in versions.items():
        if len(ids) > 1:
            verdict.check("INV-04", f"execution {base} is counted {len(ids)} times: {', '.join(sorted(ids))}")
        elif ids[0] in corrected:
            verdict.check("INV-04", None)


def _of(evidence: Evidence, kind: str) -> list[TruthEntry]:
    return list(evidence.truth.of(kind)) if evidence.truth is not None else []


def counted(evidence: Evidence, verdict: Verdict) -> None:
    """INV-04: when nothing moves any more, the gates count the positions that the broker has."""
    final = evidence.final
    if final is None or evidence.unready:
        return
    held = {con_id: quantity for con_id, quantity in _view(evidence, "cancelled").positions.items() if quantity}
    ours = {con_id: quantity for con_id, quantity in final.counted.items() if quantity}
    if held or ours:
        verdict.check("INV-04", None if ours == held else f"the gates count {ours}, the broker has {held}")


def ids_once(evidence: Evidence, verdict: Verdict) -> None:
    """INV-08: every order is committed under a number above all that were used before, over restarts too."""
    highest = 0
    for line in evidence.audit:
        if line.kind != "sending":
            continue
        number = int(json.loads(line.data)["order_id"])
        broken = f"{line.ref} was committed under id {number}, and {highest} was used" if number <= highest else None
        verdict.check("INV-08", broken)
        highest = max(highest, number)


def told(evidence: Evidence, verdict: Verdict) -> None:
    """INV-03: "nothing was sent" is told of orders that did not arrive, and of no other."""
    received = {str(entry.fields["order_ref"]): entry.wire for entry in _of(evidence, "recv_place")}
    begun: dict[tuple[str, int], float] = {}
    for note in evidence.history.of("call", "answer"):
        if note.data["do"] not in ("place", "bracket"):
            continue
        key = (note.data["agent"], note.data["index"])
        if note.kind == "call":
            begun[key] = note.at
        elif note.data["outcome"] == "OrderNotSent" and note.at < begun[key] + _PROOF_S:
            arrived = received.get(note.data["ref"], float("inf")) < note.at
            broken = f"{note.data['ref']} was said not to be sent, and had arrived" if arrived else None
            verdict.check("INV-03", broken)


def reserved(evidence: Evidence, verdict: Verdict) -> None:
    """INV-05: what can still fill at the broker is reserved here."""
    settled = evidence.settled
    if settled is None or evidence.unready:
        return
    view = _view(evidence, "settled")
    for ref, picture in settled.orders.items():
        alive = sum((order.open_quantity for order in view.by_ref(ref) if order.is_live), Decimal(0))
        if alive and ref not in view.forked and not picture.in_doubt:
            held = settled.reserved.get(ref)
            enough = held is not None and held >= alive
            verdict.check("INV-05", None if enough else f"{ref} can fill {alive} more, and {held} is reserved for it")


def word_rules() -> tuple[Rule, ...]:
    """All rules of this file."""
    return (changes, cancels, cancels_on_a_full_disk, corrections, counted, ids_once, told, reserved)
