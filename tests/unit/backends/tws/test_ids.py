"""Order ids must rise for ever; nothing the other side says may make them fall or use them up."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.backends.ids import LAST_ID, Ids
from ibkr_connector.errors import IBKRError


@given(st.lists(st.tuples(st.sampled_from(["take", "allow", "saw"]), st.integers(-(2**33), 2**33)), max_size=40))
def test_numbers_only_rise_and_never_meet_an_order_that_was_seen(steps: list[tuple[str, int]]) -> None:
    ids, taken, floor = Ids(), [0], 0
    for step, number in steps:
        if step == "take":
            try:
                taken.append(ids.take())
            except IBKRError:
                assert floor >= LAST_ID - 1
                return
            assert taken[-1] > taken[-2]
            assert taken[-1] >= floor
            assert taken[-1] not in ids.orders
        elif step == "allow":
            ids.allow_from(number)
            floor = max(floor, number if 0 < number <= LAST_ID else 0)
        else:
            ids.saw_order(number)
            floor = max(floor, number + 1 if 0 < number < LAST_ID else 0)


def test_a_new_connection_forgets_orders_but_not_the_sequence() -> None:
    ids = Ids()
    ids.saw_order(41)
    ids.what_ifs.add(42)
    ids.new_connection()
    assert not ids.orders
    assert not ids.what_ifs
    assert ids.take() == 42


def test_the_end_of_the_ids_is_told_instead_of_wrapping_around() -> None:
    ids = Ids()
    ids.allow_from(LAST_ID)
    assert ids.take() == LAST_ID
    with pytest.raises(IBKRError, match="used up"):
        ids.take()
