"""One market-data line per contract, shared by all who want it, made again after an outage.

A line that nobody reads lingers for a while, so that the next order in the same contract finds a quote at once; when
lines run short the longest lingering one goes first. Everything here runs on the session loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from ibkr_connector.backends.base import LineHandle
from ibkr_connector.errors import (
    BrokerLinkLost,
    ConnectorClosed,
    MarketDataLost,
    NoMarketData,
    PacingTimeout,
    TooManyMarketDataLines,
    TradingError,
)
from ibkr_connector.events import Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote
from ibkr_connector.resilience import Deadline
from ibkr_connector.resilience.pacing import Lane
from ibkr_connector.session.flight import Flight
from ibkr_connector.session.lines import LineLeases
from ibkr_connector.session.mailbox import Mailbox
from ibkr_connector.session.session import Session

_LINGER_S = 60.0
_WHOLE_S = 0.25
_REMEMBER = 1_000
"""Contracts whose last quote is kept for callers who take a stale one."""
_SETTLED_S = 3.0
"""Seconds after which a new line has told the present quote, if there is one."""
_COMPETING_SESSION = 10197
"""Somebody uses the same login elsewhere, and gets the market data now."""
_LINES_USED_UP = 101
_log = get_logger(__name__)


@dataclass(slots=True)
class _Line:
    contract: Contract
    handle: LineHandle | None = None
    latest: Quote | None = None
    latest_at: float = 0.0
    made_at: float = 0.0
    """When the present handle was opened: what came before says nothing about now."""
    readers: set[Mailbox[Quote]] = field(default_factory=set)
    waiters: set[asyncio.Future[Quote]] = field(default_factory=set)
    opening: Flight[None] | None = None
    idle_since: float = 0.0
    linger: asyncio.TimerHandle | None = None
    failed: Exception | None = None
    """Why it ended: for who opened it and had no time to wait for it yet."""

    @property
    def is_read(self) -> bool:
        """Whether anybody reads it."""
        return bool(self.readers or self.waiters)

    @property
    def is_wanted(self) -> bool:
        """Whether anybody reads it, or is about to."""
        return self.is_read or (self.opening is not None and self.opening.open)


class QuoteHub:
    """Lines by con_id.

    Args:
        session: the connection.
        leases: how many lines there are.
        linger_s: seconds that a line stays when nobody reads it.
        lines_end_silently: a line may end without a word (Web): its silence does not say that the market stands.
    """

    def __init__(
        self,
        session: Session,
        leases: LineLeases,
        linger_s: float = _LINGER_S,
        *,
        lines_end_silently: bool = False,
    ) -> None:
        self._session = session
        self._leases = leases
        self._linger_s = linger_s
        self._lines_end_silently = lines_end_silently
        self._lines: dict[int, _Line] = {}
        self._remembered: dict[int, tuple[Quote, float]] = {}
        self._closed = False

    @property
    def lines(self) -> tuple[int, int]:
        """Market-data lines in use, and how many there are."""
        return len(self._leases.held), self._leases.limit

    def latest(self, con_id: int) -> tuple[Quote, float] | None:
        """The newest quote of an open line and its age in seconds, without waiting."""
        line = self._lines.get(con_id)
        if line is None or line.latest is None or line.handle is None:
            return None
        return line.latest, self._age(line)

    def _age(self, line: _Line) -> float:
        """Seconds since the newest quote was certainly true.

        IBKR tells changes only: while the line is open and nothing is reported down, silence means that the market
        stands, and the last sign of life of the connection counts. Otherwise, and where lines may end without a word,
        it is as old as its last tick.
        """
        told = line.latest_at
        if self._lines_end_silently:
            return self._session.clock.monotonic() - told
        if line.handle is not None and told >= line.made_at and self._session.data_flows:
            told = max(told, self._session.alive_at)
        return self._session.clock.monotonic() - told

    def remembered(self, con_id: int) -> tuple[Quote, float] | None:
        """The last quote ever seen of a contract, and its age in seconds; also when its line is gone or was cut."""
        found = self._remembered.get(con_id)
        return None if found is None else (found[0], self._session.clock.monotonic() - found[1])

    def has_settled(self, con_id: int) -> bool:
        """Whether a line has been open for long enough to have told what there is: waiting brings nothing more."""
        line = self._lines.get(con_id)
        if line is None or line.handle is None or not self._session.data_flows:
            return False
        return self._session.clock.monotonic() - line.made_at >= _SETTLED_S

    async def attach(self, contract: Contract, box: Mailbox[Quote], timeout: float) -> None:
        """Start feeding `box` with quotes of `contract` (qualified). The newest quote known comes first.

        A box that is closed, or whose reader's loop is gone, is forgotten with the next quote.
        """
        line = await self._open(contract, timeout)
        if line.failed is not None:
            raise line.failed
        if box.closed:  # its reader left while the line was opened
            self._maybe_linger(line)
            return
        line.readers.add(box)
        self._stop_linger(line)
        if line.latest is not None:
            box.push(line.latest)

    def detach(self, contract: Contract, box: Mailbox[Quote]) -> None:
        """Stop feeding `box`; the line lingers when it was the last. Idempotent."""
        line = self._lines.get(contract.con_id)
        if line is None or box not in line.readers:
            return
        line.readers.discard(box)
        self._maybe_linger(line)

    async def quote(self, contract: Contract, *, max_age: float, timeout: float, whole: bool = False) -> Quote:
        """A quote at most `max_age` seconds old with both sides, or, at the deadline, the best there is.

        `whole` waits a moment longer for the last price and the day's figures, which a new line tells afterwards.

        Raises:
            NoMarketData: nothing at all came within `timeout` seconds.
        """
        clock = self._session.clock
        deadline = clock.monotonic() + timeout
        line = await self._open(contract, timeout)
        asked = False
        try:
            while True:
                if line.failed is not None:
                    raise line.failed
                quote = line.latest
                age = self._age(line)
                if quote is not None and age <= max_age and _is_usable(quote):
                    if not whole or (quote.last is not None and quote.close is not None):
                        return quote
                    deadline = min(deadline, clock.monotonic() + _WHOLE_S)
                    whole = False
                if quote is not None and _is_usable(quote) and age > max_age and not asked:
                    asked = True  # the market stands still, or the connection does: its answer tells which
                    with contextlib.suppress(TradingError):
                        await self._ask(line, max(deadline - clock.monotonic(), 0.001))
                    continue
                waiter: asyncio.Future[Quote] = asyncio.get_running_loop().create_future()
                line.waiters.add(waiter)
                try:
                    await clock.wait_for(waiter, max(deadline - clock.monotonic(), 0.0))
                except TimeoutError:
                    if line.latest is not None and self._age(line) <= max(max_age, timeout):
                        return line.latest
                    raise NoMarketData(
                        f"no quote of {contract.symbol} in {timeout:g} s.",
                        symbol=contract.symbol,
                        con_id=contract.con_id,
                    ) from None
                finally:
                    line.waiters.discard(waiter)
        finally:
            self._maybe_linger(line)

    async def _ask(self, line: _Line, timeout: float) -> None:
        """Whether the newest quote still holds: the connection answers, or the line tells the quote again."""
        if not self._lines_end_silently:
            await self._session.ask_time(timeout)
            return
        await self._session.pace(Lane.MARKET, timeout=timeout)
        if line.handle is not None:
            self._session.backend.renew_line(line.handle)

    async def resubscribe(self) -> None:
        """Make every line again that somebody reads, and drop the others: after a reconnect, 1101 and 1102.

        After 1102 the gateway has kept them, but nothing tells what was missed: a new line tells the present quote.
        """
        for con_id, line in list(self._lines.items()):
            self._close_handle(line)
            if not line.is_wanted:
                self._forget(con_id)
                continue
            try:
                await self._subscribe(line, timeout=self._session.settings.request_timeout)
            except TradingError as error:
                self._fail(line, error)

    def lost(self) -> None:
        """The connection ended: handles mean nothing any more; readers wait for `resubscribe`."""
        self._leases.learned = None
        for line in self._lines.values():
            line.handle = None

    def retry_lost(self) -> None:
        """A data farm is back: make the lines again that were lost with it."""
        for line in self._lines.values():
            if line.handle is None and line.is_read and (line.opening is None or not line.opening.open):
                line.opening = self._flight(line, self._again(line))

    async def _again(self, line: _Line) -> None:
        try:
            await self._subscribe(line, timeout=self._session.settings.request_timeout)
        except TradingError as error:
            self._fail(line, error)
            raise

    def close(self) -> None:
        """End every stream, and let nobody begin another. Nothing is written: the connection ends with it."""
        self._closed = True
        for con_id, line in list(self._lines.items()):
            for box in line.readers:
                box.close()
            line.readers.clear()
            for waiter in line.waiters:
                if not waiter.done():
                    waiter.set_exception(_closed())
            if line.opening is not None:
                line.opening.give_up()
            self._forget(con_id)

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _open(self, contract: Contract, timeout: float) -> _Line:
        """The contract's line, opened by whoever comes first; the last who leaves before that ends the opening."""
        if self._closed:
            raise _closed()
        line = self._lines.get(contract.con_id)
        if line is None:
            self._make_room()
            self._leases.take(contract.con_id)
            line = self._lines[contract.con_id] = _Line(contract)
        if line.handle is not None:
            return line
        deadline = Deadline(self._session.clock, timeout)
        joined = line.opening is not None and line.opening.open
        if line.opening is None or not joined:
            line.opening = self._flight(line, self._subscribe(line, timeout))
        try:
            await self._session.clock.wait_for(line.opening.join(), deadline.remaining())
        except PacingTimeout:
            self._abandon(line)
            if not joined or deadline.expired:
                raise
            return await self._open(contract, deadline.remaining())  # another's time was too short; ours may not be
        except TimeoutError as error:
            self._abandon(line)
            if isinstance(error, TradingError):
                raise
            raise NoMarketData(f"no line for {contract.symbol} in {timeout:g} s.", con_id=contract.con_id) from None
        except BaseException:
            self._abandon(line)
            raise
        return line

    def _flight(self, line: _Line, work: Coroutine[Any, Any, None]) -> Flight[None]:
        return Flight(work, name=f"line {line.contract.symbol}", ended=_closed, keep=lambda: line.is_read)

    def _abandon(self, line: _Line) -> None:
        """One who wanted the line has left before it was open."""
        if line.is_wanted or self._lines.get(line.contract.con_id) is not line:
            return
        if line.handle is None:
            self._forget(line.contract.con_id)
        else:
            self._maybe_linger(line)

    async def _subscribe(self, line: _Line, timeout: float) -> None:
        await self._session.pace(Lane.MARKET, timeout=timeout)
        if not self._session.backend.connected:
            raise self._session.unavailable("there is no connection to stream quotes over")
        con_id = line.contract.con_id
        if line.handle is not None or self._lines.get(con_id) is not line:
            return  # somebody else was faster, or nobody wants it any more
        line.made_at = self._session.clock.monotonic()
        line.handle = self._session.backend.open_line(
            line.contract, lambda quote: self._on_quote(con_id, quote), lambda error: self._on_error(con_id, error)
        )

    def _close_handle(self, line: _Line) -> None:
        if line.handle is not None:
            self._session.backend.close_line(line.handle)
            line.handle = None

    def _on_quote(self, con_id: int, quote: Quote) -> None:
        line = self._lines.get(con_id)
        if line is None:
            return
        line.latest = quote
        line.latest_at = self._session.clock.monotonic()
        if con_id not in self._remembered and len(self._remembered) >= _REMEMBER:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[con_id] = (quote, line.latest_at)
        gone = [box for box in line.readers if not box.push(quote)]
        if gone:
            line.readers.difference_update(gone)
            self._maybe_linger(line)
        if line.waiters:
            for waiter in line.waiters:
                if not waiter.done():
                    waiter.set_result(quote)

    def _on_error(self, con_id: int, error: Exception) -> None:
        line = self._lines.get(con_id)
        if line is None:
            return
        if isinstance(error, MarketDataLost | BrokerLinkLost):
            _log.warning("market data line lost; it is made again when farm and link are back", con_id=con_id)
            line.handle = None
            if error.code == _COMPETING_SESSION:
                self._session.incident("credential_use", error.message, Severity.WARNING, about="market data")
            return
        used_up = isinstance(error, TooManyMarketDataLines) and error.code == _LINES_USED_UP
        if used_up and self._try_with_another(line):
            return
        self._fail(line, error)

    def _try_with_another(self, line: _Line) -> bool:
        """The broker has fewer lines for us than we thought: give up one that nobody reads, for the one refused."""
        self._leases.refused()
        _log.warning("the broker has no more market data lines (101)", lines=self._leases.limit)
        idle = self._longest_idle()
        if idle is None or not line.is_wanted:
            return False
        line.handle = None
        self._drop(idle.contract.con_id)
        line.opening = self._flight(line, self._again(line))
        return True

    def _longest_idle(self) -> _Line | None:
        idle = [line for line in self._lines.values() if not line.is_wanted]
        return min(idle, key=lambda line: line.idle_since) if idle else None

    def _fail(self, line: _Line, error: Exception) -> None:
        line.failed = error
        for box in line.readers:
            box.close(error)
        line.readers.clear()
        for waiter in line.waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._forget(line.contract.con_id)

    def _make_room(self) -> None:
        if self._leases.free > 0:
            return
        idle = self._longest_idle()
        if idle is None:
            raise TooManyMarketDataLines(
                f"all {self._leases.limit} market data lines are being read.",
                code=_LINES_USED_UP,
                limit=self._leases.limit,
            )
        self._drop(idle.contract.con_id)

    def _maybe_linger(self, line: _Line) -> None:
        if line.is_wanted or line.linger is not None:
            return
        if self._lines.get(line.contract.con_id) is not line:
            return
        line.idle_since = self._session.clock.monotonic()
        loop = asyncio.get_running_loop()
        line.linger = loop.call_later(self._linger_s, self._drop, line.contract.con_id)

    def _stop_linger(self, line: _Line) -> None:
        if line.linger is not None:
            line.linger.cancel()
            line.linger = None

    def _drop(self, con_id: int) -> None:
        line = self._lines.get(con_id)
        if line is None:
            return
        self._stop_linger(line)
        if line.is_wanted:
            return
        self._close_handle(line)
        self._forget(con_id)

    def _forget(self, con_id: int) -> None:
        line = self._lines.pop(con_id, None)
        if line is not None:
            self._stop_linger(line)
        self._leases.give_back(con_id)


def _closed() -> ConnectorClosed:
    return ConnectorClosed("the connector was closed.")


def _is_usable(quote: Quote) -> bool:
    """Both sides, or, for what has no sides (an index), a last price."""
    return (quote.bid is not None and quote.ask is not None) or (quote.last is not None and quote.bid is None)
