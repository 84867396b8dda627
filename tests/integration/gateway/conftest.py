"""The gateway with real clients: the TWS library of this environment (ib_insync or ib_async), and IBKR's own ibapi.

Every test fails on a client's log line that says a message was dropped or could not be read.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from ibkr_connector.paper import ExchangeBehavior, PaperGateway, TwsOptions

LIBRARY = next((name for name in ("ib_async", "ib_insync") if importlib.util.find_spec(name)), None)
SECONDS = 15.0
"""How long anything may take before a test calls it missing."""

_DROPPED = (
    "Error handling fields",
    "Error for ",
    "diff len fields",
    "no handleInfo",
    "unhandled exception",
    "BadMessage",
    "Unknown reqId",
    "No order found",
    "malformed value",
    "caused exception for event",
    "timed out",
)
"""What the clients write when they could not use a message."""


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.bad: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            self.bad.append(f"{record.name}: {text}: {record.exc_info[1]!r}")
        elif any(mark in text for mark in _DROPPED):
            self.bad.append(f"{record.name}: {text}")


@pytest.fixture(autouse=True)
def dropped() -> Iterator[list[str]]:
    """The clients' complaints about messages they could not use. Any that is left at the end fails the test."""
    listener = _Listener()
    levels = {
        "ib_insync": logging.INFO,
        "ib_async": logging.INFO,
        "eventkit": logging.INFO,
        "ibapi": logging.INFO,
        # The only place where ibapi mentions a message it does not know.
        "ibapi.decoder": logging.DEBUG,
        "asyncio": logging.WARNING,
    }
    before = {}
    for name, level in levels.items():
        logger = logging.getLogger(name)
        before[name] = logger.level
        logger.setLevel(level)
        if "." not in name:
            logger.addHandler(listener)
    yield listener.bad
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
        logging.getLogger(name).removeHandler(listener)
    assert not listener.bad, "\n".join(listener.bad)


@pytest.fixture
def options() -> TwsOptions:
    """Settings of the TWS front; tests override this fixture."""
    return TwsOptions()


@pytest.fixture
def behavior() -> ExchangeBehavior:
    """Latencies and irregularities of the exchange; tests override this fixture."""
    return ExchangeBehavior(duplicate_status_probability=0.0, filled_before_exec_probability=0.0)


@pytest.fixture
def gateway_arguments() -> dict[str, Any]:
    """More arguments of the gateway; tests override this fixture."""
    return {}


@pytest.fixture
async def gateway(
    options: TwsOptions, behavior: ExchangeBehavior, gateway_arguments: dict[str, Any]
) -> AsyncIterator[PaperGateway]:
    """A gateway on a free port, at 10:00 New York."""
    arguments = {"seed": 7, "options": options, "behavior": behavior, **gateway_arguments}
    async with PaperGateway(tws_port=0, **arguments) as gateway:
        yield gateway


@pytest.fixture
async def tws() -> ModuleType:
    """The TWS library of this environment. Imported inside a running loop: ib_insync asks for one at import."""
    if LIBRARY is None:
        pytest.skip("needs ib_insync or ib_async")
    return importlib.import_module(LIBRARY)


Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
async def connect(tws: ModuleType, gateway: PaperGateway) -> AsyncIterator[Connect]:
    """A function that connects a client; every client is disconnected at the end."""
    clients: list[Any] = []

    async def connect(client_id: int = 1, **arguments: Any) -> Any:
        client = tws.IB()
        clients.append(client)
        await client.connectAsync("127.0.0.1", gateway.tws_port, clientId=client_id, timeout=SECONDS, **arguments)
        return client

    yield connect
    for client in clients:
        client.disconnect()
    await until(lambda: not gateway.clients)


@pytest.fixture
async def ib(connect: Connect) -> Any:
    """A connected client with id 1."""
    return await connect(1)


async def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until a condition holds; TimeoutError after so many seconds."""
    async with asyncio.timeout(seconds):
        # What is waited for happens inside a library that tells nobody.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
