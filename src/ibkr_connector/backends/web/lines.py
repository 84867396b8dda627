"""Quotes: one `smd` stream per contract, shared by all who have a line of it, and kept from dying without a word.

IBKR ends a stream after 10 to 15 minutes without saying so, while heartbeats go on. So every stream is asked for again
well before that, and earlier when nothing comes of it: the answer is the whole present picture, so a market that stands
still costs a message now and then, and a stream that died is alive again. Fields that such an answer does not tell have
no value any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from ibkr_connector.backends.base import LineHandle, MarketDataKind, QuoteSink
from ibkr_connector.backends.web import quotes
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.backends.web.ws import Socket
from ibkr_connector.clock import Clock
from ibkr_connector.errors import (
    InvalidRequest,
    MarketDataNotSubscribed,
    NoMarketData,
    NotConnected,
    NotSupportedByBackend,
    RequestTimeout,
    TradingError,
)
from ibkr_connector.logs import get_logger
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote

_log = get_logger(__name__)
_FIELDS = json.dumps({"fields": list(quotes.FIELDS)}, separators=(",", ":"))
FROZEN = frozenset({MarketDataKind.FROZEN, MarketDataKind.DELAYED_FROZEN})
"""Kinds of quotes nobody can ask for here."""
_NOT_SUBSCRIBED = 354
"""TWS's code for the same."""
_LOOKS = 30.0
"""A stream's silence is looked at so many times in `line_quiet`."""


class _Reader:
    """One line: who gets the quotes of a stream."""

    __slots__ = ("contract", "done", "on_error", "sink")

    def __init__(
        self, contract: Contract, sink: QuoteSink | None, on_error: Callable[[Exception], None] | None
    ) -> None:
        self.contract = contract
        self.sink = sink
        self.on_error = on_error
        self.done: asyncio.Future[Quote] | None = None
        """Of a snapshot: its end."""


class _Stream:
    """What is known of one contract's stream."""

    __slots__ = ("asked_at", "con_id", "heard_at", "picture", "quiet", "readers")

    def __init__(self, contract: Contract, quiet: float) -> None:
        self.con_id = contract.con_id
        self.picture = quotes.Picture(signed=contract.sec_type in quotes.SIGNED)
        self.readers: dict[int, _Reader] = {}
        self.asked_at = 0.0
        self.heard_at = 0.0
        self.quiet = quiet
        """Seconds of silence after which it is asked for again."""

    @property
    def unanswered(self) -> bool:
        """Whether nothing has come since it was asked for."""
        return self.heard_at < self.asked_at


