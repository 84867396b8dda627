"""Brackets and OCA groups: one plan, one reservation for the worst, the right frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import BracketRequest, OrderRequest
from ibkr_connector.orders.groups import plan_bracket, plan_oca
from unit.orders.kit import AAPL, d, request

MSFT = Contract.stock("MSFT").with_con_id(272093)


def bracket(**stop: Any) -> BracketRequest:
    given: dict[str, Any] = {
        "action": "SELL",
        "order_type": "STP",
        "limit_price": None,
        "stop_price": 9,
        "order_ref": "S",
    }
    given.update(stop)
    return BracketRequest(
        entry=request(order_ref="E"),
        take_profit=request(action="SELL", limit_price=12, order_ref="T"),
        stop_loss=request(**given),
    )


def test_only_the_last_frame_of_a_bracket_transmits_and_children_name_their_parent() -> None:
    plan = plan_bracket(bracket())
    assert plan.group == "E"
    assert [(leg.request.order_ref, leg.parent_ref, leg.transmit) for leg in plan.legs] == [
        ("E", "", False),
        ("T", "E", False),
        ("S", "E", True),
    ]
    assert [(leg.order_id, leg.parent_id) for leg in plan.number([7, 8, 9])] == [(7, 0), (8, 7), (9, 7)]


def test_a_bracket_reserves_its_entry_alone() -> None:
    (only,) = plan_bracket(bracket()).reservations
    assert (only.ref, only.action.value, only.quantity, only.contract) == ("E", "BUY", d(100), AAPL)


@pytest.mark.parametrize("ids", [[7, 8], [7, 9, 8], [7, 7, 8]])
def test_a_group_takes_as_many_rising_ids_as_it_has_legs(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="rising order ids"):
        plan_bracket(bracket()).number(ids)


@pytest.mark.parametrize(
    ("values", "field"),
    [({"quantity": 50}, "quantity"), ({"contract": MSFT}, "contract"), ({"account": "DU2"}, "account")],
)
def test_the_exits_of_a_bracket_must_fit_its_entry(values: dict[str, Any], field: str) -> None:
    with pytest.raises(OrderValidationError) as caught:
        plan_bracket(bracket(**values))
    assert caught.value.context["field"] == field


def test_every_leg_needs_a_name_of_its_own() -> None:
    with pytest.raises(OrderValidationError, match="order_ref of its own"):
        plan_bracket(bracket(order_ref="T"))


def oca(*requests: OrderRequest, group: str = "G") -> Any:
    return plan_oca(list(requests), group)


def test_every_leg_of_an_oca_group_transmits_because_none_has_a_parent() -> None:
    plan = oca(request(order_ref="A"), request(order_ref="B"))
    assert [(leg.request.oca_group, leg.parent_ref, leg.transmit) for leg in plan.legs] == [("G", "", True)] * 2


def test_an_oca_group_reserves_the_worst_leg_per_side_and_contract() -> None:
    plan = oca(
        request(order_ref="A", quantity=10),
        request(order_ref="B", quantity=30),
        request(order_ref="C", quantity=20, action="SELL"),
        request(order_ref="D", quantity=5, contract=MSFT),
        request(order_ref="E", quantity=5),
    )
    assert [(one.ref, one.action.value, one.quantity) for one in plan.reservations] == [
        ("B", "BUY", d(30)),
        ("C", "SELL", d(20)),
        ("D", "BUY", d(5)),
    ]


def test_an_oca_group_that_is_none_is_refused() -> None:
    one = request(order_ref="A")
    for requests, group, field in (
        ([one], "G", "orders"),
        ([one, request(order_ref="B")], " ", "oca_group"),
        ([one, request(order_ref="B", account="DU2")], "G", "account"),
        ([one, one], "G", "order_ref"),
    ):
        with pytest.raises(OrderValidationError) as caught:
            plan_oca(requests, group)
        assert caught.value.context["field"] == field


def test_a_plan_is_a_value() -> None:
    plan = plan_bracket(bracket())
    assert replace(plan) == plan
