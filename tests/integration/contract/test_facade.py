"""Every read of the connector's facade, over both backends, against one gateway, field by field.

What differs is declared here, and documented in docs/IMPLEMENTATION/web-backend.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import ContractNotFound, InvalidRequest, NoMarketData
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, FAST
from support.holdings import HOLDINGS, buy_some
from support.web import web_settings

from .conftest import SECONDS

QUOTE_MOVES = {"at", "age", "volume", "last_size", "bid_size", "ask_size", "last", "bid", "ask", "high", "low"}
"""The market goes on between the one question and the other."""


@dataclass
class Both:
    """A connector over each backend."""

    tws: IBKRConnector
    web: IBKRConnector

    async def ask(self, read: str, *arguments: Any, **keys: Any) -> tuple[Any, Any]:
        """What a method of the facade answers over each."""
        return (
            await getattr(self.tws, read)(*arguments, **keys),
            await getattr(self.web, read)(*arguments, **keys),
        )

    async def settle(self, read: str, condition: Callable[[Any], bool], **keys: Any) -> tuple[Any, Any]:
        """The same, as soon as both answers fulfil a condition."""
        async with asyncio.timeout(SECONDS):
            while True:
                tws, web = await self.ask(read, **keys)
                if condition(tws) and condition(web):
                    return tws, web
                await asyncio.sleep(0.05)


@pytest.fixture
async def both(gateway: PaperGateway, tmp_path: Path) -> AsyncIterator[Both]:
    """Connected, after some positions were bought."""
    await buy_some(gateway, ACCOUNT)
    tws = IBKRConnector(profile="contract-tws", port=gateway.tws_port, state_dir=tmp_path / "tws", **FAST)
    web = IBKRConnector(profile="contract-web", state_dir=tmp_path / "web", **web_settings(gateway))
    try:
        await tws.connect()
        await web.connect()
        yield Both(tws, web)
    finally:
        await tws.close()
        await web.close()


def differing(one: Any, other: Any) -> set[str]:
    """Names of the fields that are not the same."""
    mine, theirs = one.to_dict(), other.to_dict()
    assert mine.keys() == theirs.keys()
    return {name for name in mine if mine[name] != theirs[name]}


async def test_the_account_summary_is_the_same(both: Both) -> None:
    tws, web = await both.ask("get_account_summary", refresh=True)
    assert differing(tws, web) <= {"timestamp", "positions"}
    assert (web.account_id, web.currency) == (ACCOUNT, "USD")
    assert len(web.positions) == len(tws.positions) == len(HOLDINGS)


async def test_cash_is_the_same(both: Both) -> None:
    await both.ask("get_account_summary", refresh=True)
    for currency in (None, "USD", "EUR", "CHF"):
        tws, web = await both.ask("get_cash_balance", currency)
        assert web == tws, currency


async def test_positions_are_the_same(both: Both) -> None:
    tws, web = await both.ask("get_positions", refresh=True)
    by_id = {one.contract.con_id: one for one in tws}
    assert by_id.keys() == HOLDINGS.keys()
    for other in web:
        one = by_id[other.contract.con_id]
        assert (other.quantity, other.avg_cost, other.account) == (one.quantity, one.avg_cost, one.account)
        assert (other.contract.symbol, other.contract.sec_type, other.contract.currency, other.contract.expiry) == (
            one.contract.symbol, one.contract.sec_type, one.contract.currency, one.contract.expiry,
        )  # fmt: skip
        assert other.contract.multiplier == one.contract.multiplier


async def test_profit_has_the_same_figures(both: Both) -> None:
    await both.ask("get_account_summary", refresh=True)
    tws, web = await both.ask("get_portfolio_pnl")
    assert differing(tws, web) <= {
        "timestamp", "daily_pnl", "total_unrealized_pnl", "total_pnl", "total_portfolio_value", "total_realized_pnl",
    }  # fmt: skip
    assert web.positions_count == len(HOLDINGS)
    assert web.cash_balance == tws.cash_balance


async def test_executions_are_the_same(both: Both) -> None:
    def whole(found: list[Any]) -> bool:
        return len(found) >= len(HOLDINGS) and all(one.commission is not None for one in found)

    tws, web = await both.settle("get_executions", whole)
    by_id = {one.exec_id: one for one in tws}
    assert {one.exec_id for one in web} == by_id.keys()
    for other in web:
        one = by_id[other.exec_id]
        assert (other.side, other.quantity, other.price, other.order_ref, other.account) == (
            one.side, one.quantity, one.price, one.order_ref, one.account,
        )  # fmt: skip
        assert other.commission == one.commission
        assert other.contract.con_id == one.contract.con_id
        assert abs(other.at - one.at) < timedelta(seconds=1)


async def test_open_orders_of_either_are_seen_by_both(both: Both) -> None:
    mine = await both.tws.place_limit_order("AAPL", 5, "BUY", limit_price=200)
    theirs = await both.web.place_limit_order("IBM", 7, "BUY", limit_price=200)

    def whole(found: list[Any]) -> bool:
        return len(found) == 2 and all(one.perm_id for one in found)

    tws, web = await both.settle("get_open_orders", whole, refresh=True)
    by_id = {one.perm_id: one for one in tws}
    assert {one.perm_id for one in web} == by_id.keys()
    for other in web:
        one = by_id[other.perm_id]
        assert other.ours is not one.ours  # each knows its own by its ref, and the other's by the broker's number
        assert other.contract.con_id == one.contract.con_id
        for field in ("action", "quantity", "limit_price", "order_type", "tif", "filled", "state", "account"):
            assert getattr(other, field) == getattr(one, field), field
    assert (await both.tws.cancel_order(mine)).state.value == "cancelled"
    assert (await both.web.cancel_order(theirs)).state.value == "cancelled"


@pytest.mark.parametrize("name", ["AAPL", "ES-202612-CME", "EUR.USD"])
async def test_contracts_are_the_same(both: Both, name: str) -> None:
    tws, web = await both.ask("get_contract", name)
    assert web.contract == tws.contract
    assert (web.min_tick, web.multiplier, web.trading_hours, web.liquid_hours) == (
        tws.min_tick, tws.multiplier, tws.trading_hours, tws.liquid_hours,
    )  # fmt: skip


async def test_a_contract_that_is_not_there_is_the_same_error(both: Both) -> None:
    for connector in (both.tws, both.web):
        with pytest.raises(ContractNotFound):
            await connector.get_contract("NOSUCHTHING")


async def test_a_search_begins_with_the_same_stock(both: Both) -> None:
    tws, web = await both.ask("search_contracts", "AAPL")
    assert web[0].con_id == tws[0].con_id == 265598


async def test_bars_are_the_same(both: Both) -> None:
    tws, web = await both.ask("get_historical_data", "AAPL", duration="2 D", bar_size="5 mins")
    assert [bar.start for bar in web] == [bar.start for bar in tws]
    for one, other in zip(tws[:-1], web[:-1], strict=True):
        assert (other.open, other.high, other.low, other.close, other.volume) == (
            one.open, one.high, one.low, one.close, one.volume,
        )  # fmt: skip


async def test_history_that_is_not_there_or_not_legal_is_the_same_error(both: Both) -> None:
    for connector in (both.tws, both.web):
        with pytest.raises(InvalidRequest):
            await connector.get_historical_data("AAPL", duration="2 X", bar_size="5 mins")
        with pytest.raises((NoMarketData, InvalidRequest)):
            await connector.get_historical_data(
                "AAPL", duration="1 D", bar_size="1 day", end=datetime(1950, 1, 3, 16, tzinfo=UTC)
            )


async def test_quotes_have_the_same_fields(both: Both) -> None:
    tws, web = await both.ask("get_live_quote", "AAPL")
    assert differing(tws, web) <= QUOTE_MOVES | {"timestamp"}
    for field in ("bid", "ask", "last", "close", "volume"):
        assert (getattr(web, field) is None) == (getattr(tws, field) is None), field


async def test_the_clock_is_the_same(both: Both) -> None:
    tws, web = await both.ask("get_server_time")
    assert abs(web - tws) <= timedelta(seconds=2)


async def test_each_says_what_it_is(both: Both) -> None:
    assert (both.tws.capabilities.name, both.web.capabilities.name) == ("tws", "web")
    assert both.web.capabilities.library.startswith("ibind")
    tws, web = both.tws.get_connection_status(), both.web.get_connection_status()
    assert tws.keys() == web.keys()
    assert (web["state"], web["account_id"], web["reconciled"]) == ("ready", ACCOUNT, True)
    assert both.web.account_id == both.tws.account_id
    assert both.web.is_connected()
