"""Where faults take hold of the TWS front. The hub has no taps, and nothing is asked, while no fault is armed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ..exchange.types import ExchangeEvent
from .texts import Error

if TYPE_CHECKING:
    from .session import Session


class Taps(Protocol):
    """Decides about requests, replies, events and newcomers (see `paper.faults`)."""

    def request(self, session: Session, fields: Sequence[str], answer: Callable[[], None]) -> None:
        """A request has arrived: call `answer`, or do something else about it."""

    def reply(self, session: Session, fields: list[str]) -> None:
        """A message is about to be sent: `session.transmit` it, or do something else about it."""

    def hides(self, event: ExchangeEvent) -> bool:
        """Whether the front must not hear of this."""

    def refusal(self, client_id: int) -> Error | None:
        """The error with which a newcomer is refused."""


class Pipe:
    """Bytes on their way to one client: late, cut into pieces, or lost. Belongs to one connection.

    Nothing overtakes: what is written later arrives later, also when it became faster meanwhile.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, out: Callable[[bytes], None]) -> None:
        """`out` sends bytes."""
        self._loop = loop
        self._out = out
        self._queue: deque[tuple[float, bytes, bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.delay = 0.0
        """Wire seconds every byte takes."""
        self.cut: Callable[[bytes], list[tuple[float, bytes]]] | None = None
        """Divides a write into (seconds after the piece before, bytes)."""
        self.loses = False
        """Whether everything is lost."""
        self.pending = 0
        """Bytes on their way."""

    @property
    def is_clear(self) -> bool:
        """Whether it changes nothing and holds nothing."""
        return not (self.delay or self.cut or self.loses or self._queue)

    def send(self, data: bytes) -> None:
        """Put a write in."""
        if self.loses:
            return
        due = self._loop.time() + self.delay
        if self._queue:
            due = max(due, self._queue[-1][0])
        for wait, piece in [(0.0, data)] if self.cut is None else self.cut(data):
            due += wait
            self._queue.append((due, piece, self.cut is None))
            self.pending += len(piece)
        self._arrange()

    def close(self) -> None:
        """Lose what is on its way, and everything that comes."""
        self.loses = True
        self._queue.clear()
        self.pending = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arrange(self) -> None:
        if self._timer is None and self._queue:
            self._timer = self._loop.call_at(self._queue[0][0], self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        now = self._loop.time()
        together: list[bytes] = []
        while self._queue and self._queue[0][0] <= now:
            _, piece, whole = self._queue.popleft()
            self.pending -= len(piece)
            together.append(piece)
            # Pieces of a cut frame go out one by one, whole ones in one packet like those of a connection at ease.
            if not (whole and self._queue and self._queue[0][0] <= now and self._queue[0][2]):
                self._out(b"".join(together))
                together.clear()
        self._arrange()
