"""When each market trades, and IBKR's way of writing it down.

Three calendars. `XNYS`: NYSE days and half days from exchange_calendars, with pre-market from 04:00 and after hours
until 20:00 New York (17:00 on half days). `FX`: Sunday 17:15 to Friday 17:00 New York with a break of 15 minutes
at 17:00. `CME`: Sunday 18:00 to Friday 17:00 New York, closed between 17:00 and 18:00; New York's holidays shorten
or close it. A session is named by the date it ends on; FX and CME sessions begin the evening before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from .instruments import Instrument

NEW_YORK = ZoneInfo("America/New_York")
ONE_DAY = timedelta(days=1)

_CALENDAR_FIRST = date(1990, 1, 1)
_CALENDAR_LAST = date(2045, 12, 31)
"""Bounds of the exact NYSE calendar; beyond them every weekday is a full session."""
_SEARCH_DAYS = 15
"""No market here closes for longer than this (the longest since 1990: a week in September 2001)."""


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day of one calendar. All times aware UTC; ranges include their start and exclude their end."""

    day: date
    start: datetime
    end: datetime
    rth_start: datetime
    rth_end: datetime

    def bounds(self, use_rth: bool) -> tuple[datetime, datetime]:
        """The regular (liquid) hours, or the whole session."""
        return (self.rth_start, self.rth_end) if use_rth else (self.start, self.end)


# --- the calendars -------------------------------------------------------------------------------------------------


@cache
def _nyse_closes() -> dict[date, time]:
    """Close of every NYSE session, New York time. One read of exchange_calendars (it imports pandas: lazily)."""
    with warnings.catch_warnings():
        # Its quarrels with newer pandas are nothing a user of ours could act on.
        warnings.simplefilter("ignore")
        import exchange_calendars

        calendar = exchange_calendars.get_calendar("XNYS", start=_CALENDAR_FIRST, end=_CALENDAR_LAST)
        closes = calendar.closes.dt.tz_convert(NEW_YORK)
    return {day.date(): close.time() for day, close in zip(closes.index, closes, strict=True)}


def _nyse_close(day: date) -> time | None:
    if _CALENDAR_FIRST <= day <= _CALENDAR_LAST:
        return _nyse_closes().get(day)
    return time(16) if day.weekday() < 5 else None


def _new_york(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), NEW_YORK).astimezone(UTC)


def _nyse_session(day: date) -> Session | None:
    close = _nyse_close(day)
    if close is None:
        return None
    early = close < time(16)
    return Session(
        day=day,
        start=_new_york(day, 4),
        end=_new_york(day, 17 if early else 20),
        rth_start=_new_york(day, 9, 30),
        rth_end=_new_york(day, close.hour, close.minute),
    )


def _index_session(day: date) -> Session | None:
    """Indices are computed while their market is open and never outside."""
    session = _nyse_session(day)
    if session is None:
        return None
    return Session(day, session.rth_start, session.rth_end, session.rth_start, session.rth_end)


def _fx_session(day: date) -> Session | None:
    if day.weekday() >= 5 or (day.month, day.day) in {(1, 1), (12, 25)}:
        return None
    start, end = _new_york(day - ONE_DAY, 17, 15), _new_york(day, 17)
    return Session(day, start, end, start, end)


def _cme_session(day: date) -> Session | None:
    if day.weekday() >= 5:
        return None
    close = _nyse_close(day)
    if close is None:
        year_end = (day.month, day.day) in {(12, 24), (12, 25), (12, 26), (12, 31), (1, 1), (1, 2)}
        good_friday = day.weekday() == 4 and day.month in {3, 4}
        if year_end or good_friday:
            return None
        end = _new_york(day, 13)
    elif close < time(16):
        end = _new_york(day, 13, 15)
    else:
        end = _new_york(day, 17)
    return Session(day, _new_york(day - ONE_DAY, 18), end, _new_york(day, 9, 30), end)


