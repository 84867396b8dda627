"""What a market data subscriber has been shown, and the ticks that lead from one picture of the market to the next.

Pure: only what changed is sent, in the order gateways send it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from . import layouts_market as layout
from .layouts_market import DELAYED, Target
from .wire import epoch

Fields = list[str]

_ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The market of one instrument at a moment. None = there is no such price."""

    bid: Decimal | None = None
    bid_size: Decimal = _ZERO
    ask: Decimal | None = None
    ask_size: Decimal = _ZERO
    last: Decimal | None = None
    last_size: Decimal = _ZERO
    last_at: datetime | None = None
    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    close: Decimal | None = None
    volume: Decimal | None = None


def ticks(target: Target, old: Picture | None, new: Picture, *, delayed: bool = False) -> list[Fields]:
    """The messages that turn what a client knows (None = nothing yet) into the new picture."""
    kinds = DELAYED if delayed else {}
    messages: list[Fields] = []

    def kind(live: int) -> int:
        return kinds.get(live, live)

    _side(messages, target, old, new, (kind(layout.BID), kind(layout.BID_SIZE)), "bid")
    _side(messages, target, old, new, (kind(layout.ASK), kind(layout.ASK_SIZE)), "ask")
    messages += _last(target, old, new, kind(layout.LAST), kind(layout.LAST_SIZE))
    if new.last_at is not None and (old is None or old.last_at is None or epoch(old.last_at) != epoch(new.last_at)):
        messages.append(layout.tick_string(target.request_id, kind(layout.LAST_TIMESTAMP), epoch(new.last_at)))
    if new.volume is not None and (old is None or old.volume != new.volume):
        messages.append(layout.tick_size(target, kind(layout.VOLUME), new.volume))
    for live, price, before in (
        (layout.HIGH, new.high, old.high if old else None),
        (layout.LOW, new.low, old.low if old else None),
        (layout.CLOSE, new.close, old.close if old else None),
        (layout.OPEN, new.open, old.open if old else None),
    ):
        if price is not None and price != before:
            messages.append(layout.tick_price(target, kind(live), price, _ZERO, 0))
    return messages


def _side(
    messages: list[Fields], target: Target, old: Picture | None, new: Picture, kinds: tuple[int, int], side: str
) -> None:
    price: Decimal | None = getattr(new, side)
    size: Decimal = getattr(new, f"{side}_size")
    before: Decimal | None = getattr(old, side) if old is not None else None
    size_before: Decimal | None = getattr(old, f"{side}_size") if old is not None else None
    if price is None:
        if old is None or before is not None:
            messages.append(layout.no_price(target, kinds[0]))
            messages.append(layout.tick_size(target, kinds[1], _ZERO))
    elif price != before:
        messages.append(layout.tick_price(target, kinds[0], price, size, layout.AUTO_EXECUTE))
        messages.append(layout.tick_size(target, kinds[1], size))
    elif size != size_before:
        messages.append(layout.tick_size(target, kinds[1], size))


def _last(target: Target, old: Picture | None, new: Picture, price_kind: int, size_kind: int) -> list[Fields]:
    if new.last is None:
        return []
    if old is None or new.last != old.last:
        return [
            layout.tick_price(target, price_kind, new.last, new.last_size, 0),
            layout.tick_size(target, size_kind, new.last_size),
        ]
    if new.last_size != old.last_size:
        return [layout.tick_size(target, size_kind, new.last_size)]
    return []
