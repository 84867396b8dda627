"""A fill is not lost over the form of its time, nor told at a wrong one."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from ibkr_connector.backends.tws.exectime import guard, repaired

NOW = datetime(2026, 4, 6, 14, 30, tzinfo=UTC)
ARRIVAL = "1775485800"


@pytest.mark.parametrize("text", ["20260413 15:27:04 US/Eastern", "20260413  15:27:04", "20260413 15:27:04", ARRIVAL])
def test_what_the_libraries_read_rightly_is_left_alone(text: str) -> None:
    assert repaired(text, lambda: NOW) == text


def test_a_time_in_utc_is_not_taken_for_this_machines() -> None:
    assert repaired("20260406-14:30:00", lambda: datetime(2000, 1, 1, tzinfo=UTC)) == ARRIVAL


@pytest.mark.parametrize(
    "text",
    [
        "20260413 15:27:04 Central European Standard Time",
        "20260413 15:27:04 ../../etc/passwd",
        "20261399 15:27:04 UTC",
        "20260413  25:27:04",
        "20260413-25:27:04",
        "20260413",
        "2026041315:27",
        "tomorrow",
        "",
        "9" * 40,
    ],
)
def test_an_unreadable_time_becomes_the_time_of_arrival(text: str) -> None:
    assert repaired(text, lambda: NOW) == ARRIVAL


def test_the_decoder_sees_the_repaired_time_and_short_messages_as_they_are() -> None:
    seen: list[list[str]] = []
    decoder = SimpleNamespace(handlers={11: seen.append})
    guard(decoder, lambda: NOW)
    decoder.handlers[11](["11", *["x"] * 14, "20260413 15:27:04 Nowhere", "y"])
    decoder.handlers[11](["11", "1"])
    assert seen == [["11", *["x"] * 14, ARRIVAL, "y"], ["11", "1"]]
