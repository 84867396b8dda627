"""Bars: history, history kept up to date, real-time bars, schedules, head timestamps."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from .. import sessions
from ..instruments import Instrument
from ..market.base import Bar, What
from . import history, layouts_market as layout, texts
from .contracts import WireContract, read_contract, read_legs
from .fields import Cursor
from .history import BadRequest, HistoryQuery, HistoryRequest
from .history_job import HistoryJob
from .live_bars import BarStream, RealTimeBars, UpdatedHistory
from .pacing import HistoryKey
from .routes import Refusal, Route, Routes

if TYPE_CHECKING:
    from .session import Session

_REAL_TIME: Final[dict[str, What]] = {"TRADES": "TRADES", "MIDPOINT": "MIDPOINT", "BID": "BID", "ASK": "ASK"}
MAX_QUERIES: Final = 50
"""Historical queries one client may have open at once, as in TWS."""
_HEADS: Final[dict[str, What]] = {**_REAL_TIME, "BID_ASK": "BID_ASK", "ADJUSTED_LAST": "ADJUSTED_LAST"}


class BarDesk:
    """The bar requests of one client."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._streams: dict[int, BarStream] = {}
        """History kept up to date, and real-time bars, by request id."""
        self._jobs: dict[int, HistoryJob] = {}
        """Historical queries at work, by request id."""

    def routes(self) -> Routes:
        """The requests answered here."""
        return {
            20: Route(self._history, 1),
            25: Route(self._cancel_history, 2),
            50: Route(self._real_time_bars, 2),
            51: Route(self._cancel_real_time, 2),
            87: Route(self._head_timestamp, 1),
            90: Route(self._cancel_head, 1),
        }

    def close(self) -> None:
        """End every stream and query."""
        for job in self._jobs.values():
            job.cancel()
        self._jobs.clear()
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def end_updates(self) -> list[int]:
        """End all history that is kept up to date, without a word; the request ids."""
        ended = [request_id for request_id, stream in self._streams.items() if isinstance(stream, UpdatedHistory)]
        for request_id in ended:
            self._end_stream(request_id)
        return ended

    def on_jump(self) -> None:
        """The market clock has jumped forward."""
        for stream in self._streams.values():
            stream.nudge()

    # --- history -----------------------------------------------------------------------------------------------------

    def _history(self, cursor: Cursor) -> None:
        session = self._session
        request = _read_history(cursor)
        request_id = request.request_id
        if request_id in self._streams or request_id in self._jobs:
            raise Refusal(request_id, texts.DUPLICATE_HISTORY)
        if len(self._jobs) >= MAX_QUERIES:
            raise Refusal(request_id, texts.TOO_MANY_QUERIES)
        now = session.hub.clock.now()
        try:
            query = history.check(request, now)
        except BadRequest as error:
            raise Refusal(request_id, error.error) from None
        if query.end is not None and query.end.implied_zone:
            session.error(request_id, texts.IMPLIED_ZONE)
        item = session.hub.instrument(request.contract, request_id)
        self._check_data(item, request_id)
        self._check_pacing(item, request, query)
        if query.what is None:
            self._schedule(request, query, item)
        else:
            self._bars(request, query, query.what, item)

    def _check_data(self, item: Instrument, request_id: int) -> None:
        hub = self._session.hub
        if not hub.market.covers(item):
            raise Refusal(request_id, texts.history_service(f"No market data permissions for {_venue(item)}"))

    def _check_pacing(self, item: Instrument, request: HistoryRequest, query: HistoryQuery) -> None:
        if not query.is_paced:
            return
        rest = (request.end_text, request.duration, request.bar_size, request.use_rth, request.keep_up_to_date)
        self._pace(item, request.request_id, request.contract.exchange, request.what.upper(), rest)

    def _pace(self, item: Instrument, request_id: int, exchange: str, what: str, rest: tuple[str | bool, ...]) -> None:
        hub = self._session.hub
        if not hub.options.history_pacing:
            return
        key = HistoryKey(item.con_id, exchange, what, rest)
        if not hub.history.admits(key, self._session.arrived):
            raise Refusal(request_id, texts.history_service(texts.PACING_VIOLATION))

    def _bars(self, request: HistoryRequest, query: HistoryQuery, what: What, item: Instrument) -> None:
        hub = self._session.hub
        span = history.window(query, item, hub.clock.now(), use_rth=request.use_rth)

        def done(bars: list[Bar]) -> None:
            self._jobs.pop(request.request_id, None)
            self._answer(request, query, what, item, span, bars)

        job = HistoryJob(hub, item, span, query.size, what, use_rth=request.use_rth, done=done)
        self._jobs[request.request_id] = job
        job.run()

    def _answer(
        self,
        request: HistoryRequest,
        query: HistoryQuery,
        what: What,
        item: Instrument,
        span: tuple[datetime, datetime],
        bars: list[Bar],
    ) -> None:
        session, request_id = self._session, request.request_id
        if not bars:
            venue = request.contract.exchange or item.exchange
            session.error(request_id, history.no_data(item.symbol, venue, what))
            return
        session.send(
            layout.historical_data(
                session.version,
                request_id,
                layout.history_edge(session.version, span[0], item),
                layout.history_edge(session.version, span[1], item),
                bars,
                intraday=query.is_intraday,
                format_date=request.format_date,
                item=item,
            )
        )
        if request.keep_up_to_date:
            self._streams[request_id] = UpdatedHistory(
                session,
                request_id,
                item,
                query.size,
                what,
                use_rth=request.use_rth,
                format_date=request.format_date,
                last=bars[-1],
            )

    def _schedule(self, request: HistoryRequest, query: HistoryQuery, item: Instrument) -> None:
        start, end = history.window(query, item, self._session.hub.clock.now(), use_rth=request.use_rth)
        days = [s for s in sessions.sessions_between(item, start, end) if s.bounds(request.use_rth)[0] < end]
        self._session.send(layout.historical_schedule(request.request_id, days, request.use_rth, item))

    def _cancel_history(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        cursor.end()
        job = self._jobs.pop(request_id, None)
        if job is not None:
            job.cancel()
        elif isinstance(self._streams.get(request_id), UpdatedHistory):
            self._end_stream(request_id)
        else:
            raise Refusal(request_id, texts.unknown_history(request_id))
        self.say_cancelled(request_id)

    def say_cancelled(self, request_id: int) -> None:
        """A query was cancelled by its client."""
        cause = f"API historical data query cancelled: {request_id}"
        self._session.error(request_id, texts.history_service(cause))

    # --- real-time bars ----------------------------------------------------------------------------------------------

    def _real_time_bars(self, cursor: Cursor) -> None:
        session = self._session
        cursor.skip("version")
        request_id = cursor.request_id()
        contract = read_contract(cursor)
        cursor.integer("barSize")  # IBKR ignores it: the bars last five seconds
        what = cursor.text("whatToShow").upper()
        use_rth = cursor.flag("useRTH")
        cursor.skip("realTimeBarsOptions")
        cursor.end()
        if request_id in self._streams or request_id in self._jobs:
            raise Refusal(request_id, texts.DUPLICATE_TICKER)
        if what not in _REAL_TIME:
            raise Refusal(request_id, texts.invalid(f"Invalid source price '{what}'", "b1"))
        item = session.hub.instrument(contract, request_id)
        if session.hub.options.entitlement != "live" or not session.hub.market.covers(item):
            raise Refusal(request_id, texts.SUBSCRIPTION_NEEDED)
        if session.hub.options.history_pacing:
            key = HistoryKey(item.con_id, contract.exchange, what, ("real-time", use_rth))
            if not session.hub.history.admits(key, session.arrived):
                raise Refusal(request_id, texts.real_time_query(texts.PACING_VIOLATION))
        self._streams[request_id] = RealTimeBars(session, request_id, item, _REAL_TIME[what], use_rth=use_rth)

    def _cancel_real_time(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id()
        cursor.end()
        if not isinstance(self._streams.get(request_id), RealTimeBars):
            raise Refusal(request_id, texts.unknown_ticker(request_id))
        self._end_stream(request_id)

    def _end_stream(self, request_id: int) -> None:
        self._streams.pop(request_id).close()

    # --- head timestamps ---------------------------------------------------------------------------------------------

    def _head_timestamp(self, cursor: Cursor) -> None:
        session = self._session
        request_id = cursor.request_id()
        contract = read_contract(cursor)
        contract.include_expired = cursor.flag("includeExpired")
        use_rth = cursor.flag("useRTH")
        what = cursor.text("whatToShow").upper()
        format_date = cursor.integer("formatDate", empty=1)
        cursor.end()
        item = session.hub.instrument(contract, request_id)
        if what not in _HEADS:
            raise Refusal(request_id, texts.invalid(f"Invalid source price '{what}'", "bM"))
        self._check_data(item, request_id)
        self._pace(item, request_id, contract.exchange, what, ("head", use_rth, str(format_date)))
        head = session.hub.market.head(item, _HEADS[what])
        if head is None:
            raise Refusal(request_id, history.no_data(item.symbol, contract.exchange or item.exchange, what))
        session.send(layout.head_timestamp(request_id, head, format_date))

    def _cancel_head(self, cursor: Cursor) -> None:
        """Head timestamps are answered at once: there is nothing to cancel, and nothing to say about it."""
        cursor.request_id()
        cursor.end()


def _read_history(cursor: Cursor) -> HistoryRequest:
    request_id = cursor.request_id()
    contract: WireContract = read_contract(cursor)
    contract.include_expired = cursor.flag("includeExpired")
    end_text = cursor.text("endDateTime")
    bar_size = cursor.text("barSizeSetting")
    duration = cursor.text("durationStr")
    use_rth = cursor.flag("useRTH")
    what = cursor.text("whatToShow")
    format_date = cursor.integer("formatDate", empty=1)
    if contract.is_combo:
        contract.legs = read_legs(cursor)
    keep_up_to_date = cursor.flag("keepUpToDate")
    cursor.skip("chartOptions")
    cursor.end()
    return HistoryRequest(
        request_id=request_id,
        contract=contract,
        end_text=end_text,
        bar_size=bar_size,
        duration=duration,
        use_rth=use_rth,
        what=what,
        format_date=format_date,
        keep_up_to_date=keep_up_to_date,
    )


def _venue(item: Instrument) -> str:
    return f"{item.primary_exchange or item.exchange} {item.sec_type}"
