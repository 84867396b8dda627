"""What callers hand in, checked at the door: seconds, text, numbers written as text, flags.

Whatever a value is, the answer is the value as it is used inside, or one typed error that names the argument and what
is legal. Nothing here lets a foreign exception out, and an error never repeats more than a line of what was given.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import Decimal
from typing import overload

from ibkr_connector.errors import InvalidRequest, OrderValidationError, TradingError

LONGEST_WAIT_S = 366 * 86_400.0
"""A year: what is meant to wait longer waits without a limit (None)."""
SECONDS = f"a number of seconds from 0 to {LONGEST_WAIT_S:.0f}"
_SHOWN = 80
_LARGEST = 2**63
_PLAIN_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_LONGEST_NUMBER = 64
_MOST_WHOLE_DIGITS = 15
_MOST_DECIMALS = 20
_MOST_DIGITS = 28
"""Within these every sum, product and remainder of ours is exact: Decimals count with 28 digits."""
NUMBER = f"a finite number below 1e{_MOST_WHOLE_DIGITS}, at most {_MOST_DECIMALS} decimals; as text: plain digits"
_FIRST_YEAR, _LAST_YEAR = 1980, 2099
"""Years a moment may lie in: far enough from the ends of the calendar for any time zone."""
MOMENT = f"an aware datetime (with a time zone) in the years {_FIRST_YEAR} to {_LAST_YEAR}"


def shown(value: object) -> str:
    """A value for an error text: its repr, at most a line of it, whatever the value is."""
    if isinstance(value, str | bytes | bytearray) and len(value) > _SHOWN:
        return f"{value[: _SHOWN // 2]!r}… ({len(value)} long)"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a foreign object, or an int too long for text: its type must do
        return f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def wrong(
    field: str, value: object, legal: str, *, why: str = "is not possible", kind: type[TradingError] = InvalidRequest
) -> TradingError:
    """The error for an argument that cannot be used: `field=value why. Legal: legal.`"""
    return kind(f"{field}={shown(value)} {why}. Legal: {legal}.", field=field, value=kept(value), legal=legal)


def kept(value: object) -> object:
    """A value for an error's context: itself where that is a number or a short line of text, else its `shown`."""
    if type(value) is str:
        return value if len(value) <= _SHOWN and value.isprintable() else shown(value)
    if type(value) is int:
        return value if abs(value) < _LARGEST else shown(value)
    return value if value is None or type(value) in (bool, float, Decimal) else shown(value)


def is_plain_number(text: str) -> bool:
    """Whether text is a number as one types it: ASCII digits, a sign, a decimal point. No `_`, no exponent."""
    return len(text) <= _LONGEST_NUMBER and _PLAIN_NUMBER.fullmatch(text) is not None


def to_decimal(value: object, field: str) -> Decimal:
    """`value` as an exact Decimal of a size that money has; floats by their shortest text, text as plain ASCII digits.

    Raises: OrderValidationError.
    """
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and is_plain_number(value)):
        raise wrong(field, value, NUMBER, why="is not a number", kind=OrderValidationError)
    assert isinstance(value, int | float | str | Decimal)  # noqa: S101 - seen above
    number = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise wrong(field, value, NUMBER, why="is not a finite number", kind=OrderValidationError)
    if not number:
        return Decimal(0)
    _, digits, exponent = number.as_tuple()
    if (
        number.adjusted() >= _MOST_WHOLE_DIGITS
        or (isinstance(exponent, int) and exponent < -_MOST_DECIMALS)
        or len(digits) > _MOST_DIGITS
    ):
        raise wrong(field, value, NUMBER, kind=OrderValidationError)
    return number


@overload
def seconds(value: float, field: str = "timeout", *, least: float = 0.0) -> float: ...
@overload
def seconds(value: float | None, field: str = "timeout", *, least: float = 0.0) -> float | None: ...
def seconds(value: float | None, field: str = "timeout", *, least: float = 0.0) -> float | None:
    """Seconds to wait; None passes where the caller's signature allows it. Zero is zero. Raises `InvalidRequest`."""
    if value is None:
        return None
    given: object = value
    if isinstance(given, bool) or not isinstance(given, int | float | Decimal):
        raise wrong(field, value, SECONDS, why="is not a number of seconds")
    # Compared as it is: a huge int has no float, and NaN is not within anything.
    if isinstance(given, Decimal) and not given.is_finite():
        raise wrong(field, value, SECONDS)
    if not least <= given <= LONGEST_WAIT_S:
        raise wrong(field, value, SECONDS if least == 0 else f"more than 0, {SECONDS}")
    return float(given)


def needed_seconds(value: float, field: str = "timeout", *, above_zero: bool = False) -> float:
    """`seconds` where None has no meaning."""
    if value is None:
        raise wrong(field, value, SECONDS, why="is not a number of seconds")
    return seconds(value, field, least=math.ulp(0.0) if above_zero else 0.0)


def text(value: object, field: str, *, most: int, kind: type[TradingError] = InvalidRequest) -> str:
    """Printable ASCII with something in it, at most `most` characters, blanks around it taken off."""
    legal = f"1 to {most} printable ASCII characters"
    if not isinstance(value, str):
        raise wrong(field, value, legal, why="is not text", kind=kind)
    if len(value) > 2 * most or not value.isascii() or not value.isprintable() or not 0 < len(value.strip()) <= most:
        raise wrong(field, value, legal, kind=kind)
    return value.strip()


def sentence(value: object, field: str, *, most: int = 1_000) -> str:
    """What a person says, in any script, kept in the journal; at most `most` characters. Raises `InvalidRequest`."""
    legal = f"a sentence of at most {most} characters"
    if not isinstance(value, str) or not value.strip():
        raise wrong(field, value, legal, why="says nothing, and it is kept")
    words = " ".join(value.split()) if len(value) <= 2 * most else value
    if len(words) > most or not words.isprintable():
        raise wrong(field, value, legal)
    return words


def moment(value: object, field: str, *, kind: type[TradingError] = InvalidRequest) -> datetime:
    """A moment that every encoding of ours can express."""
    if not isinstance(value, datetime) or value.tzinfo is None or value.utcoffset() is None:
        raise wrong(field, value, MOMENT, kind=kind)
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise wrong(field, value, MOMENT, kind=kind)
    return value


def whole(value: object, field: str, *, least: int, most: int) -> int:
    """A whole number within bounds. Raises `InvalidRequest`."""
    legal = f"a whole number from {least} to {most}"
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise wrong(field, value, legal)
    return int(value)


def flag(value: object, field: str) -> bool:
    """True or False and nothing that only looks like it. Raises `InvalidRequest`."""
    if not isinstance(value, bool):
        raise wrong(field, value, "True or False")
    return value
