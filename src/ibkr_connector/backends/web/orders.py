"""Orders over the Web API: one POST for an order or a group, its questions, its answer as facts; cancels; previews.

A frame hands its POST to the orders thread before it returns. A bracket's legs are held until the one that transmits,
an OCA group's until the last of the frames that are written back to back; each group is one request. What becomes of a
request is told as facts. One request at a time has questions open: another one would make them unanswerable, so
`turn` lets the next order wait before it is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ibkr_connector.backends.base import LOGIN_REFUSED, NOT_CONFIRMED, PACE_REFUSED, REPLY_WITHHELD, WhatIf, WireOrder
from ibkr_connector.backends.facts import Operation, OrderNotice, OrderStatusSeen, OrderUnanswered
from ibkr_connector.backends.web.cancels import WebCancels
from ibkr_connector.backends.web.codes import LOG_IN_AGAIN
from ibkr_connector.backends.web.order_answers import Refused, Taken, Unclear
from ibkr_connector.backends.web.order_body import order_body, what_if_of
from ibkr_connector.backends.web.order_book import Known, OrderBook
from ibkr_connector.backends.web.questions import Declined, Questions, Result
from ibkr_connector.backends.web.reads import path_part
from ibkr_connector.backends.web.records import Records
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import (
    AuthenticationError,
    ConnectionRefused,
    ConnectTimeout,
    InsufficientFunds,
    InvalidRequest,
    NotConnected,
    OrderConfirmationRequired,
    OrderInDoubt,
    OrderNotSent,
    OrderRejected,
    PacingError,
    PriceIncrementError,
    RequestRejected,
    TradingError,
)
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)
_UNWRITTEN = (NotConnected, ConnectTimeout, ConnectionRefused)
"""Failures of a request of which no byte left. A 401 is none of them: it was written, and refused."""
REJECTED = 201
_ALONE = "the Web API cannot add an order to an OCA group that exists: send all of its orders at once."
_REMEDIES = {
    LOGIN_REFUSED: f"{LOG_IN_AGAIN} Then place a new order.",
    PACE_REFUSED: "IBKR's limit of requests was reached: wait, then place a new order.",
}
"""Where nothing is wrong with the order itself."""
_KINDS_OF_REFUSAL: tuple[tuple[str, type[OrderRejected]], ...] = (
    ("margin", InsufficientFunds),
    ("insufficient", InsufficientFunds),
    ("available funds", InsufficientFunds),
    ("minimum price variation", PriceIncrementError),
)


class WebOrders:
    """The writes of `Backend`."""

    def __init__(self, room: WebRoom, questions: Questions, records: Records) -> None:
        self._room = room
        self._questions = questions
        self._records = records
        self._book: OrderBook = records.book
        self._held: list[WireOrder] = []
        """Legs of a bracket that wait for the one that transmits."""
        self._group: list[WireOrder] = []
        """Orders of an OCA group that is being handed over."""
        self._open: set[asyncio.Task[None]] = set()
        """Requests whose outcome is not known yet."""
        self._cancels = WebCancels(room, records)
        records.on_identified = self._identified

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, timeout: float) -> None:
        """See `Part`."""

    async def stop(self) -> None:
        """See `Part`: what is open ends with the connection, and is in doubt above."""
        self._held.clear()
        self._group.clear()
        for task in tuple(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    def back(self) -> None:
        """See `Part`."""

    async def turn(self, timeout: float) -> None:
        """Wait until no request is open. Raises: OrderNotSent."""
        until = self._room.clock.monotonic() + timeout
        while self._open:
            left = until - self._room.clock.monotonic()
            try:
                await self._room.clock.wait_for(asyncio.wait(tuple(self._open)), max(left, 0.0))
            except TimeoutError:
                raise OrderNotSent(
                    f"another order waited for the broker's answer for {timeout:g} s, and one at a time is asked about."
                ) from None

    # --- new orders and changes -------------------------------------------------------------------------------------

    def order_frame(self, order: WireOrder) -> Callable[[], None]:
        """See `Backend.order_frame`.

        Raises:
            NotSupportedByBackend, OrderValidationError: it cannot be said over the Web API.
            InvalidRequest: an order of this number was handed over before, and the broker's number is not known.
        """
        path_part(order.account)
        known = self._book.by_id(order.order_id)
        if known is None:
            self._body(order, [])
            return partial(self._hand_over, order)
        if not known.perm_id or known.order.order_ref != order.order_ref:
            raise InvalidRequest(
                f"number {order.order_id} was written as {known.order.order_ref}; it cannot be written again."
            )
        body = order_body(order, change=True)
        return partial(self._change, known, order, body)

    def _body(self, order: WireOrder, together: Sequence[WireOrder]) -> dict[str, Any]:
        parent = next((one.order_ref for one in together if order.parent_id and one.order_id == order.parent_id), "")
        if order.parent_id and not parent:
            known = self._book.by_id(order.parent_id)
            parent = known.order.order_ref if known is not None else ""
        return order_body(order, parent_ref=parent, grouped=bool(order.oca_group) and len(together) > 1)

    def _hand_over(self, order: WireOrder) -> None:
        self._room.require()
        if order.oca_group and order.transmit and not order.parent_id:
            self._group.append(order)
            self._book.add(order)
            if len(self._group) == 1:
                asyncio.get_running_loop().call_soon(self._launch_group)
            return
        self._held.append(order)
        if not order.transmit:
            self._book.add(order)
            return
        orders, self._held = self._held, []
        self._book.add(order)
        self._launch(orders)

    def _launch_group(self) -> None:
        """Every frame of the group was handed over: they come back to back."""
        orders, self._group = self._group, []
        if not orders:
            return
        if len(orders) == 1:
            self._not_written(orders, _ALONE)
            return
        try:
            self._launch(orders)
        except TradingError as error:
            self._not_written(orders, error.message)

    def _launch(self, orders: list[WireOrder]) -> None:
        body = {"orders": [self._body(order, orders) for order in orders]}
        path = f"iserver/account/{orders[0].account}/orders"
        try:
            post = self._room.calls.begin("POST", path, body, timeout=self._room.endpoint.order_timeout)
        except NotConnected as error:
            self._book.forget(orders[-1])
            self._not_written(orders[:-1], error.message)
            raise
        self._follow_through(post, orders, Operation.NEW)

    def _not_written(self, orders: Sequence[WireOrder], why: str) -> None:
        for order in orders:
            self._book.forget(order)
            self._unanswered(order, Operation.NEW, why, written=False)

    def _change(self, known: Known, order: WireOrder, body: dict[str, Any]) -> None:
        self._room.require()
        path = f"iserver/account/{order.account}/order/{known.perm_id}"
        post = self._room.calls.begin("POST", path, body, timeout=self._room.endpoint.order_timeout)
        known.proposed, known.changed = order, True
        self._follow_through(post, [order], Operation.MODIFY)

    def _follow_through(self, post: asyncio.Task[Any], orders: list[WireOrder], operation: Operation) -> None:
        task = self._room.spawn(self._see_through(post, orders, operation), f"order-{orders[0].order_id}")
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _see_through(self, post: asyncio.Task[Any], orders: list[WireOrder], operation: Operation) -> None:
        try:
            body = await post
        except OrderInDoubt as error:
            self._each_unanswered(orders, operation, error.message)
            return
        except _UNWRITTEN as error:
            if operation is Operation.NEW:
                self._not_written(orders, error.message)
            else:
                self._each_unanswered(orders, operation, error.message, written=False)
            return
        except TradingError as error:
            self._refused(orders, _code_of(error), error.message)
            return
        self._told(await self._questions.settle(body, orders, operation), orders, operation)

    # --- what became of it ------------------------------------------------------------------------------------------

    def _told(self, result: Result, orders: list[WireOrder], operation: Operation) -> None:
        if isinstance(result, Declined):
            code = REPLY_WITHHELD if result.why else NOT_CONFIRMED
            why = f" ({result.why})" if result.why else ""
            self._refused(orders, code, f"the question was not confirmed{why}: {result.question.shown}")
        elif isinstance(result, Unclear):
            self._each_unanswered(orders, operation, result.why)
        elif isinstance(result, Refused):
            if result.is_duplicate:
                self._each_unanswered(orders, operation, f"an earlier writing of it arrived ({result.text})")
            else:
                self._refused(orders, REJECTED, result.text)
        else:
            for order in orders:
                self._taken(order, _row_of(order, orders, result), operation)

    def _taken(self, order: WireOrder, row: Taken | None, operation: Operation) -> None:
        known = self._book.by_id(order.order_id)
        if row is None or known is None:
            self._unanswered(order, operation, "the answer does not name it", written=True)
            return
        if row.error:
            self._refused([order], REJECTED, row.error)
            return
        if operation is Operation.MODIFY:
            known.accept(order, self._room.clock.monotonic())
        self._records.identified(known, row.perm_id)
        self._room.outlet.emit(
            OrderStatusSeen(
                order_id=order.order_id,
                client_id=self._room.client_id,
                perm_id=row.perm_id,
                status=row.status,
                filled=self._records.filled(row.perm_id),
                remaining=order.quantity,
                avg_fill_price=self._records.nothing,
            )
        )
        self._records.follow(known)

    def _refused(self, orders: Sequence[WireOrder], code: int, why: str) -> None:
        for order in orders:
            known = self._book.by_id(order.order_id)
            if known is not None and known.perm_id:
                known.proposed = None
            self._room.outlet.emit(OrderNotice(order_id=order.order_id, code=code, text=why))

    def _each_unanswered(
        self, orders: Sequence[WireOrder], operation: Operation, why: str, *, written: bool = True
    ) -> None:
        for order in orders:
            self._unanswered(order, operation, why, written=written)

    def _unanswered(self, order: WireOrder, operation: Operation, why: str, *, written: bool) -> None:
        self._room.outlet.emit(OrderUnanswered(order_id=order.order_id, operation=operation, written=written, why=why))

    def refusal(self, code: int | None, text: str, **context: Any) -> TradingError:
        """See `Backend.refusal`."""
        if code == NOT_CONFIRMED:
            return OrderConfirmationRequired(text, code=code, **context)
        if code in _REMEDIES:
            return OrderRejected(text, code=code, remedy=_REMEDIES[code], **context)
        low = text.lower()
        kind = next((kind for words, kind in _KINDS_OF_REFUSAL if words in low), OrderRejected)
        return kind(text if text.endswith((".", "!", "?")) else f"{text}.", code=code, **context)

    # --- cancels ----------------------------------------------------------------------------------------------------

    def send_cancel(self, order_id: int) -> None:
        """See `Backend.send_cancel`. Without the broker's number yet, it is written as soon as that is told."""
        self._room.require()
        known = self._book.by_id(order_id)
        if known is None:
            raise InvalidRequest(f"order_id={order_id} is no order of this program.", field="order_id", value=order_id)
        if not known.perm_id:
            known.cancel = True
            return
        self._cancels.want(known, leave=True)

    def _identified(self, known: Known) -> None:
        if known.cancel and self._room.connected:
            known.cancel = False
            self._cancels.want(known, leave=False)

    def send_global_cancel(self) -> None:
        """See `Backend.send_global_cancel`: everything of every account of the login."""
        self._room.require()
        self._cancels.want_everything()
        self._records.look_at_all()

    # --- previews ---------------------------------------------------------------------------------------------------

    async def what_if(self, order: WireOrder, timeout: float) -> WhatIf:
        """See `Backend.what_if`. Raises: OrderRejected where the preview says no."""
        self._room.require()
        path_part(order.account)
        body = order_body(order)
        body.pop("cOID", None)
        path = f"iserver/account/{order.account}/orders/whatif"
        try:
            told = await self._room.calls.post(path, {"orders": [body]}, timeout=timeout)
        except RequestRejected as error:
            raise self.refusal(REJECTED, error.message, order_ref=order.order_ref) from None
        return what_if_of(told)


def _row_of(order: WireOrder, orders: Sequence[WireOrder], rows: Sequence[Taken]) -> Taken | None:
    """The part of an answer about one order: by its name where that is repeated, else by its place."""
    named = next((row for row in rows if row.ref == order.order_ref), None)
    if named is not None:
        return named
    place = next(number for number, one in enumerate(orders) if one is order)
    if len(rows) != len(orders) or rows[place].ref:
        return None
    return rows[place]


def _code_of(error: TradingError) -> int:
    """What a refusal of the request is told as."""
    if isinstance(error, AuthenticationError):
        return LOGIN_REFUSED
    return PACE_REFUSED if isinstance(error, PacingError) else REJECTED
