"""Ctrl-C and SIGTERM, as a process gets them: whoever leaves is told of the orders that live on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ibkr_connector.testing import HostedGateway

PROGRAM = [sys.executable, "-m", "ibkr_connector.cli"]
WAIT = 60.0
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


def interrupted(
    gateway: HostedGateway, tmp_path: Path, number: signal.Signals, *words: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that places an order and waits, and send it the signal once the order is at the gateway."""
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "IBKR_STATE_DIR": str(tmp_path / "state"),
        "IBKR_PORT": str(gateway.tws_port),
    }
    with subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as process:
        pause = threading.Event()
        for _ in range(int(WAIT / 0.05)):
            if gateway.truth.of("recv_place") or process.poll() is not None:
                break
            pause.wait(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=WAIT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


ORDER = ("buy", "AAPL", "1", "--limit", "100", "--ref", "left.1", "--wait", "60")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_leaves_the_wait_for_an_order_is_told_its_ref(
    gateway: HostedGateway, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    ran = interrupted(gateway, tmp_path, number, *ORDER)
    assert ran.returncode == code
    assert ran.stdout == ""
    assert "interrupted" in ran.stderr
    assert "left.1" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_in_json_the_interruption_is_a_document_with_the_order(gateway: HostedGateway, tmp_path: Path) -> None:
    ran = interrupted(gateway, tmp_path, signal.SIGINT, *ORDER, "--json")
    assert ran.returncode == 130
    document = json.loads(ran.stdout)
    assert document["error"] == "Interrupted"
    assert document["exit_code"] == 130
    assert document["outcome"] == "unknown"
    assert "left.1" in document["message"]
    assert {order["order_ref"] for order in document["orders"]} <= {"left.1"}
    assert [line for line in ran.stderr.splitlines() if not line.startswith("audit_head of ")] == []
