"""Order questions: the broker asks back before it takes an order, and each answer is a step that is journaled first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import NotSupportedByBackend


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyStep:
    """One answer about to be written: what the journal keeps of it, before a byte of it leaves."""

    order_ref: str
    question_id: str
    message_ids: tuple[str, ...]
    text: str
    confirmed: bool


ReplyJournal = Callable[[ReplyStep], Awaitable[None]]
"""Makes a step durable. What it raises keeps the answer from being written."""


async def unjournaled(step: ReplyStep) -> None:
    """Where nobody keeps a journal (tools, tests of the backend alone)."""


class Questions:
    """Answers the questions about orders of one backend, one at a time."""

    def __init__(self, room: WebRoom) -> None:
        self._room = room
        self.journal: ReplyJournal = unjournaled

    async def settle(self, answer: Any, *, order_ref: str, timeout: float) -> Any:
        """Go through the questions that `answer` begins with, until the broker says what became of the order."""
        raise NotSupportedByBackend("orders over the Web API are not built into this version.")
