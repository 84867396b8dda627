"""The helpers users test with: isolated from the machine, and leaving nothing behind."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.testing import HostedGateway, paper_connector, paper_gateway, sync_paper_connector


async def test_a_connector_with_a_gateway_of_its_own() -> None:
    async with paper_connector(seed=7) as connector:
        order = await connector.place_market_order("AAPL", 100, "BUY")
        assert (await order.filled(timeout=30)).filled == 100
    assert connector.closed


async def test_the_developer_s_own_settings_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ibkr_config.ini").write_text(
        "[connection]\nmode = live\n[live_trading]\naccount_id = U7654321\n[risk_limits]\nmax_order_size = 1\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IBKR_PORT", "1")
    monkeypatch.setenv("IBKR_CLIENT_ID", "99")
    monkeypatch.setenv("IBKR_STATE_DIR", str(tmp_path / "mine"))
    async with paper_connector(seed=7) as connector:
        assert connector.connected
        assert connector.settings.mode == "paper"
        assert connector.settings.connection.client_id == 2
        assert connector.settings.risk_limits.max_order_size == 10_000
    assert not (tmp_path / "mine").exists()


async def test_the_temporary_state_is_gone_afterwards_and_a_folder_of_one_s_own_stays(tmp_path: Path) -> None:
    async with paper_gateway(seed=7) as gateway:
        async with paper_connector(gateway) as connector:
            temporary = connector.settings.paths.state_dir
            assert (temporary / "DU1234567").is_dir()
        assert not temporary.exists()
        async with paper_connector(gateway, state_dir=tmp_path / "state") as connector:
            order = await connector.place_limit_order("AAPL", 1, "BUY", 100.0)
        async with paper_connector(gateway, state_dir=tmp_path / "state") as again:
            assert (await again.get_order(order.ref)).order_id == order.order_id


async def test_two_connectors_on_one_gateway_are_two(tmp_path: Path) -> None:
    async with (
        paper_gateway(seed=7) as gateway,
        paper_connector(gateway) as one,
        paper_connector(gateway, client_id=5) as two,
    ):
        assert one is not two
        order = await one.place_limit_order("AAPL", 1, "BUY", 100.0)
        assert [o.order_id for o in await two.get_open_orders(refresh=True)] == [order.order_id]
        assert gateway.truth.of("recv_place", order_ref=order.ref)


async def test_a_connector_may_be_handed_over_unconnected() -> None:
    async with paper_connector(connect=False) as connector:
        assert not connector.connected
        await connector.connect()
        assert connector.connected


async def test_settings_are_passed_on_and_the_gateway_s_speed_too() -> None:
    async with (
        paper_gateway(seed=7, speed=10.0) as gateway,
        paper_connector(gateway, risk_limits={"max_order_size": 5}) as connector,
    ):
        assert connector.settings.risk_limits.max_order_size == 5
        assert connector.settings.time.time_scale == 10


def test_a_hosted_gateway_is_reached_from_blocking_code() -> None:
    with HostedGateway(seed=7) as gateway, sync_paper_connector(gateway) as connector:
        order = connector.place_market_order("AAPL", 10, "BUY")
        order.filled(30)
        assert [entry.fields["price"] for entry in gateway.truth.of("fill", order_ref=order.ref)]
        before = gateway.call(lambda inner: inner.clock.now())
        gateway.call(lambda inner: inner.jump(inner.clock.now() + timedelta(minutes=5)))
        assert gateway.call(lambda inner: inner.clock.now()) - before >= timedelta(minutes=5)


def test_a_hosted_gateway_that_cannot_start_says_why_and_leaves_no_thread() -> None:
    with pytest.raises(ValueError, match="unknown market"), HostedGateway(market="nowhere"):
        pass


def test_a_hosted_gateway_that_never_started_cannot_be_asked() -> None:
    gateway = HostedGateway()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = gateway.tws_port
    gateway.close()


def test_a_hosted_gateway_starts_once_and_closes_twice() -> None:
    gateway = HostedGateway(start=datetime(2026, 11, 20, 15, 0, tzinfo=UTC)).start()
    with pytest.raises(RuntimeError, match="make a new one"):
        gateway.start()
    gateway.close()
    gateway.close()


async def test_a_closed_connector_stays_closed() -> None:
    async with paper_connector(seed=7) as connector:
        await connector.close()
        with pytest.raises(ConnectorClosed):
            await connector.connect()
        await asyncio.sleep(0)
