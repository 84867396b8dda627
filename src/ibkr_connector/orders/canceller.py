"""Getting out: cancels. They wait for no journal, no lane, no breaker; only for the wire.

A cancel is owed from the moment it is asked for: it is noted on the order (and behind, in the journal), pursued by a
task of its own, and sent again after every outage and restart until the order has ended or the broker has refused it.
Callers merely wait for the end, each as long as it likes; one that leaves takes nothing back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from ibkr_connector.backends.facts import Operation
from ibkr_connector.clock import Clock
from ibkr_connector.errors import CancelInDoubt, NotConnected, OrderNotCancellable, OrderNotFound, TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import CancelRejected, Change, Echoed, EndTold, Settled, SettledHow
from ibkr_connector.orders.desk import OrderDesk
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.resilience import Deadline
from ibkr_connector.session.session import Session

_log = get_logger(__name__)
_NOT_FOUND = 10147
_ENDS_TOLD_S = 1.0
_ASK_AGAIN_S = 0.5
_PURSUED = "The cancel is still being pursued."
_PURSUED_MANY = "What was not refused is still being pursued."
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
        give_up: Callable[[str], None],
        ask_state: Callable[[], None],
        ask_ends: Callable[[float], Awaitable[None]],
    ) -> None:
        """`give_up(ref)` stops an order that was not committed yet; `ask_state()` has the settler ask the broker."""
        self._session = session
        self._desk = desk
        self._clock = clock
        self._timeout = timeout
        self._give_up = give_up
        self._ask_state = ask_state
        self._ask_ends = ask_ends
        self._pursuits: dict[str, asyncio.Task[None]] = {}
        self._everything: asyncio.Task[None] | None = None
        """Writes a global cancel."""
        desk.on_changes(self._on_changes)

    async def close(self) -> None:
        """Stop pursuing; what is owed is in the journal."""
        tasks = [*self._pursuits.values(), *([] if self._everything is None else [self._everything])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one order ------------------------------------------------------------------------------------------------

    async def cancel(self, live: LiveOrder, timeout: float | None = None) -> OrderSnapshot:
        """Cancel one order, and tell how it ended: cancelled (a part may be filled), filled, or given up unsent.

        Without a connection the cancel is kept and sent after the reconnect.

        Raises:
            CancelInDoubt: no end within `timeout` seconds; the order may still fill, the cancel stands.
            OrderNotCancellable, OrderNotFound: the broker refused the cancel, or the order is another program's.
        """
        if live.snapshot.state.is_done:
            return live.snapshot
        self._require_own(live)
        deadline = Deadline(self._clock, self._timeout if timeout is None else timeout)
        refusals = live.refusals
        self.want(live)
        await live.until(
            lambda known: known.is_done or live.refusals > refusals,
            self._clock,
            deadline.remaining(),
        )
        if not live.record.is_done and live.refusals > refusals:
            await self._after_refusal(live, deadline)
        if not live.record.is_done:
            raise self._doubt(live)
        return live.snapshot

    def want(self, live: LiveOrder) -> None:
        """Note that the cancel is owed, and see to it."""
        self._desk.tell(live, steps.cancel_wanted(live.record, self._desk.context()))
        if live.record.committed:
            self._pursue(live)
        else:
            self._give_up(live.ref)

    def _require_own(self, live: LiveOrder) -> None:
        own, targets = self._session.settings.client_id, live.record.cancel_targets()
        # No target at all: the broker says that it ended, and its executions are still to come.
        if live.record.committed and targets and not any(branch.client_id == own for branch in targets):
            theirs = live.record.client_id
            if theirs < 0:  # a backend that tells no client ids
                raise OrderNotCancellable(
                    f"order {live.ref} is another program's.",
                    remedy='Cancel it there, or cancel everything with cancel_all_orders(scope="account").',
                    order_ref=live.ref,
                )
            raise OrderNotCancellable(
                f"order {live.ref} belongs to client id {theirs}; a cancel reaches the orders of client id {own} only.",
                remedy=f"Cancel it from its own program, connect with client_id={theirs}, or cancel everything with "
                'cancel_all_orders(scope="account").',
                order_ref=live.ref,
            )

    # --- the pursuit ----------------------------------------------------------------------------------------------

    def _pursue(self, live: LiveOrder, *, again: bool = False) -> None:
        """Have a task of its own write the cancel and watch for its answer; `again`: whatever was written before."""
        ref = live.ref
        running = self._pursuits.get(ref)
        if running is not None and not running.done():
            if not again:
                return
            running.cancel()
        task = asyncio.create_task(self._see_to_it(live), name=f"cancel {ref}")
        self._pursuits[ref] = task
        task.add_done_callback(lambda done: self._ended(ref, done))

    def _ended(self, ref: str, task: asyncio.Task[None]) -> None:
        if self._pursuits.get(ref) is task:
            del self._pursuits[ref]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("a cancel could not be written", order_ref=ref, error=str(error))

    async def _see_to_it(self, live: LiveOrder) -> None:
        """Write it, however long its turn takes; the time for an answer begins with the write."""
        refusals = live.refusals
        if not await self._write(live):
            return
        answered = await live.until(
            lambda known: known.is_done or known.is_cancel_told or live.refusals > refusals,
            self._clock,
            self._timeout,
        )
        if not answered:
            self._doubt(live)

    async def _write(self, live: LiveOrder) -> bool:
        """Write the cancel of every order at the broker that certainly is ours; whether one was written."""
        written, number = False, 0
        again = Operation.CANCEL in live.record.outstanding
        while number < len(live.record.cancel_targets()):
            async with self._session.cancel_slot(again=again) as slot:
                try:
                    sent = self._write_one(live, number)
                except BaseException:
                    slot.unused()
                    raise
                if not sent:
                    slot.unused()
            written, number = written or sent, number + 1
        return written

    def _write_one(self, live: LiveOrder, number: int) -> bool:
        """Write it now, if it is still owed and the number still means this order; whether it was written."""
        record, own, epoch = live.record, self._session.settings.client_id, self._session.link.epoch
        targets = record.cancel_targets()  # as they are now: it may have waited long for its turn
        if record.is_done or not record.cancel_wanted or number >= len(targets):
            return False
        branch = targets[number]
        if not record.is_reachable(branch, epoch=epoch, client_id=own):
            _log.warning("the cancel waits until the broker shows the order", order_ref=live.ref)
            self._ask_state()
            return False
        try:
            self._session.backend.send_cancel(branch.order_id)
        except NotConnected:
            _log.warning("no connection: the cancel is sent after the reconnect", order_ref=live.ref)
            return False
        self._desk.tell(live, steps.cancel_sent(record, self._desk.context()))
        return True

    def resend(self) -> None:
        """After a reconnect: send again the cancels that are owed."""
        for live in self._desk.table.open():
            if live.record.cancel_wanted and live.record.committed:
                self._pursue(live, again=True)

    def _on_changes(self, live: LiveOrder, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, CancelRejected):
                live.refused(change)
        record = live.record
        if record.cancel_wanted and record.is_forked and any(isinstance(change, EndTold) for change in changes):
            # Several orders under one number: a cancel ends one of them, and which is the gateway's choice.
            if not record.is_done:
                self._pursue(live, again=True)
            return
        if not record.cancel_wanted or Operation.CANCEL in record.outstanding:
            return
        absent = any(isinstance(change, Settled) and change.how is SettledHow.ABSENT for change in changes)
        if absent or any(isinstance(change, Echoed) for change in changes):
            self._pursue(live)  # shown at last, or proven that the cancel got lost

    # --- answers --------------------------------------------------------------------------------------------------

    async def _after_refusal(self, live: LiveOrder, deadline: Deadline) -> None:
        """The broker will not cancel: usually because it ended meanwhile, and the end is on its way."""
        self._ask_state()
        patience = min(_END_MAY_LAG_S, deadline.remaining())
        if await live.until(lambda known: known.is_done, self._clock, patience):
            return
        if Operation.NEW in live.record.doubts:
            raise self._doubt(live)  # it may still be on its way: the cancel stays owed
        refusal = live.refusal
        code = None if refusal is None else refusal.code
        why = "the broker refused the cancel" if refusal is None else refusal.why
        kind = OrderNotFound if code == _NOT_FOUND else OrderNotCancellable
        raise kind(f"order {live.ref}: {why}", code=code, order_ref=live.ref)

    def _doubt(self, live: LiveOrder) -> CancelInDoubt:
        """Nobody knows whether the cancel arrived, unless the broker said that it is cancelling."""
        record = live.record
        why = "the broker has not confirmed the cancel"
        if record.is_cancel_told:
            why = "the broker has taken the cancel and not ended the order yet"
        else:
            if Operation.CANCEL not in record.outstanding:
                why = "the cancel was not written yet"
            if record.committed and not record.cancel_targets():
                why = "the broker says that it has ended, and has not told all of its executions"
            self._desk.tell(live, steps.enter_doubt(record, Operation.CANCEL, why, self._desk.context()))
            self._ask_state()
        pursued = f" {_PURSUED}" if record.cancel_wanted and (not record.committed or record.cancel_targets()) else ""
        return CancelInDoubt(
            f"order {live.ref}: {why}; it is {record.state.value}, filled {record.filled}.{pursued}",
            order_ref=live.ref,
            filled=str(record.filled),
        )

    # --- several --------------------------------------------------------------------------------------------------

    async def cancel_many(self, orders: Iterable[LiveOrder], timeout: float | None) -> list[OrderSnapshot]:
        """Cancel all of `orders` at once. Raises `CancelInDoubt` naming those whose end is not known."""
        chosen = list(orders)
        results = await asyncio.gather(*(self.cancel(live, timeout) for live in chosen), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, TradingError):
                raise result
        return _all_ended(chosen)

    async def cancel_account(self, timeout: float | None) -> list[OrderSnapshot]:
        """One global cancel: every order of the login, other programs' and manual ones too."""
        deadline = Deadline(self._clock, self._timeout if timeout is None else timeout)
        unsent = self._desk.table.unsent()
        for live in unsent:
            self.want(live)
        chosen = self._desk.table.open()
        own = [live for live in chosen if live.record.client_id == self._session.settings.client_id]
        for live in own:
            self._desk.tell(live, steps.cancel_wanted(live.record, self._desk.context()))
        if self._everything is None or self._everything.done():
            self._everything = asyncio.create_task(self._write_global(), name="cancel everything")
            self._everything.add_done_callback(lambda done: self._ended("everything", done))
        try:
            await self._clock.wait_for(asyncio.shield(self._everything), deadline.remaining())
        except TimeoutError:
            for live in own:
                self._pursue(live)
            raise CancelInDoubt(
                f"the cancel of everything waits for its turn under IBKR's message rate. {_PURSUED}",
                order_refs=[live.ref for live in [*unsent, *chosen]],
            ) from None
        await asyncio.gather(
            *(
                live.until(lambda known: known.is_done, self._clock, min(deadline.remaining(), _ENDS_TOLD_S))
                for live in [*unsent, *chosen]
            )
        )
        while any(not live.record.is_done for live in chosen) and not deadline.expired:
            await self._ask_ends(deadline.remaining())  # the ends of others' orders are told to their owners only
            await self._clock.sleep(min(deadline.remaining(), _ASK_AGAIN_S))
        for live in own:
            if not live.record.is_done:
                self._doubt(live)
        return _all_ended([*unsent, *chosen])

    async def _write_global(self) -> None:
        """Write it, however long its turn takes."""
        async with self._session.cancel_slot() as slot:
            try:
                self._session.backend.send_global_cancel()
            except BaseException:
                slot.unused()
                raise
        own = self._session.settings.client_id
        for live in self._desk.table.open():
            if live.record.client_id == own and live.record.cancel_wanted:
                self._desk.tell(live, steps.cancel_sent(live.record, self._desk.context()))


def _all_ended(chosen: Sequence[LiveOrder]) -> list[OrderSnapshot]:
    left = [live for live in chosen if not live.record.is_done]
    if left:
        refs = [live.ref for live in left]
        pursued = f" {_PURSUED_MANY}" if any(live.record.cancel_wanted for live in left) else ""
        raise CancelInDoubt(f"not confirmed: {', '.join(refs)}.{pursued}", order_refs=refs)
    return [live.snapshot for live in chosen]