class Lines:
    """Market data of `Backend`."""

    def __init__(self, room: WebRoom, socket: Socket) -> None:
        self._room = room
        self._socket = socket
        self._clock: Clock = room.clock
        self._times = socket.times
        self._streams: dict[int, _Stream] = {}
        self._by_number: dict[int, int] = {}
        self._tending: asyncio.Task[Any] | None = None
        socket.listen("smd", self._on_frame)
        socket.listen("error", self._on_refused)
        socket.on_open(self._ask_again)
        socket.on_gap(self._end_snapshots)

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self, timeout: float) -> None:
        """See `Part`."""

    async def stop(self) -> None:
        """See `Part`. Lines fall silent; what waits for a snapshot is told."""
        self._end_snapshots()
        self._streams.clear()
        self._by_number.clear()
        self._tending = None

    def back(self) -> None:
        """See `Part`. The websocket is made anew, and every stream is asked for again."""

    async def _ask_again(self) -> None:
        """On every new websocket."""
        for stream in self._streams.values():
            self._ask(stream)

    def _end_snapshots(self) -> None:
        """The websocket is gone: nobody waits for a quote."""
        for stream in self._streams.values():
            for reader in stream.readers.values():
                if reader.done is not None and not reader.done.done():
                    reader.done.set_exception(NotConnected("the websocket ended while a snapshot was waited for."))

    # --- lines ----------------------------------------------------------------------------------------------------

    def open_line(
        self, contract: Contract, sink: QuoteSink, on_error: Callable[[Exception], None], generic_ticks: str = ""
    ) -> LineHandle:
        """See `Backend.open_line`. While the websocket is made again it is quiet.

        Raises:
            NotSupportedByBackend: generic ticks, which are TWS's own.
            InvalidRequest: a contract without its con_id.
        """
        if generic_ticks:
            raise NotSupportedByBackend("the Web API has no generic ticks.", generic_ticks=generic_ticks)
        return self._open(_Reader(contract, sink, on_error))

    def _open(self, reader: _Reader) -> LineHandle:
        contract = reader.contract
        if contract.con_id <= 0:
            raise InvalidRequest(
                "a line needs the contract's con_id.", field="contract", value=contract.symbol, legal="qualified"
            )
        number = self._room.ids.take()
        stream = self._streams.get(contract.con_id)
        if stream is None:
            stream = self._streams[contract.con_id] = _Stream(contract, self._times.line_quiet)
            self._ask(stream)
        elif not stream.readers and not stream.unanswered:
            self._ask(stream)  # it was about to end: what it has shown may be long past
        elif stream.heard_at and reader.sink is not None:
            # It has told what there is: a new reader is shown that, in its turn.
            asyncio.get_running_loop().call_soon(self._show_to, number)
        stream.readers[number] = reader
        self._by_number[number] = contract.con_id
        if self._tending is None or self._tending.done():
            self._tending = self._room.spawn(self._tend(), "lines")
        return LineHandle(req_id=number, contract=contract)

    def close_line(self, line: LineHandle) -> None:
        """See `Backend.close_line`. The stream ends with its last line, unless one is opened before that is written."""
        con_id = self._by_number.pop(line.req_id, 0)
        stream = self._streams.get(con_id)
        if stream is None:
            return
        stream.readers.pop(line.req_id, None)
        if not stream.readers:
            self._room.later(lambda: self._end(stream))

    def renew_line(self, line: LineHandle) -> None:
        """See `Backend.renew_line`."""
        stream = self._streams.get(self._by_number.get(line.req_id, 0))
        if stream is not None and not stream.unanswered:
            self._ask(stream)

    def _end(self, stream: _Stream) -> bool:
        if stream.readers or self._streams.get(stream.con_id) is not stream:
            return False
        del self._streams[stream.con_id]
        return self._socket.send(f"umd+{stream.con_id}+{{}}")

    def _ask(self, stream: _Stream) -> bool:
        """Ask for the stream, anew if it was asked for before; whether it could be."""
        stream.asked_at = self._clock.monotonic()
        if not self._socket.send(f"smd+{stream.con_id}+{_FIELDS}"):
            return False
        stream.picture.asked()
        return True

    def set_market_data(self, kind: MarketDataKind) -> None:
        """The Web API gives what the account may have: live quotes, else delayed ones; each quote says which.

        Raises `NotSupportedByBackend` for the frozen kinds.
        """
        if kind in FROZEN:
            raise NotSupportedByBackend(
                f"the Web API cannot be asked for {kind.value} quotes.",
                remedy="Set market_data = live or delayed: both give what the account may have, and say which it is.",
            )

    async def snapshot(self, contract: Contract, timeout: float) -> Quote:
        """One quote: as soon as bid, ask, last and close are there, else what came within `timeout` seconds.

        Over a stream as well, which needs none of the REST snapshot's first calls. Raises `RequestTimeout` when
        nothing came.
        """
        reader = _Reader(contract, None, None)
        reader.done = asyncio.get_running_loop().create_future()
        line = self._open(reader)
        stream = self._streams[contract.con_id]
        try:
            if stream.heard_at and stream.picture.is_whole:
                return self._quote(stream, contract)
            return await self._clock.wait_for(reader.done, timeout)
        except TimeoutError as error:
            if isinstance(error, TradingError):
                raise
            if stream.heard_at:
                return self._quote(stream, contract)
            raise RequestTimeout(f"no answer in {timeout:g} s to: a snapshot of {contract.symbol}.") from None
        finally:
            self.close_line(line)

    # --- frames ---------------------------------------------------------------------------------------------------

    def _on_frame(self, message: Mapping[str, Any]) -> None:
        stream = self._streams.get(quotes.con_id_of(message))
        if stream is None:
            return
        stream.heard_at = self._clock.monotonic()
        changed = stream.picture.take(message)
        if stream.picture.refused:
            self._fail(
                stream,
                lambda contract: MarketDataNotSubscribed(
                    f"no market data subscription for {contract.symbol}.", code=_NOT_SUBSCRIBED, con_id=stream.con_id
                ),
            )
            return
        if changed:
            stream.quiet = self._times.line_quiet
        self._show(stream)

    def _show(self, stream: _Stream) -> None:
        """Every frame makes a quote, also one that changes nothing: it says that the quote is true now."""
        for number in list(stream.readers):
            self._show_to(number)

    def _show_to(self, number: int) -> None:
        stream = self._streams.get(self._by_number.get(number, 0))
        reader = None if stream is None else stream.readers.get(number)
        if stream is None or reader is None:
            return
        if reader.sink is not None:
            try:
                reader.sink(self._quote(stream, reader.contract))
            except Exception:  # noqa: BLE001 - logged; the other lines go on
                _log.exception("a quote sink raised; its line goes on", symbol=reader.contract.symbol)
        elif reader.done is not None and stream.picture.is_whole and not reader.done.done():
            reader.done.set_result(self._quote(stream, reader.contract))

    def _quote(self, stream: _Stream, contract: Contract) -> Quote:
        return stream.picture.quote(contract.symbol, contract.con_id, self._clock.now())

    def _fail(self, stream: _Stream, make: Callable[[Contract], TradingError]) -> None:
        del self._streams[stream.con_id]
        for number, reader in stream.readers.items():
            self._by_number.pop(number, None)
            error = make(reader.contract)
            if reader.done is not None:
                if not reader.done.done():
                    reader.done.set_exception(error)
            elif reader.on_error is not None:
                try:
                    reader.on_error(error)
                except Exception:  # noqa: BLE001 - logged; the wire goes on
                    _log.exception("the error handler of a line raised", symbol=reader.contract.symbol)

    def _on_refused(self, message: Mapping[str, Any]) -> None:
        """An error names the topic and no contract: it is the line's that has no answer yet, if there is only one."""
        if message.get("topic") != "smd":
            _log.info("the websocket refused a request", said=str(message.get("error"))[:200])
            return
        asked = [stream for stream in self._streams.values() if not stream.heard_at]
        text = str(message.get("error"))[:200]
        if len(asked) != 1:
            _log.warning("the websocket refused a line, and does not say which", said=text, unanswered=len(asked))
            return
        self._fail(asked[0], lambda contract: NoMarketData(f"no line for {contract.symbol}: {text}."))

    # --- keeping them alive -----------------------------------------------------------------------------------------

    async def _tend(self) -> None:
        times, clock = self._times, self._clock
        while True:
            await clock.sleep(times.line_quiet / _LOOKS)
            now = clock.monotonic()
            for stream in list(self._streams.values()):
                if now - stream.asked_at >= times.line_whole and stream.picture.drop_untold() and stream.heard_at:
                    self._show(stream)
                silent_since = max(stream.heard_at, stream.asked_at)
                if now - silent_since >= stream.quiet:
                    # The next silence may be longer, unless this one hid something: then `take` sets it back.
                    stream.quiet = min(stream.quiet * 2, times.line_quiet_most)
                elif now - stream.asked_at < times.line_life:
                    continue
                self._ask_soon(stream)

    def _ask_soon(self, stream: _Stream) -> None:
        """In its turn. It counts as asked from now on: the turn may take a while, and is asked for once."""
        stream.asked_at = self._clock.monotonic()

        def write() -> bool:
            return self._streams.get(stream.con_id) is stream and bool(stream.readers) and self._ask(stream)

        self._room.later(write)
