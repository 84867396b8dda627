"""Beginnings and ends that are interrupted, repeated, or come from several sides at once."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector import assembly
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import ConnectorClosed, JournalInUse, NotConnected, RequestTimeout
from ibkr_connector.ground import Ground
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.journal import Journal
from ibkr_connector.paper import PaperGateway
from support.connector import FAST, MakeConnector
from support.threads import in_thread

SECONDS = 30.0


# --- close ------------------------------------------------------------------------------------------------------------


async def test_close_that_is_cancelled_is_done_all_the_same(gateway: PaperGateway, make: MakeConnector) -> None:
    """Half closed, it would hold the account's journal for as long as the program runs."""
    connector = make(gateway.tws_port)
    await connector.connect()
    closing = asyncio.create_task(connector.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    assert connector.closed
    await asyncio.wait_for(connector.close(), SECONDS)  # another caller waits for the same close
    successor = make(gateway.tws_port)
    assert await successor.connect()


async def test_closes_from_many_threads_and_loops_are_one(
    gateway: PaperGateway, make: MakeConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    closed = 0
    close = Journal.close

    def counted(journal: Journal, *args: Any, **values: Any) -> None:
        nonlocal closed
        closed += 1
        close(journal, *args, **values)

    monkeypatch.setattr(Journal, "close", counted)
    ends: list[Awaitable[object]] = [
        in_thread(lambda: asyncio.run(connector.close())),
        in_thread(connector.sync.close),
        in_thread(lambda: asyncio.run(connector.disconnect())),
        connector.close(),
        connector.disconnect(),
        connector.close(),
    ]
    async with asyncio.timeout(SECONDS):
        assert await asyncio.gather(*ends) == [None] * len(ends)
    assert (connector.closed, connector.connected, closed) == (True, False, 1)
    assert await make(gateway.tws_port).connect()


async def test_connects_beside_a_close_are_told_and_leave_no_thread(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    results = await asyncio.gather(
        connector.close(),
        connector.connect(),
        connector.ready(SECONDS),
        connector.disconnect(),
        connector.connect(),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [
        type(None),
        ConnectorClosed,
        ConnectorClosed,
        type(None),
        ConnectorClosed,
    ]


async def test_disconnect_that_is_cancelled_is_done_all_the_same(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    leaving = asyncio.create_task(connector.disconnect())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.wait_for(connector.disconnect(), SECONDS)
    assert not connector.connected
    assert await connector.connect()


async def test_room_that_does_not_close_does_not_keep_the_others_open(
    gateway: PaperGateway, make: MakeConnector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connector: IBKRConnector = IBKRConnector(
        profile="broken", port=gateway.tws_port, state_dir=tmp_path / "state", **FAST
    )
    await connector.connect()

    def broken() -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(connector._house.hub, "close", broken)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="a bug of ours"):
            await connector.close()
    assert await make(gateway.tws_port).connect()  # the journal and the client id are free


async def test_whoever_reads_a_stream_is_woken_by_the_close(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
    begun: asyncio.Queue[str] = asyncio.Queue()

    async def updates() -> str:
        async with order.updates() as snapshots:
            async for _ in snapshots:
                begun.put_nowait("updates")
        return "ended"

    async def quotes() -> str:
        async with connector.stream_quotes("AAPL") as stream:
            async for _ in stream:
                begun.put_nowait("quotes")
        return "ended"

    def blocking() -> str:
        with connector.sync.get_order(order.ref).updates() as snapshots:
            for _ in snapshots:
                loop.call_soon_threadsafe(begun.put_nowait, "blocking")
        return "ended"

    loop = asyncio.get_running_loop()
    readers = [asyncio.create_task(updates()), asyncio.create_task(quotes()), asyncio.create_task(in_thread(blocking))]
    seen: set[str] = set()
    async with asyncio.timeout(SECONDS):
        while len(seen) < 3:
            seen.add(await begun.get())
        await connector.close()
        results = await asyncio.gather(*readers, return_exceptions=True)
    assert results[:2] == ["ended", "ended"]
    assert results[2] == "ended" or isinstance(results[2], ConnectorClosed)


async def test_order_on_its_way_when_the_connector_closes_is_told_and_never_looks_cancelled(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    placing = [asyncio.create_task(connector.place_limit_order("TSLA", 1, "BUY", 1)) for _ in range(5)]
    await asyncio.sleep(0)
    await connector.close()
    results = await asyncio.wait_for(asyncio.gather(*placing, return_exceptions=True), SECONDS)
    assert not [result for result in results if isinstance(result, asyncio.CancelledError)]


# --- connect ----------------------------------------------------------------------------------------------------------


class SlowDisk:
    """A journal whose opening takes until the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        self.opened = 0
        real = Journal.open

        def slow(*args: Any, **values: Any) -> Journal:
            self.reached.set()
            assert self.go.wait(SECONDS)
            self.opened += 1
            return real(*args, **values)

        monkeypatch.setattr(assembly, "Ground", functools.partial(Ground, journal=slow))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    slow = SlowDisk(monkeypatch)
    yield slow
    slow.go.set()


async def cancelled(connector: IBKRConnector, connecting: asyncio.Task[bool]) -> None:
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)


async def disconnected(connector: IBKRConnector, connecting: asyncio.Task[bool]) -> None:
    await connector.disconnect()
    with pytest.raises(NotConnected, match="while connecting"):
        await connecting


@pytest.mark.parametrize("interrupt", [cancelled, disconnected])
async def test_connect_interrupted_while_the_journal_opens_can_be_made_again(
    gateway: PaperGateway,
    make: MakeConnector,
    disk: SlowDisk,
    interrupt: Callable[[IBKRConnector, asyncio.Task[bool]], Awaitable[None]],
) -> None:
    """The journal that nobody waited for must not be held against ourselves."""
    connector = make(gateway.tws_port)
    connecting = asyncio.create_task(connector.connect())
    assert await asyncio.to_thread(disk.reached.wait, SECONDS)
    await asyncio.wait_for(interrupt(connector, connecting), SECONDS)
    disk.go.set()
    assert await asyncio.wait_for(connector.connect(), SECONDS)
    assert disk.opened == 1  # the same one, not a second
    assert (await connector.place_limit_order("AAPL", 1, "BUY", 1)).order_id


async def test_journal_that_nobody_waited_for_is_closed_with_the_connector(
    gateway: PaperGateway, make: MakeConnector, disk: SlowDisk
) -> None:
    connector = make(gateway.tws_port)
    connecting = asyncio.create_task(connector.connect())
    assert await asyncio.to_thread(disk.reached.wait, SECONDS)
    await cancelled(connector, connecting)
    closing = asyncio.create_task(connector.close())
    disk.go.set()
    await asyncio.wait_for(closing, SECONDS)
    assert await make(gateway.tws_port).connect()


async def test_sync_that_ran_out_of_time_at_the_journal_can_be_made_again(
    gateway: PaperGateway, make: MakeConnector, disk: SlowDisk
) -> None:
    connector = make(gateway.tws_port, sync_timeout=0.5)
    with pytest.raises(RequestTimeout, match="journal"):
        await connector.connect()
    disk.go.set()
    assert await asyncio.wait_for(connector.connect(), SECONDS)


async def test_journal_that_cannot_be_understood_is_not_ignored_by_the_next_connect(
    gateway: PaperGateway, make: MakeConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-03: going on without what it holds would forget orders that may be at the broker."""
    connector = make(gateway.tws_port)
    manager = connector._house.manager
    real = manager.open_journal
    tries = 0

    def fails(*args: Any) -> None:
        nonlocal tries
        tries += 1
        real(*args)
        if tries < 3:
            raise RuntimeError("an order in it cannot be read")

    monkeypatch.setattr(manager, "open_journal", fails)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="cannot be read"):
            await connector.connect()
    assert await connector.connect()
    assert tries == 3


# --- fork -------------------------------------------------------------------------------------------------------------


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
threads_and_fork = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_child(work: Callable[[], object]) -> str:
    """Run `work` in a forked child; what it returns, or `kind: text` of what it raises. Blocks: call it in a thread."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                told = str(work())
            except BaseException as error:  # noqa: BLE001 - told to the parent
                told = f"{type(error).__name__}: {error}"
            os.write(writer, told.encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        parts = []
        while part := os.read(reader, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(reader)
        os.waitpid(child, 0)


async def forked(work: Callable[[], object]) -> str:
    """`in_child` from a thread, with a deadline: a child that hangs is ended by its alarm."""

    def guarded() -> object:
        import signal

        signal.alarm(20)  # its default ends the child
        return work()

    return str(await in_thread(lambda: in_child(guarded), SECONDS))


Use = Callable[[IBKRConnector], object]
USES: dict[str, Use] = {
    "sync read": lambda c: c.sync.get_positions(),
    "place": lambda c: asyncio.run(c.place_limit_order("AAPL", 1, "BUY", 1)),
    "connect": lambda c: asyncio.run(c.connect()),
    "kill": lambda c: c.kill("in the child"),
    "ready": lambda c: asyncio.run(c.ready(5)),
    "stream": lambda c: asyncio.run(c.stream_quotes("AAPL").start()),
    "status": lambda c: c.get_connection_status(),
    "listen": lambda c: c.on_event(lambda _: None),
}


@forks
@threads_and_fork
@pytest.mark.parametrize("use", USES)
async def test_inherited_connector_says_whose_it_is(gateway: PaperGateway, make: MakeConnector, use: str) -> None:
    """Its threads, its socket and its journal are the parent's: nothing may hang, and nothing may be done with them."""
    connector = make(gateway.tws_port)
    await connector.connect()
    with connector._making, type(connector)._lock:  # held by a thread that does not come along
        told = await forked(lambda: USES[use](connector))
    assert told.startswith("ConnectorClosed: this connector belongs to process")
    assert "get_ibkr_connector()" in told
    assert connector.connected
    assert await connector.get_positions() == []
    assert not connector.risk.killed


@forks
@threads_and_fork
async def test_child_that_closes_what_it_inherited_takes_nothing_from_the_parent(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
    updates = order.updates()
    first = await anext(updates)
    assert isinstance(first, OrderSnapshot)

    def child() -> str:
        journal = connector._made.manager.desk.journal if connector._made else None
        assert journal is not None
        journal.close()
        told = [connector.closed, connector.connected, "of process" in repr(connector), journal.writable]
        asyncio.run(connector.disconnect())
        asyncio.run(connector.close())
        return str(told)

    assert await forked(child) == "[True, False, True, False]"
    assert connector.connected
    other = await connector.place_limit_order("AAPL", 1, "BUY", 1)  # the journal is ours as before
    assert (await order.cancel()).state.is_done
    assert (await other.cancel()).state.is_done
    await updates.aclose()
    with pytest.raises(JournalInUse, match=str(os.getpid())):
        await make(gateway.tws_port, client_id=9).connect()  # its lock was not given back by the child


@forks
@threads_and_fork
async def test_orders_and_streams_taken_along_into_a_child_do_not_wait_for_ever(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
    assert (await forked(lambda: asyncio.run(order.done()))).startswith("ConnectorClosed")
    assert (await forked(lambda: asyncio.run(order.cancel()))).startswith("ConnectorClosed")
    stream = await connector.stream_quotes("AAPL").start()

    async def read() -> None:
        while True:
            await anext(stream)

    assert (await forked(lambda: asyncio.run(read()))).startswith("ConnectorClosed")
    await stream.aclose()


@forks
@threads_and_fork
async def test_child_gets_a_connector_of_its_own_that_works(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    connector = make(gateway.tws_port, profile="family")
    await connector.connect()

    def child() -> str:
        own: IBKRConnector = IBKRConnector(
            profile="family", port=gateway.tws_port, client_id=33, state_dir=tmp_path / "child"
        )

        async def trade() -> str:
            async with own:
                order = await own.place_limit_order("AAPL", 1, "BUY", 1)
                return f"{own is connector} {(await order.cancel()).state.value}"

        return asyncio.run(trade())

    assert await forked(child) == "False cancelled"
    assert connector.connected
