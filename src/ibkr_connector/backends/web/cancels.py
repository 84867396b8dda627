"""Cancels over the Web API: one DELETE each, and another one only when it is known that the last did not do.

That is known when its answer did not come, or when it was refused for too many requests. Every further DELETE takes its
turn like the first one; after a 429 it waits for the end of the rest.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ibkr_connector.backends.facts import Operation, OrderNotice, OrderUnanswered
from ibkr_connector.backends.web.order_book import Known
from ibkr_connector.backends.web.records import Records
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import ContractNotFound, OrderNotFound, PacingError, RequestRejected, TradingError
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)
NOT_FOUND = 10147
NOT_CANCELLABLE = 161
_AGAIN_S = (0.5, 1.0, 2.0, 4.0)
"""Pauses before a cancel whose answer did not come is written again: it cannot do harm twice, and must arrive."""
_AFTER_REST_S = 0.5
"""Beyond the end of a rest."""


class WebCancels:
    """The cancels that are on their way. Used on the session loop."""

    def __init__(self, room: WebRoom, records: Records) -> None:
        self._room = room
        self._records = records
        self._on_their_way: dict[str, asyncio.Task[None]] = {}
        """By path: while one is seen to, another one for the same order would only be a request too many."""

    def want(self, known: Known, *, leave: bool) -> None:
        """Cancel an order whose permId is known; `leave`: its turn has come, else it is waited for."""
        for number, perm_id in enumerate((known.perm_id, *sorted(known.forks))):
            path = f"iserver/account/{known.order.account}/order/{perm_id}"
            self._see_to(path, known, leave=leave and number == 0)  # one leave is one request

    def want_everything(self) -> None:
        """Cancel everything of every account of the login; its turn has come."""
        for number, account in enumerate(self._room.accounts):
            self._see_to(f"iserver/account/{account}/order/-1", None, leave=number == 0)

    def _see_to(self, path: str, known: Known | None, *, leave: bool) -> None:
        if path in self._on_their_way:
            return
        first = self._delete(path) if leave else None
        name = "cancel-all" if known is None else f"cancel-{known.order.order_id}"
        task = self._room.spawn(self._see_through(first, path, known), name)
        self._on_their_way[path] = task
        task.add_done_callback(lambda done: self._ended(path, done))

    def _ended(self, path: str, task: asyncio.Task[None]) -> None:
        if self._on_their_way.get(path) is task:
            del self._on_their_way[path]

    def _delete(self, path: str) -> asyncio.Task[Any]:
        return self._room.calls.begin("DELETE", path, timeout=self._room.endpoint.order_timeout)

    async def _see_through(self, request: asyncio.Task[Any] | None, path: str, known: Known | None) -> None:
        """Write it until it is answered. Refusals for too many requests are no tries: after each there is a rest."""
        pace, pauses, written = self._room.calls.pace, iter(_AGAIN_S), request is not None
        while True:
            try:
                if request is None:
                    async with pace.exit(again=written) as leave:
                        if known is not None and known.over:
                            leave.unused()
                            return
                        request, written = self._delete(path), True
                body = await request
            except TradingError as error:
                request = None
                if known is not None and known.over:
                    return
                pause = _AFTER_REST_S if isinstance(error, PacingError) else next(pauses, None)
                if isinstance(error, OrderNotFound):
                    pause = None
                _log.warning("a cancel has no answer", path=path, error=error.message, again_in=pause)
                if pause is None:
                    self._given_up(known, error)
                    return
                await self._room.clock.sleep(pause)
            else:
                pace.exit_answered()
                self._answered(body, known)
                return

    def _answered(self, body: Any, known: Known | None) -> None:
        if known is None:
            return
        said = body.get("error") if isinstance(body, dict) else None
        if isinstance(said, str) and said:
            self._room.outlet.emit(OrderNotice(order_id=known.order.order_id, code=NOT_FOUND, text=said[:300]))
        self._records.follow(known, until_over=True)

    def _given_up(self, known: Known | None, error: TradingError) -> None:
        """Tell those above: it was refused, or is in doubt, and theirs to see to."""
        if known is None:
            return
        order_id = known.order.order_id
        if isinstance(error, OrderNotFound | ContractNotFound | RequestRejected):
            code = NOT_CANCELLABLE if isinstance(error, RequestRejected) else NOT_FOUND
            self._room.outlet.emit(OrderNotice(order_id=order_id, code=code, text=error.message))
        else:
            why = error.message
            self._room.outlet.emit(
                OrderUnanswered(order_id=order_id, operation=Operation.CANCEL, written=True, why=why)
            )
        self._records.follow(known, until_over=True)
