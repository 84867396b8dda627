"""When a contract trades: IBKR's own text, cross-checked with exchange_calendars.

IBKR writes hours in two forms, in the contract's time zone (`timeZoneId`):

    20260406:0930-20260406:1600;20260407:CLOSED          since TWS 970
    20090507:0700-1830,1830-2330;20090508:CLOSED         before

In the old form a range belongs to the day before it; one that ends before it starts began on the evening before.
"""

from __future__ import annotations

import bisect
import functools
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ibkr_connector.models.contract import Contract, ContractDetails

# What IBKR wrote, or still writes, where the time-zone database knows nothing or means something else: its "EST" has
# no summer time, IBKR's is New York.
_ZONES = {
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "EST5EDT": "America/New_York",
    "CST": "America/Chicago",
    "CDT": "America/Chicago",
    "CST6CDT": "America/Chicago",
    "MST": "America/Denver",
    "PST": "America/Los_Angeles",
    "PST8PDT": "America/Los_Angeles",
    "BST": "Europe/London",
    "GB": "Europe/London",
    "MET": "Europe/Berlin",
    "MEZ": "Europe/Berlin",
    "CET": "Europe/Berlin",
    "EET": "Europe/Helsinki",
    "JST": "Asia/Tokyo",
    "HKT": "Asia/Hong_Kong",
    "AET": "Australia/Sydney",
    "AEST": "Australia/Sydney",
    "NET": "Asia/Yerevan",
    "IST": "Asia/Kolkata",
    "KST": "Asia/Seoul",
    "SGT": "Asia/Singapore",
}

_RANGE = re.compile(r"(?:(\d{8}):)?(\d{4})-(?:(\d{8}):)?(\d{4})")
_DAY = re.compile(r"(\d{8}):(.*)")

_CALENDARS = {
    **dict.fromkeys(
        ("NYSE", "NASDAQ", "ISLAND", "ARCA", "AMEX", "BATS", "IEX", "PINK", "BYX", "EDGEA", "DRCTEDGE"), "XNYS"
    ),
    "LSE": "XLON",
    "LSEETF": "XLON",
    "IBIS": "XETR",
    "IBIS2": "XETR",
    "SBF": "XPAR",
    "AEB": "XAMS",
    "ENEXT.BE": "XBRU",
    "EBS": "XSWX",
    "BVME": "XMIL",
    "BM": "XMAD",
    "SFB": "XSTO",
    "TSEJ": "XTKS",
    "SEHK": "XHKG",
    "ASX": "XASX",
    "TSE": "XTSE",
    "KSE": "XKRX",
    "SGX": "XSES",
}


class HoursUnreadable(ValueError):
    """The broker's text about hours has an unknown form or time zone."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sorted, disjoint sessions [start, end) in UTC, and the span of time about which they say everything."""

    starts: tuple[datetime, ...]
    ends: tuple[datetime, ...]
    known_from: datetime
    known_until: datetime

    @classmethod
    def of(cls, sessions: Iterable[tuple[datetime, datetime]], known_from: datetime, known_until: datetime) -> Sessions:
        """From any order; sessions that touch or overlap become one."""
        merged: list[list[datetime]] = []
        for start, end in sorted(sessions):
            if merged and start <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([start, end])
        return cls(tuple(s for s, _ in merged), tuple(e for _, e in merged), known_from, known_until)

    def covers(self, moment: datetime) -> bool:
        """Whether anything is known about `moment`."""
        return self.known_from <= moment < self.known_until

    def is_open(self, moment: datetime) -> bool:
        """Whether `moment` lies in a session."""
        index = bisect.bisect_right(self.starts, moment) - 1
        return index >= 0 and moment < self.ends[index]

    def next_open(self, moment: datetime) -> datetime | None:
        """The start of the first session after `moment`, if one is known."""
        index = bisect.bisect_right(self.starts, moment)
        return self.starts[index] if index < len(self.starts) else None


