"""The echo against the intent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.drift import action_of, compare, compare_names, is_severe, terms_of_told
from unit.orders.kit import AAPL, d, echo, request, sent

LIMIT = OrderTerms.of_request(request())


def fields(intent: OrderTerms, shown: OrderTerms) -> list[str]:
    return [one.field for one in compare(intent, shown)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"limit_price": d("10.0")}, []),
        ({"limit_price": d("10.01")}, ["limit_price"]),
        ({"stop_price": d("5")}, []),
        ({"quantity": d("100.0")}, []),
        ({"quantity": d(99)}, ["quantity"]),
        ({"order_type": "MKT", "limit_price": None}, ["order_type"]),
        ({"tif": "GTC", "outside_rth": True}, ["tif", "outside_rth"]),
        ({"oca_group": "12345"}, []),
        ({"contract": AAPL.with_con_id(1)}, ["con_id"]),
        ({"contract": replace(AAPL, con_id=0, symbol="MSFT")}, ["symbol"]),
        ({"contract": replace(AAPL, con_id=0, exchange="NASDAQ")}, []),
        ({"contract": replace(AAPL, con_id=0, symbol="")}, []),
    ],
)
def test_only_what_means_something_drifts(values: dict[str, object], expected: list[str]) -> None:
    assert fields(LIMIT, replace(LIMIT, **values)) == expected  # type: ignore[arg-type]


def test_an_order_that_shares_a_group_may_be_reduced_by_the_broker_and_not_enlarged() -> None:
    assert [one.field for one in compare(LIMIT, replace(LIMIT, quantity=d(99)), may_shrink=True)] == []
    assert [one.field for one in compare(LIMIT, replace(LIMIT, quantity=d(101)), may_shrink=True)] == ["quantity"]


def test_an_order_that_lost_its_group_drifts() -> None:
    grouped = replace(LIMIT, oca_group="g", oca_type=1)
    assert fields(grouped, replace(grouped, oca_type=0)) == []
    assert fields(grouped, replace(grouped, oca_group="")) == ["oca_group"]


def test_a_trailing_stops_own_stop_price_moves_with_the_market() -> None:
    trail = OrderTerms.of_request(request(order_type="TRAIL", limit_price=None, trail_amount=1))
    assert fields(trail, replace(trail, stop_price=d(9), trail_percent=d(0))) == []
    assert fields(trail, replace(trail, trail_amount=d(2))) == ["trail_amount"]


def test_an_unknown_type_is_compared_in_every_price() -> None:
    odd = replace(LIMIT, order_type="REL")
    assert fields(odd, replace(odd, stop_price=d(1))) == ["stop_price"]


def test_unset_prices_come_as_nothing_or_zero() -> None:
    market = OrderTerms.of_request(request(order_type="STP", limit_price=None, stop_price=5))
    assert fields(market, replace(market, limit_price=d(0))) == []


def test_account_and_ref_are_compared_where_the_account_is_known() -> None:
    assert compare_names(account="DU1", ref="r", echo_account="DU1", echo_ref="r") == ()
    assert compare_names(account="", ref="r", echo_account="DU1", echo_ref="r") == ()
    found = compare_names(account="DU1", ref="r", echo_account="DU2", echo_ref="")
    assert [one.field for one in found] == ["account", "order_ref"]
    assert is_severe(found)
    assert not is_severe(found[1:])


def test_an_echo_reads_as_terms() -> None:
    record = sent()
    assert compare(record.terms, terms_of_told(echo(record))) == ()
    assert [action_of(text).value for text in ("BUY", "BOT", "SELL", "SLD", "SSHORT")] == ["BUY"] * 2 + ["SELL"] * 3
