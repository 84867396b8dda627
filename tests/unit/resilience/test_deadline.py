from __future__ import annotations

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import RequestTimeout
from ibkr_connector.resilience import Deadline


def test_a_deadline_is_shared_by_steps_and_does_not_add_up() -> None:
    clock = ManualClock()
    whole = Deadline(clock, 10.0)
    clock.advance(4.0)
    assert whole.remaining() == 6.0
    part = whole.sub(0.5)
    assert part.remaining() == 3.0
    assert whole.within(2.0).remaining() == 2.0
    assert whole.within(60.0).remaining() == 6.0
    clock.advance(3.0)
    assert (part.expired, whole.expired) == (True, False)
    whole.check("the second step")
    assert repr(whole) == "Deadline(3.000 s left)"
    clock.advance(3.0)
    assert (whole.expired, whole.remaining()) == (True, 0.0)
    with pytest.raises(RequestTimeout, match="before the third step"):
        whole.check("the third step")


def test_never_does_not_pass() -> None:
    clock = ManualClock()
    never = Deadline.never(clock)
    clock.advance(1e9)
    assert not never.expired


def test_numbers_that_mean_nothing_are_refused() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="NaN"):
        Deadline(clock, float("nan"))
    for fraction in (0.0, 1.1, -1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Deadline(clock, 1.0).sub(fraction)
