"""Executions by id: what a commission report says about one that nobody told of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from ibkr_connector.backends.facts import CommissionSeen
from ibkr_connector.models.account import Execution
from ibkr_connector.models.contract import Contract
from ibkr_connector.portfolio.executions import ASK_AT_MOST, ExecutionBook

FIRST, CORRECTION = "0001.1.01", "0001.1.02"
AT = datetime(2026, 1, 5, tzinfo=UTC)


def execution(exec_id: str = FIRST) -> Execution:
    return Execution(
        exec_id=exec_id,
        at=AT,
        account="DU1",
        contract=Contract(symbol="AAPL", con_id=265598),
        side="BUY",
        quantity=Decimal(10),
        price=Decimal(100),
        order_id=1,
        client_id=1,
        perm_id=1,
        order_ref="A",
        cum_quantity=Decimal(10),
        avg_price=Decimal(100),
    )


def commission(exec_id: str = FIRST) -> CommissionSeen:
    return CommissionSeen(exec_id=exec_id, commission=Decimal(1), currency="USD", realized_pnl=None)


def test_commission_of_a_correction_that_was_never_told_is_a_question() -> None:
    book = ExecutionBook()
    book.on_execution(execution())
    book.on_commission(commission())
    assert not book.missing
    book.on_commission(commission(CORRECTION))
    assert book.missing == {CORRECTION}
    book.on_execution(replace(execution(CORRECTION), price=Decimal(99)))
    assert not book.missing
    (kept,) = book.all()
    assert (kept.price, kept.commission) == (Decimal(99), Decimal(1))


def test_commission_before_its_execution_is_a_question_until_that_comes() -> None:
    book = ExecutionBook()
    book.on_commission(commission())
    assert book.missing == {FIRST}
    book.on_execution(execution())
    assert not book.missing


def test_late_commission_of_what_was_corrected_meanwhile_is_no_question() -> None:
    book = ExecutionBook()
    book.on_execution(execution(CORRECTION))
    book.on_commission(commission(FIRST))
    assert not book.missing


def test_question_ends_with_a_whole_answer_and_sooner_or_later_without_one() -> None:
    book = ExecutionBook()
    book.on_commission(commission())
    book.asked({FIRST}, complete=True)
    assert not book.missing
    book.on_commission(commission(CORRECTION))
    for _ in range(ASK_AT_MOST):
        assert book.missing == {CORRECTION}
        book.asked({CORRECTION}, complete=False)
    assert not book.missing


def test_what_came_up_while_it_was_asked_is_asked_for_again() -> None:
    book = ExecutionBook()
    book.on_commission(commission())
    before = book.missing
    book.on_commission(commission("0001.2.01"))
    book.asked(before, complete=True)
    assert book.missing == {"0001.2.01"}
