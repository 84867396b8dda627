"""Websockets: the greeting, the topics, and what ends without a word; judged by ibind's client as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway, WebOptions

from .conftest import AAPL, ACCOUNT, SECONDS, Http, in_thread, order, place

for name in ("aiohttp", "cryptography"):
    pytest.importorskip(name, reason="needs the extra paper-web")


class Talk:
    """One websocket, and everything it has said."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.heard: list[dict[str, Any]] = []

    async def say(self, text: str) -> None:
        await self._socket.send_str(text)

    async def hear(self, fits: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The next frame that fits."""
        async with asyncio.timeout(SECONDS):
            while True:
                frame: dict[str, Any] = await self._socket.receive_json()
                self.heard.append(frame)
                if fits(frame):
                    return frame

    async def topic(self, name: str) -> dict[str, Any]:
        return await self.hear(lambda frame: str(frame.get("topic", "")).startswith(name))


@pytest.fixture
async def talk(ready: Http, gateway: PaperGateway) -> AsyncIterator[Talk]:
    """An open websocket."""
    async with ready._session.ws_connect(gateway.web.url + "ws") as socket:
        yield Talk(socket)


async def test_the_greeting_says_who_what_and_how(talk: Talk, ready: Http) -> None:
    system = await talk.topic("system")
    assert (system["isPaper"], system["isFT"]) == (True, False)
    act = await talk.topic("act")
    assert act["args"] == await ready.ok("GET", "iserver/accounts")
    sts = await talk.topic("sts")
    assert (sts["args"]["authenticated"], sts["args"]["competing"]) == (True, False)
    assert [frame["topic"] for frame in talk.heard] == ["system", "act", "sts"]


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, heartbeat=0.01)], ids=["quick"])
async def test_heartbeats_carry_real_time(talk: Talk, gateway: PaperGateway) -> None:
    beat = await talk.hear(lambda frame: "hb" in frame)
    assert abs(beat["hb"] - gateway.clock.wall().timestamp() * 1000) < 5000
    assert beat["hb"] != gateway.web.hub.market_ms()


async def test_tic_names_the_session_and_an_unknown_topic_is_an_error(talk: Talk, ready: Http) -> None:
    await talk.say("tic")
    assert (await talk.topic("tic"))["id"] == (await ready.ok("POST", "tickle"))["session"]
    await talk.say("xyz+1")
    assert (await talk.hear(lambda frame: "error" in frame))["code"] == 1
    await talk.say("smd+abc+{}")
    assert "conid" in (await talk.hear(lambda frame: "error" in frame))["error"]
    await talk.say("smh+265598+{")
    assert "JSON" in (await talk.hear(lambda frame: "error" in frame))["error"]


async def test_quotes_come_in_full_once_and_then_what_changed(talk: Talk, gateway: PaperGateway) -> None:
    await talk.say(f'smd+{AAPL}+{{"fields":["31","84","86","55"]}}')
    first = await talk.topic("smd")
    assert (first["conid"], first["conidEx"], first["topic"]) == (AAPL, str(AAPL), f"smd+{AAPL}")
    assert first["55"] == "AAPL"
    assert isinstance(first["84"], str)
    later = await talk.topic("smd")
    assert "55" not in later
    assert later.keys() & {"31", "84", "86"}
    await talk.say(f"umd+{AAPL}+{{}}")
    await talk.say("tic")
    await talk.topic("tic")
    assert gateway.web.sockets.sockets
    [socket] = gateway.web.sockets.sockets
    assert socket.topics.count("smd") == 0


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, stream_life=0.05)], ids=["short life"])
@pytest.mark.parametrize("gateway_arguments", [{"speed": 60.0}], ids=["a busy market"])
async def test_a_quote_stream_ends_without_a_word(talk: Talk, gateway: PaperGateway) -> None:
    await talk.say(f'smd+{AAPL}+{{"fields":["31","84","85","86","88","7762"]}}')
    await talk.topic("smd")
    await gateway.truth.wait_for("stream_ended", timeout=SECONDS)
    before = len(talk.heard)
    await gateway.clock.sleep_wire(1.2)
    await talk.say("tic")
    await talk.topic("tic")
    assert [frame for frame in talk.heard[before:] if str(frame.get("topic")).startswith("smd")] == []


async def test_bars_come_once_and_their_end_is_confirmed(talk: Talk) -> None:
    await talk.say(f'smh+{AAPL}+{{"period":"1d","bar":"5min","outsideRth":"true"}}')
    bars = await talk.topic("smh")
    assert (bars["topic"], bars["barLength"], bars["outsideRth"]) == (f"smh+{AAPL}", 300, True)
    assert len(bars["data"]) > 10
    await talk.say(f"umh+{bars['serverId']}")
    assert (await talk.hear(lambda f: "message" in f))["message"] == f"Unsubscribed {bars['serverId']}"


async def test_orders_and_trades_are_told_as_they_happen(talk: Talk, ready: Http) -> None:
    await talk.say("sor+{}")
    await talk.say('str+{"realtimeUpdatesOnly":true}')
    assert (await talk.topic("str"))["args"] == []
    await place(ready, order(orderType="MKT", price=None, tif="DAY", cOID="ws"))
    first = (await talk.topic("sor"))["args"][0]
    assert (first["order_ref"], first["orderDesc"]) == ("ws", "Buy 5 AAPL Market, Day")
    trade = (await talk.topic("str"))["args"][0]
    assert (trade["order_ref"], trade["side"]) == ("ws", "B")
    assert "commission" not in trade
    assert (await talk.topic("str"))["args"][0]["commission"] == "1.00"
    filled = [
        row
        for frame in talk.heard
        if frame.get("topic") == "sor"
        for row in frame["args"]
        if row.get("status") == "Filled"
    ]
    assert filled[0]["orderId"] == first["orderId"]
    assert "companyName" not in filled[0]


async def test_profit_summary_and_ledger(talk: Talk) -> None:
    await talk.say("spl")
    assert f"{ACCOUNT}.Core" in (await talk.topic("spl"))["args"]
    await talk.say(f'ssd+{ACCOUNT}+{{"keys":["NetLiquidation"]}}')
    rows = {row["key"]: row for row in (await talk.topic("ssd"))["result"]}
    assert rows["AccountCode"]["value"] == ACCOUNT
    assert rows["NetLiquidation"]["monetaryValue"] == 1_000_000.0
    await talk.say(f"usd+{ACCOUNT}")
    assert await talk.hear(lambda f: "result" in f and "topic" not in f) == {"result": "unsubscribed from summary"}
    await talk.say(f'sld+{ACCOUNT}+{{"keys":["LedgerListUSD"]}}')
    [row] = (await talk.topic("sld"))["result"]
    assert (row["key"], row["acctCode"], row["cashbalance"]) == ("LedgerListUSD", ACCOUNT, 1_000_000.0)
    await talk.say(f"uld+{ACCOUNT}")
    assert await talk.hear(lambda f: "result" in f and "topic" not in f) == {"result": "unsubscribed from ledger"}


async def test_a_ladder_has_both_sides_and_one_per_account(talk: Talk, gateway: PaperGateway) -> None:
    await talk.say(f"sbd+{ACCOUNT}+{AAPL}")
    rows = (await talk.topic("sbd"))["data"]
    asks, bids = [r for r in rows if "ask" in r], [r for r in rows if "bid" in r]
    assert float(asks[-1]["price"]) > float(bids[0]["price"])
    assert [row["row"] for row in rows] == list(range(len(rows)))
    await talk.say(f"sbd+{ACCOUNT}+8314")
    await talk.hear(lambda f: f.get("topic") == f"sbd+{ACCOUNT}+8314")
    [socket] = gateway.web.sockets.sockets
    assert socket.topics.count("sbd") == 1


async def test_notices_and_bulletins(talk: Talk, gateway: PaperGateway) -> None:
    await talk.topic("sts")
    gateway.web.notify("A title", "words")
    [notice] = (await talk.topic("ntf"))["args"]
    assert (notice["title"], notice["text"]) == ("A title", "words")
    gateway.web.bulletin("closed early")
    assert (await talk.topic("blt"))["args"]["message"] == "closed early"


async def test_a_lost_session_is_a_fragment_of_a_status(talk: Talk, gateway: PaperGateway, ready: Http) -> None:
    await talk.topic("sts")
    gateway.inject("competing_login")
    assert (await talk.topic("sts"))["args"] == {"authenticated": False}
    assert (await talk.topic("sts"))["args"] == {"competing": True}
    await ready.ok("POST", "iserver/auth/ssodh/init", {"publish": True, "compete": True})
    assert (await talk.topic("sts"))["args"]["authenticated"] is True


async def test_without_a_login_the_socket_waits(http: Http, gateway: PaperGateway) -> None:
    await http.ok("POST", "logout")
    async with http._session.ws_connect(gateway.web.url + "ws") as socket:
        assert await socket.receive_json() == {"message": "waiting for session"}


@pytest.mark.leaks_allowed("ibind's transport thread may sleep in a select for ten seconds before it ends")
@pytest.mark.parametrize("web_options", [WebOptions(limits=None, heartbeat=0.1)], ids=["frequent frames"])
async def test_ibind_s_client_subscribes_to_everything(client: Any, gateway: PaperGateway) -> None:
    from ibind import CallbackSink, IbkrWsClient, events, subscriptions

    await in_thread(client.receive_brokerage_accounts)
    loop = asyncio.get_running_loop()
    wanted = {
        events.MarketData: subscriptions.MarketDataSubscription(conid=str(AAPL), fields=["31", "84", "86"]),
        events.MarketHistory: subscriptions.MarketHistorySubscription(
            conid=str(AAPL), period="1d", bar="1min", outside_rth=True
        ),
        events.Trades: subscriptions.TradesSubscription(),
        events.Pnl: subscriptions.PnlSubscription(),
        events.AccountSummary: subscriptions.AccountSummarySubscription(account_id=ACCOUNT),
        events.AccountLedger: subscriptions.AccountLedgerSubscription(account_id=ACCOUNT),
        events.PriceLadder: subscriptions.PriceLadderSubscription(account_id=ACCOUNT, conid=str(AAPL)),
    }
    sink, arrived = CallbackSink(), {kind: asyncio.Event() for kind in wanted}
    problems: list[Any] = []

    def note(event: Any) -> None:
        loop.call_soon_threadsafe(arrived[type(event)].set)

    for kind in wanted:
        sink.on(kind, note)
    sink.on(events.IbkrError, problems.append)
    ws = IbkrWsClient(
        account_id=ACCOUNT, url=gateway.web.url.replace("http", "ws") + "ws", ibkr_client=client, sink=sink
    )
    try:
        assert await in_thread(ws.start)
        handles = [await in_thread(partial(ws.subscribe, each)) for each in wanted.values()]
        async with asyncio.timeout(SECONDS):
            for event in arrived.values():
                await event.wait()
        assert await in_thread(lambda: all(handle.wait(timeout=10) for handle in handles))
        assert problems == []
        for subscription in wanted.values():
            await in_thread(partial(ws.unsubscribe, subscription))
        async with asyncio.timeout(SECONDS):
            [socket] = gateway.web.sockets.sockets
            topics = ("smd", "smh", "str", "spl", "ssd", "sld", "sbd")
            # ibind says when it has written, not when it was read.
            while any(socket.topics.count(topic) for topic in topics):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        await in_thread(ws.shutdown)
