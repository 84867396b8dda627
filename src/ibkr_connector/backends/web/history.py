"""Historical bars: what TWS calls them in the Web API's words, and its answers as bars.

The Web API gives a thousand bars at a time and says nothing of those it left out: where as many come, the older ones
are asked for too. It tells no averages and no counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.backends.web import convert
from ibkr_connector.errors import (
    HistoricalDataError,
    InvalidRequest,
    NoMarketData,
    NotSupportedByBackend,
    ProtocolError,
)
from ibkr_connector.models.market import Bar

MOST_BARS = 1000
MOST_PAGES = 100
_DURATION = re.compile(r"(\d{1,6}) ([SDWMY])")
_SIZE = re.compile(r"(\d{1,2}) (secs?|mins?|hours?|day|week|month)")
_UNITS = {"sec": "S", "min": "min", "hour": "h", "day": "d", "week": "w", "month": "m"}
SOURCES = {"TRADES": "trades", "MIDPOINT": "midpoint", "BID": "bid", "ASK": "ask", "BID_ASK": "bid_ask"}
_LONG = frozenset({"d", "w", "m"})
_LEANING = timedelta(hours=8)
"""Daily bars carry the moment their session opens. Eight hours on it is the day the session is called by, wherever it
trades: New York opens at 14:30 UTC, Chicago's futures at 23:00 of the day before, Tokyo at midnight."""

Ask = Callable[[dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Query:
    """One request in the Web API's words."""

    period: str
    bar: str
    outside_rth: bool
    source: str
    last_seconds: int = 0
    """Only so many seconds at the end are wanted of the period; 0 = all."""

    @property
    def is_long(self) -> bool:
        """Whether bars are days or longer."""
        return self.bar[-1] in _LONG and not self.bar.endswith("min")

    def parameters(self, con_id: int, end: datetime | None) -> dict[str, Any]:
        """As they are sent. `startTime` is where the period ends: it goes back from there."""
        found: dict[str, Any] = {
            "conid": con_id,
            "period": self.period,
            "bar": self.bar,
            "outsideRth": self.outside_rth,
            "source": self.source,
        }
        if end is not None:
            found["startTime"] = f"{end.astimezone(UTC):%Y%m%d-%H:%M:%S}"
        return found


def query(request: HistoryRequest) -> Query:
    """The request in the Web API's words.

    Raises:
        InvalidRequest: duration or bar size is none.
        NotSupportedByBackend: the Web API has no such kind of data.
    """
    kind = request.what_to_show.upper()
    if kind not in SOURCES:
        raise NotSupportedByBackend(f"the Web API has no {kind} bars: {', '.join(SOURCES)}.")
    duration, size = _DURATION.fullmatch(request.duration), _SIZE.fullmatch(request.bar_size)
    if duration is None or int(duration[1]) == 0:
        raise InvalidRequest(
            f"duration={request.duration!r} is none.",
            field="duration",
            value=request.duration,
            legal="1 D, 3600 S",
        )
    if size is None:
        raise InvalidRequest(
            f"bar_size={request.bar_size!r} is none.", field="bar_size", value=request.bar_size, legal="5 mins, 1 day"
        )
    bar = f"{size[1]}{_UNITS[size[2].removesuffix('s')]}"
    count, unit = int(duration[1]), duration[2]
    period, last = f"{count}{unit.lower()}", 0
    if unit == "S":
        period, last = _seconds(count)
    return Query(period, bar, not request.use_rth, SOURCES[kind], last)


def _seconds(count: int) -> tuple[str, int]:
    """A period that holds so many seconds, and how many of them are wanted (0: all)."""
    if count % 3600 == 0 and count <= 8 * 3600:
        return f"{count // 3600}h", 0
    if count % 60 == 0 and count <= 30 * 60:
        return f"{count // 60}min", 0
    return f"{max(1, math.ceil(count / 86_400))}d", count


async def fetch(request: HistoryRequest, con_id: int, ask: Ask) -> list[Bar]:
    """All bars of a request, oldest first; as many requests as it takes."""
    wanted = query(request)
    found = await _page(wanted, con_id, request.end, ask)
    if len(found) >= MOST_BARS:
        found = await _older(wanted, con_id, request.end, found, ask)
    if wanted.last_seconds and found:
        begin = found[-1].start + timedelta(seconds=_bar_seconds(wanted.bar) - wanted.last_seconds)
        found = [bar for bar in found if bar.start >= begin]
    return found


async def _older(wanted: Query, con_id: int, end: datetime | None, found: list[Bar], ask: Ask) -> list[Bar]:
    """The bars before those of the first page, back to where the period begins."""
    daily = Query(wanted.period, "1d", wanted.outside_rth, wanted.source)
    begin = await _beginning(daily, con_id, end, ask)
    bars = {bar.start: bar for bar in found}
    for _ in range(MOST_PAGES):
        oldest = min(bars)
        if oldest <= begin:
            break
        try:
            page = await _page(wanted, con_id, oldest, ask)
        except NoMarketData:
            break
        fresh = [bar for bar in page if bar.start < oldest]
        if not fresh:
            break
        bars.update((bar.start, bar) for bar in fresh)
    else:
        raise HistoricalDataError(
            f"{request_text(wanted)} has more bars than can be asked for.", remedy="Ask for less at a time."
        )
    return [bars[start] for start in sorted(bars) if start >= begin]


async def _beginning(daily: Query, con_id: int, end: datetime | None, ask: Ask) -> datetime:
    rows = _rows(await ask(daily.parameters(con_id, end)))
    starts = [moment for row in rows if (moment := convert.moment(row.get("t"))) is not None]
    if not starts:
        raise NoMarketData("there are no bars in this period.")
    return min(starts)


async def _page(wanted: Query, con_id: int, end: datetime | None, ask: Ask) -> list[Bar]:
    body = await ask(wanted.parameters(con_id, end))
    factor = convert.decimal(body.get("volumeFactor")) if isinstance(body, dict) else None
    made = [_bar(row, float(factor or 1), long=wanted.is_long) for row in _rows(body)]
    return sorted(made, key=lambda bar: bar.start)


def _rows(body: Any) -> list[convert.Row]:
    if not isinstance(body, dict):
        raise ProtocolError("the answer of the history service is no object.")
    return convert.rows(body.get("data"), "history")


def _bar(row: convert.Row, factor: float, *, long: bool) -> Bar:
    start = convert.moment(row.get("t"))
    prices = [convert.decimal(row.get(name)) for name in ("o", "h", "l", "c")]
    if start is None or None in prices:
        raise ProtocolError("a bar of the history service has no time or price.")
    if long:
        day = start + _LEANING
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    opened, high, low, close = (float(price) for price in prices if price is not None)
    volume = convert.decimal(row.get("v"))
    return Bar(
        start=start,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=max(0.0, float(volume) * factor) if volume is not None else 0.0,
    )


def _bar_seconds(bar: str) -> int:
    unit = bar.lstrip("0123456789")
    return int(bar[: -len(unit)]) * {"S": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000}[unit]


def request_text(wanted: Query) -> str:
    """For people."""
    return f"{wanted.period} of {wanted.bar} bars"
