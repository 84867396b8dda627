"""Bars: periods and bar sizes in the Web API's words, and the answer with its scaled highs and lows."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from .. import sessions
from ..instruments import Instrument
from ..market.base import Bar, BarSize, What
from .calls import Call, Endpoint, Json, WebError, bad_request
from .hub import WebHub

MAX_BARS: Final = 1000
MAX_SESSIONS: Final = 252 * 5
"""Trading days of the longest period."""
FACTOR: Final = 100
"""Prices in `high` and `low` are multiplied by this (priceFactor)."""

_SIZES: Final[dict[str, tuple[BarSize, int]]] = {
    **{f"{n}S": (n, n) for n in (1, 5, 10, 15, 30)},
    **{f"{n}min": (n * 60, n * 60) for n in (1, 2, 3, 5, 10, 15, 20, 30)},
    **{f"{n}h": (n * 3600, n * 3600) for n in (1, 2, 3, 4, 8)},
    "1d": ("day", 86_400),
    "1w": ("week", 604_800),
    "1m": ("month", 2_592_000),
}
"""Bar -> the market's size and its length in seconds."""
_PERIOD: Final = re.compile(r"([0-9]{1,4})(S|s|min|h|d|w|m|y)")
_SOURCES: Final[dict[str, What]] = {
    "": "TRADES",
    "last": "TRADES",
    "trades": "TRADES",
    "midpoint": "MIDPOINT",
    "bid": "BID",
    "ask": "ASK",
    "bid_ask": "BID_ASK",
}
Unit = Literal["S", "min", "h", "d", "w", "m", "y"]


