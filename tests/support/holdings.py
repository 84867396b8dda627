"""Positions for tests, bought by a plain client of the Web front."""

from __future__ import annotations

import asyncio
from typing import Any

from ibkr_connector.paper import PaperGateway

HOLDINGS = {265598: 10, 515416632: 1, 12087792: 20_000}
"""A stock, a future, a currency pair: con_id -> quantity."""


async def buy_some(gateway: PaperGateway, account: str) -> None:
    """Buy at the market, and wait until all of it is held."""
    import aiohttp

    async with aiohttp.ClientSession() as session, asyncio.timeout(20.0):

        async def ask(method: str, path: str, body: Any = None) -> Any:
            async with session.request(method, gateway.web.url + path, json=body) as response:
                return await response.json()

        await ask("GET", "iserver/accounts")
        for con_id, quantity in HOLDINGS.items():
            order = {
                "acctId": account,
                "conid": con_id,
                "orderType": "MKT",
                "side": "BUY",
                "tif": "DAY",
                "quantity": quantity,
                "cOID": f"holding-{con_id}",
            }
            answer = await ask("POST", f"iserver/account/{account}/orders", {"orders": [order]})
            while isinstance(answer, list) and "message" in answer[0]:
                answer = await ask("POST", f"iserver/reply/{answer[0]['id']}", {"confirmed": True})
        while len(gateway.exchange.positions(account)) < len(HOLDINGS):  # noqa: ASYNC110 - the exchange tells nobody
            await asyncio.sleep(0.01)
