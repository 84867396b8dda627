"""Requests that wait for a server the gateway cannot reach, and are answered when it is back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .gate import Gate
from .messages import CANCEL_HISTORY
from .shots import Request

if TYPE_CHECKING:
    from ..tws.texts import Error

MAX_HELD: Final = 1000
"""Requests one outage keeps for all clients; a client that goes on asking beyond them is never answered."""


class Held:
    """What one outage keeps, oldest first. A client that has gone or cancelled its query gets no answer."""

    def __init__(self, gate: Gate, say: Callable[[Request, Error], None]) -> None:
        self._gate = gate
        self._say = say
        self._waiting: list[tuple[Request, Callable[[], None]]] = []

    def is_none_of(self, request: Request) -> bool:
        """Whether a request is the cancel of a query that does not wait here."""
        return request.kind == CANCEL_HISTORY and self._without(request) == self._waiting

    def keep(self, request: Request, answer: Callable[[], None], notice: Error | None = None) -> None:
        """Do not answer now; `notice` is said meanwhile. A cancelled query is forgotten, and the cancel answered."""
        if request.kind == CANCEL_HISTORY:
            self._waiting = self._without(request)
            request.session.bars.say_cancelled(request.id or 0)
            return
        if len(self._waiting) < MAX_HELD:
            self._waiting.append((request, answer))
        if notice is not None and request.id is not None:
            self._say(request, notice)

    def answer_all(self, notice: Error | None = None) -> None:
        """The server is back: answer in the order of arrival, each after `notice`, unless another one is missing."""
        waiting, self._waiting = self._waiting, []
        for request, answer in waiting:
            session = request.session
            if session.hub.sessions.get(session.client_id) is not session:
                continue
            if notice is not None and request.id is not None:
                self._say(request, notice)
            self._gate.pass_on(request, answer)

    def forget(self) -> None:
        """The gateway restarts: nobody is answered."""
        self._waiting.clear()

    def _without(self, request: Request) -> list[tuple[Request, Callable[[], None]]]:
        return [one for one in self._waiting if one[0].session is not request.session or one[0].id != request.id]
