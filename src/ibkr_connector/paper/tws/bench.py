"""Tools for benchmarks: messages encoded beforehand, so that only their reader is measured.

block = encode_ticks(request_id, 10_000)
gateway.flood(client_id, block)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from . import layouts_market as layout
from .framing import encode_frame
from .wire import number


def encode_frames(messages: Iterable[Sequence[str]]) -> bytes:
    """Several messages as one block of bytes."""
    return b"".join(encode_frame(message) for message in messages)


def encode_ticks(
    request_id: int,
    count: int,
    *,
    price: Decimal = Decimal(100),
    step: Decimal = Decimal("0.01"),
    size: int = 100,
    distinct: int = 50,
) -> bytes:
    """`count` tickPrice messages that raise the bid, the ask and the last price in turn, each unlike the one before.

    The layout is the same at every server version we speak; `size` is sent as it is (lots at 157). `distinct` prices
    of each kind repeat from the start.
    """
    frames = []
    for index in range(count):
        kind = (layout.BID, layout.ASK, layout.LAST)[index % 3]
        value = price + step * ((index // 3) % distinct) + (step if kind == layout.ASK else 0)
        frames.append(["1", "6", str(request_id), str(kind), number(value), str(size), str(layout.AUTO_EXECUTE)])
    return encode_frames(frames)
