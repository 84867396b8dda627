"""Quotes, orders, trades, profit, figures and positions of a Web backend, as the websocket brings them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from ibkr_connector.backends.base import MarketDataKind
from ibkr_connector.backends.facts import AccountValueSeen, PnlSeen, PositionSeen
from ibkr_connector.backends.web.reads import Reads
from ibkr_connector.backends.web.records import Records
from ibkr_connector.errors import (
    MarketDataNotSubscribed,
    NoMarketData,
    NotConnected,
    NotSupportedByBackend,
    RequestTimeout,
)
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote
from ibkr_connector.paper import PaperGateway, WebOptions
from support.connector import ACCOUNT
from support.webstreams import AAPL, AMD, MSFT, QUICK, Told, asked_of, count, line, prices, web_backend

SMD, UMD = f"smd+{AAPL.con_id}", f"umd+{AAPL.con_id}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    with asked_of(monkeypatch) as texts:
        yield texts


# --- lines ------------------------------------------------------------------------------------------------------------


async def test_every_quote_of_a_line_is_whole(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, _):
        _, quotes, errors = line(backend)
        await quotes.until(lambda items: len(items) >= 3)
        for quote in quotes.of(Quote):
            assert None not in prices(quote), quote
            assert quote.symbol == "AAPL"
            assert quote.con_id == AAPL.con_id
            assert quote.volume
            assert not quote.delayed
            assert quote.at is not None
        truth = gateway.exchange.quote(gateway.web.hub.instrument(AAPL.con_id))
        assert truth is not None
        assert errors.items == []


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, stream_life=0.9)], ids=["short-lived"])
async def test_a_line_is_renewed_before_its_stream_ends(gateway: PaperGateway, asked: Told) -> None:
    async with web_backend(gateway, replace(QUICK, line_life=0.3, line_quiet=1.5)) as (backend, _):
        _, quotes, _ = line(backend)
        await asked.until(lambda texts: count(texts, SMD) >= 6)
        seen = len(quotes.items)
        await quotes.until(lambda items: len(items) > seen)
        assert gateway.truth.of("stream_ended") == []


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, stream_life=0.2, heartbeat=0.1)], ids=["short-lived"])
async def test_a_line_that_died_while_heartbeats_come_is_noticed_and_renewed(
    gateway: PaperGateway, asked: Told
) -> None:
    async with web_backend(gateway, replace(QUICK, line_quiet=0.4)) as (backend, told):
        _, quotes, errors = line(backend)
        await quotes.until(len)
        await gateway.truth.wait_for("stream_ended", timeout=20.0)
        seen = len(quotes.items)
        await quotes.until(lambda items: len(items) > seen + 1)
        assert count(asked.items, SMD) >= 3
        assert told.notices == []
        assert errors.items == []


async def test_a_line_is_asked_for_at_once_when_its_owner_doubts_it(gateway: PaperGateway, asked: Told) -> None:
    async with web_backend(gateway) as (backend, _):
        handle, quotes, _ = line(backend)
        await quotes.until(len)
        backend.renew_line(handle)
        await asked.until(lambda texts: count(texts, SMD) == 2)


async def test_the_last_line_of_a_contract_ends_its_stream_and_no_other_does(
    gateway: PaperGateway, asked: Told
) -> None:
    async with web_backend(gateway) as (backend, _):
        first, _, _ = line(backend)
        second, quotes, _ = line(backend)
        await quotes.until(len)
        backend.close_line(first)
        backend.close_line(first)
        seen = len(quotes.items)
        await quotes.until(lambda items: len(items) > seen)
        assert count(asked.items, "umd") == 0
        backend.close_line(second)
        await asked.until(lambda texts: count(texts, UMD) == 1)
        assert count(asked.items, SMD) == 1


async def test_a_line_closed_and_opened_in_one_breath_is_not_ended_by_the_late_goodbye(
    gateway: PaperGateway, asked: Told
) -> None:
    waiting: list[Any] = []
    async with web_backend(gateway) as (backend, _):
        backend.pace_with(waiting.append)
        handle, quotes, _ = line(backend)
        await quotes.until(len)
        backend.close_line(handle)
        _, again, _ = line(backend)
        for write in waiting:
            write()
        await again.until(lambda items: len(items) >= 3)
        assert count(asked.items, "umd") == 0


async def test_lines_go_on_after_a_gap_also_those_opened_in_it(gateway: PaperGateway) -> None:
    async with web_backend(gateway, replace(QUICK, retry_first=0.3)) as (backend, told):
        _, quotes, _ = line(backend)
        await quotes.until(len)
        gateway.inject("websocket_close")
        await told.until(lambda _: told.notices == [1100])
        _, others, _ = line(backend, MSFT)
        with pytest.raises(RequestTimeout):
            await backend.snapshot(AMD, 0.01)
        await told.until(lambda _: told.notices == [1100, 1101])
        seen = len(quotes.items)
        await quotes.until(lambda items: len(items) > seen)
        await others.until(len)


async def test_a_gap_ends_what_waits_for_a_snapshot(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, _):
        gateway.inject("websocket_silent", for_=600.0)
        waiting = asyncio.ensure_future(backend.snapshot(AAPL, 20.0))
        await asyncio.sleep(0)
        gateway.inject("websocket_close")
        with pytest.raises(NotConnected):
            await waiting


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, entitlement="delayed")], ids=["delayed"])
async def test_delayed_quotes_say_so(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, _):
        _, quotes, _ = line(backend)
        await quotes.until(len)
        assert quotes.of(Quote)[0].delayed


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, entitlement="none")], ids=["none"])
async def test_a_line_without_a_subscription_ends_with_that_error(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, _):
        _, quotes, errors = line(backend)
        await errors.until(len)
        assert isinstance(errors.items[0], MarketDataNotSubscribed)
        assert errors.items[0].code == 354
        assert quotes.items == []
        with pytest.raises(MarketDataNotSubscribed):
            await backend.snapshot(MSFT, 10.0)


async def test_a_line_of_an_unknown_contract_is_refused(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, _):
        _, _, errors = line(backend, Contract(symbol="NONE", sec_type="STK", con_id=999_999_999))
        await errors.until(len)
        assert isinstance(errors.items[0], NoMarketData)


async def test_a_halt_is_told(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, _):
        _, quotes, _ = line(backend)
        await quotes.until(len)
        gateway.inject("halt", symbol="AAPL", for_=600.0)
        await quotes.until(lambda items: items[-1].halted)


async def test_a_snapshot_is_whole_and_leaves_no_stream(gateway: PaperGateway, asked: Told) -> None:
    async with web_backend(gateway) as (backend, _):
        assert None not in prices(await backend.snapshot(AAPL, 10.0))
        await asked.until(lambda texts: count(texts, UMD) == 1)


async def test_a_snapshot_beside_a_line_leaves_the_line_alone(gateway: PaperGateway, asked: Told) -> None:
    async with web_backend(gateway) as (backend, _):
        _, quotes, _ = line(backend)
        await quotes.until(len)
        assert None not in prices(await backend.snapshot(AAPL, 10.0))
        seen = len(quotes.items)
        await quotes.until(lambda items: len(items) > seen)
        assert count(asked.items, "umd") == 0


async def test_what_the_web_api_cannot_do_is_refused(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, _):
        with pytest.raises(NotSupportedByBackend):
            backend.open_line(AAPL, Told(), Told(), "233")
        with pytest.raises(NotSupportedByBackend):
            backend.set_market_data(MarketDataKind.FROZEN)
        backend.set_market_data(MarketDataKind.DELAYED)


# --- orders and trades ------------------------------------------------------------------------------------------------


class _Rows:
    """What `Records` is given, beside what it makes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.orders, self.trades = Told(), Told()
        on_orders, on_trades = Records.on_orders, Records.on_trades

        def orders(records: Records, changed: Any) -> None:
            for row in changed:
                self.orders(dict(row))
            on_orders(records, changed)

        def trades(records: Records, listed: Any) -> None:
            for row in listed:
                self.trades(dict(row))
            on_trades(records, listed)

        monkeypatch.setattr(Records, "on_orders", orders)
        monkeypatch.setattr(Records, "on_trades", trades)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> _Rows:
    return _Rows(monkeypatch)


