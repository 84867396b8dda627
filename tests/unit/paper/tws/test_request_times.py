"""Times in requests are read as a gateway reads them, in every zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ibkr_connector.paper.tws.request_times import RequestTime, parse_request_time

NOW = datetime(2026, 4, 15, 17, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at", "implied"),
    [
        ("20260402-20:00:00", datetime(2026, 4, 2, 20, tzinfo=UTC), False),
        ("20260402 16:00:00 US/Eastern", datetime(2026, 4, 2, 20, tzinfo=UTC), False),
        ("20260402 16:00:00 America/New_York", datetime(2026, 4, 2, 20, tzinfo=UTC), False),
        ("20260402  16:00:00", datetime(2026, 4, 2, 20, tzinfo=UTC), True),
        ("20260402 20:00:00 UTC", datetime(2026, 4, 2, 20, tzinfo=UTC), False),
        ("20260402 20:00:00 GMT", datetime(2026, 4, 2, 20, tzinfo=UTC), False),
        ("20260115 16:00:00 US/Eastern", datetime(2026, 1, 15, 21, tzinfo=UTC), False),
        ("12:30:00", datetime(2026, 4, 15, 16, 30, tzinfo=UTC), True),
        ("20260231 12:00:00 UTC", datetime(2026, 3, 3, 12, tzinfo=UTC), False),
    ],
)
def test_every_form_is_read(text: str, at: datetime, implied: bool) -> None:
    assert parse_request_time(text, NOW) == RequestTime(at, implied)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "20260402",
        "20261302 10:00:00",
        "20260402 25:00:00",
        "20260400 10:00:00",
        "20260402 10:00:00 Mars",
    ],
)
def test_what_a_gateway_cannot_read_is_none(text: str) -> None:
    assert parse_request_time(text, NOW) is None
