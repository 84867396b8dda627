"""Every kind of alert, provoked by a fault on the wire, the disk or the account, and received by a local server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import JournalUnwritable, OrderInDoubt, OrderRejected
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, link_reaches, reaches
from support.proxy import PLACE_ORDER, Frame, Proxy, is_kind
from support.receiver import Receiver

OPEN_ORDER = "5"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture
def overrides() -> dict[str, Any]:
    """More settings; tests override this fixture."""
    return {}


@pytest.fixture
async def alerted(
    make: MakeConnector, proxy: Proxy, receiver: Receiver, overrides: dict[str, Any]
) -> AsyncIterator[IBKRConnector]:
    """A connector whose alerts, all of them, go to the receiver."""
    alerts = {"webhook": receiver.url, "webhook_from": "info", "per_minute": 1000, **overrides.pop("alerts", {})}
    connector = make(proxy.port, alerts=alerts, **overrides)
    await connector.connect()
    yield connector
    await connector.close()  # before the receiver goes


async def test_connection_lost_and_back(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    await receiver.told("connection_up")
    proxy.cut()
    lost = await receiver.told("connection_lost")
    assert (lost["severity"], "ready → reconnecting" in lost["detail"]) == ("critical", True)
    await alerted.ready(20)


async def test_broker_link_lost(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    proxy.say_error(1100, "Connectivity between IB and Trader Workstation has been lost.")
    lost = await receiver.told("broker_link_lost")
    assert (lost["severity"], "1100" in lost["text"]) == ("critical", True)
    proxy.say_error(1102, "Connectivity restored - data maintained.")
    await receiver.told("broker_link_restored")


async def test_breaker_open(make: MakeConnector, proxy: Proxy, receiver: Receiver) -> None:
    proxy.refuse = True
    connector = make(proxy.port, alerts={"webhook": receiver.url})
    with pytest.raises(ConnectionError):
        await connector.connect()
    told = await receiver.told("breaker_open")
    assert (told["about"], told["severity"]) == ("connect", "warning")
    await connector.close()


async def test_order_rejected(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    def refused(fields: Frame) -> list[Frame]:
        if fields[0] != OPEN_ORDER:
            return []
        proxy.say_before = lambda _: []
        return [["4", "2", fields[1], "201", "Order rejected - reason: provoked", ""]]

    proxy.say_before = refused
    with pytest.raises(OrderRejected):
        await alerted.place_limit_order("AAPL", 1, "BUY", 1, order_ref="alerted-refused")
    told = await receiver.told("order_rejected")
    assert (told["about"], told["severity"]) == ("alerted-refused", "warning")
    assert "provoked" in told["text"]


async def test_order_in_doubt(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    proxy.swallow_requests = is_kind(PLACE_ORDER)
    with pytest.raises(OrderInDoubt):
        await alerted.place_limit_order("AAPL", 1, "BUY", 1, order_ref="alerted-silent")
    told = await receiver.told("order_in_doubt")
    assert (told["about"], told["severity"]) == ("alerted-silent", "critical")
    proxy.heal()


class Echoes:
    """Keeps the frames of open orders that pass, to say them again with something changed."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.last: Frame = []
        proxy.say_before = self._keep

    def _keep(self, fields: Frame) -> list[Frame]:
        if fields[0] == OPEN_ORDER:
            self.last = fields
        return []

    def say_with(self, before: str, after: str) -> None:
        """The last one again, one field of it changed; the field must be there once."""
        assert self.last.count(before) == 1, (before, self.last)
        self.proxy.say(*[after if field == before else field for field in self.last])


