"""The TWS backend against a gateway that refuses, lies, falls silent or sends garbage."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.backends.base import (
    BrokerFact,
    ExecutionSeen,
    NextIdTold,
    OrderEchoed,
    OrderNotice,
    PositionSeen,
    SocketClosed,
    SystemNotice,
)
from ibkr_connector.backends.tws import TwsBackend
from ibkr_connector.backends.tws.library import Choice
from ibkr_connector.backends.tws.trouble import UNREADABLE
from ibkr_connector.errors import (
    BrokerLinkLost,
    ClientIdInUse,
    ConfigurationError,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    ContractNotFound,
    HistoricalDataError,
    IBKRConnectionError,
    IBKRError,
    InsufficientFunds,
    MarketDataLost,
    NoMarketData,
    NotConnected,
    PacingError,
    ProtocolError,
    ReadOnlyApi,
    RequestTimeout,
    UnsupportedServerVersion,
)
from ibkr_connector.models.contract import Contract

from .orders import AAPL, limit_order
from .scripted import ACCOUNT, Fields, Peer, ScriptedTws, frame, serve

SECONDS = 5.0
SHORT = 0.05
Script = Callable[[Peer], Awaitable[None]]


async def connect(backend: TwsBackend, tws: ScriptedTws, *, timeout: float = SECONDS, client_id: int = 1) -> Any:
    return await backend.connect(host="127.0.0.1", port=tws.port, client_id=client_id, timeout=timeout)


class Watched(TwsBackend):
    """A backend whose facts are kept, and can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[BrokerFact] = []
        self._news = asyncio.Event()
        self.on_fact(self._take)

    def _take(self, fact: BrokerFact) -> None:
        self.facts.append(fact)
        self._news.set()

    async def until(self, condition: Callable[[BrokerFact], bool]) -> BrokerFact:
        async with asyncio.timeout(SECONDS):
            while True:
                for fact in self.facts:
                    if condition(fact):
                        return fact
                self._news.clear()
                await self._news.wait()

    def of(self, kind: type) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


# --- connecting -------------------------------------------------------------------------------------------------------


async def test_only_the_handshake_and_startapi_are_written_by_connect() -> None:
    asked = asyncio.Event()

    async def handler(peer: Peer, fields: Fields) -> None:
        if fields[0] == "49":
            asked.set()
            await peer.send(49, 1, 1_775_425_766)

    async with ScriptedTws(serve(handler, next_id=42)) as tws:
        backend = Watched()
        info = await connect(backend, tws, client_id=7)
        assert (info.accounts, info.next_valid_id, info.server_version) == ((ACCOUNT,), 42, 176)
        assert backend.connected
        assert (await backend.server_time(SECONDS)).timestamp() == 1_775_425_766
        assert tws.peers[0].received == [["71", "2", "7", ""], ["49", "1"]]
        await backend.disconnect()
        assert not backend.connected


async def test_facts_of_the_handshake_come_after_connect_returned_and_in_order() -> None:
    async with ScriptedTws(serve(_silent)) as tws:
        backend = Watched()
        await connect(backend, tws)
        assert backend.facts == []
        await backend.until(lambda fact: isinstance(fact, SystemNotice))
        assert backend.facts == [NextIdTold(order_id=1), SystemNotice(code=2104, text="OK:usfarm")]
        await backend.disconnect()


async def _silent(peer: Peer, fields: Fields) -> None:
    """Answers nothing."""


async def _in_use(peer: Peer) -> None:
    assert await peer.reader.readexactly(4)
    await peer.send(176, "20260405 23:49:26 Greenwich Mean Time")
    await peer.send(
        4, 2, -1, 326, "Unable to connect as the client id is already in use. Retry with a unique client id.", ""
    )


async def _close_after_version(peer: Peer) -> None:
    assert await peer.reader.readexactly(4)
    await peer.send(176, "20260405 23:49:26 Greenwich Mean Time")
    await peer.reader.readexactly(4)


async def _close_at_once(peer: Peer) -> None:
    """Accept, and hang up."""


async def _reset_at_once(peer: Peer) -> None:
    await peer.reader.readexactly(4)
    peer.abort()


async def _say_nothing(peer: Peer) -> None:
    await peer.reader.read()


async def _no_accounts(peer: Peer) -> None:
    await peer.greet(accounts="")
    await peer.reader.read()


async def _too_old(peer: Peer) -> None:
    await peer.reader.readexactly(4)
    await peer.send(120, "20260405 23:49:26")
    await peer.reader.read()


async def _too_new(peer: Peer) -> None:
    await peer.reader.readexactly(4)
    await peer.send(200, "20260405 23:49:26")
    await peer.reader.read()