async def _place(gateway: PaperGateway, **changes: Any) -> int:
    """Another program of the same user name places an order; IBKR's number of it."""
    order = {"conid": AAPL.con_id, "orderType": "MKT", "side": "BUY", "tif": "DAY", "quantity": 5, **changes}
    async with aiohttp.ClientSession() as http:
        path = f"{gateway.web.url}iserver/account/{ACCOUNT}/orders"
        async with http.post(path, json={"orders": [order]}) as answer:
            told = await answer.json()
        while "message" in told[0]:
            path = f"{gateway.web.url}iserver/reply/{told[0]['id']}"
            async with http.post(path, json={"confirmed": True}) as answer:
                told = await answer.json()
    return int(told[0]["order_id"])


async def test_orders_and_trades_come_in_order_with_their_contracts_known(gateway: PaperGateway, rows: _Rows) -> None:
    async with web_backend(gateway) as (backend, _):
        number = await _place(gateway)
        await rows.orders.until(lambda items: items and items[-1].get("status") == "Filled")
        assert {row["orderId"] for row in rows.orders.items} == {number}
        assert rows.orders.items[0]["conid"] == AAPL.con_id
        assert backend._room.contracts[AAPL.con_id].symbol == "AAPL"
        # The fill, and again with its commission.
        await rows.trades.until(lambda items: items and "commission" in items[-1])
        assert {row["order_id"] for row in rows.trades.items} == {number}


