"""Time to live: which orders the broker is to end by itself, and that a repeat still finds its order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OrderRequest, TimeInForce
from ibkr_connector.orders.ttl import as_asked, with_ttl

NOW = datetime(2026, 1, 5, 15, 0, 0, 250_000, tzinfo=UTC)
D = Decimal


def request(**more: Any) -> OrderRequest:
    values = {"contract": Contract.stock("AAPL"), "action": "BUY", "quantity": 10, "order_type": "LMT", **more}
    if values["order_type"] == "LMT":
        values.setdefault("limit_price", 100)
    return OrderRequest.make(**values)


def sent(order: OrderRequest, default: float | None = None, position: int | None = 0, **more: Any) -> OrderRequest:
    held = None if position is None else D(position)
    return with_ttl(order, default=default, is_exit=more.get("is_exit", False), position=held, now=NOW)


def test_an_order_with_a_ttl_is_sent_as_gtd_with_whole_seconds_and_lives_no_shorter() -> None:
    order = sent(request(order_ttl=600))
    assert order.tif is TimeInForce.GTD
    assert order.good_till == datetime(2026, 1, 5, 15, 10, 1, tzinfo=UTC)
    assert order.good_till - NOW >= timedelta(seconds=600)


def test_without_a_ttl_nothing_changes() -> None:
    order = request()
    assert sent(order) is order


@pytest.mark.parametrize(
    ("order", "position", "is_exit", "ends"),
    [
        (request(), 0, False, True),
        (request(tif="GTC"), 0, False, True),
        (request(), 50, False, True),
        (request(), None, False, True),
        (request(action="SELL"), 10, False, False),
        (request(action="SELL"), 9, False, True),
        (request(), -10, False, False),
        (request(), 0, True, False),
        (request(order_type="MKT"), 0, False, False),
        (request(tif="IOC"), 0, False, False),
        (request(tif="GTD", good_till=NOW + timedelta(days=1)), 0, False, False),
    ],
)
def test_the_default_is_for_what_adds_risk_and_can_rest(
    order: OrderRequest, position: int | None, is_exit: bool, ends: bool
) -> None:
    assert (sent(order, 60.0, position, is_exit=is_exit) is not order) is ends


def test_an_order_s_own_ttl_counts_also_where_the_default_does_not() -> None:
    order = sent(request(action="SELL", order_ttl=30), 600.0, 10)
    assert order.good_till == NOW.replace(microsecond=0) + timedelta(seconds=31)


@pytest.mark.parametrize(
    "wrong",
    [
        {"order_ttl": 4},
        {"order_ttl": float("nan")},
        {"order_ttl": float("inf")},
        {"order_ttl": True},
        {"order_ttl": "60"},
        {"order_ttl": 60, "tif": "IOC"},
        {"order_ttl": 60, "tif": "GTD", "good_till": NOW},
    ],
)
def test_a_ttl_that_is_none_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(OrderValidationError) as caught:
        request(**wrong)
    assert caught.value.context["field"] == "order_ttl"


def test_what_was_sent_is_read_back_from_the_journal_and_equals_what_is_asked_again() -> None:
    asked = request(order_ttl=600, order_ref="a")
    known = OrderRequest.model_validate_json(sent(asked).model_dump_json())
    assert known.tif is TimeInForce.GTD
    assert as_asked(known, asked) == asked
    plain = request(order_ref="b")
    assert as_asked(sent(plain, 60.0), plain) == plain


def test_another_ttl_or_another_end_is_another_order() -> None:
    asked = request(order_ttl=600, order_ref="a")
    known = sent(asked)
    other = request(order_ttl=601, order_ref="a")
    assert as_asked(known, other) != other
    dated = request(tif="GTD", good_till=NOW + timedelta(days=1), order_ref="a")
    assert as_asked(known, dated) != dated