async def _http(peer: Peer) -> None:
    await peer.reader.readexactly(4)
    await peer.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await peer.reader.read()


async def _word_for_version(peer: Peer) -> None:
    await peer.reader.readexactly(4)
    await peer.send("two hundred", "20260405")
    await peer.reader.read()


async def _garbage_for_accounts(peer: Peer) -> None:
    await peer.reader.readexactly(4)
    await peer.send(176, "20260405 23:49:26")
    await peer.send(15)
    await peer.reader.read()


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (_in_use, ClientIdInUse, "already in use"),
        (_close_after_version, IBKRConnectionError, "AcceptIncomingConnection"),
        (_close_at_once, IBKRConnectionError, "without a word"),
        (_reset_at_once, IBKRConnectionError, "AcceptIncomingConnection"),
        (_too_old, UnsupportedServerVersion, "972"),
        (_too_new, UnsupportedServerVersion, "200"),
        (_http, ProtocolError, "does not speak"),
        (_word_for_version, ProtocolError, "does not speak"),
        (_garbage_for_accounts, ProtocolError, "does not speak"),
    ],
)
async def test_every_way_to_fail_a_handshake_has_its_name_and_does_not_wait_for_the_timeout(
    script: Script, error: type[IBKRError], says: str
) -> None:
    async with ScriptedTws(script) as tws:
        backend = Watched()
        async with asyncio.timeout(SECONDS):
            with pytest.raises(error, match=says) as caught:
                await connect(backend, tws, timeout=60.0)
        assert type(caught.value) is error
        assert not backend.connected
        assert backend.facts == []


@pytest.mark.parametrize(("script", "says"), [(_say_nothing, "says nothing"), (_no_accounts, "login is not finished")])
async def test_a_handshake_that_does_not_end_times_out_and_says_where_it_stood(script: Script, says: str) -> None:
    async with ScriptedTws(script) as tws:
        backend = Watched()
        with pytest.raises(ConnectTimeout, match=says):
            await connect(backend, tws, timeout=0.2)
        assert not backend.connected


async def test_nobody_listening_is_a_refused_connection(unused_port: int) -> None:
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(ConnectionRefused, match=str(unused_port)):
            await TwsBackend().connect(host=host, port=unused_port, client_id=1, timeout=SECONDS)


async def test_an_unknown_host_is_named() -> None:
    with pytest.raises(IBKRConnectionError, match=r"nowhere\.invalid"):
        await TwsBackend().connect(host="nowhere.invalid", port=4002, client_id=1, timeout=SECONDS)


async def test_a_backend_connects_again_after_a_failure_and_after_a_loss() -> None:
    scripts = [_in_use, serve(_silent, next_id=5), serve(_silent, next_id=3)]

    async def script(peer: Peer) -> None:
        await scripts[len(tws.peers) - 1](peer)

    async with ScriptedTws(script) as tws:
        backend = Watched()
        with pytest.raises(ClientIdInUse):
            await connect(backend, tws)
        await connect(backend, tws)
        taken = [backend.take_id() for _ in range(2)]
        tws.peers[-1].abort()
        await backend.until(lambda fact: isinstance(fact, SocketClosed))
        info = await connect(backend, tws)
        assert taken == [5, 6]
        assert info.next_valid_id == 7
        await backend.disconnect()


async def test_the_old_connection_is_over_before_a_new_one_is_made() -> None:
    async with ScriptedTws(serve(_silent)) as tws:
        backend = Watched()
        await connect(backend, tws)
        await backend.until(lambda fact: isinstance(fact, SystemNotice))
        closing = asyncio.ensure_future(backend.disconnect())
        await asyncio.sleep(0)
        await connect(backend, tws)
        assert isinstance(backend.facts[-1], SocketClosed)
        await closing
        assert backend.connected
        await backend.disconnect()


async def test_a_gateway_that_hangs_up_right_after_the_handshake_is_not_taken_for_connected() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        if len(tws.peers) % 2:
            peer.abort()

    async with ScriptedTws(script) as tws:
        for _ in range(10):
            backend = Watched()
            try:
                await connect(backend, tws)
            except IBKRConnectionError:
                assert backend.facts == []
            else:
                await backend.until(lambda fact: isinstance(fact, SocketClosed))
            assert not backend.connected
            await backend.disconnect()


