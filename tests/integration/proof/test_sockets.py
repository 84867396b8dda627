"""One schedule over TCP with processes that are killed, and its recorded history spoiled for the judge."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proof.evidence import Evidence
from proof.history import AT_THE_END
from proof.judge import judge
from proof.run import main
from proof.schedule import Agent, Crash, Schedule, Step
from proof.sockets import SocketRun
from proof.sockets_files import TRUTH, history_file, read_evidence

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs one clock for all processes, and /proc"),
    pytest.mark.timeout(300),
]

CRASHING = Schedule(
    seed=4711,
    engine="sockets",
    start=datetime(2026, 11, 2, 15, 30, tzinfo=UTC),
    speed=1.0,
    symbols=("AAPL", "MSFT", "IBM"),
    agents=(
        Agent(
            "a0",
            0.0,
            (
                Step("place", "m1", "AAPL", "BUY", 50, "MKT"),
                Step("filled", "m1", seconds=5.0),
                Step("place", "l1", "AAPL", "BUY", 20, "LMT", 300),
                Step("modify", "l1", ticks=250),
            ),
        ),
        Agent(
            "a1",
            0.2,
            (
                Step("bracket", "b1", "MSFT", "BUY", 30, "MKT", 500),
                Step("kill_elsewhere"),
                Step("resume"),
                Step("place", "l2", "IBM", "BUY", 10, "LMT", 300),
                Step("kill"),
                Step("resume"),
                Step("cancel", "l2", seconds=5.0),
            ),
        ),
        Agent("a2", 1.0, (Step("read", what="positions"), Step("read", what="executions"))),
    ),
    faults=({"kind": "late_commission", "nth": 1, "delay": 0.5, "times": 1},),
    crashes=(Crash("after_write", nth=1, down=0.1), Crash("after_commit", nth=2, down=0.1)),
    limits={"max_position_size": 100, "max_order_size": 100, "daily_loss_limit": 100_000},
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that crashed twice on its way, beside another program in the account."""
    folder = tmp_path_factory.mktemp("sockets")
    SocketRun(CRASHING, folder, stranger=True).run()
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(recorded, tmp_path / "run")


def test_run_with_two_kills_on_the_order_road_breaks_nothing_and_shows_what_it_should(recorded: Path) -> None:
    evidence = read_evidence(recorded)
    verdict = judge(evidence)
    assert verdict.violations == []
    assert evidence.hang == ""
    assert [note.data["why"] for note in evidence.history.of("crashed")] == [
        "after_write",
        "after_commit",
        AT_THE_END,
    ]
    assert history_file(recorded, 4).exists()
    assert not history_file(recorded, 5).exists()
    silent = {name for name, count in verdict.tested.items() if not count}
    assert silent <= {"INV-02", "INV-07", "INV-09", "INV-10", "INV-12"}
    # Refused while a process of ours lives; let in, for a moment, if it came between two of them.
    assert {note.data["what"] for note in evidence.history.of("stranger")} - {"holds"} <= {
        "refused",
        "released",
        "done",
    }
    assert evidence.history.of("stranger")[-1].data["what"] == "done"
    assert {note.data["where"] for note in evidence.history.of("killed")} == {"here", "elsewhere"}
    assert {"settled", "cancelled"} == set(evidence.checkpoints)
    assert evidence.final is not None
    assert {"m1", "b1", "l2"} <= set(evidence.final.orders)
    assert evidence.final.orders["m1"].state == "filled"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write(path: Path, found: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in found), "utf-8")


def received_twice(folder: Path) -> None:
    truth = lines(folder / TRUTH)
    first = next(line for line in truth if line["kind"] == "recv_place" and line["order_ref"] == "m1")
    write(folder / TRUTH, [*truth, {**first, "order_id": 999}])


def written_after_a_kill(folder: Path) -> None:
    path = next(
        path for path in sorted(folder.glob("history-*.jsonl")) if any(n["kind"] == "killed" for n in lines(path))
    )
    notes = lines(path)
    at = max(note["at"] for note in notes if note["kind"] == "killed") + 0.101
    late = {"at": at, "kind": "wire", "data": {"message": "place", "order_id": 998, "client_id": 2}}
    notes = [note for note in notes if note["kind"] not in {"resumed", "stalled"}]
    write(path, [*notes, late])


def fill_lost(folder: Path) -> None:
    write(folder / TRUTH, [{**n, "price": "1.23"} if n["kind"] == "fill" else n for n in lines(folder / TRUTH)])


def other_after_restart(folder: Path) -> None:
    path = history_file(folder, 4)
    notes = lines(path)
    for note in notes:
        if note["kind"] == "picture":
            picture = json.loads(note["data"]["picture"])
            picture["orders"]["m1"]["state"] = "working"
            note["data"]["picture"] = json.dumps(picture)
    write(path, notes)


def never_answered(folder: Path) -> None:
    path = history_file(folder, 3)
    write(path, [note for note in lines(path) if note["kind"] != "answer"])


@pytest.mark.parametrize(
    ("spoil", "invariant"),
    [
        (received_twice, "INV-01"),
        (written_after_a_kill, "INV-06"),
        (fill_lost, "INV-04"),
        (other_after_restart, "INV-14"),
        (never_answered, "INV-11"),
    ],
)
def test_planted_violation_is_found_in_the_recorded_files(
    folder: Path, spoil: Callable[[Path], None], invariant: str
) -> None:
    spoil(folder)
    assert invariant in {found.invariant for found in judge(read_evidence(folder)).violations}


def test_command_judges_a_kept_folder_and_ends_with_1_for_a_violation(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--judge", str(folder)]) == 0
    fill_lost(folder)
    assert main(["--judge", str(folder)]) == 1
    assert "VIOLATION  seed 4711  INV-04" in capsys.readouterr().out


def test_process_that_ends_by_itself_is_a_hang_and_not_taken_for_a_crash(tmp_path: Path) -> None:
    schedule = msgspec.structs.replace(CRASHING, limits={"no_such_limit": 1})
    SocketRun(schedule, tmp_path, stranger=False).run()
    evidence: Evidence = read_evidence(tmp_path)
    assert "ended by itself" in evidence.hang
    assert "INV-11" in {found.invariant for found in judge(evidence).violations}
