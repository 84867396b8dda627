"""A backend that keeps its facts, for the tests of this folder, and the way to connect one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ibkr_connector.backends.base import ConnectInfo
from ibkr_connector.backends.facts import BrokerFact, OrderEchoed, OrderStatusSeen
from ibkr_connector.backends.tws import TwsBackend
from ibkr_connector.paper import PaperGateway

from .orders import limit_order
from .scripted import ScriptedTws

SECONDS = 15.0
"""How long anything may take before a test calls it missing."""
SHORT = 0.05
"""The timeout of what never comes."""
ACCOUNT = "DU1234567"


class Wire(TwsBackend):
    """A backend that keeps its facts."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: list[BrokerFact] = []
        self._news = asyncio.Event()
        self.on_fact(self._take)

    def _take(self, fact: BrokerFact) -> None:
        self.facts.append(fact)
        self._news.set()

    async def until(self, condition: Callable[[BrokerFact], object]) -> Any:
        """The first fact for which `condition` holds, now or later."""
        async with asyncio.timeout(SECONDS):
            while True:
                for fact in self.facts:
                    if condition(fact):
                        return fact
                self._news.clear()
                await self._news.wait()

    def of(self, kind: type) -> list[Any]:
        """The facts of one kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def status(self, order_id: int, *names: str) -> OrderStatusSeen:
        """The first orderStatus of that order with one of the names."""
        fact: OrderStatusSeen = await self.until(
            lambda fact: isinstance(fact, OrderStatusSeen) and fact.order_id == order_id and fact.status in names
        )
        return fact

    async def echo(self, order_id: int) -> OrderEchoed:
        """The first openOrder of that order."""
        fact: OrderEchoed = await self.until(lambda fact: isinstance(fact, OrderEchoed) and fact.order_id == order_id)
        return fact

    async def place(self, **changes: Any) -> int:
        """Write an order (a limit far below the market unless changed); its id."""
        number = self.take_id()
        self.order_frame(limit_order(number, account=ACCOUNT, order_ref=f"ref-{number}", **changes))()
        return number


async def connect(wire: Wire, tws: ScriptedTws, *, timeout: float = SECONDS, client_id: int = 1) -> ConnectInfo:
    """Connect to a scripted gateway."""
    return await wire.connect(host="127.0.0.1", port=tws.port, client_id=client_id, timeout=timeout)


async def dial(gateway: PaperGateway, client_id: int = 1) -> Wire:
    """A backend connected to the paper gateway."""
    wire = Wire()
    await wire.connect(host="127.0.0.1", port=gateway.tws_port, client_id=client_id, timeout=SECONDS)
    return wire
