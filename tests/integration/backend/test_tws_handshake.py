"""The TWS backend against gateways that refuse the handshake, break it, or hang up later."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest

from ibkr_connector.backends.facts import NextIdTold, SocketClosed, SystemNotice
from ibkr_connector.backends.tws import TwsBackend
from ibkr_connector.backends.tws.library import Choice
from ibkr_connector.errors import (
    ClientIdInUse,
    ConfigurationError,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    IBKRConnectionError,
    IBKRError,
    NotConnected,
    ProtocolError,
    UnsupportedServerVersion,
)

from .orders import AAPL, limit_order
from .scripted import Fields, Peer, Script, ScriptedTws, frame, serve, silent
from .watch import ACCOUNT, SECONDS, Wire, connect

# --- connecting -------------------------------------------------------------------------------------------------------


async def test_only_the_handshake_and_startapi_are_written_by_connect() -> None:
    asked = asyncio.Event()

    async def handler(peer: Peer, fields: Fields) -> None:
        if fields[0] == "49":
            asked.set()
            await peer.send(49, 1, 1_775_425_766)

    async with ScriptedTws(serve(handler, next_id=42)) as tws:
        backend = Wire()
        info = await connect(backend, tws, client_id=7)
        assert (info.accounts, info.next_valid_id, info.server_version) == ((ACCOUNT,), 42, 176)
        assert backend.connected
        assert (await backend.server_time(SECONDS)).timestamp() == 1_775_425_766
        assert tws.peers[0].received == [["71", "2", "7", ""], ["49", "1"]]
        await backend.disconnect()
        assert not backend.connected


async def test_facts_of_the_handshake_come_after_connect_returned_and_in_order() -> None:
    async with ScriptedTws(serve(silent)) as tws:
        backend = Wire()
        await connect(backend, tws)
        assert backend.facts == []
        await backend.until(lambda fact: isinstance(fact, SystemNotice))
        assert backend.facts == [NextIdTold(order_id=1), SystemNotice(code=2104, text="OK:usfarm")]
        await backend.disconnect()


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
        backend = Wire()
        async with asyncio.timeout(SECONDS):
            with pytest.raises(error, match=says) as caught:
                await connect(backend, tws, timeout=60.0)
        assert type(caught.value) is error
        assert not backend.connected
        assert backend.facts == []


@pytest.mark.parametrize(("script", "says"), [(_say_nothing, "says nothing"), (_no_accounts, "login is not finished")])
async def test_a_handshake_that_does_not_end_times_out_and_says_where_it_stood(script: Script, says: str) -> None:
    async with ScriptedTws(script) as tws:
        backend = Wire()
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
    scripts = [_in_use, serve(silent, next_id=5), serve(silent, next_id=3)]

    async def script(peer: Peer) -> None:
        await scripts[len(tws.peers) - 1](peer)

    async with ScriptedTws(script) as tws:
        backend = Wire()
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
    async with ScriptedTws(serve(silent)) as tws:
        backend = Wire()
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
            backend = Wire()
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
    async with ScriptedTws(serve(silent)) as tws:
        backend = Wire()
        await connect(backend, tws)
        assert backend.capabilities == before
        await backend.disconnect()
    assert before.library.startswith(("ib_insync ", "ib_async "))
    absent: Choice = "ib_async" if "insync" in before.library else "ib_insync"
    assert TwsBackend(tws_library=absent).capabilities.library == "none"
    with pytest.raises(ConfigurationError, match=absent):
        await TwsBackend(tws_library=absent).connect(host="127.0.0.1", port=1, client_id=1, timeout=SECONDS)


async def test_two_attempts_at_once_are_refused() -> None:
    async with ScriptedTws(serve(silent)) as tws:
        backend = Wire()
        results = await asyncio.gather(connect(backend, tws), connect(backend, tws), return_exceptions=True)
        assert sorted(isinstance(result, IBKRConnectionError) for result in results) == [False, True]
        await backend.disconnect()


async def test_a_cancelled_attempt_leaves_no_socket_behind() -> None:
    async with ScriptedTws(_say_nothing) as tws:
        backend = Wire()
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
        backend = Wire()
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
        backend = Wire()
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
            lambda: backend.order_frame(limit_order(9))(),
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
    async with ScriptedTws(serve(silent)) as tws:
        backend = Wire()
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
        backend = Wire()
        await connect(backend, tws)
        with pytest.raises(NotConnected, match="stopped reading"):
            for number in range(1, 100_000):
                backend.order_frame(limit_order(number))()
        assert backend.unsent_bytes > 0
        backend.send_cancel(1)  # a cancel is always tried
        async with asyncio.timeout(SECONDS):
            await backend.disconnect()
