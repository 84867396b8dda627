"""Loss of power the moment an order is on the wire: what had reached the disk by then knows of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_connector.backends.facts import Operation
from ibkr_connector.clock import ManualClock
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.recover import replayed
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, arrived, settled
from support.proxy import PLACE_ORDER, Frame, Proxy
from unit.orders.durable_vfs import library

from .crashing import SECONDS, crasher, live

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def gateway_arguments() -> dict[str, object]:
    """The broker's day is not the day of this machine."""
    return {"start": datetime(2026, 3, 12, 15, 0, tzinfo=UTC)}


@pytest.mark.skipif(library() is None, reason="SQLite's file layer cannot be reached in this Python")
@pytest.mark.parametrize(
    ("road", "bug", "known"),
    [
        ("place", "", True),
        ("bracket", "", True),
        ("modify", "", True),
        ("place", "synchronous-off", False),
        ("place", "commit-after-write", False),
        ("modify", "synchronous-off", False),
        ("modify", "commit-after-write", False),
    ],
)
async def test_what_is_durable_when_the_bytes_arrive_knows_of_them(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, proxy: Proxy, road: str, bug: str, known: bool
) -> None:
    """Power fails the moment the frame is on the wire. With a planted bug the order is not known: this test notices."""
    copies, ref = tmp_path / "copies", f"{road}-{bug}"
    copies.mkdir()
    wanted = 2 if road == "modify" else 1
    seen = 0

    def arriving(fields: Frame) -> bool:
        nonlocal seen
        if fields[:1] == [PLACE_ORDER] and ref in fields:
            seen += 1
            if seen == wanted:
                shutil.copytree(copies, tmp_path / "saved")
                proxy.seen.set()
        return False

    proxy.swallow_requests = arriving
    process = await crasher(
        port=proxy.port,
        state_dir=tmp_path / "state",
        copies=copies,
        road=road,
        moment="answered",
        ref=ref,
        bug=bug,
    )
    assert process.stdin is not None
    try:
        async with asyncio.timeout(SECONDS):
            await proxy.seen.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if known:
        journal = Journal.open(tmp_path / "saved", ACCOUNT, ManualClock(), threaded=False)
        records = {order.ref: replayed(order) for order in journal.load()}
        assert journal.verify().ok
        journal.close()
        assert records[ref].state is (OrderState.WORKING if road == "modify" else OrderState.SENDING)
        assert (Operation.MODIFY if road == "modify" else Operation.NEW) in records[ref].outstanding
        if road == "bracket":
            assert {f"{ref}.tp", f"{ref}.sl"} <= records.keys()
        connector = make(gateway.tws_port, state_dir=tmp_path / "saved")
        await connector.connect()
        if road != "bracket":
            assert (await settled(connector, ref)).state is OrderState.WORKING
            assert live(gateway, ref) == [20 if road == "modify" else 10]
        assert arrived(gateway, ref) == 1
        return
    saved = tmp_path / "saved" / ACCOUNT / "journal.sqlite3"
    found: dict[str, set[Operation]] = {}
    if saved.exists():
        journal = Journal.open(tmp_path / "saved", ACCOUNT, ManualClock(), threaded=False)
        found = {order.ref: replayed(order).outstanding for order in journal.load()}
        journal.close()
    assert (Operation.MODIFY if road == "modify" else Operation.NEW) not in found.get(ref, set())
