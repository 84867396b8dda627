"""What IBKR accepts in a history request, checked before anything is sent. Pure.

Source: IBKR, "TWS API: Historical Bar Data" (bar sizes, duration units, step sizes), and the texts of errors 162 and
321 when one is wrong.
"""

from __future__ import annotations

import re
from datetime import datetime

from ibkr_connector.backends.base import BAR_KINDS, HistoryRequest
from ibkr_connector.models.arguments import flag, moment, wrong
from ibkr_connector.models.contract import Contract
from ibkr_connector.session.barsizes import BAR_SECONDS

_DURATION = re.compile(r"([0-9]{1,5}) ([SDWMY])")
_UNIT_SECONDS = {"S": 1, "D": 86400, "W": 7 * 86400, "M": 31 * 86400, "Y": 366 * 86400}
_MOST_SECONDS_UNIT = 86400
_SPELLINGS = {"s": "secs", "sec": "secs", "m": "min", "minute": "min", "minutes": "mins", "h": "hour", "d": "day"}


def history_request(
    contract: Contract,
    *,
    duration: str,
    bar_size: str,
    end: datetime | None = None,
    what_to_show: str = "",
    use_rth: bool = True,
) -> HistoryRequest:
    """A checked request. `what_to_show` empty means TRADES, or MIDPOINT for what does not trade (currency pairs).

    Raises:
        InvalidRequest: duration, bar size, kind of data or end is not what IBKR accepts; nothing was sent.
    """
    size = _bar_size(bar_size)
    asked: object = what_to_show
    if not isinstance(asked, str):
        raise wrong("what_to_show", what_to_show, ", ".join(BAR_KINDS))
    kind = (asked or ("MIDPOINT" if contract.sec_type == "CASH" else "TRADES")).upper()
    if kind not in BAR_KINDS:
        raise wrong("what_to_show", what_to_show, ", ".join(BAR_KINDS))
    if contract.sec_type == "CASH" and kind == "TRADES":
        raise wrong("what_to_show", what_to_show, "MIDPOINT, BID or ASK: currency pairs have no trades")
    if end is not None:
        moment(end, "end")
    if end is not None and kind == "ADJUSTED_LAST":
        raise wrong("end", end, "None: ADJUSTED_LAST always ends now")
    return HistoryRequest(
        contract=contract,
        end=end,
        duration=_duration(duration, BAR_SECONDS[size]),
        bar_size=size,
        what_to_show=kind,
        use_rth=flag(use_rth, "use_rth"),
    )


def _bar_size(text: str) -> str:
    given: object = text
    words = given.strip().lower().split() if isinstance(given, str) else []
    if len(words) == 2:
        unit = _SPELLINGS.get(words[1], words[1])
        for candidate in (f"{words[0]} {unit}", f"{words[0]} {unit}s", f"{words[0]} {unit.removesuffix('s')}"):
            if candidate in BAR_SECONDS:
                return candidate
    raise wrong("bar_size", text, ", ".join(BAR_SECONDS))


def _duration(text: str, bar_seconds: int) -> str:
    legal = "a number and a unit, e.g. '1800 S', '5 D', '2 W', '6 M', '1 Y' (S at most 86400)"
    given: object = text
    match = _DURATION.fullmatch(given.strip().upper()) if isinstance(given, str) else None
    if match is None or int(match[1]) == 0:
        raise wrong("duration", text, legal)
    count, unit = int(match[1]), match[2]
    if unit == "S" and count > _MOST_SECONDS_UNIT:
        raise wrong("duration", text, legal)
    if count * _UNIT_SECONDS[unit] < bar_seconds and unit == "S":
        raise wrong("duration", text, f"at least one bar: {bar_seconds} S or more")
    return f"{count} {unit}"
