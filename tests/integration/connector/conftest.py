"""The connector through real sockets: a paper gateway, a connector with its own state directory, a proxy in between."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CancelInDoubt
from ibkr_connector.paper import ExchangeBehavior, PaperGateway
from support.connector import ACCOUNT, FAST, MakeConnector
from support.proxy import Proxy


@pytest.fixture
def behavior() -> ExchangeBehavior:
    """Latencies and irregularities of the exchange; tests override this fixture."""
    return ExchangeBehavior(duplicate_status_probability=0.0, filled_before_exec_probability=0.0)


@pytest.fixture
def gateway_arguments() -> dict[str, Any]:
    """More arguments of the gateway; tests override this fixture."""
    return {}


@pytest.fixture
async def gateway(behavior: ExchangeBehavior, gateway_arguments: dict[str, Any]) -> AsyncIterator[PaperGateway]:
    """A gateway on any free port, seeded."""
    async with PaperGateway(tws_port=0, seed=7, accounts=(ACCOUNT,), behavior=behavior, **gateway_arguments) as gw:
        yield gw


@pytest.fixture
async def proxy(gateway: PaperGateway) -> AsyncIterator[Proxy]:
    """A man in the middle in front of the gateway."""
    async with Proxy(gateway.tws_port) as middle:
        yield middle


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[MakeConnector]:
    """Makes connectors of their own profile and state directory, and closes them all."""
    made: list[IBKRConnector] = []

    def build(port: int, **overrides: Any) -> IBKRConnector:
        settings = {**FAST, **overrides}
        settings["orders"] = {**FAST["orders"], **overrides.get("orders", {})}
        profile = settings.pop("profile", f"test-{uuid.uuid4().hex[:8]}")
        settings.setdefault("state_dir", tmp_path / "state")
        connector: IBKRConnector = IBKRConnector(profile=profile, port=port, **settings)
        made.append(connector)
        return connector

    yield build
    for connector in made:
        with contextlib.suppress(CancelInDoubt):  # everybody who closes is told of cancels that were not confirmed
            await connector.close()


@pytest.fixture
async def connector(gateway: PaperGateway, make: MakeConnector) -> IBKRConnector:
    """A connected connector."""
    made = make(gateway.tws_port)
    await made.connect()
    return made
