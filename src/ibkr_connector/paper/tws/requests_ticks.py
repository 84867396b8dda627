"""Market data requests: streams, snapshots, and the kind of data (live, frozen, delayed) a client wants."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ..instruments import Instrument
from . import layouts_market as layout, texts
from .contracts import read_contract, read_legs
from .fields import Cursor
from .layouts_market import Target
from .picture import Picture, ticks
from .requests_contracts import BBO_EXCHANGE
from .routes import Refusal, Route, Routes
from .texts import Error
from .ticks import DELAYED, DELAYED_FROZEN, FROZEN, LIVE, TickFeed, delayed_picture, live_picture

if TYPE_CHECKING:
    from .session import Session

SNAPSHOT_TIMEOUT: Final = 11.0
"""Wire seconds after which a snapshot ends, whatever it has found (IBKR: about eleven)."""


class TickDesk:
    """The market data requests of one client."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._kind = LIVE
        self._feeds: dict[int, TickFeed] = {}
        self._snapshots: dict[int, asyncio.TimerHandle] = {}

    def routes(self) -> Routes:
        """The requests answered here."""
        return {
            1: Route(self._request, 2),
            2: Route(self._cancel, 2),
            59: Route(self._market_data_type),
        }

    def close(self) -> None:
        """End every subscription and timer."""
        for feed in self._feeds.values():
            feed.close()
        self._feeds.clear()
        for timer in self._snapshots.values():
            timer.cancel()
        self._snapshots.clear()

    @property
    def lines(self) -> list[int]:
        """The request ids of the streams, oldest first."""
        return list(self._feeds)

    def end_streams(self) -> list[int]:
        """End every stream without a word (the gateway lost them); their request ids."""
        ended = self.lines
        for feed in self._feeds.values():
            feed.close()
        self._feeds.clear()
        return ended

    def _market_data_type(self, cursor: Cursor) -> None:
        cursor.skip("version")
        kind = cursor.integer("marketDataType")
        cursor.end()
        if kind not in {LIVE, FROZEN, DELAYED, DELAYED_FROZEN}:
            raise Refusal(-1, texts.invalid(f"Invalid market data type {kind}", "b1"))
        self._kind = kind

    def _cancel(self, cursor: Cursor) -> None:
        cursor.skip("version")
        request_id = cursor.request_id("tickerId")
        cursor.end()
        feed = self._feeds.pop(request_id, None)
        snapshot = self._snapshots.pop(request_id, None)
        if feed is not None:
            feed.close()
        elif snapshot is not None:
            snapshot.cancel()
        else:
            raise Refusal(request_id, texts.unknown_ticker(request_id))

    def _request(self, cursor: Cursor) -> None:
        session = self._session
        cursor.skip("version")
        request_id = cursor.request_id("tickerId")
        contract = read_contract(cursor)
        if contract.is_combo:
            contract.legs = read_legs(cursor)
        if cursor.flag("deltaNeutralContract"):
            for name in ("conId", "delta", "price"):
                cursor.decimal(name)
        generic_text = cursor.text("genericTickList")
        snapshot = cursor.flag("snapshot")
        regulatory = cursor.flag("regulatorySnapshot")
        cursor.skip("mktDataOptions")
        cursor.end()
        if request_id in self._feeds or request_id in self._snapshots:
            raise Refusal(request_id, texts.DUPLICATE_TICKER)
        if (snapshot or regulatory) and generic_text:
            raise Refusal(
                request_id,
                texts.invalid("Snapshot market data subscription is not applicable to generic ticks"),
            )
        instrument = session.hub.instrument(contract, request_id)
        generic = _generic_ticks(generic_text)
        if generic is None:
            sec_type = contract.sec_type or instrument.sec_type
            raise Refusal(request_id, texts.invalid_generic_ticks(generic_text, sec_type))
        kind, warning = self._granted(instrument)
        if kind is None:
            raise Refusal(request_id, warning or texts.NO_MARKET_DATA)
        if warning is not None:
            session.error(request_id, warning)
        if snapshot or regulatory:
            self._snapshot(request_id, instrument, kind)
        else:
            self._stream(request_id, instrument, generic, kind)

    def _granted(self, instrument: Instrument) -> tuple[int | None, Error | None]:
        """The kind of data the client gets, and what it is told about that; None = nothing at all."""
        hub = self._session.hub
        wants_delayed = self._kind in {DELAYED, DELAYED_FROZEN}
        if not hub.market.covers(instrument) or hub.options.entitlement == "none":
            return None, texts.NO_MARKET_DATA
        if hub.options.entitlement == "delayed":
            if not wants_delayed:
                return None, texts.SUBSCRIPTION_NEEDED
            return self._kind, texts.DELAYED_SHOWN
        # With a live subscription, a request for delayed data is served live, as IBKR documents.
        return (FROZEN if self._kind in {FROZEN, DELAYED_FROZEN} else LIVE), None

    def _announce(self, target: Target, kind: int) -> None:
        session = self._session
        session.send(layout.market_data_type(target.request_id, kind))
        session.send(layout.tick_request_parameters(target.request_id, target.instrument.min_tick, BBO_EXCHANGE))

    def _stream(self, request_id: int, instrument: Instrument, generic: frozenset[int], kind: int) -> None:
        hub = self._session.hub
        if hub.lines >= hub.options.max_lines:
            raise Refusal(request_id, texts.TOO_MANY_TICKERS)
        self._announce(Target(self._session.version, request_id, instrument), kind)
        feed = self._feeds[request_id] = TickFeed(self._session, request_id, instrument, generic, kind)
        feed.open()

    def _snapshot(self, request_id: int, instrument: Instrument, kind: int) -> None:
        """One picture, then tickSnapshotEnd: at once if there is a quote, else after the timeout."""
        session = self._session
        target = Target(session.version, request_id, instrument)
        self._announce(target, kind)
        delayed = kind in {DELAYED, DELAYED_FROZEN}
        picture = (
            delayed_picture(session, instrument)
            if delayed
            else live_picture(session, instrument, frozen=kind == FROZEN)
        )
        for message in ticks(target, None, picture, delayed=delayed):
            session.send(message)
        wait = 0.0 if _is_complete(picture) else SNAPSHOT_TIMEOUT
        self._snapshots[request_id] = session.hub.loop.call_later(wait, self._end_snapshot, request_id)

    def _end_snapshot(self, request_id: int) -> None:
        self._snapshots.pop(request_id, None)
        self._session.send(layout.snapshot_end(request_id))


def _is_complete(picture: Picture) -> bool:
    return picture.bid is not None and picture.ask is not None


def _generic_ticks(text: str) -> frozenset[int] | None:
    """The generic tick numbers of a request (`233,mdoff,292:BRFG`); None if one of them is not known."""
    numbers = set()
    for part in text.split(","):
        name = part.strip().partition(":")[0]
        if name in {"", "mdoff"}:
            continue
        if not name.isdecimal() or int(name) not in texts.GENERIC_TICKS:
            return None
        numbers.add(int(name))
    return frozenset(numbers)
