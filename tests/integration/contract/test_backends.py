"""Every read of the backends, over both, against one gateway, field by field.

What differs is listed in `DIFFERENT`, and documented in docs/IMPLEMENTATION/web-backend.md: a field that begins to
differ fails here, and so does one of the list that does not differ any more.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.errors import ContractNotFound, NotSupportedByBackend
from ibkr_connector.models.contract import Contract
from support.connector import ACCOUNT

from .conftest import CONTRACTS, SECONDS, Pair

DETAILS_DIFFERENT = {"market_rule_ids", "order_types", "sec_ids"}
"""The Web API tells no market rules and no ISIN, and names the order types it takes itself."""
AAPL = Contract.stock("AAPL").with_con_id(265598)


def differing(one: Any, other: Any) -> set[str]:
    """Names of the fields that are not the same."""
    return {field.name for field in fields(one) if getattr(one, field.name) != getattr(other, field.name)}


@pytest.mark.parametrize("name", CONTRACTS)
async def test_contract_details_differ_in_what_is_declared_alone(pair: Pair, name: str) -> None:
    tws, web = await pair.both("contract_details", CONTRACTS[name], SECONDS)
    assert [one.contract for one in web] == [one.contract for one in tws]
    for one, other in zip(tws, web, strict=True):
        assert differing(one, other) <= DETAILS_DIFFERENT


async def test_details_by_number_are_those_by_name(pair: Pair) -> None:
    for con_id, exchange in ((265598, "SMART"), (515416632, "CME"), (12087792, "IDEALPRO")):
        tws, web = await pair.both("contract_details", Contract(con_id=con_id, exchange=exchange), SECONDS)
        assert [one.contract for one in web] == [one.contract for one in tws]


@pytest.mark.parametrize(
    "wanted",
    [
        Contract.stock("NOSUCHTHING"),
        Contract.stock("AAPL", exchange="LSE"),
        Contract.stock("AAPL", currency="EUR"),
        Contract.stock("AAPL", primary_exchange="NYSE"),
        Contract.future("ES", "202613", "CME"),
        Contract.future("ES", "202612", "EUREX"),
        Contract.forex("EUR.SEK"),
        Contract.index("NOSUCHTHING", "CBOE"),
        Contract(con_id=999_999_999),
    ],
)
async def test_what_is_not_there_is_not_found_by_either(pair: Pair, wanted: Contract) -> None:
    for backend in (pair.tws, pair.web):
        with pytest.raises(ContractNotFound):
            await backend.contract_details(wanted, SECONDS)


async def test_several_expiries_are_all_listed(pair: Pair) -> None:
    tws, web = await pair.both("contract_details", Contract(symbol="ES", sec_type="FUT", exchange="CME"), SECONDS)
    assert len(web) > 1
    assert {one.contract for one in web} == {one.contract for one in tws}


async def test_a_search_finds_the_stock_of_that_symbol_first(pair: Pair) -> None:
    tws, web = await pair.both("search_contracts", "AAPL", SECONDS)
    assert (web[0].con_id, web[0].symbol, web[0].exchange) == (tws[0].con_id, tws[0].symbol, tws[0].exchange)
    assert (web[0].primary_exchange, web[0].currency) == (tws[0].primary_exchange, tws[0].currency)
    assert await pair.web.search_contracts("NOSUCHTHING", SECONDS) == []


async def test_the_clock_is_the_same(pair: Pair) -> None:
    tws, web = await pair.both("server_time", SECONDS)
    assert abs(web - tws) <= timedelta(seconds=2)
    assert web.microsecond == 0


async def test_account_values_have_the_same_keys_and_figures(held: Pair) -> None:
    tws, web = await held.both("account_values", ACCOUNT, SECONDS)
    told = {(row.key, row.currency): row.value for row in tws}
    found = {(row.key, row.currency): row.value for row in web}
    missing = {key for key, _ in told.keys() - found.keys()}
    assert missing == {"AccountOrGroup", "NetDividend", "RealCurrency"}
    assert not found.keys() - told.keys()
    for key, value in found.items():
        if key[0] == "ExchangeRate":
            assert float(value) == pytest.approx(float(told[key]), rel=1e-6), key
        else:
            assert value == told[key], key


POSITION_DIFFERENT = {"contract", "market_price", "market_value", "unrealized_pnl", "realized_pnl", "as_of"}
"""TWS tells a position's market values with the account feed, the Web API with the position itself."""


