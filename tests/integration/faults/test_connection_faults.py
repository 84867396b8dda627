"""Connections that end, hang, are refused, crawl or come in pieces."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from ibkr_connector.paper import PaperGateway
from ibkr_connector.paper.tws.connection import Connection

from ..gateway.raw import RawClient, pack
from .kit import (
    OPEN_ORDERS,
    SECONDS,
    TIME,
    ask,
    cancel,
    connected,
    ended,
    error_of,
    fault,
    limit,
    over,
    status_of,
    until,
    works,
)

pytestmark = pytest.mark.protocol


async def test_a_dropped_connection_loses_the_request_that_triggered_it_and_only_that(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("drop_connection", on="place_order", nth=2, name="cut")
    client.send(*limit(1))
    await until(client, status_of(1, "Submitted"))
    client.send(*limit(2))
    await client.closed()
    assert [e.fields["order_id"] for e in gateway.truth.of("recv_place")] == [1]
    [hit] = gateway.truth.of("fault")
    assert hit.fields == {
        "fault": "drop_connection",
        "number": 1,
        "shot": 1,
        "name": "cut",
        "client_id": 1,
        "front": "tws",
        "request": "place_order",
        "reply": "",
        "request_id": 2,
        "exec_id": "",
        "order_id": 2,
        "order_ref": "ref-2",
        "phase": "new",
    }
    async with await connected(gateway) as again:
        shown = [m[1] for m in await ask(again, OPEN_ORDERS) if m[0] == "5"]
        assert shown == ["1"]
    await works(gateway)


async def test_a_drop_on_a_reply_comes_before_the_reply(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("drop_connection", on="order_status", nth=2)
    client.send(*limit(1))
    got = await client.closed()
    assert [m[2] for m in got if m[0] == "3"] == ["PreSubmitted"]
    assert (await fault(gateway)).fields["phase"] == "working"
    assert gateway.truth.of("accepted", order_id=1)
    await works(gateway)


async def test_a_drop_at_a_time_names_the_orders_it_hit(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*limit(1))
    await until(client, status_of(1, "Submitted"))
    async with await RawClient.connect(gateway.tws_port, 2) as other:
        gateway.inject("drop_connection", client_id=1)
        assert await client.closed() == []
        assert await ask(other) == []
    entry = await fault(gateway)
    assert entry.fields["orders"] == [{"client_id": 1, "order_id": 1, "order_ref": "ref-1", "phase": "working"}]


async def test_a_half_open_connection_hangs_keeps_its_id_and_is_reset_in_the_end(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("half_open", on="place_order", for_=60)
    client.write(pack(limit(1)) + pack(limit(2)))
    await fault(gateway, phase="new")
    async with await RawClient.open(gateway.tws_port) as second:
        await second.greet(178, 178)
        second.send("71", "2", "1", "")
        assert (await second.receive())[3] == "326"
    await ended(gateway, fault="half_open")
    with contextlib.suppress(ConnectionError):
        assert await client.closed() == []
    assert gateway.truth.of("recv_place") == []
    async with await connected(gateway) as again:
        assert await ask(again) == []
    await works(gateway)


async def test_a_reset_after_the_write_leaves_the_order_at_the_broker_and_no_answer(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("reset_after_write")
    client.send(*limit(1))
    assert await client.closed() == []
    await gateway.truth.wait_for("accepted", timeout=SECONDS, order_id=1)
    assert gateway.truth.of("disconnect")[0].fields["reason"] == "reset by a fault"
    async with await connected(gateway) as again:
        assert [m[1] for m in await ask(again, OPEN_ORDERS) if m[0] == "5"] == ["1"]
    await works(gateway)


async def test_nothing_that_was_answered_before_the_reset_gets_out(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("reset_after_write", on="current_time")
    client.send(*TIME)
    assert await client.closed() == []
    assert gateway.truth.of("disconnect")[0].fields["messages"] == 1


async def test_a_closed_port_refuses_and_opens_again_with_its_number(gateway: PaperGateway, client: RawClient) -> None:
    port = gateway.tws_port
    gateway.inject("refuse", for_=60)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert await ask(client) == []
    await ended(gateway, fault="refuse")
    async with await connected(gateway, 2) as second:
        assert await ask(second) == []
    assert gateway.tws_port == port


async def test_two_closings_open_the_port_when_both_are_over(gateway: PaperGateway) -> None:
    gateway.inject("refuse", for_=0.05)
    gateway.inject("refuse", for_=60)
    await over(gateway, shot=1)
    assert gateway.server._opening is None
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", gateway.tws_port)
    await ended(gateway, shot=2)
    async with await connected(gateway) as client:
        assert await ask(client) == []


async def test_a_closed_gateway_stays_closed(gateway: PaperGateway) -> None:
    gateway.inject("refuse", for_=60)
    await gateway.aclose()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", gateway.tws_port)


async def test_a_gateway_that_closes_while_its_port_opens_leaves_nothing(gateway: PaperGateway) -> None:
    gateway.inject("refuse", for_=60)
    gateway.faults.clear()
    opening = gateway.server._opening
    assert opening is not None
    await gateway.aclose()
    assert opening.done()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", gateway.tws_port)


async def test_newcomers_are_refused_with_a_code(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("refuse", code=326, client_id=5, for_=60)
    async with await RawClient.open(gateway.tws_port) as second:
        await second.greet(178, 178)
        second.send("71", "2", "5", "")
        got = await second.closed()
        assert [m[3] for m in got] == ["326"]
        assert got[0][4].startswith("Unable to connect as the client id is already in use")
    async with await RawClient.connect(gateway.tws_port, 6) as third:
        assert await ask(third) == []
    assert gateway.faults.clear() == 1
    await works(gateway, 5)


async def test_a_slow_gateway_answers_late_and_in_order(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("slow", on="open_orders", for_=0.2, delay=0.3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    client.send(*OPEN_ORDERS)
    client.send(*TIME)
    kinds = [m[0] for m in await client.receive_until("49")]
    assert kinds == ["53", "49"]
    assert loop.time() - began >= 0.29  # a lower bound, not a measurement
    await over(gateway, fault="slow")
    assert await ask(client) == []
    await works(gateway)


async def test_frames_arrive_in_pieces_and_complete(gateway: PaperGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    transmit = Connection._transmit

    def counting(self: Connection, data: bytes) -> None:
        written.append(data)
        transmit(self, data)

    monkeypatch.setattr(Connection, "_transmit", counting)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.tws_port)
    client = RawClient(reader, writer)
    await client.greet(178, 178)
    client.send("71", "2", "1", "")
    await client.receive_until("9")
    gateway.inject("split_frames", for_=60, pieces=12)
    written.clear()
    client.send(*limit(1))
    data = b""
    async with asyncio.timeout(SECONDS):
        while b"Submitted" not in data.replace(b"PreSubmitted", b""):
            data += await reader.read(65536)
    # Counted where they are written: a client that is late finds several in one read.
    assert len(written) > 10
    assert gateway.faults.clear() == 1
    client.send(*cancel(1))
    async with asyncio.timeout(SECONDS):
        while b"Cancelled" not in data:
            data += await reader.read(65536)
    await client.close()
    await works(gateway)


async def test_a_restart_ends_everyone_closes_the_port_and_gives_lower_ids(
    gateway: PaperGateway, client: RawClient
) -> None:
    for order_id in (38098, 38099, 38100):
        client.send(*limit(order_id))
        await until(client, status_of(order_id, "Submitted"))
    gateway.inject("restart", on="cancel_order", for_=60, rollback_ids=2)
    client.send(*cancel(38100))
    await client.closed()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", gateway.tws_port)
    assert gateway.truth.of("recv_cancel") == []
    assert (await fault(gateway)).fields["phase"] == "working"
    await ended(gateway, fault="restart")
    async with await connected(gateway) as again:
        again.send("8", "1", "1")
        # It was told 38099 when it started: a session is never told the same id twice.
        assert int((await again.receive_until("9"))[-1][2]) == 38100
        shown = [m[1] for m in await ask(again, OPEN_ORDERS) if m[0] == "5"]
        assert shown == ["38098", "38099", "38100"]
        again.send(*limit(38100))
        assert not error_of(103, 38100)(await again.receive())
    await works(gateway)
