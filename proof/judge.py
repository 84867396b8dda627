"""The judge: INV-01 … INV-15, as far as one run can show them. It believes the truth log, and nothing else.

Of the connector it takes what was written, told and answered (the history), what lies on the disk (the journal), and
what it believes itself (the pictures). Every check that could have failed is counted; a run in which nothing of the
kind happened says nothing about an invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from proof.evidence import Evidence, Picture
from proof.judge_disk import lost_with_the_disk
from proof.judge_flow import flow_rules
from proof.judge_sockets import one_holder
from proof.judge_web import web_rules
from proof.judge_words import word_rules
from proof.truthview import TruthOrder, TruthView
from proof.verdict import Verdict


def judge(evidence: Evidence) -> Verdict:
    """All invariants of one run."""
    verdict = Verdict()
    for rule in (*_RULES, *flow_rules(), *word_rules(), *web_rules(evidence)):
        rule(evidence, verdict)
    return verdict


def _own(evidence: Evidence, checkpoint: str = "") -> TruthView:
    """The truth up to a checkpoint, or all of it."""
    entries = list(evidence.truth.entries if evidence.truth is not None else ())
    return TruthView.of(entries[: evidence.checkpoints.get(checkpoint, len(entries))])


def _ids_of_refs(evidence: Evidence) -> dict[str, set[int]]:
    """Under which ids each ref was committed, from the audit trail."""
    import json

    found: dict[str, set[int]] = {}
    for line in evidence.audit:
        if line.kind == "sending":
            found.setdefault(line.ref, set()).add(int(json.loads(line.data)["order_id"]))
    return found


# --- INV-01: once ----------------------------------------------------------------------------------------------------


def once(evidence: Evidence, verdict: Verdict) -> None:
    """A ref is received as a new order, and written as one, at most once."""
    client = evidence.schedule.client_id
    received: dict[str, set[int]] = {}
    count: dict[str, int] = {}
    for entry in evidence.truth.of("recv_place") if evidence.truth is not None else ():
        if entry.fields["client_id"] == client:
            ref = str(entry.fields["order_ref"])
            received.setdefault(ref, set()).add(int(str(entry.fields["order_id"])))
            count[ref] = count.get(ref, 0) + 1
    written: dict[int, int] = {}
    for note in evidence.history.of("wire"):
        if note.data["message"] == "place":
            written[note.data["order_id"]] = written.get(note.data["order_id"], 0) + 1
    asked: dict[str, int] = {}
    for note in evidence.history.of("call"):
        if note.data["do"] in ("place", "bracket", "resend"):
            for ref in _names(note.data["ref"], note.data["do"], received):
                asked[ref] = asked.get(ref, 0) + 1
    for ref, ids in _ids_of_refs(evidence).items():
        sent = sorted(number for number in ids if number in written)
        broken = None
        if count.get(ref, 0) > 1:
            broken = f"order {ref} was received {count[ref]} times as a new order"
        elif len(sent) > 1:
            broken = f"order {ref} was written as a new order under the ids {sent}"
        doubtful = any(n.data["ref"] == ref and n.data["what"] == "entered_doubt" for n in evidence.history.of("order"))
        if broken or (sent and (asked.get(ref, 0) > 1 or doubtful)):
            verdict.check("INV-01", broken)
    _committed(evidence, verdict, received, count)


def _committed(
    evidence: Evidence, verdict: Verdict, received: Mapping[str, set[int]], count: Mapping[str, int]
) -> None:
    """What was received was committed before, but for what a crash took with a full disk: that came once at most."""
    lost = set(lost_with_the_disk(evidence).values())
    for ref in lost & received.keys():
        broken = f"order {ref} was received {count[ref]} times as a new order" if count[ref] > 1 else None
        verdict.check("INV-01", broken)
    for ref, ids in received.items():
        if ref not in lost and ref not in _ids_of_refs(evidence) and evidence.has_journal:
            verdict.check("INV-01", f"order {ref} (id {sorted(ids)}) was received and never committed")


def _names(ref: str, do: str, received: Mapping[str, object]) -> list[str]:
    exits = [f"{ref}.tp", f"{ref}.sl"]
    return [ref, *(name for name in exits if name in received)]


# --- INV-02: forks ---------------------------------------------------------------------------------------------------


def forks(evidence: Evidence, verdict: Verdict) -> None:
    """A fork is told, and at the end nothing of it works on."""
    if evidence.final is None:
        return
    view = _own(evidence, "cancelled")
    told = {note.data["ref"] for note in evidence.history.of("incident") if note.data["name"] == "order_forked"}
    for ref in sorted(view.forked):
        verdict.check("INV-02", None if ref in told else f"the fork of {ref} was never detected")
        alive = [order.perm_id for order in view.by_ref(ref) if order.is_live]
        picture = evidence.final.orders.get(ref)
        if alive and (picture is None or not picture.in_doubt):
            verdict.check("INV-02", f"of the fork {ref} permId {alive} works on after everything was cancelled")


# --- INV-03: an end or a doubt ---------------------------------------------------------------------------------------


def accounted(evidence: Evidence, verdict: Verdict) -> None:
    """What was committed has ended, as the broker says, or is in doubt; what works at the broker is known to work."""
    final = evidence.final
    if final is None:
        return
    view = _own(evidence, "cancelled")
    for order in evidence.orders:
        picture = final.orders.get(order.ref)
        if picture is None:
            if order.ended is None:
                verdict.check("INV-03", f"{order.ref} is open in the journal and unknown to the connector")
            continue
        truth = view.by_ref(order.ref)
        alive = [one for one in truth if one.is_live]
        broken = None
        if not picture.is_done and not picture.in_doubt and not alive:
            broken = f"{order.ref} is {picture.state} and not in doubt, but at the broker it has ended or never was"
        elif picture.is_done and alive:
            broken = f"{order.ref} is {picture.state} ({picture.why}) and works on at the broker as {alive[0].status}"
        elif picture.is_done and picture.state != "filled" and sum(one.filled for one in truth) != picture.filled:
            broken = f"{order.ref} ended as {picture.state} with {picture.filled}, the broker filled {_filled(truth)}"
        elif picture.state == "filled" and not truth:
            broken = f"{order.ref} is filled here and never was at the broker"
        elif not picture.is_done and not picture.in_doubt:
            broken = f"{order.ref} is still {picture.state} after everything was cancelled and settled"
        verdict.check("INV-03", broken)


def _filled(orders: list[TruthOrder]) -> Decimal:
    return sum((order.filled for order in orders), Decimal(0))


# --- INV-04: fills ---------------------------------------------------------------------------------------------------


def fills(evidence: Evidence, verdict: Verdict) -> None:
    """Executions in the journal are the broker's: id, quantity, price, corrections replacing."""
    if not evidence.has_journal or evidence.unready:
        return
    client = evidence.schedule.client_id
    theirs = {key: at for key, at in _own(evidence).executions.items() if at["client_id"] == client}
    ours = {fill.base_id: fill for fill in evidence.fills}
    lost = set(lost_with_the_disk(evidence).values())
    for key, at in theirs.items():
        mine = ours.get(key)
        if mine is None and at["order_ref"] in lost:
            continue
        broken = None
        if mine is None:
            broken = f"execution {at['exec_id']} of {at['order_ref']} ({at['quantity']}) is not in the journal"
        elif (mine.exec_id, mine.quantity, mine.price) != (at["exec_id"], at["quantity"], at["price"]):
            broken = (
                f"execution {at['exec_id']} of {at['order_ref']}: {at['quantity']} at {at['price']} at the broker, "
                f"{mine.exec_id}: {mine.quantity} at {mine.price} in the journal"
            )
        verdict.check("INV-04", broken)
    for key in sorted(set(ours) - set(theirs)):
        verdict.check("INV-04", f"execution {ours[key].exec_id} is in the journal and not at the broker")
    _positions(evidence, verdict)


