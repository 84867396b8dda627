"""Greeting, client ids, and peers that behave badly: what happens to them, and that nothing happens to the others."""

from __future__ import annotations

import asyncio
import struct

import pytest

from ibkr_connector.paper import PaperGateway, TwsOptions

from .conftest import until
from .raw import RawClient, pack, place_order

pytestmark = pytest.mark.protocol

TIME = ("49", "1")


@pytest.mark.parametrize(("low", "high", "agreed"), [(100, 157, "157"), (157, 176, "176"), (157, 200, "178")])
async def test_the_highest_common_version_is_announced(gateway: PaperGateway, low: int, high: int, agreed: str) -> None:
    async with await RawClient.open(gateway.tws_port) as client:
        version, connected_at = await client.greet(low, high)
        assert version == agreed
        assert connected_at.endswith(" US/Eastern")


@pytest.mark.parametrize(("low", "high"), [(100, 156), (179, 222)])
async def test_a_client_of_another_age_is_told_and_let_go(gateway: PaperGateway, low: int, high: int) -> None:
    async with await RawClient.open(gateway.tws_port) as client:
        answer = await client.greet(low, high)
        assert answer[:4] == ["4", "2", "-1", "506"]
        assert "157 to 178" in answer[4]
        assert await client.closed() == []


async def test_nothing_is_said_between_the_greeting_and_start_api(gateway: PaperGateway) -> None:
    async with await RawClient.open(gateway.tws_port) as client:
        await client.greet(157, 178)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.receive(), 0.1)
        client.send("71", "2", "1", "")
        assert (await client.receive())[0] == "15"


async def test_a_greeting_and_start_in_one_packet_work(gateway: PaperGateway) -> None:
    async with await RawClient.open(gateway.tws_port) as client:
        text = b"v157..178"
        client.write(b"API\0" + struct.pack(">I", len(text)) + text + pack(["71", "2", "1", ""]) + pack(TIME))
        kinds = [message[0] for message in await client.receive_until("49")]
        assert kinds == ["178", "15", "9", "4", "4", "4", "49"]


async def test_frames_may_come_in_single_bytes(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        for byte in pack(TIME):
            client.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.receive())[0] == "49"


async def test_a_request_before_start_api_is_not_connected(gateway: PaperGateway) -> None:
    async with await RawClient.open(gateway.tws_port) as client:
        await client.greet(178, 178)
        client.send(*TIME)
        assert (await client.receive())[3] == "504"


async def test_a_client_id_in_use_is_refused_with_326_and_closed(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 7) as first:
        async with await RawClient.open(gateway.tws_port) as second:
            await second.greet(178, 178)
            second.send("71", "2", "7", "")
            answer = await second.receive()
            assert answer[2:5] == [
                "-1",
                "326",
                "Unable to connect as the client id is already in use. Retry with a unique client id.",
            ]
            assert await second.closed() == []
        first.send(*TIME)
        assert (await first.receive())[0] == "49"
    await until(lambda: not gateway.clients)
    async with await RawClient.connect(gateway.tws_port, 7):
        assert gateway.clients == [7]


async def test_the_thirty_third_client_is_refused(gateway: PaperGateway) -> None:
    clients = [await RawClient.connect(gateway.tws_port, number) for number in range(32)]
    async with await RawClient.open(gateway.tws_port) as late:
        await late.greet(178, 178)
        late.send("71", "2", "99", "")
        answer = await late.receive()
        assert answer[3] == "326"
        assert "32" in answer[4]
        assert await late.closed() == []
    for client in clients:
        await client.close()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 200,
        b"API\0\xff\xff\xff\xff",
        b"API\0\0\0\0\x05hello",
        b"\0" * 100,
    ],
)
async def test_strangers_are_dropped_and_clients_stay(gateway: PaperGateway, data: bytes) -> None:
    async with (
        await RawClient.connect(gateway.tws_port, 1) as client,
        await RawClient.open(gateway.tws_port) as stranger,
    ):
        stranger.write(data)
        assert await stranger.closed() == []
        client.send(*TIME)
        assert (await client.receive())[0] == "49"


@pytest.mark.parametrize("options", [TwsOptions(handshake_timeout=0.05)])
async def test_a_silent_stranger_is_dropped_in_time(gateway: PaperGateway) -> None:
    async with await RawClient.open(gateway.tws_port) as stranger:
        assert await stranger.closed() == []


@pytest.mark.parametrize(
    "data", [struct.pack(">I", 0), struct.pack(">I", 20 * 1024 * 1024), struct.pack(">I", 3) + b"abc"]
)
async def test_a_client_that_loses_the_framing_is_dropped(gateway: PaperGateway, data: bytes) -> None:
    async with (
        await RawClient.connect(gateway.tws_port, 1) as client,
        await RawClient.connect(gateway.tws_port, 2) as other,
    ):
        client.write(data)
        assert await client.closed() == []
        other.send(*TIME)
        assert (await other.receive())[0] == "49"
    [entry] = gateway.truth.of("disconnect", client_id=1)
    assert entry.fields["reason"] != "closed by the client"


