"""Whatever is sent to whichever endpoint or topic: an answer below 500 or IBKR's own 5xx, never a crash."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway

from .conftest import AAPL, ACCOUNT, Http, order

for name in ("aiohttp", "cryptography"):
    pytest.importorskip(name, reason="needs the extra paper-web")

ROUNDS = 12
NAMES = (
    "conid", "conids", "fields", "symbol", "symbols", "secType", "month", "period", "bar", "startTime", "days", "force",
    "filters", "accountId", "acctId", "acctIds", "orders", "confirmed", "messageIds", "type", "instrument", "filter",
    "id", "name", "rows", "conditions", "alertName", "alertId", "currency", "source", "target", "exchange", "page",
    "publish", "compete", "quantity", "price", "side", "orderType", "cOID", "parentId", "conidex", "cashQty", "tif",
    "assetClass", "deviceId", "enabled", "isBuy", "orderId",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, AAPL, 10**30, 1.5, -0.0, 1e300, "", "0", "-1", str(AAPL), "9" * 18, "x" * 600, "AAPL", "ES",
    "1d", "1min", "20261119-21:00:00", "a,b", "1,2", "\x00", "é😀", "../..", ACCOUNT, "BUY", "LMT", "TRAIL", "%", [],
    {}, [AAPL], ["x"], [[[]]], [{}], {"a": {"b": []}}, "STK", "USD", "EUR", "28812380;;;1/1,2/-1", "265598@NYSE",
)  # fmt: skip


def scalar(rng: random.Random) -> str:
    while True:
        value = rng.choice(VALUES)
        if isinstance(value, str | int | float):
            return str(value)


def body(rng: random.Random, depth: int = 0) -> Any:
    if depth == 0 and rng.random() < 0.2:
        return rng.choice(VALUES)
    found = {name: rng.choice(VALUES) for name in rng.sample(NAMES, rng.randint(0, 8))}
    if depth == 0 and rng.random() < 0.6:
        found["orders"] = [order() | body(rng, 1) for _ in range(rng.randint(1, 3))]
        found["conditions"] = found["rows"] = [body(rng, 1)]
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_no_request_crashes_an_endpoint(
    ready: Http, gateway: PaperGateway, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(seed)
    caplog.set_level(logging.ERROR)
    seen: dict[int, int] = {}
    for endpoint in gateway.web.endpoints:
        if endpoint.name == "logout":
            continue
        for method in endpoint.methods.split():
            for _ in range(ROUNDS):
                path = re.sub(
                    r"\{\w+\}", lambda _: rng.choice((ACCOUNT, str(AAPL), "-1", "x", "9" * 30)), endpoint.path
                )
                query = {each: scalar(rng) for each in rng.sample(NAMES, rng.randint(0, 5))}
                sent = body(rng) if method != "GET" else None
                status, _ = await ready(method, path, sent, **query)
                seen[status] = seen.get(status, 0) + 1
                assert status in {200, 400, 404, 500, 503}, (method, path, query, sent)
                assert caplog.records == [], (method, path, query, sent)
    assert seen[200] > 100
    assert seen[400] > 100


@pytest.mark.parametrize("seed", range(3))
async def test_no_message_crashes_a_websocket(
    ready: Http, gateway: PaperGateway, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(seed)
    topics = (
        "smd",
        "umd",
        "smh",
        "umh",
        "sbd",
        "ubd",
        "sor",
        "uor",
        "str",
        "utr",
        "spl",
        "upl",
        "ssd",
        "usd",
        "sld",
        "uld",
    )
    async with ready._session.ws_connect(gateway.web.url + "ws") as socket:
        for _ in range(300):
            parts = [rng.choice((*topics, "xyz", "", "tic"))]
            parts += [rng.choice((str(AAPL), ACCOUNT, "x", "-1", "9" * 30, "")) for _ in range(rng.randint(0, 3))]
            if rng.random() < 0.6:
                options = {each: rng.choice(VALUES) for each in rng.sample((*NAMES, "keys", "outsideRth"), 3)}
                parts.append(rng.choice((json.dumps(options), "{", "[]", "{}", '"x"')))
            await socket.send_str("+".join(parts))
        await socket.send_str("tic")
        async with asyncio.timeout(20):
            while (await socket.receive_json()).get("topic") != "tic":
                continue
    assert caplog.records == []
