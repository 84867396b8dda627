"""Health and metrics through sockets, and that an order is refused exactly when its plane is not ready."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import ConfigurationError, JournalUnwritable, OrderNotSent, RiskRejected
from ibkr_connector.events import BrokerLinkChanged, Event, Incident
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, incident, link_reaches
from support.http import get, get_json
from support.proxy import Proxy

pytest.importorskip("aiohttp", reason="the extra metrics is not installed")
pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")

ON = {"watch": {"http_port": 0}}


@pytest.fixture
async def watched(make: MakeConnector, proxy: Proxy) -> AsyncIterator[IBKRConnector]:
    connector = make(proxy.port, **ON)
    await connector.connect()
    yield connector
    await connector.close()


def value(text: str, name: str, **labels: str) -> float | None:
    """A sample of the exposition text."""
    inside = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    wanted = f"{name}{{{inside}}}" if labels else name
    found = re.search(rf"^{re.escape(wanted)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


async def metrics(connector: IBKRConnector) -> str:
    status, text = await get(connector.watch_port, "/metrics")
    assert status == 200
    return text


@asynccontextmanager
async def broker_news(connector: IBKRConnector, *, up: bool) -> AsyncIterator[None]:
    """Run the block, then wait until the broker link or a farm went up or down since."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(event: Event) -> None:
        if isinstance(event, BrokerLinkChanged) and event.up is up:
            loop.call_soon_threadsafe(told.set)

    stop = connector.on_event(listen)
    try:
        yield
        async with asyncio.timeout(20):
            await told.wait()
    finally:
        stop()


async def test_a_connected_connector_is_alive_and_every_plane_is_ready(watched: IBKRConnector) -> None:
    assert await get_json(watched.watch_port, "/livez") == (200, {"alive": True})
    status, document = await get_json(watched.watch_port, "/readyz")
    assert (status, document["ready"]) == (200, True)
    assert set(document["planes"]) == {"market_data", "history", "orders", "account"}
    for plane in document["planes"]:
        status, one = await get_json(watched.watch_port, f"/readyz/{plane}")
        assert (status, one["ready"]) == (200, True)
    assert watched.health().ready
    assert watched.get_connection_status()["ready"]["orders"] is True


async def test_what_is_not_there_is_told_and_nothing_can_be_changed(watched: IBKRConnector) -> None:
    assert (await get_json(watched.watch_port, "/readyz/news"))[0] == 404
    assert (await get(watched.watch_port, "/metrics", method="POST"))[0] == 405
    assert (await get(watched.watch_port, "/"))[0] == 404


