"""The exchange calendar takes its time (a cold disk, a busy machine): orders keep their deadlines all the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import pytest

from ibkr_connector import prefetch
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import RiskRejected
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.paper import PaperGateway
from ibkr_connector.risk.hours import calendar_sessions
from support.connector import MakeConnector


class SlowCalendar:
    """Gives nothing away until it is let go; then the real thing."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked = threading.Event()
        self.calls = 0
        self._real = calendar_sessions
        self._count = threading.Lock()

    def __call__(self, name: str, around: date, days: int) -> Any:
        with self._count:
            self.calls += 1
        self.asked.set()
        assert self.go.wait(60)
        return self._real(name, around, days)


@pytest.fixture
async def calendar(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SlowCalendar]:
    slow = SlowCalendar()
    monkeypatch.setattr(prefetch, "calendar_sessions", slow)
    yield slow
    slow.go.set()


def limit_order(connector: IBKRConnector) -> OrderRequest:
    return connector.orders.build("AAPL", 1, "LMT", "BUY", 100)


@asynccontextmanager
async def let_go(calendar: SlowCalendar) -> AsyncIterator[None]:
    try:
        yield
    finally:
        calendar.go.set()


async def test_order_is_refused_at_its_deadline_and_not_when_the_calendar_is_there(
    gateway: PaperGateway, make: MakeConnector, calendar: SlowCalendar
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    async with let_go(calendar):
        async with asyncio.timeout(20):
            with pytest.raises(RiskRejected, match="trading hours"):
                await connector.orders.place(limit_order(connector), timeout=0.5)
        assert calendar.asked.is_set()
        assert gateway.truth.of("recv_place") == []
    await connector.place_limit_order("AAPL", 1, "BUY", 100)


async def test_many_orders_load_the_calendar_once(
    gateway: PaperGateway, make: MakeConnector, calendar: SlowCalendar
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    async with let_go(calendar):
        quick = [connector.orders.place(limit_order(connector), timeout=0.5) for _ in range(4)]
        assert all(isinstance(one, RiskRejected) for one in await asyncio.gather(*quick, return_exceptions=True))
    await asyncio.gather(*(connector.place_limit_order("AAPL", n + 1, "BUY", 100) for n in range(4)))
    assert calendar.calls == 1
