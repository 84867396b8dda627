"""The blocking twin against a real socket: it trades, streams, ends with Ctrl-C, and refuses to wait for itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibkr_connector.errors import ConnectorClosed, OrderCancelled, RequestTimeout, SyncCallFromSession
from ibkr_connector.events import Event
from ibkr_connector.models.order import OrderState
from ibkr_connector.sync import SyncConnector
from ibkr_connector.testing import HostedGateway, sync_paper_connector

WAIT = 30.0


@pytest.fixture
def gateway() -> Iterator[HostedGateway]:
    with HostedGateway(seed=7) as hosted:
        yield hosted


@pytest.fixture
def connector(gateway: HostedGateway) -> Iterator[SyncConnector]:
    with sync_paper_connector(gateway) as made:
        yield made


def test_a_day_of_trading_without_an_event_loop(connector: SyncConnector, gateway: HostedGateway) -> None:
    assert connector.connected
    assert connector.account_id == "DU1234567"
    assert connector.get_positions() == []
    assert len(connector.get_historical_data("AAPL", "1 D", "5 mins", use_rth=False)) > 10
    order = connector.place_market_order("AAPL", 100, "BUY")
    assert order.filled(WAIT).filled == 100
    assert order.is_done
    resting = connector.place_limit_order("AAPL", 10, "BUY", 100.0)
    assert resting.modify(limit_price=101).limit_price == 101
    assert connector.cancel_order(resting).state is OrderState.CANCELLED
    assert [p.quantity for p in connector.account.positions(refresh=True)] == [100]
    connector.orders.market("AAPL", 100, "SELL").filled(WAIT)
    received = [entry.fields["order_ref"] for entry in gateway.truth.of("recv_place")]
    assert received[:2] == [order.ref, resting.ref]
    assert connector.get_positions(refresh=True) == []


def test_a_bracket_s_legs_are_blocking_handles_too(connector: SyncConnector) -> None:
    bracket = connector.place_bracket_order("AAPL", 10, 100.0, take_profit_price=110, stop_loss_price=95)
    assert [leg.state for leg in bracket.legs] == [OrderState.WORKING] * 3
    assert bracket.entry.quantity == 10
    assert [snapshot.state for snapshot in bracket.cancel()] == [OrderState.CANCELLED] * 3


def test_a_wait_that_takes_too_long_leaves_the_order_working(connector: SyncConnector) -> None:
    order = connector.place_limit_order("AAPL", 10, "BUY", 100.0)
    with pytest.raises(RequestTimeout, match="still working"):
        order.filled(timeout=0.05)
    assert order.state is OrderState.WORKING
    order.cancel()
    with pytest.raises(OrderCancelled):
        order.filled(timeout=0.05)


def test_an_order_s_updates_end_with_the_order(connector: SyncConnector) -> None:
    order = connector.place_limit_order("AAPL", 10, "BUY", 100.0)
    with order.updates() as updates:
        first = next(updates)
        order.cancel()
        states = [first.state, *(snapshot.state for snapshot in updates)]
    assert states[0] is OrderState.WORKING
    assert states[-1] is OrderState.CANCELLED


def test_quotes_are_read_with_for_and_the_line_is_given_back(connector: SyncConnector) -> None:
    with connector.stream_quotes("AAPL") as quotes:
        seen = []
        for quote in quotes:
            seen.append(quote)
            if len(seen) == 5:
                break
    assert {quote.symbol for quote in seen} == {"AAPL"}
    assert seen[-1].bid is not None
    assert quotes.dropped == 0
    assert all(quote.symbol == "AAPL" for quote in quotes)  # what was at hand may still be read; then it is over
    quotes.close()


def test_several_threads_share_one_connector(connector: SyncConnector) -> None:
    refs: list[str] = []

    def trade() -> None:
        order = connector.place_limit_order("AAPL", 1, "BUY", 100.0)
        order.cancel()
        refs.append(order.ref)

    threads = [threading.Thread(target=trade) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert len(set(refs)) == 8


def test_a_call_on_the_session_s_own_thread_is_refused_instead_of_hanging(
    connector: SyncConnector, gateway: HostedGateway
) -> None:
    async def inside() -> list[BaseException]:
        caught: list[BaseException] = []
        for call in (connector.get_positions, connector.close):
            try:
                call()
            except SyncCallFromSession as error:
                caught.append(error)
        return caught

    assert len(connector._thread.run_sync(inside())) == 2
    assert connector.connected


def test_a_listener_may_make_blocking_calls(connector: SyncConnector) -> None:
    found: list[int] = []
    heard = threading.Event()

    def listen(event: Event) -> None:
        if not heard.is_set():
            found.append(len(connector.get_open_orders()))
            heard.set()

    stop = connector.on_event(listen)
    order = connector.place_limit_order("AAPL", 1, "BUY", 100.0)
    assert heard.wait(WAIT)
    stop()
    order.cancel()


def test_closing_twice_and_calling_after_it(gateway: HostedGateway) -> None:
    with sync_paper_connector(gateway) as connector:
        connector.close()
        connector.close()
        assert connector.closed
        with pytest.raises(ConnectorClosed):
            connector.get_open_orders(refresh=True)
        with pytest.raises(ConnectorClosed):
            connector.connect()


async def test_closing_works_where_a_loop_is_running_already() -> None:
    def use() -> SyncConnector:
        return stack.enter_context(sync_paper_connector(gateway))

    from contextlib import ExitStack

    with ExitStack() as stack:
        gateway = stack.enter_context(HostedGateway(seed=7))
        connector = await asyncio.to_thread(use)
        connector.close()  # as in a notebook: this thread's loop runs
        assert connector.closed


SCRIPT = """
import sys
from ibkr_connector.testing import sync_paper_connector

with sync_paper_connector(int(sys.argv[1]), state_dir=sys.argv[2]) as connector:
    {setup}
    try:
        print("waiting", flush=True)
        {wait}
    except KeyboardInterrupt:
        print("interrupted", connector.connected, flush=True)
print("closed", flush=True)
"""
WAITS = {
    "for an order": ('order = connector.place_limit_order("AAPL", 1, "BUY", 100.0)', "order.filled()"),
    "for a quote": (
        'stream = connector.stream_quotes("AAPL").start()',
        "while True: next(stream)",
    ),
}


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process")
@pytest.mark.parametrize("name", sorted(WAITS))
def test_ctrl_c_ends_a_wait_and_the_connector_goes_on(gateway: HostedGateway, tmp_path: Path, name: str) -> None:
    setup, wait = WAITS[name]
    code = SCRIPT.format(setup=setup, wait=wait)
    command = [sys.executable, "-c", code, str(gateway.tws_port), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=WAIT)
    assert rest == "interrupted True\nclosed\n"
    assert process.returncode == 0
