"""Faults behind the gateway: the link to the broker, data farms, halts, quotes that stand still, streams that die."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ..instruments import ContractQuery, Instrument
from ..tws import layouts_system
from .catalogue import ERROR_TEXTS, FARMS
from .engine import FaultEngine
from .gate import Gate, Window, unanswered
from .held import Held
from .messages import CANCEL_HISTORY, DEFINITION_REQUESTS, HISTORY_REQUESTS, SERVER_REQUESTS
from .plan import Fault, PlanError
from .shots import Request, Shot

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tws.session import Session
    from ..tws.texts import Error
    from ..tws.ticks import TickFeed

REPEAT: Final = 4.0
"""Wire seconds between the 1100s of an outage, as captured."""
_KINDS: Final = ("STK", "FUT", "CASH", "IND")
_HMDS_BACK: Final = (165, "Historical Market Data Service query message:HMDS server connection was successful.")


def error_of(fault: Fault, default: int) -> Error:
    """The error a fault names, with the words real gateways use for its code unless the plan has others."""
    code = fault.code if fault.code is not None else default
    return code, fault.text if fault.text is not None else ERROR_TEXTS.get(code, "")


class Broker:
    """What happens behind the gateway."""

    def __init__(self, engine: FaultEngine, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate
        self._hub = engine.hub
        self._cut: Shot | None = None
        self._held = Held(gate, self._say_to)
        """What only IBKR's servers can answer, while the link to them is cut."""
        self._repeat: asyncio.TimerHandle | None = None
        self._restored: int | None = None
        self._releases: set[asyncio.TimerHandle] = set()

    def close(self) -> None:
        """End every timer."""
        self._stop_repeating()
        for timer in self._releases:
            timer.cancel()
        self._releases.clear()

    def tell(self, error: Error, client_id: int | None = None) -> None:
        """A notice to one client or to all."""
        for session in self._sessions(client_id):
            self.say(session, layouts_system.SYSTEM, error)

    def _say_to(self, request: Request, error: Error) -> None:
        self.say(request.session, layouts_system.SYSTEM if request.id is None else request.id, error)

    @staticmethod
    def say(session: Session, request_id: int, error: Error) -> None:
        """An error no other fault touches."""
        session.transmit(layouts_system.error(session.version, request_id, *error))

    def instruments(self, symbol: str) -> list[Instrument]:
        """Every listed instrument of a symbol (AAPL, ES) or local symbol (EUR.USD). PlanError if there is none."""
        wanted = symbol.upper()
        book = self._hub.instruments
        found: dict[int, Instrument] = {}
        for sec_type in _KINDS:
            for query in (
                ContractQuery(symbol=wanted, sec_type=sec_type),
                ContractQuery(local_symbol=wanted, sec_type=sec_type),
            ):
                found |= {item.con_id: item for item in book.resolve(query)}
        if not found:
            raise PlanError(f"symbol {symbol!r}: this gateway lists no such instrument")
        return list(found.values())

    def _sessions(self, client_id: int | None = None) -> list[Session]:
        return [s for i, s in tuple(self._hub.sessions.items()) if client_id in {None, i}]

    # --- the link ---

    def cut_link(self, shot: Shot, notice: Error, seconds: float | None, restore: int, delay: float = 0.0) -> None:
        """The broker cannot be reached until `seconds` have passed or `restore_link` is called."""
        if self._cut is not None:
            self._engine.hit(shot, "the link was cut already")
            return
        self._cut = shot
        self._settle_feeds()
        self._hub.exchange.cut_link()
        self._repeat_notice(notice)
        self._engine.last(shot, seconds, lambda: self._mend(restore, delay))
        kinds = SERVER_REQUESTS | {CANCEL_HISTORY}
        self._gate.add_window(Window(shot, "held", None, kinds, self._held.keep, self._needs_no_server), seconds)

    def _needs_no_server(self, request: Request) -> bool:
        """Whether the gateway answers from its memory: it was asked about these contracts before."""
        if request.kind == "contract_details":
            return request.session.contracts.is_known(request.fields)
        return self._held.is_none_of(request)

    def restore_link(self, code: int) -> bool:
        """The broker is back with this code; False if it was not gone."""
        if self._cut is None:
            return False
        self._restored = code
        self._engine.end(self._cut, f"restored by {code}")
        return True

    def lose_withheld(self) -> None:
        """The gateway restarts: what it kept is lost, and it looks for the broker anew."""
        self._hub.exchange.mishaps.forget()
        self._held.forget()
        if self._cut is not None:
            self._engine.end(self._cut, "the gateway restarted")

    def release_held(self) -> int:
        """Forward now what is still held back behind a link that is up again; how many outages had left something."""
        waiting = len(self._releases)
        for timer in self._releases:
            timer.cancel()
        self._releases.clear()
        if waiting:
            self._release()
        return waiting

    def _mend(self, restore: int, delay: float) -> None:
        code, self._restored, self._cut = self._restored or restore, None, None
        self._stop_repeating()
        self._hub.exchange.mishaps.mend()
        self.tell((code, ERROR_TEXTS[code]))
        if code == 1101:
            # Data lost: the gateway has forgotten what was subscribed, and says no more about it.
            for session in self._sessions():
                session.ticks.end_streams()
                session.bars.end_updates()
        self._refresh_feeds()
        self._held.answer_all()
        if delay > 0:
            timer = self._hub.loop.call_later(delay, self._release)
            self._releases.add(timer)
        else:
            self._release()

    def _release(self) -> None:
        self._releases = {timer for timer in self._releases if timer.when() > self._hub.loop.time()}
        self._hub.exchange.mishaps.release()
        self._hub.wake()

    def _repeat_notice(self, notice: Error) -> None:
        self.tell(notice)
        self._repeat = self._hub.loop.call_later(REPEAT, self._repeat_notice, notice)

    def _stop_repeating(self) -> None:
        if self._repeat is not None:
            self._repeat.cancel()
            self._repeat = None

    # --- farms and quotes ---

    def mute(self, shot: Shot, symbol: str | None, seconds: float) -> None:
        """Nobody hears quotes of a symbol (None = of anything)."""
        con_ids = None if symbol is None else frozenset(item.con_id for item in self.instruments(symbol))
        self._settle_feeds()
        self._gate.mutes[shot] = con_ids
        self._engine.last(shot, seconds, lambda: self._unmute(shot))

    def _unmute(self, shot: Shot) -> None:
        del self._gate.mutes[shot]
        self._refresh_feeds()

    def _feeds(self) -> list[TickFeed]:
        return [feed for feeds in self._hub.feeds.values() for feed in feeds]

    def _settle_feeds(self) -> None:
        """Streams show what they know: a picture that waits for its turn would be one of later."""
        for feed in self._feeds():
            feed.settle()

    def _refresh_feeds(self) -> None:
        """Streams show what they missed."""
        for feed in self._feeds():
            feed.refresh()

    def farm_down(self, shot: Shot, farm: str, seconds: float) -> None:
        """A data farm breaks and comes back."""
        broken, broken_text, back, back_text = FARMS[farm]
        self.tell((broken, broken_text))
        self._engine.last(shot, seconds, lambda: self.tell((back, back_text)))
        if farm == "usfarm":
            self.mute(shot, None, seconds)
        elif farm == "ushmds":
            self.kill_updates(None)
            self._hold_history(shot, seconds)
        else:
            self._gate.add_window(Window(shot, "not answered", None, DEFINITION_REQUESTS, unanswered), seconds)

    def _hold_history(self, shot: Shot, seconds: float) -> None:
        held = Held(self._gate, self._say_to)

        def hold(request: Request, answer: Callable[[], None]) -> None:
            held.keep(request, answer, (165, ERROR_TEXTS[165]))

        self._engine.last(shot, seconds, lambda: held.answer_all(_HMDS_BACK))
        kinds = HISTORY_REQUESTS | {CANCEL_HISTORY}
        self._gate.add_window(Window(shot, "held", None, kinds, hold, held.is_none_of), seconds)

    # --- streams ---

    def kill_updates(self, client_id: int | None, text: str | None = None) -> int:
        """History kept up to date ends with 10182 and does not come back; how many there were."""
        killed = 0
        error = (10182, ERROR_TEXTS[10182] if text is None else text)
        for session in self._sessions(client_id):
            for request_id in session.bars.end_updates():
                self.say(session, request_id, error)
                killed += 1
        return killed

    def end_lines(self, client_id: int | None, error: Error) -> int:
        """Every market data stream ends with an error; how many there were."""
        ended = 0
        for session in self._sessions(client_id):
            for request_id in session.ticks.end_streams():
                self.say(session, request_id, error)
                ended += 1
        return ended

    def compete(self, shot: Shot, client_id: int | None, text: str, seconds: float) -> None:
        """Another login takes the market data: an error for every stream, and no quotes meanwhile."""
        for session in self._sessions(client_id):
            for request_id in session.ticks.lines:
                self.say(session, request_id, (10197, text))
        self.mute(shot, None, seconds)

    # --- halts ---

    def halt(self, shot: Shot, symbol: str, seconds: float) -> None:
        """Trading in a symbol stops; clients see it in the halted tick."""
        items = self.instruments(symbol)
        for item in items:
            self._hub.exchange.halt(item)
            self._show_halt(item)

        def resume() -> None:
            for item in items:
                self._hub.exchange.resume(item)
                self._show_halt(item)
            self._hub.wake()

        self._engine.last(shot, seconds, resume)

    def _show_halt(self, item: Instrument) -> None:
        for feed in tuple(self._hub.feeds.get(item.con_id, ())):
            feed.on_halt()
