"""Old answers are given only to who asks for them, with their age, and never to an order."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import (
    ConnectionLost,
    ContractNotFound,
    IBKRConnectionError,
    InvalidRequest,
    MarketDataNotSubscribed,
    NoMarketData,
    TradingError,
)
from support.connector import MakeConnector, link_reaches
from support.proxy import Proxy, is_kind

REQUEST_MARKET_DATA = "1"


@pytest.fixture
async def cut_off(make: MakeConnector, proxy: Proxy) -> IBKRConnector:
    """Knows a quote and bars of AAPL, and has no connection any more."""
    connector = make(proxy.port)
    await connector.connect()
    await connector.get_live_quote("AAPL")
    await connector.get_historical_data("AAPL", "1 D", "1 hour")
    proxy.refuse = True
    async with link_reaches(connector, "reconnecting"):
        proxy.cut()
    return connector


async def test_a_fresh_quote_tells_its_age_and_is_not_stale(make: MakeConnector, proxy: Proxy) -> None:
    connector = make(proxy.port)
    await connector.connect()
    quote = await connector.get_live_quote("AAPL", allow_stale=True)
    assert quote.age is not None
    assert (0 <= quote.age <= 5.0, quote.stale) == (True, False)
    bars = await connector.get_historical_data("AAPL", "1 D", "1 hour", allow_stale=True)
    assert (bars.age, bars.stale) == (0.0, False)


async def test_without_being_asked_for_nothing_old_is_given(cut_off: IBKRConnector) -> None:
    # It connects again by itself: "call connect() first" would be the wrong advice.
    with pytest.raises(ConnectionLost, match="Wait for the reconnect"):
        await cut_off.get_live_quote("AAPL", timeout=1)
    with pytest.raises(ConnectionLost, match="Wait for the reconnect"):
        await cut_off.get_historical_data("AAPL", "1 D", "1 hour", timeout=1)


async def test_an_old_quote_comes_with_its_age(cut_off: IBKRConnector) -> None:
    quote = await cut_off.get_live_quote("AAPL", timeout=1, allow_stale=True)
    assert quote.stale
    assert quote.bid is not None
    assert quote.age is not None
    assert quote.age > 0
    shown = quote.to_dict()
    assert (shown["stale"], shown["age"]) == (True, quote.age)
    assert (await cut_off.get_live_quote("AAPL", timeout=1, allow_stale=3_600)).stale


async def test_old_bars_come_with_their_age_and_answer_the_very_same_request_only(cut_off: IBKRConnector) -> None:
    bars = await cut_off.get_historical_data("AAPL", "1 D", "1 hour", timeout=1, allow_stale=True)
    assert bars.stale
    assert (bars.age > 0, len(bars) > 0) == (True, True)
    with pytest.raises(TradingError):
        await cut_off.get_historical_data("AAPL", "2 D", "1 hour", timeout=1, allow_stale=True)


async def test_what_is_older_than_allowed_or_was_never_seen_is_not_given(cut_off: IBKRConnector) -> None:
    with pytest.raises(TradingError):
        await cut_off.get_live_quote("AAPL", timeout=1, allow_stale=1e-9)
    with pytest.raises(TradingError):
        await cut_off.get_historical_data("AAPL", "1 D", "1 hour", timeout=1, allow_stale=1e-9)
    with pytest.raises(IBKRConnectionError):
        await cut_off.get_live_quote("MSFT", timeout=1, allow_stale=True)


async def test_a_silent_line_falls_back_to_the_last_quote(make: MakeConnector, proxy: Proxy) -> None:
    connector = make(proxy.port)
    await connector.connect()
    first = await connector.get_live_quote("AAPL")
    async with link_reaches(connector, "ready"):
        proxy.swallow_requests = is_kind(REQUEST_MARKET_DATA)
        proxy.cut()
    with pytest.raises(NoMarketData):
        await connector.get_live_quote("AAPL", max_age=0.001, timeout=0.2)
    stale = await connector.get_live_quote("AAPL", max_age=0.001, timeout=0.2, allow_stale=True)
    assert (stale.stale, stale.symbol) == (True, first.symbol)
    proxy.heal()


async def test_a_permission_that_is_missing_is_no_reason_for_an_old_answer(make: MakeConnector, proxy: Proxy) -> None:
    connector = make(proxy.port)
    await connector.connect()
    await connector.get_live_quote("AAPL")
    async with link_reaches(connector, "ready"):
        proxy.swallow_requests = is_kind(REQUEST_MARKET_DATA)
        proxy.cut()
    proxy.requests.clear()
    asked = asyncio.create_task(connector.get_live_quote("AAPL", max_age=0.001, timeout=20, allow_stale=True))
    await proxy.seen.wait()
    (request,) = [fields for fields in proxy.requests if fields[:1] == [REQUEST_MARKET_DATA]]
    proxy.say_error(354, "Requested market data is not subscribed.", about=int(request[2]))
    with pytest.raises(MarketDataNotSubscribed):
        await asked
    proxy.heal()


async def test_a_wrong_question_gets_no_old_answer(make: MakeConnector, proxy: Proxy) -> None:
    connector = make(proxy.port)
    await connector.connect()
    with pytest.raises(ContractNotFound):
        await connector.get_live_quote("NOSUCH", allow_stale=True)
    for wrong in (0, -1, "yes", float("nan")):
        with pytest.raises(InvalidRequest, match="allow_stale"):
            await connector.get_live_quote("AAPL", allow_stale=wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="allow_stale"):
            await connector.get_historical_data("AAPL", allow_stale=wrong)  # type: ignore[arg-type]


async def test_the_blocking_twin_takes_it_too(cut_off: IBKRConnector) -> None:
    quote = await asyncio.to_thread(lambda: cut_off.sync.get_live_quote("AAPL", timeout=1, allow_stale=True))
    assert quote.stale
