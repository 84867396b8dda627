"""The judge finds what is wrong: each invariant broken on purpose in the evidence of a run in which nothing was."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ibkr_connector.paper.truth import TruthEntry, TruthLog
from proof.evidence import Evidence
from proof.history import AT_THE_END, Note
from proof.judge import judge
from proof.schedule import Agent, Schedule, Step
from proof.stepped import run_schedule
from proof.truthview import TruthView

CALM = Schedule(
    seed=7,
    engine="step",
    start=datetime(2026, 11, 2, 15, 30, tzinfo=UTC),
    speed=1.0,
    symbols=("AAPL", "MSFT"),
    agents=(
        Agent(
            "a0",
            0.1,
            (
                Step("place", "m1", "AAPL", "BUY", 50, "MKT"),
                Step("filled", "m1", seconds=5.0),
                Step("resend", "m1", "AAPL", "BUY", 50, "MKT", what="place"),
                Step("place", "l1", "AAPL", "BUY", 20, "LMT", 300),
                Step("modify", "l1", ticks=250),
                Step("bracket", "b1", "MSFT", "BUY", 30, "MKT", 500),
                Step("filled", "b1", seconds=5.0),
                Step("kill"),
                Step("wait", seconds=1.0),
                Step("cancel", "l1", seconds=5.0),
                Step("resume"),
                Step("place", "l2", "AAPL", "SELL", 10, "LMT", 300),
            ),
        ),
    ),
    limits={"max_position_size": 100, "max_order_size": 100, "daily_loss_limit": 100_000},
)


@pytest.fixture(scope="module")
def calm() -> Evidence:
    logger = logging.getLogger("ibkr_connector")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        return run_schedule(CALM)
    finally:
        logger.setLevel(before)


@pytest.fixture
def evidence(calm: Evidence) -> Evidence:
    """A copy to spoil."""
    assert calm.truth is not None
    truth = TruthLog()
    truth._entries = [replace(entry, fields=dict(entry.fields)) for entry in calm.truth.entries]
    history = copy.copy(calm.history)
    history.notes = [msgspec.structs.replace(note, data=dict(note.data)) for note in calm.history.notes]
    return replace(
        calm,
        truth=truth,
        history=history,
        orders=list(calm.orders),
        fills=list(calm.fills),
        checkpoints=dict(calm.checkpoints),
        **{name: copy.deepcopy(getattr(calm, name)) for name in ("settled", "final", "recovered")},
    )


def broken(evidence: Evidence) -> set[str]:
    return {found.invariant for found in judge(evidence).violations}


def entries(evidence: Evidence) -> list[TruthEntry]:
    assert evidence.truth is not None
    return evidence.truth._entries


def of(evidence: Evidence, kind: str, **match: Any) -> TruthEntry:
    return next(one for one in entries(evidence) if one.kind == kind and one.matches(match))


def note(evidence: Evidence, kind: str, **match: Any) -> int:
    found = evidence.history.notes
    return next(
        at for at, one in enumerate(found) if one.kind == kind and all(one.data.get(k) == v for k, v in match.items())
    )


def written(evidence: Evidence, ref: str) -> int:
    """Where in the history the order's first message is."""
    order_id = of(evidence, "recv_place", order_ref=ref).fields["order_id"]
    return note(evidence, "wire", message="place", order_id=order_id)


def move(evidence: Evidence, source: int, before: int) -> None:
    notes = evidence.history.notes
    moved = notes.pop(source)
    notes.insert(before, msgspec.structs.replace(moved, at=notes[before - 1].at + 0.2))


def test_nothing_is_wrong_with_a_calm_run_and_most_of_it_was_put_to_the_test(calm: Evidence) -> None:
    verdict = judge(calm)
    assert verdict.violations == []
    silent = {name for name, count in verdict.tested.items() if not count}
    assert silent <= {"INV-02", "INV-07", "INV-09", "INV-12"}


# --- one way to break each ---------------------------------------------------------------------------------------


def received_twice(evidence: Evidence) -> None:
    entry = of(evidence, "recv_place", order_ref="m1")
    entries(evidence).append(replace(entry, fields={**entry.fields, "order_id": 99}))


def never_committed(evidence: Evidence) -> None:
    evidence.audit = [line for line in evidence.audit if not (line.ref == "l1" and line.kind == "sending")]


def fork_not_told(evidence: Evidence) -> None:
    entry = of(evidence, "accepted", order_ref="l1")
    fields = {**entry.fields, "perm_id": 4242}
    entries(evidence).insert(entries(evidence).index(entry) + 1, replace(entry, kind="forked", fields=fields))


def works_on_unknown(evidence: Evidence) -> None:
    entries(evidence)[:] = [
        one
        for one in entries(evidence)
        if not (one.fields.get("order_ref") == "l2" and one.fields.get("status") in {"PendingCancel", "Cancelled"})
    ]
    evidence.checkpoints = {}


def open_for_ever(evidence: Evidence) -> None:
    assert evidence.final is not None
    evidence.final.orders["l1"] = replace(evidence.final.orders["l1"], state="working", is_done=False)
    assert evidence.recovered is not None
    evidence.recovered.orders["l1"] = evidence.final.orders["l1"]


