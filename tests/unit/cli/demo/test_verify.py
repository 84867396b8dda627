"""The demo's judge: each claim fails on the evidence that contradicts it, and only that claim."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.cli.demo.verify import Evidence, verify
from ibkr_connector.models.account import Execution, Position
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import Action, OrderSnapshot, OrderState

AT = datetime(2013, 10, 7, 14, 0, 1, tzinfo=UTC)
SPY = Contract(symbol="SPY", con_id=756733)

ONCE = "the gateway received every order exactly once"
FILLS = "both sides know the same fills"
FAR_SIDE = "every fill is at or beyond the far side of the quote in force"
NOTHING_WORKS = "no order works or is in doubt"
FLAT = "the account is flat"
MONEY = "the money adds up"


@dataclass(frozen=True)
class Book:
    bid: Decimal | None
    ask: Decimal | None


def place(ref: str, limit: str | None = None) -> dict[str, Any]:
    return {"kind": "recv_place", "order_ref": ref, "limit_price": limit}


def filled(ref: str, exec_id: str, side: str, price: str, *, liquidity: int = 2) -> dict[str, Any]:
    common = {"order_ref": ref, "con_id": SPY.con_id, "at": AT.isoformat(), "liquidity": liquidity}
    return {"kind": "fill", "exec_id": exec_id, "side": side, "quantity": "100", "price": price, **common}


def ended(ref: str, status: str = "Filled") -> dict[str, Any]:
    return {"kind": "status", "order_ref": ref, "status": status}


def commission(exec_id: str) -> dict[str, Any]:
    return {"kind": "commission", "exec_id": exec_id, "amount": "1", "currency": "USD"}


def execution(exec_id: str, side: str, price: str, realized: str | None) -> Execution:
    return Execution(
        exec_id=exec_id,
        at=AT,
        account="DU1",
        contract=SPY,
        side=side,
        quantity=Decimal(100),
        price=Decimal(price),
        order_id=1,
        client_id=2,
        perm_id=3,
        order_ref="",
        cum_quantity=Decimal(100),
        avg_price=Decimal(price),
        commission=Decimal(1),
        realized_pnl=None if realized is None else Decimal(realized),
    )


def good() -> Evidence:
    """Bought 100 at 167.74, sold at 167.73: a loss of 1 and two commissions."""
    truth = [
        place("a"),
        filled("a", "e1", "BOT", "167.74"),
        ended("a"),
        commission("e1"),
        place("b"),
        filled("b", "e2", "SLD", "167.73"),
        ended("b"),
        commission("e2"),
        place("c", "160"),
        {"kind": "cancelled", "order_ref": "c"},
    ]
    return Evidence(
        truth=truth,
        placed=["a", "b", "c"],
        executions=[execution("e1", "BUY", "167.74", None), execution("e2", "SELL", "167.73", "-3")],
        positions=[],
        open_orders=[],
        in_doubt=[],
        cash_before=Decimal(1_000_000),
        cash_after=Decimal(999_997),
        realized=Decimal(-3),
        quote_at=lambda con_id, at: Book(Decimal("167.73"), Decimal("167.74")),
    )


def failing(evidence: Evidence) -> list[str]:
    return [check.claim for check in verify(evidence) if not check.holds]


def snapshot(ref: str) -> OrderSnapshot:
    return OrderSnapshot(
        order_ref=ref,
        state=OrderState.WORKING,
        contract=SPY,
        action=Action.BUY,
        quantity=Decimal(1),
        order_type="LMT",
        account="DU1",
    )


def test_a_day_that_went_well_is_confirmed() -> None:
    assert failing(good()) == []


def test_nothing_traded_confirms_nothing() -> None:
    empty = good()
    empty.truth, empty.placed, empty.executions = [], [], []
    empty.cash_after, empty.realized = empty.cash_before, Decimal(0)
    assert failing(empty) == [FILLS, FAR_SIDE]


def test_an_order_that_arrived_twice_is_found() -> None:
    evidence = good()
    evidence.truth = [*evidence.truth, place("a")]
    assert failing(evidence) == [ONCE]


def test_an_order_that_never_arrived_is_found() -> None:
    evidence = good()
    evidence.truth = [entry for entry in evidence.truth if entry != place("c", "160")]
    assert failing(evidence) == [ONCE]


def test_an_order_nobody_placed_is_found() -> None:
    evidence = good()
    evidence.truth = [*evidence.truth, place("z")]
    assert failing(evidence) == [ONCE]


def test_a_fill_the_connector_does_not_know_is_found() -> None:
    evidence = good()
    evidence.executions = evidence.executions[:1]
    assert failing(evidence) == [FILLS]


def test_a_fill_at_another_price_is_found() -> None:
    evidence = good()
    evidence.executions = [execution("e1", "BUY", "167.73", None), evidence.executions[1]]
    assert failing(evidence) == [FILLS]


@pytest.mark.parametrize(
    "book",
    [
        Book(Decimal("167.73"), Decimal("167.75")),  # bought below the ask
        Book(Decimal("167.74"), Decimal("167.74")),  # sold below the bid is fine, bought at the ask is fine: see below
        None,  # no quote at all was in force
        Book(None, None),  # the market was closed
    ],
)
def test_a_fill_better_than_the_market_gave_is_found(book: Book | None) -> None:
    evidence = good()
    evidence.quote_at = lambda con_id, at: book
    flattered = not (book is not None and book.ask == Decimal("167.74"))
    assert failing(evidence) == ([FAR_SIDE] if flattered else [])


def test_a_resting_limit_may_fill_at_its_own_price_but_no_better() -> None:
    evidence = good()
    truth = copy.deepcopy(list(evidence.truth))
    truth[0] = place("a", "167.70")
    truth[1] = filled("a", "e1", "BOT", "167.70", liquidity=1)
    evidence.truth = truth
    evidence.executions = [execution("e1", "BUY", "167.70", None), execution("e2", "SELL", "167.73", "1")]
    evidence.cash_after, evidence.realized = Decimal(1_000_001), Decimal(1)
    assert failing(evidence) == []
    truth[0] = place("a", "167.71")
    assert failing(evidence) == [FAR_SIDE]


def test_an_order_that_has_not_ended_is_found() -> None:
    evidence = good()
    evidence.truth = evidence.truth[:-1]
    assert failing(evidence) == [NOTHING_WORKS]


@pytest.mark.parametrize("where", ["open_orders", "in_doubt"])
def test_an_order_the_connector_still_counts_is_found(where: str) -> None:
    evidence = good()
    setattr(evidence, where, [snapshot("c")])
    assert failing(evidence) == [NOTHING_WORKS]


def test_a_position_that_is_left_is_found_on_either_side() -> None:
    evidence = good()
    evidence.positions = [Position(account="DU1", contract=SPY, quantity=Decimal(1), avg_cost=Decimal(1))]
    assert failing(evidence) == [FLAT]
    evidence = good()
    evidence.truth = [*evidence.truth, filled("a", "e3", "BOT", "167.74")]
    assert FLAT in failing(evidence)


@pytest.mark.parametrize("cash", ["999997.02", "999996.98", "1000000"])
def test_money_that_appeared_or_went_is_found(cash: str) -> None:
    evidence = good()
    evidence.cash_after = Decimal(cash)
    assert failing(evidence) == [MONEY]


def test_a_profit_the_connector_counts_differently_is_found() -> None:
    evidence = good()
    evidence.realized = Decimal(-1)
    assert failing(evidence) == [MONEY]


def test_where_no_profit_is_told_the_cash_alone_is_counted() -> None:
    evidence = good()
    evidence.realized = None
    assert failing(evidence) == []
    evidence.cash_after += 1
    assert failing(evidence) == [MONEY]
