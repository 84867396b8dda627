"""Limits count what IBKR counts, in wire time, against a naive list of times."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.web.calls import WebError
from ibkr_connector.paper.web.limits import Limiter, Rate, SlidingLog
from ibkr_connector.paper.web.options import Limits


class Loop:
    """A loop that only tells the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now


def make(limits: Limits | None, *, oauth: bool = False) -> tuple[Limiter, Loop]:
    loop = Loop()
    return Limiter(limits, cast("asyncio.AbstractEventLoop", loop), oauth=oauth), loop


def ask(limiter: Limiter, name: str = "accounts", remote: str = "a") -> bool:
    try:
        with limiter.admit(name, remote):
            return True
    except WebError as error:
        return error.status != 429


@given(
    st.integers(1, 5),
    st.floats(0.5, 5),
    st.lists(st.floats(0, 2), max_size=40),
)
def test_a_sliding_log_admits_what_a_list_of_times_does(count: int, seconds: float, gaps: list[float]) -> None:
    log, now, admitted = SlidingLog(Rate(count, seconds)), 0.0, list[float]()
    for gap in gaps:
        now += gap
        expected = sum(1 for at in admitted if now - at < seconds) < count
        assert log.admits(now) == expected
        if expected:
            admitted.append(now)


@pytest.mark.parametrize(("oauth", "rate"), [(False, 10), (True, 50)])
def test_the_global_limit_is_that_of_the_way_in(oauth: bool, rate: int) -> None:
    limiter, _ = make(Limits(), oauth=oauth)
    assert [ask(limiter) for _ in range(rate + 1)] == [True] * rate + [False]


def test_the_penalty_box_is_for_the_address_and_ends() -> None:
    limiter, loop = make(Limits(gateway_per_second=1, penalty=600.0))
    assert [ask(limiter), ask(limiter)] == [True, False]
    loop.now = 599.9
    assert not ask(limiter)
    assert ask(limiter, remote="b")
    loop.now = 601.0
    assert ask(limiter)


def test_refused_requests_of_an_endpoint_do_not_prolong_its_wait() -> None:
    limiter, loop = make(Limits(gateway_per_second=1000))
    assert [ask(limiter, "open_orders"), ask(limiter, "open_orders")] == [True, False]
    loop.now = 5.0
    assert ask(limiter, "open_orders")


def test_histories_count_while_they_run_also_when_they_fail() -> None:
    limiter, _ = make(Limits(gateway_per_second=1000, concurrent_history=1))
    with limiter.admit("history", "a"):
        assert not ask(limiter, "history")
        assert ask(limiter, "accounts")
    with pytest.raises(KeyError), limiter.admit("history", "a"):
        raise KeyError
    assert ask(limiter, "history")


def test_without_limits_everything_passes() -> None:
    limiter, _ = make(None)
    assert all(ask(limiter, "tickle") for _ in range(1000))
