"""Which orders may be changed, and into what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import ModifyNotPossible, OrderValidationError
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.modify import changed, check_modify, is_unseen
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.whose import foreign
from ibkr_connector.orders.wire import wire_order
from unit.orders.kit import DOWN, PERM, UP, d, echo, fill, request, sent, status


def working(**values: Any) -> OrderRecord:
    record = sent(request(**values))
    apply(record, echo(record), UP)
    return record


def ended(record: OrderRecord) -> None:
    apply(record, status("Cancelled"), UP)


def doubtful(record: OrderRecord) -> None:
    steps.cancel_sent(record, UP)
    steps.link_lost(record, "gone", DOWN)


def forked(record: OrderRecord) -> None:
    apply(record, echo(perm_id=PERM + 1), UP)


def outstanding(record: OrderRecord) -> None:
    steps.cancel_sent(record, UP)


def held(record: OrderRecord) -> None:
    apply(record, status("Inactive"), UP)


def strange(record: OrderRecord) -> None:
    apply(record, echo(order_type="PEG MID"), UP)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (ended, "ended"),
        (doubtful, "in doubt"),
        (forked, "several orders"),
        (outstanding, "unanswered: cancel"),
        (held, "Inactive"),
        (strange, "PEG MID"),
    ],
)
def test_what_stands_in_the_way_of_a_change_is_named(spoil: Callable[[OrderRecord], None], word: str) -> None:
    record = working()
    check_modify(record, UP.epoch)
    spoil(record)
    with pytest.raises(ModifyNotPossible, match=word):
        check_modify(record, UP.epoch)


def test_an_order_not_shown_in_this_connection_cannot_be_changed() -> None:
    with pytest.raises(ModifyNotPossible, match="in this connection"):
        check_modify(working(), UP.epoch + 1)
    unseen = sent()
    apply(unseen, status("Submitted"), UP)
    with pytest.raises(ModifyNotPossible, match="in this connection"):
        check_modify(unseen, UP.epoch)


def test_an_order_without_perm_id_cannot_be_changed() -> None:
    record = sent()
    apply(record, echo(perm_id=0), UP)
    with pytest.raises(ModifyNotPossible, match="permId"):
        check_modify(record, UP.epoch)


def test_no_change_while_the_link_is_down() -> None:
    with pytest.raises(ModifyNotPossible, match="link"):
        check_modify(working(), UP.epoch, link_up=False)


def test_an_order_of_another_program_cannot_be_changed() -> None:
    fact = echo(perm_id=5, order_ref="theirs")
    record = foreign(fact, UP)
    assert record is not None
    apply(record, fact, UP)
    with pytest.raises(ModifyNotPossible, match="not this connector"):
        check_modify(record, UP.epoch)


def test_an_unanswered_new_order_cannot_be_changed() -> None:
    with pytest.raises(ModifyNotPossible, match="unanswered: new"):
        check_modify(sent(), UP.epoch)


def test_the_change_starts_from_the_brokers_echo() -> None:
    record = working()
    apply(record, echo(quantity=d(80), tif="GTC", oca_group="made-up", stop_price=d(1)), UP)
    base = check_modify(record, UP.epoch)
    assert (base.quantity, base.tif, base.oca_group, base.stop_price) == (d(80), "GTC", "", None)
    assert changed(record, UP.epoch, limit_price=9.5) == replace(base, limit_price=d("9.5"))


def test_a_change_leaves_an_order_in_its_oca_group() -> None:
    record = working(oca_group="g", oca_type=2)
    new = changed(record, UP.epoch, limit_price=9.5)
    assert (new.oca_group, new.oca_type) == ("g", 2)
    wire = wire_order(new, contract=new.contract, order_id=1, account="DU1", order_ref="r")
    assert (wire.oca_group, wire.oca_type) == ("g", 2)


def test_an_oca_group_without_a_type_is_of_ibkrs_default_type() -> None:
    for values, on_the_wire in (({"oca_group": "g"}, 3), ({}, 0)):
        terms = OrderTerms.of_request(request(**values))
        wire = wire_order(terms, contract=terms.contract, order_id=1, account="DU1", order_ref="r")
        assert wire.oca_type == on_the_wire


def test_a_trailing_stop_keeps_its_own_meaning() -> None:
    record = working(order_type="TRAIL", limit_price=None, trail_amount=1)
    apply(record, echo(record, stop_price=d("9.1")), UP)
    new = changed(record, UP.epoch, trail_amount=0.5)
    assert (new.trail_amount, new.stop_price) == (d("0.5"), None)
    with pytest.raises(OrderValidationError, match="exactly one"):
        changed(record, UP.epoch, trail_percent=1)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, "quantity"),
        ({"limit_price": 10}, "quantity"),
        ({"quantity": 30}, "quantity"),
        ({"quantity": "many"}, "quantity"),
        ({"stop_price": 5}, "stop_price"),
        ({"limit_price": -1}, "limit_price"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_its_field(values: dict[str, Any], field: str) -> None:
    record = working()
    apply(record, fill(30), UP)
    with pytest.raises(OrderValidationError) as caught:
        changed(record, UP.epoch, **values)
    assert caught.value.context["field"] == field


def test_both_versions_count_while_the_change_is_unanswered() -> None:
    record = working()
    steps.modify_sent(record, changed(record, UP.epoch, quantity=150, limit_price=11), UP)
    assert record.open_quantity == d(150)
    assert [one.limit_price for one in record.versions()] == [d("10.00"), d(11)]
    steps.modify_not_sent(record, "no slot", UP)
    assert (record.open_quantity, len(record.versions()), record.outstanding) == (d(100), 1, set())
    assert steps.modify_not_sent(record, "no slot", UP) == []
    assert Operation.MODIFY not in record.doubts


def test_only_an_order_that_the_broker_has_not_shown_yet_is_worth_waiting_for() -> None:
    record = working()
    assert not is_unseen(record, UP.epoch)
    assert is_unseen(record, UP.epoch + 1)
    assert not is_unseen(record, UP.epoch + 1, link_up=False)
    ended(record)
    assert not is_unseen(record, UP.epoch + 1)