def time_zone(zone_id: str) -> ZoneInfo:
    """The zone that IBKR's `timeZoneId` means (`US/Eastern`, `EST (Eastern Standard Time)`, `JST` …)."""
    name = zone_id.split("(", maxsplit=1)[0].strip()
    try:
        return ZoneInfo(_ZONES.get(name, name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise HoursUnreadable(f"the time zone {zone_id!r} is not known") from None


def parse_hours(text: str, zone_id: str) -> Sessions | None:
    """Read IBKR's text (both forms). None when it is empty; `HoursUnreadable` when it has another form."""
    days = [part.strip() for part in text.split(";") if part.strip()]
    if not days:
        return None
    zone = time_zone(zone_id)
    sessions: list[tuple[datetime, datetime]] = []
    dates: list[date] = []
    for part in days:
        found = _DAY.fullmatch(part)
        if found is None:
            raise HoursUnreadable(f"{part!r} is no day of trading hours")
        day = _date(found[1], part)
        dates.append(day)
        if found[2].strip().upper() == "CLOSED":
            continue
        for piece in found[2].split(","):
            start, end = _range(piece.strip(), day, part)
            sessions.append((_at(start, zone), _at(end, zone)))
    first, last = min(dates), max(dates)
    known_from = _at(datetime.combine(first, time()), zone)
    known_until = _at(datetime.combine(last + timedelta(days=1), time()), zone)
    known_from = min([known_from, *(start for start, _ in sessions)])
    return Sessions.of(sessions, known_from, max([known_until, *(end for _, end in sessions)]))


def _range(piece: str, day: date, part: str) -> tuple[datetime, datetime]:
    found = _RANGE.fullmatch(piece)
    if found is None:
        raise HoursUnreadable(f"{piece!r} in {part!r} is no range of hours")
    start_day = _date(found[1], part) if found[1] else day
    end_day = _date(found[3], part) if found[3] else day
    start, end = _moment(start_day, found[2], part), _moment(end_day, found[4], part)
    if end <= start and not found[3]:
        start -= timedelta(days=1)
    if end <= start:
        raise HoursUnreadable(f"{piece!r} in {part!r} ends before it starts")
    return start, end


def _date(digits: str, part: str) -> date:
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        raise HoursUnreadable(f"{digits!r} in {part!r} is no date") from None


def _moment(day: date, clock: str, part: str) -> datetime:
    hours, minutes = int(clock[:2]), int(clock[2:])
    if hours > 24 or minutes > 59 or (hours == 24 and minutes):
        raise HoursUnreadable(f"{clock!r} in {part!r} is no time of day")
    return datetime.combine(day, time()) + timedelta(hours=hours, minutes=minutes)


def _at(local: datetime, zone: ZoneInfo) -> datetime:
    return local.replace(tzinfo=zone).astimezone(UTC)


# --- the second opinion ----------------------------------------------------------------------------------------------


def calendar_name(contract: Contract) -> str:
    """The exchange_calendars name for a stock's regular hours; empty when there is none to compare with.

    Stocks only: the regular hours of derivatives differ by product.
    """
    if contract.sec_type != "STK":
        return ""
    venue = contract.primary_exchange or contract.exchange
    if venue in _CALENDARS:
        return _CALENDARS[venue]
    return "XNYS" if venue in {"SMART", ""} and contract.currency == "USD" else ""


@functools.lru_cache(maxsize=64)
def calendar_sessions(name: str, around: date, days: int = 10) -> Sessions:
    """The regular sessions of an exchange for `days` before and after `around`, half-days and breaks included.

    The first call imports exchange_calendars and pandas (about half a second): make it in a worker thread.
    """
    import exchange_calendars

    first, last = around - timedelta(days=days), around + timedelta(days=days)
    with warnings.catch_warnings():
        # pandas tells how the calendar's author could be faster: no news for whoever trades.
        warnings.filterwarnings("ignore", message="Non-vectorized DateOffset")
        calendar: Any = exchange_calendars.get_calendar(name, start=first.isoformat(), end=last.isoformat())
    sessions: list[tuple[datetime, datetime]] = []
    for row in calendar.schedule.itertuples(index=False):
        opened, closed = row.open.to_pydatetime(), row.close.to_pydatetime()
        if row.break_start == row.break_start:  # NaT is the value that does not equal itself
            sessions += [(opened, row.break_start.to_pydatetime()), (row.break_end.to_pydatetime(), closed)]
        else:
            sessions.append((opened, closed))
    zone = ZoneInfo(str(calendar.tz))
    known_from = _at(datetime.combine(first, time()), zone)
    return Sessions.of(sessions, known_from, _at(datetime.combine(last + timedelta(days=1), time()), zone))


@dataclass(frozen=True, slots=True)
class HoursVerdict:
    """Whether the contract trades at a moment, and on whose word."""

    open: bool | None
    """None = nobody knows."""
    source: str
    next_open: datetime | None = None
    disputed: bool = False
    """IBKR and the exchange calendar disagree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketHours:
    """A contract's hours from both sources. None = that source says nothing."""

    trading: Sessions | None = None
    """With pre- and post-market."""
    liquid: Sessions | None = None
    """Regular hours."""
    calendar: Sessions | None = None
    """Regular hours by exchange_calendars."""

    @classmethod
    def of(cls, details: ContractDetails, calendar: Sessions | None = None) -> MarketHours:
        """From contract details. Unreadable text counts as none: the calendar speaks then, or nobody."""
        return cls(
            trading=_readable(details.trading_hours, details.time_zone_id),
            liquid=_readable(details.liquid_hours, details.time_zone_id),
            calendar=calendar,
        )

    def at(self, moment: datetime, *, outside_rth: bool) -> HoursVerdict:
        """Whether an order can trade at `moment`: in regular hours, or with `outside_rth` in all trading hours.

        The calendar knows regular hours only: it is the fallback where IBKR's text is missing or does not reach to
        `moment`, and the second opinion on regular hours.
        """
        own = self.trading if outside_rth else self.liquid
        calendar = self.calendar if self.calendar is not None and self.calendar.covers(moment) else None
        if own is None or not own.covers(moment):
            if calendar is None:
                return HoursVerdict(None, "none")
            return HoursVerdict(calendar.is_open(moment), "exchange_calendars", calendar.next_open(moment))
        opened = own.is_open(moment)
        disputed = not outside_rth and calendar is not None and calendar.is_open(moment) is not opened
        return HoursVerdict(opened, "IBKR", own.next_open(moment), disputed)


def _readable(text: str, zone_id: str) -> Sessions | None:
    try:
        return parse_hours(text, zone_id)
    except HoursUnreadable:
        return None
