"""Ask for bars: one request, under the history pacing rules."""

from __future__ import annotations

from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.models.market import BarSeries
from ibkr_connector.session.session import Session


class HistoryFetcher:
    """Historical bars over the session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def bars(self, request: HistoryRequest, timeout: float) -> BarSeries:
        """Bars, oldest first. Raises NoMarketData, HistoricalDataError, PacingError, PacingTimeout, RequestTimeout."""
        bars = await self._session.read_history(request, timeout=timeout)
        return BarSeries(request.contract, request.bar_size, request.what_to_show, bars)