async def test_the_server_is_off_unless_asked_for_and_ends_with_the_connector(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    plain = make(gateway.tws_port)
    await plain.connect()
    assert plain.watch_port == 0
    await plain.close()
    watched = make(gateway.tws_port, **ON)
    await watched.connect()
    port = watched.watch_port
    await watched.close()
    with pytest.raises(ConnectionRefusedError):
        await get(port, "/livez")


async def test_health_is_served_before_there_is_a_connection(make: MakeConnector) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = free.getsockname()[1]
        connector = make(nobody, **ON)
        with pytest.raises(ConnectionError):
            await connector.connect()
        status, document = await get_json(connector.watch_port, "/readyz/orders")
        assert (status, document["ready"]) == (503, False)
        assert "the connection is disconnected" in document["checks"][0]["why"]
        assert value(await metrics(connector), "ibkr_breaker_trips_total", plane="connect") == 1.0
        await connector.close()


# --- one truth: an order is refused exactly when its plane is not ready, and in the same words ------------------------


async def test_orders_are_refused_in_the_words_of_health_while_the_broker_link_is_down(
    watched: IBKRConnector, proxy: Proxy
) -> None:
    async with broker_news(watched, up=False):
        proxy.say_error(1100, "Connectivity between IB and Trader Workstation has been lost.")
    _, document = await get_json(watched.watch_port, "/readyz/orders")
    why = next(check["why"] for check in document["checks"] if check["why"])
    assert "1100" in why
    with pytest.raises(OrderNotSent, match=re.escape(why)):
        await watched.place_limit_order("AAPL", 1, "BUY", 1)
    for plane in ("market_data", "history", "account"):
        assert (await get_json(watched.watch_port, f"/readyz/{plane}"))[0] == 503
    proxy.say_error(1102, "Connectivity between IB and Trader Workstation has been restored - data maintained.")
    await watched.ready(20)
    assert (await get_json(watched.watch_port, "/readyz"))[0] == 200
    assert (await watched.place_limit_order("AAPL", 1, "BUY", 1)).state is OrderState.WORKING


async def test_orders_are_refused_in_the_words_of_health_while_reconnecting(
    watched: IBKRConnector, proxy: Proxy
) -> None:
    proxy.refuse = True
    async with link_reaches(watched, "reconnecting"):
        proxy.cut()
    reasons = watched.health().of("orders").reasons
    assert reasons
    with pytest.raises(OrderNotSent, match="the connection is"):
        await watched.place_limit_order("AAPL", 1, "BUY", 1)
    assert (await get_json(watched.watch_port, "/readyz"))[0] == 503
    assert (await get_json(watched.watch_port, "/livez"))[0] == 200


async def test_orders_are_refused_while_the_journal_cannot_be_written_and_the_other_planes_are_ready(
    watched: IBKRConnector, tmp_path: Path
) -> None:
    for file in list((tmp_path / "state" / ACCOUNT).glob("journal*")):
        file.unlink()
    with pytest.raises(JournalUnwritable):
        await watched.place_limit_order("AAPL", 1, "BUY", 1)
    status, document = await get_json(watched.watch_port, "/readyz")
    assert status == 503
    assert {plane: one["ready"] for plane, one in document["planes"].items()} == {
        "market_data": True,
        "history": True,
        "orders": False,
        "account": True,
    }
    assert "the order journal cannot be written" in str(document["planes"]["orders"])
    assert value(await metrics(watched), "ibkr_journal_writable") == 0.0


async def test_orders_are_refused_in_the_words_of_health_after_a_kill(watched: IBKRConnector) -> None:
    watched.kill("enough for today")
    (why,) = watched.health().of("orders").reasons
    with pytest.raises(RiskRejected, match=re.escape(why)):
        await watched.place_limit_order("AAPL", 1, "BUY", 1)
    assert value(await metrics(watched), "ibkr_trading_halted") == 1.0
    watched.resume("tomorrow is another day")
    assert watched.health().ready


async def test_a_read_only_connector_has_no_order_plane(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port, read_only=True)
    await connector.connect()
    health = connector.health()
    assert {plane.value for plane, one in health.planes.items() if not one.ready} == {"orders"}
    assert "read_only" in health.of("orders").reasons[0]
    with pytest.raises(OrderNotSent, match="read_only"):
        await connector.place_limit_order("AAPL", 1, "BUY", 1)


async def test_a_farm_that_is_down_takes_only_its_own_plane(watched: IBKRConnector, proxy: Proxy) -> None:
    async with broker_news(watched, up=False):
        proxy.say_error(2105, "HMDS data farm connection is broken:ushmds")
    assert "ushmds" in str(watched.health().of("history").reasons)
    _, document = await get_json(watched.watch_port, "/readyz")
    assert {plane for plane, one in document["planes"].items() if not one["ready"]} == {"history"}
    async with broker_news(watched, up=True):
        proxy.say_error(2106, "HMDS data farm connection is OK:ushmds")
    assert (await get_json(watched.watch_port, "/readyz/history"))[0] == 200


# --- metrics ----------------------------------------------------------------------------------------------------------


async def test_metrics_count_what_happened(watched: IBKRConnector) -> None:
    before = await metrics(watched)
    assert value(before, "ibkr_orders_total", side="buy", outcome="filled") == 0.0
    order = await watched.place_market_order("AAPL", 10, "BUY")
    await order.filled(20)
    with pytest.raises(RiskRejected):
        await watched.place_limit_order("AAPL", 1_000_000, "SELL", 1)
    await watched.get_historical_data("AAPL", "1 D", "1 hour")
    text = await metrics(watched)
    assert value(text, "ibkr_up") == 1.0
    assert value(text, "ibkr_connection_state", backend="tws", state="ready") == 1.0
    assert value(text, "ibkr_connection_state", backend="tws", state="closed") == 0.0
    assert value(text, "ibkr_connection_transitions_total", to="ready", reason="synchronised") == 1.0
    assert value(text, "ibkr_orders_total", side="buy", outcome="sent") == 1.0
    assert value(text, "ibkr_orders_total", side="buy", outcome="filled") == 1.0
    assert value(text, "ibkr_orders_total", side="sell", outcome="refused") == 1.0
    assert value(text, "ibkr_risk_decisions_total", gate="order_size", decision="refused") == 1.0
    assert value(text, "ibkr_requests_total", op="history", outcome="ok") == 1.0
    assert value(text, "ibkr_request_duration_seconds_count", op="history") == 1.0
    assert value(text, "ibkr_request_duration_seconds_bucket", le="+Inf", op="history") == 1.0
    assert value(text, "ibkr_ready", plane="orders") == 1.0
    assert value(text, "ibkr_orders_unknown") == 0.0
    assert value(text, "ibkr_breaker_state", plane="orders", state="closed") == 1.0
    assert value(text, "ibkr_market_data_lines", state="used") == 1.0
    assert (value(text, "ibkr_audit_write_seconds_count") or 0.0) >= 1.0
    assert (value(text, "ibkr_pacing_wait_seconds_count", lane="orders") or 0.0) >= 1.0
    ratio = value(text, "ibkr_daily_pnl_ratio_of_limit")
    assert ratio is not None
    assert -1.0 < ratio < 1.0
    assert 'ibkr_build_info{backend="tws"' in text


async def test_metrics_name_no_account_symbol_order_or_secret(make: MakeConnector, proxy: Proxy) -> None:
    connector = make(proxy.port, password="hunter2-of-metrics", **ON)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="my-own-ref")
    await connector.search_contracts("AAP")
    await connector.preview_order("AAPL", 1)
    await order.cancel()
    text = await metrics(connector) + (await get(connector.watch_port, "/readyz"))[1]
    for word in (ACCOUNT, "AAP", "my-own-ref", "hunter2"):
        assert word not in text
    await connector.close()


