"""Market data lines: ticks become whole quotes, one per line and network packet.

The hot path of the backend: `price_tick`, `size_tick` and `flush` run for every tick, so they allocate nothing but the
quote, and log nothing. Tick types: IBKR, "Available Tick Types"; 66 to 76 are the delayed twins of 1 to 9 and 14.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from ibkr_connector.backends.base import QuoteSink
from ibkr_connector.errors import TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote

_log = get_logger(__name__)

_BID, _ASK, _LAST, _BID_SIZE, _ASK_SIZE, _LAST_SIZE, _VOLUME, _OPEN, _HIGH, _LOW, _CLOSE = range(11)
_SLOTS = 11
_TO_SIZE = 3
"""From a price's slot to its size's slot."""

_PRICES = {
    1: _BID, 66: _BID,
    2: _ASK, 67: _ASK,
    4: _LAST, 68: _LAST,
    6: _HIGH, 72: _HIGH,
    7: _LOW, 73: _LOW,
    9: _CLOSE, 75: _CLOSE,
    14: _OPEN, 76: _OPEN,
}  # fmt: skip
_SIZES = {
    0: _BID_SIZE, 69: _BID_SIZE,
    3: _ASK_SIZE, 70: _ASK_SIZE,
    5: _LAST_SIZE, 71: _LAST_SIZE,
    8: _VOLUME, 74: _VOLUME,
}  # fmt: skip
_HALTED = (49, 90)
_RT_VOLUME = 48
_DELAYED_FROM = 66
_DELAYED_KINDS = (3, 4)
"""`marketDataType`: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""

_SIGNED = frozenset({"FUT", "FOP", "BAG", "CMDTY"})
"""Types whose prices may be zero or negative, -1 included."""


class Line:
    """One market-data request: the newest values, and where quotes go."""

    __slots__ = (
        "con_id", "delayed", "dirty", "done", "halted", "on_error", "req_id", "signed", "sink", "symbol", "values"
    )  # fmt: skip

    def __init__(
        self, req_id: int, contract: Contract, sink: QuoteSink | None, on_error: Callable[[Exception], None] | None
    ) -> None:
        self.req_id = req_id
        self.symbol = contract.symbol
        self.con_id = contract.con_id
        self.signed = contract.sec_type in _SIGNED
        self.sink = sink
        self.on_error = on_error
        self.values: list[float | None] = [None] * _SLOTS
        self.dirty = False
        self.delayed = False
        self.halted = False
        self.done: asyncio.Future[None] | None = None
        """Of a snapshot: its end."""

    def quote(self, at: datetime | None) -> Quote:
        """The state of the line."""
        bid, ask, last, bid_size, ask_size, last_size, volume, opened, high, low, close = self.values
        return Quote(
            symbol=self.symbol,
            con_id=self.con_id,
            bid=bid,
            ask=ask,
            last=last,
            bid_size=bid_size,
            ask_size=ask_size,
            last_size=last_size,
            volume=volume,
            open=opened,
            high=high,
            low=low,
            close=close,
            halted=self.halted,
            delayed=self.delayed,
            at=at,
        )

    @property
    def is_whole(self) -> bool:
        """Whether bid, ask, last and previous close are all there: enough for a snapshot to end early."""
        values = self.values
        return None not in (values[_BID], values[_ASK], values[_LAST], values[_CLOSE])