async def test_the_trades_of_the_day_come_again_after_a_gap(gateway: PaperGateway, rows: _Rows) -> None:
    async with web_backend(gateway):
        await _place(gateway)
        await rows.trades.until(lambda items: items and "commission" in items[-1])
        seen = len(rows.trades.items)
        gateway.inject("websocket_close")
        await rows.trades.until(lambda items: len(items) > seen)


async def test_a_contract_that_cannot_be_described_holds_no_order_back(
    gateway: PaperGateway, rows: _Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(reads: Reads, con_ids: Any, timeout: float) -> None:
        raise RequestTimeout("no description today.")

    monkeypatch.setattr(Reads, "know", refuse)
    async with web_backend(gateway):
        await _place(gateway)
        await rows.orders.until(lambda items: items and items[-1].get("status") == "Filled")


# --- the account ------------------------------------------------------------------------------------------------------


async def test_figures_and_profit_come_as_facts_under_twss_keys(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, told):
        asked_for = {
            (row.key, row.currency): row.value for row in await backend.account_values(ACCOUNT, 10.0) if row.value
        }
        backend.subscribe_account(ACCOUNT)
        await told.first(PnlSeen)
        await told.first(AccountValueSeen, lambda fact: fact.key == "ExchangeRate" and fact.currency == "USD")
        streamed = {(fact.key, fact.currency): fact.value for fact in told.of(AccountValueSeen)}
        assert {fact.account for fact in told.of(AccountValueSeen)} == {ACCOUNT}
        shared = asked_for.keys() & streamed.keys()
        assert {
            ("NetLiquidation", "USD"),
            ("BuyingPower", "USD"),
            ("CashBalance", "USD"),
            ("ExchangeRate", "USD"),
        } <= shared
        assert {key: Decimal(streamed[key]) for key in shared if _is_number(asked_for[key])} == {
            key: Decimal(asked_for[key]) for key in shared if _is_number(asked_for[key])
        }


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit()


async def test_a_fill_brings_the_position_and_its_end_brings_zero(gateway: PaperGateway) -> None:
    async with web_backend(gateway) as (backend, told):
        backend.subscribe_account(ACCOUNT)
        await _place(gateway)
        held = await told.first(PositionSeen, lambda fact: fact.position.quantity == 5)
        assert held.position.contract.symbol == "AAPL"
        assert held.position.market_value is not None
        await _place(gateway, side="SELL")
        await told.first(PositionSeen, lambda fact: fact.position.quantity == 0)
        profit = await told.first(PnlSeen, lambda fact: fact.pnl.daily)
        assert profit.pnl.account == ACCOUNT


async def test_an_account_that_is_not_wanted_any_more_falls_silent(gateway: PaperGateway, asked: Told) -> None:
    async with web_backend(gateway) as (backend, told):
        backend.subscribe_account(ACCOUNT)
        await told.first(PnlSeen)
        backend.unsubscribe_account(ACCOUNT)
        await asked.until(lambda texts: all(count(texts, word) for word in ("usd", "uld", "upl")))