def _positions(evidence: Evidence, verdict: Verdict) -> None:
    final = evidence.final
    if final is None:
        return
    truth = {con_id: held for con_id, held in _own(evidence, "cancelled").positions.items() if held}
    if truth or final.positions:
        same = truth == final.positions
        verdict.check("INV-04", None if same else f"positions {final.positions} here, {truth} at the broker")


# --- INV-10: protected -----------------------------------------------------------------------------------------------


def protected(evidence: Evidence, verdict: Verdict) -> None:
    """An entry that has filled has its stop, unless somebody took it away, or an incident says so."""
    if evidence.settled is None:
        return
    view = _own(evidence, "settled")
    cancelled = {note.data["ref"] for note in evidence.history.of("call") if note.data["do"] == "cancel"} | {
        order.ref for order in view.orders if order.cancel_asked is not None
    }
    told = " ".join(note.data["text"] for note in evidence.history.of("incident"))
    for entry in view.orders:
        stops = view.by_ref(f"{entry.ref}.sl")
        asked = evidence.settled.orders.get(f"{entry.ref}.sl")
        if not entry.filled or (not stops and asked is None):
            continue
        exits = [*stops, *view.by_ref(f"{entry.ref}.tp")]
        closed = sum((order.filled for order in exits), Decimal(0))
        working = sum((order.open_quantity for order in stops), Decimal(0))
        taken = any(order.ref in cancelled for order in (entry, *exits))
        expired = any(
            order.order_type and order.status == "Cancelled" and order.cancel_asked is None for order in exits
        )
        broken = None
        doubtful = asked is not None and asked.in_doubt
        if closed + working < entry.filled and not taken and not doubtful and f"{entry.ref}.sl" not in told:
            broken = (
                f"{entry.ref} filled {entry.filled}, its exits {closed}, its stop works for {working}"
                f"{' (it expired)' if expired else ''}, and no incident says so"
            )
        if not taken:
            verdict.check("INV-10", broken)


# --- INV-14: the same after a crash ----------------------------------------------------------------------------------


def same_after_crash(evidence: Evidence, verdict: Verdict) -> None:
    """A kill -9 and a new start change nothing of what is known."""
    before, after = evidence.final, evidence.recovered
    if before is None or after is None:
        return
    for ref, was in before.orders.items():
        found = after.orders.get(ref)
        if was.in_doubt:
            continue  # a new connection is new evidence
        broken = None
        if found is None:
            broken = f"{ref} ({was.state}) is unknown after a restart"
        else:
            differ = [
                f"{name} {getattr(was, name)} -> {getattr(found, name)}"
                for name in ("state", "filled", "order_id", "perm_ids", "fills", "in_doubt")
                if getattr(was, name) != getattr(found, name)
            ]
            broken = f"{ref} after a restart: {'; '.join(differ)}" if differ else None
        verdict.check("INV-14", broken)
    for ref in sorted(set(after.orders) - set(before.orders)):
        verdict.check("INV-14", f"{ref} ({after.orders[ref].state}) is there only after a restart")
    if before.orders:
        verdict.check("INV-14", _compare_positions(before, after))


def _compare_positions(before: Picture, after: Picture) -> str | None:
    if before.positions == after.positions:
        return None
    return f"positions {before.positions} before a restart, {after.positions} after it"


Rule = Callable[[Evidence, Verdict], None]
_RULES: tuple[Rule, ...] = (once, forks, accounted, fills, protected, same_after_crash, one_holder)
