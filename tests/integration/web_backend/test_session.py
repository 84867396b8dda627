"""The session of a Web backend by itself: connect, what is asked first, keep, lose, open again, end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ibkr_connector.backends.facts import BrokerFact, SocketClosed, SystemNotice
from ibkr_connector.backends.web.client import WebBackend
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.errors import (
    AuthenticationError,
    BrokerLinkLost,
    ConnectionLost,
    ConnectionRefused,
    IBKRConnectionError,
    LiveTradingRefused,
    NotConnected,
    RequestTimeout,
    TradingError,
)
from ibkr_connector.paper import PaperGateway, WebOptions
from support.connector import ACCOUNT

SECONDS = 20.0


class Heard(list[BrokerFact]):
    """Facts, and the wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._came = asyncio.Event()

    def take(self, fact: BrokerFact) -> None:
        self.append(fact)
        self._came.set()

    def notices(self) -> list[int]:
        return [fact.code for fact in self if isinstance(fact, SystemNotice)]

    def ends(self) -> list[bool]:
        return [fact.expected for fact in self if isinstance(fact, SocketClosed)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                self._came.clear()
                await self._came.wait()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def backend(gateway: PaperGateway, heard: Heard) -> AsyncIterator[Callable[..., WebBackend]]:
    """Makes backends, and ends them all."""
    made: list[WebBackend] = []

    def build(**options: Any) -> WebBackend:
        backend = WebBackend(WebEndpoint(**{"url": gateway.web.url, "tickle_every": 0.1, **options}))
        backend.on_fact(heard.take)
        made.append(backend)
        return backend

    yield build
    for one in made:
        await one.disconnect()


async def connect(backend: WebBackend, timeout: float = 10.0) -> Any:
    return await backend.connect(host="", port=0, client_id=2, timeout=timeout)


async def test_a_connection_tells_the_accounts_and_ends_with_one_word(
    backend: Callable[..., WebBackend], heard: Heard
) -> None:
    one = backend()
    info = await connect(one)
    assert info.accounts == (ACCOUNT,)
    assert one.connected
    values = {(row.key, row.currency): row.value for row in await one.account_values(ACCOUNT, 10.0)}
    assert values["NetLiquidation", "USD"]
    await one.disconnect()
    await one.disconnect()
    assert not bool(one.connected)
    assert heard.ends() == [True]
    with pytest.raises(NotConnected):
        await one.positions(1.0)


async def test_it_connects_again_after_it_was_ended(backend: Callable[..., WebBackend]) -> None:
    one = backend()
    await connect(one)
    with pytest.raises(IBKRConnectionError, match="disconnect first"):
        await connect(one)
    await one.disconnect()
    assert (await connect(one)).accounts == (ACCOUNT,)


async def test_what_is_suppressed_is_said_in_every_session(
    gateway: PaperGateway, backend: Callable[..., WebBackend], heard: Heard
) -> None:
    one = backend(suppress=("o163", "o354"))
    await connect(one)
    gateway.inject("brokerage_lost")
    await heard.until(lambda: heard.notices() == [1100, 1101])


async def test_a_lost_brokerage_session_is_told_and_opened_again(
    gateway: PaperGateway, backend: Callable[..., WebBackend], heard: Heard
) -> None:
    one = backend()
    await connect(one)
    gateway.inject("brokerage_lost")
    await heard.until(lambda: 1101 in heard.notices())
    assert heard.notices() == [1100, 1101]
    assert await one.search_contracts("AAPL", 10.0)
    assert one.connected


async def test_an_answer_that_says_no_bridge_is_enough_to_look(
    gateway: PaperGateway, backend: Callable[..., WebBackend], heard: Heard
) -> None:
    one = backend(tickle_every=240.0)
    await connect(one)
    gateway.inject("brokerage_lost")
    with contextlib.suppress(BrokerLinkLost):  # unless the websocket was quicker, and the session is back already
        await one.search_contracts("AAPL", 10.0)
    await heard.until(lambda: heard.notices() == [1100, 1101])


async def test_a_competing_program_is_an_error_that_says_so_unless_we_may_compete(
    gateway: PaperGateway, backend: Callable[..., WebBackend]
) -> None:
    gateway.inject("competing_login")
    with pytest.raises(AuthenticationError, match="another program") as told:
        await connect(backend())
    assert told.value.context["competing"] is True
    assert (await connect(backend(compete=True))).accounts == (ACCOUNT,)


async def test_a_session_that_another_program_took_is_waited_for(
    gateway: PaperGateway, backend: Callable[..., WebBackend], heard: Heard
) -> None:
    await connect(backend())
    gateway.inject("competing_login", for_=0.5)
    await heard.until(lambda: heard.notices() == [1100, 1101])


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, logged_in=False)])
async def test_nobody_logged_in_is_told_with_what_to_do(backend: Callable[..., WebBackend]) -> None:
    with pytest.raises(AuthenticationError, match="Log in at the gateway"):
        await connect(backend())


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, brokerage=False)])
async def test_a_brokerage_session_is_opened_where_there_is_none(backend: Callable[..., WebBackend]) -> None:
    assert (await connect(backend())).accounts == (ACCOUNT,)


