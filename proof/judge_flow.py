"""The judge's rules about what happens in time: limits, kills, ids, pace, deadlines, disk, secrets, audit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

from ibkr_connector import errors
from proof.evidence import Evidence
from proof.history import AT_THE_END, Note
from proof.judge_disk import disk, lost_with_the_disk
from proof.truthview import ZERO, TruthView, exposure
from proof.verdict import Verdict

MESSAGES_PER_SECOND = 50
_START_API = "71"
"""The first message of a connection."""
_ELSEWHERE_S = 0.1
"""How old the kill of another process, or of another thread, may be before it must be known."""
_COMMAND_S = 125.0
"""What a command line that kills from another process may take, with the cancels it waits for."""
_LAG_S = 0.5
"""How long a fill may take to be known."""
_LONGEST: dict[str, float] = {
    "place": 22.0, "bracket": 22.0, "resend": 22.0, "modify": 22.0, "read": 31.0, "kill_elsewhere": _COMMAND_S,
}  # fmt: skip
"""Seconds a call may take: order_deadline 10, ack_timeout 5, a quote 4; a read 30. Others: their own patience."""
_REAL_S = 2.0
"""What a call may take longer on real sockets, for the machine's sake; and so many times what the machine stalled."""
_STALLS = 3.0
_OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
Rule = Callable[[Evidence, Verdict], None]


def limits(evidence: Evidence, verdict: Verdict) -> None:
    """INV-05: at no step of the truth could everything in flight carry a position beyond its limit."""
    limit = evidence.schedule.limits.get("max_position_size")
    if limit is None or evidence.truth is None:
        return
    view, told = TruthView(), set()
    # Over the Web API an order counts when it is passed on, which may be long after it was read.
    moments = {"recv_place", "recv_modify", "fill", *(("accepted",) if evidence.schedule.backend == "web" else ())}
    for entry in view.steps(evidence.truth.entries):
        if entry.kind not in moments:
            continue
        con_id = int(str(entry.fields["con_id"]))
        if any(order.ref in view.forked for order in view.orders if order.con_id == con_id):
            continue  # the broker's own doing: INV-02
        long, short = exposure(view, con_id)
        broken = None
        if max(long, -short) > Decimal(str(limit)) and con_id not in told:
            told.add(con_id)
            broken = (
                f"after entry {entry.seq} ({entry.kind} {entry.fields.get('order_ref')}) contract {con_id} can get to "
                f"{long} or {short}, the limit is {limit}"
            )
        verdict.check("INV-05", broken)


def stopped(evidence: Evidence, verdict: Verdict) -> None:
    """INV-06: no order message after a kill was told or the link was known to be down."""
    killed: tuple[float, str] | None = None
    down_at = 0.0
    ready = link = tripped = False
    adding = _adding(evidence)
    evaluated = {"kill": False, "link": False, "trip": False}
    for note in evidence.history.notes:
        if note.kind == "incident" and note.data["name"] == "daily_loss":
            tripped = evaluated["trip"] = True
        elif note.kind == "killed":
            killed, evaluated["kill"] = (note.at, note.data["where"]), True
        elif note.kind == "resumed":
            killed, tripped = None, False
        elif note.kind in {"started", "crashed"}:
            ready, link = False, True
        elif note.kind == "link":
            down_at = note.at if ready and note.data["state"] != "ready" else down_at
            ready = note.data["state"] == "ready"
            # Over the Web API a login says that the brokerage session is there, and nobody tells its return beside it.
            link = link or (evidence.schedule.backend == "web" and note.data["state"] == "syncing")
            evaluated["link"] = evaluated["link"] or note.data["state"] == "reconnecting"
        elif note.kind == "broker_link":
            down_at = note.at if link and not note.data["up"] else down_at
            link = note.data["up"]
            evaluated["link"] = evaluated["link"] or not link
        elif note.kind == "http" and note.data["message"] == "reply" and note.data["confirmed"]:
            _yes(evidence, verdict, note, killed, down_at if not (ready and link) else None)
        elif note.kind == "wire" and note.data["message"] == "place":
            grace = 0.0 if killed is None else _grace(evidence, killed, note)
            # Over the Web API a thread of its own writes: what was handed to it before may leave a moment later.
            on_its_way = evidence.schedule.backend == "web" and note.at <= down_at + _grace(
                evidence, (down_at, "thread"), note
            )
            verdict_of_write(note, killed, grace, ready=ready or on_its_way, link=link or on_its_way, verdict=verdict)
            if tripped and note.data["order_id"] in adding:
                verdict.check("INV-06", f"order id {note.data['order_id']} added risk after the day's loss limit")
    for happened in evaluated.values():
        if happened:
            verdict.check("INV-06", None)


