"""Execution times that the library reads wrongly or not at all are put right before it decodes them.

Gateways set to UTC send `20260413-15:27:04`, which the libraries take for this machine's zone. And a time with an
unknown zone (a name of Windows, an old Java id) makes the decoder drop the whole execution report: quantity, price and
execution id matter more, so the time of arrival stands in for such a time. A time without any zone is TWS's own, taken
for this machine's: nothing tells otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from ibkr_connector.logs import get_logger

_log = get_logger(__name__)
_EXEC_DETAILS = 11
_TIME_AT = 15
_IN_UTC = re.compile(r"\d{8}-\d{2}:\d{2}:\d{2}")
_WITHOUT_ZONE = re.compile(r"\d{8} {1,2}\d{2}:\d{2}:\d{2}")


def repaired(text: str, now: Callable[[], datetime]) -> str:
    """`text` if the libraries read it rightly, else the same moment (or that of arrival) in seconds since 1970."""
    try:
        if _IN_UTC.fullmatch(text):
            return str(int(datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC).timestamp()))
        if text.isdigit() and len(text) > 8:
            datetime.fromtimestamp(int(text), UTC)
            return text
        day, clock, *zone = text.split(" ", 2)
        if zone and clock:
            ZoneInfo(zone[0])
            datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - only whether it can be read
            return text
        if _WITHOUT_ZONE.fullmatch(text):
            datetime.strptime(f"{day} {text[-8:]}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007
            return text
    except (ValueError, KeyError, OSError, OverflowError):
        pass
    _log.warning("an execution time is unreadable; the time of arrival is taken", told=text[:60])
    return str(int(now().timestamp()))


def guard(decoder: Any, now: Callable[[], datetime]) -> None:
    """Let `decoder` see only execution times that it reads rightly."""
    decode = decoder.handlers[_EXEC_DETAILS]

    def guarded(fields: list[str]) -> None:
        if len(fields) > _TIME_AT:
            fields[_TIME_AT] = repaired(fields[_TIME_AT], now)
        decode(fields)

    decoder.handlers[_EXEC_DETAILS] = guarded
