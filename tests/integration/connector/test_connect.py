"""Connecting, staying connected, and refusing what must not be touched."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from ibkr_connector import get_ibkr_connector
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import (
    CircuitOpen,
    ClientIdInUse,
    ConfigurationError,
    ConnectionLost,
    ConnectionRefused,
    ConnectorClosed,
    ConnectorConflict,
    ConnectTimeout,
    JournalInUse,
    LiveTradingRefused,
    NotConnected,
    SyncCallFromSession,
)
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, incident, link_reaches
from support.proxy import Proxy, is_kind

SECONDS = 20.0


async def test_connect_returns_true_and_is_idempotent(connector: IBKRConnector) -> None:
    assert await connector.connect() is True
    assert connector.connected
    assert connector.is_connected()
    assert connector.account_id == ACCOUNT
    status = connector.get_connection_status()
    assert (status["state"], status["reconciled"], status["epoch"]) == ("ready", True, 1)


async def test_many_callers_share_one_connection(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port)
    assert await asyncio.gather(*(connector.connect() for _ in range(50))) == [True] * 50
    assert len(gateway.truth.of("connect")) == 1


async def test_refused_connection_names_the_fix_and_then_the_breaker_opens(make: MakeConnector, proxy: Proxy) -> None:
    port = proxy.port
    await proxy.__aexit__(None, None, None)
    connector = make(port)
    with pytest.raises(ConnectionRefused) as caught:
        await connector.connect()
    assert caught.value.retryable
    assert "enable its API" in str(caught.value)
    assert not connector.should_attempt_connection()
    with pytest.raises(CircuitOpen) as opened:
        await connector.connect()
    assert opened.value.retry_after > 0
    status = connector.get_connection_status()
    assert status["circuit_breaker_active"] is True
    assert status["connection_failures"] == 3


async def test_gateway_that_accepts_and_says_nothing_is_a_timeout(make: MakeConnector, proxy: Proxy) -> None:
    proxy.swallow_answers = lambda _: True
    connector = make(proxy.port, handshake_timeouts=(0.2, 0.2, 0.2), connect_attempts=(1, 1, 1))
    with pytest.raises(ConnectTimeout):
        await connector.connect()


async def test_client_id_in_use_is_said_so(gateway: PaperGateway, make: MakeConnector) -> None:
    first = make(gateway.tws_port, client_id=5)
    await first.connect()
    second = make(gateway.tws_port, client_id=5, read_only=True)
    with pytest.raises(ClientIdInUse):
        await second.connect()


async def test_two_programs_on_one_account_are_kept_apart_by_the_journal(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    first = make(gateway.tws_port, client_id=5)
    await first.connect()
    second = make(gateway.tws_port, client_id=6)
    with pytest.raises(JournalInUse, match="held by"):
        await second.connect()
    assert not second.connected


class TestLiveAccounts:
    """INV-07: no live account is touched unless three things say so."""

    @pytest.fixture
    def gateway_arguments(self) -> dict[str, object]:
        return {}

    @pytest.fixture
    async def live(self) -> object:
        async with PaperGateway(tws_port=0, seed=7, accounts=("U7654321",)) as gateway:
            yield gateway

    async def test_paper_mode_refuses_a_live_account_and_disconnects(
        self, live: PaperGateway, make: MakeConnector
    ) -> None:
        connector = make(live.tws_port)
        with pytest.raises(LiveTradingRefused, match="SAFETY CHECK FAILED: not a paper trading account"):
            await connector.connect()
        assert not connector.connected
        await live.truth.wait_for("disconnect", timeout=SECONDS)

    async def test_mode_live_without_allow_live_refuses(self, live: PaperGateway, make: MakeConnector) -> None:
        connector = make(live.tws_port, mode="live", account_id="U7654321")
        with pytest.raises(LiveTradingRefused, match="allow_live"):
            await connector.connect()

    async def test_another_account_than_the_pinned_one_refuses(self, live: PaperGateway, make: MakeConnector) -> None:
        connector = make(live.tws_port, mode="live", account_id="U1111111", allow_live=True)
        with pytest.raises(LiveTradingRefused, match="not among"):
            await connector.connect()

    async def test_all_three_together_connect(self, live: PaperGateway, make: MakeConnector) -> None:
        connector = make(live.tws_port, mode="live", account_id="U7654321", allow_live=True)
        assert await connector.connect()

    def test_live_without_a_pinned_account_is_a_configuration_error(self, make: MakeConnector) -> None:
        with pytest.raises(ConfigurationError, match="account_id"):
            make(7496, mode="live", allow_live=True)


async def test_lost_connection_is_made_again_and_the_account_is_read_anew(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port)
    await connector.connect()
    async with link_reaches(connector, "reconnecting"):
        proxy.refuse = True
        proxy.cut()
    with pytest.raises(ConnectionLost, match="reconnecting") as caught:
        await connector.get_positions()
    assert "connect()" not in caught.value.remedy  # it was called, and is being tried again
    proxy.heal()
    await connector.ready(SECONDS)
    assert connector.get_connection_status()["epoch"] == 2
    assert await connector.get_positions() == []


async def test_stream_goes_on_after_a_reconnect(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port)
    await connector.connect()
    async with asyncio.timeout(SECONDS), connector.stream_quotes("AAPL") as quotes:
        await anext(quotes)
        async with link_reaches(connector, "ready"):
            proxy.cut()

        def asked() -> int:
            return len([frame for frame in proxy.requests if frame[:1] == ["1"]])

        while asked() < 2:
            await anext(quotes)
        await anext(quotes)


async def test_missing_end_marker_of_executions_does_not_stop_the_connection(
    proxy: Proxy, make: MakeConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkr_connector.orders.settler._ANSWER_S", 0.2)
    proxy.swallow_answers = is_kind("55")
    connector = make(proxy.port)
    assert await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 150)
    assert order.order_id > 0


async def test_class_and_function_give_the_one_instance(gateway: PaperGateway, make: MakeConnector) -> None:
    made = make(gateway.tws_port, profile="one")
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(get_ibkr_connector(profile="one"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(one) for one in found} == {id(made)}
    assert IBKRConnector(profile="one") is made


async def test_other_settings_for_the_same_profile_are_a_conflict(gateway: PaperGateway, make: MakeConnector) -> None:
    make(gateway.tws_port, profile="two", client_id=3)
    with pytest.raises(ConnectorConflict) as caught:
        get_ibkr_connector(profile="two", client_id=4, port=gateway.tws_port)
    assert "paper_trading.client_id" in caught.value.context["fields"]
    assert "paper_trading.port" not in caught.value.context["fields"]


async def test_closed_connector_says_so_and_a_new_one_can_be_made(gateway: PaperGateway, make: MakeConnector) -> None:
    first = make(gateway.tws_port, profile="three")
    async with first:
        assert first.connected
    with pytest.raises(ConnectorClosed):
        await first.connect()
    second = make(gateway.tws_port, profile="three")
    assert second is not first
    assert await second.connect()


async def test_calls_before_connect_say_not_connected(make: MakeConnector, gateway: PaperGateway) -> None:
    connector = make(gateway.tws_port)
    for call in (connector.get_positions, connector.get_account_summary, connector.get_portfolio_pnl):
        with pytest.raises(NotConnected, match="connect"):
            await call()


async def test_blocking_call_on_the_session_thread_is_refused_not_a_deadlock(connector: IBKRConnector) -> None:
    async def on_session() -> None:
        connector.sync.get_positions()

    with pytest.raises(SyncCallFromSession):
        await connector._house.thread.run(on_session())


async def test_gateway_that_stays_away_is_restarted_by_the_configured_command(
    make: MakeConnector, proxy: Proxy
) -> None:
    """The operator's command, here one that lets the gateway be reached again."""
    proxy.refuse = True
    program = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).close()"

    async def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.refuse = False
        writer.close()

    async with await asyncio.start_server(start, "127.0.0.1", 0) as lever:
        lever_port = lever.sockets[0].getsockname()[1]
        command = [sys.executable, "-c", program, str(lever_port)]
        restart = {"restart_command": command, "restart_after": 3, "restart_wait": 0.01}
        connector = make(proxy.port, gateway={"nightly_reset": None, "weekly_login": None, **restart})
        async with incident(connector, "gateway_restarted"):
            await connector.connect()
    assert connector.connected
