"""A request that was given up writes nothing afterwards; one that was written stays written."""

from __future__ import annotations

import pytest

from ibkr_connector.backends.web.wire import Attempt, GivenUp


def test_given_up_while_its_connection_is_made_no_byte_leaves_later() -> None:
    attempt = Attempt(until=1.0, limit=1)
    assert attempt.begin()
    assert attempt.abandon()
    with pytest.raises(GivenUp):
        attempt.write(None)
    assert not attempt.written
    assert not attempt.begin()


def test_given_up_in_the_middle_of_the_write_it_is_written() -> None:
    attempt = Attempt(until=1.0, limit=1)
    attempt.write(None)
    assert not attempt.abandon()
    attempt.write(None)  # the body follows its headers: half a request is worse than a whole one
    assert attempt.written
