"""Typed, strict reading of a request's fields.

A gateway reads a request by position; one field too few, too many or of the wrong type makes the whole request
unreadable (error 320). `Cursor` reads in order and `end` insists that nothing is left.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from .wire import INFINITE

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_UNSET_FROM = Decimal("1e300")
"""Clients write an unset double as 1.7976931348623157e+308 (ibapi) or leave the field empty (the others)."""
_UNSET_INTEGER = 2**31 - 1
_MAX_LIST = 10_000


class FieldError(Exception):
    """The request cannot be read: the text names the field and what was wrong with it."""


class Cursor:
    """Reads the fields of one request from first to last."""

    __slots__ = ("_fields", "_position")

    def __init__(self, fields: Sequence[str], position: int = 0) -> None:
        self._fields = fields
        self._position = position

    @property
    def position(self) -> int:
        """The index of the next field."""
        return self._position

    @property
    def left(self) -> int:
        """How many fields have not been read."""
        return len(self._fields) - self._position

    def peek(self) -> str:
        """The next field without reading it; empty at the end."""
        return self._fields[self._position] if self.left else ""

    def text(self, name: str) -> str:
        """The next field as it is."""
        if self._position >= len(self._fields):
            raise FieldError(f"the request ends before {name}")
        value = self._fields[self._position]
        self._position += 1
        return value

    def integer(self, name: str, empty: int | None = None) -> int:
        """The next field as an integer; an empty field is `empty`, or an error where there is no such default."""
        value = self.text(name)
        if value == "" and empty is not None:
            return empty
        if _INTEGER.fullmatch(value) is None:
            raise FieldError(f"{name} is {value!r}, not an integer")
        return int(value)

    def request_id(self, name: str = "reqId") -> int:
        """A request or order id: 32 bits, as the gateway keeps them."""
        value = self.integer(name)
        if not -(2**31) <= value < 2**31:
            raise FieldError(f"{name} {value} does not fit 32 bits")
        return value

    def decimal(self, name: str) -> Decimal | None:
        """The next field as a number; empty and IBKR's unset markers are None, `Infinite` is Decimal infinity."""
        value = self.text(name)
        if value == "":
            return None
        if value == INFINITE:
            return Decimal("Infinity")
        if _NUMBER.fullmatch(value) is None:
            raise FieldError(f"{name} is {value!r}, not a number")
        result = Decimal(value)
        return None if abs(result) >= _UNSET_FROM else result

    def flag(self, name: str, *, empty: bool = False) -> bool:
        """The next field as a boolean: 0, 1, or empty."""
        value = self.text(name)
        if value == "":
            return empty
        if value in {"0", "1"}:
            return value == "1"
        if value in {"true", "false"}:
            return value == "true"
        raise FieldError(f"{name} is {value!r}, neither 0 nor 1")

    def count(self, name: str, width: int = 1) -> int:
        """How many items of `width` fields follow; more than there are fields left is an error. Empty counts as 0."""
        value = self.integer(name, empty=0)
        if not 0 <= value <= min(_MAX_LIST, self.left // max(1, width)):
            raise FieldError(f"{name} is {value}, but only {self.left} fields follow")
        return value

    def skip(self, name: str) -> None:
        """Pass over a field nobody reads any more."""
        self.text(name)

    def end(self) -> None:
        """Insist that everything was read."""
        if self.left:
            raise FieldError(f"{self.left} fields follow where the request should end")


def is_unset(text: str) -> bool:
    """Whether an order field's text means "not set": empty, or one of the markers clients send for it."""
    if text == "":
        return True
    if _INTEGER.fullmatch(text) is not None:
        return int(text) == _UNSET_INTEGER
    return _NUMBER.fullmatch(text) is not None and abs(Decimal(text)) >= _UNSET_FROM