async def test_order_forked(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    """INV-02, over the wire: a second permId under our ref and id."""
    echoes = Echoes(proxy)
    order = await alerted.place_limit_order("AAPL", 7, "BUY", 1, order_ref="alerted-forked")
    echoes.say_with(str(order.perm_id), "999888777")
    told = await receiver.told("order_forked")
    assert (told["about"], told["severity"]) == ("alerted-forked", "critical")


async def test_echo_drift(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    echoes = Echoes(proxy)
    order = await alerted.place_limit_order("AAPL", 7, "BUY", Decimal("3.21"), order_ref="drifts")
    echoes.say_with("3.21", "3.29")
    told = await receiver.told("echo_drift")
    assert (told["about"], told["severity"]) == ("drifts", "warning")
    assert "limit_price" in told["text"]
    assert order.state is OrderState.WORKING


async def test_severe_echo_drift(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    echoes = Echoes(proxy)
    order = await alerted.place_limit_order("AAPL", 777, "BUY", 1, order_ref="more")
    echoes.say_with("777", "7770")
    assert (await receiver.told("echo_drift"))["severity"] == "critical"
    await reaches(order, lambda snapshot: snapshot.state.is_done)


async def test_trading_killed_and_resumed(alerted: IBKRConnector, receiver: Receiver) -> None:
    alerted.kill("the strategy went mad")
    told = await receiver.told("killed")
    assert (told["severity"], "went mad" in told["text"]) == ("critical", True)
    alerted.resume("it is sane again")
    await receiver.told("resumed")


@pytest.mark.parametrize("overrides", [{"risk_limits": {"daily_loss_limit": 100}}])
async def test_daily_loss_limit_passed(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    (asked,) = [fields for fields in proxy.requests if fields[:1] == ["92"]]  # reqPnL
    proxy.say("94", asked[1], "-101", "0", "-101")
    assert (await receiver.told("daily_loss"))["severity"] == "critical"
    assert "daily loss" in alerted.health().of("orders").reasons[0]


async def test_margin_low(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    proxy.say("6", "2", "ExcessLiquidity", "50000", "USD", ACCOUNT)
    told = await receiver.told("margin_low")
    assert (told["severity"], "5.0%" in told["text"]) == ("warning", True)


@pytest.mark.parametrize("overrides", [{"alerts": {"position_change": "0.0001"}}])
async def test_large_position_change(alerted: IBKRConnector, receiver: Receiver) -> None:
    order = await alerted.place_market_order("AAPL", 10, "BUY")
    await order.filled(20)
    told = await receiver.told("position_change")
    assert (told["about"], told["severity"]) == ("AAPL", "warning")


async def test_credentials_used_by_us_and_by_somebody_else(
    alerted: IBKRConnector, proxy: Proxy, receiver: Receiver
) -> None:
    ours = await receiver.told("credential_use")
    assert (ours["severity"], ACCOUNT in ours["text"]) == ("info", True)
    async with alerted.stream_quotes("AAPL") as quotes:
        await anext(quotes)
        (request,) = [fields for fields in proxy.requests if fields[:1] == ["1"]]  # reqMktData
        proxy.say_error(10197, "No market data during competing live session", about=int(request[2]))
        await asyncio.to_thread(receiver.wait, lambda posts: any("competing" in post["text"] for post in posts), 20.0)


async def test_client_id_used_by_another_connection(
    gateway: PaperGateway, make: MakeConnector, receiver: Receiver, tmp_path: Path
) -> None:
    first = make(gateway.tws_port)
    await first.connect()
    second = make(gateway.tws_port, state_dir=tmp_path / "second", alerts={"webhook": receiver.url})
    with pytest.raises(ConnectionError):
        await second.connect()
    assert "client id" in (await receiver.told("credential_use"))["text"]
    await second.close()


async def test_unexpected_exception_in_a_room(alerted: IBKRConnector, receiver: Receiver) -> None:
    house = alerted._house

    def bug(fact: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    house.session.on_fact(bug)
    await alerted.place_limit_order("AAPL", 1, "BUY", 1)
    told = await receiver.told("unexpected_exception")
    assert (told["severity"], "ZeroDivisionError" in told["text"]) == ("critical", True)
    house.session._sinks.remove(bug)


@pytest.mark.parametrize("overrides", [{"alerts": {"repeat_after": 0.0}}])
async def test_exception_in_a_callback_of_the_session_loop(
    alerted: IBKRConnector, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def bug() -> None:
        raise LookupError("a bug in a callback")

    alerted._house.thread.loop.call_soon_threadsafe(bug)
    assert "LookupError" in (await receiver.told("unexpected_exception"))["text"]
    await alerted.get_server_time()  # a turn of the loop later
    assert "Traceback" in caplog.text  # and the log has it whole


async def test_journal_unwritable(alerted: IBKRConnector, receiver: Receiver, tmp_path: Path) -> None:
    for file in list((tmp_path / "state" / ACCOUNT).glob("journal*")):
        file.unlink()
    with pytest.raises(JournalUnwritable):
        await alerted.place_limit_order("AAPL", 1, "BUY", 1)
    assert (await receiver.told("journal_unwritable"))["severity"] == "critical"


# --- as a whole -------------------------------------------------------------------------------------------------------


async def test_a_flapping_connection_is_told_once(alerted: IBKRConnector, proxy: Proxy, receiver: Receiver) -> None:
    for _ in range(3):
        async with link_reaches(alerted, "ready", 30):
            proxy.cut()
    await alerted.close()
    assert receiver.kinds.count("connection_lost") == 1
    assert receiver.kinds.count("connection_up") == 1


async def test_a_dead_receiver_delays_no_order(make: MakeConnector, gateway: PaperGateway) -> None:
    """INV-12."""
    with Receiver() as receiver:
        receiver.hold.clear()
        connector = make(gateway.tws_port, alerts={"webhook": receiver.url, "webhook_from": "info"})
        await connector.connect()
        order = await connector.place_market_order("AAPL", 5, "BUY")
        assert (await order.filled(20)).state is OrderState.FILLED
        assert receiver.posts == []
        receiver.hold.set()
        await connector.close()


async def test_what_is_posted_holds_no_secret(
    make: MakeConnector, proxy: Proxy, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """INV-13: neither the password nor the address of the webhook."""
    with caplog.at_level("DEBUG"):
        connector = make(
            proxy.port, password="hunter2-of-alerts", alerts={"webhook": receiver.url, "webhook_from": "info"}
        )
        await connector.connect()
        proxy.say_error(1100, "lost, password=abc hunter2-of-alerts")
        await receiver.told("broker_link_lost")
        receiver.status = 404
        connector.kill("now")
        await receiver.told("killed")
        shown = f"{connector!r} {connector.settings!r} {connector.settings.describe()}"
        await connector.close()
    for text in (str(receiver.posts), caplog.text, shown):
        assert "hunter2" not in text
        assert "hook-secret-path" not in text
        assert "password=abc" not in text
