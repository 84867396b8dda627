"""Schedules over the Web API, what is seen on their wire, and each rule of theirs broken on purpose."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from ibkr_connector.orders.entries import AuditEntry
from ibkr_connector.paper.exchange.types import WEB_CLIENT_ID
from ibkr_connector.paper.faults.catalogue import KINDS, WEB
from ibkr_connector.paper.truth import TruthEntry, TruthLog
from proof.evidence import Evidence
from proof.history import History, Note
from proof.judge import judge
from proof.report import shortfalls, text
from proof.schedule import Asking, Schedule, from_json, make_schedule, to_json
from proof.tally import Tally, tally
from proof.tap_web import read_request
from proof.truthview import TruthView
from proof.web_evidence import translate
from proof.web_schedule import DOWN_S

START = datetime(2026, 11, 3, 15, 30, tzinfo=UTC)


def made(count: int) -> list[Schedule]:
    return [make_schedule(seed, engine="sockets", backend="web") for seed in range(count)]


# --- schedules --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_schedule_and_it_survives_its_json() -> None:
    assert made(30) == made(30)
    for schedule in made(100):
        assert schedule.backend == "web"
        assert from_json(to_json(schedule)) == schedule


def test_every_plan_can_be_armed_and_every_kind_of_fault_of_the_web_front_comes() -> None:
    kinds = {fault.kind for schedule in made(1_500) for fault in schedule.plan()}
    assert kinds == {name for name, kind in KINDS.items() if WEB in kind.fronts}


def test_faults_of_the_socket_are_translated_and_every_translation_is_told() -> None:
    for seed in range(300):
        before, after = make_schedule(seed, engine="sockets"), make_schedule(seed, engine="sockets", backend="web")
        assert len(after.faults) >= len(before.faults)
        changed = sum(
            (was["kind"], was.get("on")) != (now["kind"], now.get("on"))
            for was, now in zip(before.faults, after.faults, strict=False)
        )
        assert changed == len(after.moved)


def test_no_process_follows_another_sooner_than_one_can_start() -> None:
    assert all(crash.down >= DOWN_S for schedule in made(200) for crash in schedule.crashes)


def test_agents_ask_for_the_connection_before_they_order() -> None:
    for schedule in made(50):
        for agent in schedule.agents:
            for before, step in zip(agent.steps, agent.steps[1:], strict=False):
                if step.do in {"place", "bracket"} and agent.name not in {"saver", "leaver"}:
                    assert before.do == "ready"


# --- the wire ---------------------------------------------------------------------------------------------------------


def request(method: str, path: str, body: Any = None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    return f"{method} /v1/api/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def test_a_request_is_read_when_all_of_it_is_there() -> None:
    whole = request("POST", "iserver/account/DU1/orders", {"orders": [{"cOID": "a"}, {"cOID": "a.tp"}]})
    assert all(read_request(whole[:cut]) is None for cut in range(len(whole)))
    assert read_request(whole) == {"message": "place", "path": "iserver/account/DU1/orders", "refs": ["a", "a.tp"]}


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "iserver/account/DU1/order/77", {"quantity": 1}, {"message": "modify", "perm_id": 77}),
        ("DELETE", "iserver/account/DU1/order/77", None, {"message": "cancel", "perm_id": 77}),
        ("DELETE", "iserver/account/DU1/order/-1", None, {"message": "global_cancel"}),
        (
            "POST",
            "iserver/reply/ab-1",
            {"confirmed": True},
            {"message": "reply", "reply_id": "ab-1", "confirmed": True},
        ),
        (
            "POST",
            "iserver/reply/ab-1",
            {"confirmed": False},
            {"message": "reply", "reply_id": "ab-1", "confirmed": False},
        ),
        ("GET", "iserver/account/orders?force=true", None, {"message": "read"}),
        ("POST", "iserver/account/DU1/orders/whatif", {"orders": [{}]}, {"message": "read"}),
    ],
)
def test_what_a_request_is_about(method: str, path: str, body: Any, named: dict[str, Any]) -> None:
    found = read_request(request(method, path, body))
    assert found == {"path": path.partition("?")[0], **named}


# --- evidence ---------------------------------------------------------------------------------------------------------


class Run:
    """A run made by hand: one order that was asked about, accepted and works."""

    def __init__(self) -> None:
        self.evidence = Evidence(
            schedule=Schedule(
                seed=1,
                engine="sockets",
                start=START,
                speed=1.0,
                symbols=("AAPL",),
                agents=(),
                backend="web",
                asking=Asking(confirm=("o10331",)),
            ),
            history=History(time.monotonic),
            truth=TruthLog(),
            has_journal=True,
        )
        self.at = 0.0
        self.note("started", process=1)
        self.note("link", state="syncing")
        self.note("link", state="ready")
        self.note("committing", ids={"one": 5})
        self.audit("sending", "one", order_id=5)
        self.post("one", 1)
        self.truth("question", reply_id="q1", message_id="o10331", order_refs=["one"])
        self.audit("reply_sending", "one", confirmed=True, message_ids=["o10331"])
        self.reply("q1", confirmed=True)
        self.truth("accepted", client_id=WEB_CLIENT_ID, order_id=1, perm_id=900, order_ref="one", con_id=7)

    def note(self, kind: str, /, **data: Any) -> None:
        self.at += 0.2
        self.evidence.history.notes.append(Note(self.at, kind, data))

    def truth(self, kind: str, /, **fields: Any) -> None:
        assert self.evidence.truth is not None
        entries = self.evidence.truth._entries
        entries.append(TruthEntry(len(entries) + 1, START, self.at, kind, fields))

    def audit(self, kind: str, ref: str, **data: Any) -> None:
        lines = self.evidence.audit
        lines.append(AuditEntry(seq=len(lines), at="", kind=kind, ref=ref, data=json.dumps(data), prev="", hash=""))

    def post(self, ref: str, number: int) -> None:
        self.note("http", message="place", path="orders", refs=[ref])
        self.truth("http", request="place_order", order_refs=[ref], path="/v1/api/orders")
        self.received(ref, number)

    def received(self, ref: str, number: int) -> None:
        self.truth(
            "recv_place", source="web", client_id=WEB_CLIENT_ID, order_id=number, order_ref=ref, con_id=7,
            action="BUY", quantity=10, order_type="LMT", parent_id=0, symbol="AAPL",
        )  # fmt: skip

    def reply(self, reply_id: str, *, confirmed: bool) -> None:
        self.note("http", message="reply", path=f"iserver/reply/{reply_id}", reply_id=reply_id, confirmed=confirmed)
        self.truth("http", request="reply", order_refs=["one"], path=f"/v1/api/iserver/reply/{reply_id}")

    def broken(self) -> set[str]:
        translate(self.evidence)
        return {found.invariant for found in judge(self.evidence).violations}


@pytest.fixture
def run() -> Run:
    return Run()


def test_a_run_in_which_nothing_is_wrong_breaks_nothing(run: Run) -> None:
    assert run.broken() == set()
    assert run.evidence.truth is not None
    [order] = TruthView.of(run.evidence.truth.entries).orders
    assert (order.client_id, order.order_id, order.perm_id, order.is_live) == (2, 5, 900, True)
    assert [note.data["order_id"] for note in run.evidence.history.of("wire")] == [5]


def test_an_order_that_is_asked_about_does_not_work_yet(run: Run) -> None:
    assert run.evidence.truth is not None
    del run.evidence.truth._entries[-1]
    translate(run.evidence)
    [order] = TruthView.of(run.evidence.truth.entries).orders
    assert not order.is_live


def test_a_second_post_breaks_inv_01(run: Run) -> None:
    run.post("one", 2)
    assert "INV-01" in run.broken()


def test_a_post_that_only_the_gateways_log_has_twice_breaks_inv_01(run: Run) -> None:
    run.truth("http", request="place_order", order_refs=["one"], path="/v1/api/orders")
    assert run.broken() == {"INV-01"}


def test_a_request_that_arrived_twice_and_was_written_once_breaks_nothing(run: Run) -> None:
    run.received("one", 2)
    run.truth("rejected", source="web", order_ref="one", code=0, text="already registered")
    assert run.broken() == set()


def test_a_second_reply_breaks_inv_01(run: Run) -> None:
    run.reply("q1", confirmed=True)
    assert "INV-01" in run.broken()


def test_a_yes_that_the_configuration_does_not_say_breaks_inv_15(run: Run) -> None:
    run.truth("question", reply_id="q2", message_id="o163", order_refs=["one"])
    run.audit("reply_sending", "one", confirmed=True, message_ids=["o163"])
    run.reply("q2", confirmed=True)
    assert run.broken() == {"INV-15"}


def test_a_yes_without_a_line_in_the_trail_breaks_inv_15(run: Run) -> None:
    run.truth("question", reply_id="q2", message_id="o10331", order_refs=["one"])
    run.reply("q2", confirmed=True)
    assert run.broken() == {"INV-15"}


def test_a_no_needs_neither(run: Run) -> None:
    run.truth("question", reply_id="q2", message_id="o163", order_refs=["one"])
    run.reply("q2", confirmed=False)
    assert run.broken() == set()


@pytest.mark.parametrize("stop", [("killed", {"where": "here"}), ("link", {"state": "reconnecting"})])
def test_a_yes_after_a_kill_or_without_a_link_breaks_inv_06(run: Run, stop: tuple[str, dict[str, str]]) -> None:
    run.note(stop[0], **stop[1])
    run.audit("reply_sending", "one", confirmed=True, message_ids=["o10331"])
    run.truth("question", reply_id="q2", message_id="o10331", order_refs=["one"])
    run.reply("q2", confirmed=True)
    assert run.broken() == {"INV-06"}


def test_an_order_called_absent_that_the_broker_had_breaks_inv_03(run: Run) -> None:
    run.note("order", ref="one", what="never_arrived", state="not_sent")
    assert run.broken() == {"INV-03"}


def test_eleven_requests_in_a_second_break_inv_09(run: Run) -> None:
    begin = run.at + 1.0
    run.evidence.history.notes += [
        Note(begin + 0.09 * number, "http", {"message": "read", "path": "tickle"}) for number in range(11)
    ]
    assert run.broken() == {"INV-09"}


def test_an_order_nobody_committed_breaks_inv_15(run: Run) -> None:
    run.post("stray", 3)
    assert "INV-15" in run.broken()


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_report_shows_the_translations_and_asks_for_lost_answers_and_replies(run: Run) -> None:
    translate(run.evidence)
    found = tally(run.evidence)
    assert (found.posts, found.questions, found.replies) == (2, 1, 1)
    few = Tally(schedules=100, moved={"split_frames -> websocket_close": 3})
    assert "split_frames -> websocket_close" in text(few, 1.0, "web")
    missed = " ".join(shortfalls(few, "web"))
    assert "order requests without an answer" in missed
    assert "replies to questions" in missed
    assert "replies to questions" not in " ".join(shortfalls(few))


def test_dice_of_the_web_schedule_are_its_own() -> None:
    state = random.getstate()
    make_schedule(3, engine="sockets", backend="web")
    assert random.getstate() == state
