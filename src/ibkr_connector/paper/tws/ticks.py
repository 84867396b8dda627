"""One market data subscription: what it hears of the exchange, and when it tells its client.

Ticks are sent on change only, and no more often than IBKR's own aggregation interval in wire time, so a market clock
that runs fast does not flood anybody.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from .. import sessions
from ..exchange.types import QuoteChanged, TradePrinted
from ..instruments import Instrument
from ..market.base import Quote, Trade
from . import layouts_market as layout
from .layouts_market import Target
from .picture import Picture, ticks

if TYPE_CHECKING:
    from .session import Session

LIVE: Final = 1
FROZEN: Final = 2
DELAYED: Final = 3
DELAYED_FROZEN: Final = 4

DELAY: Final = timedelta(minutes=15)
"""How old delayed data is."""
_INTERVAL: Final = 0.25
_INTERVAL_FX: Final = 0.005
_INTERVAL_DELAYED: Final = 1.0
_ZERO: Final = Decimal(0)


def tick_interval(instrument: Instrument, override: float | None) -> float:
    """Wire seconds between two updates of a ticker: IBKR aggregates stocks over 250 ms, currencies over 5 ms."""
    if override is not None:
        return override
    return _INTERVAL_FX if instrument.sec_type == "CASH" else _INTERVAL


class TickFeed:
    """A streaming market data request of one client."""

    def __init__(
        self, session: Session, request_id: int, instrument: Instrument, generic: frozenset[int], kind: int
    ) -> None:
        self._session = session
        self._hub = session.hub
        self._target = Target(session.version, request_id, instrument)
        self._generic = generic
        self._kind = kind
        self._shown: Picture | None = None
        self._interval = tick_interval(instrument, self._hub.options.tick_interval)
        self._timer: asyncio.TimerHandle | None = None
        self._last_flush = float("-inf")
        self._printed: TradePrinted | None = None
        self._printed_size = _ZERO
        self._printed_count = 0
        self._turnover = _ZERO
        self._day_volume = _ZERO
        self._day: object = None

    @property
    def instrument(self) -> Instrument:
        """What the ticks are about."""
        return self._target.instrument

    @property
    def is_delayed(self) -> bool:
        """Whether the client is shown the market of 15 minutes ago."""
        return self._kind in {DELAYED, DELAYED_FROZEN}

    def open(self) -> None:
        """Begin: join the exchange's watchers and show the present picture."""
        item = self.instrument
        self._hub.exchange.watch(item)
        self._hub.feeds.setdefault(item.con_id, set()).add(self)
        if self._wants_rt_volume:
            self._start_vwap()
        self.on_halt()
        self._flush()
        self._send_generic_ticks()
        if self.is_delayed:
            self._timer = self._hub.loop.call_later(_INTERVAL_DELAYED, self._tick_delayed)
        self._hub.wake()

    def close(self) -> None:
        """End: nothing is sent any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        feeds = self._hub.feeds.get(self.instrument.con_id)
        if feeds is not None and self in feeds:
            feeds.discard(self)
            if not feeds:
                del self._hub.feeds[self.instrument.con_id]
            self._hub.exchange.unwatch(self.instrument)

    def on_halt(self) -> None:
        """Trading was halted or goes on."""
        if not self.is_delayed:
            halted = Decimal(self._hub.exchange.is_halted(self.instrument))
            self._send(layout.tick_generic(self._target.request_id, layout.HALTED, halted))

    def refresh(self) -> None:
        """Look at the market although it has said nothing."""
        self._soon()

    def settle(self) -> None:
        """Show at once what was to be shown soon: from here on the market may be hidden."""
        if self._timer is not None and not self.is_delayed:
            self._timer.cancel()
            self._flush()

    def on_quote(self, event: QuoteChanged) -> None:
        """The book changed."""
        del event
        self._soon()

    def on_trade(self, event: TradePrinted) -> None:
        """Something was traded."""
        if self._wants_rt_volume:
            self._add_print(event)
        self._soon()

    def _soon(self) -> None:
        """Flush now, or once the interval since the last time has passed."""
        if self.is_delayed or self._timer is not None:
            return
        wait = self._last_flush + self._interval - self._hub.loop.time()
        # Even when due, the exchange finishes its step first: one flush for everything that happens at one moment.
        self._timer = self._hub.loop.call_later(max(0.0, wait), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._last_flush = self._hub.loop.time()
        new = self._picture()
        for message in ticks(self._target, self._shown, new, delayed=self.is_delayed):
            self._send(message)
        self._shown = new
        self._send_rt_volume()

    def _tick_delayed(self) -> None:
        self._flush()
        self._timer = self._hub.loop.call_later(_INTERVAL_DELAYED, self._tick_delayed)

    def _picture(self) -> Picture:
        if self.is_delayed:
            return delayed_picture(self._session, self.instrument)
        return live_picture(self._session, self.instrument, frozen=self._kind == FROZEN)

    def _send(self, fields: list[str]) -> None:
        self._session.send(fields)

    # --- generic ticks -----------------------------------------------------------------------------------------------

    def _send_generic_ticks(self) -> None:
        item, request_id = self.instrument, self._target.request_id
        if self._generic & {221, 232}:
            mark = self._shown.last if self._shown is not None else None
            if mark is not None:
                self._send(layout.tick_price(self._target, layout.MARK_PRICE, mark, _ZERO, 0))
        if self._generic & {236, 256} and item.sec_type == "STK":
            # Above 2.5: at least 1000 shares are available for shorting.
            self._send(layout.tick_generic(request_id, layout.SHORTABLE, Decimal(3 if item.shortable else 1)))
        if 104 in self._generic:
            self._send(layout.tick_generic(request_id, layout.HISTORICAL_VOLATILITY, item.annual_volatility))
        if 106 in self._generic:
            self._send(layout.tick_generic(request_id, layout.IMPLIED_VOLATILITY, item.annual_volatility))
        if 165 in self._generic and item.average_daily_volume:
            volume = Decimal(item.average_daily_volume)
            self._send(layout.tick_size(self._target, layout.AVERAGE_VOLUME, volume))

    @property
    def _wants_rt_volume(self) -> bool:
        return bool(self._generic & {233, 375}) and not self.is_delayed

    def _start_vwap(self) -> None:
        """The day's volume and turnover so far; trades add to them."""
        now = self._hub.clock.now()
        session = sessions.last_session(self.instrument, now)
        self._day = session.day
        bars = self._hub.market.bars(self.instrument, session.start, now, "day", "TRADES", use_rth=False)
        bar = bars[-1] if bars else None
        if bar is not None and bar.session == session.day and bar.volume > 0:
            self._day_volume = Decimal(repr(bar.volume))
            self._turnover = self._day_volume * Decimal(repr(bar.wap))
        else:
            self._day_volume = self._turnover = _ZERO

    def _add_print(self, event: TradePrinted) -> None:
        session = sessions.session_at(self.instrument, event.at)
        if session is not None and session.day != self._day:
            self._day, self._day_volume, self._turnover = session.day, _ZERO, _ZERO
        self._printed = event
        self._printed_size += event.size
        self._printed_count += 1
        self._day_volume += event.size
        self._turnover += event.size * event.price

    def _send_rt_volume(self) -> None:
        event = self._printed
        if event is None or not self._day_volume:
            return
        vwap = (self._turnover / self._day_volume).quantize(Decimal("1E-8"))
        value = layout.rt_volume(
            self._target,
            event.price,
            self._printed_size,
            event.at,
            self._day_volume,
            vwap,
            single=self._printed_count == 1,
        )
        for generic, kind in ((233, layout.RT_VOLUME), (375, layout.RT_TRADE_VOLUME)):
            if generic in self._generic:
                self._send(layout.tick_string(self._target.request_id, kind, value))
        self._printed, self._printed_size, self._printed_count = None, _ZERO, 0


