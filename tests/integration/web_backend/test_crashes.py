"""kill -9 at every step of an order that is asked about: afterwards one order known to both sides, or none.

The judge is the gateway's truth; who looks is a new program with the journal of the one that died.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.errors import OrderError
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.journal_read import JournalReader
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, settled

from .conftest import MakeWeb
from .test_orders import SETTINGS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

SECONDS = 40.0
CRASHER = Path(__file__).with_name("crasher.py")
TESTS = CRASHER.parents[2]
UNWRITTEN = {"commit 1", "write 1"}
WORKS = {"answer 2", "answered"}


async def crasher(gateway: PaperGateway, tmp_path: Path, moment: str, ref: str) -> Process:
    plan = {"url": gateway.web.url, "state_dir": str(tmp_path / "state"), "moment": moment, "ref": ref}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(CRASHER),
        json.dumps(plan),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )


async def judge(make_web: MakeWeb, gateway: PaperGateway, tmp_path: Path, ref: str) -> OrderState | None:
    """What a new program finds out; None where the journal knows nothing. Placing again must write nothing new."""
    connector = make_web(**SETTINGS)
    await connector.connect()
    known = ref in {order.ref for order in JournalReader.of(tmp_path / "state", ACCOUNT).recent()}
    state = (await settled(connector, ref, SECONDS)).state if known else None
    posts = list(gateway.truth.of("http", request="place_order"))
    assert len(posts) <= 1
    held = [one for one in gateway.exchange.open_orders(None) if one.ticket.order_ref == ref]
    assert len(held) == (1 if state is OrderState.WORKING else 0), state
    if known:
        try:
            await connector.place_limit_order("AAPL", 501, "BUY", 150, order_ref=ref, tif="GTC")
        except OrderError:
            assert state is not OrderState.WORKING
        assert gateway.truth.of("http", request="place_order") == posts
    assert JournalReader.of(tmp_path / "state", ACCOUNT).verify().ok
    return state


@pytest.mark.parametrize("moment", ["commit 1", "write 1", "answer 1", "commit 2", "write 2", "answer 2", "answered"])
async def test_killed_at_any_step_it_is_one_order_or_none(
    make_web: MakeWeb, gateway: PaperGateway, tmp_path: Path, moment: str
) -> None:
    ref = f"killed-at-{moment.replace(' ', '-')}"
    process = await crasher(gateway, tmp_path, moment, ref)
    async with asyncio.timeout(SECONDS):
        assert await process.wait() == -signal.SIGKILL
    state = await judge(make_web, gateway, tmp_path, ref)
    if moment == "commit 1":
        assert state is None
    else:
        assert state is (OrderState.WORKING if moment in WORKS else OrderState.NOT_SENT)
    assert len(gateway.truth.of("http", request="place_order")) == (0 if moment in UNWRITTEN else 1)


@pytest.mark.parametrize("request_name", ["place_order", "reply"])
async def test_killed_while_the_broker_is_silent_it_is_settled_by_what_the_broker_shows(
    make_web: MakeWeb, gateway: PaperGateway, tmp_path: Path, request_name: str
) -> None:
    gateway.inject("swallow_reply", on=request_name, for_=2.0)
    ref = f"silent-{request_name}"
    process = await crasher(gateway, tmp_path, "never", ref)
    kind: dict[str, Any] = {"place_order": {"kind": "question"}, "reply": {"kind": "accepted"}}[request_name]
    await gateway.truth.wait_for(kind["kind"], timeout=SECONDS)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    state = await judge(make_web, gateway, tmp_path, ref)
    assert state is (OrderState.WORKING if request_name == "reply" else OrderState.NOT_SENT)
