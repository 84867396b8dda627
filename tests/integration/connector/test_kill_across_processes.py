"""One program trades, another stops it; judged by what the gateway received, and when."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import RiskRejected
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, incident
from support.shell import Shell

TRADER = Path(__file__).with_name("trader.py")
WITHIN_S = 0.1


@pytest.fixture
def shell(gateway: PaperGateway, tmp_path: Path) -> Shell:
    return Shell(gateway.tws_port, tmp_path)


@asynccontextmanager
async def trading_program(gateway: PaperGateway, folder: Path) -> AsyncIterator[Process]:
    """A second process that trades."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(TRADER), str(gateway.tws_port), str(folder / "state")), stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"ready\n"
    try:
        yield process
        async with asyncio.timeout(60):
            await process.communicate(b"\n")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0


async def line(process: Process, wanted: bytes) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while (said := await process.stdout.readline()) != wanted:
            assert said, "it ended too early"


async def test_kill_in_one_process_stops_the_orders_of_another_and_cancels_them(
    gateway: PaperGateway, tmp_path: Path, shell: Shell
) -> None:
    async with trading_program(gateway, tmp_path) as trader:
        for since in range(5):
            await gateway.truth.wait_for("recv_place", timeout=30, since=since)
        told = await shell.run("kill", "fire")
        returned = asyncio.get_running_loop().time()
        await line(trader, b"stopped\n")
    assert told["connector_pid"] == trader.pid
    assert told["working"] == []
    placed = gateway.truth.of("recv_place")
    assert len(placed) >= 5
    assert [entry for entry in placed if entry.wire > returned + WITHIN_S] == []
    assert gateway.truth.of("recv_modify") == []
    assert len(gateway.truth.of("cancelled")) == len(placed)


async def test_kill_without_a_running_program_cancels_by_itself_and_says_what_it_left_alone(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, shell: Shell
) -> None:
    first = make(gateway.tws_port)
    await first.connect()
    ours = await first.place_limit_order("AAPL", 1, "BUY", 100)
    await first.close()
    other = make(gateway.tws_port, client_id=9, state_dir=tmp_path / "elsewhere")
    await other.connect()
    theirs = await other.place_limit_order("MSFT", 1, "BUY", 100)
    told = await shell.run("kill", "fire")
    assert [o["order_ref"] for o in told["cancelled"]] == [ours.ref]
    assert [(o["client_id"], o["symbol"]) for o in told["others"]] == [(9, "MSFT")]
    assert not theirs.is_done
    told = await shell.run("kill", "more fire", "--scope", "account")
    assert [(o["client_id"], o["symbol"]) for o in told["others"]] == [(9, "MSFT")]
    assert (await theirs.done(20)).state is OrderState.CANCELLED


async def test_kill_holds_without_a_gateway_and_its_cancels_are_done_by_the_next_connector(
    gateway: PaperGateway, make: MakeConnector, shell: Shell
) -> None:
    first = make(gateway.tws_port)
    await first.connect()
    order = await first.place_limit_order("AAPL", 1, "BUY", 100)
    await first.close()
    told = await shell.run("kill", "fire", "--port", "1", code=3)
    assert told["exit_code"] == 3
    assert gateway.truth.of("recv_cancel") == []
    second = make(gateway.tws_port)
    await second.connect()
    with pytest.raises(RiskRejected, match="fire"):
        await second.place_limit_order("AAPL", 1, "BUY", 100)
    await gateway.truth.wait_for("cancelled", timeout=30)
    assert (await (await second.get_order(order.ref)).done(20)).state is OrderState.CANCELLED


async def test_resume_from_another_process_lets_orders_through_again_and_both_are_in_the_audit_trail(
    connector: IBKRConnector, gateway: PaperGateway, shell: Shell
) -> None:
    async with incident(connector, "killed"):
        await shell.run("kill", "fire", "--keep-orders")
    with pytest.raises(RiskRejected, match="fire"):
        await connector.place_limit_order("AAPL", 1, "BUY", 100)
    assert (await shell.run("risk", "status"))["accounts"][0]["trading_state"] == "halted"
    async with incident(connector, "resumed"):
        told = await shell.run("resume", "it is out")
    assert (told["account"], told["before"]["reason"]) == (ACCOUNT, "fire")
    await connector.place_limit_order("AAPL", 1, "BUY", 100)
    await connector.close()
    from ibkr_connector.orders.journal_read import JournalReader

    reader = JournalReader.of(connector.settings.paths.state_dir, ACCOUNT)
    said = [json.loads(entry.data) for entry in reader.audit() if entry.kind == "trading_state"]
    assert [(one["state"], one["reason"]) for one in said] == [("halted", "fire"), ("active", "it is out")]
    assert reader.verify().ok


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 99}', b"\xff" * 70_000, None])
async def test_record_that_cannot_be_read_stops_trading_while_it_is_so(
    connector: IBKRConnector, gateway: PaperGateway, damage: bytes | None
) -> None:
    path = connector.settings.paths.state_dir / ACCOUNT / "trading.json"
    good = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(RiskRejected, match="check"):
        await connector.place_limit_order("AAPL", 1, "BUY", 100)
    assert gateway.truth.of("recv_place") == []
    path.write_bytes(good)
    await connector.place_limit_order("AAPL", 1, "BUY", 100)


async def test_record_deleted_between_two_runs_counts_as_a_kill(gateway: PaperGateway, make: MakeConnector) -> None:
    first = make(gateway.tws_port)
    await first.connect()
    await first.close()
    (first.settings.paths.state_dir / ACCOUNT / "trading.json").unlink()
    second = make(gateway.tws_port)
    await second.connect()
    with pytest.raises(RiskRejected, match="missing"):
        await second.place_limit_order("AAPL", 1, "BUY", 100)
    assert second.resume("nothing had been stopped")
    await second.place_limit_order("AAPL", 1, "BUY", 100)