# --- pictures ------------------------------------------------------------------------------------------------------


def live_picture(session: Session, item: Instrument, *, frozen: bool = False) -> Picture:
    """The market of an instrument now; `frozen` = while closed, as it was at the last close."""
    hub = session.hub
    now = hub.clock.now()
    quote = hub.exchange.quote(item)
    if frozen and (quote is None or (quote.bid is None and quote.ask is None)):
        quote = _quote_at_close(session, item, now)
    stats = hub.exchange.day_stats(item)
    return _picture(quote, hub.exchange.last_trade(item), stats.open, stats.high, stats.low, stats.close, stats.volume)


def delayed_picture(session: Session, item: Instrument) -> Picture:
    """The market of an instrument fifteen minutes ago."""
    hub = session.hub
    at = hub.clock.now() - DELAY
    day = sessions.last_session(item, at)
    bars = hub.market.bars(item, day.start, at, "day", "TRADES", use_rth=False)
    quote, trade = hub.market.quote_at(item, at), hub.market.last_trade_at(item, at)
    close = hub.exchange.day_stats(item).close
    if not bars:
        return _picture(quote, trade, None, None, None, close, _ZERO)
    bar = bars[-1]
    values = [Decimal(repr(value)) for value in (bar.open, bar.high, bar.low)]
    return _picture(quote, trade, values[0], values[1], values[2], close, Decimal(repr(max(bar.volume, 0.0))))


def _quote_at_close(session: Session, item: Instrument, now: datetime) -> Quote | None:
    last = sessions.last_session(item, now)
    return session.hub.market.quote_at(item, min(now, last.end) - timedelta(seconds=1))


def _picture(
    quote: Quote | None,
    trade: Trade | None,
    opened: Decimal | None,
    high: Decimal | None,
    low: Decimal | None,
    close: Decimal | None,
    volume: Decimal,
) -> Picture:
    return Picture(
        bid=None if quote is None else quote.bid,
        bid_size=_ZERO if quote is None else quote.bid_size,
        ask=None if quote is None else quote.ask,
        ask_size=_ZERO if quote is None else quote.ask_size,
        last=None if trade is None else trade.price,
        last_size=_ZERO if trade is None else trade.size,
        last_at=None if trade is None else trade.at,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=None if trade is None else volume,
    )
