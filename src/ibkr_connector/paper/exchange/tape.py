"""The market as the exchange sees it: for each followed instrument the quote in force, the last trade and the hours.

`Feed` merges the events of all followed instruments in time order. It reads one event ahead of each instrument to know
when it comes, and shows nothing of it before its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from itertools import count

from .. import sessions
from ..instruments import Instrument
from ..market.base import MarketEvent, Quote, Trade, What
from ..sessions import Session
from .ports import Contracts, MarketFeed
from .types import ZERO, DayStats

INSTANT = timedelta(microseconds=1)


class Tape:
    """What is known about one instrument now."""

    __slots__ = (
        "_closed_from",
        "_closed_until",
        "_session",
        "_stats",
        "_stats_day",
        "ask_taken",
        "bid_taken",
        "events",
        "generation",
        "halted",
        "increments",
        "instrument",
        "last_mark",
        "quote",
        "since",
        "trade",
        "watchers",
    )

    def __init__(self, instrument: Instrument, increments: list[tuple[Decimal, Decimal]]) -> None:
        self.instrument = instrument
        self.increments = increments
        self.quote: Quote | None = None
        self.trade: Trade | None = None
        self.bid_taken = ZERO
        """How much of the displayed bid our own sells have consumed since this quote."""
        self.ask_taken = ZERO
        self.halted = False
        self.watchers = 0
        self.events: Iterator[MarketEvent] | None = None
        self.since: datetime | None = None
        self.generation = 0
        self.last_mark: Decimal | None = None
        """The last midpoint: what a position is worth while the market is closed."""
        self._session: Session | None = None
        self._closed_from: datetime | None = None
        self._closed_until: datetime | None = None
        self._stats: DayStats | None = None
        self._stats_day: Session | None = None

    @property
    def followed(self) -> bool:
        """Whether events of this instrument arrive."""
        return self.events is not None

    # --- hours ---

    def session_at(self, at: datetime) -> Session | None:
        """The session `at` lies in, regular hours or not. Remembered, because it is asked for every event."""
        known = self._session
        if known is not None and known.start <= at < known.end:
            return known
        if self._closed_from is not None and self._closed_until is not None:
            if self._closed_from <= at < self._closed_until:
                return None
        found = sessions.session_at(self.instrument, at)
        if found is None:
            self._closed_from = at
            self._closed_until = sessions.next_session(self.instrument, at).start
        else:
            self._session = found
        return found

    def is_open(self, at: datetime, extended: bool) -> bool:
        """Whether orders may match at `at`: in any hours (`extended`), or in the regular ones only."""
        session = self.session_at(at)
        if session is None:
            return False
        return extended or session.rth_start <= at < session.rth_end

    def next_open(self, at: datetime, extended: bool) -> datetime:
        """When orders may match next; `at` itself while open."""
        return sessions.next_open(self.instrument, at, extended)

    def next_close(self, at: datetime, extended: bool) -> datetime:
        """When the hours `at` lies in, or else the next ones, end."""
        return sessions.next_close(self.instrument, at, extended)

    def usable_quote(self, at: datetime) -> Quote | None:
        """The quote orders may match against: none in a halt, none left over from an earlier session."""
        quote = self.quote
        if quote is None or self.halted:
            return None
        session = self.session_at(at)
        return quote if session is not None and quote.at >= session.start else None

    # --- prices ---

    def tick(self, price: Decimal) -> Decimal:
        """The price increment at a price."""
        best = self.increments[0][1]
        for low, increment in self.increments:
            if price < low:
                break
            best = increment
        return best

    def on_quote(self, quote: Quote) -> None:
        """A new quote: what we took of the old one is history."""
        self.quote = quote
        self.bid_taken = ZERO
        self.ask_taken = ZERO

    def on_trade(self, trade: Trade) -> None:
        """A new print."""
        self.trade = trade
        stats, day = self._stats, self._stats_day
        if stats is not None and day is not None and day.start <= trade.at < day.end:
            self._stats = DayStats(
                open=trade.price if stats.open is None else stats.open,
                high=trade.price if stats.high is None else max(stats.high, trade.price),
                low=trade.price if stats.low is None else min(stats.low, trade.price),
                close=stats.close,
                volume=stats.volume + trade.size,
            )

    def day_stats(self, market: MarketFeed, at: datetime) -> DayStats:
        """Open, high, low, volume of the session, and the close before it. Kept up to date while followed."""
        session = sessions.last_session(self.instrument, at)
        if self._stats is None or self._stats_day != session or not self.followed:
            self._stats = _read_stats(market, self.instrument, session, at)
            self._stats_day = session
        return self._stats


def _decimal(price: float) -> Decimal:
    return Decimal(str(price))


def _read_stats(market: MarketFeed, instrument: Instrument, session: Session, at: datetime) -> DayStats:
    what: What = "MIDPOINT" if instrument.sec_type == "CASH" else "TRADES"
    before = sessions.previous_session(instrument, session.day)
    days = market.bars(instrument, before.start, before.end, "day", what, use_rth=True)
    close = _decimal(days[-1].close) if days else None
    # Bars end before `end`; what was printed at this very moment belongs in.
    bars = market.bars(instrument, session.start, min(at + INSTANT, session.end), 60, what, use_rth=False)
    if not bars:
        return DayStats(close=close)
    return DayStats(
        open=_decimal(bars[0].open),
        high=_decimal(max(bar.high for bar in bars)),
        low=_decimal(min(bar.low for bar in bars)),
        close=close,
        volume=sum((_decimal(bar.volume) for bar in bars if bar.volume > 0), ZERO),
    )


class Feed:
    """The tapes of all instruments, and the next event among the followed ones."""

    def __init__(self, market: MarketFeed, contracts: Contracts) -> None:
        self._market = market
        self._contracts = contracts
        self._tapes: dict[int, Tape] = {}
        self._heap: list[tuple[datetime, int, int, Tape, MarketEvent]] = []
        self._order = count()

    def tape(self, instrument: Instrument) -> Tape:
        """The tape of an instrument; made on first use."""
        tape = self._tapes.get(instrument.con_id)
        if tape is None:
            tape = Tape(instrument, self._increments(instrument))
            self._tapes[instrument.con_id] = tape
        return tape

    def follow(self, tape: Tape, now: datetime) -> None:
        """Start to hear an instrument: the state at `now`, then every later event."""
        if tape.followed:
            return
        quote = self._market.quote_at(tape.instrument, now)
        if quote is not None and (tape.quote is None or quote.at != tape.quote.at):
            tape.on_quote(quote)
        tape.trade = self._market.last_trade_at(tape.instrument, now)
        tape.since = now
        tape.events = self._market.events(tape.instrument, now)
        tape.generation += 1
        self._pull(tape)

    def unfollow(self, tape: Tape) -> None:
        """Stop hearing it."""
        tape.events = None
        tape.generation += 1

    def look_up(self, tape: Tape, now: datetime) -> Quote | None:
        """The quote in force, also of an instrument nobody follows."""
        if not tape.followed:
            quote = self._market.quote_at(tape.instrument, now)
            if quote is not None and (tape.quote is None or quote.at != tape.quote.at):
                tape.on_quote(quote)
        return tape.quote

    def look_up_trade(self, tape: Tape, now: datetime) -> Trade | None:
        """The last trade, also of an instrument nobody follows."""
        if not tape.followed:
            tape.trade = self._market.last_trade_at(tape.instrument, now)
        return tape.trade

    def next_at(self) -> datetime | None:
        """When the next event comes, or None."""
        heap = self._heap
        while heap and heap[0][2] != heap[0][3].generation:
            heappop(heap)
        return heap[0][0] if heap else None

    def pop(self) -> tuple[Tape, MarketEvent]:
        """Take the next event; its tape does not know it yet. Call after `next_at` returned a time."""
        _, _, _, tape, event = heappop(self._heap)
        self._pull(tape)
        return tape, event

    def _pull(self, tape: Tape) -> None:
        if tape.events is None:
            return
        for event in tape.events:
            # The state at `since` already holds everything up to then.
            if tape.since is None or event.at > tape.since:
                heappush(self._heap, (event.at, next(self._order), tape.generation, tape, event))
                return
        # The data ends here: the last quote stays in force, and following costs nothing more.

    def _increments(self, instrument: Instrument) -> list[tuple[Decimal, Decimal]]:
        first = instrument.market_rule_ids.split(",")[0]
        rule = self._contracts.price_increments(int(first)) if first else []
        return sorted(rule) or [(ZERO, instrument.min_tick)]
