"""Historical data: what is asked for, and the library's bars as ours.

Bars are asked for with formatDate=2: intraday bars then carry seconds since 1970, daily and longer ones `yyyymmdd`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.backends.tws.orders import utc_text
from ibkr_connector.errors import ProtocolError
from ibkr_connector.models.market import Bar

FORMAT_EPOCH = 2
_DATE_DIGITS = 8
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def end_text(request: HistoryRequest) -> str:
    """The request's end for the wire: empty means now."""
    return "" if request.end is None else utc_text(request.end)


def describe(request: HistoryRequest) -> str:
    """What was asked, for people."""
    until = "now" if request.end is None else f"{request.end:%Y-%m-%d %H:%M %Z}"
    name = request.contract.symbol or str(request.contract.con_id)
    return f"{request.what_to_show} bars of {name}, {request.duration} of {request.bar_size} to {until}"


def moment(text: str) -> datetime:
    """A date or time of the history service as UTC.

    Seconds since 1970; `yyyymmdd` (midnight UTC of that date); `yyyymmdd-hh:mm:ss` (UTC); or with a zone's name,
    `yyyymmdd hh:mm:ss Zone/Name`.

    Raises:
        ProtocolError: none of these (a time without a zone is not guessed at).
    """
    try:
        if text.isdigit() and len(text) != _DATE_DIGITS:
            return _EPOCH + timedelta(seconds=int(text))
        if text.isdigit():
            return datetime(int(text[:4]), int(text[4:6]), int(text[6:8]), tzinfo=UTC)
        if text.removeprefix("-").isdigit():
            return _EPOCH - timedelta(seconds=int(text[1:]))
        words = text.split()
        if len(words) == 1:
            return datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
        day, clock, zone = words
        told = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - the zone comes next
        return told.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except (ValueError, KeyError, OverflowError, OSError) as error:
        raise ProtocolError(f"cannot read the time {text!r} of the history service.") from error


def bars(raw: list[Any]) -> list[Bar]:
    """The library's bars as ours, oldest first. -1 for volume, average and count means that there is none."""
    made = [
        Bar(
            start=moment(bar.date),
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            volume=bar.volume if bar.volume > 0 else 0.0,
            wap=bar.average if bar.average > 0 else 0.0,
            count=max(bar.barCount, 0),
        )
        for bar in raw
    ]
    if any(later.start < earlier.start for earlier, later in pairwise(made)):
        made.sort(key=lambda bar: bar.start)
    return made