async def test_two_connectors_have_two_registries(gateway: PaperGateway, make: MakeConnector, tmp_path: Path) -> None:
    one = make(gateway.tws_port, **ON)
    two = make(gateway.tws_port, client_id=9, state_dir=tmp_path / "two", **ON)
    await one.connect()
    await two.connect()
    await one.place_limit_order("AAPL", 1, "BUY", 1)
    assert one.watch_port != two.watch_port
    assert value(await metrics(one), "ibkr_orders_total", side="buy", outcome="sent") == 1.0
    assert value(await metrics(two), "ibkr_orders_total", side="buy", outcome="sent") == 0.0
    assert one.metrics_registry() is one.metrics_registry()


async def test_the_lag_of_a_blocked_listener_shows_and_delays_neither_order_nor_scrape(watched: IBKRConnector) -> None:
    """INV-12."""
    release, started = threading.Event(), threading.Event()

    def blocks(event: Event) -> None:
        started.set()
        release.wait(30)

    stop = watched.on_event(blocks)
    try:
        order = await watched.place_market_order("AAPL", 5, "BUY")
        await order.filled(20)
        assert await asyncio.to_thread(started.wait, 20)
        text = await metrics(watched)
        assert (value(text, "ibkr_event_queue_depth", listener="0") or 0.0) > 0.0
        assert value(text, "ibkr_event_lag_seconds", listener="0") is not None
        (lag,) = watched.get_connection_status()["listeners"]
        assert lag["waiting"] > 0
    finally:
        release.set()
        stop()


async def test_a_stuck_session_loop_is_not_alive_and_still_answers(watched: IBKRConnector) -> None:
    release, stuck = threading.Event(), threading.Event()

    def block() -> None:
        stuck.set()
        release.wait(30)

    try:
        watched._house.thread.loop.call_soon_threadsafe(block)
        assert await asyncio.to_thread(stuck.wait, 20)
        live, text = await asyncio.gather(get(watched.watch_port, "/livez"), get(watched.watch_port, "/metrics"))
        assert live == (503, '{"alive": false}')
        assert value(text[1], "ibkr_up") == 0.0
        assert (await get(watched.watch_port, "/readyz"))[0] == 200  # flags need no loop
    finally:
        release.set()
    assert (await get(watched.watch_port, "/livez"))[0] == 200


async def test_an_address_in_use_is_told_and_trading_goes_on(gateway: PaperGateway, make: MakeConnector) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        told: list[str] = []
        connector = make(gateway.tws_port, watch={"http_port": taken.getsockname()[1]})
        stop = connector.on_event(lambda event: told.append(event.kind) if isinstance(event, Incident) else None)
        await connector.connect()
        assert connector.watch_port == 0
        assert (await connector.place_limit_order("AAPL", 1, "BUY", 1)).state is OrderState.WORKING
        stop()
        assert "watch_unavailable" in told
        await connector.close()


async def test_a_missing_extra_is_named_with_its_command(
    gateway: PaperGateway, make: MakeConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in ("prometheus_client", "aiohttp.web"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            connector = make(gateway.tws_port, **ON)
            with pytest.raises(ConfigurationError) as caught:
                await connector.connect()
            assert 'pip install "ibkr-connector[metrics]"' in caught.value.remedy


async def test_margin_and_positions_are_watched_without_any_target(make: MakeConnector, proxy: Proxy) -> None:
    connector = make(proxy.port, alerts={"position_change": "0.0001"})
    await connector.connect()
    async with incident(connector, "margin_low"):
        proxy.say("6", "2", "ExcessLiquidity", "50000", "USD", ACCOUNT)
    async with incident(connector, "position_change"):
        order = await connector.place_market_order("AAPL", 10, "BUY")
        await order.filled(20)


async def test_a_position_that_was_closed_during_an_outage_is_told(
    gateway: PaperGateway, make: MakeConnector, proxy: Proxy, tmp_path: Path
) -> None:
    connector = make(proxy.port, alerts={"position_change": "0.0001"})
    await connector.connect()
    async with incident(connector, "position_change"):
        await (await connector.place_market_order("AAPL", 10, "BUY")).filled(20)
    proxy.refuse = True
    async with link_reaches(connector, "reconnecting"):
        proxy.cut()
    other = make(gateway.tws_port, client_id=9, state_dir=tmp_path / "other")
    await other.connect()
    await (await other.place_market_order("AAPL", 10, "SELL")).filled(20)
    async with incident(connector, "position_change"):
        proxy.heal()
        await connector.ready(20)
