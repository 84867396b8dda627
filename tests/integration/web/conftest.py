"""The Web front with the real ibind client, and with plain HTTP where a test looks at bytes and shapes."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

# ibind reads its environment once, when it is imported.
for name in ("IBIND_LOG_TO_FILE", "IBIND_LOG_TO_CONSOLE", "IBIND_AUTO_REGISTER_SHUTDOWN"):
    os.environ.setdefault(name, "False")

from ibkr_connector.paper import ExchangeBehavior, PaperGateway, WebOptions  # noqa: E402

SECONDS = 20.0
"""How long anything may take before a test calls it missing."""
AAPL = 265598
ACCOUNT = "DU1234567"


@pytest.fixture
def web_options() -> WebOptions:
    """Settings of the Web front; tests override this fixture. Without limits: most tests ask more than IBKR allows."""
    return WebOptions(limits=None)


@pytest.fixture
def gateway_arguments() -> dict[str, Any]:
    """More arguments of the gateway; tests override this fixture."""
    return {}


@pytest.fixture
async def gateway(web_options: WebOptions, gateway_arguments: dict[str, Any]) -> AsyncIterator[PaperGateway]:
    """A gateway with both fronts on free ports, at 10:00 New York."""
    behavior = ExchangeBehavior(duplicate_status_probability=0.0, filled_before_exec_probability=0.0)
    arguments = {"seed": 7, "behavior": behavior, "web": web_options, **gateway_arguments}
    async with PaperGateway(tws_port=0, web_port=0, **arguments) as gateway:
        yield gateway


class Http:
    """Requests to one gateway, as they are."""

    def __init__(self, session: Any, url: str) -> None:
        self._session = session
        self.url = url

    async def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, Any]:
        """Status, and the decoded body (or its text)."""
        async with asyncio.timeout(SECONDS):
            async with self._session.request(method, self.url + path, json=body, params=query) as response:
                if "json" in response.content_type:
                    return response.status, await response.json()
                return response.status, await response.text()

    async def ok(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The body of an answer that must have status 200."""
        status, answer = await self(method, path, body, **query)
        assert status == 200, (status, answer)
        return answer


@pytest.fixture
async def http(gateway: PaperGateway) -> AsyncIterator[Http]:
    """Plain requests."""
    import aiohttp

    async with aiohttp.ClientSession() as session:
        session._retry_connection = False  # aiohttp itself repeats a GET whose connection has ended
        yield Http(session, gateway.web.url)


Work = Callable[..., Awaitable[Any]]


async def in_thread(work: Callable[[], Any]) -> Any:
    """Do something blocking beside the gateway's loop."""
    return await asyncio.wait_for(asyncio.to_thread(work), SECONDS)


@pytest.fixture
async def client(gateway: PaperGateway) -> AsyncIterator[Any]:
    """The real, unmodified ibind client."""
    ibind = pytest.importorskip("ibind")
    client = ibind.IbkrClient(
        account_id=ACCOUNT, url=gateway.web.url, auto_register_shutdown=False, max_retries=0, timeout=SECONDS
    )
    yield client
    client.close_session()


@pytest.fixture
async def ready(http: Http) -> Http:
    """The requests every client makes first."""
    await http.ok("GET", "iserver/accounts")
    await http.ok("GET", "portfolio/accounts")
    return http


def order(**changes: Any) -> dict[str, Any]:
    """One order's body."""
    body: dict[str, Any] = {
        "acctId": ACCOUNT, "conid": AAPL, "orderType": "LMT", "price": 100, "side": "BUY", "tif": "GTC", "quantity": 5,
    }  # fmt: skip
    return {name: value for name, value in (body | changes).items() if value is not None}


async def place(http: Http, *orders: dict[str, Any]) -> Any:
    """Send orders and answer every question with yes; the last answer."""
    answer = await http.ok("POST", f"iserver/account/{ACCOUNT}/orders", {"orders": list(orders)})
    while isinstance(answer, list) and "message" in answer[0]:
        answer = await http.ok("POST", f"iserver/reply/{answer[0]['id']}", {"confirmed": True})
    return answer


@pytest.fixture
async def tws_client(gateway: PaperGateway) -> AsyncIterator[Any]:
    """A connected client of the TWS front, and its library."""
    library = None
    for name in ("ib_async", "ib_insync"):
        if importlib.util.find_spec(name) is not None:
            library = importlib.import_module(name)
    if library is None:
        pytest.skip("needs ib_insync or ib_async")
    ib = library.IB()
    await ib.connectAsync("127.0.0.1", gateway.tws_port, clientId=1, timeout=SECONDS)
    yield ib, library
    ib.disconnect()
    async with asyncio.timeout(SECONDS):
        # The gateway tells nobody when it has noticed.
        while gateway.clients:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
