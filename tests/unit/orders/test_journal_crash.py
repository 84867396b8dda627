"""The journal against kill -9, power loss, a full disk and programs that just end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ibkr_connector.backends.facts import Operation
from ibkr_connector.clock import ManualClock
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.recover import recover
from unit.orders.durable_vfs import library
from unit.orders.kit import ACCOUNT, CLIENT_ID, ORDER_ID, REF, UP, d

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

CHILD = Path(__file__).with_name("journal_child.py")
STEPS = ("commit", "ack", "executed", "change", "cancel", "flush")
TESTS = Path(__file__).resolve().parents[2]


def child(*arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
    )


def run(*arguments: object, code: int = 0) -> list[str]:
    with child(*arguments) as process:
        output, _ = process.communicate(timeout=50)
    assert process.returncode == code
    return output.splitlines()


def reopened(state_dir: Path) -> tuple[list[OrderRecord], Journal]:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(), threaded=False)
    return [recover(order, UP)[0] for order in journal.load()], journal


@pytest.mark.parametrize("during", [False, True], ids=["between steps", "in a step"])
@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_kill_9_at_any_step_loses_nothing_that_was_committed(tmp_path: Path, done: int, during: bool) -> None:
    with child("steps", tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for step in STEPS[:done]:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline().strip() == step
        if done == 0 and not during:
            process.stdin.write("\n")  # at least the journal exists
            process.stdin.flush()
            process.stdout.readline()
        if during and done < len(STEPS):
            process.stdin.write("\n")
            process.stdin.flush()
        process.send_signal(signal.SIGKILL)
        process.wait(20)

    records, journal = reopened(tmp_path)
    try:
        assert journal.verify().ok
        assert len(records) == 1 or (during and done == 0 and not records)
        assert journal.high_water(CLIENT_ID) == (ORDER_ID if records else 0)
        for record in records:
            assert record.ref == REF
            assert record.state in (OrderState.IN_DOUBT, OrderState.WORKING, *_LATER)
            assert record.in_doubt or done in (2, 3, 1)
            if done >= STEPS.index("change") + 1:
                assert Operation.MODIFY in record.doubts
                assert record.open_quantity + record.filled == d(150)
            if done == len(STEPS):
                assert (record.filled, record.state) == (d(30), OrderState.PENDING_CANCEL)
                assert set(record.doubts) == {Operation.MODIFY, Operation.CANCEL}
    finally:
        journal.close()


_LATER = (OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL)


@pytest.mark.skipif(library() is None, reason="SQLite's file layer cannot be reached in this Python")
@pytest.mark.parametrize(
    ("variant", "second", "first"),
    [("as-is", True, True), ("synchronous-off", False, False), ("commit-after-write", False, True)],
)
def test_power_loss_at_the_socket_write_keeps_the_order_and_the_test_can_fail(
    tmp_path: Path, variant: str, second: bool, first: bool
) -> None:
    """As it is, the order is there. With the two planted bugs it is not: so this test would notice them."""
    state, copies, saved = (tmp_path / name for name in ("state", "copies", "saved"))
    (line,) = run("power", state, copies, saved, variant)
    assert line.startswith("saved")
    saved.mkdir(exist_ok=True)
    records, journal = reopened(saved)
    found = {record.ref: record for record in records}
    journal.close()
    assert ("SECOND" in found) is second
    assert ("FIRST" in found) is first
    if second:
        assert found["SECOND"].state is OrderState.IN_DOUBT
        # Written behind before the second commit, and made durable by it.
        assert found["FIRST"].state is OrderState.WORKING


def test_a_full_disk_refuses_orders_tells_once_and_recovers_with_nothing_lost(tmp_path: Path) -> None:
    lines = run("full", tmp_path)
    assert lines[0] == "refused JournalUnwritable False"
    assert lines[1] == "troubles JournalUnwritable"
    recovered, writable, number = lines[2].split()
    assert (recovered, writable) == ("recovered", "True")
    records, journal = reopened(tmp_path)
    found = {record.ref: record for record in records}
    assert journal.verify().ok
    journal.close()
    assert found["BEFORE"].filled == d(30)  # recorded while the disk was full
    assert f"R{number}" not in found
    assert f"R{int(number) - 1}" in found
    assert "AFTER" in found


@pytest.mark.parametrize(("how", "code"), [("return", 0), ("raise", 3)])
def test_a_program_that_ends_without_closing_ends_and_loses_nothing(tmp_path: Path, how: str, code: int) -> None:
    run("leave", tmp_path, how, code=code)
    (record,), journal = reopened(tmp_path)
    journal.close()
    assert record.filled == d(30)
