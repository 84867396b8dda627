"""Market data on the wire: kinds of data, lines, generic ticks, aggregation, pacing of history."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway, TwsOptions
from ibkr_connector.paper.exchange.types import QuoteChanged

from .conftest import until
from .raw import RawClient

pytestmark = pytest.mark.protocol

Message = list[str]
APPLE = ["265598", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
EURO = ["12087792", "EUR", "CASH", "", "0.0", "", "", "IDEALPRO", "", "USD", "", ""]


def market_data(request_id: int, contract: Message = APPLE, generic: str = "", *, snapshot: bool = False) -> Message:
    return ["1", "11", str(request_id), *contract, "0", generic, "1" if snapshot else "0", "0", ""]


def history(
    request_id: int, bar_size: str = "1 hour", *, duration: str = "600 S", end: str = "", keep: str = "0"
) -> Message:
    return ["20", str(request_id), *APPLE, "0", end, bar_size, duration, "1", "TRADES", "2", keep, ""]


async def first_ticks(client: RawClient, *kinds: str) -> list[Message]:
    """Messages until a tick of each of these types has come."""
    seen: list[Message] = []
    while not set(kinds) <= {message[3] for message in seen if message[0] in {"1", "2", "45", "46"}}:
        seen.append(await client.receive())
    return seen


async def test_a_stream_begins_with_its_kind_and_parameters(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*market_data(5))
        assert await client.receive() == ["58", "1", "5", "1"]
        assert await client.receive() == ["81", "5", "0.01", "9c0001", "3"]
        messages = await first_ticks(client, "1", "0", "2", "3", "4", "5", "8", "9", "45")
        assert {message[2] for message in messages} == {"5"}


async def test_a_request_for_delayed_data_is_served_live_where_there_is_live_data(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send("59", "1", "3")
        client.send(*market_data(5))
        assert await client.receive() == ["58", "1", "5", "1"]


@pytest.mark.parametrize("options", [TwsOptions(entitlement="delayed")])
async def test_without_a_live_subscription_data_is_delayed_on_request_only(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*market_data(5))
        assert (await client.receive())[2:4] == ["5", "10089"]
        client.send("59", "1", "3")
        client.send(*market_data(6))
        warning = await client.receive()
        assert warning[2:5] == [
            "6",
            "10167",
            "Requested market data is not subscribed. Displaying delayed market data.",
        ]
        assert await client.receive() == ["58", "1", "6", "3"]
        messages = await first_ticks(client, "66", "67", "68", "88")
        stamped = int(next(message[4] for message in messages if message[3] == "88"))
        assert gateway.clock.now().timestamp() - stamped >= 900
        client.send(*market_data(7, snapshot=True))
        ended = await client.receive_until("57")
        assert ended[-1] == ["57", "1", "7"]


@pytest.mark.parametrize("options", [TwsOptions(entitlement="none")])
async def test_without_any_subscription_there_is_error_354(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send("59", "1", "3")
        client.send(*market_data(5))
        assert (await client.receive())[2:4] == ["5", "354"]


@pytest.mark.parametrize("options", [TwsOptions(max_lines=2)])
async def test_market_data_lines_are_counted_over_all_clients_and_snapshots_are_not(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as one, await RawClient.connect(gateway.tws_port, 2) as two:
        one.send(*market_data(1))
        two.send(*market_data(1, EURO))
        await one.receive_until("58")
        await two.receive_until("58")
        two.send(*market_data(2, snapshot=True))
        assert (await two.receive_until("57"))[-1][2] == "2"
        two.send(*market_data(3))
        assert (await two.receive_until("4"))[-1][2:4] == ["3", "101"]
        one.send("2", "2", "1")
        one.send("49", "1")
        await one.receive_until("49")
        two.send(*market_data(4))
        messages = await two.receive_until("58", "4")
        assert messages[-1] == ["58", "1", "4", "1"]


async def test_an_id_in_use_is_a_duplicate(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*market_data(5))
        client.send(*market_data(5, EURO))
        error = (await client.receive_until("4"))[-1]
        assert error[2:5] == ["5", "322", "Error processing request.-'bQ' : cause - Duplicate ticker id"]


async def test_a_lost_client_leaves_no_subscription_behind(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*market_data(5))
        client.send(*history(6, "1 min", keep="1"))
        await client.receive_until("17")
        assert gateway.server._hub.lines == 1
    await until(lambda: not gateway.clients)
    assert gateway.server._hub.lines == 0
    next_event = gateway.exchange.next_event_at()
    assert next_event is not None
    # Nobody follows the market any more: the next thing to happen is the end of the day.
    assert next_event - gateway.clock.now() > timedelta(hours=1)


async def test_a_fast_clock_does_not_flood_a_client(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*market_data(5))
        await first_ticks(client, "1", "2", "4")
        gateway.jump(gateway.clock.now() + timedelta(hours=1))
        client.send("49", "1")
        messages = await client.receive_until("49")
        # An hour of quotes and trades is one new picture, or two where the interval fell between.
        assert len(messages) < 40


@pytest.mark.parametrize("options", [TwsOptions(tick_interval=3600)])
@pytest.mark.parametrize("gateway_arguments", [{"speed": 100.0}])
async def test_between_two_updates_of_a_ticker_its_interval_passes(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        quotes: list[object] = []
        stop = gateway.exchange.listen(lambda event: quotes.append(event) if isinstance(event, QuoteChanged) else None)
        client.send(*market_data(5))
        await first_ticks(client, "1", "2", "4", "8", "14")
        await until(lambda: len(quotes) > 50)
        stop()
        client.send("49", "1")
        assert (await client.receive())[0] == "49", "fifty new quotes, and not one of them is due"


@pytest.mark.parametrize("gateway_arguments", [{"speed": 600.0}])
async def test_a_snapshot_shows_the_market_of_this_moment(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        began = gateway.clock.now()
        await until(lambda: gateway.clock.now() - began > timedelta(minutes=2))
        client.send(*market_data(5, snapshot=True))
        messages = await client.receive_until("57")
        [stamp] = [int(message[4]) for message in messages if message[0] == "46" and message[3] == "45"]
        assert stamp > began.timestamp() + 60


@pytest.mark.parametrize("gateway_arguments", [{"speed": 0.001}])
async def test_a_jump_of_the_clock_moves_bars_at_once(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send("50", "3", "7", *APPLE, "5", "TRADES", "0", "")
        client.send(*history(8, "1 min", duration="1 D", keep="1"))
        await client.receive_until("17")
        gateway.jump(gateway.clock.now() + timedelta(minutes=2))
        kinds: set[str] = set()
        while kinds != {"50", "90"}:
            kinds.add((await client.receive())[0])


async def test_a_closed_market_has_no_sides(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        gateway.jump(gateway.clock.now() + timedelta(hours=12))
        client.send(*market_data(5))
        messages = await first_ticks(client, "1", "2", "9")
        assert ["1", "6", "5", "1", "-1.0", "0", "1"] in messages
        assert ["1", "6", "5", "2", "-1.0", "0", "1"] in messages
        client.send("59", "1", "2")
        client.send(*market_data(6))
        frozen = [message for message in await first_ticks(client, "1", "2") if message[2] == "6"]
        assert frozen[0] == ["58", "1", "6", "2"]
        while not {"1", "2"} <= {message[3] for message in frozen if message[0] == "1"}:
            frozen.append(await client.receive())
        bids = [message for message in frozen if message[0] == "1" and message[2:4] == ["6", "1"]]
        assert float(bids[0][4]) > 0


async def test_generic_ticks_bring_their_extra_ticks(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*market_data(5, generic="233,221,236,104,106,165,mdoff"))
        await first_ticks(client, "37", "46", "23", "24", "21", "48")


async def test_identical_small_bars_within_15_seconds_are_a_pacing_violation(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*history(1, "30 secs"))
        assert (await client.receive())[:2] == ["17", "1"]
        client.send(*history(2, "30 secs"))
        assert (await client.receive())[2:5] == [
            "2",
            "162",
            "Historical Market Data Service error message:Historical data request pacing violation",
        ]
        for request_id in (3, 4):
            client.send(*history(request_id, "1 min"))
            assert (await client.receive())[:2] == ["17", str(request_id)]


@pytest.mark.parametrize("options", [TwsOptions(history_pacing=False)])
async def test_the_pacing_of_history_can_be_switched_off(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        for request_id in (1, 2):
            client.send(*history(request_id, "30 secs"))
            assert (await client.receive())[:2] == ["17", str(request_id)]


async def test_history_never_knows_more_than_now(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*history(1, "1 min", duration="1 D", end="20991231-00:00:00"))
        message = await client.receive()
        starts = [int(text) for text in message[5::8]]
        now = gateway.clock.now().timestamp()
        assert starts
        assert max(starts) <= now


async def test_an_end_without_a_zone_is_warned_about(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send(*history(1, "1 day", duration="5 D", end="20260402 16:00:00"))
        assert (await client.receive())[2:4] == ["1", "2174"]
        assert (await client.receive())[:2] == ["17", "1"]


async def test_an_instrument_without_data_has_no_history(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        request = history(1, "1 day", duration="5 D")
        request[2:14] = EURO
        client.send(*request)
        answer = await client.receive()
        assert answer[2:4] == ["1", "162"]
        assert answer[4].endswith("HMDS query returned no data: EUR@IDEALPRO Trades")


@pytest.mark.parametrize("gateway_arguments", [{"start": datetime(2026, 4, 15, 13, 29, 57, tzinfo=UTC), "speed": 20.0}])
async def test_updated_history_agrees_with_history_asked_for_later(
    gateway: PaperGateway, gateway_arguments: dict[str, Any]
) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        client.send("20", "1", *APPLE, "0", "", "1 min", "1 D", "0", "TRADES", "2", "1", "")
        assert (await client.receive())[0] == "17"
        updates: dict[str, Message] = {}
        while len(updates) < 3:
            message = await client.receive()
            assert message[0] == "90"
            updates[message[3]] = message
        client.send("25", "1", "1")
        assert (await client.receive_until("4"))[-1][3] == "162"
        await asyncio.sleep(0)
        client.send("20", "2", *APPLE, "0", "", "1 min", "1 D", "0", "TRADES", "2", "0", "")
        answer = await client.receive()
        later = {answer[at]: answer[at : at + 8] for at in range(5, len(answer), 8)}
        for start in sorted(updates)[:-1]:
            count, _, opened, close, high, low, wap, volume = updates[start][2:]
            assert later[start] == [start, opened, high, low, close, volume, wap, count]


async def test_a_long_query_can_be_cancelled_while_it_works_and_holds_nobody_up(gateway: PaperGateway) -> None:
    async with await RawClient.connect(gateway.tws_port, 1) as one, await RawClient.connect(gateway.tws_port, 2) as two:
        one.send(*history(1, "1 min", duration="1 Y"))
        one.send(*history(1, "1 min", duration="1 D"))
        duplicate = await one.receive()
        assert duplicate[2:5] == [
            "1",
            "322",
            "Error processing request.-'bM' : cause - Duplicate ticker ID for API historical data query",
        ]
        two.send("49", "1")
        assert (await two.receive())[0] == "49"
        one.send("25", "1", "1")
        assert (await one.receive())[2:5] == [
            "1",
            "162",
            "Historical Market Data Service error message:API historical data query cancelled: 1",
        ]
        one.send("25", "1", "1")
        assert (await one.receive())[2:5] == ["1", "366", "No historical data query found for ticker id:1"]