def lost_fill(evidence: Evidence) -> None:
    evidence.fills.pop()


def wrong_price(evidence: Evidence) -> None:
    evidence.fills[0] = replace(evidence.fills[0], price=evidence.fills[0].price + 1)


def invented_fill(evidence: Evidence) -> None:
    evidence.fills.append(replace(evidence.fills[0], exec_id="ffff.ffff.01.01"))


def too_much(evidence: Evidence) -> None:
    of(evidence, "recv_place", order_ref="l1").fields["quantity"] = Decimal(51)


def written_after_kill(evidence: Evidence) -> None:
    move(evidence, written(evidence, "l2"), note(evidence, "resumed"))


def written_without_link(evidence: Evidence) -> None:
    at = written(evidence, "m1")
    evidence.history.notes.insert(at, Note(evidence.history.notes[at].at, "broker_link", {"up": False}))


def written_without_connection(evidence: Evidence) -> None:
    at = written(evidence, "m1")
    link = {"state": "reconnecting", "previous": "ready", "reason": ""}
    evidence.history.notes.insert(at, Note(evidence.history.notes[at].at, "link", link))


def live_account(evidence: Evidence) -> None:
    evidence.schedule = msgspec.structs.replace(evidence.schedule, account="U1")


def ids_fall(evidence: Evidence) -> None:
    evidence.history.notes[written(evidence, "l2")].data["order_id"] = 1


def burst(evidence: Evidence) -> None:
    at = evidence.history.notes[-1].at
    wire = {"message": "49", "order_id": 0, "client_id": 2}
    evidence.history.notes += [Note(at + number / 100, "wire", wire) for number in range(60)]


def test_messages_are_counted_per_connection(evidence: Evidence) -> None:
    at = evidence.history.notes[-1].at
    for number in range(60):
        message = "71" if number == 30 else "49"
        wire = {"message": message, "order_id": 0, "client_id": 2}
        evidence.history.notes.append(Note(at + number / 100, "wire", wire))
    assert broken(evidence) == set()


def naked(evidence: Evidence) -> None:
    stop = of(evidence, "accepted", order_ref="b1.sl").fields
    entries(evidence).insert(
        evidence.checkpoints["settled"] - 1,
        TruthEntry(0, CALM.start, 0.0, "status", {**stop, "status": "Cancelled", "filled": "0", "remaining": "0"}),
    )


def late_answer(evidence: Evidence) -> None:
    at = note(evidence, "answer", do="place", ref="l2")
    evidence.history.notes[at] = msgspec.structs.replace(
        evidence.history.notes[at], at=evidence.history.notes[at].at + 60
    )


def no_answer(evidence: Evidence) -> None:
    del evidence.history.notes[note(evidence, "answer", do="place", ref="l2")]


def strange_exception(evidence: Evidence) -> None:
    evidence.history.notes[note(evidence, "answer", do="place", ref="l2")].data["outcome"] = "AttributeError"


def leak(evidence: Evidence) -> None:
    evidence.leftovers = ["task cancel l1"]


def hang(evidence: Evidence) -> None:
    evidence.hang = "waiting: everybody"


def written_to_a_full_disk(evidence: Evidence) -> None:
    at = written(evidence, "l1")
    evidence.history.notes.insert(1, Note(evidence.history.notes[at].at - 5, "disk", {"full": True}))


def reducing_refused_for_the_disk(evidence: Evidence) -> None:
    evidence.history.notes[note(evidence, "answer", do="place", ref="l2")].data["outcome"] = "JournalUnwritable"
    (received,) = (one for one in entries(evidence) if one.kind == "recv_place" and one.fields["order_ref"] == "l2")
    assert evidence.truth is not None
    number = received.fields["order_id"]
    evidence.truth._entries = [one for one in entries(evidence) if one.fields.get("order_id") != number]


def lost_with_the_disk_and_sent_again(evidence: Evidence) -> None:
    at = written(evidence, "l2")
    now = evidence.history.notes[at].at
    evidence.history.notes[at:at] = [Note(now, "disk", {"full": True})]
    evidence.history.notes[at + 2 : at + 2] = [Note(now, "crashed", {"why": AT_THE_END})]
    evidence.audit = [line for line in evidence.audit if line.ref != "l2"]
    entries(evidence).append(of(evidence, "recv_place", order_ref="l2"))


def cancel_refused_for_the_disk(evidence: Evidence) -> None:
    evidence.history.notes[note(evidence, "answer", do="cancel")].data["outcome"] = "JournalUnwritable"


def secret(evidence: Evidence) -> None:
    evidence.history.notes.append(Note(2_000.0, "secret", {"where": "Incident"}))


def other_state_after_crash(evidence: Evidence) -> None:
    assert evidence.recovered is not None
    evidence.recovered.orders["m1"] = replace(evidence.recovered.orders["m1"], filled=Decimal(49))


def other_positions_after_crash(evidence: Evidence) -> None:
    evidence.recovered = replace(evidence.recovered, positions={}) if evidence.recovered else None


