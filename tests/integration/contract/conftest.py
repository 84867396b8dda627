"""One gateway, both backends: what each read answers over the one and over the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("ibind")

from ibkr_connector.backends.base import Backend
from ibkr_connector.backends.tws.client import TwsBackend
from ibkr_connector.backends.web.client import WebBackend
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.models.contract import Contract
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT
from support.web import hurry, web_gateway

SECONDS = 20.0


@dataclass
class Pair:
    """Both backends, connected to one gateway."""

    tws: Backend
    web: Backend
    gateway: PaperGateway

    async def both(self, read: str, *arguments: Any, **keys: Any) -> tuple[Any, Any]:
        """What a read answers over each."""
        return (
            await getattr(self.tws, read)(*arguments, **keys),
            await getattr(self.web, read)(*arguments, **keys),
        )


@pytest.fixture(autouse=True)
def _at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pace: the gateway has no limits here."""
    hurry(monkeypatch)


@pytest.fixture
async def gateway() -> AsyncIterator[PaperGateway]:
    """A gateway with both fronts, its market standing still."""
    async with web_gateway() as gateway:
        yield gateway


@pytest.fixture
async def pair(gateway: PaperGateway) -> AsyncIterator[Pair]:
    """Both backends, connected."""
    assert gateway.tws_port is not None
    tws, web = TwsBackend(), WebBackend(WebEndpoint(url=gateway.web.url))
    for backend in (tws, web):
        backend.on_fact(lambda fact: None)
    try:
        await tws.connect(host="127.0.0.1", port=gateway.tws_port, client_id=1, timeout=SECONDS)
        await web.connect(host="", port=0, client_id=1, timeout=SECONDS)
        yield Pair(tws, web, gateway)
    finally:
        await asyncio.gather(tws.disconnect(), web.disconnect())


@pytest.fixture
async def held(pair: Pair) -> Pair:
    """The same, with positions in a stock, a future and a currency pair."""
    from support.holdings import buy_some

    await buy_some(pair.gateway, ACCOUNT)
    return pair


CONTRACTS = {
    "stock": Contract.stock("AAPL"),
    "listed": Contract.stock("IBM", primary_exchange="NYSE"),
    "future": Contract.future("ES", "202612", "CME"),
    "future of a day": Contract.future("ES", "20261218", "CME"),
    "pair": Contract.forex("EUR.USD"),
    "index": Contract.index("SPX", "CBOE"),
}
