"""INV-09 against a gateway that counts: whatever is written, asked for or not, goes out at the allowed pace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ibkr_connector.errors import RequestTimeout
from ibkr_connector.paper import PaperGateway
from ibkr_connector.paper.tws.options import TwsOptions
from support.connector import MakeConnector
from support.proxy import Proxy, is_kind

CANCEL_HISTORY = "25"
RATE = 20


@pytest.fixture
def gateway_arguments() -> dict[str, Any]:
    return {"options": TwsOptions(message_rate_limit=RATE, rate_mode="reject")}


async def test_requests_given_up_together_are_not_released_in_one_burst(
    gateway: PaperGateway, proxy: Proxy, make: MakeConnector
) -> None:
    connector = make(proxy.port, pacing={"messages_per_second": RATE, "cancel_reserve": 2})
    await connector.connect()
    codes: list[str] = []

    def listen(fields: list[str]) -> bool:
        if fields[0] == "4":
            codes.append(fields[3])
        return fields[0] == "17"

    proxy.swallow_answers = listen
    asked = [
        asyncio.create_task(connector.get_historical_data("AAPL", f"{days} D", "1 hour", timeout=3.0))
        for days in range(1, 33)
    ]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(result) for result in results} == {RequestTimeout}

    async with asyncio.timeout(30.0):
        while len([fields for fields in proxy.requests if is_kind(CANCEL_HISTORY)(fields)]) < len(asked):
            await connector.get_server_time()
    assert "100" not in codes
    assert connector.get_connection_status()["epoch"] == 1