async def test_an_unreadable_request_is_error_320_and_the_connection_stays(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        for fields in (
            ["1", "11", "5"],
            ["1", "11", "5", "x", *[""] * 15],
            ["9", "8", "5", *["0"] * 40],
            ["3", "5", "265598"],
            ["20", "5", "0", "AAPL"],
            ["62", "1", "5"],
        ):
            client.send(*fields)
            answer = await client.receive()
            assert answer[2:4] == ["5", "320"], (fields, answer)
            assert answer[4].startswith("Error reading request. Unable to parse data: ")
        for fields in (["12345", "1"], ["hello"], [""], ["49"]):
            client.send(*fields)
            assert (await client.receive())[2:4] == ["-1", "320"], fields
        client.send(*TIME)
        assert (await client.receive())[0] == "49"


async def test_a_peer_that_speaks_nonsense_for_long_is_dropped(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.write(pack(["nonsense"]) * 30)
        answers = await client.closed()
        assert len(answers) <= 20
        assert {answer[3] for answer in answers} <= {"320"}


async def test_a_client_that_does_not_read_is_dropped_and_the_others_are_served(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1), await RawClient.connect(gateway.tws_port, 2) as other:
        block = pack(["46", "6", "1", "48", "x" * 200]) * 1000
        while gateway.clients == [1, 2]:
            gateway.flood(1, block)
            await asyncio.sleep(0)
        other.send(*TIME)
        assert (await other.receive())[0] == "49"
    [entry] = gateway.truth.of("disconnect", client_id=1)
    assert entry.fields["reason"] == "does not read what it is sent"


async def test_messages_above_the_rate_are_answered_later_not_lost(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.write(pack(TIME) * 60)
        for _ in range(60):
            assert (await client.receive())[0] == "49"


@pytest.mark.parametrize("options", [TwsOptions(rate_mode="reject")])
async def test_a_client_that_asks_for_pacing_is_paced_instead_of_refused(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1, options="+PACEAPI") as client:
        client.write(pack(TIME) * 55)
        for _ in range(55):
            assert (await client.receive())[0] == "49"


@pytest.mark.parametrize("options", [TwsOptions(message_rate_limit=None)])
async def test_a_flood_of_one_client_leaves_the_others_their_turn(gateway: PaperGateway) -> None:
    async with (
        await RawClient.connect(gateway.tws_port, 1) as noisy,
        await RawClient.connect(gateway.tws_port, 2) as quiet,
    ):
        noisy.write(pack(TIME) * 20_000)
        quiet.send(*TIME)
        assert (await quiet.receive())[0] == "49"
        served = 0
        while served < 20_000:
            assert (await noisy.receive())[0] == "49"
            served += 1


@pytest.mark.parametrize("options", [TwsOptions(read_only=True)])
async def test_a_read_only_gateway_refuses_orders_with_321(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send("4", "1", "5", "")
        answer = await client.receive()
        assert answer[2:4] == ["5", "321"]
        assert "Read-Only mode" in answer[4]


async def test_starting_twice_is_501(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send("71", "2", "1", "")
        assert (await client.receive())[3] == "501"


async def test_errors_can_be_injected_and_clients_dropped(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as one, await RawClient.connect(gateway.tws_port, 2) as two:
        assert gateway.inject_error(1100, "Connectivity has been lost.") == 2
        for client in (one, two):
            assert (await client.receive())[2:5] == ["-1", "1100", "Connectivity has been lost."]
        assert gateway.drop(1) == 1
        assert await one.closed() == []
        await until(lambda: gateway.clients == [2])


async def test_closing_the_gateway_ends_every_connection() -> None:
    gateway = PaperGateway()
    await gateway.start()
    client = await RawClient.connect(gateway.tws_port, 1)
    await gateway.aclose()
    assert await client.closed() == []
    await client.close()
    await gateway.aclose()
    with pytest.raises(RuntimeError, match="make a new one"):
        await gateway.start()


async def test_strangers_do_not_pile_up(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        strangers = [await RawClient.open(gateway.tws_port) for _ in range(33)]
        assert await strangers[-1].closed() == []
        client.send(*TIME)
        assert (await client.receive())[0] == "49"
        for stranger in strangers:
            await stranger.close()


async def test_an_order_the_gateway_itself_refuses_is_in_the_truth_log(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*place_order(5, symbol="NOSUCH", action="BUY", quantity=1, orderType="MKT", orderRef="r"))
        assert (await client.receive())[2:4] == ["5", "200"]
        client.send("3", "6", "not enough")
        assert (await client.receive())[2:4] == ["6", "320"]
    [received] = gateway.truth.of("recv_place", client_id=1, order_id=5, order_ref="r")
    [rejected] = gateway.truth.of("rejected", order_id=5, code=200)
    assert received.seq < rejected.seq
    assert gateway.truth.of("unreadable", client_id=1, request="placeOrder")
