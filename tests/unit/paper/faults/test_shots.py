"""When a fault counts a message, and when it happens."""

from __future__ import annotations

import random

from hypothesis import given, strategies as st

from ibkr_connector.paper.faults.plan import Fault
from ibkr_connector.paper.faults.shots import Armed, State


def armed(fault: Fault, seed: int = 0) -> Armed:
    return Armed(1, fault, random.Random(seed), state=State.ARMED)


def hits(one: Armed, moments: list[tuple[str, int]]) -> list[int]:
    return [n for n, (moment, client) in enumerate(moments, 1) if one.counts((moment,), client)]


PLACES = [("place_order", 1)] * 10


def test_the_nth_message_is_hit_and_no_other() -> None:
    one = armed(Fault("swallow_request", on="place_order", nth=3))
    assert hits(one, PLACES) == [3]
    assert one.state is State.SPENT


def test_several_in_a_row_from_the_nth_on() -> None:
    assert hits(armed(Fault("swallow_request", on="place_order", nth=3, times=2)), PLACES) == [3, 4]


def test_other_messages_and_other_clients_do_not_count() -> None:
    one = armed(Fault("swallow_request", on="place_order", nth=2, client_id=7))
    mixed = [("place_order", 7), ("cancel_order", 7), ("place_order", 8), ("place_order", 7)]
    assert hits(one, mixed) == [4]


def test_a_fault_that_waits_or_is_over_counts_nothing() -> None:
    for state in (State.WAITING, State.SPENT, State.CLEARED):
        one = armed(Fault("swallow_request", on="place_order"))
        one.state = state
        assert hits(one, PLACES) == []
        assert one.seen == 0


def test_a_fault_whose_message_is_gone_takes_the_next_one() -> None:
    one = armed(Fault("swallow_request", on="place_order", nth=3))
    assert hits(one, PLACES[:3]) == [3]
    one.put_back()
    assert hits(one, PLACES) == [1]
    assert one.fired == 1


@given(st.integers(0, 2**32), st.floats(0.01, 1.0), st.integers(1, 5), st.integers(0, 4))
def test_the_seed_decides_and_limits_hold(seed: int, probability: float, nth: int, times: int) -> None:
    fault = Fault("swallow_request", on="place_order", probability=probability, nth=nth, times=times)
    first, second = hits(armed(fault, seed), PLACES), hits(armed(fault, seed), PLACES)
    assert first == second
    assert all(n >= nth for n in first)
    assert not times or len(first) <= times
    if probability == 1.0:
        assert len(first) == min(times or 10, 11 - nth)
