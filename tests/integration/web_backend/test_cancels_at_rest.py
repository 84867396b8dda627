"""Cancels under limits: each waits for its turn, and after a 429 for the end of the rest, and is written in the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CancelInDoubt
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway, WebOptions
from ibkr_connector.paper.web.options import Limits
from ibkr_connector.resilience import web_rules
from ibkr_connector.session.webpace import WebPace
from support.web import hurry

from .conftest import MakeWeb

SECONDS = 40.0
MANY = 12
PER_SECOND = 40
SETTINGS: dict[str, Any] = {
    "web": {"confirm": "o383, o10331", "order_timeout": 3.0, "watch_every": 1.0},
    "risk_limits": {"daily_loss_limit": None, "check_market_hours": False},
    "orders": {"order_deadline": 5.0},
    "sync_timeout": 30.0,
    "messages_per_second": 20,
}
BOXES = WebOptions(limits=Limits(gateway_per_second=PER_SECOND, endpoints=False, penalty=2.5))


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Rests cut short, and the box with them; every rest that begins is noted."""
    hurry(monkeypatch)
    monkeypatch.setattr(web_rules, "SHORT_S", 1.0)
    monkeypatch.setattr(web_rules, "PENALTY_S", 2.0)
    begun: list[float] = []
    limited = WebPace.limited

    def count(self: WebPace, error: Any) -> None:
        before = self.resting
        limited(self, error)
        if not before and self.resting:
            begun.append(self.resting)

    monkeypatch.setattr(WebPace, "limited", count)
    return begun


async def fill_the_second(gateway: PaperGateway) -> None:
    """Another program of the user name asks too much: the address is in the box."""
    async with aiohttp.ClientSession() as session:

        async def ask() -> int:
            async with session.get(f"{gateway.web.url}portfolio/accounts") as answer:
                return int(answer.status)

        statuses = await asyncio.gather(*(ask() for _ in range(2 * PER_SECOND)))
    assert 429 in statuses


def deletes(gateway: PaperGateway) -> Counter[str]:
    """How often each order's cancel was written."""
    return Counter(str(entry.fields["path"]) for entry in gateway.truth.of("http", request="cancel_order"))


@pytest.mark.parametrize("web_options", [BOXES], ids=["boxes"])
async def test_each_owed_cancel_is_written_once_and_once_more_for_each_rest(
    rests: list[float], make_web: MakeWeb, gateway: PaperGateway
) -> None:
    web: IBKRConnector = make_web(**SETTINGS)
    await web.connect()
    await web.get_live_quote("AAPL")
    orders = [await web.place_limit_order("AAPL", 1, "BUY", 100 + number, tif="GTC") for number in range(MANY)]
    assert not rests
    await fill_the_second(gateway)
    ended = await asyncio.gather(*(order.cancel(SECONDS) for order in orders))
    assert {snapshot.state for snapshot in ended} == {OrderState.CANCELLED}
    written = deletes(gateway)
    assert len(written) == MANY
    assert max(written.values()) <= 1 + len(rests)
    assert sum(written.values()) <= MANY + 2 * len(rests)  # one is tried in a rest, and one after it
    assert rests


async def test_cancels_whose_callers_left_before_their_turn_are_all_written_once(
    make_web: MakeWeb, gateway: PaperGateway
) -> None:
    web: IBKRConnector = make_web(**{**SETTINGS, "messages_per_second": 11, "orders": {"order_deadline": 2.0}})
    await web.connect()
    await web.get_live_quote("AAPL")
    orders = [await web.place_limit_order("AAPL", 1, "BUY", 100 + number, tif="GTC") for number in range(3 * MANY)]
    results = await asyncio.gather(*(order.cancel(0.3) for order in orders), return_exceptions=True)
    doubts = [result for result in results if isinstance(result, BaseException)]
    assert {type(doubt) for doubt in doubts} == {CancelInDoubt}
    assert all("still being pursued" in str(doubt) for doubt in doubts)
    ended = await asyncio.gather(*(order.done(SECONDS) for order in orders))
    assert {snapshot.state for snapshot in ended} == {OrderState.CANCELLED}
    assert sorted(deletes(gateway).values()) == [1] * (3 * MANY)
