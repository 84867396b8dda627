"""Faults at the wall: a gateway without latencies or irregularities of its own, and a client that speaks by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ibkr_connector.paper import ExchangeBehavior, PaperGateway

from ..gateway.raw import RawClient


@pytest.fixture
def gateway_arguments() -> dict[str, Any]:
    """More arguments of the gateway; tests override this fixture."""
    return {}


@pytest.fixture
async def gateway(gateway_arguments: dict[str, Any]) -> AsyncIterator[PaperGateway]:
    """A gateway on a free port, at 10:00 New York."""
    arguments = {"tws_port": 0, "seed": 7, "behavior": ExchangeBehavior.instant(), **gateway_arguments}
    async with PaperGateway(**arguments) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: PaperGateway) -> AsyncIterator[RawClient]:
    """Client 1, started."""
    async with await RawClient.connect(gateway.tws_port, 1) as client:
        yield client