_RULES: dict[str, Callable[[date], Session | None]] = {
    "XNYS": _nyse_session,
    "XNYS-INDEX": _index_session,
    "FX": _fx_session,
    "CME": _cme_session,
}


@lru_cache(maxsize=65_536)
def calendar_session(calendar: str, day: date) -> Session | None:
    """The session of a calendar on a date, or None when it is closed that day."""
    return _RULES[calendar](day)


def last_session_on_or_before(calendar: str, day: date) -> date:
    """The date of the last session not after `day`."""
    for back in range(_SEARCH_DAYS):
        candidate = day - timedelta(days=back)
        if calendar_session(calendar, candidate) is not None:
            return candidate
    raise LookupError(f"calendar {calendar} has no session in the {_SEARCH_DAYS} days up to {day}")


def next_session_on_or_after(calendar: str, day: date) -> date:
    """The date of the first session not before `day`."""
    for ahead in range(_SEARCH_DAYS):
        candidate = day + timedelta(days=ahead)
        if calendar_session(calendar, candidate) is not None:
            return candidate
    raise LookupError(f"calendar {calendar} has no session in the {_SEARCH_DAYS} days from {day}")


def calendar_of(instrument: Instrument) -> str:
    """The name of the calendar an instrument trades by."""
    return "XNYS-INDEX" if instrument.sec_type == "IND" else instrument.calendar


# --- questions about an instrument -----------------------------------------------------------------------------------


def session_of(instrument: Instrument, day: date) -> Session | None:
    """The instrument's session of that date, or None when it does not trade then."""
    return calendar_session(calendar_of(instrument), day)


def session_at(instrument: Instrument, at: datetime) -> Session | None:
    """The session that `at` lies in (regular hours or not), or None while closed."""
    # Evening sessions belong to the next date, and Friday 18:00 to no session: two dates are enough.
    day = at.astimezone(NEW_YORK).date()
    for candidate in (day, day + ONE_DAY):
        session = session_of(instrument, candidate)
        if session is not None and session.start <= at < session.end:
            return session
    return None


def next_session(instrument: Instrument, at: datetime) -> Session:
    """The session in progress at `at`, or the next to begin."""
    calendar = calendar_of(instrument)
    day = next_session_on_or_after(calendar, at.astimezone(NEW_YORK).date())
    session = _existing(calendar, day)
    if session.end <= at:
        session = _existing(calendar, next_session_on_or_after(calendar, day + ONE_DAY))
    return session


def last_session(instrument: Instrument, at: datetime) -> Session:
    """The session in progress at `at`, or the last that began before."""
    calendar = calendar_of(instrument)
    day = last_session_on_or_before(calendar, at.astimezone(NEW_YORK).date() + ONE_DAY)
    session = _existing(calendar, day)
    while session.start > at:
        session = _existing(calendar, last_session_on_or_before(calendar, session.day - ONE_DAY))
    return session


def previous_session(instrument: Instrument, day: date) -> Session:
    """The last session before the date `day`."""
    calendar = calendar_of(instrument)
    return _existing(calendar, last_session_on_or_before(calendar, day - ONE_DAY))


def following_session(instrument: Instrument, day: date) -> Session:
    """The first session after the date `day`."""
    calendar = calendar_of(instrument)
    return _existing(calendar, next_session_on_or_after(calendar, day + ONE_DAY))


def session_date(instrument: Instrument, at: datetime) -> date:
    """The trading date orders and profits at `at` count for: the session in progress or, while closed, the next."""
    return next_session(instrument, at).day


def is_open(instrument: Instrument, at: datetime, outside_rth: bool = False) -> bool:
    """Whether the instrument trades at `at`: in regular hours, or in any hours when `outside_rth`."""
    session = session_at(instrument, at)
    if session is None:
        return False
    return outside_rth or session.rth_start <= at < session.rth_end


