"""The connector over the Web API: what a connection tells, what ends it, and that it comes back by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import AuthenticationError, ConnectionRefused, LiveTradingRefused, NotSupportedByBackend
from ibkr_connector.paper import PaperGateway, WebOptions
from support.connector import ACCOUNT, incident, link_reaches
from support.web import web_settings

from .conftest import MakeWeb


async def test_a_connection_is_ready_and_says_over_what(web: IBKRConnector, gateway: PaperGateway) -> None:
    status = web.get_connection_status()
    assert (status["state"], status["reconciled"], status["broker_link"]) == ("ready", True, True)
    assert web.account_id == ACCOUNT
    assert web.capabilities.name == "web"
    assert not web.capabilities.client_ids
    assert f"{urlsplit(gateway.web.url).netloc}," in repr(web)
    assert len(await web.get_positions()) == 0


async def test_the_environment_chooses_the_backend(
    gateway: PaperGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_BACKEND", "web")
    monkeypatch.setenv("IBKR_WEB_URL", gateway.web.url)
    async with IBKRConnector(profile="web-by-environment", state_dir=tmp_path) as connector:
        assert connector.capabilities.name == "web"
        assert (await connector.get_account_summary()).account_id == ACCOUNT


async def test_a_lost_brokerage_session_stops_orders_until_everything_is_known_again(
    make_web: MakeWeb, gateway: PaperGateway
) -> None:
    connector = make_web(web={"tickle_every": 1})
    await connector.connect()
    async with link_reaches(connector, "syncing"):
        gateway.inject("brokerage_lost")
    await connector.ready(timeout=20.0)
    assert connector.get_connection_status()["reconciled"] is True
    assert (await connector.get_contract("AAPL")).contract.con_id == 265598


async def test_a_gateway_that_restarts_is_connected_to_again(make_web: MakeWeb, gateway: PaperGateway) -> None:
    connector = make_web(web={"tickle_every": 1})
    await connector.connect()
    async with link_reaches(connector, "reconnecting"):
        gateway.inject("restart", for_=0.3)
    gateway.web.session.log_in(brokerage=True)
    await connector.ready(timeout=30.0)
    assert (await connector.get_account_summary(refresh=True)).account_id == ACCOUNT


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, logged_in=False)])
async def test_nobody_logged_in_is_an_error_at_once(make_web: MakeWeb) -> None:
    with pytest.raises(AuthenticationError, match="logged in"):
        await make_web(connect_attempts=(1, 1, 1)).connect()


@pytest.mark.parametrize("gateway_arguments", [{"accounts": ("U7654321",)}])
async def test_a_live_account_is_not_touched(make_web: MakeWeb, gateway: PaperGateway) -> None:
    """INV-07 over the Web API: whatever the login says of itself, the accounts are looked at."""
    connector = make_web(connect_attempts=(1, 1, 1))
    with pytest.raises(LiveTradingRefused, match="SAFETY CHECK"):
        await connector.connect()
    assert not connector.connected
    assert gateway.truth.of("http") == []


async def test_where_nobody_listens_the_error_says_what_to_start(make_web: MakeWeb) -> None:
    connector = make_web(connect_attempts=(1, 1, 1), web={"url": "http://127.0.0.1:1/v1/api/"})
    with pytest.raises(ConnectionRefused, match="Client Portal Gateway"):
        await connector.connect()


async def test_what_the_backend_cannot_do_is_said(web: IBKRConnector) -> None:
    with pytest.raises(NotSupportedByBackend):
        await web.get_historical_data("AAPL", duration="1 D", bar_size="1 hour", what_to_show="ADJUSTED_LAST")


async def test_two_connectors_share_a_login(
    make_web: MakeWeb, gateway: PaperGateway, tmp_path: Path, request: Any
) -> None:
    first = make_web(state_dir=tmp_path / "one")
    second = make_web(state_dir=tmp_path / "two", client_id=3)
    await first.connect()
    await second.connect()
    await first.disconnect()
    assert (await second.get_account_summary(refresh=True)).account_id == ACCOUNT
    assert web_settings(gateway)["web"]["url"] == gateway.web.url


@pytest.mark.parametrize("web_options", [WebOptions()])
async def test_a_whole_start_keeps_ibkrs_limits(make_web: MakeWeb, gateway: PaperGateway) -> None:
    """Under the gateway's own limits: not one 429."""
    connector = make_web(sync_timeout=45)
    async with incident(connector, "credential_use", seconds=60.0):
        await connector.connect()
    guard = connector._house.session.guard
    assert guard.web is not None
    assert guard.web.resting == 0.0
    assert connector.connected
