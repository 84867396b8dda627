"""Getting out: cancels. They wait for no journal, no lane, no breaker; only for the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from ibkr_connector.backends.base import Operation
from ibkr_connector.clock import Clock
from ibkr_connector.errors import CancelInDoubt, NotConnected, OrderNotCancellable, OrderNotFound, TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.models.order import OrderSnapshot, OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import CancelRejected, Change
from ibkr_connector.orders.desk import OrderDesk
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.resilience import Deadline
from ibkr_connector.session.session import Session

_log = get_logger(__name__)
_NOT_FOUND = 10147
_ENDS_TOLD_S = 1.0
_ASK_AGAIN_S = 0.5
_END_MAY_LAG_S = 5.0
"""How long the end of an order may lag behind the refusal of its cancel."""


class OrderCanceller:
    """Cancels orders and waits for their end. Used on the session loop."""

    def __init__(
        self,
        *,
        session: Session,
        desk: OrderDesk,
        clock: Clock,
        timeout: float,
        ask_state: Callable[[], None],
        ask_ends: Callable[[float], Awaitable[None]],
        on_doubt: Callable[[], None],
    ) -> None:
        self._session = session
        self._desk = desk
        self._clock = clock
        self._timeout = timeout
        self._ask_state = ask_state
        self._ask_ends = ask_ends
        self._on_doubt = on_doubt
        self._refusals: dict[str, CancelRejected] = {}
        desk.on_changes(self._note_refusal)

    async def cancel(self, live: LiveOrder, timeout: float | None = None) -> OrderSnapshot:
        """Cancel one order, and tell how it ended: cancelled (a part may be filled) or filled.

        Without a connection the cancel is kept and sent after the reconnect.

        Raises:
            CancelInDoubt: no end within `timeout` seconds; the order may still fill, the cancel stands.
            OrderNotCancellable, OrderNotFound: the broker refused the cancel.
        """
        record = live.record
        if record.is_done:
            return live.snapshot
        if not record.ours and record.client_id != self._session.settings.client_id:
            raise OrderNotCancellable(
                f"order {live.ref} belongs to client id {record.client_id}; a cancel reaches own orders only.",
                remedy='Cancel it from its own program, or everything with cancel_all_orders(scope="account").',
                order_ref=live.ref,
            )
        deadline = Deadline(self._clock, self._timeout if timeout is None else timeout)
        live.cancel_wanted = True
        self._refusals.pop(live.ref, None)
        await self._send(live, deadline)
        while (
            not await live.until(
                lambda known: known.is_done or live.ref in self._refusals, self._clock, deadline.remaining()
            )
            or not live.snapshot.state.is_done
        ):
            refusal = self._refusals.pop(live.ref, None)
            if refusal is None:
                self._raise_in_doubt(live)
            else:
                await self._after_refusal(live, refusal)
        live.cancel_wanted = False
        return live.snapshot

    async def _send(self, live: LiveOrder, deadline: Deadline) -> None:
        if not live.record.committed:
            return  # the sender sees `cancel_wanted` before it writes
        for branch in live.record.cancel_targets():
            try:
                await self._session.cancel_slot(deadline.remaining())
                self._session.backend.send_cancel(branch.order_id)
            except NotConnected:
                _log.warning("no connection: the cancel is sent after the reconnect", order_ref=live.ref)
                return
        self._desk.tell(live, steps.cancel_sent(live.record, self._desk.context()))

    async def _after_refusal(self, live: LiveOrder, refusal: CancelRejected) -> None:
        """The broker will not cancel: usually because it ended meanwhile, and the end is on its way."""
        self._ask_state()
        ended = await live.until(lambda known: known.is_done, self._clock, _END_MAY_LAG_S)
        if ended:
            return
        live.cancel_wanted = False
        kind = OrderNotFound if refusal.code == _NOT_FOUND else OrderNotCancellable
        raise kind(f"order {live.ref}: {refusal.why}", code=refusal.code, order_ref=live.ref)

    def _raise_in_doubt(self, live: LiveOrder) -> None:
        why = "the broker has not confirmed the cancel"
        self._desk.tell(live, steps.enter_doubt(live.record, Operation.CANCEL, why, self._desk.context()))
        self._on_doubt()
        raise CancelInDoubt(
            f"order {live.ref}: {why}; it is {live.record.state.value}, filled {live.record.filled}.",
            order_ref=live.ref,
            filled=str(live.record.filled),
        )

    def _note_refusal(self, live: LiveOrder, changes: list[Change]) -> None:
        for change in changes:
            if isinstance(change, CancelRejected):
                self._refusals[live.ref] = change
                live.changed()

    # --- several ---------------------------------------------------------------------------------------------------

    async def cancel_many(self, orders: Iterable[LiveOrder], timeout: float | None) -> list[OrderSnapshot]:
        """Cancel all of `orders` at once. Raises `CancelInDoubt` naming those whose end is not known."""
        chosen = list(orders)
        results = await asyncio.gather(*(self.cancel(live, timeout) for live in chosen), return_exceptions=True)
        open_refs: list[str] = []
        for live, result in zip(chosen, results, strict=True):
            if isinstance(result, TradingError) and not live.record.is_done:
                open_refs.append(live.ref)
            elif isinstance(result, BaseException) and not isinstance(result, TradingError):
                raise result
        if open_refs:
            raise CancelInDoubt(f"not confirmed: {', '.join(open_refs)}.", order_refs=open_refs)
        return [live.snapshot for live in chosen]

    async def cancel_account(self, timeout: float | None) -> list[OrderSnapshot]:
        """One global cancel: every order of the login, other programs' and manual ones too."""
        deadline = Deadline(self._clock, self._timeout if timeout is None else timeout)
        chosen = self._desk.table.open()
        for live in chosen:
            live.cancel_wanted = live.record.ours
        await self._session.cancel_slot(deadline.remaining())
        self._session.backend.send_global_cancel()
        for live in chosen:
            self._desk.tell(live, steps.cancel_sent(live.record, self._desk.context()))
        for live in chosen:
            await live.until(lambda known: known.is_done, self._clock, min(deadline.remaining(), _ENDS_TOLD_S))
        while any(not live.record.is_done for live in chosen) and not deadline.expired:
            await self._ask_ends(deadline.remaining())  # the ends of others' orders are told to their owners only
            await self._clock.sleep(min(deadline.remaining(), _ASK_AGAIN_S))
        open_refs = [live.ref for live in chosen if not live.record.is_done]
        if open_refs:
            raise CancelInDoubt(f"not confirmed: {', '.join(open_refs)}.", order_refs=open_refs)
        return [live.snapshot for live in chosen]

    async def resend(self) -> None:
        """After a reconnect: send again the cancels that were wanted and not confirmed."""
        for live in self._desk.table.open():
            if live.cancel_wanted and live.record.state is not OrderState.NEW:
                await self._send(live, Deadline(self._clock, self._timeout))
