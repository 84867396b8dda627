"""Changes that fork, executions that are corrected, commissions that come late."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_connector.paper import PaperGateway

from ..gateway.raw import RawClient
from .kit import (
    ALL_OPEN_ORDERS,
    OPEN_ORDERS,
    SECONDS,
    TIME,
    ask,
    cancel,
    error_of,
    executions,
    fault,
    limit,
    market,
    status_of,
    until,
    works,
)

pytestmark = pytest.mark.protocol

PERM_ID = 25
"""Where openOrder has the permId."""
LIMIT_PRICE = 16


async def test_a_change_becomes_a_second_order_and_one_cancel_reaches_only_one(
    gateway: PaperGateway, client: RawClient
) -> None:
    client.send(*limit(1, quantity=10))
    await until(client, status_of(1, "Submitted"))
    gateway.inject("fork_on_modify")
    await ask(client, limit(1, price="51", quantity=7))
    await gateway.truth.wait_for("forked", timeout=SECONDS, order_id=1)
    shown = [m for m in await ask(client, OPEN_ORDERS) if m[0] == "5"]
    assert [m[1] for m in shown] == ["1", "1"]
    assert len({m[PERM_ID] for m in shown}) == 2
    assert sorted((m[14], m[LIMIT_PRICE]) for m in shown) == [("10", "50.0"), ("7", "51.0")]
    assert {m[23] for m in shown} == {"ref-1"}
    assert len([m for m in await ask(client, ALL_OPEN_ORDERS) if m[0] == "5"]) == 2
    await ask(client, cancel(1))
    assert len(gateway.exchange.open_orders(1)) == 1
    await ask(client, cancel(1))
    assert gateway.exchange.open_orders(1) == []
    assert len(gateway.truth.of("cancelled", order_id=1)) == 2
    assert error_of(10148, 1)((await ask(client, cancel(1)))[-1])
    assert (await fault(gateway)).fields["phase"] == "working"
    await works(gateway)


async def test_a_global_cancel_reaches_both(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*limit(1))
    await until(client, status_of(1, "Submitted"))
    gateway.inject("fork_on_modify")
    await ask(client, limit(1, price="51"))
    await ask(client, ["58", "1"])
    assert gateway.exchange.open_orders(None) == []


async def test_a_change_of_an_order_that_has_ended_does_not_fork(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*market(1))
    await until(client, status_of(1, "Filled"))
    gateway.inject("fork_on_modify", times=2)
    assert error_of(104, 1)((await ask(client, market(1)))[-1])
    assert gateway.truth.of("fault_hit")[0].fields["what"] == "no live order to fork"
    client.send(*limit(2))
    await until(client, status_of(2, "Submitted"))
    await ask(client, limit(2, price="51"))
    assert len(gateway.truth.of("forked")) == 1


async def test_an_execution_is_corrected_under_the_next_number_and_the_books_still_add_up(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("execution_correction", ticks=3, delay=0.05)
    client.send(*market(1, quantity=10))
    got = await until(client, lambda m: m[0] == "11" and m[14].endswith(".02"))
    first, second = [m for m in got if m[0] == "11"]
    assert first[14][:-2] == second[14][:-2]
    assert Decimal(second[20]) - Decimal(first[20]) == Decimal("0.03")
    assert (await until(client, lambda m: m[0] == "59" and m[2] == second[14]))[-1][3] != ""
    [entry] = gateway.truth.of("correction")
    assert (entry.fields["corrects"], entry.fields["exec_id"]) == (first[14], second[14])
    replayed = [m[14] for m in await ask(client, executions(5)) if m[0] == "11"]
    assert replayed == [first[14], second[14]]
    [position] = gateway.exchange.positions(None)
    assert position.quantity == 10
    fee = gateway.truth.of("commission", exec_id=first[14])[0].fields["amount"]
    assert isinstance(fee, Decimal)
    assert position.avg_cost * 10 == Decimal(second[20]) * 10 + fee
    await adds_up(gateway)
    client.send(*market(2, action="SELL", quantity=10))
    await until(client, status_of(2, "Filled"))
    await adds_up(gateway)
    await works(gateway)


async def test_an_execution_is_corrected_twice_under_rising_numbers(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("execution_correction", ticks=3, delay=0.05)
    gateway.inject("execution_correction", ticks=-1, delay=0.2)
    client.send(*market(1, quantity=10))
    got = await until(client, lambda m: m[0] == "11" and m[14].endswith(".03"))
    prices = {m[14][-2:]: Decimal(m[20]) for m in got if m[0] == "11"}
    assert prices["02"] - prices["01"] == Decimal("0.03")
    assert prices["03"] - prices["02"] == Decimal("-0.01")
    await adds_up(gateway)


async def test_a_corrected_sale_changes_what_it_realised(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*market(1))
    await until(client, lambda m: m[0] == "59")
    gateway.inject("execution_correction", ticks=-5, delay=0.05)
    client.send(*market(2, action="SELL"))
    await until(client, lambda m: m[0] == "11" and m[14].endswith(".02"))
    await until(client, lambda m: m[0] == "59")
    old, new = [e.fields["realized_pnl"] for e in gateway.truth.of("commission")][1:]
    assert isinstance(old, Decimal)
    assert isinstance(new, Decimal)
    assert new - old == Decimal("-0.50")
    await adds_up(gateway)


async def adds_up(gateway: PaperGateway) -> None:
    """Cash and positions less what was put in are what was earned, to the cent."""
    gateway.exchange.advance()
    [account] = gateway.exchange._core.accounts.values()
    worth = account.net_liquidation() - account.spec.initial_cash
    assert worth == account.realized_in() + account.unrealized_in()


async def test_a_late_commission_is_unknown_until_it_comes(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("late_commission", delay=600, nth=2)
    client.send(*market(1))
    await until(client, lambda m: m[0] == "59")
    client.send(*market(2))
    await until(client, status_of(2, "Filled"))
    got = await ask(client, executions(5))
    assert [m[0] for m in got if m[0] in {"11", "59"}] == ["11", "59", "11"]
    assert (await fault(gateway)).fields["order_ref"] == "ref-2"


async def test_a_late_commission_comes_and_is_replayed_from_then_on(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("late_commission", delay=0.05)
    client.send(*market(1))
    got = await until(client, lambda m: m[0] == "59")
    assert [m[2] for m in got if m[0] == "59"] == [m[14] for m in got if m[0] == "11"]
    assert [m[0] for m in await ask(client, executions(6)) if m[0] in {"11", "59"}] == ["11", "59"]
    await works(gateway)


async def test_only_the_named_client_s_executions_count(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("late_commission", delay=60, client_id=2)
    client.send(*market(1))
    await until(client, lambda m: m[0] == "59")
    assert gateway.truth.of("fault") == []
    async with await RawClient.connect(gateway.tws_port, 2) as other:
        other.send(*market(1))
        await until(other, status_of(1, "Filled"))
    entry = await fault(gateway)
    assert (entry.fields["client_id"], entry.fields["phase"]) == (2, "filled")
    assert entry.fields["exec_id"] == gateway.truth.of("fill", client_id=2)[0].fields["exec_id"]


async def test_the_truth_says_how_far_each_order_was(gateway: PaperGateway, client: RawClient) -> None:
    await ask(client, limit(1, transmit=0))
    client.send(*limit(9, transmit=0))
    client.send(*limit(10, parentId=9, action="SELL", price="900"))
    await until(client, status_of(9, "Submitted"))
    gateway.inject("swallow_request", on="cancel_order", times=3)
    await ask(client, cancel(1), cancel(9), cancel(10))
    found = {e.fields["order_id"]: e.fields["phase"] for e in gateway.truth.of("fault")}
    assert found == {1: "held", 9: "working", 10: "waiting"}
    gateway.inject("drop_connection", on="any")
    client.send(*TIME)
    await client.closed()
    [entry] = gateway.truth.of("fault", fault="drop_connection")
    assert entry.fields["orders"] == [
        {"client_id": 1, "order_id": 1, "order_ref": "ref-1", "phase": "held"},
        {"client_id": 1, "order_id": 9, "order_ref": "ref-9", "phase": "working"},
        {"client_id": 1, "order_id": 10, "order_ref": "ref-10", "phase": "waiting"},
    ]
    await works(gateway)
