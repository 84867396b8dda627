"""Quotes: streaming lines over the websocket, snapshots over REST."""

from __future__ import annotations

from collections.abc import Callable

from ibkr_connector.backends.base import LineHandle, MarketDataKind, QuoteSink
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.backends.web.ws import Socket
from ibkr_connector.errors import NotSupportedByBackend
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote

_MISSING = "quotes over the Web API are not built into this version."


class Lines:
    """Market data of `Backend`."""

    def __init__(self, room: WebRoom, socket: Socket) -> None:
        self._room = room
        self._socket = socket

    async def start(self, timeout: float) -> None:
        """See `Part`."""

    async def stop(self) -> None:
        """See `Part`."""

    def back(self) -> None:
        """See `Part`."""

    def open_line(
        self, contract: Contract, sink: QuoteSink, on_error: Callable[[Exception], None], generic_ticks: str = ""
    ) -> LineHandle:
        """See `Backend.open_line`."""
        raise NotSupportedByBackend(_MISSING)

    def close_line(self, line: LineHandle) -> None:
        """See `Backend.close_line`."""

    def set_market_data(self, kind: MarketDataKind) -> None:
        """See `Backend.set_market_data`."""

    async def snapshot(self, contract: Contract, timeout: float) -> Quote:
        """See `Backend.snapshot`."""
        raise NotSupportedByBackend(_MISSING)
