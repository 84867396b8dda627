"""How values are written on the wire: plain decimals, `1`/`0`, IBKR's markers for "not set", times with their zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from . import versions

UNSET_DOUBLE: Final = "1.7976931348623157E308"
UNSET_INTEGER: Final = "2147483647"
INFINITE: Final = "Infinite"

HOME_ZONE: Final = ZoneInfo("America/New_York")
"""The zone this gateway is set to. What a client writes without a zone is read in it."""
HOME_ZONE_NAME: Final = "US/Eastern"
"""Its name as IBKR writes it."""

_ZERO: Final = Decimal(0)
_LOT: Final = Decimal(100)


def number(value: Decimal | float) -> str:
    """A plain decimal without exponent or superfluous zeros: 254.2, 1, -0.0003."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    text = format(exact, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def double(value: Decimal | float | None) -> str:
    """A number as Java prints a double, with at least one decimal (150.0); None = not set, an empty field."""
    if value is None:
        return ""
    text = number(value)
    return text if "." in text else f"{text}.0"


def money(value: Decimal) -> str:
    """An amount of money with two decimals."""
    return format(value.quantize(Decimal("0.01")), "f")


def flag(value: bool) -> str:
    """A boolean."""
    return "1" if value else "0"


def market_size(version: int, value: Decimal, *, us_stock: bool) -> str:
    """A size or volume of market data. Before server version 159 US stocks count in lots of 100 shares."""
    if us_stock and version < versions.MARKET_DATA_IN_SHARES:
        return number(value // _LOT)
    if version < versions.MARKET_DATA_IN_SHARES:
        return number(value // 1)  # read as int by the clients of that age
    return number(value)


def history_volume(version: int, value: float, *, us_stock: bool) -> str:
    """The volume of a bar; -1 = not applicable. Before server version 175 US stocks count in lots of 100 shares."""
    if value < 0:
        return "-1"
    if us_stock and version < versions.HISTORY_IN_SHARES:
        return str(int(value // 100))
    return str(int(value)) if version < versions.HISTORY_IN_SHARES else number(value)


def moment(version: int, at: datetime, zone: ZoneInfo = HOME_ZONE, zone_name: str = HOME_ZONE_NAME) -> str:
    """A time of day: `20260402 09:30:00 US/Eastern`; before server version 174 two spaces and no zone."""
    local = at.astimezone(zone)
    if version >= versions.TIME_ZONES:
        return f"{local:%Y%m%d %H:%M:%S} {zone_name}"
    return f"{local:%Y%m%d  %H:%M:%S}"


def utc_moment(at: datetime) -> str:
    """A UTC time, as head timestamps are written: `20200102-14:30:00`."""
    return f"{at.astimezone(UTC):%Y%m%d-%H:%M:%S}"


def day(value: date) -> str:
    """A calendar day: `20260402`."""
    return f"{value:%Y%m%d}"


def epoch(at: datetime) -> str:
    """Whole seconds since 1970."""
    return str(int(at.timestamp()))
