"""Market data fields by their numbers. Values are texts, whatever they mean, as in real snapshots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final

from ..exchange.types import DayStats, PositionView
from ..instruments import Instrument
from ..market.base import Quote, Trade
from .calls import Json
from .contract_rows import listing
from .hub import WebHub

DEFAULT_FIELDS: Final = ("31", "84", "86")
MAX_FIELDS: Final = 50
_MILLION: Final = Decimal(1_000_000)
_THOUSAND: Final = Decimal(1_000)


@dataclass
class Picture:
    """The market of one contract at a moment; everything is looked up when it is asked for."""

    hub: WebHub
    item: Instrument

    @cached_property
    def quote(self) -> Quote | None:
        """The quote in force."""
        return self.hub.exchange.quote(self.item)

    @cached_property
    def trade(self) -> Trade | None:
        """The last print."""
        return self.hub.exchange.last_trade(self.item)

    @cached_property
    def stats(self) -> DayStats:
        """The session's prices."""
        return self.hub.exchange.day_stats(self.item)

    @cached_property
    def position(self) -> PositionView | None:
        """What the selected account holds."""
        found = self.hub.exchange.pnl_single(self.hub.selected, self.item.con_id)
        return found if found is not None and found.quantity else None

    @property
    def last(self) -> Decimal | None:
        """The last price; currency pairs have none, and neither does a market nothing was traded in."""
        return None if self.trade is None or self.item.sec_type == "CASH" else self.trade.price

    # --- texts ---

    def price(self, value: Decimal | None) -> str | None:
        """A price with the contract's decimals."""
        if value is None:
            return None
        digits = max(2, -int(self.item.min_tick.normalize().as_tuple().exponent))
        return f"{value:.{digits}f}"

    def availability(self) -> str:
        """6509: R real time, D delayed, N not subscribed; P snapshot, p consolidated; B book."""
        return {"live": "RpB", "delayed": "DPB", "none": "N"}[self.hub.options.entitlement]

    def last_text(self) -> str | None:
        """31: C before a prior close, H while halted."""
        if self.last is None:
            close = self.price(self.stats.close)
            return None if close is None else f"C{close}"
        prefix = "H" if self.hub.exchange.is_halted(self.item) else ""
        return f"{prefix}{self.price(self.last)}"

    def change(self) -> Decimal | None:
        """Against the close of the day before."""
        if self.last is None or self.stats.close is None:
            return None
        return self.last - self.stats.close

    def change_text(self) -> str | None:
        """82: signed."""
        change = self.change()
        return None if change is None else f"{change:+.2f}"

    def percent_text(self) -> str | None:
        """83: with its sign of per cent."""
        change, close = self.change(), self.stats.close
        return None if change is None or not close else f"{change / close * 100:.2f}%"

    def mark(self) -> Decimal | None:
        """7635: the last price within bid and ask."""
        last, quote = self.last, self.quote
        if last is None or quote is None:
            return last
        if quote.bid is not None and last < quote.bid:
            return quote.bid
        return quote.ask if quote.ask is not None and last > quote.ask else last


def _size(value: Decimal | None) -> str | None:
    """`1,200`."""
    return None if value is None or value <= 0 else f"{value:,.0f}"


def _volume(value: Decimal) -> str:
    """`50.1M`, `12.3K`."""
    if value >= _MILLION:
        return f"{value / _MILLION:.1f}M"
    return f"{value / _THOUSAND:.1f}K" if value >= _THOUSAND else f"{value:.0f}"


def _money(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.2f}"


FIELDS: Final[dict[str, Callable[[Picture], Json]]] = {
    "31": Picture.last_text,
    "55": lambda p: p.item.symbol,
    "58": lambda p: p.item.long_name,
    "70": lambda p: p.price(p.stats.high),
    "71": lambda p: p.price(p.stats.low),
    "73": lambda p: _money(p.position.market_value) if p.position else None,
    "74": lambda p: p.price(p.position.avg_cost / p.item.multiplier) if p.position else None,
    "75": lambda p: _money(p.position.unrealized_pnl) if p.position else None,
    "76": lambda p: f"{p.position.quantity:,f}" if p.position else None,
    "78": lambda p: _money(p.position.daily_pnl) if p.position else None,
    "79": lambda p: _money(p.position.realized_pnl) if p.position else None,
    "82": Picture.change_text,
    "83": Picture.percent_text,
    "84": lambda p: p.price(p.quote.bid) if p.quote else None,
    "85": lambda p: _size(p.quote.ask_size) if p.quote else None,
    "86": lambda p: p.price(p.quote.ask) if p.quote else None,
    "87": lambda p: _volume(p.stats.volume) if p.item.sec_type != "CASH" else None,
    "88": lambda p: _size(p.quote.bid_size) if p.quote else None,
    "6004": lambda p: p.item.exchange,
    "6008": lambda p: p.item.con_id,
    "6070": lambda p: p.item.sec_type,
    "6457": lambda p: str(p.item.under_con_id) if p.item.under_con_id else None,
    "6509": Picture.availability,
    "7051": lambda p: p.item.long_name,
    "7059": lambda p: _size(p.trade.size) if p.trade else None,
    "7094": lambda p: f"{p.item.con_id}@{p.item.exchange}",
    "7219": lambda p: p.item.symbol,
    "7220": lambda p: p.item.local_symbol,
    "7221": lambda p: listing(p.item),
    "7280": lambda p: p.item.industry or None,
    "7281": lambda p: p.item.category or None,
    "7282": lambda p: _volume(Decimal(p.item.average_daily_volume)) if p.item.average_daily_volume else None,
    "7295": lambda p: p.price(p.stats.open),
    "7296": lambda p: p.price(p.stats.close),
    "7635": lambda p: p.price(p.mark()),
    "7636": lambda p: "1,000,000" if p.item.shortable and p.item.sec_type == "STK" else None,
    "7644": lambda p: "Available" if p.item.shortable and p.item.sec_type == "STK" else None,
    "7741": lambda p: p.price(p.stats.close),
    "7762": lambda p: f"{p.stats.volume:.0f}" if p.item.sec_type != "CASH" else None,
}
"""Field number -> its value, or None where there is none (it is left out then)."""

_NEED_DATA: Final = frozenset(
    {"31", "70", "71", "82", "83", "84", "85", "86", "87", "88", "7059", "7295", "7296", "7635", "7741", "7762"}
)


def values(hub: WebHub, item: Instrument, wanted: list[str]) -> dict[str, Json]:
    """The fields that are known and have a value, in the order asked for, and 6509 always."""
    if hub.is_muted(item):
        shown = hub.pictures.get(item.con_id, {})
        return {name: shown[name] for name in ("6509", *wanted) if name in shown}
    picture = Picture(hub, item)
    found: dict[str, Json] = {"6509": picture.availability()}
    for name in wanted:
        read = FIELDS.get(name)
        if read is None or (hub.options.entitlement == "none" and name in _NEED_DATA):
            continue
        value = read(picture)
        if value is not None:
            found[name] = value
    hub.pictures.setdefault(item.con_id, {}).update(found)
    return found
