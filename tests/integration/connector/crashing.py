"""Programs that die on the road of an order, for the tests of what is known afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.orders.journal_read import JournalReader
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector

SECONDS = 30.0
CRASHER = Path(__file__).with_name("crasher.py")
TESTS = CRASHER.parents[2]


async def crasher(**plan: object) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(CRASHER),
        json.dumps(plan, default=str),
        stdin=PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )


async def crash(gateway: PaperGateway, tmp_path: Path, road: str, moment: str, port: int = 0) -> str:
    """Have a program end on its road; the order's ref."""
    ref = f"{road}-{moment.replace(' ', '-')}"
    process = await crasher(
        port=port or gateway.tws_port, state_dir=tmp_path / "state", road=road, moment=moment, ref=ref
    )
    async with asyncio.timeout(SECONDS):
        assert await process.wait() == -signal.SIGKILL
    return ref


async def restarted(gateway: PaperGateway, make: MakeConnector) -> IBKRConnector:
    connector = make(gateway.tws_port)
    await connector.connect()
    return connector


def live(gateway: PaperGateway, ref: str) -> list[int]:
    return sorted(int(o.ticket.quantity) for o in gateway.exchange.open_orders(None) if o.ticket.order_ref == ref)


def audit_is_whole(tmp_path: Path) -> None:
    assert JournalReader.of(tmp_path / "state", ACCOUNT).verify().ok