async def test_positions_are_the_same(held: Pair) -> None:
    tws, web = await held.both("positions", SECONDS)
    assert {one.contract.con_id for one in web} == {one.contract.con_id for one in tws} == {265598, 515416632, 12087792}
    by_id = {one.contract.con_id: one for one in web}
    for one in tws:
        other = by_id[one.contract.con_id]
        assert differing(one, other) <= POSITION_DIFFERENT
        assert differing(one.contract, other.contract) <= {"trading_class", "exchange", "primary_exchange"}
        if one.contract.sec_type == "STK":
            assert differing(one.contract, other.contract) <= {"trading_class"}


BARS = [
    ("1 D", "5 mins", True),
    ("1 D", "5 mins", False),
    ("1 W", "1 day", True),
    ("1 M", "1 day", True),
    ("5 D", "1 hour", True),
    ("2 D", "1 min", False),
    ("600 S", "1 min", True),
    ("1800 S", "30 secs", True),
]


@pytest.mark.parametrize(("duration", "size", "rth"), BARS)
async def test_bars_are_the_same_but_for_averages_and_counts(pair: Pair, duration: str, size: str, rth: bool) -> None:
    request = HistoryRequest(contract=AAPL, end=None, duration=duration, bar_size=size, use_rth=rth)
    tws, web = await pair.both("historical_bars", request, SECONDS)
    assert tws
    assert [bar.start for bar in web] == [bar.start for bar in tws]
    for one, other in zip(tws[:-1], web[:-1], strict=True):  # the last one is still being made
        assert (other.open, other.high, other.low, other.close, other.volume) == (
            one.open, one.high, one.low, one.close, one.volume,
        )  # fmt: skip
        assert (other.wap, other.count) == (0.0, 0)


async def test_longer_bars_are_the_same_and_dated_by_their_first_session(pair: Pair) -> None:
    for duration, size in (("1 Y", "1 week"), ("6 M", "1 month")):
        request = HistoryRequest(contract=AAPL, end=None, duration=duration, bar_size=size)
        tws, web = await pair.both("historical_bars", request, SECONDS)
        assert [(bar.open, bar.high, bar.low, bar.volume) for bar in web[:-1]] == [
            (bar.open, bar.high, bar.low, bar.volume) for bar in tws[:-1]
        ]
        assert all(later.start <= earlier.start for later, earlier in zip(web, tws, strict=True))


async def test_more_than_a_thousand_bars_come_whole(pair: Pair) -> None:
    request = HistoryRequest(contract=AAPL, end=None, duration="5 D", bar_size="1 min", use_rth=False)
    tws, web = await pair.both("historical_bars", request, SECONDS)
    assert len(tws) > 2_000
    assert [bar.start for bar in web] == [bar.start for bar in tws]


async def test_the_days_of_a_future_have_the_dates_of_their_sessions(pair: Pair) -> None:
    contract = (await pair.tws.contract_details(CONTRACTS["future"], SECONDS))[0].contract
    request = HistoryRequest(contract=contract, end=None, duration="1 W", bar_size="1 day", use_rth=False)
    tws, web = await pair.both("historical_bars", request, SECONDS)
    assert [bar.start for bar in web] == [bar.start for bar in tws]


async def test_what_the_web_api_has_not_is_said(pair: Pair) -> None:
    with pytest.raises(NotSupportedByBackend):
        await pair.web.head_timestamp(AAPL, "TRADES", SECONDS, use_rth=True)
    request = HistoryRequest(contract=AAPL, end=None, duration="1 D", bar_size="1 hour", what_to_show="ADJUSTED_LAST")
    with pytest.raises(NotSupportedByBackend):
        await pair.web.historical_bars(request, SECONDS)
