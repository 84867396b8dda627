"""The TWS backend through a socket against the paper gateway: every call, every fact of an order's life.

Any message that the client library could not read fails the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from ibkr_connector.backends.base import (
    AccountValueSeen,
    BrokerFact,
    CommissionSeen,
    ExecutionSeen,
    HistoryRequest,
    NextIdTold,
    OrderCompleted,
    OrderEchoed,
    OrderNotice,
    OrderStatusSeen,
    PnlSeen,
    PositionSeen,
    SocketClosed,
    SystemNotice,
)
from ibkr_connector.backends.tws import TwsBackend
from ibkr_connector.errors import (
    ClientIdInUse,
    ContractNotFound,
    IBKRError,
    MarketDataNotSubscribed,
    PriceIncrementError,
    ReadOnlyApi,
    TooManyMarketDataLines,
    TradingError,
)
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote
from ibkr_connector.paper import ExchangeBehavior, PaperGateway, TwsOptions

from .orders import AAPL, limit_order

SECONDS = 15.0
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
        self.send_order(limit_order(number, account=ACCOUNT, order_ref=f"ref-{number}", **changes))
        return number


@pytest.fixture
def options() -> TwsOptions:
    return TwsOptions(message_rate_limit=None, tick_interval=0.01)


@pytest.fixture
def behavior() -> ExchangeBehavior:
    return ExchangeBehavior(duplicate_status_probability=0.0, filled_before_exec_probability=0.0)


@pytest.fixture
async def gateway(options: TwsOptions, behavior: ExchangeBehavior) -> AsyncIterator[PaperGateway]:
    async with PaperGateway(seed=7, options=options, behavior=behavior, accounts=(ACCOUNT,)) as gateway:
        yield gateway


async def dial(gateway: PaperGateway, client_id: int = 1) -> Wire:
    wire = Wire()
    await wire.connect(host="127.0.0.1", port=gateway.tws_port, client_id=client_id, timeout=SECONDS)
    return wire


@pytest.fixture
async def wire(gateway: PaperGateway) -> AsyncIterator[Wire]:
    wire = await dial(gateway)
    yield wire
    await wire.disconnect()
    assert wire.decode_errors == 0


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
        wire.set_market_data_type(3)
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


# --- orders -----------------------------------------------------------------------------------------------------------


async def test_a_market_order_is_echoed_filled_executed_and_costed_in_facts(wire: Wire) -> None:
    number = await wire.place(order_type="MKT", limit_price=None)
    filled = await wire.status(number, "Filled")
    assert (filled.filled, filled.remaining) == (Decimal(100), Decimal(0))
    execution = (await wire.until(lambda fact: isinstance(fact, ExecutionSeen))).execution
    cost = await wire.until(lambda fact: isinstance(fact, CommissionSeen))
    echo = wire.of(OrderEchoed)[0]
    assert (echo.order_id, echo.client_id, echo.order_ref, echo.account) == (number, 1, f"ref-{number}", ACCOUNT)
    assert (echo.action, echo.quantity, echo.order_type, echo.limit_price) == ("BUY", Decimal(100), "MKT", None)
    assert echo.contract.con_id == 265598
    assert (execution.side, execution.order_ref, execution.perm_id) == ("BUY", f"ref-{number}", echo.perm_id)
    assert sum(fact.execution.quantity for fact in wire.of(ExecutionSeen)) == 100
    assert {fact.replayed for fact in wire.of(ExecutionSeen)} == {False}
    assert cost.exec_id == execution.exec_id
    assert cost.commission > 0
    assert cost.realized_pnl is None or cost.realized_pnl == 0
    (position,) = await wire.positions(SECONDS)
    assert (position.quantity, position.contract.symbol, position.contract.exchange) == (Decimal(100), "AAPL", "SMART")
    records = await wire.executions(SECONDS)
    assert records.complete
    assert {row.exec_id for row in records.executions} == {
        fact.execution.exec_id for fact in wire.of(ExecutionSeen) if not fact.replayed
    }
    assert all(row.commission is not None for row in records.executions)
    assert [fact.replayed for fact in wire.of(ExecutionSeen)].count(True) == len(records.executions)
    assert (await wire.executions(SECONDS, account="DU0")).executions == ()


async def test_a_limit_order_rests_is_changed_and_cancelled(wire: Wire) -> None:
    number = await wire.place()
    await wire.status(number, "Submitted")
    orders = await wire.open_orders(SECONDS, all_clients=False)
    assert orders.complete
    assert [(echo.order_id, echo.limit_price) for echo in orders.echoes] == [(number, Decimal("10.1"))]
    wire.send_order(
        limit_order(
            number, account=ACCOUNT, order_ref=f"ref-{number}", limit_price=Decimal("10.25"), quantity=Decimal(70)
        )
    )
    changed = await wire.until(lambda fact: isinstance(fact, OrderEchoed) and fact.limit_price == Decimal("10.25"))
    assert changed.quantity == 70
    wire.send_cancel(number)
    cancelled = await wire.status(number, "Cancelled", "ApiCancelled")
    assert cancelled.filled == 0
    notice = await wire.until(lambda fact: isinstance(fact, OrderNotice) and fact.code == 202)
    assert notice.order_id == number
    assert (await wire.open_orders(SECONDS)).echoes == ()
    done = await wire.completed_orders(SECONDS)
    assert done.complete
    assert [(row.order_ref, row.perm_id) for row in done.completed] == [(f"ref-{number}", cancelled.perm_id)]
    assert wire.of(OrderCompleted) == list(done.completed)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"order_type": "STP", "limit_price": None, "stop_price": Decimal("900.5")},
            (None, Decimal("900.5"), None, None),
        ),
        ({"limit_price": Decimal("10.25"), "outside_rth": True}, (Decimal("10.25"), None, None, None)),
        (
            {"order_type": "STP LMT", "limit_price": Decimal(901), "stop_price": Decimal("900.5")},
            (Decimal(901), Decimal("900.5"), None, None),
        ),
        (
            {"order_type": "TRAIL", "limit_price": None, "trail_amount": Decimal("2.5"), "action": "SELL"},
            (None, None, Decimal("2.5"), None),
        ),
        (
            {"order_type": "TRAIL", "limit_price": None, "trail_percent": Decimal("1.5"), "action": "SELL"},
            (None, None, None, Decimal("1.5")),
        ),
    ],
)  # fmt: skip
async def test_every_order_type_is_echoed_with_its_own_prices(
    wire: Wire, changes: dict[str, Any], told: tuple[Any, ...]
) -> None:
    number = await wire.place(tif="GTC", **changes)
    echo = await wire.echo(number)
    limit, stop, amount, percent = told
    assert (echo.order_type, echo.outside_rth) == (changes.get("order_type", "LMT"), changes.get("outside_rth", False))
    assert (echo.limit_price, echo.tif) == (limit, "GTC")
    assert (echo.trail_amount, echo.trail_percent) == (amount, percent)
    if stop is not None:
        assert echo.stop_price == stop


async def test_a_bracket_is_held_until_its_last_leg_and_one_exit_ends_the_other(wire: Wire) -> None:
    parent = await wire.place(transmit=False)
    target = await wire.place(action="SELL", limit_price=Decimal(900), parent_id=parent, transmit=False)
    stop = await wire.place(
        action="SELL", order_type="STP", limit_price=None, stop_price=Decimal("5.5"), parent_id=parent
    )
    echoes = [await wire.echo(number) for number in (parent, target, stop)]
    assert [echo.parent_id for echo in echoes] == [0, parent, parent]
    wire.send_cancel(parent)
    for number in (parent, target, stop):
        await wire.status(number, "Cancelled", "ApiCancelled")


async def test_a_refused_order_is_a_notice_with_its_code(wire: Wire) -> None:
    number = await wire.place(limit_price=Decimal("10.1234"))
    notice = await wire.until(lambda fact: isinstance(fact, OrderNotice) and fact.order_id == number)
    assert notice.code == 110
    assert wire.of(OrderEchoed) == []


async def test_cancelling_what_is_not_there_is_a_notice(wire: Wire) -> None:
    number = wire.take_id()
    wire.send_cancel(number)
    notice = await wire.until(lambda fact: isinstance(fact, OrderNotice))
    assert (notice.order_id, notice.code) == (number, 10147)


async def test_a_global_cancel_reaches_every_order(gateway: PaperGateway, wire: Wire) -> None:
    numbers = [await wire.place() for _ in range(3)]
    for number in numbers:
        await wire.status(number, "Submitted")
    wire.send_global_cancel()
    for number in numbers:
        await wire.status(number, "Cancelled", "ApiCancelled")


async def test_a_preview_tells_margins_and_cost_and_places_nothing(gateway: PaperGateway, wire: Wire) -> None:
    preview = await wire.what_if(limit_order(0, account=ACCOUNT, limit_price=Decimal(100)), SECONDS)
    assert preview.init_margin_change is not None
    assert preview.init_margin_change > 0
    assert preview.commission is not None or preview.max_commission is not None
    assert (await wire.open_orders(SECONDS)).echoes == ()
    assert wire.of(OrderEchoed) == []
    assert gateway.exchange.open_orders(None) == []
    with pytest.raises(PriceIncrementError):
        await wire.what_if(limit_order(0, account=ACCOUNT, limit_price=Decimal("100.1234")), SECONDS)
    assert wire.of(OrderEchoed) == wire.of(OrderNotice) == []


async def test_orders_of_another_client_are_told_with_its_id(gateway: PaperGateway, wire: Wire) -> None:
    other = await dial(gateway, client_id=2)
    try:
        other.allow_ids_from(5_000)
        number = await other.place()
        await other.status(number, "Submitted")
        everyone = await wire.open_orders(SECONDS)
        assert [(echo.client_id, echo.order_ref) for echo in everyone.echoes] == [(2, f"ref-{number}")]
        assert (await wire.open_orders(SECONDS, all_clients=False)).echoes == ()
        assert wire.take_id() < number  # its ids are not ours
    finally:
        await other.disconnect()


async def test_fifty_callers_at_once_get_whole_answers_from_few_questions(wire: Wire) -> None:
    number = await wire.place()
    await wire.status(number, "Submitted")
    orders, positions, times = await asyncio.gather(
        asyncio.gather(*(wire.open_orders(SECONDS, all_clients=index % 2 == 0) for index in range(50))),
        asyncio.gather(*(wire.positions(SECONDS) for _ in range(50))),
        asyncio.gather(*(wire.server_time(SECONDS) for _ in range(50))),
    )
    assert all(answer.complete and len(answer.echoes) == 1 for answer in orders)
    assert positions == [[]] * 50
    assert len(set(times)) == 1


async def test_system_messages_are_told_in_the_order_of_the_wire(gateway: PaperGateway, wire: Wire) -> None:
    for code in (1100, 2103, 1102):
        gateway.inject_error(code, f"text {code}")
    await wire.until(lambda fact: isinstance(fact, SystemNotice) and fact.code == 1102)
    assert [fact.code for fact in wire.of(SystemNotice)][-3:] == [1100, 2103, 1102]


class TestReadOnly:
    @pytest.fixture
    def options(self) -> TwsOptions:
        return TwsOptions(read_only=True)

    async def test_a_read_only_gateway_refuses_orders_with_its_own_error(self, wire: Wire) -> None:
        number = await wire.place()
        notice = await wire.until(lambda fact: isinstance(fact, OrderNotice) and fact.order_id == number)
        assert notice.code == 321
        with pytest.raises(ReadOnlyApi):
            await wire.what_if(limit_order(0, account=ACCOUNT), SECONDS)
        assert isinstance(await wire.server_time(SECONDS), datetime)


class TestIrregular:
    @pytest.fixture
    def behavior(self) -> ExchangeBehavior:
        return ExchangeBehavior(duplicate_status_probability=1.0, filled_before_exec_probability=1.0)

    async def test_duplicates_and_a_fill_told_before_its_execution_arrive_as_they_are(self, wire: Wire) -> None:
        number = await wire.place(order_type="MKT", limit_price=None)
        await wire.status(number, "Filled")
        await wire.until(lambda fact: isinstance(fact, CommissionSeen))
        kinds = [type(fact) for fact in wire.facts if isinstance(fact, OrderStatusSeen | ExecutionSeen)]
        statuses = [fact.status for fact in wire.of(OrderStatusSeen)]
        assert statuses.count("Filled") >= 1
        assert kinds.index(OrderStatusSeen) < kinds.index(ExecutionSeen)


async def test_no_typed_error_escapes_as_something_else(wire: Wire) -> None:
    """Whatever the gateway refuses becomes a TradingError with its code."""
    for read in (
        wire.account_values("DU0000000", 1.0),
        wire.head_timestamp(Contract.stock("NOSUCHTHING"), "TRADES", SECONDS, use_rth=True),
        wire.snapshot(Contract.stock("NOSUCHTHING"), SECONDS),
    ):
        with pytest.raises(TradingError):
            await read
