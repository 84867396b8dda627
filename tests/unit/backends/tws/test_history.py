"""Times and bars of the history service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.backends.tws.history import bars, describe, end_text, moment
from ibkr_connector.errors import ProtocolError
from ibkr_connector.models.contract import Contract

AAPL = Contract.stock("AAPL")


def raw(date: str, **values: float) -> SimpleNamespace:
    plain = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 100.0, "average": 1.2, "barCount": 3}
    return SimpleNamespace(date=date, **(plain | values))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260701", datetime(2026, 7, 1, tzinfo=UTC)),
        ("1775136600", datetime(2026, 4, 2, 13, 30, tzinfo=UTC)),
        ("20260402 09:30:00 US/Eastern", datetime(2026, 4, 2, 13, 30, tzinfo=UTC)),
        ("20200101-00:00:00", datetime(2020, 1, 1, tzinfo=UTC)),
        ("-631013400", datetime(1950, 1, 2, 14, 30, tzinfo=UTC)),
        ("345479400", datetime(1980, 12, 12, 14, 30, tzinfo=UTC)),
    ],
)
def test_every_form_of_a_time_is_read_as_utc(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    "text", ["", "yesterday", "20261301", "20260402  09:30:00", "20260402 09:30:00 Moon/Base", "9" * 30, "finished-x"]
)
def test_a_time_that_cannot_be_read_is_not_guessed(text: str) -> None:
    with pytest.raises(ProtocolError):
        moment(text)


def test_bars_come_oldest_first_with_missing_figures_as_zero() -> None:
    made = bars([raw("20260702"), raw("20260701", volume=-1.0, average=-1.0, barCount=-1)])
    assert [bar.start.day for bar in made] == [1, 2]
    assert (made[0].volume, made[0].wap, made[0].count) == (0.0, 0.0, 0)
    assert (made[1].open, made[1].high, made[1].low, made[1].close) == (1.0, 2.0, 0.5, 1.5)
    assert (made[1].volume, made[1].wap, made[1].count) == (100.0, 1.2, 3)


def test_the_end_goes_on_the_wire_in_utc() -> None:
    newyork = timezone(timedelta(hours=-4))
    request = HistoryRequest(
        contract=AAPL, end=datetime(2026, 4, 2, 9, 30, tzinfo=newyork), duration="1 D", bar_size="1 min"
    )
    assert end_text(request) == "20260402-13:30:00"
    assert end_text(HistoryRequest(contract=AAPL, end=None, duration="1 D", bar_size="1 min")) == ""
    assert "AAPL" in describe(request)
    assert "1 min" in describe(request)
