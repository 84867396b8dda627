"""The TWS backend against a gateway that falls silent, is late, loses markers or sends garbage."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest

from ibkr_connector.backends.facts import ExecutionSeen, PositionSeen, SocketClosed, SystemNotice
from ibkr_connector.backends.tws.trouble import UNREADABLE
from ibkr_connector.errors import (
    ConnectionLost,
    ProtocolError,
    RequestTimeout,
)

from .orders import AAPL, ONE_DAY, limit_order
from .scripted import Fields, Peer, ScriptedTws, frame, serve, silent
from .watch import ACCOUNT, SECONDS, SHORT, Wire, connect


async def test_silence_is_a_timeout_that_names_what_was_asked() -> None:
    async with ScriptedTws(serve(silent)) as tws:
        backend = Wire()
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
        backend = Wire()
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
        backend = Wire()
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
        backend = Wire()
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
        backend = Wire()
        await connect(backend, tws)
        with pytest.raises(ProtocolError, match="wrong list"):
            await backend.positions(SECONDS)
        with pytest.raises(ProtocolError, match="17"):
            await backend.historical_bars(ONE_DAY, SECONDS)
        assert not (await backend.open_orders(SECONDS)).complete
        assert not (await backend.completed_orders(SECONDS)).complete
        assert not (await backend.executions(SECONDS)).complete
        assert (await backend.server_time(SECONDS)).timestamp() == 1_775_425_766
        assert backend.decode_errors == 5
        assert [notice.code for notice in backend.of(SystemNotice)].count(UNREADABLE) == 5
        await backend.disconnect()


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
        backend = Wire()
        await connect(backend, tws)
        assert (await backend.server_time(SECONDS)).timestamp() == 1_775_425_766
        assert backend.connected
        await backend.disconnect()


async def test_a_length_beyond_any_message_ends_the_connection_instead_of_filling_memory() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        await peer.send_bytes(b"\x7f\xff\xff\xff" + b"x" * 100)

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        await connect(backend, tws)
        with pytest.raises(ConnectionLost, match="16 MB"):
            await backend.server_time(SECONDS)
        assert [fact.expected for fact in backend.of(SocketClosed)] == [False]


async def test_an_execution_with_a_zone_nobody_knows_is_not_lost() -> None:
    async def handler(peer: Peer, fields: Fields) -> None:
        await peer.send_bytes(execution(-1, 5, "20260413 15:27:04 Central European Standard Time"))

    async with ScriptedTws(serve(handler)) as tws:
        backend = Wire()
        await connect(backend, tws)
        backend.order_frame(limit_order(5))()
        fact = await backend.until(lambda fact: isinstance(fact, ExecutionSeen))
        assert isinstance(fact, ExecutionSeen)
        assert (fact.execution.order_id, fact.execution.quantity) == (5, Decimal(1))
        assert backend.decode_errors == 0
        await backend.disconnect()
