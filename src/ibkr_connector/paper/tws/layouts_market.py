"""Ticks, bars and schedules. Sizes are whole lots of 100 for US stocks before server version 159 (bars: 175)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from ..instruments import Instrument
from ..market.base import Bar
from ..sessions import Session
from .wire import day, epoch, history_volume, market_size, moment, number, utc_moment

Fields = list[str]

# Tick types, live.
BID_SIZE: Final = 0
BID: Final = 1
ASK: Final = 2
ASK_SIZE: Final = 3
LAST: Final = 4
LAST_SIZE: Final = 5
HIGH: Final = 6
LOW: Final = 7
VOLUME: Final = 8
CLOSE: Final = 9
OPEN: Final = 14
AVERAGE_VOLUME: Final = 21
HISTORICAL_VOLATILITY: Final = 23
IMPLIED_VOLATILITY: Final = 24
MARK_PRICE: Final = 37
LAST_TIMESTAMP: Final = 45
SHORTABLE: Final = 46
RT_VOLUME: Final = 48
HALTED: Final = 49
RT_TRADE_VOLUME: Final = 77
DELAYED: Final[dict[int, int]] = {
    BID: 66, ASK: 67, LAST: 68, BID_SIZE: 69, ASK_SIZE: 70, LAST_SIZE: 71, HIGH: 72, LOW: 73, VOLUME: 74,
    CLOSE: 75, OPEN: 76, LAST_TIMESTAMP: 88, HALTED: 90,
}  # fmt: skip
"""Live tick type -> its delayed twin."""

AUTO_EXECUTE: Final = 1


@dataclass(frozen=True, slots=True)
class Target:
    """Whom ticks are for: everything their text depends on."""

    version: int
    request_id: int
    instrument: Instrument

    @property
    def us_stock(self) -> bool:
        """Whether sizes were once counted in lots of 100."""
        return is_us_stock(self.instrument)

    def size(self, value: Decimal) -> str:
        """A size in this version's unit."""
        return market_size(self.version, value, us_stock=self.us_stock)


def is_us_stock(item: Instrument) -> bool:
    """US stocks and ETFs: what the lot rules are about."""
    return item.sec_type == "STK" and item.currency == "USD"


def tick_price(target: Target, tick_type: int, price: Decimal, size: Decimal, mask: int) -> Fields:
    """Message 1, tickPrice: exactly seven fields. Mask: 1 can be executed automatically, 2 past limit, 4 pre-open."""
    return ["1", "6", str(target.request_id), str(tick_type), number(price), target.size(size), str(mask)]


def no_price(target: Target, tick_type: int) -> Fields:
    """Message 1, tickPrice, for a side that is absent: -1.0 with size 0, as gateways send while a market is closed."""
    return ["1", "6", str(target.request_id), str(tick_type), "-1.0", "0", "1"]


def tick_size(target: Target, tick_type: int, size: Decimal) -> Fields:
    """Message 2, tickSize."""
    return ["2", "6", str(target.request_id), str(tick_type), target.size(size)]


def tick_generic(request_id: int, tick_type: int, value: Decimal | float) -> Fields:
    """Message 45, tickGeneric."""
    return ["45", "6", str(request_id), str(tick_type), number(value)]


def tick_string(request_id: int, tick_type: int, value: str) -> Fields:
    """Message 46, tickString."""
    return ["46", "6", str(request_id), str(tick_type), value]


def rt_volume(
    target: Target, price: Decimal, size: Decimal, at: datetime, volume: Decimal, vwap: Decimal, *, single: bool
) -> str:
    """The value of RTVolume ticks: `price;size;milliseconds;day's volume;VWAP;one trade only`."""
    milliseconds = int(at.timestamp() * 1000)
    flags = "true" if single else "false"
    parts = (number(price), target.size(size), str(milliseconds), target.size(volume), number(vwap), flags)
    return ";".join(parts)


def tick_request_parameters(request_id: int, min_tick: Decimal, bbo_exchange: str) -> Fields:
    """Message 81, tickReqParams; 3 = regulatory snapshots may be requested."""
    return ["81", str(request_id), number(min_tick), bbo_exchange, "3"]


