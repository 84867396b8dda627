"""Web backends whose streams are impatient, what they tell, and what they ask the gateway's websockets for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from ibkr_connector.backends.facts import SystemNotice
from ibkr_connector.backends.web.client import WebBackend
from ibkr_connector.backends.web.options import StreamTimes, WebEndpoint
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote
from ibkr_connector.paper import PaperGateway
from ibkr_connector.paper.web.socket import Socket as GatewaySocket

SECONDS = 20.0
"""How long anything may take before a test calls it missing."""
QUICK = StreamTimes(
    retry_first=0.05, retry_most=0.2, confirm=1.0, positions_every=0.5, positions_after_fill=0.05, line_whole=0.1
)
"""Reconnects at once; everything else as patient as always."""
AAPL = Contract(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD", con_id=265598)
MSFT = Contract(symbol="MSFT", sec_type="STK", exchange="SMART", currency="USD", con_id=272093)
AMD = Contract(symbol="AMD", sec_type="STK", exchange="SMART", currency="USD", con_id=4391)

_F = TypeVar("_F")


class Told:
    """Everything that was told, and a way to wait for more."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._more = asyncio.Event()

    def __call__(self, item: Any) -> None:
        self.items.append(item)
        self._more.set()

    async def until(self, condition: Callable[[list[Any]], object]) -> list[Any]:
        """Wait until `condition` holds of everything told so far."""
        async with asyncio.timeout(SECONDS):
            while not condition(self.items):
                self._more.clear()
                await self._more.wait()
        return self.items

    def of(self, kind: type[_F]) -> list[_F]:
        """Those of a kind."""
        return [item for item in self.items if isinstance(item, kind)]

    async def first(self, kind: type[_F], fits: Callable[[_F], object] = lambda _: True, *, after: int = 0) -> _F:
        """The first of a kind that fits, of those told after the first `after`."""

        def found(items: list[Any]) -> list[_F]:
            return [item for item in items[after:] if isinstance(item, kind) and fits(item)]

        return found(await self.until(found))[0]

    @property
    def notices(self) -> list[int]:
        """The codes of system notices, in order."""
        return [fact.code for fact in self.of(SystemNotice)]


@asynccontextmanager
async def web_backend(gateway: PaperGateway, times: StreamTimes = QUICK) -> AsyncIterator[tuple[WebBackend, Told]]:
    """A connected backend, and its facts."""
    backend = WebBackend(WebEndpoint(url=gateway.web.url, streams=times))
    told = Told()
    backend.on_fact(told)
    await backend.connect(host="", port=0, client_id=2, timeout=SECONDS)
    try:
        yield backend, told
    finally:
        await backend.disconnect()


@contextmanager
def asked_of(monkeypatch: Any) -> Iterator[Told]:
    """Every text that any websocket of a gateway in this process receives."""
    texts = Told()
    receive = GatewaySocket._receive

    def noting(socket: GatewaySocket, text: str) -> None:
        receive(socket, text)
        texts(text)

    with monkeypatch.context() as patch:
        patch.setattr(GatewaySocket, "_receive", noting)
        yield texts


def count(texts: list[Any], beginning: str) -> int:
    """How many of them begin so."""
    return len([text for text in texts if text.startswith(beginning)])


def line(backend: WebBackend, contract: Contract = AAPL) -> tuple[Any, Told, Told]:
    """An open line: its handle, its quotes, its errors."""
    quotes, errors = Told(), Told()
    return backend.open_line(contract, quotes, errors), quotes, errors


def prices(quote: Quote) -> tuple[float | None, ...]:
    """What can be compared with another quote of the same moment."""
    return quote.bid, quote.ask, quote.last, quote.close
