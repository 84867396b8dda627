"""Orders as callers write them: exact, checked, with a name for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import BracketRequest, OcaType, OrderRequest, OrderState, new_order_ref, to_decimal

AAPL = Contract.stock("AAPL")


def make(**values: Any) -> OrderRequest:
    return OrderRequest.make(**{"contract": AAPL, "action": "BUY", "quantity": 10, **values})


def test_floats_are_taken_at_their_shortest_text() -> None:
    request = make(order_type="LMT", limit_price=0.1)
    assert request.limit_price == Decimal("0.1")


@given(st.floats(min_value=1e-3, max_value=9e14) | st.floats(min_value=-9e14, max_value=-1e-3) | st.just(0.0))
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


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"oca_group": "a\0b"}, "oca_group"),
        ({"oca_group": "é"}, "oca_group"),
        ({"oca_group": "line\nbreak"}, "oca_group"),
        ({"oca_group": ""}, "oca_group"),
        ({"oca_group": "x" * 65}, "oca_group"),
        ({"oca_group": 5}, "oca_group"),
        ({"oca_group": "g", "oca_type": 0}, "oca_type"),
        ({"oca_group": "g", "oca_type": 4}, "oca_type"),
        ({"oca_group": "g", "oca_type": True}, "oca_type"),
        ({"oca_group": "g", "oca_type": "1"}, "oca_type"),
        ({"oca_type": 1}, "oca_type"),
        ({"account": 5}, "account"),
        ({"account": "DU1\0"}, "account"),
        ({"agent": object()}, "agent"),
        ({"agent": "x" * 65}, "agent"),
        ({"order_ref": 5}, "order_ref"),
        ({"order_ref": b"ref"}, "order_ref"),
        ({"order_ref": "é"}, "order_ref"),
        ({"order_ref": "x" * 10_000_000}, "order_ref"),
        ({"outside_rth": "no"}, "outside_rth"),
        ({"outside_rth": 1}, "outside_rth"),
        ({"reference_price": -1}, "reference_price"),
        ({"reference_price": "1_0"}, "reference_price"),
        ({"tif": "GTD", "good_till": datetime.max.replace(tzinfo=UTC)}, "good_till"),
        ({"tif": "GTD", "good_till": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}, "good_till"),
        ({"tif": "GTD", "good_till": datetime(1979, 12, 31, tzinfo=UTC)}, "good_till"),
        ({"tif": "GTD", "good_till": datetime(2027, 1, 1)}, "good_till"),  # noqa: DTZ001 - without a zone
        ({"tif": "GTD", "good_till": 1_900_000_000}, "good_till"),
        ({"quantity": "1_000"}, "quantity"),
        ({"quantity": "１０"}, "quantity"),
        ({"quantity": 10**5000}, "quantity"),
        ({"order_type": "LMT", "limit_price": 1e30}, "limit_price"),
    ],
)
def test_what_no_wire_can_carry_is_refused_before_anything_is_kept(values: dict[str, Any], field: str) -> None:
    with pytest.raises(OrderValidationError) as caught:
        make(**values)
    assert caught.value.context["field"] == field
    assert caught.value.context["legal"]
    assert len(str(caught.value)) < 500


def test_a_group_and_a_moment_that_can_be_sent_pass() -> None:
    till = datetime(2027, 1, 1, 15, tzinfo=timezone(-timedelta(hours=5)))
    request = make(oca_group="exits of 2027", tif="GTD", good_till=till, agent="alpha-1", account="DU1234567")
    assert (request.oca_group, request.good_till) == ("exits of 2027", till)


def test_an_order_in_the_journal_is_read_as_it_was_written() -> None:
    """Rules of form that came later must not make an old journal unreadable."""
    stored = make(oca_group="a").model_dump_json().replace('"a"', '"\\u00e9"').replace('"10"', '"1E+1"')
    read = OrderRequest.model_validate_json(stored)
    assert (read.oca_group, read.quantity) == ("é", Decimal(10))


def test_a_request_built_without_make_obeys_the_same_rules() -> None:
    for values in ({"quantity": "1_000"}, {"quantity": 1e30}, {"quantity": 1, "oca_group": "é"}):
        with pytest.raises(ValueError, match=r"quantity|oca_group"):
            OrderRequest(contract=AAPL, action="BUY", **values)


@pytest.mark.parametrize(("number", "blocks"), [(1, True), (2, True), (3, False)])
def test_an_oca_type_is_ibkrs_number_and_survives_the_journal(number: int, *, blocks: bool) -> None:
    request = make(oca_group="g", oca_type=number)
    assert request.oca_type is OcaType(number)
    assert request.oca_type.blocks is blocks
    assert OrderRequest.model_validate_json(request.model_dump_json()) == request
