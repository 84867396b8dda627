"""One schedule over the Web API with processes that are killed, answers that get lost, and questions; then spoiled."""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("ibind")

from proof.canaries_web import all_web_canaries, hunt_on_web, text
from proof.history import AT_THE_END
from proof.judge import judge
from proof.report import shortfalls
from proof.schedule import Agent, Asking, Crash, Schedule, Step
from proof.sockets import SocketRun
from proof.sockets_files import TRUTH, read_evidence
from proof.tally import tally

pytestmark = [
    pytest.mark.skipif(
        "IBKR_TEST_LONG" not in os.environ,
        reason="waits three minutes for limits of so many seconds; CI runs `./dev faults --backend web` instead",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="needs one clock for all processes, and /proc"),
    pytest.mark.timeout(400),
]

LOSSY = Schedule(
    seed=4712,
    engine="sockets",
    start=datetime(2026, 11, 2, 15, 30, tzinfo=UTC),
    speed=1.0,
    symbols=("AAPL", "MSFT"),
    agents=(
        Agent(
            "a0",
            0.0,
            (
                Step("place", "m1", "AAPL", "BUY", 20, "MKT"),
                Step("filled", "m1", seconds=5.0),
                Step("place", "l1", "AAPL", "BUY", 20, "LMT", 300),
                Step("ready", seconds=30.0),
                Step("modify", "l1", ticks=250),
            ),
        ),
        Agent("a1", 0.5, (Step("bracket", "b1", "MSFT", "BUY", 10, "MKT", 500), Step("cancel", "b1", seconds=3.0))),
    ),
    faults=(
        {"kind": "reset_after_write", "on": "place_order", "nth": 2, "front": "web"},
        {"kind": "swallow_reply", "on": "reply", "nth": 2, "for": 2.0, "front": "web"},
    ),
    crashes=(Crash("after_write", nth=2, down=1.2),),
    limits={"max_position_size": 100, "max_order_size": 100, "daily_loss_limit": 100_000},
    backend="web",
    asking=Asking(always=("o10151", "o10331"), confirm=("o10151", "o10331", "o451", "o163")),
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, beside another program that trades the account over the other front."""
    folder = tmp_path_factory.mktemp("web")
    SocketRun(LOSSY, folder, stranger=True).run()
    return folder


def test_lost_answers_and_a_kill_on_the_order_road_break_nothing(recorded: Path) -> None:
    evidence = read_evidence(recorded)
    assert judge(evidence).violations == []
    assert evidence.hang == ""
    assert [note.data["why"] for note in evidence.history.of("crashed")] == ["after_write", AT_THE_END]
    found = tally(evidence)
    assert found.lost >= 1
    assert found.replies >= 1
    assert evidence.history.of("stranger")[-1].data["what"] == "done"
    assert shortfalls(found, "web") == []


def test_a_second_post_in_the_truth_is_found(recorded: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(recorded, tmp_path / "run")
    lines = (folder / TRUTH).read_text("utf-8").splitlines()
    first = next(line for line in lines if json.loads(line)["kind"] == "http")
    (folder / TRUTH).write_text("".join(f"{line}\n" for line in [*lines, first]), "utf-8")
    assert {found.invariant for found in judge(read_evidence(folder)).violations} == {"INV-01"}


def test_a_planted_bug_is_caught() -> None:
    assert {"second_post", "second_reply", "list_without_snapshot"} <= set(all_web_canaries())
    [caught] = hunt_on_web(["second_reply"], library="auto", at_once=1)
    assert caught.invariant == "INV-01"
    assert "1 of 1" in text([caught])
