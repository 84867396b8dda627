"""The websocket of a Web backend: what ends it, what is told of the gap, what is asked for again, and its own end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from ibkr_connector.backends.facts import BrokerFact, SystemNotice
from ibkr_connector.backends.web.client import WebBackend
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.errors import AuthenticationError, ConnectTimeout
from ibkr_connector.paper import PaperGateway, WebOptions
from support.connector import ACCOUNT
from support.webstreams import AAPL, QUICK, SECONDS, Told, asked_of, count, line, web_backend


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    with asked_of(monkeypatch) as texts:
        yield texts


def _again(texts: list[str]) -> bool:
    return all(count(texts, topic) >= 2 for topic in ("sor", "str", "ssd", "sld", "spl"))


async def test_a_closed_websocket_is_a_gap_and_everything_is_asked_for_again(
    gateway: PaperGateway, asked: Told
) -> None:
    async with web_backend(gateway) as (backend, told):
        backend.subscribe_account(ACCOUNT)
        await asked.until(lambda texts: count(texts, "spl"))
        gateway.inject("websocket_close")
        await told.until(lambda _: told.notices == [1100, 1101])
        await asked.until(_again)
        assert backend.connected


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, heartbeat=0.1)], ids=["quick"])
async def test_a_websocket_without_heartbeats_is_given_up(gateway: PaperGateway, asked: Told) -> None:
    async with web_backend(gateway, replace(QUICK, silence=0.6)) as (_, told):
        assert told.notices == []
        gateway.inject("websocket_silent", for_=600.0)
        await told.until(lambda _: told.notices == [1100, 1101])
        await asked.until(lambda texts: count(texts, "sor") == 2)


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, heartbeat=0.1)], ids=["quick"])
async def test_a_quiet_market_with_heartbeats_is_no_gap(gateway: PaperGateway) -> None:
    async with web_backend(gateway, replace(QUICK, silence=0.6)) as (_, told):
        beats = Told()
        gateway_socket = next(iter(gateway.web.sockets.sockets))
        send = gateway_socket.send

        def noting(frame: Any) -> None:
            send(frame)
            if "hb" in frame:
                beats(frame)

        gateway_socket.send = noting  # type: ignore[method-assign]
        await beats.until(lambda frames: len(frames) >= 12)
        assert told.notices == []


async def test_a_lost_brokerage_session_and_its_websocket_are_one_gap(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, told):
        stood: list[bool] = []

        def listen(fact: BrokerFact) -> None:
            if isinstance(fact, SystemNotice) and fact.code == 1101:
                stood.append(backend._socket.up and backend._login.up)
            told(fact)

        backend.on_fact(listen)
        gateway.inject("brokerage_lost")
        await told.until(lambda _: told.notices == [1100, 1101])
        assert stood == [True]
        assert gateway.web.session.authenticated


async def test_a_login_that_ended_is_waited_for(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (_, told):
        gateway.inject("session_expired")
        gateway.inject("websocket_close")
        await told.until(lambda _: told.notices == [1100])
        gateway.web.session.log_in(brokerage=True)
        await told.until(lambda _: told.notices == [1100, 1101])


async def test_a_websocket_that_never_opens_fails_the_connection(
    gateway: PaperGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkr_connector.paper.web.socket.Socket._greet", lambda socket: None)
    backend = WebBackend(WebEndpoint(url=gateway.web.url, streams=replace(QUICK, opening=0.3)))
    with pytest.raises(ConnectTimeout, match="websocket"):
        await backend.connect(host="", port=0, client_id=2, timeout=SECONDS)
    assert not backend.connected


async def test_a_websocket_that_waits_for_a_login_says_so(
    gateway: PaperGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ibkr_connector.paper.web.socket.Socket._greet", lambda socket: socket.send({"message": "waiting for session"})
    )
    backend = WebBackend(WebEndpoint(url=gateway.web.url, streams=QUICK))
    with pytest.raises(AuthenticationError, match="login"):
        await backend.connect(host="", port=0, client_id=2, timeout=SECONDS)


async def test_frames_that_ibind_chokes_on_do_no_harm(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, told):
        _, quotes, _ = line(backend)
        await quotes.until(len)
        for frame in (
            {"topic": "ntf", "args": {"id": "1", "text": "a dict, as documented"}},
            {"topic": "ssd+DU1234567", "result": []},
            {"topic": "ssd+DU1234567", "result": [{"key": "NetLiquidation", "timestamp": 1}]},
            {"topic": "sts", "args": {"message": ""}},
            {"topic": "sor", "args": "none"},
            {"topic": "str", "args": [None, {"execution_id": None}]},
            {"topic": "smd+1"},
            {"topic": 5},
            {"error": "x", "topic": "smd"},
        ):
            gateway.web.sockets.broadcast(frame)
        seen = len(quotes.items)
        await quotes.until(lambda items: len(items) > seen)
        assert told.notices == []


async def test_another_programs_filter_of_the_order_list_is_lifted(gateway: PaperGateway, asked: Told) -> None:
    gateway.web.hub.accounts_asked = True
    path = gateway.web.url + "iserver/account/orders"
    async with aiohttp.ClientSession() as http, http.get(path, params={"filters": "filled"}) as answer:
        assert answer.status == 200
    async with web_backend(gateway):
        orders = next(iter(gateway.web.sockets.sockets)).topics._orders
        assert orders.filter == frozenset()


async def test_two_backends_in_one_process_have_nothing_to_do_with_each_other(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (second, told):
        _, quotes, _ = line(second)
        async with web_backend(gateway) as (first, _):
            _, others, _ = line(first)
            await others.until(len)
        seen = len(quotes.items)
        await quotes.until(lambda items: len(items) > seen + 1)
        assert told.notices == []


@pytest.mark.parametrize("trouble", ["none", "websocket_silent", "websocket_close", "frozen"])
async def test_the_end_is_quick_and_leaves_no_thread(gateway: PaperGateway, trouble: str) -> None:
    before = set(threading.enumerate())
    async with web_backend(gateway, replace(QUICK, retry_first=60.0, retry_most=60.0)) as (backend, told):
        _, quotes, _ = line(backend)
        await quotes.until(len)
        if trouble == "frozen":
            for socket in gateway.web.sockets.sockets:
                assert socket._transport is not None
                socket._transport.pause_reading()
                socket.silent = True
        elif trouble != "none":
            gateway.inject(trouble)
        if trouble == "websocket_close":
            await told.until(lambda _: told.notices == [1100])
        async with asyncio.timeout(5.0):
            await backend.disconnect()
    left = [
        thread
        for thread in threading.enumerate()
        if thread not in before and thread.name.startswith(("ws_", "ibkr-ws"))
    ]
    for thread in left:
        thread.join(1.0)
    assert [thread.name for thread in left if thread.is_alive()] == []


async def test_a_backend_connects_again_after_its_end(gateway: PaperGateway) -> None:
    backend = WebBackend(WebEndpoint(url=gateway.web.url, streams=QUICK))
    for _ in range(2):
        await backend.connect(host="", port=0, client_id=2, timeout=SECONDS)
        quotes = Told()
        backend.open_line(AAPL, quotes, quotes)
        await quotes.until(len)
        await backend.disconnect()
