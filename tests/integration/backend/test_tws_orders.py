"""Orders through a socket against the paper gateway: every fact of their life.

Any message that the client library could not read fails the test.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.backends.facts import (
    CommissionSeen,
    ExecutionSeen,
    OrderCompleted,
    OrderEchoed,
    OrderNotice,
    OrderStatusSeen,
    SystemNotice,
)
from ibkr_connector.errors import (
    PriceIncrementError,
    ReadOnlyApi,
    TradingError,
)
from ibkr_connector.models.contract import Contract
from ibkr_connector.paper import ExchangeBehavior, PaperGateway, TwsOptions

from .orders import limit_order
from .watch import ACCOUNT, SECONDS, Wire, dial


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
    wire.order_frame(
        limit_order(
            number, account=ACCOUNT, order_ref=f"ref-{number}", limit_price=Decimal("10.25"), quantity=Decimal(70)
        )
    )()
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
