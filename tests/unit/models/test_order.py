"""Orders as callers write them: exact, checked, with a name for ever."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import BracketRequest, OrderRequest, OrderState, new_order_ref, to_decimal

AAPL = Contract.stock("AAPL")


def make(**values: Any) -> OrderRequest:
    return OrderRequest.make(**{"contract": AAPL, "action": "BUY", "quantity": 10, **values})


def test_floats_are_taken_at_their_shortest_text() -> None:
    request = make(order_type="LMT", limit_price=0.1)
    assert request.limit_price == Decimal("0.1")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimal_of_a_float_reads_back_as_that_float(value: float) -> None:
    assert float(to_decimal(value, "price")) == value


def test_refs_are_unique_and_sorted_by_time() -> None:
    refs = [new_order_ref() for _ in range(2_000)]
    assert len(set(refs)) == len(refs)
    assert [ref[:10] for ref in refs] == sorted(ref[:10] for ref in refs)
    assert all(len(ref) == 26 for ref in refs)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"quantity": 0}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": "ten"}, "quantity"),
        ({"quantity": float("inf")}, "quantity"),
        ({"action": "HOLD"}, "action"),
        ({"order_type": "LMT"}, "limit_price"),
        ({"order_type": "STP"}, "stop_price"),
        ({"order_type": "STP LMT", "stop_price": 5}, "limit_price"),
        ({"limit_price": 5}, "limit_price"),
        ({"order_type": "LMT", "limit_price": 0}, "limit_price"),
        ({"order_type": "TRAIL"}, "trail_amount"),
        ({"order_type": "TRAIL", "trail_amount": 1, "trail_percent": 1}, "trail_amount"),
        ({"order_type": "TRAIL", "trail_percent": 100}, "trail_amount"),
        ({"trail_amount": 1}, "trail_amount"),
        ({"tif": "GTD"}, "good_till"),
        ({"order_ref": ""}, "order_ref"),
        ({"order_ref": "x" * 41}, "order_ref"),
        ({"order_ref": "a\0b"}, "order_ref"),
        ({"limit": 5}, "limit"),
    ],
)
def test_wrong_order_names_its_field(values: dict[str, Any], field: str) -> None:
    with pytest.raises(OrderValidationError) as caught:
        make(**values)
    assert caught.value.context["field"] == field
    assert caught.value.context["legal"]


def test_negative_prices_are_for_what_can_be_negative() -> None:
    spread = OrderRequest.make(
        contract=Contract(symbol="CL", sec_type="FUT", exchange="NYMEX", expiry="202005"),
        action="BUY",
        quantity=1,
        order_type="LMT",
        limit_price=-37.63,
    )
    assert spread.limit_price == Decimal("-37.63")


@pytest.mark.parametrize(
    ("side", "entry", "target", "stop", "fits"),
    [
        ("BUY", 100, 110, 95, True),
        ("SELL", 100, 90, 105, True),
        ("BUY", 100, 95, 110, False),
        ("BUY", 100, 110, 101, False),
        ("SELL", 100, 110, 95, False),
        ("BUY", None, 110, 95, True),
        ("BUY", None, 95, 110, False),
    ],
)
def test_bracket_prices_must_stand_in_order(
    side: str, entry: float | None, target: float, stop: float, fits: bool
) -> None:
    other = "SELL" if side == "BUY" else "BUY"

    def build() -> BracketRequest:
        return BracketRequest(
            entry=make(action=side, order_type="MKT" if entry is None else "LMT", limit_price=entry),
            take_profit=make(action=other, order_type="LMT", limit_price=target),
            stop_loss=make(action=other, order_type="STP", stop_price=stop),
        )

    if fits:
        assert [leg.action for leg in build().legs] == [side, other, other]
    else:
        with pytest.raises(OrderValidationError, match="order"):
            build()


def test_every_state_is_live_or_done_or_new() -> None:
    for state in OrderState:
        assert state.is_live + state.is_done + (state is OrderState.NEW) == 1
