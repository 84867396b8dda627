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


def leg(
    ref: str, quantity: int, *, open_: int | None = None, filled: int = 0, con_id: int = 1, sign: int = 1
) -> Reservation:
    """An order of an OCA group with block."""
    still = quantity - filled if open_ is None else open_
    return Reservation(ref, con_id, sign, D(quantity), D(still), filled=D(filled), oca="oca")


def book_of(*reservations: Reservation) -> ReservationBook:
    book = ReservationBook()
    for one in reservations:
        book.add(one)
    return book


@pytest.mark.parametrize(("con_id", "sign"), [(2, 1), (1, -1)], ids=["another contract", "the other side"])
@pytest.mark.parametrize(("filled", "open_"), [(4, 6), (0, 20)], ids=["its fills free", "its size keeps"])
def test_what_an_oca_group_can_still_fill_is_told_by_the_legs_of_that_side_of_that_contract(
    con_id: int, sign: int, filled: int, open_: int
) -> None:
    """A fill in one contract frees nothing in another: more than the limit could fill there."""
    other = leg("c", filled + open_, filled=filled, con_id=con_id, sign=sign)
    untouched = book_of(leg("a", 10), leg("b", 10), other)
    assert untouched.exposure(1).buys == 10
    one_filled = book_of(leg("a", 10, filled=4), leg("b", 10), other)  # the broker has not reduced `b` yet
    assert one_filled.exposure(1).buys == 6


def test_orders_that_ended_are_not_among_the_live_ones_of_their_group() -> None:
    """They would be taken off the number of open orders, and of the limit for it, once more."""
    book = book_of(leg("a", 10), leg("b", 10), leg("c", 10))
    for ref in ("entry", "target", "stop"):
        book.add(Reservation(ref, 1, 1 if ref == "entry" else -1, D(5), D(5), group="entry"))
    assert book.oca_refs("oca") == {"a", "b", "c"}
    assert book.bracket_refs("entry") == {"entry", "target", "stop"}
    book.remove("b")
    book.remove("entry")
    assert book.oca_refs("oca") == {"a", "c"}
    assert book.bracket_refs("entry") == {"target", "stop"}
    assert book.oca_refs("another") == frozenset()


def test_beside_a_leg_stand_only_live_orders_of_its_side_and_contract() -> None:
    """Any other would be left out of what is open, and what it can still fill would count nowhere."""
    book = book_of(leg("a", 10), leg("b", 10), leg("sell", 10, sign=-1), leg("es", 10, con_id=2))
    refs = book.oca_refs("oca")
    assert book.on_side(refs, 1, 1) == {"a", "b"}
    assert book.on_side(refs, 1, -1) == {"sell"}
    assert book.on_side(refs, 2, 1) == {"es"}
    book.remove("b")
    assert book.on_side(refs, 1, 1) == {"a"}
    assert book.on_side(frozenset({"never"}), 1, 1) == frozenset()


def test_an_order_that_turned_out_to_live_is_not_an_ended_one_any_more() -> None:
    book = book_of(held("a"))
    one = book.remove("a")
    assert one is not None
    assert book.ended("a") is one
    book.add(one)
    assert (book.get("a"), book.ended("a")) == (one, None)


def test_what_has_filled_is_kept_with_what_can_still_fill() -> None:
    book = book_of(held("a", 10))
    assert book.set_open("a", D(6), D(4))
    one = book.get("a")
    assert one is not None
    assert (one.open, one.filled) == (D(6), D(4))
    assert book.set_open("a", D(5))
    assert (one.open, one.filled) == (D(5), D(4))
    assert not book.set_open("unknown", D(5))


def test_what_is_taken_back_is_told_and_never_was() -> None:
    book = book_of(held("a", 10))
    one = book.remove("a", remember=False)
    assert one is not None
    assert (one.ref, book.ended("a"), len(book)) == ("a", None, 0)
    assert book.remove("a") is None


def test_what_one_agent_has_open_is_not_what_another_has() -> None:
    """An agent's own limit must neither be filled nor freed by its neighbours."""
    book = ReservationBook()
    for ref, agent, quantity in (("a", "momentum", 10), ("b", "value", 4), ("c", "", 2)):
        book.add(Reservation(ref, 1, 1, D(quantity), D(quantity), agent=agent))
    assert book.exposure(1, agent="momentum") == Exposure(D(10), D(0))
    assert book.exposure(1, agent="value") == Exposure(D(4), D(0))
    assert book.exposure(1) == Exposure(D(16), D(0))
    assert (book.open_of("momentum"), book.open_of("nobody")) == (1, 0)


def test_an_order_without_a_value_does_not_hide_what_the_others_are_worth() -> None:
    book = book_of(held("a", 10, unit=7), held("b", 4))
    assert book.open_contracts()[1].unit_value == 7


def test_a_brackets_exits_tie_up_no_margin_of_their_own() -> None:
    """They only give back what the entry brought: counted too, a bracket would need three times its margin."""
    book = ReservationBook()
    for ref, margin in (("entry", D(100)), ("target", D(90)), ("stop", None)):
        sign = 1 if ref == "entry" else -1
        book.add(Reservation(ref, 1, sign, D(5), D(5), group="entry", margin=margin))
    found = book.open_contracts()[1]
    assert (found.margin, found.unpriced) == (D(100), D(0))
