"""The wrapper that keeps a secret out of sight.

A `Secret` shows a mask wherever text is made of it: `str`, `repr`, f-strings, `%s`, JSON of a `to_dict`. Only
`reveal()` gives the value. From its creation on the value is masked in every log record too (`logs.register_secret`).
"""

from __future__ import annotations

import hmac
from typing import NoReturn

from ibkr_connector.logs import register_secret

MASK = "********"


class Secret:
    """A value that must not be shown. Compare with ==, test with bool(), use with reveal()."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        register_secret(value)

    def reveal(self) -> str:
        """The value itself. Pass it straight to what needs it; keep it in no variable that lives."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __str__(self) -> str:
        return MASK if self._value else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # A pickle is a file or a message somewhere: the value would be in it.
        raise TypeError("A Secret is not pickled or copied: pass its source, or reveal() it where it is used.")
