"""What goes out: plain decimals, unset fields left alone, nothing that could break the message."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.backends.base import WireOrder
from ibkr_connector.backends.tws.library import TwsLibrary
from ibkr_connector.backends.tws.orders import is_plain_text, library_contract, library_order, plain, utc_text
from ibkr_connector.errors import InvalidRequest, OrderValidationError
from ibkr_connector.models.contract import Contract


def fake(*_callbacks: Any, **values: Any) -> SimpleNamespace:
    return SimpleNamespace(**values)


LIBRARY = TwsLibrary(name="ib_async", version="0", client=fake, contract=fake, order=fake, execution_filter=fake)
ORDER = WireOrder(
    order_id=5,
    contract=Contract.stock("AAPL"),
    action="BUY",
    quantity=Decimal(100),
    order_type="MKT",
    limit_price=None,
    stop_price=None,
    trail_amount=None,
    trail_percent=None,
    tif="DAY",
    good_till=None,
    outside_rth=False,
    account="DU1",
    order_ref="ref-1",
)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None, min_value=Decimal("1e-12"), max_value=10**12))
def test_numbers_go_out_exactly_and_without_exponent(number: Decimal) -> None:
    text = plain(number)
    assert "e" not in text.lower()
    assert Decimal(text) == number


def test_small_and_round_numbers_read_as_a_person_writes_them() -> None:
    assert plain(Decimal("0.1")) == "0.1"
    assert plain(Decimal("1E+2")) == "100"
    assert plain(Decimal("0.00001")) == "0.00001"


def test_a_market_order_leaves_every_price_unset() -> None:
    made = library_order(LIBRARY, ORDER)
    assert not {"lmtPrice", "auxPrice", "trailStopPrice", "trailingPercent", "goodTillDate"} & set(vars(made))
    assert (made.orderId, made.action, made.totalQuantity, made.orderRef) == (5, "BUY", "100", "ref-1")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"order_type": "LMT", "limit_price": Decimal("10.10")}, {"lmtPrice": "10.10"}),
        ({"order_type": "STP", "stop_price": Decimal(9)}, {"auxPrice": "9"}),
        (
            {"order_type": "STP LMT", "limit_price": Decimal("8.5"), "stop_price": Decimal(9)},
            {"lmtPrice": "8.5", "auxPrice": "9"},
        ),
        (
            {"order_type": "TRAIL", "trail_amount": Decimal("0.5"), "stop_price": Decimal(9)},
            {"auxPrice": "0.5", "trailStopPrice": "9"},
        ),
        ({"order_type": "TRAIL", "trail_percent": Decimal("1.5")}, {"trailingPercent": "1.5"}),
        (
            {"tif": "GTD", "good_till": datetime(2026, 4, 7, 15, 30, tzinfo=UTC)},
            {"tif": "GTD", "goodTillDate": "20260407-15:30:00"},
        ),
        (
            {"parent_id": 4, "oca_group": "g", "oca_type": 1, "transmit": False},
            {"parentId": 4, "ocaGroup": "g", "ocaType": 1, "transmit": False},
        ),
        ({"what_if": True, "outside_rth": True}, {"whatIf": True, "outsideRth": True}),
    ],
)
def test_each_kind_of_order_fills_its_own_fields(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    made = vars(library_order(LIBRARY, replace(ORDER, **changes)))
    assert {name: made[name] for name in fields} == fields


@pytest.mark.parametrize("field", ["action", "order_type", "tif", "account", "order_ref", "oca_group"])
@pytest.mark.parametrize("text", ["a\0b", "a\nb", "é", "\x7f"])
def test_text_that_would_break_the_message_is_refused(field: str, text: str) -> None:
    changes: dict[str, Any] = {field: text}
    with pytest.raises(OrderValidationError) as caught:
        library_order(LIBRARY, replace(ORDER, **changes))
    assert caught.value.context["field"] == field
    assert not is_plain_text(text)


@pytest.mark.parametrize("field", ["quantity", "limit_price", "stop_price", "trail_amount", "trail_percent"])
def test_numbers_that_are_none_are_refused(field: str) -> None:
    for number in ("NaN", "Infinity"):
        changes: dict[str, Any] = {field: Decimal(number)}
        with pytest.raises(OrderValidationError):
            library_order(LIBRARY, replace(ORDER, **changes))


def test_a_date_without_a_zone_is_refused() -> None:
    with pytest.raises(OrderValidationError):
        library_order(LIBRARY, replace(ORDER, tif="GTD", good_till=datetime(2026, 4, 7)))  # noqa: DTZ001


def test_a_contract_goes_out_as_it_is_named() -> None:
    contract = Contract(symbol="SPY", sec_type="OPT", expiry="20260417", strike=0.00005, right="C", con_id=9)
    made = library_contract(LIBRARY, contract, include_expired=True)
    assert (made.conId, made.symbol, made.secType, made.strike) == (9, "SPY", "OPT", "0.00005")
    assert (made.lastTradeDateOrContractMonth, made.right, made.includeExpired) == ("20260417", "C", True)
    assert library_contract(LIBRARY, Contract.stock("A")).strike == "0.0"


def test_a_contract_with_a_field_separator_in_it_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="symbol"):
        library_contract(LIBRARY, Contract.stock("A\0B"))


def test_moments_go_out_in_utc() -> None:
    assert utc_text(datetime(2026, 4, 7, 15, 30, 59, 999_999, tzinfo=UTC)) == "20260407-15:30:59"