class LineTable:
    """The open lines of one connection. Its methods are the decoder's callbacks for ticks."""

    __slots__ = ("_dirty", "_lines", "_now")

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._lines: dict[int, Line] = {}
        self._dirty: list[Line] = []
        self._now = now

    def __len__(self) -> int:
        return len(self._lines)

    def open(self, line: Line) -> None:
        """Begin to take ticks for `line`."""
        self._lines[line.req_id] = line

    def close(self, req_id: int) -> Line | None:
        """Take no more ticks for that number; the line, if it was open."""
        return self._lines.pop(req_id, None)

    def get(self, req_id: int) -> Line | None:
        """The line with that number."""
        return self._lines.get(req_id)

    def clear(self) -> None:
        """Forget all lines without a word: the connection is gone."""
        self._lines.clear()
        self._dirty.clear()

    # --- ticks ----------------------------------------------------------------------------------------------------

    def price_tick(self, req_id: int, tick_type: int, price: float, size: float) -> None:
        """`tickPrice`. IBKR says "no such price now" with -1 or 0 and no size."""
        line = self._lines.get(req_id)
        if line is None:
            return
        slot = _PRICES.get(tick_type)
        if slot is None:
            return
        values = line.values
        if slot <= _LAST:
            if price <= 0.0 and not size and (price == -1.0 or price == 0.0):  # noqa: PLR1714 - faster than a tuple
                values[slot] = None
            else:
                values[slot] = price
            values[slot + _TO_SIZE] = size
        elif price <= 0.0 and not line.signed:
            values[slot] = None
        else:
            values[slot] = price
        if tick_type >= _DELAYED_FROM:
            line.delayed = True
        if not line.dirty:
            line.dirty = True
            self._dirty.append(line)

    def size_tick(self, req_id: int, tick_type: int, size: float) -> None:
        """`tickSize`. The gateway repeats the size of a tickPrice; what changes nothing makes no quote."""
        line = self._lines.get(req_id)
        if line is None:
            return
        slot = _SIZES.get(tick_type)
        if slot is None or line.values[slot] == size:
            return
        line.values[slot] = size
        if not line.dirty:
            line.dirty = True
            self._dirty.append(line)

    def generic_tick(self, req_id: int, tick_type: int, value: float) -> None:
        """`tickGeneric`: only the trading halt matters (-1 unknown, 0 trading, 1 and 2 halted)."""
        line = self._lines.get(req_id)
        if line is None or tick_type not in _HALTED or line.halted is (value > 0):
            return
        line.halted = value > 0
        self._touch(line)

    def string_tick(self, req_id: int, tick_type: int, value: str) -> None:
        """`tickString`: RTVolume (generic tick 233), `price;size;time;volume;vwap;single`, carries the last trade."""
        line = self._lines.get(req_id)
        if line is None or tick_type != _RT_VOLUME:
            return
        price, _, rest = value.partition(";")
        size = rest.partition(";")[0]
        if price:
            line.values[_LAST] = float(price)
            line.values[_LAST_SIZE] = float(size or 0)
            self._touch(line)

    def kind(self, req_id: int, market_data_type: int) -> None:
        """`marketDataType`."""
        line = self._lines.get(req_id)
        if line is not None:
            line.delayed = market_data_type in _DELAYED_KINDS

    def snapshot_end(self, req_id: int) -> None:
        """`tickSnapshotEnd`."""
        line = self._lines.get(req_id)
        if line is not None and line.done is not None and not line.done.done():
            line.done.set_result(None)

    def flush(self) -> None:
        """Hand out one quote per line that changed since the last packet."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, []
        at = self._now()
        for line in dirty:
            line.dirty = False
            if line.sink is not None:
                try:
                    line.sink(line.quote(at))
                except Exception:  # noqa: BLE001 - logged; the other lines go on
                    _log.exception("a quote sink raised; its line goes on", symbol=line.symbol)
            elif line.done is not None and line.is_whole and not line.done.done():
                line.done.set_result(None)

    def _touch(self, line: Line) -> None:
        if not line.dirty:
            line.dirty = True
            self._dirty.append(line)

    # --- ends -----------------------------------------------------------------------------------------------------

    def fail(self, req_id: int, error: TradingError) -> bool:
        """The broker ended the line; whether there was one. Its owner is told once."""
        line = self._lines.pop(req_id, None)
        if line is None:
            return False
        if line.done is not None:
            if not line.done.done():
                line.done.set_exception(error)
        elif line.on_error is not None:
            try:
                line.on_error(error)
            except Exception:  # noqa: BLE001 - logged; the wire goes on
                _log.exception("the error handler of a line raised", symbol=line.symbol)
        return True

    def fail_snapshots(self, make: Callable[[str], TradingError]) -> None:
        """End every waiting snapshot with `make(symbol)`."""
        for line in list(self._lines.values()):
            if line.done is not None and not line.done.done():
                line.done.set_exception(make(f"a snapshot of {line.symbol}"))
