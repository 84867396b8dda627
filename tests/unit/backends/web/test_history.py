"""History requests in the Web API's words, and answers that are too long for one page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.backends.web import history
from ibkr_connector.errors import HistoricalDataError, InvalidRequest, NotSupportedByBackend, ProtocolError
from ibkr_connector.models.contract import Contract

END = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)


def request(duration: str = "1 D", bar_size: str = "5 mins", **keys: Any) -> HistoryRequest:
    return HistoryRequest(contract=Contract(con_id=1), end=END, duration=duration, bar_size=bar_size, **keys)


@pytest.mark.parametrize(
    ("duration", "size", "period", "bar", "last"),
    [
        ("1 D", "5 mins", "1d", "5min", 0),
        ("2 W", "1 hour", "2w", "1h", 0),
        ("3 M", "1 day", "3m", "1d", 0),
        ("1 Y", "1 week", "1y", "1w", 0),
        ("1 Y", "1 month", "1y", "1m", 0),
        ("3600 S", "30 secs", "1h", "30S", 0),
        ("1800 S", "1 min", "30min", "1min", 0),
        ("5400 S", "1 min", "1d", "1min", 5400),
        ("90 S", "30 secs", "1d", "30S", 90),
        ("100000 S", "1 hour", "2d", "1h", 100_000),
    ],
)
def test_a_duration_has_its_word(duration: str, size: str, period: str, bar: str, last: int) -> None:
    made = history.query(request(duration, size))
    assert (made.period, made.bar, made.last_seconds) == (period, bar, last)


@pytest.mark.parametrize(("duration", "size"), [("0 D", "1 day"), ("1 X", "1 day"), ("1 D", "7 moons"), ("", "1 day")])
def test_what_is_none_is_refused(duration: str, size: str) -> None:
    with pytest.raises(InvalidRequest):
        history.query(request(duration, size))


def test_a_kind_of_data_that_is_not_there_is_said() -> None:
    with pytest.raises(NotSupportedByBackend, match="ADJUSTED_LAST"):
        history.query(request(what_to_show="ADJUSTED_LAST"))


class Service:
    """Minute bars without end, a thousand at a time."""

    def __init__(self, begin: datetime, *, moves: bool = True) -> None:
        self.begin = begin
        self.asked: list[dict[str, Any]] = []
        self._moves = moves

    async def __call__(self, parameters: dict[str, Any]) -> Any:
        self.asked.append(parameters)
        if parameters["bar"] == "1d":
            return {"data": [row(self.begin)]}
        end = datetime.strptime(parameters["startTime"], "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC) if self._moves else END
        starts = [end - timedelta(minutes=number) for number in range(history.MOST_BARS, 0, -1)]
        return {"data": [row(start) for start in starts], "volumeFactor": 100}


def row(start: datetime) -> dict[str, Any]:
    return {"o": 1, "h": "2", "l": 0.5, "c": 1.5, "v": 3, "t": int(start.timestamp() * 1000)}


async def test_a_long_answer_is_asked_for_page_by_page_back_to_where_it_begins() -> None:
    service = Service(END - timedelta(minutes=2_500))
    bars = await history.fetch(request("2 D", "1 min"), 1, service)
    assert len(bars) == 2_500
    assert [later.start - earlier.start for earlier, later in pairwise(bars)] == [timedelta(minutes=1)] * 2_499
    assert bars[0].volume == 300.0
    assert len(service.asked) == 4


async def test_a_service_that_gives_the_same_page_again_ends_it() -> None:
    service = Service(END - timedelta(days=30), moves=False)
    assert len(await history.fetch(request("2 D", "1 min"), 1, service)) == history.MOST_BARS
    assert len(service.asked) == 3


async def test_more_pages_than_anybody_waits_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_PAGES", 3)
    with pytest.raises(HistoricalDataError, match="Ask for less"):
        await history.fetch(request("2 D", "1 min"), 1, Service(END - timedelta(days=300)))


async def test_only_the_seconds_that_were_asked_for_come() -> None:
    async def ask(parameters: dict[str, Any]) -> Any:
        return {"data": [row(END - timedelta(seconds=30 * number)) for number in range(1, 20)]}

    bars = await history.fetch(request("90 S", "30 secs"), 1, ask)
    assert [bar.start for bar in bars] == [END - timedelta(seconds=seconds) for seconds in (90, 60, 30)]


@pytest.mark.parametrize(
    ("opens", "day"),
    [
        ("2026-11-20T14:30", 20),  # New York
        ("2026-11-19T23:00", 20),  # Chicago's futures begin on the evening before
        ("2026-11-20T00:00", 20),  # Tokyo
        ("2026-11-19T22:15", 20),  # currencies
    ],
)
async def test_a_daily_bar_has_the_date_of_its_session(opens: str, day: int) -> None:
    start = datetime.fromisoformat(opens).replace(tzinfo=UTC)

    async def ask(parameters: dict[str, Any]) -> Any:
        return {"data": [row(start)]}

    bars = await history.fetch(request("1 W", "1 day"), 1, ask)
    assert bars[0].start == datetime(2026, 11, day, tzinfo=UTC)


@pytest.mark.parametrize("body", [[], {}, {"data": {}}, {"data": [{"o": 1}]}, {"data": [{**row(END), "c": "x"}]}])
async def test_nonsense_is_a_protocol_error(body: Any) -> None:
    async def ask(parameters: dict[str, Any]) -> Any:
        return body

    with pytest.raises(ProtocolError):
        await history.fetch(request(), 1, ask)
