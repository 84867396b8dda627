"""Execution times that the library cannot read must not cost the execution.

The decoder drops a whole execution report when its time has an unknown zone (a name of Windows or an old Java id) or
no known form. Quantity, price and execution id matter more: the time of arrival stands in for such a time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ibkr_connector.logs import get_logger

_log = get_logger(__name__)
_EXEC_DETAILS = 11
_TIME_AT = 15


def readable(text: str) -> bool:
    """Whether both libraries read `text` as a moment."""
    words = text.split(" ", 2)
    try:
        if text.isdigit():
            return len(text) > 8 and datetime.fromtimestamp(int(text)) is not None  # noqa: DTZ006
        if len(words) == 3 and words[1]:
            ZoneInfo(words[2])
            datetime.strptime(f"{words[0]}{words[1]}", "%Y%m%d%H:%M:%S")  # noqa: DTZ007
        else:
            datetime.strptime(text.replace(" ", "").replace("-", "")[:16], "%Y%m%d%H:%M:%S")  # noqa: DTZ007
    except (ValueError, KeyError, OSError, OverflowError):
        return False
    return True


def guard(decoder: Any, now: Callable[[], datetime]) -> None:
    """Let `decoder` take the time of arrival for an execution time it cannot read."""
    decode = decoder.handlers[_EXEC_DETAILS]

    def guarded(fields: list[str]) -> None:
        if len(fields) > _TIME_AT and not readable(fields[_TIME_AT]):
            _log.warning("an execution time is unreadable; the time of arrival is taken", told=fields[_TIME_AT][:60])
            fields[_TIME_AT] = str(int(now().timestamp()))
        decode(fields)

    decoder.handlers[_EXEC_DETAILS] = guarded
