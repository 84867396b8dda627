"""What IBKR would refuse is refused before it is sent."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ibkr_connector.errors import InvalidRequest
from ibkr_connector.history.request import history_request
from ibkr_connector.models.contract import Contract

AAPL = Contract.stock("AAPL")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1 min", "1 min"),
        ("1 mins", "1 min"),
        ("5 min", "5 mins"),
        ("1 day", "1 day"),
        ("1 Day", "1 day"),
        ("2 hour", "2 hours"),
        ("1 minute", "1 min"),
        ("30 sec", "30 secs"),
        ("1 week", "1 week"),
        ("1 month", "1 month"),
    ],
)
def test_near_misses_of_bar_sizes_are_understood(text: str, size: str) -> None:
    assert history_request(AAPL, duration="1 M", bar_size=text).bar_size == size


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"bar_size": "7 mins"}, "bar_size"),
        ({"bar_size": "fast"}, "bar_size"),
        ({"bar_size": 5}, "bar_size"),
        ({"duration": "0 D"}, "duration"),
        ({"duration": "1 X"}, "duration"),
        ({"duration": "D 1"}, "duration"),
        ({"duration": "100000 S"}, "duration"),
        ({"duration": "30 S", "bar_size": "1 min"}, "duration"),
        ({"duration": None}, "duration"),
        ({"what_to_show": "EVERYTHING"}, "what_to_show"),
        ({"end": datetime(2026, 1, 5)}, "end"),  # noqa: DTZ001 - naive on purpose
        ({"end": datetime(2026, 1, 5, tzinfo=UTC), "what_to_show": "ADJUSTED_LAST"}, "end"),
    ],
)
def test_bad_argument_names_field_and_legal_values(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        history_request(AAPL, **{"duration": "1 D", "bar_size": "1 min", **arguments})  # type: ignore[arg-type]
    assert caught.value.context["field"] == field
    assert caught.value.context["legal"]


def test_currency_pairs_have_no_trades() -> None:
    pair = Contract.forex("EUR.USD")
    assert history_request(pair, duration="1 D", bar_size="1 min").what_to_show == "MIDPOINT"
    with pytest.raises(InvalidRequest):
        history_request(pair, duration="1 D", bar_size="1 min", what_to_show="TRADES")