def _yes(
    evidence: Evidence, verdict: Verdict, note: Note, killed: tuple[float, str] | None, down_at: float | None
) -> None:
    """A yes to a question makes an order: what holds for a write holds for it."""
    broken = None
    if killed is not None and note.at > killed[0] + _grace(evidence, (killed[0], "thread"), note):
        broken = f"a question was confirmed {note.at - killed[0]:.3f} s after a kill {killed[1]}"
    elif down_at is not None and note.at > down_at + _grace(evidence, (down_at, "thread"), note):
        broken = f"a question was confirmed {note.at - down_at:.3f} s after the link was lost"
    verdict.check("INV-06", broken)


def _grace(evidence: Evidence, killed: tuple[float, str], write: Note) -> float:
    """How long after a kill a write may come: its checks were before it, and it is on another thread."""
    on_own_thread = evidence.schedule.backend == "web"
    if (killed[1] == "step" and not on_own_thread) or (killed[1], evidence.schedule.engine) == ("here", "step"):
        return 0.0
    return _ELSEWHERE_S + _STALLS * stalled(evidence, killed[0], write.at)


def stalled(evidence: Evidence, begin: float, end: float) -> float:
    """Seconds between two moments in which the machine gave the connector's process no time. In real time only."""
    total = 0.0
    for note in evidence.history.of("stalled"):
        total += max(0.0, min(end, note.at) - max(begin, note.at - float(note.data["seconds"])))
    return total


def _adding(evidence: Evidence) -> set[int]:
    """Ids of new orders that added to a position, both when they arrived and half a second before."""
    found: set[int] = set()
    view = TruthView()
    before: deque[tuple[float, dict[int, Decimal]]] = deque([(0.0, {})])
    for entry in view.steps(evidence.truth.entries if evidence.truth is not None else ()):
        while len(before) > 1 and before[1][0] <= entry.wire - _LAG_S:
            before.popleft()
        if entry.kind == "recv_place":
            order = view.orders[-1]
            held = [positions.get(order.con_id, ZERO) * order.sign for _, positions in (before[0], before[-1])]
            if not order.parent_id and all(order.quantity > -position for position in held):
                found.add(order.order_id)
        elif entry.kind == "fill":
            before.append((entry.wire, dict(view.positions)))
    return found


def verdict_of_write(
    note: Note, killed: tuple[float, str] | None, grace: float, *, ready: bool, link: bool, verdict: Verdict
) -> None:
    """One order message, and what was known when it was written."""
    number = note.data["order_id"]
    if killed is not None and note.at > killed[0] + grace:
        verdict.check("INV-06", f"order id {number} was written {note.at - killed[0]:.3f} s after a kill {killed[1]}")
    elif not ready or not link:
        verdict.check(
            "INV-06", f"order id {number} was written while the {'broker link' if ready else 'link'} was down"
        )


def live_account(evidence: Evidence, verdict: Verdict) -> None:
    """INV-07."""
    if not evidence.schedule.account.startswith("U"):
        return
    sent = [
        note for note in evidence.history.of("wire") if note.data["message"] in {"place", "cancel", "global_cancel"}
    ]
    refused = any(note.data["outcome"] == "LiveTradingRefused" for note in evidence.history.of("connect_failed"))
    broken = f"{len(sent)} order messages were sent to a live account" if sent else None
    verdict.check("INV-07", broken or (None if refused or not _connected(evidence) else "a live account was accepted"))


def _connected(evidence: Evidence) -> bool:
    return bool(evidence.history.of("ready"))


def ids(evidence: Evidence, verdict: Verdict) -> None:
    """INV-08: ids of new orders rise, over restarts too."""
    seen: set[int] = set()
    highest = 0
    for note in evidence.history.of("wire"):
        if note.data["message"] != "place" or note.data["order_id"] in seen:
            continue
        number = note.data["order_id"]
        if seen:
            verdict.check("INV-08", None if number > highest else f"new order id {number} after {highest}")
        seen.add(number)
        highest = max(highest, number)


def pace(evidence: Evidence, verdict: Verdict) -> None:
    """INV-09: never more than 50 messages in a second of one connection, which is what the gateway counts."""
    if evidence.schedule.backend == "web":
        return
    window: deque[float] = deque()
    most = 0
    for note in evidence.history.of("wire"):
        if note.data["message"] == _START_API:
            window.clear()
        window.append(note.at)
        while window[0] <= note.at - 1.0:
            window.popleft()
        most = max(most, len(window))
    if most >= MESSAGES_PER_SECOND // 2:
        broken = f"{most} messages in one second" if most > MESSAGES_PER_SECOND else None
        verdict.check("INV-09", broken)


