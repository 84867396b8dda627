"""What a historical data request may ask for, checked in the order a gateway checks it, and the time it covers. Pure.

The words of the refusals and the order of the checks are those of real gateways.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .. import sessions
from ..instruments import Instrument
from ..market.base import BarSize, What
from . import texts
from .contracts import WireContract
from .request_times import RequestTime, parse_request_time
from .texts import Error

BAR_SIZES: Final[dict[str, BarSize]] = {
    "1 secs": 1, "5 secs": 5, "10 secs": 10, "15 secs": 15, "30 secs": 30, "1 min": 60, "2 mins": 120,
    "3 mins": 180, "5 mins": 300, "10 mins": 600, "15 mins": 900, "20 mins": 1200, "30 mins": 1800,
    "1 hour": 3600, "2 hours": 7200, "3 hours": 10800, "4 hours": 14400, "8 hours": 28800, "1 day": "day",
    "1W": "week", "1M": "month",
}  # fmt: skip
_OTHER_NAMES: Final = {"1 w": "1W", "1w": "1W", "1 week": "1W", "1 m": "1M", "1m": "1M", "1 month": "1M"}

_LABELS: Final = {
    "TRADES": "Trades", "MIDPOINT": "Midpoint", "BID": "Bid", "ASK": "Ask", "BID_ASK": "Bid/Ask",
    "ADJUSTED_LAST": "Adjusted Last",
}  # fmt: skip
"""How the historical data service names what is shown."""
_SERVED: Final[dict[str, What]] = {
    "TRADES": "TRADES", "MIDPOINT": "MIDPOINT", "BID": "BID", "ASK": "ASK", "BID_ASK": "BID_ASK",
    "ADJUSTED_LAST": "ADJUSTED_LAST",
}  # fmt: skip
_KNOWN_TO_IBKR: Final = frozenset(
    {
        "HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY", "FEE_RATE", "REBATE_RATE", "YIELD_BID", "YIELD_ASK",
        "YIELD_BID_ASK", "YIELD_LAST", "AGGTRADES", "AVERAGE_BROKER_RATE",
    }
)  # fmt: skip
SCHEDULE: Final = "SCHEDULE"
_LIVE: Final = frozenset({"TRADES", "MIDPOINT", "BID", "ASK"})

SMALL_BAR: Final = 30
"""Seconds: bars up to this size are paced."""
_ONE_SECOND_LIMIT: Final = 2000
"""Bars of one second go back at most this many seconds."""
_DAY_SECONDS: Final = 86_400

_DURATION: Final = re.compile(r"([0-9]+) ([SDWMY])")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """reqHistoricalData as it came."""

    request_id: int
    contract: WireContract
    end_text: str
    bar_size: str
    duration: str
    use_rth: bool
    what: str
    format_date: int
    keep_up_to_date: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """A request that makes sense."""

    size: BarSize
    what: What | None
    """None = SCHEDULE."""
    count: int
    unit: str
    """S, D, W, M or Y."""
    end: RequestTime | None
    """None = now."""

    @property
    def is_intraday(self) -> bool:
        """Whether bars carry a time of day."""
        return isinstance(self.size, int)

    @property
    def is_paced(self) -> bool:
        """Whether the pacing rules of small bars apply."""
        return isinstance(self.size, int) and self.size <= SMALL_BAR


class BadRequest(Exception):
    """The request is refused with this error."""

    def __init__(self, error: Error) -> None:
        super().__init__(error[1])
        self.error = error


def check(request: HistoryRequest, now: datetime) -> HistoryQuery:
    """Validate a request; BadRequest carries the gateway's refusal."""
    end = parse_request_time(request.end_text, now)
    if request.end_text.strip() and end is None:
        raise BadRequest(texts.INVALID_DATE)
    count, unit = parse_duration(request.duration)
    what = request.what.upper()
    if what == "ADJUSTED_LAST" and end is not None:
        raise _refused("End date not supported with adjusted last")
    size = _bar_size(request.bar_size)
    if what == "ADJUSTED_LAST" and size in {"week", "month"}:
        raise _refused("Multi day bar size not supported with adjusted last")
    if what not in _SERVED and what not in _KNOWN_TO_IBKR and what != SCHEDULE:
        raise _refused(f"Invalid source price '{request.what}'")
    if request.format_date not in {1, 2, 3}:
        raise _refused(f"Date formatting selection of {request.format_date} rejected.")
    if request.keep_up_to_date:
        if end is not None:
            raise _refused("End date not supported with live updates")
        if request.contract.is_combo:
            raise _refused("Live updates for combos are not supported")
        if what not in _LIVE:
            raise _refused("Source price not supported with live updates")
    if what == SCHEDULE and size != "day":
        raise _refused("Only daily resolution supported for Schedule requests")
    if what in _KNOWN_TO_IBKR:
        raise BadRequest(no_data(request.contract.symbol, request.contract.exchange, what))
    query = HistoryQuery(size=size, what=None if what == SCHEDULE else _SERVED[what], count=count, unit=unit, end=end)
    if _too_long(query):
        raise BadRequest(texts.history_service("Time length exceed max."))
    return query


