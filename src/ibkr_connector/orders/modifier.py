"""Changing a working order, safely or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.base import WireOrder
from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import (
    ModifyInDoubt,
    ModifyNotPossible,
    ModifyRejected,
    OrderNotSent,
)
from ibkr_connector.models.order import OrderRequest, OrderSnapshot, OrderType, TimeInForce
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.entries import ChangeEntry
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.modify import changed, check_modify, is_unseen
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.road import NOT_PAST_BREAKER, OrderRoad, nothing_sent
from ibkr_connector.orders.wire import wire_order
from ibkr_connector.resilience import Deadline
from ibkr_connector.risk.view import RiskView
from ibkr_connector.session.lane import Written
from ibkr_connector.session.permits import HeldSlot

_SHOWN_S = 5.0
"""How long the broker may take to show an order that it has taken."""


@dataclass(slots=True)
class _Pending:
    """A change on its way to the write."""

    live: LiveOrder
    terms: OrderTerms
    request: OrderRequest
    view: Callable[[], RiskView]
    decision: dict[str, Any]
    deadline: Deadline
    committed: bool = False


class OrderModifier:
    """One change at a time per order. Used on the session loop."""

    def __init__(self, road: OrderRoad) -> None:
        self._road = road
        self._session = road.session
        self._desk = road.desk
        self._risk = road.risk

    async def modify(
        self,
        live: LiveOrder,
        *,
        quantity: float | Decimal | None = None,
        limit_price: float | Decimal | None = None,
        stop_price: float | Decimal | None = None,
    ) -> OrderSnapshot:
        """Change quantity or prices, starting from the broker's last echo, and wait for its word.

        Raises:
            OrderValidationError, ModifyNotPossible, RiskRejected, OrderNotSent: nothing was sent.
            ModifyRejected: the order works on as it was. ModifyInDoubt: both versions count until it is known.
        """
        record = live.record
        with nothing_sent(live.ref):
            self._session.require_orders()
            await self._shown(live)
            terms = changed(
                record,
                self._session.link.epoch,
                link_up=self._session.link.broker_link,
                quantity=quantity,
                limit_price=limit_price,
                stop_price=stop_price,
            )
            self._check_exits(record, terms)
        with contextlib.ExitStack() as watched:
            with nothing_sent(live.ref):
                slot = await self._send(live, terms, watched)
            try:
                return await self._await_answer(live, terms, slot)
            finally:
                slot.unanswered()

    async def _shown(self, live: LiveOrder) -> None:
        """Wait a moment for the broker to show an order that it has just taken."""
        link = self._session.link

        def unseen(record: OrderRecord) -> bool:
            return is_unseen(record, link.epoch, link_up=link.broker_link)

        if unseen(live.record):
            patience = min(_SHOWN_S, self._road.settings.ack_timeout)
            await live.until(lambda known: not unseen(known), self._road.clock, patience)

    async def _send(self, live: LiveOrder, terms: OrderTerms, watched: contextlib.ExitStack) -> HeldSlot:
        """Up to the write; whatever is raised means that the change was not sent."""
        record, request = live.record, _request(terms, live.record)
        deadline = Deadline(self._road.clock, self._road.settings.order_deadline)
        prepared = await self._road.prefetch(request, deadline)
        check_modify(record, self._session.link.epoch, link_up=self._session.link.broker_link)
        decision = self._risk.check_and_reserve_change(request, prepared.view())
        decision.require()
        change = _Pending(live, terms, request, prepared.view, decision.to_dict(), deadline)
        watched.enter_context(self._answering(change))
        try:
            with await self._session.hold_order_slot(
                units=1, timeout=deadline.remaining(), reduces=lambda: self._only_reduces(change)
            ) as slot:
                await self._write(change, slot)
            return slot
        except BaseException as error:
            if change.committed:
                self._desk.tell(live, steps.modify_not_sent(record, str(error), self._desk.context()))
            if Operation.MODIFY not in record.outstanding:
                self._risk.on_open(live.ref, record.open_quantity)
            raise

    def _check_exits(self, record: OrderRecord, terms: OrderTerms) -> None:
        """An entry must not grow beyond its exits: what it filled above them would have no stop (INV-10)."""
        exits = [
            live.record for live in self._desk.table if live.record.parent_ref == record.ref and not live.record.is_done
        ]
        covered = min((one.terms.quantity for one in exits), default=terms.quantity)
        if terms.quantity > max(covered, record.terms.quantity):
            raise ModifyNotPossible(
                f"Order {record.ref} cannot be changed to {terms.quantity}: its exits protect {covered}.",
                remedy="Place another bracket for the rest; or cancel this one and place it anew.",
                order_ref=record.ref,
                state=record.state.value,
            )

    def _answering(self, change: _Pending) -> contextlib.AbstractContextManager[None]:
        """Until the answer is here, what holds for the write holds for a yes to the broker's questions as well."""
        epoch = self._session.link.epoch
        return self._road.replies.watched(
            [change.live.ref],
            why_not=lambda: self._why_not(change, epoch),
            reduces=lambda: self._only_reduces(change),
        )

    def _why_not(self, change: _Pending, epoch: int) -> str:
        record = change.live.record
        if record.cancel_wanted or record.is_done:
            return "the order is being cancelled or has ended"
        return self._road.obstacle(epoch, change.deadline) or self._road.refusal(change.request, change.view())

    def _only_reduces(self, change: _Pending) -> bool:
        return self._road.only_reduces(change.request, change.view())

    async def _write(self, change: _Pending, slot: HeldSlot) -> None:
        live, record = change.live, change.live.record
        epoch = self._session.link.epoch
        written: list[Callable[[], None]] = []
        durable = True

        def prepare() -> None:
            check_modify(record, self._session.link.epoch, link_up=self._session.link.broker_link)
            written[:] = [self._road.frame(self._wire(change))]

        async def commit() -> None:
            nonlocal durable
            entry = ChangeEntry(
                ref=record.ref,
                old=record.echo or record.terms,
                new=change.terms,
                decision=change.decision,
                order_id=record.order_id,
                client_id=record.client_id,
                endpoint=self._road.endpoint,
                epoch=epoch,
                sent_at=self._session.broker_now(),
            )
            committing = self._road.journal.commit_change(
                entry, patience=self._road.patience(change.deadline), keep=lambda: self._only_reduces(change)
            )
            durable = await self._road.durably(committing, told)

        def told() -> None:
            self._desk.tell(live, steps.modify_sent(record, change.terms, self._desk.context()), journal=False)
            change.committed = True

        def recheck() -> str:
            if not durable and not self._only_reduces(change):
                return "the journal cannot be written, and the order does not only reduce the position any more"
            if slot.past_breaker and not self._only_reduces(change):
                return NOT_PAST_BREAKER
            return self._why_not(change, epoch)

        outcome = await self._road.lane.write(
            prepare=prepare,
            commit=commit,
            recheck=recheck,
            frames=lambda: written,
            timeout=change.deadline.remaining(),
            written=slot.sent,
        )
        if outcome.written is Written.NO:
            raise OrderNotSent(f"change not sent: {outcome.reason}.", order_ref=live.ref)
        if not durable:
            self._road.tell_not_journaled(live.ref, "the change of order")
        if outcome.written is Written.MAYBE:
            self._desk.tell(live, steps.enter_doubt(record, Operation.MODIFY, outcome.reason, self._desk.context()))

    def _wire(self, change: _Pending) -> WireOrder:
        record = change.live.record
        parent = self._desk.table.by_ref(record.parent_ref)
        return wire_order(
            change.terms,
            contract=change.terms.contract,
            order_id=record.order_id,
            account=record.account,
            order_ref=record.ref,
            parent_id=0 if parent is None else parent.record.order_id,
        )

    async def _await_answer(self, live: LiveOrder, terms: OrderTerms, slot: HeldSlot) -> OrderSnapshot:
        record = live.record
        await live.until(
            lambda known: Operation.MODIFY not in known.outstanding or Operation.MODIFY in known.doubts,
            self._road.clock,
            self._road.settings.ack_timeout,
        )
        slot.answered(in_doubt=Operation.MODIFY in record.outstanding)
        if Operation.MODIFY in record.outstanding:
            why = f"no answer to the change in {self._road.settings.ack_timeout:g} s"
            self._desk.tell(live, steps.enter_doubt(record, Operation.MODIFY, why, self._desk.context()))
            self._road.on_doubt()
            raise ModifyInDoubt(f"order {live.ref}: {why}.", order_ref=live.ref)
        self._risk.on_open(live.ref, record.open_quantity)
        if record.terms == terms:
            return live.snapshot
        if record.is_done:
            raise ModifyNotPossible(
                f"order {live.ref} ended as {record.state.value} before the change took hold.",
                remedy="Read its state: it has ended.",
                order_ref=live.ref,
            )
        raise ModifyRejected(
            f"order {live.ref}: {record.warning or 'the broker refused the change'}", order_ref=live.ref
        )


def _request(terms: OrderTerms, record: OrderRecord) -> OrderRequest:
    """The changed order as a request: validated by the same rules, judged by the same gates."""
    kind = OrderType(terms.order_type)
    return OrderRequest.make(
        contract=terms.contract,
        action=terms.action.value,
        quantity=terms.quantity,
        order_type=kind,
        limit_price=terms.limit_price,
        stop_price=terms.stop_price,
        trail_amount=terms.trail_amount,
        trail_percent=terms.trail_percent,
        tif=TimeInForce(terms.tif),
        good_till=terms.good_till,
        outside_rth=terms.outside_rth,
        account=record.account,
        oca_group=terms.oca_group or None,
        oca_type=terms.oca_type or None,
        order_ref=record.ref,
        agent=record.agent or None,  # its own limits judge the change too
        reference_price=None if record.request is None else record.request.reference_price,
    )
