"""kill -9 and loss of power at every step of the order road, through the socket.

Afterwards either nothing was written and the order is known as not sent, or one order exists and both sides know it.
The judge is the gateway's truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibkr_connector.backends.base import Operation
from ibkr_connector.clock import ManualClock
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import OrderNotSent
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.journal_read import JournalReader
from ibkr_connector.orders.recover import replayed
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, arrived, settled
from support.proxy import PLACE_ORDER, Frame, Proxy, is_kind
from unit.orders.durable_vfs import library

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")

SECONDS = 30.0
CRASHER = Path(__file__).with_name("crasher.py")
TESTS = CRASHER.parents[2]


@pytest.fixture
def gateway_arguments() -> dict[str, object]:
    """The broker's day is not the day of this machine."""
    return {"start": datetime(2026, 3, 12, 15, 0, tzinfo=UTC)}


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


# --- kill -9 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["reserved", "commit", "committed", "frame 1", "answered"])
async def test_new_order_killed_at_any_step_is_one_order_known_to_both_or_none(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    ref = await crash(gateway, tmp_path, "place", moment)
    written = moment in ("frame 1", "answered")
    if written:
        await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref=ref)
    connector = await restarted(gateway, make)
    known = ref in {order.ref for order in JournalReader.of(tmp_path / "state", ACCOUNT).recent()}
    assert known is (moment not in ("reserved", "commit"))
    if known:
        assert (await settled(connector, ref)).state is (OrderState.WORKING if written else OrderState.NOT_SENT)
    assert (arrived(gateway, ref), live(gateway, ref)) == ((1, [10]) if written else (0, []))
    if known and not written:
        with pytest.raises(OrderNotSent):  # its ref is used for ever
            await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref=ref)
    else:
        order = await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref=ref)
        assert (order.state, arrived(gateway, ref)) == (OrderState.WORKING, 1)
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["commit", "committed", "frame 1", "frame 2", "frame 3", "answered"])
async def test_bracket_killed_at_any_step_is_whole_or_not_there(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    """Frames before the last transmit nothing: half of a bracket must not work, and never be forgotten."""
    ref = await crash(gateway, tmp_path, "bracket", moment)
    frames = {"frame 1": 1, "frame 2": 2, "frame 3": 3, "answered": 3}.get(moment, 0)
    refs = [ref, f"{ref}.tp", f"{ref}.sl"]
    for name in refs[:frames]:
        await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref=name)
    connector = await restarted(gateway, make)
    assert [arrived(gateway, name) for name in refs] == [1] * frames + [0] * (3 - frames)
    assert [live(gateway, name) for name in refs] == ([[10]] * 3 if frames == 3 else [[]] * 3)
    if moment != "commit":
        ends = [(await settled(connector, name)).state for name in refs]
        assert set(ends) == ({OrderState.WORKING} if frames == 3 else {OrderState.NOT_SENT})
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["commit", "committed", "frame 1", "frame 2", "frame 3", "answered"])
async def test_oca_group_killed_at_any_step_is_accounted_for_leg_by_leg(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    """Each leg transmits by itself: those that were written work, those that were not are known as not sent."""
    ref = await crash(gateway, tmp_path, "oca", moment)
    frames = {"frame 1": 1, "frame 2": 2, "frame 3": 3, "answered": 3}.get(moment, 0)
    refs = [f"{ref}.{number}" for number in (1, 2, 3)]
    for name in refs[:frames]:
        await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref=name)
    connector = await restarted(gateway, make)
    if moment != "commit":
        ends = [(await settled(connector, name)).state for name in refs]
        assert ends == [OrderState.WORKING] * frames + [OrderState.NOT_SENT] * (3 - frames)
    assert [arrived(gateway, name) for name in refs] == [1] * frames + [0] * (3 - frames)
    assert [live(gateway, name) for name in refs] == [[10]] * frames + [[]] * (3 - frames)
    assert connector.risk.status()["open_orders"] == frames
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["reserved", "commit", "committed", "frame 1", "answered"])
async def test_change_killed_at_any_step_leaves_one_order_in_the_version_the_broker_has(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    ref = await crash(gateway, tmp_path, "modify", moment)
    written = moment in ("frame 1", "answered")
    if written:
        await gateway.truth.wait_for("modified", timeout=SECONDS)
    connector = await restarted(gateway, make)
    known = await settled(connector, ref)
    assert live(gateway, ref) == [int(known.quantity)] == [20 if written else 10]
    assert arrived(gateway, ref) == 1
    changed = await connector.modify_order(ref, quantity=30)  # nothing is outstanding on it
    assert (int(changed.quantity), len(live(gateway, ref)), arrived(gateway, ref)) == (30, 1, 1)
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["committed", "frame 1", "commit", "answered"])
async def test_cancel_killed_at_any_step_is_done_or_can_be_asked_for_again(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, moment: str
) -> None:
    ref = await crash(gateway, tmp_path, "cancel", moment)
    if moment in ("frame 1", "answered"):
        await gateway.truth.wait_for("recv_cancel", timeout=SECONDS)
    connector = await restarted(gateway, make)
    result = await connector.cancel_order(ref)
    assert (result.state, live(gateway, ref), arrived(gateway, ref)) == (OrderState.CANCELLED, [], 1)
    audit_is_whole(tmp_path)


@pytest.mark.parametrize("moment", ["commit", "committed", "answered"])
async def test_operators_word_killed_at_any_step_counts_if_it_was_committed_and_the_broker_has_the_last(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, proxy: Proxy, moment: str
) -> None:
    proxy.swallow_answers = is_kind("3", "5", "11", "59")
    ref = await crash(gateway, tmp_path, "resolve", moment, port=proxy.port)
    (kept,) = JournalReader.of(tmp_path / "state", ACCOUNT).recent()
    record = replayed(kept)
    assert record.state is (OrderState.IN_DOUBT if moment == "commit" else OrderState.CANCELLED)
    connector = await restarted(gateway, make)
    assert (await settled(connector, ref)).state is OrderState.WORKING
    assert (arrived(gateway, ref), live(gateway, ref)) == (1, [10])
    audit_is_whole(tmp_path)


# --- loss of power ----------------------------------------------------------------------------------------------------


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