def in_time(evidence: Evidence, verdict: Verdict) -> None:
    """INV-11: every call ends in time with an answer of ours; nothing hangs, nothing is left, nothing is uncaught."""
    open_calls: dict[str, Note] = {}
    patience = {
        (agent.name, index): step.seconds
        for agent in evidence.schedule.agents
        for index, step in enumerate(agent.steps)
    }
    for note in evidence.history.of("call", "answer", "crashed"):
        if note.kind == "crashed":
            if note.data["why"] != AT_THE_END:
                open_calls.clear()
        elif note.kind == "call":
            before = open_calls.get(note.data["agent"])
            if before is not None:
                verdict.check("INV-11", f"{before.data['do']} {before.data['ref']} was never answered")
            open_calls[note.data["agent"]] = note
        else:
            call = open_calls.pop(note.data["agent"])
            verdict.check("INV-11", _late(call, note, patience, _slack(evidence, call, note)))
    for note in open_calls.values():
        verdict.check("INV-11", f"{note.data['do']} {note.data['ref']} was never answered")
    for note in evidence.history.of("incident"):
        if note.data["name"] == "unexpected_exception":
            verdict.check("INV-11", f"incident: {note.data['text']}")
    for text, what in ((evidence.hang, "hang"), ("it never was ready again" if evidence.unready else "", "end")):
        verdict.check("INV-11", f"{what}: {text}; {evidence.notes}" if text else None)
    verdict.check("INV-11", f"left behind: {evidence.leftovers}" if evidence.leftovers else None)
    verdict.check("INV-11", f"uncaught: {evidence.problems[:3]}" if evidence.problems else None)


def _slack(evidence: Evidence, call: Note, answer: Note) -> float:
    if evidence.schedule.engine == "step":
        return 0.0
    return _REAL_S + _STALLS * stalled(evidence, call.at, answer.at)


def _late(call: Note, answer: Note, patience: dict[tuple[str, int], float], slack: float = 0.0) -> str | None:
    do, took = call.data["do"], answer.at - call.at - slack
    most = _LONGEST.get(do, patience.get((call.data["agent"], call.data["index"]), 0.0) + 1.0)
    if answer.data["stuck"] or took > most:
        return f"{do} {call.data['ref']} took {took:.1f} s, at most {most:g} are allowed ({answer.data['outcome']})"
    if answer.data["outcome"] not in {"ok", "TimeoutError", *_OURS}:
        return f"{do} {call.data['ref']} raised {answer.data['outcome']}: {answer.data['text']}"
    return None


def secrets(evidence: Evidence, verdict: Verdict) -> None:
    """INV-13."""
    told = evidence.history.of("secret")
    if evidence.history.notes:
        verdict.check("INV-13", f"a secret was in {told[0].data['where']}" if told else None)


def audit(evidence: Evidence, verdict: Verdict) -> None:
    """INV-15: the trail verifies and has a line for every order message that was written."""
    import json

    if not evidence.has_journal:
        return
    verdict.check("INV-15", f"audit verify: {'; '.join(evidence.audit_problems)}" if evidence.audit_problems else None)
    sent: dict[int, int] = {}
    changes: dict[str, int] = {}
    refs: dict[int, str] = {}
    for line in evidence.audit:
        if line.kind == "sending":
            number = int(json.loads(line.data)["order_id"])
            sent[number] = sent.get(number, 0) + 1
            refs[number] = line.ref
        elif line.kind == "modify_sending":
            changes[line.ref] = changes.get(line.ref, 0) + 1
    written: dict[int, int] = {}
    for note in evidence.history.of("wire"):
        if note.data["message"] == "place":
            written[note.data["order_id"]] = written.get(note.data["order_id"], 0) + 1
    lost = lost_with_the_disk(evidence)
    for number, times in written.items():
        if number in lost:
            continue
        broken = None
        if number not in sent:
            broken = f"order id {number} was written without a line for its sending"
        elif times - 1 > changes.get(refs[number], 0):
            broken = f"{refs[number]} was changed {times - 1} times, the trail has {changes.get(refs[number], 0)}"
        verdict.check("INV-15", broken)


def flow_rules() -> tuple[Rule, ...]:
    """All of them."""
    return (limits, stopped, live_account, ids, pace, in_time, disk, secrets, audit)
