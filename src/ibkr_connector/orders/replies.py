"""Replies to the broker's questions about orders: judged again, made durable, and only then written.

A yes is a write that adds risk like the order itself: what was true when the order was written (gates, kill, link,
deadline) must be true right before it, and a journal that cannot be written refuses it. A no is always written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ibkr_connector.backends.base import OrderReply
from ibkr_connector.errors import JournalError
from ibkr_connector.logs import get_logger
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import Change
from ibkr_connector.orders.desk import OrderDesk
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.session.session import Session

_log = get_logger(__name__)
_PATIENCE_S = 2.0
"""How long a reply waits for the disk."""
_NOBODY = "nobody waits for its answer any more"
_DOUBT = "whoever placed it was told that it is in doubt"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What whoever waits for an order says about confirming it."""

    why_not: Callable[[], str]
    reduces: Callable[[], bool]


class ReplyDesk:
    """Gives leave to answer a question. Used on the session loop."""

    def __init__(self, *, session: Session, desk: OrderDesk) -> None:
        self._session = session
        self._desk = desk
        self._waiting: dict[str, _Waiting] = {}
        session.backend.reply_with(self.leave)

    @contextlib.contextmanager
    def watched(
        self, refs: Sequence[str], *, why_not: Callable[[], str], reduces: Callable[[], bool]
    ) -> Iterator[None]:
        """While the block runs, questions about these orders may be confirmed unless `why_not` says why not.

        `reduces`: whether they only reduce the position, and need no journal for it (INV-12).
        """
        waiting = _Waiting(why_not, reduces)
        self._waiting.update(dict.fromkeys(refs, waiting))
        try:
            yield
        finally:
            for ref in refs:
                if self._waiting.get(ref) is waiting:
                    del self._waiting[ref]

    async def leave(self, reply: OrderReply) -> str:
        """Make a reply durable. Returns why a yes must become a no; empty = write it as it stands."""
        client_id = self._session.settings.client_id
        found = [self._desk.table.by_number(client_id, number) for number in reply.order_ids]
        lives = [live for live in found if live is not None]
        if reply.confirmed:
            why = self._why_not(lives, reply)
            if why:
                return why
        changes = {live.ref: steps.reply_sending(live.record, reply, self._desk.context()) for live in lives}
        durable = await self._keep(changes, lives, reply)
        for live in lives:
            self._desk.tell(live, changes[live.ref], journal=False)
        if not reply.confirmed:
            return ""
        if not durable and not self._all_reduce(lives):
            return "the journal cannot be written"
        return self._why_not(lives, reply)  # the disk took its time

    async def _keep(self, changes: dict[str, list[Change]], lives: Sequence[LiveOrder], reply: OrderReply) -> bool:
        """Whether the journal has it, or the reply may go without."""
        journal = self._desk.journal
        if journal is None:
            return False

        def keep() -> bool:
            return not reply.confirmed or self._all_reduce(lives)

        try:
            return await journal.commit_reply(changes, patience=_PATIENCE_S, keep=keep)
        except JournalError as error:
            _log.warning("a reply could not be journaled", error=str(error))
            return False

    def _why_not(self, lives: Sequence[LiveOrder], reply: OrderReply) -> str:
        if not lives:
            return _NOBODY
        for live in lives:
            waiting = self._waiting.get(live.ref)
            if waiting is None:
                return _NOBODY
            if reply.operation in live.record.doubts:
                return _DOUBT
            if why := waiting.why_not():
                return why
        return ""

    def _all_reduce(self, lives: Sequence[LiveOrder]) -> bool:
        waiting = [self._waiting.get(live.ref) for live in lives]
        return all(one is not None and one.reduces() for one in waiting)
