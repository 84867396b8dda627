"""The connector over the Web API, through real sockets: a paper gateway, connectors with state of their own."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("ibind")

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CancelInDoubt
from ibkr_connector.paper import PaperGateway, WebOptions
from support.web import hurry, web_gateway, web_settings

MakeWeb = Callable[..., IBKRConnector]


@pytest.fixture
def web_options() -> WebOptions:
    """Settings of the Web front; tests override this fixture."""
    return WebOptions(limits=None)


@pytest.fixture(autouse=True)
def _at_full_speed(web_options: WebOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pace where the gateway has no limits."""
    if web_options.limits is None:
        hurry(monkeypatch)


@pytest.fixture
def gateway_arguments() -> dict[str, Any]:
    """More arguments of the gateway; tests override this fixture."""
    return {}


@pytest.fixture
async def gateway(web_options: WebOptions, gateway_arguments: dict[str, Any]) -> AsyncIterator[PaperGateway]:
    """A gateway with both fronts on free ports."""
    async with web_gateway(web=web_options, **gateway_arguments) as gateway:
        yield gateway


@pytest.fixture
async def make_web(gateway: PaperGateway, tmp_path: Path) -> AsyncIterator[MakeWeb]:
    """Makes connectors over the Web front, of their own profile, and closes them all."""
    made: list[IBKRConnector] = []

    def build(**overrides: Any) -> IBKRConnector:
        settings = web_settings(gateway, **overrides)
        profile = settings.pop("profile", f"test-{uuid.uuid4().hex[:8]}")
        settings.setdefault("state_dir", tmp_path / "state")
        connector = IBKRConnector(profile=profile, **settings)
        made.append(connector)
        return connector

    yield build
    for connector in made:
        with contextlib.suppress(CancelInDoubt):
            await connector.close()


@pytest.fixture
async def web(make_web: MakeWeb) -> IBKRConnector:
    """A connected connector over the Web API."""
    made = make_web()
    await made.connect()
    return made
