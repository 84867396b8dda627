"""Account, contracts, history and quotes over the real wire."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import (
    AmbiguousContract,
    ContractNotFound,
    InvalidRequest,
    NoMarketData,
    RequestTimeout,
)
from ibkr_connector.models.contract import Contract
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector
from support.proxy import Proxy, is_kind

SECONDS = 20.0


async def test_account_summary_has_the_guides_keys_and_real_numbers(connector: IBKRConnector) -> None:
    summary = await connector.get_account_summary()
    assert summary.account_id == ACCOUNT
    assert summary.net_liquidation == Decimal(1_000_000)
    data = summary.to_dict()
    assert {"total_value", "cash_balance", "buying_power", "available_funds", "positions", "total_positions"} <= set(
        data
    )
    assert data["real_data"] is True


async def test_money_adds_up_after_a_round_trip(connector: IBKRConnector, gateway: PaperGateway) -> None:
    bought = await (await connector.place_market_order("SPY", 40, "BUY")).filled(10)
    sold = await (await connector.place_market_order("SPY", 40, "SELL")).filled(10)
    for _ in range(2):
        await gateway.truth.wait_for("commission", timeout=SECONDS)
    executions = await connector.get_executions()
    async with asyncio.timeout(SECONDS):
        while len([e for e in executions if e.commission is not None]) < 2:
            await asyncio.sleep(0)
            executions = await connector.get_executions()
    assert bought.avg_fill_price is not None
    assert sold.avg_fill_price is not None
    costs = sum((e.commission or Decimal(0) for e in executions), Decimal(0))
    gained = 40 * (sold.avg_fill_price - bought.avg_fill_price) - costs
    summary = await connector.get_account_summary(refresh=True)
    assert summary.total_cash == Decimal(1_000_000) + gained
    assert await connector.get_cash_balance() == summary.total_cash
    assert await connector.get_cash_balance("EUR") == 0
    assert await connector.get_positions(refresh=True) == []


async def test_list_of_positions_whose_end_overtakes_its_rows_loses_none(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    for symbol in ("AAPL", "MSFT"):
        await (await connector.place_market_order(symbol, 10, "BUY")).filled(10)
    assert len(await connector.get_positions(refresh=True)) == 2
    number = gateway.inject("reorder_replies", on="positions", count=3, for_=SECONDS)
    held = await connector.get_positions(refresh=True)
    assert gateway.truth.of("fault_hit"), f"fault {number} hit nothing"
    assert {position.contract.symbol: position.quantity for position in held} == {"AAPL": 10, "MSFT": 10}


async def test_profit_has_the_guides_keys(connector: IBKRConnector) -> None:
    await (await connector.place_market_order("AAPL", 10, "BUY")).filled(10)
    data = (await connector.get_portfolio_pnl()).to_dict()
    assert {"cash_balance", "total_portfolio_value", "total_unrealized_pnl", "total_realized_pnl", "total_pnl"} <= set(
        data
    )
    assert data["positions_count"] == 1


async def test_contract_is_found_by_name_by_id_and_by_pair(connector: IBKRConnector) -> None:
    by_name = await connector.get_contract("AAPL")
    by_id = await connector.get_contract(Contract(con_id=by_name.contract.con_id))
    pair = await connector.get_contract("EUR.USD")
    assert by_name.contract.con_id == by_id.contract.con_id == 265598
    assert by_name.min_tick == Decimal("0.01")
    assert (pair.contract.sec_type, pair.contract.exchange, pair.contract.con_id) == ("CASH", "IDEALPRO", 12087792)


async def test_many_callers_ask_for_a_contract_once(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port)
    await connector.connect()
    await asyncio.gather(*(connector.get_contract("IBM") for _ in range(30)))
    assert len([frame for frame in proxy.requests if frame[:1] == ["9"]]) == 1


async def test_unknown_and_ambiguous_contracts_are_told_apart(connector: IBKRConnector) -> None:
    with pytest.raises(ContractNotFound):
        await connector.get_contract("NOSUCH")
    with pytest.raises(AmbiguousContract) as caught:
        await connector.get_contract(Contract(symbol="ES", sec_type="FUT", exchange="CME"))
    assert len(caught.value.context["candidates"]) > 1


async def test_search_finds_names(connector: IBKRConnector) -> None:
    found = await connector.search_contracts("AAP")
    assert "AAPL" in [contract.symbol for contract in found]
    with pytest.raises(InvalidRequest):
        await connector.search_contracts("  ")


async def test_bars_are_whole_ordered_and_end_where_asked(connector: IBKRConnector) -> None:
    end = datetime(2026, 11, 18, 21, 0, tzinfo=UTC)
    bars = await connector.get_historical_data("AAPL", "1 D", "1 min", end=end)
    assert len(bars) == 390
    assert bars[0].start == end - timedelta(minutes=390)
    assert [bar.start for bar in bars] == sorted({bar.start for bar in bars})
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    daily = await connector.get_historical_data("AAPL", "1 M", "1 day", end=end)
    assert bars[-1].close == next(bar for bar in daily if bar.start.date() == end.date()).close
    latest = await connector.get_market_data("AAPL")
    assert {"symbol", "timestamp", "open", "high", "low", "close", "volume"} == set(latest)


class TestShortHistory:
    """A market that begins in 2024."""

    @pytest.fixture
    def gateway_arguments(self, tmp_path: Path) -> dict[str, object]:
        folder = tmp_path / "bars"
        folder.mkdir()
        rows = [f"2024-10-0{day} 00:00:00,573.39,573.46,566.0,568.62,49763822" for day in (1, 2, 3, 4)]
        text = "\n".join(["datetime,open,high,low,close,volume", *rows])
        (folder / "SPY_Daily.csv").write_text(text, encoding="utf-8")
        return {"market": f"csv:{folder}", "start": datetime(2024, 10, 4, 15, 0, tzinfo=UTC)}

    async def test_no_bars_is_said_so_and_is_not_an_empty_list(self, connector: IBKRConnector) -> None:
        bars = await connector.get_historical_data("SPY", "2 D", "1 day", end=datetime(2024, 10, 3, 23, tzinfo=UTC))
        assert bars[-1].close == 568.62
        with pytest.raises(NoMarketData):
            await connector.get_historical_data("SPY", "1 D", "1 min", end=datetime(1995, 1, 3, tzinfo=UTC))


async def test_quote_has_both_sides_and_an_age(connector: IBKRConnector) -> None:
    quote = await connector.get_live_quote("AAPL")
    assert quote.bid is not None
    assert quote.ask is not None
    assert quote.bid < quote.ask
    assert quote.at is not None
    assert quote.to_dict()["symbol"] == "AAPL"


async def test_two_readers_share_one_line_and_both_get_every_change(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port)
    await connector.connect()
    async with (
        asyncio.timeout(SECONDS),
        connector.stream_quotes("AAPL") as one,
        connector.stream_quotes("AAPL") as two,
    ):
        first = [await anext(one) for _ in range(5)]
        second = [await anext(two) for _ in range(5)]
    assert len([frame for frame in proxy.requests if frame[:1] == ["1"]]) == 1
    assert {quote.con_id for quote in (*first, *second)} == {265598}
    assert first[-1].at is not None


async def test_stream_ends_quietly_after_a_break(connector: IBKRConnector) -> None:
    stream = connector.stream_quotes("MSFT")
    async with asyncio.timeout(SECONDS), stream:
        async for _ in stream:
            break
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        while True:
            await anext(stream)


async def test_unknown_symbol_of_a_stream_is_the_callers_error(connector: IBKRConnector) -> None:
    with pytest.raises(ContractNotFound):
        async with connector.stream_quotes("NOSUCH"):
            pass


async def test_server_time_is_the_gateways(connector: IBKRConnector, gateway: PaperGateway) -> None:
    told = await connector.get_server_time()
    assert abs((told - gateway.clock.now()).total_seconds()) < 5


async def test_callers_who_ask_for_the_time_at_once_share_one_slot(connector: IBKRConnector) -> None:
    house = connector._house
    seconds = house.settings.connection.request_timeout

    def slots() -> int:
        waited = house.session.meters.read().seconds["pacing_wait"]
        return sum(sum(found.buckets) for labels, found in waited.items() if labels == ("account",))

    async def at_once() -> list[datetime]:
        return await asyncio.gather(*(house.time.read(seconds) for _ in range(40)))

    before = slots()
    assert len(set(await house.thread.run(at_once()))) == 1
    assert slots() - before == 1


async def test_read_that_is_not_answered_times_out_naming_what_was_asked(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port, request_timeout=4.0)
    await connector.connect()
    proxy.swallow_answers = is_kind("10", "52")
    with pytest.raises(RequestTimeout, match="AAPL"):
        await connector.contracts.get("AAPL", timeout=0.3)
    proxy.heal()
    assert (await connector.contracts.get("AAPL", timeout=60)).contract.con_id == 265598


async def test_who_joins_a_read_late_does_not_get_the_other_callers_timeout(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port, request_timeout=4.0)
    await connector.connect()
    proxy.swallow_answers = is_kind("10", "52")
    first = asyncio.create_task(connector.get_contract("AAPL"))
    await asyncio.wait_for(proxy.seen.wait(), SECONDS)
    proxy.heal()
    joined = await connector.contracts.get("AAPL", timeout=SECONDS)
    assert joined.contract.con_id == 265598
    with pytest.raises(RequestTimeout, match="AAPL"):
        await first


async def test_bad_arguments_are_refused_before_anything_is_sent(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port)
    await connector.connect()
    before = len(proxy.requests)
    for call in (
        connector.get_historical_data("AAPL", "1 X"),
        connector.get_historical_data("AAPL", "1 D", "7 mins"),
        connector.get_live_quote("AAPL", timeout=-1),
        connector.get_contract("A--B"),
    ):
        with pytest.raises(InvalidRequest):
            await call
    with pytest.raises(InvalidRequest):
        connector.stream_quotes("AAPL", buffer=0)
    assert len(proxy.requests) == before
