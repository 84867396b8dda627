"""What every exception has: whether to try again, whether it can have arrived, what to do next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, ClassVar


class Outcome(StrEnum):
    """What is known about the request's arrival at the broker when the exception is raised."""

    NOT_SENT = "not_sent"
    """Nothing was written."""
    REJECTED = "rejected"
    """It arrived and was refused."""
    UNKNOWN = "unknown"
    """It may have arrived."""
    NOT_APPLICABLE = "not_applicable"
    """A read, or no request at all: arrival does not matter."""


class TradingError(Exception):
    """Base of everything this library raises on purpose. Catch it at the top of a program, and read `remedy`."""

    retryable: bool = False
    """Whether the same call may be made again as it is: of the class, unless this one case is told otherwise."""
    outcome: ClassVar[Outcome] = Outcome.NOT_APPLICABLE
    default_remedy: ClassVar[str] = "Read the message and the context; it names what was refused."

    def __init__(
        self,
        message: str = "",
        *,
        code: int | None = None,
        remedy: str | None = None,
        retryable: bool | None = None,
        **context: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.remedy = remedy or self.default_remedy
        self.context: dict[str, Any] = context
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        prefix = f"[{self.code}] " if self.code is not None else ""
        return f"{prefix}{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.code, self.remedy, self.retryable, dict(self.context)))

    def to_dict(self) -> dict[str, Any]:
        """The exception as JSON has values, for logs and scripts: numbers stay numbers, nothing is a repr."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "code": self.code,
            "remedy": self.remedy,
            "retryable": self.retryable,
            "outcome": self.outcome.value,
            "context": {key: _plain(value) for key, value in self.context.items()},
        }


def _plain(value: object) -> Any:
    """A value of the context as JSON has it. Foreign objects tell themselves with `to_dict`, or as text."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    told = getattr(value, "to_dict", None)
    return _plain(told()) if callable(told) else str(value)


def _rebuild(
    cls: type[TradingError], message: str, code: int | None, remedy: str, retryable: bool, context: dict[str, Any]
) -> TradingError:
    return cls(message, code=code, remedy=remedy, retryable=retryable, **context)
