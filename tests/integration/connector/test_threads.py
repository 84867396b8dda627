"""Any thread, any loop, and an end that does not need `close()`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.events import Event
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector
from support.threads import in_thread

SECONDS = 30.0


async def test_fifty_callers_from_several_loops_get_their_own_answers(connector: IBKRConnector) -> None:
    symbols = ["AAPL", "MSFT", "SPY", "IBM", "BAC"]
    results: list[tuple[str, str, str]] = []

    async def one(symbol: str, number: int) -> tuple[str, str, str]:
        details = await connector.get_contract(symbol)
        order = await connector.place_limit_order(symbol, 1 + number, "BUY", 1, order_ref=f"{symbol}-{number}")
        return symbol, details.contract.symbol, order.contract.symbol

    def many(start: int) -> None:
        async def several() -> list[tuple[str, str, str]]:
            return list(await asyncio.gather(*(one(symbols[n % 5], n) for n in range(start, start + 10))))

        results.extend(asyncio.run(several()))

    await asyncio.gather(*(in_thread(lambda start=start: many(start)) for start in range(0, 50, 10)))  # type: ignore[misc]
    assert len(results) == 50
    assert all(asked == found == ordered for asked, found, ordered in results)
    ids = [snapshot.order_id for snapshot in await connector.get_open_orders()]
    assert len(set(ids)) == 50


async def test_blocking_twin_does_the_whole_round(connector: IBKRConnector) -> None:
    def work() -> tuple[object, object]:
        order = connector.sync.place_market_order("AAPL", 5, "BUY")
        filled = order.filled(20)
        positions = connector.sync.get_positions(refresh=True)
        return filled.state, [p.quantity for p in positions]

    assert await in_thread(work) == (OrderState.FILLED, [5])


async def test_slow_and_raising_listeners_delay_no_order(connector: IBKRConnector) -> None:
    """INV-12: no listener delays or loses an order."""
    release = threading.Event()

    def blocks(event: Event) -> None:
        release.wait(SECONDS)

    def raises(event: Event) -> None:
        raise ValueError("a listener's own bug")

    stops = [connector.on_event(blocks), connector.on_event(raises)]
    try:
        order = await connector.place_market_order("AAPL", 5, "BUY")
        assert (await order.filled(10)).state is OrderState.FILLED
    finally:
        release.set()
        for stop in stops:
            stop()


async def test_close_wakes_everyone_who_waits(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
    waiting = [asyncio.create_task(order.done()) for _ in range(5)]
    stream = await connector.stream_quotes("AAPL").start()
    await anext(stream)
    await asyncio.sleep(0)
    await connector.close()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, ConnectorClosed | asyncio.CancelledError) for result in results)
    with pytest.raises(StopAsyncIteration):
        while True:
            await anext(stream)
    with pytest.raises(ConnectorClosed):
        await connector.place_limit_order("AAPL", 1, "BUY", 1)


SCRIPTS = {
    "returns": "",
    "raises": "raise RuntimeError('the program has a bug')",
    "exits": "sys.exit(3)",
    "waits for ctrl-c": "print('up', flush=True); await asyncio.sleep(600)",
}


@pytest.mark.parametrize("how", SCRIPTS)
async def test_program_that_ends_without_close_ends(gateway: PaperGateway, tmp_path: Path, how: str) -> None:
    body = textwrap.dedent(
        f"""
        import asyncio, sys
        from ibkr_connector import get_ibkr_connector

        async def main():
            connector = get_ibkr_connector(port={gateway.tws_port}, state_dir={str(tmp_path)!r})
            await connector.connect()
            order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
            stream = await connector.stream_quotes("AAPL").start()
            connector.on_event(print)
            {SCRIPTS[how]}

        asyncio.run(main())
        """
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "ignore",
        "-c",
        body,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    if how == "waits for ctrl-c":
        async with asyncio.timeout(SECONDS):
            assert await process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
    async with asyncio.timeout(SECONDS):
        _, errors = await process.communicate()
    expected = {"returns": 0, "raises": 1, "exits": 3, "waits for ctrl-c": -signal.SIGINT}
    assert process.returncode == expected[how], errors.decode()
    assert b"Fatal" not in errors
    assert b"never retrieved" not in errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_child_after_fork_gets_a_new_unconnected_connector(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port, profile="forked")
    await connector.connect()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # only async-signal-safe things would be safe here in general; this is enough for a test
        fresh = IBKRConnector(profile="forked")
        os.write(writer, b"new" if fresh is not connector and not fresh.connected else b"old")
        os._exit(0)
    os.close(writer)
    try:
        assert await asyncio.to_thread(os.read, reader, 10) == b"new"
    finally:
        os.close(reader)
        os.waitpid(child, 0)  # noqa: ASYNC222 - the child has ended already
    assert connector.connected
    assert await connector.get_positions() == []