def market_data_type(request_id: int, kind: int) -> Fields:
    """Message 58, marketDataType: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""
    return ["58", "1", str(request_id), str(kind)]


def snapshot_end(request_id: int) -> Fields:
    """Message 57, tickSnapshotEnd."""
    return ["57", "1", str(request_id)]


# --- bars ------------------------------------------------------------------------------------------------------------


def bar_date(version: int, bar: Bar, *, intraday: bool, format_date: int, item: Instrument) -> str:
    """When a bar began: `20260402 09:30:00 US/Eastern` or seconds since 1970 (formatDate 2); daily bars a date."""
    if not intraday:
        return day(bar.session)
    if format_date == 2:
        return epoch(bar.start)
    text = moment(version, bar.start, ZoneInfo(item.tz_id), item.tz_id)
    return text[4:] if format_date == 3 else text


def historical_data(
    version: int,
    request_id: int,
    start_text: str,
    end_text: str,
    bars: Sequence[Bar],
    *,
    intraday: bool,
    format_date: int,
    item: Instrument,
) -> Fields:
    """Message 17, historicalData: also its own end marker below server version 196."""
    fields = ["17", str(request_id), start_text, end_text, str(len(bars))]
    us_stock = is_us_stock(item)
    for bar in bars:
        fields += [
            bar_date(version, bar, intraday=intraday, format_date=format_date, item=item),
            number(bar.open),
            number(bar.high),
            number(bar.low),
            number(bar.close),
            history_volume(version, bar.volume, us_stock=us_stock),
            _wap(bar),
            str(bar.count),
        ]
    return fields


def historical_data_update(
    version: int, request_id: int, bar: Bar, *, intraday: bool, format_date: int, item: Instrument
) -> Fields:
    """Message 90, historicalDataUpdate. The order differs: count, date, open, CLOSE, high, low, WAP, volume."""
    return [
        "90",
        str(request_id),
        str(bar.count),
        bar_date(version, bar, intraday=intraday, format_date=format_date, item=item),
        number(bar.open),
        number(bar.close),
        number(bar.high),
        number(bar.low),
        _wap(bar),
        history_volume(version, bar.volume, us_stock=is_us_stock(item)),
    ]


def real_time_bar(version: int, request_id: int, bar: Bar, item: Instrument) -> Fields:
    """Message 50, realtimeBar, five seconds long, stamped with its beginning."""
    return [
        "50",
        "3",
        str(request_id),
        epoch(bar.start),
        number(bar.open),
        number(bar.high),
        number(bar.low),
        number(bar.close),
        history_volume(version, bar.volume, us_stock=is_us_stock(item)),
        _wap(bar),
        str(bar.count),
    ]


def historical_schedule(request_id: int, days: Sequence[Session], use_rth: bool, item: Instrument) -> Fields:
    """Message 106, historicalSchedule: one row per session, in the instrument's own time."""
    zone = ZoneInfo(item.tz_id)
    rows = []
    for session in days:
        start, end = session.bounds(use_rth)
        rows.append([f"{start.astimezone(zone):%Y%m%d-%H:%M:%S}", f"{end.astimezone(zone):%Y%m%d-%H:%M:%S}"])
    first, last = (rows[0][0], rows[-1][1]) if rows else ("", "")
    fields = ["106", str(request_id), first, last, item.tz_id, str(len(rows))]
    for row, session in zip(rows, days, strict=True):
        fields += [*row, day(session.day)]
    return fields


def head_timestamp(request_id: int, at: datetime, format_date: int) -> Fields:
    """Message 88, headTimestamp: UTC text, or seconds since 1970 for formatDate 2."""
    return ["88", str(request_id), epoch(at) if format_date == 2 else utc_moment(at)]


def _wap(bar: Bar) -> str:
    return number(round(bar.wap, 6))


def history_edge(version: int, at: datetime, item: Instrument) -> str:
    """The start and end texts of historicalData."""
    return moment(version, at, ZoneInfo(item.tz_id), item.tz_id)
