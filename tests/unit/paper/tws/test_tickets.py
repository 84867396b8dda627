"""From placeOrder to the exchange's ticket: typed fields in their places, the rest kept for the echo."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.paper.exchange.types import OrderTicket
from ibkr_connector.paper.instruments import InstrumentBook
from ibkr_connector.paper.tws.contracts import Leg, WireContract
from ibkr_connector.paper.tws.place_order import PlaceOrder
from ibkr_connector.paper.tws.tickets import make_ticket, unsupported

APPLE = next(item for item in InstrumentBook(lambda: date(2026, 4, 15)) if item.local_symbol == "AAPL")

PLAIN = dict.fromkeys(
    (
        "limit_price", "aux_price", "oca_group", "account", "order_ref", "trailing_percent", "trail_stop_price",
        "good_till_date", "good_after_time", "algo_strategy", "hedge_type", "scale_price_increment",
        "adjusted_order_type", "delta_neutral_order_type", "display_size", "rule_80a",
    ),
    "",
) | {
    "action": "BUY", "total_quantity": "100", "order_type": "LMT", "tif": "DAY", "transmit": "1", "what_if": "0",
    "outside_rth": "0", "oca_type": "0", "parent_id": "0", "all_or_none": "0", "hidden": "0",
}  # fmt: skip


def order(contract: WireContract | None = None, **values: str) -> PlaceOrder:
    return PlaceOrder(17, contract or WireContract(symbol="AAPL", exchange="SMART"), PLAIN | values)


def ticket(contract: WireContract | None = None, **values: str) -> OrderTicket:
    return make_ticket(order(contract, **values), APPLE, 3, "DU1")


def test_typed_fields_find_their_places() -> None:
    made = ticket(
        limit_price="99.5",
        tif="gtd",
        good_till_date="20260601 15:00:00 US/Eastern",
        outside_rth="1",
        oca_group="oca",
        oca_type="2",
        parent_id="16",
        transmit="0",
        order_ref="ref",
        all_or_none="1",
        hidden="1",
    )
    assert (made.client_id, made.order_id, made.instrument, made.account) == (3, 17, APPLE, "DU1")
    assert (made.action, made.quantity, made.order_type) == ("BUY", Decimal(100), "LMT")
    assert made.limit_price == Decimal("99.5")
    assert (made.tif, made.good_till) == ("GTD", "20260601 15:00:00 US/Eastern")
    assert (made.oca_group, made.oca_type, made.parent_id, made.order_ref) == ("oca", 2, 16, "ref")
    assert (made.outside_rth, made.transmit, made.all_or_none, made.hidden) == (True, False, True, True)
    assert made.extras == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("LIMIT", "LMT"), ("market", "MKT"), ("STPLMT", "STP LMT"), ("TRAILLMT", "TRAIL LIMIT"), ("FEELINGS", "FEELINGS")],
)
def test_other_names_of_order_types_are_understood(kind: str, expected: str) -> None:
    assert ticket(order_type=kind).order_type == expected


@pytest.mark.parametrize(
    ("action", "expected"), [("buy", "BUY"), ("SSHORT", "SELL"), ("SSHORTX", "SELL"), ("HUG", "HUG")]
)
def test_actions(action: str, expected: str) -> None:
    assert ticket(action=action).action == expected


@pytest.mark.parametrize(
    ("kind", "limit", "aux"),
    [("MKT", None, None), ("LMT", Decimal(0), None), ("STP", None, Decimal(0)), ("STP LMT", Decimal(0), Decimal(0)),
     ("TRAIL", None, None)],
)  # fmt: skip
def test_zeros_that_only_came_from_an_echo_are_no_prices(kind: str, limit: Any, aux: Any) -> None:
    made = ticket(order_type=kind, limit_price="0.0", aux_price="0.0", trailing_percent="0.0", trail_stop_price="5.0")
    assert (made.limit_price, made.aux_price, made.trailing_percent) == (limit, aux, None)
    assert made.trail_stop_price == (5 if kind == "TRAIL" else None)


def test_no_time_in_force_is_a_day_order_and_no_destination_the_instruments_own() -> None:
    made = ticket(WireContract(symbol="AAPL"), tif="")
    assert (made.tif, made.exchange) == ("DAY", "SMART")
    assert ticket(WireContract(symbol="AAPL", exchange="ISLAND")).exchange == "ISLAND"


def test_everything_else_is_kept_for_the_echo_and_none_types_are_nothing() -> None:
    made = ticket(
        display_size="10", rule_80a="A", delta_neutral_order_type="None", adjusted_order_type="None", algo_strategy=""
    )
    assert made.extras == {"display_size": "10", "rule_80a": "A"}


def test_lists_become_their_wire_segment() -> None:
    contract = WireContract(symbol="X", sec_type="BAG", legs=[Leg(11, 2, "BUY", "SMART")])
    placed = order(contract, algo_strategy="Twap")
    placed.leg_prices = ["1.25"]
    placed.routing = [("NonGuaranteed", "1")]
    placed.algo_params = [("a", "b"), ("c", "d")]
    placed.conditions = [["3", "a", "1", "noon"]]
    placed.delta_neutral = ("42", "0.6", "101.0")
    extras = make_ticket(placed, APPLE, 3, "DU1").extras
    assert extras["combo_legs"].split("\0") == ["1", "11", "2", "BUY", "SMART", "0", "0", "", "-1"]
    assert extras["leg_prices"].split("\0") == ["1", "1.25"]
    assert extras["smart_routing"].split("\0") == ["1", "NonGuaranteed", "1"]
    assert extras["algo_params"].split("\0") == ["2", "a", "b", "c", "d"]
    assert extras["conditions"].split("\0") == ["1", "3", "a", "1", "noon"]
    assert extras["delta_neutral_contract"].split("\0") == ["1", "42", "0.6", "101.0"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"algo_strategy": "Twap"}, "Algo Twap"),
        ({"hedge_type": "D"}, "Hedging"),
        ({"scale_price_increment": "0.1"}, "Scale"),
        ({"adjusted_order_type": "STP"}, "Adjustable"),
        ({"good_after_time": "20260601 15:00:00"}, "Good after time"),
    ],
)
def test_what_the_exchange_cannot_hold_is_named(values: dict[str, str], words: str) -> None:
    reason = unsupported(order(None, **values))
    assert reason is not None
    assert words in reason


def test_conditions_are_named_and_plain_orders_pass() -> None:
    placed = order()
    assert unsupported(placed) is None
    assert unsupported(order(adjusted_order_type="None", scale_price_increment="0")) is None
    placed.conditions = [["3", "a", "1", "noon"]]
    assert "conditions" in (unsupported(placed) or "")
