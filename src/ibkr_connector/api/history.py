"""`connector.history`: historical bars."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ibkr_connector.api.stale import UNAVAILABLE, oldest
from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.contracts.lookup import ContractBook
from ibkr_connector.errors import NoMarketData
from ibkr_connector.history.fetch import HistoryFetcher
from ibkr_connector.history.request import history_request
from ibkr_connector.models.arguments import needed_seconds
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import BarSeries
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.symbols import parse_symbol

_HISTORY_TIMEOUT_S = 60.0


class HistoryApi:
    """Bars of the past."""

    def __init__(self, thread: SessionThread, book: ContractBook, fetcher: HistoryFetcher, timeout: float) -> None:
        self._thread = thread
        self._book = book
        self._fetcher = fetcher
        self._timeout = timeout

    async def bars(
        self,
        symbol: str | Contract,
        duration: str = "1 D",
        bar_size: str = "1 min",
        *,
        end: datetime | None = None,
        what_to_show: str = "",
        use_rth: bool = True,
        timeout: float = _HISTORY_TIMEOUT_S,
        allow_stale: bool | float = False,
    ) -> BarSeries:
        """Bars, oldest first, ending at `end` (aware; None = now).

        Args:
            symbol: a name (`AAPL`, `EUR.USD`) or a `Contract`.
            duration: number and unit: `1800 S`, `5 D`, `2 W`, `6 M`, `1 Y`.
            bar_size: IBKR's spelling, `1 secs` … `1 month`; near misses (`1 minute`) are understood.
            end: the last moment wanted.
            what_to_show: TRADES, MIDPOINT, BID, ASK …; empty chooses what the contract has.
            use_rth: regular trading hours only.
            timeout: seconds, pacing included.
            allow_stale: take the last answer to the very same request when no new one can be had: True at any age, a
                number at most so many seconds old. `BarSeries.stale` and `.age` tell.

        Raises:
            InvalidRequest: an argument; nothing was sent. NoMarketData: there are no such bars.
            HistoricalDataError, PacingError, PacingTimeout, RequestTimeout.
        """
        contract, timeout, limit = parse_symbol(symbol), needed_seconds(timeout), oldest(allow_stale)
        history_request(
            contract, duration=duration, bar_size=bar_size, end=end, what_to_show=what_to_show, use_rth=use_rth
        )
        return await self._thread.run(
            self._bars(contract, duration, bar_size, end, what_to_show, use_rth=use_rth, timeout=timeout, limit=limit)
        )

    async def latest(self, symbol: str | Contract, bar_size: str = "1 min", duration: str = "1 D") -> dict[str, Any]:
        """The newest bar, regular hours or not, with the guide's keys. Raises `NoMarketData` when there is none."""
        series = await self.bars(symbol, duration, bar_size, use_rth=False)
        if not series:
            raise NoMarketData(f"no bar of {series.contract.symbol} in {duration}.", symbol=series.contract.symbol)
        bar = series[-1]
        return {
            "symbol": series.contract.symbol,
            "timestamp": bar.start.isoformat(),
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": bar.volume,
        }

    async def _bars(
        self,
        contract: Contract,
        duration: str,
        bar_size: str,
        end: datetime | None,
        what_to_show: str,
        *,
        use_rth: bool,
        timeout: float,
        limit: float | None,
    ) -> BarSeries:
        def request(qualified: Contract) -> HistoryRequest:
            return history_request(
                qualified, duration=duration, bar_size=bar_size, end=end, what_to_show=what_to_show, use_rth=use_rth
            )

        known = self._book.known_ever(contract)  # before it is asked for: what is too old is forgotten then
        try:
            details = await self._book.details(contract, min(self._timeout, timeout))
            return await self._fetcher.bars(request(details.contract), timeout)
        except UNAVAILABLE:
            kept = None if known is None else self._fetcher.kept(request(known.contract))
            if limit is None or kept is None or kept.age > limit:
                raise
            return kept
