"""What a run saw on the connector's side, in order: calls and answers, messages written, events, kills, crashes.

Plain values only, so that it can be written as JSON lines by one process and judged by another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ibkr_connector.events import BrokerLinkChanged, Event, Incident, LinkChanged, OrderUpdated, RiskDecided

AT_THE_END = "at the end"
"""Why the process is killed after everything was done: to see what it finds when it starts again."""


class Note(msgspec.Struct, frozen=True):
    """One thing that happened. `at` is wire time, seconds; kinds and their fields:

    `call`, `answer`: agent, index, do, ref; an answer has outcome (`ok`, or the exception's name), state, text.
    `wire`: message (place, cancel, global_cancel, or the number), order_id (0 = none), client_id.
    `http`: a request over the Web API: message (place, modify, cancel, global_cancel, reply, read), path, and what it
    names; `wire` notes of orders are made of it afterwards. `committing`: ids, the number of each ref.
    `link`: state. `broker_link`: up. `order`: ref, what, state. `incident`: name, ref, text. `decision`: ref, allowed.
    `disk`: full; `disk_caught_up`: what was kept in memory meanwhile is on it.
    `killed`, `resumed`: where (here, elsewhere; step: here, on the thread that writes). `started`, `ready`, `crashed`,
    `checkpoint`: what.
    `stalled`: seconds in which the machine gave the process no time (real time only). `stranger`: what another program
    did. `command`: what the command line said.
    `secret`: a secret was in an event or answer.
    """

    at: float
    kind: str
    data: dict[str, Any]


class History:
    """The notes of one run."""

    def __init__(self, now: Callable[[], float], secret: str = "", *, alive: Callable[[], bool] = lambda: True) -> None:
        self.notes: list[Note] = []
        self._now = now
        self._secret = secret
        self._alive = alive
        self._over = False

    def close(self) -> None:
        """The run is over: what finalisers do afterwards is no part of it."""
        self._over = True

    def add(self, kind: str, /, **data: Any) -> None:
        """Note something that happens now, unless the process it happens in has just been killed."""
        if self._over or not self._alive():
            return
        self.notes.append(Note(self._now(), kind, data))

    def event(self, event: Event) -> None:
        """Note an event of the bus."""
        if self._secret and self._secret in repr(event):
            self.add("secret", where=type(event).__name__)
        if isinstance(event, LinkChanged):
            self.add("link", state=event.state, previous=event.previous, reason=event.reason)
        elif isinstance(event, BrokerLinkChanged):
            if event.what == "broker":
                self.add("broker_link", up=event.up)
        elif isinstance(event, OrderUpdated):
            self.add("order", ref=event.order_ref, what=event.what, state=str(event.order.get("state", "")))
        elif isinstance(event, RiskDecided):
            self.add("decision", ref=event.order_ref, allowed=event.allowed)
        elif isinstance(event, Incident):
            self.add("incident", name=event.kind, ref=str(event.context.get("order_ref", "")), text=event.text)

    def answer(self, error: BaseException | None, **data: Any) -> None:
        """Note how a call ended."""
        text = "" if error is None else str(error)
        if self._secret and self._secret in text + repr(error):
            self.add("secret", where="answer")
        self.add("answer", outcome="ok" if error is None else type(error).__name__, text=text[:300], **data)

    def of(self, *kinds: str) -> list[Note]:
        """The notes of these kinds."""
        return [note for note in self.notes if note.kind in kinds]
