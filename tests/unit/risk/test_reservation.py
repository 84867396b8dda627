"""One order's share of the limits, and the book of all of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_connector.risk.reservation import Exposure, Reservation, ReservationBook

D = Decimal


def held(
    ref: str = "a", quantity: int = 10, open_: int | None = None, *, unit: int | None = None, margin: int | None = None
) -> Reservation:
    return Reservation(
        ref,
        1,
        1,
        D(quantity),
        D(quantity if open_ is None else open_),
        D(50),
        unit_value=None if unit is None else D(unit),
        margin=None if margin is None else D(margin),
    )


@pytest.mark.parametrize(
    ("before", "told", "after"), [(None, None, None), (None, 7, 7), (7, None, 7), (7, 5, 7), (5, 7, 7), (0, 7, 7)]
)
def test_of_two_versions_the_dearer_unit_counts(before: int | None, told: int | None, after: int | None) -> None:
    one = held(unit=before)
    one.count_worth(None if told is None else D(told), None)
    assert one.unit_value == after


@pytest.mark.parametrize(
    ("before", "told", "after"),
    [(None, None, None), (None, 7, None), (7, None, None), (7, 5, 7), (5, 7, 7), (0, 7, 7), (7, 0, 7), (0, 0, 0)],
)
def test_of_two_versions_the_larger_margin_counts_and_an_unknown_one_stays_unknown(
    before: int | None, told: int | None, after: int | None
) -> None:
    one = held(margin=before)
    one.count_worth(None, None if told is None else D(told))
    assert one.margin == after


def test_margin_and_loss_are_those_of_what_is_still_open() -> None:
    one = held(quantity=10, open_=4, margin=200)
    assert [one.margin_open, one.loss_open] == [D(80), D(20)]
    assert held(quantity=10, open_=4).margin_open == 0
    nothing = held(quantity=0, open_=4, margin=200)
    assert [nothing.margin_open, nothing.loss_open] == [D(0), D(0)]


def test_a_side_is_told_by_its_sign() -> None:
    exposure = Exposure(D(3), D(5))
    assert [exposure.side(1), exposure.side(-1)] == [D(3), D(5)]


def test_the_figures_of_a_contract_are_those_of_its_live_orders() -> None:
    book = ReservationBook()
    book.add(held("a", 10, 5, unit=7, margin=100))
    book.add(held("b", 4, unit=9))
    found = book.open_contracts()[1]
    assert found.exposure == Exposure(D(9), D(0))
    assert [found.unit_value, found.margin, found.unpriced] == [D(9), D(50), D(4)]
    alone = book.open_contracts(without=frozenset({"b"}))[1]
    assert alone.exposure == Exposure(D(5), D(0))
    assert [alone.unit_value, alone.margin, alone.unpriced] == [D(7), D(50), D(0)]
    assert book.open_contracts(without=frozenset({"a", "b"})) == {}
    assert tuple(book.contracts()) == (1,)
    assert book.remove("a") is not None
    assert tuple(book.contracts()) == (1,)
    assert book.remove("b") is not None
    assert tuple(book.contracts()) == ()
    assert book.open_contracts() == {}
