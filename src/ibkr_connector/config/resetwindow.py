"""A time of day, every day or once a week, at which IBKR is known to be away. Pure; New York time.

Sources: IBKR resets its servers every night, about 23:45 to 00:05 in New York (other regions have other times), and
recommends not to operate then; a gateway that restarts by itself asks for a full login once a week, on Sunday.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(r"(?:(mon|tue|wed|thu|fri|sat|sun) )?([0-2]\d:[0-5]\d)-([0-2]\d:[0-5]\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ResetWindow:
    """From `begin` to `end` (the next day when that is earlier), on one day of the week or on all."""

    name: str
    begin: time
    end: time
    weekday: int | None = None
    """0 = Monday; None = every day. The day on which it begins."""

    @classmethod
    def parse(cls, name: str, text: str) -> ResetWindow:
        """From `23:45-00:05` or `sun 01:00-18:00`. Raises ValueError."""
        found = _FORM.fullmatch(text.strip())
        try:
            if found is None:
                raise ValueError(text)
            begin, end = (time.fromisoformat(part) for part in found.groups()[1:])
        except ValueError:
            raise ValueError("should look like 23:45-00:05, or with a day like sun 01:00-18:00") from None
        if begin == end:
            raise ValueError("should end at another time than it begins")
        day = found.group(1)
        return cls(name, begin, end, None if day is None else _DAYS.index(day.lower()))

    def ends(self, now: datetime) -> datetime | None:
        """When the window that `now` (aware) lies in ends; None outside of it."""
        local = now.astimezone(NEW_YORK)
        for back in (0, 1):  # one that began yesterday may last until today
            day = (local - timedelta(days=back)).date()
            if self.weekday not in (None, day.weekday()):
                continue
            begin = datetime.combine(day, self.begin, NEW_YORK)
            last = day if self.end > self.begin else day + timedelta(days=1)
            end = datetime.combine(last, self.end, NEW_YORK)
            if begin.timestamp() <= now.timestamp() < end.timestamp():
                return end
        return None
