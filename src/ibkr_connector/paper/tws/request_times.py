"""Times as clients write them in requests: `yyyymmdd-hh:mm:ss` (UTC) or `[yyyymmdd ]hh:mm:ss[ zone]`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from .wire import HOME_ZONE

_UTC_FORM: Final = re.compile(r"([0-9]{8})-([0-9]{1,2}):([0-9]{2}):([0-9]{2})")
_ZONED_FORM: Final = re.compile(
    r"(?:([0-9]{8})\s+)?([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:\s+([^0-9\s].*))?"
)


@dataclass(frozen=True, slots=True)
class RequestTime:
    """A moment a client named."""

    at: datetime
    implied_zone: bool
    """No zone was written; the gateway's own was used (IBKR warns with 2174)."""


def parse_request_time(text: str, now: datetime) -> RequestTime | None:
    """Read a client's time; None for an empty text and for one a gateway cannot read."""
    text = text.strip()
    match = _UTC_FORM.fullmatch(text)
    if match is not None:
        at = _combine(match[1], match[2], match[3], match[4], UTC)
        return None if at is None else RequestTime(at, implied_zone=False)
    match = _ZONED_FORM.fullmatch(text)
    if match is None:
        return None
    zone = HOME_ZONE if match[5] is None else _zone(match[5].strip())
    if zone is None:
        return None
    date_text = match[1] or f"{now.astimezone(zone):%Y%m%d}"
    at = _combine(date_text, match[2], match[3], match[4], zone)
    return None if at is None else RequestTime(at, implied_zone=match[5] is None)


def _combine(date_text: str, hour: str, minute: str, second: str, zone: tzinfo) -> datetime | None:
    try:
        first = datetime(int(date_text[:4]), int(date_text[4:6]), 1, int(hour), int(minute), int(second), tzinfo=zone)
    except ValueError:
        return None
    day = int(date_text[6:])
    if not 1 <= day <= 31:
        return None
    # A day past the end of its month runs into the next one, as in the gateway's own calendar.
    return (first + timedelta(days=day - 1)).astimezone(UTC)


def _zone(name: str) -> ZoneInfo | None:
    if name.upper() in {"UTC", "GMT"}:
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