async def test_the_library_is_named_before_anything_is_imported_or_connected() -> None:
    before = TwsBackend().capabilities
    async with ScriptedTws(serve(_silent)) as tws:
        backend = Watched()
        await connect(backend, tws)
        assert backend.capabilities == before
        await backend.disconnect()
    assert before.library.startswith(("ib_insync ", "ib_async "))
    absent: Choice = "ib_async" if "insync" in before.library else "ib_insync"
    assert TwsBackend(tws_library=absent).capabilities.library == "none"
    with pytest.raises(ConfigurationError, match=absent):
        await TwsBackend(tws_library=absent).connect(host="127.0.0.1", port=1, client_id=1, timeout=SECONDS)


async def test_two_attempts_at_once_are_refused() -> None:
    async with ScriptedTws(serve(_silent)) as tws:
        backend = Watched()
        results = await asyncio.gather(connect(backend, tws), connect(backend, tws), return_exceptions=True)
        assert sorted(isinstance(result, IBKRConnectionError) for result in results) == [False, True]
        await backend.disconnect()


async def test_a_cancelled_attempt_leaves_no_socket_behind() -> None:
    async with ScriptedTws(_say_nothing) as tws:
        backend = Watched()
        task = asyncio.ensure_future(connect(backend, tws))
        async with asyncio.timeout(SECONDS):
            await tws.accepted.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await tws.peers[0].reader.read() is not None  # ended by our side


async def test_frames_split_and_joined_in_every_way_are_understood() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readexactly(4)
        await peer.reader.readexactly(struct.unpack(">I", await peer.reader.readexactly(4))[0])
        for byte in frame(176, "20260405 23:49:26 Greenwich Mean Time"):
            await peer.send_bytes(bytes([byte]))
            await asyncio.sleep(0)
        await peer.next()
        stream = frame(15, 1, ACCOUNT) + frame(9, 1, 1)
        for start in range(0, len(stream), 3):
            await peer.send_bytes(stream[start : start + 3])
            await asyncio.sleep(0)
        await peer.next()
        await peer.send_bytes(frame(49, 1, 1_775_425_766) + frame(4, 2, -1, 2104, "x", "")[:5])
        await peer.reader.read()

    async with ScriptedTws(script) as tws:
        backend = Watched()
        await connect(backend, tws)
        assert (await backend.server_time(SECONDS)).timestamp() == 1_775_425_766
        assert backend.decode_errors == 0
        await backend.disconnect()


# --- the end of a connection ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_every_waiting_read_ends_and_one_fact_tells_of_it(how: str) -> None:
    seen = 0

    async def handler(peer: Peer, fields: Fields) -> None:
        nonlocal seen
        seen += 1
        if seen == 8:
            getattr(peer, how)()

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        reads = [
            backend.server_time(SECONDS),
            backend.positions(SECONDS),
            backend.open_orders(SECONDS),
            backend.completed_orders(SECONDS),
            backend.executions(SECONDS),
            backend.contract_details(AAPL, SECONDS),
            backend.what_if(limit_order(0), SECONDS),
            backend.snapshot(AAPL, SECONDS),
        ]
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionLost] * len(reads)
        assert "positions" in str(results[1])
        await backend.until(lambda fact: isinstance(fact, SocketClosed))
        assert [fact.expected for fact in backend.of(SocketClosed)] == [False]
        assert not backend.connected
        writes: list[Callable[[], None]] = [
            lambda: backend.send_order(limit_order(9)),
            lambda: backend.send_cancel(9),
            backend.send_global_cancel,
            lambda: backend.subscribe_account(ACCOUNT),
        ]
        for write in writes:
            with pytest.raises(NotConnected):
                write()
        with pytest.raises(NotConnected):
            await backend.positions(SECONDS)
        backend.unsubscribe_account(ACCOUNT)
        await backend.disconnect()
        assert len(backend.of(SocketClosed)) == 1


async def test_our_own_disconnect_is_told_as_expected_and_waits_for_the_close() -> None:
    async with ScriptedTws(serve(_silent)) as tws:
        backend = Watched()
        await connect(backend, tws)
        await asyncio.gather(backend.disconnect(), backend.disconnect())
        assert [fact.expected for fact in backend.of(SocketClosed)] == [True]
        await backend.disconnect()
        assert len(backend.of(SocketClosed)) == 1