async def test_a_login_that_ended_is_waited_for_until_somebody_logs_in(
    gateway: PaperGateway, backend: Callable[..., WebBackend], heard: Heard
) -> None:
    await connect(backend())
    gateway.inject("session_expired")
    await heard.until(lambda: heard.notices() == [1100])
    gateway.web.session.log_in(brokerage=True)
    await heard.until(lambda: heard.notices() == [1100, 1101])


async def test_a_gateway_that_is_gone_ends_the_connection(
    gateway: PaperGateway, backend: Callable[..., WebBackend], heard: Heard
) -> None:
    one = backend()
    await connect(one)
    gateway.inject("restart", for_=600.0)
    await heard.until(lambda: heard.ends() == [False])
    assert not one.connected
    with pytest.raises(ConnectionRefused):
        await connect(one)


async def test_where_nobody_listens_nothing_is_sent_and_the_error_says_so(backend: Callable[..., WebBackend]) -> None:
    with pytest.raises(ConnectionRefused) as told:
        await connect(backend(url="http://127.0.0.1:1/v1/api/"))
    assert told.value.outcome.value == "not_sent"


async def test_a_silent_gateway_ends_the_attempt_in_time(
    gateway: PaperGateway, backend: Callable[..., WebBackend]
) -> None:
    gateway.inject("swallow_request", on="auth_status", for_=600.0)
    with pytest.raises((RequestTimeout, IBKRConnectionError)):
        await asyncio.wait_for(connect(backend(), timeout=0.5), SECONDS)


async def test_the_end_does_not_wait_for_a_request_that_hangs(
    gateway: PaperGateway, backend: Callable[..., WebBackend]
) -> None:
    one = backend(tickle_every=240.0)
    await connect(one)
    gateway.inject("swallow_request", on="portfolio_summary", for_=600.0)
    hanging = asyncio.create_task(one.account_values(ACCOUNT, 8.0))
    await gateway.truth.wait_for("fault", timeout=SECONDS)
    begun = time.monotonic()
    await asyncio.wait_for(one.disconnect(), 6.0)
    assert time.monotonic() - begun < 6.0
    with pytest.raises(TradingError):
        await hanging


async def test_a_read_whose_connection_ends_is_not_repeated(
    gateway: PaperGateway, backend: Callable[..., WebBackend]
) -> None:
    one = backend(tickle_every=240.0)
    await connect(one)
    gateway.inject("drop_connection", on="portfolio_summary", front="web")
    with pytest.raises(ConnectionLost):
        await one.account_values(ACCOUNT, 5.0)


async def test_a_live_login_is_not_touched_in_paper_mode(
    gateway: PaperGateway, backend: Callable[..., WebBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibkr_connector.backends.web import calls

    answered = calls.WebCalls.get

    async def get(self: Any, path: str, params: Any = None, *, timeout: float) -> Any:
        told = await answered(self, path, params, timeout=timeout)
        return {**told, "isPaper": False} if path == "iserver/accounts" else told

    monkeypatch.setattr(calls.WebCalls, "get", get)
    with pytest.raises(LiveTradingRefused, match="SAFETY CHECK"):
        await connect(backend())
    assert (await connect(backend(mode="live"))).accounts == (ACCOUNT,)
