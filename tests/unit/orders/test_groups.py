"""Brackets and OCA groups: the right frames, and what is trouble when a part of a group does not work."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import BracketRequest, OcaType, OrderRequest
from ibkr_connector.orders.changes import Expired, Rejected, StatusChanged
from ibkr_connector.orders.evolve import evolve
from ibkr_connector.orders.groups import GroupLeg, plan_bracket, plan_oca, refused_alone
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.steps import not_sent
from unit.orders.kit import NOW, UP, d, request, sent

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
    assert [(leg.request.order_ref, leg.group, leg.parent_ref, leg.transmit) for leg in plan_bracket(bracket())] == [
        ("E", "E", "", False),
        ("T", "E", "E", False),
        ("S", "E", "E", True),
    ]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"quantity": 50}, "quantity"),
        ({"contract": MSFT}, "contract"),
        ({"account": "DU2"}, "account"),
        ({"oca_group": "g"}, "oca_group"),
    ],
)
def test_the_exits_of_a_bracket_must_fit_its_entry(values: dict[str, Any], field: str) -> None:
    with pytest.raises(OrderValidationError) as caught:
        plan_bracket(bracket(**values))
    assert caught.value.context["field"] == field


def test_every_leg_needs_a_name_of_its_own() -> None:
    with pytest.raises(OrderValidationError, match="order_ref of its own"):
        plan_bracket(bracket(order_ref="T"))


def oca(*requests: OrderRequest, group: str | None = None, kind: int = 1) -> tuple[GroupLeg, ...]:
    return plan_oca(list(requests), group, OcaType(kind))


def test_every_leg_of_an_oca_group_transmits_because_none_has_a_parent() -> None:
    plan = oca(request(order_ref="A"), request(order_ref="B"), group="G", kind=2)
    told = [(leg.oca, leg.request.oca_group, leg.request.oca_type, leg.parent_ref, leg.transmit) for leg in plan]
    assert told == [("G", "G", 2, "", True)] * 2


def test_a_group_without_a_name_is_called_after_its_first_order_so_that_a_repeat_finds_it() -> None:
    assert {leg.group for leg in oca(request(order_ref="A"), request(order_ref="B"))} == {"A.oca"}


def test_a_leg_may_say_what_its_group_says() -> None:
    legs = (request(order_ref="A", oca_group="G", oca_type=1), request(order_ref="B"))
    assert {leg.group for leg in oca(*legs, group="G")} == {"G"}


def test_an_order_alone_and_the_legs_of_a_bracket_are_no_oca_group() -> None:
    assert GroupLeg(request=request(oca_group="G")).oca == ""
    assert {leg.oca for leg in plan_bracket(bracket())} == {""}


@pytest.mark.parametrize(
    ("legs", "group", "field"),
    [
        ([{"order_ref": "A"}], "G", "orders"),
        ([{"order_ref": "A"}, {"order_ref": "B", "account": "DU2"}], "G", "account"),
        ([{"order_ref": "A"}, {"order_ref": "A"}], "G", "order_ref"),
        ([{"order_ref": "A"}, {"order_ref": "B"}], "B", "group"),
        ([{"order_ref": "A"}, {"order_ref": "B", "oca_group": "H"}], "G", "oca_group"),
        ([{"order_ref": "A"}, {"order_ref": "B", "oca_group": "G", "oca_type": 3}], "G", "oca_type"),
    ],
)
def test_an_oca_group_that_is_none_is_refused(legs: list[dict[str, Any]], group: str, field: str) -> None:
    with pytest.raises(OrderValidationError) as caught:
        oca(*(request(**leg) for leg in legs), group=group)
    assert caught.value.context["field"] == field
    assert caught.value.context["legal"]


# --- a part of a group ------------------------------------------------------------------------------------------------


def refused(why: str = "no") -> OrderRecord:
    record = sent()
    evolve(record, Rejected(at=NOW, code=201, why=why))
    return record


def test_a_refused_order_beside_working_ones_is_told() -> None:
    gone = refused()
    assert refused_alone([sent(), gone, sent()]) == [gone]
    unsent = sent()
    not_sent(unsent, "the write failed", UP)
    assert refused_alone([sent(), unsent]) == [unsent]


def test_a_group_of_which_nothing_is_left_or_nothing_was_refused_is_whole() -> None:
    assert refused_alone([refused(), refused()]) == []
    assert refused_alone([sent(), sent()]) == []
    expired = sent()
    evolve(expired, Expired(at=NOW, why="its day is over"))
    assert refused_alone([sent(), expired]) == []


@pytest.mark.parametrize(("status", "reported"), [("Filled", 0), ("Submitted", 1)])
def test_orders_refused_because_another_had_filled_are_how_a_group_works(status: str, reported: int) -> None:
    first = sent()
    evolve(first, StatusChanged(at=NOW, perm_id=0, status=status, reported=d(reported)))
    assert refused_alone([first, refused()]) == []
    late = refused("Order rejected - reason:OCA group is already filled.")
    assert refused_alone([sent(), late]) == []
