"""Fixtures of the backend's socket tests."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from ibkr_connector.paper import ExchangeBehavior, PaperGateway, TwsOptions

from .watch import ACCOUNT, Wire, dial


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def options() -> TwsOptions:
    """Settings of the gateway's TWS front; tests override this fixture."""
    return TwsOptions(message_rate_limit=None, tick_interval=0.01)


@pytest.fixture
def behavior() -> ExchangeBehavior:
    """Irregularities of its exchange; tests override this fixture."""
    return ExchangeBehavior(duplicate_status_probability=0.0, filled_before_exec_probability=0.0)


@pytest.fixture
async def gateway(options: TwsOptions, behavior: ExchangeBehavior) -> AsyncIterator[PaperGateway]:
    """A gateway on a free port, at 10:00 New York."""
    async with PaperGateway(seed=7, options=options, behavior=behavior, accounts=(ACCOUNT,)) as gateway:
        yield gateway


@pytest.fixture
async def wire(gateway: PaperGateway) -> AsyncIterator[Wire]:
    """A connected backend, client 1. A message that its library could not read fails the test."""
    wire = await dial(gateway)
    yield wire
    await wire.disconnect()
    assert wire.decode_errors == 0
