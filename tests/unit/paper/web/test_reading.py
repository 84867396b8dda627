"""What clients send is read as IBKR reads it, and what cannot be read is refused, never guessed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.web import questions
from ibkr_connector.paper.web.calls import Call, Fields, WebError
from ibkr_connector.paper.web.orders_desk import snake


def call(**query: str) -> Call:
    return Call(name="x", path={}, query=query)


@pytest.mark.parametrize(
    ("text", "expected"), [("True", True), ("true", True), ("1", True), ("False", False), ("", False)]
)
def test_truth_values_are_read_in_python_s_spelling_as_well(text: str, expected: bool) -> None:
    assert call(force=text).flag("force") is expected


@pytest.mark.parametrize("value", [True, "abc", [], {}, float("inf"), "1e99", "1E-30", "1" * 50, "NaN"])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(WebError, match="price must be a number"):
        Fields({"price": value}).decimal("price")


@pytest.mark.parametrize(("value", "expected"), [(1, "1"), ("2.50", "2.50"), (0.1, "0.1"), ("", None), (None, None)])
def test_numbers_are_read_as_they_were_written(value: Any, expected: str | None) -> None:
    assert Fields({"price": value}).decimal("price") == (None if expected is None else Decimal(expected))


@given(
    st.dictionaries(
        st.sampled_from(["a", "b"]), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
    )
)
def test_reading_answers_or_refuses(values: dict[str, Any]) -> None:
    reads: list[Callable[[Fields], object]] = [
        lambda f: f.text("a"),
        lambda f: f.integer("a"),
        lambda f: f.decimal("b"),
        lambda f: f.flag("b"),
        lambda f: f.texts("a", 3),
        lambda f: f.objects("b", 3),
    ]
    refused = []
    for read in reads:
        try:
            read(Fields(values))
        except WebError as error:
            refused.append(error.status)
    assert set(refused) <= {400}


@pytest.mark.parametrize("text", ["", "1,,2", "a", "1;2", ",".join(["1"] * 101)])
def test_lists_of_contracts_are_bounded(text: str) -> None:
    with pytest.raises(WebError, match="conids"):
        call(conids=text).conids()


def test_contracts_may_name_an_exchange() -> None:
    assert call(conids="1@NYSE, 2").conids() == [1, 2]


@pytest.mark.parametrize(
    ("status", "word"), [("PreSubmitted", "pre_submitted"), ("Filled", "filled"), ("PendingCancel", "pending_cancel")]
)
def test_filters_are_statuses_in_snake_case(status: str, word: str) -> None:
    assert snake(status) == word


def test_the_questions_are_those_ibind_knows() -> None:
    ibind = pytest.importorskip("ibind")
    kinds = ibind.QuestionType
    for text, kind in (
        (questions.MISSING_DATA, kinds.MISSING_MARKET_DATA),
        (questions.STOP_RISKS, kinds.STOP_ORDER_RISKS),
        (questions.STOP_CONFIRMATION, kinds.STOP_VARIANT_ORDER_CONFIRMATION),
        (questions.MARKET_CONFIRMATION, kinds.MARKET_ORDER_CONFIRMATION),
        (questions.CASH_QUANTITY, kinds.CASH_QUANTITY),
        (questions.CASH_ORDER, kinds.CASH_QUANTITY_ORDER),
        (questions.PRICE_MANAGEMENT, kinds.DISRUPTIVE_ORDERS),
    ):
        assert str(kind) in text.replace("\n", "")
