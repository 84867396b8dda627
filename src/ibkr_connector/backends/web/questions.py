"""Order questions: the broker asks back before it takes an order, and each answer is a step that is journaled first.

A question is confirmed where every message id of it is in the configuration's list, whoever placed the order still
waits for it, and what held for the order holds now (`leave`). Everything else is declined with `confirmed: false`, so
that nothing is left behind that somebody could confirm later. Each answer is written once: its own loss is a doubt
about the order, settled by what the broker shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ibkr_connector.backends.base import OrderReply, ReplyLeave, WireOrder
from ibkr_connector.backends.facts import Operation
from ibkr_connector.backends.web.order_answers import Question, Refused, Taken, Unclear, read_answer
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import TradingError
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Declined:
    """A question was answered with no, and the broker confirmed that."""

    question: Question
    why: str
    """Why a question of the list was not confirmed; empty for one that is not on it."""


Result: TypeAlias = "tuple[Taken, ...] | Refused | Declined | Unclear"
"""What became of orders when no question is open any more."""


async def _alone(reply: OrderReply) -> str:
    """Where nobody keeps a journal (tools, tests of the backend alone)."""
    del reply
    return ""


class Questions:
    """Answers the questions about orders of one backend, one after the other."""

    def __init__(self, room: WebRoom) -> None:
        self._room = room
        self.leave: ReplyLeave = _alone

    async def settle(self, body: object, orders: Sequence[WireOrder], operation: Operation) -> Result:
        """Go through the questions that an answer begins with, until the broker says what became of the orders."""
        allowed = frozenset(self._room.endpoint.confirm)
        answer = read_answer(body)
        asked = 0
        while isinstance(answer, Question):
            asked += 1
            why = ""
            confirm = bool(answer.message_ids) and allowed.issuperset(answer.message_ids)
            if confirm and asked > self._room.endpoint.questions:
                confirm, why = False, f"it was the question number {asked}"
            if not confirm:
                return await self._decline(answer, orders, operation, why)
            said = await self._write(answer, orders, operation, confirmed=True)
            if isinstance(said, str):
                return await self._decline(answer, orders, operation, said)
            answer = said
        return answer

    async def _decline(self, question: Question, orders: Sequence[WireOrder], operation: Operation, why: str) -> Result:
        _log.warning("a question is answered with no", question=question.shown, why=why or "not in the list")
        answer = await self._write(question, orders, operation, confirmed=False)
        if isinstance(answer, Refused):
            return Declined(question, why)  # "Order not confirmed": there is nothing left to confirm
        if isinstance(answer, Question):
            return Unclear("a no was answered with another question")
        return Unclear(answer) if isinstance(answer, str) else answer

    async def _write(
        self, question: Question, orders: Sequence[WireOrder], operation: Operation, *, confirmed: bool
    ) -> tuple[Taken, ...] | Refused | Question | Unclear | str:
        """Answer it, in its turn and with leave that was given right before; a text says why leave was refused."""
        path = f"iserver/reply/{question.reply_id}"
        what = "yes" if confirmed else "no"
        timeout = self._room.endpoint.order_timeout
        try:
            async with self._room.calls.pace.request("POST", path, timeout) as turn:
                try:
                    why = await self.leave(_reply(question, orders, operation, confirmed=confirmed))
                    if confirmed and why:
                        turn.unused()
                        return why
                    post = self._room.calls.begin("POST", path, {"confirmed": confirmed}, timeout=timeout)
                except BaseException:
                    turn.unused()
                    raise
                turn.sent()
            body = await post
        except TradingError as error:
            return Unclear(f"the {what} to {question.shown} has no answer: {error.message}")
        return read_answer(body)


def _reply(question: Question, orders: Sequence[WireOrder], operation: Operation, *, confirmed: bool) -> OrderReply:
    return OrderReply(
        order_ids=tuple(order.order_id for order in orders),
        operation=operation,
        message_ids=question.message_ids,
        text=question.shown,
        confirmed=confirmed,
    )