def trail_broken(evidence: Evidence) -> None:
    evidence.audit_problems = ("line 3 does not fit",)


def change_without_line(evidence: Evidence) -> None:
    evidence.audit = [line for line in evidence.audit if line.kind != "modify_sending"]


@pytest.mark.parametrize(
    ("spoil", "invariant"),
    [
        (received_twice, "INV-01"),
        (never_committed, "INV-01"),
        (fork_not_told, "INV-02"),
        (works_on_unknown, "INV-03"),
        (open_for_ever, "INV-03"),
        (lost_fill, "INV-04"),
        (wrong_price, "INV-04"),
        (invented_fill, "INV-04"),
        (too_much, "INV-05"),
        (written_after_kill, "INV-06"),
        (written_without_link, "INV-06"),
        (written_without_connection, "INV-06"),
        (live_account, "INV-07"),
        (ids_fall, "INV-08"),
        (burst, "INV-09"),
        (naked, "INV-10"),
        (late_answer, "INV-11"),
        (no_answer, "INV-11"),
        (strange_exception, "INV-11"),
        (leak, "INV-11"),
        (hang, "INV-11"),
        (written_to_a_full_disk, "INV-12"),
        (reducing_refused_for_the_disk, "INV-12"),
        (lost_with_the_disk_and_sent_again, "INV-01"),
        (cancel_refused_for_the_disk, "INV-12"),
        (secret, "INV-13"),
        (other_state_after_crash, "INV-14"),
        (other_positions_after_crash, "INV-14"),
        (trail_broken, "INV-15"),
        (never_committed, "INV-15"),
        (change_without_line, "INV-15"),
    ],
)
def test_what_is_broken_is_found(evidence: Evidence, spoil: Callable[[Evidence], None], invariant: str) -> None:
    spoil(evidence)
    assert invariant in broken(evidence)


@pytest.mark.parametrize(("seconds_later", "found"), [(-0.1, True), (0.1, False)])
def test_reducing_order_is_refused_in_vain_once_the_executions_of_other_exits_are_here(
    evidence: Evidence, seconds_later: float, found: bool
) -> None:
    """An exit of 35 out of 50 has filled: room for 15, and none for 10 while the fill is known by halves."""
    called = evidence.history.notes[note(evidence, "call", do="place", ref="l2")].at
    exit_ = {"order_ref": "x1", "order_id": 77, "perm_id": 777, "quantity": Decimal(35)}
    sent, filled = of(evidence, "recv_place", order_ref="l2"), of(evidence, "fill", order_ref="m1")
    at = next(number for number, one in enumerate(entries(evidence)) if one.wire >= called)
    reducing_refused_for_the_disk(evidence)
    entries(evidence)[at:at] = [
        replace(sent, wire=called - 1, fields={**sent.fields, **exit_}),
        replace(filled, wire=called - 0.2, fields={**filled.fields, **exit_, "side": "SLD", "cum_qty": Decimal(35)}),
    ]
    evidence.history.notes.append(Note(called + seconds_later, "order", {"ref": "x1", "what": "fill", "state": ""}))
    assert ("INV-12" in broken(evidence)) is found


def cancelled_unsent(evidence: Evidence, at: int) -> None:
    """A cancel of l2 that says that nothing was sent. l2 works until the end."""
    about = {"agent": "other", "index": 0, "do": "cancel", "ref": "l2"}
    moment = evidence.history.notes[at - 1].at
    answer = Note(moment, "answer", {**about, "outcome": "ok", "text": "", "state": "not_sent", "stuck": False})
    evidence.history.notes[at:at] = [Note(moment, "call", about), answer]


def test_cancel_of_an_order_that_was_not_sent_is_not_owed_by_the_next_one_of_that_name(evidence: Evidence) -> None:
    cancelled_unsent(evidence, note(evidence, "call", do="place", ref="l2"))
    assert broken(evidence) == set()


@pytest.mark.parametrize("when", ["on its way", "sent"])
def test_cancel_that_says_unsent_of_what_is_sent_all_the_same_is_forgotten(evidence: Evidence, when: str) -> None:
    cancelled_unsent(evidence, written(evidence, "l2") + (1 if when == "sent" else 0))
    assert "INV-03" in broken(evidence)


def test_cancel_that_was_not_answered_stays_owed(evidence: Evidence) -> None:
    cancelled_unsent(evidence, note(evidence, "call", do="place", ref="l2"))
    del evidence.history.notes[note(evidence, "answer", do="cancel", ref="l2")]
    assert "INV-03" in broken(evidence)


def test_positions_and_open_orders_of_the_truth_add_up(calm: Evidence) -> None:
    assert calm.truth is not None
    view = TruthView.of(list(calm.truth.entries)[: calm.checkpoints["settled"]])
    assert sorted(view.positions.values()) == [30, 50]
    assert {order.ref for order in view.orders if order.is_live} == {"l2", "b1.tp", "b1.sl"}
    assert not any(order.is_live for order in TruthView.of(calm.truth.entries).orders)
