"""The gateway's rate and history rules, against naive lists of times."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.tws.pacing import HistoryKey, HistoryPacing, MessageRate

gaps = st.lists(st.sampled_from([0.0, 0.0078125, 0.25, 0.96875, 1.0, 2.5]), min_size=1, max_size=200)


@given(gaps)
def test_no_second_ever_holds_more_messages_than_the_limit(steps: list[float]) -> None:
    rate, now, taken = MessageRate(5), 0.0, list[float]()
    for step in steps:
        now += step
        wait = rate.wait(now)
        if wait == 0:
            taken.append(now)
        else:
            assert rate.wait(now + wait) == 0
            taken.append(now + wait)
            now += wait
    for at in taken:
        assert sum(1 for other in taken if at - 1.0 < other <= at) <= 5


def test_a_message_at_the_limit_passes_and_the_next_waits_until_the_first_is_a_second_old() -> None:
    rate = MessageRate(3)
    assert [rate.wait(at) for at in (0.0, 0.1, 0.2)] == [0, 0, 0]
    assert rate.wait(0.4) == pytest.approx(0.6)
    assert rate.wait(1.0) == 0


def test_a_breach_is_counted_once_a_second_however_many_messages_it_has() -> None:
    rate = MessageRate(2)
    assert [rate.reject(0.0) for _ in range(10)] == [False, False, *[True] * 8]
    assert rate.breaches == 1
    assert rate.received == 10
    assert [rate.reject(1.5) for _ in range(3)] == [False, False, True]
    assert rate.breaches == 2


def test_a_rate_that_allows_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="None for no limit"):
        MessageRate(0)


def key(number: int = 0, *, con_id: int = 265598, what: str = "TRADES") -> HistoryKey:
    return HistoryKey(con_id, "SMART", what, (number,))


def test_an_identical_request_is_refused_for_15_seconds() -> None:
    pacing = HistoryPacing()
    assert pacing.admits(key(), 0.0)
    assert not pacing.admits(key(), 14.9)
    assert pacing.admits(key(), 15.0)


def test_the_sixth_request_for_the_same_contract_within_two_seconds_is_refused() -> None:
    pacing = HistoryPacing()
    assert all(pacing.admits(key(number), 0.1 * number) for number in range(5))
    assert not pacing.admits(key(5), 0.6)
    assert pacing.admits(key(5, con_id=272093), 0.6)
    assert pacing.admits(key(6, what="MIDPOINT"), 0.6)
    assert pacing.admits(key(5), 2.0)


def test_sixty_requests_in_ten_minutes_are_enough() -> None:
    pacing = HistoryPacing()
    assert all(pacing.admits(key(n, con_id=n), n) for n in range(60))
    assert not pacing.admits(key(60, con_id=60), 100.0)
    assert pacing.admits(key(60, con_id=60), 600.0)


def test_bid_ask_counts_twice() -> None:
    pacing = HistoryPacing()
    assert all(pacing.admits(key(n, con_id=n, what="BID_ASK"), n) for n in range(30))
    assert not pacing.admits(key(99), 60.0)


def test_requests_are_judged_by_when_they_arrived_in_whatever_order_they_are_looked_at() -> None:
    pacing = HistoryPacing()
    assert all(pacing.admits(key(number), at) for number, at in enumerate((3.0, 3.1, 3.2, 3.3)))
    assert all(pacing.admits(key(10 + number), at) for number, at in enumerate((0.9, 0.8, 0.7, 0.6, 1.0)))
    assert not pacing.admits(key(20), 0.5)  # the sixth of its two seconds
    assert not pacing.admits(key(10), 10.0)  # identical, within 15 seconds after
    assert not pacing.admits(key(1), -5.0)  # and before
    assert pacing.admits(key(21), 3.4)
    assert not pacing.admits(key(22), 1.9)  # there are five after it already


def test_a_late_look_forgets_nothing_that_still_counts() -> None:
    pacing = HistoryPacing()
    assert pacing.admits(key(1), 700.0)
    assert pacing.admits(key(2), 50.0)
    assert pacing.admits(key(3), 660.0)
    assert not pacing.admits(key(1), 701.0)
