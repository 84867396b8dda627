"""Ask for bars: one request, under the history pacing rules."""

from __future__ import annotations

from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.models.market import BarSeries
from ibkr_connector.session.session import Session

_KEEP = 64
"""Answers kept for callers who take a stale one."""


class HistoryFetcher:
    """Historical bars over the session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kept: dict[HistoryRequest, tuple[BarSeries, float]] = {}

    async def bars(self, request: HistoryRequest, timeout: float) -> BarSeries:
        """Bars, oldest first. Raises NoMarketData, HistoricalDataError, PacingError, PacingTimeout, RequestTimeout."""
        bars = await self._session.read_history(request, timeout=timeout)
        series = BarSeries(request.contract, request.bar_size, request.what_to_show, bars)
        self._kept.pop(request, None)
        self._kept[request] = (series, self._session.clock.monotonic())
        if len(self._kept) > _KEEP:
            del self._kept[next(iter(self._kept))]
        return series

    def kept(self, request: HistoryRequest) -> BarSeries | None:
        """The last answer to this very request, marked stale and with its age; None when there is none."""
        found = self._kept.get(request)
        if found is None:
            return None
        series, at = found
        return BarSeries(
            series.contract,
            series.bar_size,
            series.what_to_show,
            series.bars,
            age=self._session.clock.monotonic() - at,
            stale=True,
        )
