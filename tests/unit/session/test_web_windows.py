"""What one program asked of the Web API counts for the next one, and an odd file changes nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.clock import system_clock
from ibkr_connector.resilience import Pacer
from ibkr_connector.resilience.queues import Wait
from ibkr_connector.resilience.web_rules import request, web_rules
from ibkr_connector.session.webwindows import SharedWindows

WHERE = "127.0.0.1:5000"
ORDERS = request("GET", "iserver/account/orders")
SUMMARY = request("GET", "portfolio/DU1/summary")


def pacer() -> Pacer:
    return Pacer(web_rules(oauth=False, messages_per_second=10, cancel_reserve=2))


def must_wait(core: Pacer) -> float:
    """Seconds until live orders may be asked for."""
    now = system_clock.monotonic()
    answer = core.reserve(now, ORDERS)
    return answer.until - now if isinstance(answer, Wait) else 0.0


async def asked(folder: Path) -> None:
    """A program asks for live orders, and ends."""
    shared = SharedWindows(folder, WHERE, system_clock)
    shared.sent(ORDERS)
    shared.sent(SUMMARY)  # has no slow limit
    await asyncio.gather(*shared._saving)


async def test_the_next_program_waits_for_what_the_last_one_asked(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    await asked(folder)
    core = pacer()
    assert must_wait(core) == 0.0
    core = pacer()
    await SharedWindows(folder, WHERE, system_clock).heed(core, ORDERS)
    assert 4.0 < must_wait(core) <= 5.1
    (file,) = folder.iterdir()
    assert list(json.loads(file.read_text())["asked"]) == ["web-orders"]
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_program_s_own_requests_are_not_counted_twice(tmp_path: Path) -> None:
    core, shared = pacer(), SharedWindows(tmp_path, WHERE, system_clock)
    shared.sent(ORDERS)
    await asyncio.gather(*shared._saving)
    await shared.heed(core, ORDERS)
    assert must_wait(core) == 0.0  # its own pacer has counted it


async def test_another_gateway_s_requests_do_not_count(tmp_path: Path) -> None:
    await asked(tmp_path)
    core = pacer()
    await SharedWindows(tmp_path, "127.0.0.1:5001", system_clock).heed(core, ORDERS)
    assert must_wait(core) == 0.0


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense",
        b"[]",
        b'{"version": 2, "asked": {"web-orders": 1}}',
        b'{"version": 1, "asked": [1]}',
        b'{"version": 1, "asked": {"web-orders": "now"}}',
        b'{"version": 1, "asked": {"web-orders": 1e300}}',
    ],
)
async def test_a_file_of_another_kind_changes_nothing_and_is_replaced(tmp_path: Path, said: bytes) -> None:
    shared = SharedWindows(tmp_path, WHERE, system_clock)
    shared._file.path.write_bytes(said)
    core = pacer()
    await shared.heed(core, ORDERS)
    assert must_wait(core) == 0.0
    await asked(tmp_path)
    assert "web-orders" in json.loads(shared._file.path.read_text())["asked"]


@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)])
async def test_a_time_far_from_now_changes_nothing(tmp_path: Path, off: timedelta) -> None:
    shared = SharedWindows(tmp_path, WHERE, system_clock)
    at = (system_clock.now() + off).timestamp()
    shared._file.write({"version": 1, "asked": {"web-orders": at}})
    core: Any = pacer()
    await shared.heed(core, ORDERS)
    assert must_wait(core) == 0.0
