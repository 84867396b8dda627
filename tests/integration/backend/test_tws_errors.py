"""Error messages reach whom they concern, with the right class; the rest is not disturbed."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_connector.backends.facts import BrokerFact, NextIdTold, OrderEchoed, OrderNotice, SystemNotice
from ibkr_connector.errors import (
    BrokerLinkLost,
    ContractNotFound,
    HistoricalDataError,
    IBKRError,
    InsufficientFunds,
    MarketDataLost,
    NoMarketData,
    PacingError,
    ReadOnlyApi,
    RequestTimeout,
)
from ibkr_connector.models.contract import Contract

from .orders import AAPL, ONE_DAY, limit_order
from .scripted import Fields, Peer, ScriptedTws, serve, silent
from .watch import SECONDS, SHORT, Wire, connect


async def test_an_error_goes_to_whom_it_concerns() -> None:
    """To the order, to the request, to the line, to everybody; a stray one to nobody."""

    async def handler(peer: Peer, fields: Fields) -> None:
        match fields[0]:
            case "3":
                await peer.send(4, 2, fields[1], 399, "Order Message: held until 09:30", "")
                await peer.send(4, 2, fields[1], 201, "Order rejected - reason:no", '{"why": 1}')
            case "9":
                await peer.send(4, 2, fields[2], 10167, "Displaying delayed market data.", "")
                await peer.send(4, 2, fields[2], 2150, "a warning", "")
                await peer.send(4, 2, int(fields[2]) + 1_000, 162, "of a request long gone", "")
                await peer.send(4, 2, int(fields[2]) + 2_000, 202, "Order Canceled - reason:", "")
                await peer.send(4, 2, fields[2], 1100, "Connectivity has been lost", "")
                await peer.send(4, 2, fields[2], 200, "No security definition has been found for the request", "")
            case "81":
                await peer.send(4, 2, -1, 1102, "restored", "")
                await peer.send(4, 2, fields[1], 200, "No security definition has been found for the request", "")
            case "1":
                await peer.send(4, 2, fields[2], 10167, "Displaying delayed market data.", "")
                await peer.send(4, 2, fields[2], 10197, "No market data during competing live session", "")
            case _:
                return

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        await connect(backend, tws)
        order_id = backend.take_id()
        backend.order_frame(limit_order(order_id))()
        notices = [await backend.until(lambda fact, code=code: _is_notice(fact, code)) for code in (399, 201)]  # type: ignore[misc]
        assert notices == [
            OrderNotice(order_id=order_id, code=399, text="Order Message: held until 09:30"),
            OrderNotice(order_id=order_id, code=201, text="Order rejected - reason:no", reject_json='{"why": 1}'),
        ]
        with pytest.raises(BrokerLinkLost):  # a 200 during an outage proves nothing
            await backend.contract_details(AAPL, SECONDS)
        assert SystemNotice(code=1100, text="Connectivity has been lost") in backend.facts
        assert [fact.code for fact in backend.of(OrderNotice)] == [399, 201, 202]
        with pytest.raises(ContractNotFound):
            await backend.search_contracts("X", SECONDS)
        ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        line = backend.open_line(AAPL, lambda _quote: None, ended.set_result)
        async with asyncio.timeout(SECONDS):
            assert isinstance(await ended, MarketDataLost)
        backend.close_line(line)
        with pytest.raises(ContractNotFound):  # an answer, so all before it was read
            await backend.search_contracts("X", SECONDS)
        assert tws.peers[0].received.count(["2", "2", str(line.req_id)]) == 1  # it may live on there
        await backend.disconnect()


def _is_notice(fact: BrokerFact, code: int) -> bool:
    return isinstance(fact, OrderNotice) and fact.code == code


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("HMDS query returned no data: AAPL@SMART Trades", NoMarketData),
        ("Historical data request pacing violation", PacingError),
        ("API historical data query cancelled: 5", HistoricalDataError),
    ],
)
async def test_what_the_history_service_says_decides_about_the_error(text: str, error: type[IBKRError]) -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        await peer.send(4, 2, fields[1], 162, f"Historical Market Data Service error message:{text}", "")

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        await connect(backend, tws)
        with pytest.raises(error, match="AAPL"):
            await backend.historical_bars(ONE_DAY, SECONDS)
        await backend.disconnect()


async def test_a_history_query_that_is_given_up_is_cancelled_at_the_gateway() -> None:
    cancelled = asyncio.Event()

    async def handler(peer: Peer, fields: Fields) -> None:
        if fields[0] == "25":
            cancelled.set()

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        await connect(backend, tws)
        with pytest.raises(RequestTimeout):
            await backend.historical_bars(ONE_DAY, SHORT)
        async with asyncio.timeout(SECONDS):
            await cancelled.wait()
        cancelled.clear()
        task = asyncio.ensure_future(backend.historical_bars(ONE_DAY, SECONDS))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(SECONDS):
            await cancelled.wait()
        await backend.disconnect()


async def test_a_read_only_gateway_is_named_where_orders_are_asked_for() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        text = "Error validating request.-'bF' : cause - The API interface is currently in Read-Only mode."
        await peer.send(4, 2, fields[1] if fields[0] == "3" else -1, 321, text, "")

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        await connect(backend, tws)
        with pytest.raises(ReadOnlyApi):
            await backend.open_orders(SECONDS)
        with pytest.raises(ReadOnlyApi):
            await backend.completed_orders(SECONDS)
        with pytest.raises(ReadOnlyApi):
            await backend.what_if(limit_order(0), SECONDS)
        await backend.disconnect()


async def test_a_preview_leaves_no_fact_as_if_an_order_existed() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        await peer.send(3, fields[1], "PreSubmitted", 0, 100, 0, 0, 0, 0, 1, "", 0)
        await peer.send(4, 2, fields[1], 399, "a warning", "")
        await peer.send(4, 2, fields[1], 201, "Order rejected - reason:Initial margin requirement exceeded", "")
        await peer.send(3, fields[1], "Inactive", 0, 100, 0, 0, 0, 0, 1, "", 0)

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        await connect(backend, tws)
        with pytest.raises(InsufficientFunds, match="margin"):
            await backend.what_if(limit_order(0), SECONDS)
        assert [fact for fact in backend.facts if not isinstance(fact, NextIdTold | SystemNotice)] == []
        await backend.disconnect()


async def test_ids_never_fall_below_what_was_seen() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        await peer.send(3, 41, "Submitted", 0, 100, 0, 77, 0, 0, 1, "", 0)
        await peer.send(3, 900, "Submitted", 0, 100, 0, 78, 0, 0, 2, "", 0)  # of another client
        await peer.send(9, 1, 7)

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        backend.allow_ids_from(3)
        await connect(backend, tws)
        assert backend.take_id() == 3
        backend.send_cancel(1)
        await backend.until(lambda fact: fact == NextIdTold(order_id=7))
        assert backend.take_id() == 42
        backend.allow_ids_from(1_000)
        assert backend.take_id() == 1_000
        await backend.disconnect()


async def test_no_fact_is_made_of_an_echo_that_cannot_be_read() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        await peer.send(5, *["x"] * 90)
        await peer.send(49, 1, 1)

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        await connect(backend, tws)
        await backend.server_time(SECONDS)
        assert backend.of(OrderEchoed) == []
        assert backend.decode_errors == 1
        await backend.disconnect()


async def test_text_that_would_break_a_message_is_refused_before_it_is_sent() -> None:
    async with ScriptedTws(serve(silent)) as tws:
        backend = Wire()
        await connect(backend, tws)
        for read in (
            backend.search_contracts("A\0B", SECONDS),
            backend.contract_details(Contract.stock("A\0B"), SECONDS),
            backend.account_values("DU\0", SECONDS),
        ):
            with pytest.raises(ValueError, match="ASCII"):
                await read
        with pytest.raises(ValueError, match="numbers"):
            backend.open_line(AAPL, lambda _quote: None, lambda _error: None, "233;x")
        await backend.disconnect()
        assert tws.peers[0].received == [["71", "2", "1", ""]]
