"""The demo as a user runs it: a process that starts another one, trades over a socket, ends flat, leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEMO = [sys.executable, "-m", "ibkr_connector.cli", "demo"]
CLAIMS = 7
WAIT = 120.0


def environment(tmp_path: Path) -> dict[str, str]:
    """The user's environment, with homes of its own: what the demo writes there can be seen."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home), "TMPDIR": str(temporary)}


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *words],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        cwd=tmp_path,
        env=environment(tmp_path),
    )


def children_of(folder: Path) -> list[int]:
    """Processes that were told of a file in the folder (Linux; elsewhere nothing is known)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def assert_nothing_is_left(tmp_path: Path) -> None:
    assert list((tmp_path / "home").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert children_of(tmp_path) == []


def judged(document: dict[str, Any], claims: int = CLAIMS) -> None:
    assert document["ok"], [check for check in document["checks"] if not check["holds"]]
    assert len(document["checks"]) == claims
    assert len(document["steps"]) == 8
    assert document["fills"]
    heads = document["audit_head"]
    assert heads["start"] != heads["stop"]
    assert [len(heads[when]) for when in ("start", "stop")] == [64, 64]
    assert document["pnl"]["realized"] == pytest.approx(
        document["pnl"]["cash_after"] - document["pnl"]["cash_before"], abs=0.011
    )


def test_the_demo_ends_flat_with_every_claim_proven_and_leaves_nothing(tmp_path: Path) -> None:
    ran = run(tmp_path, "--json")
    assert ran.returncode == 0, ran.stderr
    judged(json.loads(ran.stdout))
    assert ran.stderr == ""
    assert_nothing_is_left(tmp_path)


def test_a_person_reads_the_story_with_what_was_on_the_wire(tmp_path: Path) -> None:
    ran = run(tmp_path, "--fast", "--seed", "11")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for words in (
        "Download bars of AAPL",
        "placeOrder",
        "execDetails",
        "commissionReport",
        "realised P&L",
        "audit_head at stop",
    ):
        assert words in ran.stdout
    assert "Flat, and every claim holds" in ran.stdout
    assert "FAILS" not in ran.stdout


@pytest.mark.parametrize(("words", "claims"), [((), CLAIMS + 2), (("--oauth",), CLAIMS + 3)], ids=["gateway", "oauth"])
def test_the_same_story_is_proven_over_the_web_api(tmp_path: Path, words: tuple[str, ...], claims: int) -> None:
    for extra in ("aiohttp", "cryptography", "ibind", *(("Crypto",) if words else ())):
        pytest.importorskip(extra, reason="an extra is not installed")
    ran = run(tmp_path, "--backend", "web", *words, "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    document = json.loads(ran.stdout)
    judged(document, claims)
    assert (document["backend"], document["oauth"]) == ("web", bool(words))
    assert [step["questions"] for step in document["steps"] if "questions" in step] == [["o10331"]]
    assert ran.stderr == ""
    assert_nothing_is_left(tmp_path)


@pytest.mark.shared
def test_the_demo_on_real_quotes_of_october_2013_fills_at_or_beyond_the_far_side(
    tmp_path: Path, shared_dir: Path
) -> None:
    ran = run(tmp_path, "--market", f"lean:{shared_dir / 'data' / 'lean'}", "--start", "2013-10-07T10:00", "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    document = json.loads(ran.stdout)
    judged(document)
    assert document["symbol"] == "SPY"
    assert {fill["timestamp"][:13] for fill in document["fills"]} == {"2013-10-07T14"}
    assert all(160 < fill["price"] < 175 for fill in document["fills"])


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("--market", "nowhere"), 2, "unknown market"),
        (("--market", "lean:/no/such/folder"), 2, "no/such/folder"),
        (("--symbol", "NOPE"), 2, "ContractNotFound"),
        (("--start", "noon"), 2, "start"),
        (("--oauth",), 2, "--oauth is about the Web API"),
        (("--backend", "fax"), 2, "fax"),
        (("--start", "2026-11-21T10:00"), 1, "NoMarketData"),
    ],
)
def test_a_demo_that_cannot_be_played_says_why_and_leaves_nothing(
    tmp_path: Path, words: tuple[str, ...], code: int, named: str
) -> None:
    ran = run(tmp_path, *words, "--json")
    assert ran.returncode == code, ran.stdout
    document = json.loads(ran.stdout)
    assert named in document["error"] + document["message"]
    assert "Traceback" not in ran.stderr
    assert_nothing_is_left(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [*DEMO, "--fast"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=environment(tmp_path),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Stream quotes" in line:
                break
        gateways = children_of(tmp_path)
        assert gateways
        process.send_signal(number)
        process.communicate(timeout=WAIT)
    assert process.returncode == code
    for gateway in gateways:
        wait_for_end(gateway)
    assert children_of(tmp_path) == []


def wait_for_end(pid: int) -> None:
    """Until the process is gone, by its own descriptor; the test's time limit is the deadline."""
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([descriptor], [], [], WAIT)
        assert readable, f"process {pid} goes on"
    finally:
        os.close(descriptor)