def next_open(instrument: Instrument, at: datetime, outside_rth: bool = False) -> datetime:
    """The first moment from `at` on at which the instrument trades; `at` itself when it is open."""
    session = next_session(instrument, at)
    start, end = session.bounds(use_rth=not outside_rth)
    if at >= end:
        start, _ = following_session(instrument, session.day).bounds(use_rth=not outside_rth)
    return max(at, start)


def next_close(instrument: Instrument, at: datetime, outside_rth: bool = False) -> datetime:
    """The end of the trading hours `at` lies in, or of the next ones while closed."""
    opens = next_open(instrument, at, outside_rth)
    session = session_at(instrument, opens)
    if session is None:  # pragma: no cover - next_open returns a moment inside a session
        raise LookupError(f"no session of {instrument.symbol} at {opens.isoformat()}")
    return session.bounds(use_rth=not outside_rth)[1]


def sessions_between(instrument: Instrument, start: datetime, end: datetime) -> Iterator[Session]:
    """Every session that overlaps `[start, end)`, oldest first."""
    if end <= start:
        return
    day = start.astimezone(NEW_YORK).date()
    last = end.astimezone(NEW_YORK).date() + ONE_DAY
    while day <= last:
        session = session_of(instrument, day)
        if session is not None and session.start < end and session.end > start:
            yield session
        day += ONE_DAY


def sessions_back(instrument: Instrument, end: datetime, count: int, use_rth: bool) -> datetime:
    """The start of the last `count` sessions begun before `end`: where IBKR begins a history of `count` days."""
    session = last_session(instrument, end)
    if session.bounds(use_rth)[0] >= end:
        session = previous_session(instrument, session.day)
    for _ in range(count - 1):
        session = previous_session(instrument, session.day)
    return session.bounds(use_rth)[0]


def calendar_back(instrument: Instrument, end: datetime, count: int, unit: str, *, use_rth: bool) -> datetime:
    """Where IBKR begins a history of so many weeks, months or years (`W`, `M`, `Y`): with the first session after the
    same date so long ago (captured: one month back from 11 April starts with 12 March).
    """
    before = _days_ago(end.astimezone(NEW_YORK).date(), count, unit)
    start = datetime.combine(before + ONE_DAY, time(), NEW_YORK).astimezone(UTC)
    for session in sessions_between(instrument, start, end):
        if session.day > before:
            return session.bounds(use_rth)[0]
    return start


def _days_ago(day: date, count: int, unit: str) -> date:
    if unit == "W":
        return day - timedelta(weeks=count)
    months = day.year * 12 + day.month - 1 - count * (12 if unit == "Y" else 1)
    year, month = divmod(months, 12)
    if year < 1:
        return date.min + timedelta(days=366)
    last = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month + 1, min(day.day, last))


def trading_hours_text(instrument: Instrument, from_date: date, days: int, liquid: bool) -> str:
    """Hours as contractDetails carries them, in the instrument's own time zone.

    `20260405:CLOSED;20260406:0400-20260406:2000;...` for the sessions dated `from_date` and the following dates,
    `days` in all. A Sunday on whose evening Monday's session begins has no entry of its own.
    """
    zone = ZoneInfo(instrument.tz_id)
    entries: list[str] = []
    for offset in range(days):
        day = from_date + timedelta(days=offset)
        session = session_of(instrument, day)
        if session is not None:
            start, end = (moment.astimezone(zone) for moment in session.bounds(liquid))
            entries.append(f"{start:%Y%m%d:%H%M}-{end:%Y%m%d:%H%M}")
            continue
        upcoming = session_of(instrument, day + ONE_DAY)
        if upcoming is not None and upcoming.start.astimezone(zone).date() == day and day.weekday() == 6:
            continue
        entries.append(f"{day:%Y%m%d}:CLOSED")
    return ";".join(entries)


def _existing(calendar: str, day: date) -> Session:
    session = calendar_session(calendar, day)
    if session is None:  # pragma: no cover - callers pass dates the searches above returned
        raise LookupError(f"calendar {calendar} has no session on {day}")
    return session
