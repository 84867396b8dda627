"""Frames of `smd` as quotes: fields by their numbers, texts as numbers, differences put together. Pure.

Field numbers: IBKR, "Market Data Fields" of the Web API. Prices may carry a letter: C for the close of a day before, H
while trading is halted. What data they are says field 6509: R real time, D delayed, Z frozen, Y both, N none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.web import convert
from ibkr_connector.models.market import Quote

_LAST, _BID, _ASK = "31", "84", "86"
_LAST_SIZE, _BID_SIZE, _ASK_SIZE = "7059", "88", "85"
_VOLUME, _ROUGH_VOLUME = "7762", "87"
_OPEN, _HIGH, _LOW, _CLOSE = "7295", "70", "71", "7741"
_KIND = "6509"
FIELDS = (
    _LAST, _BID, _ASK, _LAST_SIZE, _BID_SIZE, _ASK_SIZE, _VOLUME, _ROUGH_VOLUME, _OPEN, _HIGH, _LOW, _CLOSE, _KIND
)  # fmt: skip
"""What is asked for."""
_NUMBERS = frozenset(FIELDS) - {_KIND}
_PRICES = frozenset({_LAST, _BID, _ASK, _OPEN, _HIGH, _LOW, _CLOSE})
_DELAYED = frozenset("DY")
_SHORT = {"K": 1_000.0, "M": 1_000_000.0, "B": 1_000_000_000.0}

SIGNED = frozenset({"FUT", "FOP", "BAG", "CMDTY"})
"""Types whose prices may be zero or negative."""


def con_id_of(message: Mapping[str, Any]) -> int:
    """Whose frame it is; 0 where that is not told."""
    found = convert.integer(message.get("conid"))
    if found:
        return found
    topic = message.get("topic")
    return convert.integer(topic.partition("+")[2].partition("@")[0]) if isinstance(topic, str) else 0


def number(told: Any) -> tuple[float | None, str]:
    """`C1,234.50` -> (1234.5, "C"); `50.1M` -> (50100000.0, ""). None for what is no number."""
    letter = ""
    if isinstance(told, str):
        told = told.strip()
        if told[:1] in ("C", "H"):
            letter, told = told[0], told[1:]
        factor = _SHORT.get(told[-1:], 0.0)
        if factor:
            return _finite(convert.decimal(told[:-1]), factor), letter
    return _finite(convert.decimal(told), 1.0), letter


def _finite(value: Decimal | None, factor: float) -> float | None:
    found = None if value is None else float(value) * factor
    return found if found is not None and math.isfinite(found) else None


class Picture:
    """The newest value of each field, and which of them were told since the stream was last asked for."""

    __slots__ = ("_asked", "_kind", "_told", "_values", "halted", "signed")

    def __init__(self, *, signed: bool) -> None:
        self.signed = signed
        self.halted = False
        self._kind = ""
        self._values: dict[str, float] = {}
        self._told: set[str] = set()
        self._asked = False

    @property
    def refused(self) -> bool:
        """Whether the account may have no data of this contract."""
        return self._kind[:1] == "N" and not self._values

    @property
    def is_whole(self) -> bool:
        """Whether bid, ask, last and previous close are all there."""
        return self._values.keys() >= {_BID, _ASK, _LAST, _CLOSE}

    def asked(self) -> None:
        """The stream was asked for: what comes next is everything there is."""
        self._told.clear()
        self._asked = True

    def take(self, message: Mapping[str, Any]) -> bool:
        """Take in a frame; whether any value is another now."""
        changed = False
        kind = message.get(_KIND)
        if isinstance(kind, str) and kind != self._kind:
            self._kind, changed = kind, True
        for name in _NUMBERS & message.keys():
            self._told.add(name)
            changed = self._field(name, *number(message[name])) or changed
        return changed

    def _field(self, name: str, value: float | None, letter: str) -> bool:
        if name == _LAST:
            changed = self.halted is not (letter == "H")
            self.halted = letter == "H"
            if letter == "C":  # no trade yet today: what is told is the close
                return self._set(_CLOSE, value) | self._set(_LAST, None) | changed
            return self._set(name, value) or changed
        return self._set(name, value)

    def _set(self, name: str, value: float | None) -> bool:
        if value is not None and name in _PRICES and value <= 0 and not self.signed:
            value = None  # "no such price now"
        if value is None:
            return self._values.pop(name, None) is not None
        before = self._values.get(name)
        self._values[name] = value
        return before != value

    def drop_untold(self) -> bool:
        """Forget what was not told again since the stream was asked for; whether that was anything. Once per asking.

        Only where everything was told: the previous close changes once a day, so that it was told again says so.
        """
        if not self._asked or _CLOSE not in self._told:
            return False
        self._asked = False
        gone = [name for name in self._values if name not in self._told]
        for name in gone:
            del self._values[name]
        return bool(gone)

    def quote(self, symbol: str, con_id: int, at: datetime) -> Quote:
        """The state of the line."""
        value = self._values.get
        volume = value(_VOLUME)
        return Quote(
            symbol=symbol,
            con_id=con_id,
            bid=value(_BID),
            ask=value(_ASK),
            last=value(_LAST),
            bid_size=value(_BID_SIZE),
            ask_size=value(_ASK_SIZE),
            last_size=value(_LAST_SIZE),
            volume=volume if volume is not None else value(_ROUGH_VOLUME),
            open=value(_OPEN),
            high=value(_HIGH),
            low=value(_LOW),
            close=value(_CLOSE),
            halted=self.halted,
            delayed=self._kind[:1] in _DELAYED,
            at=at,
        )