async def test_a_peer_that_does_not_read_cannot_hold_up_disconnect_nor_swallow_an_order() -> None:
    """Orders are refused, as certainly not sent, once the gateway has stopped reading; disconnect cuts the rest off."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with ScriptedTws(script) as tws:
        backend = Watched()
        await connect(backend, tws)
        with pytest.raises(NotConnected, match="stopped reading"):
            for number in range(1, 100_000):
                backend.send_order(limit_order(number))
        assert backend.unsent_bytes > 0
        backend.send_cancel(1)  # a cancel is always tried
        async with asyncio.timeout(SECONDS):
            await backend.disconnect()


# --- reads that go wrong ----------------------------------------------------------------------------------------------


async def test_silence_is_a_timeout_that_names_what_was_asked() -> None:
    async with ScriptedTws(serve(_silent)) as tws:
        backend = Watched()
        await connect(backend, tws)
        for read, what in (
            (backend.server_time(SHORT), "time"),
            (backend.positions(SHORT), "positions"),
            (backend.account_values(ACCOUNT, SHORT), ACCOUNT),
            (backend.contract_details(AAPL, SHORT), "AAPL"),
            (backend.search_contracts("APP", SHORT), "APP"),
            (backend.head_timestamp(AAPL, "TRADES", SHORT, use_rth=True), "AAPL"),
            (backend.snapshot(AAPL, SHORT), "AAPL"),
            (backend.what_if(limit_order(0), SHORT), "preview"),
        ):
            with pytest.raises(RequestTimeout, match=what):
                await read
        assert backend.connected
        await backend.disconnect()


async def test_a_missing_end_marker_is_incomplete_evidence_not_an_error() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        if fields[0] == "7":
            await peer.send_bytes(execution(fields[2], 5) + commission() + execution(-1, 6))
        if fields[0] == "16":
            await peer.send(3, 5, "Submitted", 0, 100, 0, 77, 0, 0, 1, "", 0)

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        records = await backend.executions(SHORT)
        assert not records.complete
        assert [row.order_id for row in records.executions] == [5]
        assert records.executions[0].commission is not None
        orders = await backend.open_orders(SHORT)
        assert not orders.complete
        assert [row.order_id for row in orders.statuses] == [5]
        assert not (await backend.completed_orders(SHORT)).complete
        assert backend.connected
        assert [(fact.execution.order_id, fact.replayed) for fact in backend.of(ExecutionSeen)] == [
            (5, True),
            (6, False),
        ]
        await backend.disconnect()


def execution(req_id: object, order_id: int, time: str = "20260413 15:27:04 US/Eastern") -> bytes:
    return frame(
        11, req_id, order_id, 265598, "AAPL", "STK", "", "0.0", "", "", "IEX", "USD", "AAPL", "NMS",
        f"0000e0d5.69dd7411.{order_id:02}.01", time, ACCOUNT, "IEX", "BOT", 1, 257.95, 389211034, 1, 0, 1, 257.95,
        "ref", "", "", "", 2,
    )  # fmt: skip


def commission() -> bytes:
    return frame(59, 1, "0000e0d5.69dd7411.05.01", 1.0, "USD", "1.7976931348623157E308", "", "")


async def test_a_late_end_marker_does_not_make_the_next_answer_look_empty() -> None:
    """A list of positions that is empty by mistake would make a flatten do nothing, or a gate let everything pass."""
    asked = 0

    async def handler(peer: Peer, fields: Fields) -> None:
        nonlocal asked
        if fields[0] != "61":
            return
        asked += 1
        if asked == 2:
            await peer.send(62, 1)  # of the first question, late and alone
            await peer.send_bytes(position() + frame(62, 1))
        if asked == 3:
            await peer.send_bytes(position() + frame(62, 1))

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        with pytest.raises(RequestTimeout):
            await backend.positions(SHORT)
        assert [row.contract.symbol for row in await backend.positions(SECONDS)] == ["AAPL"]
        await backend.disconnect()


def position(*, fields: int = 16) -> bytes:
    row = [61, 3, ACCOUNT, 265598, "AAPL", "STK", "", "0.0", "", "", "NASDAQ", "USD", "AAPL", "NMS", 15, 200.25]
    return frame(*row[:fields])


async def test_a_position_that_changes_while_it_is_told_is_listed_once_and_as_it_is_now() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        later = position().replace(b"200.25", b"201.75")
        await peer.send_bytes(position() + later + frame(62, 1) + later)

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        assert [row.avg_cost for row in await backend.positions(SECONDS)] == [Decimal("201.75")]
        news = await backend.until(lambda fact: isinstance(fact, PositionSeen))
        assert isinstance(news, PositionSeen)
        assert len(backend.of(PositionSeen)) == 1  # what was part of the answer is no news
        await backend.disconnect()


async def test_unreadable_messages_spoil_the_answer_they_belong_to_and_nothing_else() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        match fields[0]:
            case "61":
                await peer.send_bytes(position() + position(fields=15) + frame(62, 1))
            case "20":
                await peer.send(17, fields[1], "", "", 1, "1775485800", "x", 1, 1, 1, 1, 1, 1)
            case "16":
                await peer.send_bytes(frame(5, 9) + frame(53, 1))
            case "99":
                await peer.send_bytes(frame(101, 9) + frame(102))
            case "7":
                await peer.send_bytes(frame(11, fields[2], 5) + frame(55, 1, fields[2]))
            case "49":
                await peer.send(49, 1, 1_775_425_766)
            case _:
                return

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        with pytest.raises(ProtocolError, match="wrong list"):
            await backend.positions(SECONDS)
        with pytest.raises(ProtocolError, match="17"):
            await backend.historical_bars(_history(), SECONDS)
        assert not (await backend.open_orders(SECONDS)).complete
        assert not (await backend.completed_orders(SECONDS)).complete
        assert not (await backend.executions(SECONDS)).complete
        assert (await backend.server_time(SECONDS)).timestamp() == 1_775_425_766
        assert backend.decode_errors == 5
        assert [notice.code for notice in backend.of(SystemNotice)].count(UNREADABLE) == 5
        await backend.disconnect()


def _history() -> Any:
    from ibkr_connector.backends.base import HistoryRequest

    return HistoryRequest(contract=AAPL, end=None, duration="1 D", bar_size="1 min")


@pytest.mark.parametrize(
    "garbage",
    [
        frame(),
        frame("x"),
        frame(999, 1),
        frame(3, "five", "Submitted"),
        frame(4, 2, "x"),
        frame(1, 6),
        frame(1, 6, 1, 1, "price", 1, 0),
        frame(9, 1, 1, 1),
        frame(15, 1, ACCOUNT, "more"),
        frame(6, 2, "only"),
        struct.pack(">I", 0),
        frame(*range(5_000)),
        struct.pack(">I", 4) + b"\xff\xfe\xfd\x00",
    ],
)
async def test_no_garbage_ends_the_connection_or_stops_later_answers(garbage: bytes) -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        if fields[0] == "49":
            await peer.send_bytes(garbage + frame(49, 1, 1_775_425_766))

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        assert (await backend.server_time(SECONDS)).timestamp() == 1_775_425_766
        assert backend.connected
        await backend.disconnect()


async def test_a_length_beyond_any_message_ends_the_connection_instead_of_filling_memory() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        await peer.send_bytes(b"\x7f\xff\xff\xff" + b"x" * 100)

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        with pytest.raises(ConnectionLost, match="16 MB"):
            await backend.server_time(SECONDS)
        assert [fact.expected for fact in backend.of(SocketClosed)] == [False]


async def test_an_execution_with_a_zone_nobody_knows_is_not_lost() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        await peer.send_bytes(execution(-1, 5, "20260413 15:27:04 Central European Standard Time"))

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        backend.send_order(limit_order(5))
        fact = await backend.until(lambda fact: isinstance(fact, ExecutionSeen))
        assert isinstance(fact, ExecutionSeen)
        assert (fact.execution.order_id, fact.execution.quantity) == (5, Decimal(1))
        assert backend.decode_errors == 0
        await backend.disconnect()


# --- errors -----------------------------------------------------------------------------------------------------------


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
        backend = Watched()
        await connect(backend, tws)
        order_id = backend.take_id()
        backend.send_order(limit_order(order_id))
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
        backend = Watched()
        await connect(backend, tws)
        with pytest.raises(error, match="AAPL"):
            await backend.historical_bars(_history(), SECONDS)
        await backend.disconnect()


async def test_a_history_query_that_is_given_up_is_cancelled_at_the_gateway() -> None:
    cancelled = asyncio.Event()

    async def handler(peer: Peer, fields: Fields) -> None:
        if fields[0] == "25":
            cancelled.set()

    async with ScriptedTws(serve(handler)) as tws:
        backend = Watched()
        await connect(backend, tws)
        with pytest.raises(RequestTimeout):
            await backend.historical_bars(_history(), SHORT)
        async with asyncio.timeout(SECONDS):
            await cancelled.wait()
        cancelled.clear()
        task = asyncio.ensure_future(backend.historical_bars(_history(), SECONDS))
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
        backend = Watched()
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
        backend = Watched()
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
        backend = Watched()
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
        backend = Watched()
        await connect(backend, tws)
        await backend.server_time(SECONDS)
        assert backend.of(OrderEchoed) == []
        assert backend.decode_errors == 1
        await backend.disconnect()


async def test_text_that_would_break_a_message_is_refused_before_it_is_sent() -> None:
    async with ScriptedTws(serve(_silent)) as tws:
        backend = Watched()
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
        with pytest.raises(ValueError, match="market data type"):
            backend.set_market_data_type(9)
        await backend.disconnect()
        assert tws.peers[0].received == [["71", "2", "1", ""]]
