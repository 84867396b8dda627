"""What the processes of a run write is what the judge reads: cut lines, memories, plans, truth."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import BracketRequest, OrderRequest, OrderType
from ibkr_connector.paper.faults.plan import parse_plan
from ibkr_connector.paper.truth import TruthLog
from proof.evidence import Evidence, OrderPicture, Picture
from proof.history import History, Note
from proof.judge_sockets import one_holder
from proof.schedule import make_schedule, to_json
from proof.sockets_files import (
    OUTSIDE,
    SCHEDULE,
    FileHistory,
    history_file,
    open_memory,
    read_evidence,
    read_notes,
    read_truth,
    to_toml,
)
from proof.verdict import Verdict

SOME = range(150)


def request(ref: str, action: str = "BUY", **more: object) -> OrderRequest:
    return OrderRequest.make(
        contract=Contract.stock("AAPL"), quantity=10, action=action, order_ref=ref, agent="a0", **more
    )


def test_a_line_cut_off_by_a_kill_is_left_out_and_the_lines_before_it_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = FileHistory(path)
    history.add("call", ref="one")
    history.add("call", ref="two")
    history.close()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert [note.data["ref"] for note in read_notes(path)] == ["one", "two"][: whole[:length].count(b"\n")]


def test_notes_of_all_processes_are_judged_in_the_order_of_their_times(tmp_path: Path) -> None:
    (tmp_path / SCHEDULE).write_bytes(to_json(make_schedule(1, engine="sockets")))
    for name, stamps in ((tmp_path / OUTSIDE, (1.0, 4.0)), (history_file(tmp_path, 1), (2.0, 3.0, 5.0))):
        lines = [msgspec.json.encode(Note(at, "call", {"at": at})) for at in stamps]
        name.write_bytes(b"\n".join(lines) + b"\n")
    assert [note.at for note in read_evidence(tmp_path).history.notes] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_pictures_hangs_and_counts_come_back_as_what_they_were(tmp_path: Path) -> None:
    (tmp_path / SCHEDULE).write_bytes(to_json(make_schedule(1, engine="sockets")))
    order = OrderPicture("filled", Decimal(10), 7, (3, 4), (("e.1", Decimal(10), Decimal("1.5")),), False, True)
    picture = Picture({"a0-0": order}, {265598: Decimal(-10)}, "active")
    history = FileHistory(tmp_path / OUTSIDE)
    history.add("picture", name="final", picture=msgspec.json.encode(picture).decode())
    history.add("counted", name="settled", entries=12)
    history.add("hang", text="nobody moved")
    history.add("unready")
    history.add("leftover", text="thread ibkr-x")
    history.add("problem", text="boom")
    history.add("lasted", wire=2.5, market=50.0)
    history.close()
    found = read_evidence(tmp_path)
    assert found.final == picture
    assert found.checkpoints == {"settled": 12}
    assert (found.hang, found.unready) == ("nobody moved", True)
    assert (found.leftovers, found.problems) == (["thread ibkr-x"], ["boom"])
    assert (found.wire_seconds, found.market_seconds) == (2.5, 50.0)
    assert found.history.notes == []


def test_agents_remember_what_they_asked_for_and_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "memory.jsonl"
    bracket = BracketRequest(
        entry=request("b"),
        take_profit=request("b.tp", "SELL", order_type=OrderType.LIMIT, limit_price=Decimal("12.30")),
        stop_loss=request("b.sl", "SELL", order_type=OrderType.STOP, stop_price=Decimal("8.1"), tif="GTC"),
    )
    memory = open_memory(path)
    memory.requests["p"] = request("p")
    memory.next["a0"] = 0
    memory.requests["b"] = bracket
    memory.next["a0"] = 3
    with path.open("ab") as file:
        file.write(b'{"agent": "a0", "ne')
    again = open_memory(path)
    assert dict(again.requests) == {"p": request("p"), "b": bracket}
    assert dict(again.next) == {"a0": 3}


def test_every_plan_survives_its_way_through_the_gateways_file() -> None:
    for seed in SOME:
        schedule = make_schedule(seed, engine="sockets")
        assert parse_plan(to_toml(schedule.faults)) == schedule.plan()


def test_schedules_for_real_time_are_over_soon() -> None:
    for seed in SOME:
        schedule = make_schedule(seed, engine="sockets")
        assert schedule.engine == "sockets"
        assert schedule.lasts <= 30
        assert len(schedule.agents) <= 14
        for agent in schedule.agents:
            assert agent.start <= 12
            assert all(step.seconds <= 12 for step in agent.steps)


def test_truth_read_from_a_file_is_the_truth_that_was_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with TruthLog(path) as truth:
        at = datetime(2026, 11, 2, 15, tzinfo=UTC)
        truth.record("fill", at=at, exec_id="0001.01", quantity=Decimal(10), price=Decimal("1.50"), con_id=7)
        truth.record("recv_place", at=at, order_ref="12", quantity=Decimal(5), limit_price=None, transmit=True)
        truth.record("fault", at=at, fault="slow", orders=[{"phase": "new", "order_id": 3}])
    assert read_truth(path).entries == truth.entries


@pytest.mark.parametrize(
    ("kinds", "broken", "checks"),
    [
        (["ready", "refused"], 0, 1),
        (["ready", "holds"], 1, 1),
        (["ready", "crashed", "holds"], 0, 1),
        (["ready", "crashed", "holds", "ready", "refused"], 0, 2),
        (["ready", "failed"], 0, 0),
    ],
)
def test_a_second_holder_of_the_journal_is_seen(kinds: list[str], broken: int, checks: int) -> None:
    history = History(lambda: 0.0)
    for kind in kinds:
        if kind in {"ready", "crashed"}:
            history.add(kind)
        else:
            history.add("stranger", what=kind)
    verdict = Verdict()
    one_holder(Evidence(schedule=make_schedule(1, engine="sockets"), history=history), verdict)
    assert (len(verdict.violations), verdict.tested["INV-01"]) == (broken, checks)
