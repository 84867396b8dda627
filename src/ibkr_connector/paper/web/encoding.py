"""Answers and frames as bytes."""

from __future__ import annotations

import json
from decimal import Decimal

from .calls import Json


def encode(value: Json) -> bytes:
    """JSON as it goes over the wire; Decimals become numbers."""
    return json.dumps(value, default=_number, separators=(",", ":"), allow_nan=False).encode()


def _number(value: object) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{value!r} has no place in an answer")