def parse_duration(text: str) -> tuple[int, str]:
    """`30 D` as (30, "D"); a bare number is seconds. Raises BadRequest with the gateway's words."""
    if not text:
        raise _refused("Historical data request duration not specified.")
    match = _DURATION.fullmatch(f"{text} S" if text.isdecimal() else text.upper())
    if match is None:
        raise _refused(
            "When specifying a unit, historical data request duration format is integer{SPACE}unit (S|D|W|M|Y)."
        )
    count, unit = int(match[1]), match[2]
    if count < 1 or (unit == "S" and count < 30) or count > 2**31:
        raise _refused("Historical data requested duration is invalid.")
    if unit == "S" and count > _DAY_SECONDS:
        raise _refused("Historical data request for greater than 86400 seconds rejected.")
    if unit == "D" and count > 365:
        raise _refused("Historical data requests for durations longer than 365 days must be made in years.")
    if unit == "W" and count > 52:
        raise _refused("Historical data request for durations longer than 52 weeks must be made in years.")
    if unit == "M" and count > 12:
        raise _refused("Historical data request for durations longer than 12 months must be made in years.")
    if unit == "Y" and count > 100:
        raise _refused("Historical data requested duration is invalid.")
    return count, unit


def window(query: HistoryQuery, item: Instrument, now: datetime, *, use_rth: bool) -> tuple[datetime, datetime]:
    """The time the query covers, never beyond `now`.

    Seconds count back from the last trading moment, days are trading sessions, weeks, months and years begin with the
    first session after the same date so long ago (see `sessions.calendar_back`).
    """
    end = now if query.end is None else min(query.end.at, now)
    if query.unit == "D":
        return sessions.sessions_back(item, end, query.count, use_rth), end
    if query.unit == "S":
        session = sessions.last_session(item, end)
        opens, closes = session.bounds(use_rth)
        if end <= opens:
            closes = sessions.previous_session(item, session.day).bounds(use_rth)[1]
        end = min(end, closes)
        return end - timedelta(seconds=query.count), end
    return sessions.calendar_back(item, end, query.count, query.unit, use_rth=use_rth), end


def no_data(symbol: str, exchange: str, what: str) -> Error:
    """Error 162 for a query without a result."""
    label = _LABELS.get(what, what.replace("_", " ").title())
    return texts.history_service(f"HMDS query returned no data: {symbol}@{exchange or 'SMART'} {label}")


def _bar_size(text: str) -> BarSize:
    name = text.lower()
    size = BAR_SIZES.get(_OTHER_NAMES.get(name, name))
    if size is None:
        raise _refused(f"Historical data bar size setting is invalid. Legal ones are: {', '.join(BAR_SIZES)}")
    return size


def _too_long(query: HistoryQuery) -> bool:
    """Small bars go back a limited time; the rest is bounded by what a gateway serves at all."""
    if not isinstance(query.size, int):
        return False
    days = {"S": query.count / _DAY_SECONDS, "D": query.count, "W": 7 * query.count, "M": 31 * query.count}
    span = days.get(query.unit, 366.0 * query.count)
    if query.size == 1:
        return span * _DAY_SECONDS > _ONE_SECOND_LIMIT
    if query.size <= SMALL_BAR:
        return span > 1
    return query.size < 3600 and span > 366


def _refused(cause: str) -> BadRequest:
    return BadRequest(texts.invalid(cause, "bM"))
