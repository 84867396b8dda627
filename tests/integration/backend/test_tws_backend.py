"""Connecting, reading and market data through a socket against the paper gateway.

Any message that the client library could not read fails the test.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from ibkr_connector.backends.base import HistoryRequest, MarketDataKind, Write
from ibkr_connector.backends.facts import (
    AccountValueSeen,
    NextIdTold,
    PnlSeen,
    PositionSeen,
    SocketClosed,
    SystemNotice,
)
from ibkr_connector.errors import (
    ClientIdInUse,
    ContractNotFound,
    IBKRError,
    MarketDataNotSubscribed,
    TooManyMarketDataLines,
)
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote
from ibkr_connector.paper import PaperGateway, TwsOptions

from .orders import AAPL
from .watch import ACCOUNT, SECONDS, Wire, dial

# --- connection -------------------------------------------------------------------------------------------------------


async def test_the_handshake_tells_accounts_ids_and_farms(gateway: PaperGateway, wire: Wire) -> None:
    await wire.until(lambda fact: isinstance(fact, SystemNotice) and fact.code == 2158)
    assert wire.of(NextIdTold)
    assert wire.capabilities.name == "tws"
    assert wire.capabilities.library.startswith(("ib_insync ", "ib_async "))
    assert gateway.clients == [1]


async def test_a_client_id_in_use_is_told_at_once(gateway: PaperGateway, wire: Wire) -> None:
    with pytest.raises(ClientIdInUse):
        await dial(gateway)
    assert wire.connected


async def test_a_cut_connection_is_one_unexpected_fact_and_can_be_made_again(gateway: PaperGateway, wire: Wire) -> None:
    number = await wire.place()
    await wire.status(number, "Submitted", "PreSubmitted")
    gateway.drop()
    await wire.until(lambda fact: isinstance(fact, SocketClosed))
    assert [fact.expected for fact in wire.of(SocketClosed)] == [False]
    info = await wire.connect(host="127.0.0.1", port=gateway.tws_port, client_id=1, timeout=SECONDS)
    assert info.next_valid_id > number
    orders = await wire.open_orders(SECONDS)
    assert [echo.order_id for echo in orders.echoes] == [number]


async def test_server_time_is_the_gateways_clock(gateway: PaperGateway, wire: Wire) -> None:
    told = await wire.server_time(SECONDS)
    assert abs(told - gateway.clock.now()) < timedelta(seconds=5)


# --- contracts and history --------------------------------------------------------------------------------------------


async def test_contract_details_hold_the_rules_of_the_contract(wire: Wire) -> None:
    (details,) = await wire.contract_details(Contract.stock("AAPL", primary_exchange="NASDAQ"), SECONDS)
    assert details.contract.con_id == 265598
    assert details.contract.exchange == "SMART"
    assert details.min_tick == Decimal("0.01")
    assert details.time_zone_id
    assert ":" in details.trading_hours
    assert "SMART" in details.valid_exchanges


async def test_an_unknown_contract_is_not_found(wire: Wire) -> None:
    with pytest.raises(ContractNotFound) as caught:
        await wire.contract_details(Contract.stock("NOSUCHTHING"), SECONDS)
    assert caught.value.code == 200


async def test_a_search_finds_by_the_beginning_of_the_symbol(wire: Wire) -> None:
    found = await wire.search_contracts("AAP", SECONDS)
    assert [(c.symbol, c.con_id, c.exchange) for c in found if c.symbol == "AAPL"] == [("AAPL", 265598, "SMART")]


async def test_intraday_bars_come_oldest_first_in_utc(gateway: PaperGateway, wire: Wire) -> None:
    request = HistoryRequest(contract=AAPL, end=None, duration="1 D", bar_size="5 mins")
    bars = await wire.historical_bars(request, SECONDS)
    assert len(bars) > 1
    assert all(earlier.start < later.start for earlier, later in pairwise(bars))
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
    assert all(bar.start.tzinfo is UTC for bar in bars)
    assert gateway.clock.now() - timedelta(days=5) < bars[0].start
    assert bars[-1].start < gateway.clock.now()


async def test_daily_bars_start_at_midnight_of_their_session(gateway: PaperGateway, wire: Wire) -> None:
    end = gateway.clock.now() - timedelta(days=7)
    request = HistoryRequest(contract=AAPL, end=end, duration="2 W", bar_size="1 day")
    bars = await wire.historical_bars(request, SECONDS)
    assert 5 < len(bars) <= 11
    assert {(bar.start.hour, bar.start.minute) for bar in bars} == {(0, 0)}
    assert bars[-1].start.date() <= end.date()


async def test_a_wrong_history_request_is_a_typed_error_not_an_empty_list(wire: Wire) -> None:
    with pytest.raises(IBKRError, match="parsecs"):
        await wire.historical_bars(
            HistoryRequest(contract=AAPL, end=None, duration="1 D", bar_size="7 parsecs"), SECONDS
        )


async def test_the_head_timestamp_is_a_moment_in_the_past(gateway: PaperGateway, wire: Wire) -> None:
    head = await wire.head_timestamp(AAPL, "TRADES", SECONDS, use_rth=True)
    assert head < gateway.clock.now()


# --- market data ------------------------------------------------------------------------------------------------------


async def test_a_line_gives_whole_quotes_until_it_is_closed(wire: Wire) -> None:
    quotes: list[Quote] = []
    both = asyncio.Event()
    errors: list[Exception] = []

    def take(quote: Quote) -> None:
        quotes.append(quote)
        if quote.bid is not None and quote.ask is not None and quote.close is not None:
            both.set()

    line = wire.open_line(AAPL, take, errors.append, "233")
    async with asyncio.timeout(SECONDS):
        await both.wait()
    last = quotes[-1]
    assert last.bid is not None
    assert last.ask is not None
    assert last.bid < last.ask
    assert (last.symbol, last.con_id, last.delayed, last.halted) == ("AAPL", 265598, False, False)
    wire.close_line(line)
    wire.close_line(line)
    count = len(quotes)
    await wire.server_time(SECONDS)  # everything before it on the wire was taken in
    assert len(quotes) == count
    assert errors == []


async def test_a_snapshot_is_one_quote_and_leaves_no_line(gateway: PaperGateway, wire: Wire) -> None:
    quote = await wire.snapshot(AAPL, SECONDS)
    assert quote.bid is not None
    assert quote.ask is not None
    assert quote.at is not None


async def test_a_line_on_an_unknown_contract_ends_with_its_error(wire: Wire) -> None:
    ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    wire.open_line(Contract.stock("NOSUCHTHING"), lambda _quote: None, ended.set_result)
    async with asyncio.timeout(SECONDS):
        assert isinstance(await ended, ContractNotFound)


class TestWithoutSubscriptions:
    @pytest.fixture
    def options(self) -> TwsOptions:
        return TwsOptions(message_rate_limit=None, tick_interval=0.01, entitlement="delayed", max_lines=1)

    async def test_a_line_without_a_subscription_says_so_and_delayed_data_is_flagged(self, wire: Wire) -> None:
        ended: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        wire.open_line(AAPL, lambda _quote: None, ended.set_result)
        async with asyncio.timeout(SECONDS):
            assert isinstance(await ended, MarketDataNotSubscribed)
        wire.set_market_data(MarketDataKind.DELAYED)
        first: asyncio.Future[Quote] = asyncio.get_running_loop().create_future()

        def take(quote: Quote) -> None:
            if not first.done():
                first.set_result(quote)

        line = wire.open_line(AAPL, take, ended.set_result)
        async with asyncio.timeout(SECONDS):
            assert (await first).delayed
        too_many: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        wire.open_line(Contract.stock("MSFT"), lambda _quote: None, too_many.set_result)
        async with asyncio.timeout(SECONDS):
            assert isinstance(await too_many, TooManyMarketDataLines)
        wire.close_line(line)


# --- account ----------------------------------------------------------------------------------------------------------


async def test_account_values_hold_the_main_figures_and_cash_per_currency(wire: Wire) -> None:
    rows = await wire.account_values(ACCOUNT, SECONDS)
    figures = {(row.key, row.currency): row.value for row in rows}
    assert Decimal(figures["NetLiquidation", "USD"]) == 1_000_000
    assert {"TotalCashValue", "BuyingPower", "AvailableFunds", "CashBalance"} <= {row.key for row in rows}
    assert {row.account for row in rows} == {ACCOUNT}
    # Twice: the first answer released its subscription.
    assert len(await wire.account_values(ACCOUNT, SECONDS)) == len(rows)


async def test_an_empty_account_has_no_positions(wire: Wire) -> None:
    assert await wire.positions(SECONDS) == []


async def test_a_subscribed_account_feeds_values_positions_and_pnl(wire: Wire) -> None:
    wire.subscribe_account(ACCOUNT)
    await wire.until(lambda fact: isinstance(fact, AccountValueSeen) and fact.key == "NetLiquidation")
    pnl = await wire.until(lambda fact: isinstance(fact, PnlSeen))
    assert pnl.pnl.account == ACCOUNT
    await wire.place(order_type="MKT", limit_price=None, quantity=Decimal(5))
    seen = await wire.until(lambda fact: isinstance(fact, PositionSeen) and fact.position.market_value is not None)
    assert seen.position.quantity == 5
    wire.unsubscribe_account(ACCOUNT)


async def test_a_feed_that_is_started_again_feeds_pnl_under_a_new_number(wire: Wire) -> None:
    """After 1101 the gateway has forgotten the old one."""
    wire.subscribe_account(ACCOUNT)
    await wire.until(lambda fact: isinstance(fact, PnlSeen))
    wire.subscribe_account(ACCOUNT)
    wire.facts.clear()
    await wire.until(lambda fact: isinstance(fact, PnlSeen))
    wire.unsubscribe_account(ACCOUNT)


async def test_the_end_of_a_line_waits_for_its_turn(wire: Wire, gateway: PaperGateway) -> None:
    """INV-09: nobody waited for a slot for it."""
    waiting: list[Write] = []
    wire.pace_with(waiting.append)
    line = wire.open_line(AAPL, lambda _: None, lambda _: None)
    wire.close_line(line)
    assert len(waiting) == 1
    assert waiting.pop()()
    wire.close_line(line)
    assert waiting == []
    line = wire.open_line(AAPL, lambda _: None, lambda _: None)
    wire.close_line(line)
    await wire.disconnect()
    assert not waiting.pop()(), "there is nothing left to end"