class HistoryDesk:
    """Answers with bars."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._served = 0

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        return [
            Endpoint("GET", "iserver/marketdata/history", "history", self._history),
            Endpoint("GET", "hmds/history", "hmds_history", self._hmds),
            Endpoint("POST", "hmds/auth/init", "hmds_init", self._hmds_init),
        ]

    def _hmds(self, call: Call) -> Json:
        raise WebError(404, "Resource not found", {"error": "Resource not found", "statusCode": 404})

    def _hmds_init(self, call: Call) -> Json:
        return {"error": "no bridge"}

    async def _history(self, call: Call) -> Json:
        await self._hub.clock.sleep_wire(self._hub.options.history_latency)
        item = self._hub.instrument(call.integer("conid"))
        start_time = call.text("startTime", "")
        return self.answer(
            item,
            period=call.text("period", "1w"),
            bar=call.text("bar", "1d"),
            outside_rth=call.flag("outsideRth"),
            source=call.text("source", "").lower(),
            end=_moment(start_time) if start_time else None,
        )

    def answer(
        self, item: Instrument, *, period: str, bar: str, outside_rth: bool, source: str, end: datetime | None = None
    ) -> dict[str, Json]:
        """The bars of a period up to `end` (startTime: where the *end* of the period is), or up to now."""
        if bar not in _SIZES:
            raise bad_request("bar is not valid")
        if source not in _SOURCES:
            raise bad_request("source is not valid")
        size, length = _SIZES[bar]
        now = self._hub.clock.now()
        until = now if end is None else min(end, now)
        start = max(
            _start(item, until, period, use_rth=not outside_rth),
            _earliest(item, until, length, use_rth=not outside_rth),
        )
        what = _SOURCES[source]
        if item.sec_type == "CASH" and what == "TRADES":
            what = "MIDPOINT"
        bars = self._hub.market.bars(item, start, until, size, what, use_rth=not outside_rth)
        bars = bars[-MAX_BARS:]
        if not bars:
            raise WebError(500, "No data.", {"error": "No data."})
        self._served += 1
        return self._layout(item, bars, period=period, length=length, start=bars[0].start, outside_rth=outside_rth)

    def _layout(
        self, item: Instrument, bars: list[Bar], *, period: str, length: int, start: datetime, outside_rth: bool
    ) -> dict[str, Json]:
        first = bars[0].start
        high = max(bars, key=lambda bar: bar.high)
        low = min(bars, key=lambda bar: bar.low)

        def extreme(bar: Bar, price: float) -> str:
            # price x factor / volume / minutes from the first bar
            minutes = int((bar.start - first).total_seconds() // 60)
            return f"{round(price * FACTOR)}/{_volume(bar):g}/{minutes}"

        session = sessions.last_session(item, bars[-1].start)
        opens, closes = session.bounds(use_rth=not outside_rth)
        digits = max(2, -int(item.min_tick.normalize().as_tuple().exponent))
        return {
            "serverId": str(self._served),
            "symbol": item.symbol,
            "text": item.long_name,
            "priceFactor": FACTOR,
            "startTime": f"{start.astimezone(UTC):%Y%m%d-%H:%M:%S}",
            "high": extreme(high, high.high),
            "low": extreme(low, low.low),
            "timePeriod": period,
            "barLength": length,
            "mdAvailability": {"live": "S", "delayed": "D", "none": "N"}[self._hub.options.entitlement],
            "mktDataDelay": 0,
            "outsideRth": outside_rth,
            "tradingDayDuration": int((closes - opens).total_seconds() // 60),
            "volumeFactor": 1,
            "priceDisplayRule": 1,
            "priceDisplayValue": str(digits),
            "negativeCapable": False,
            "messageVersion": 2,
            "data": [
                {
                    "o": bar.open,
                    "c": bar.close,
                    "h": bar.high,
                    "l": bar.low,
                    "v": _volume(bar),
                    "t": int(bar.start.timestamp() * 1000),
                }
                for bar in bars
            ],
            "points": len(bars) - 1,
            "travelTime": 1,
        }


def _volume(bar: Bar) -> float:
    return max(0.0, bar.volume)


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise bad_request("startTime must be YYYYMMDD-HH:MM:SS (UTC)") from None


def _start(item: Instrument, until: datetime, period: str, *, use_rth: bool) -> datetime:
    """Where a period begins that ends at `until`. Days are sessions; shorter periods count back trading time."""
    match = _PERIOD.fullmatch(period)
    if match is None or int(match[1]) == 0:
        raise bad_request("period is not valid")
    count, unit = int(match[1]), match[2]
    if unit in {"S", "s", "min", "h"}:
        seconds = count * {"S": 1, "s": 1, "min": 60, "h": 3600}[unit]
        if seconds > 7 * 86_400:
            raise bad_request("period is not valid")
        session = sessions.last_session(item, until)
        opens, closes = session.bounds(use_rth)
        if until <= opens:
            opens, closes = sessions.previous_session(item, session.day).bounds(use_rth)
        return min(until, closes) - timedelta(seconds=seconds)
    if count * {"d": 1, "w": 5, "m": 21, "y": 252}[unit] > MAX_SESSIONS:
        raise bad_request("period is not valid")
    if unit == "d":
        return sessions.sessions_back(item, until, count, use_rth)
    # The same history service is behind both fronts, and of the other one it was captured where these begin.
    return sessions.calendar_back(item, until, count, unit.upper(), use_rth=use_rth)


def _earliest(item: Instrument, until: datetime, length: int, *, use_rth: bool) -> datetime:
    """Where the last thousand bars begin at the earliest: nothing older is computed."""
    session = sessions.last_session(item, until)
    opens, closes = session.bounds(use_rth)
    if until <= opens:
        opens, closes = sessions.previous_session(item, session.day).bounds(use_rth)
    span = timedelta(seconds=length * MAX_BARS)
    end = min(until, closes)
    if end - span >= opens:
        return end - span
    per_session = max(1.0, (closes - opens).total_seconds() / length)
    days = min(MAX_SESSIONS, int(MAX_BARS / per_session) + 2)
    return sessions.sessions_back(item, until, days, use_rth)
