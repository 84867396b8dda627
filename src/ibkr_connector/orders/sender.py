"""The way of a new order to the broker: prepare, check and reserve, wait for a slot, commit, check again, write.

Whatever happens on the way ends in one of three: acknowledged (a `LiveOrder`), an exception that says nothing was sent,
or an exception that says it may have been (`OrderInDoubt`). There is no fourth.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ibkr_connector.backends.base import WireOrder
from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import (
    ContractError,
    OrderNotSent,
)
from ibkr_connector.events import EventBus, RiskDecided, Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.models.contract import ContractDetails
from ibkr_connector.models.order import BracketRequest, OcaType, OrderRequest, OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.answers import in_doubt, raise_if_refused
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.entries import SendingEntry
from ibkr_connector.orders.groups import GroupLeg, refused_alone
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.road import NOT_PAST_BREAKER, OrderRoad, Prepared, nothing_sent
from ibkr_connector.orders.ttl import with_ttl
from ibkr_connector.orders.wire import wire_order
from ibkr_connector.resilience import Deadline
from ibkr_connector.risk.decision import RiskDecision
from ibkr_connector.risk.view import RiskView
from ibkr_connector.session.lane import LaneOutcome, Written
from ibkr_connector.session.permits import HeldSlot

_log = get_logger(__name__)
_ON_HOLD = "Inactive"
_CANCELLED = "it was cancelled before it was written"
_HELD_UP = (
    "Wait until it is settled (orders_in_doubt() lists it; the connector asks the broker), or settle it by hand with "
    "resolve(order, as_=…, evidence=…); then send this one again."
)
_NOT_WITHOUT_JOURNAL = "the journal cannot be written, and it does not only reduce the position any more"


@dataclass(slots=True)
class _Leg:
    request: OrderRequest
    """The order with its contract qualified."""
    planned: GroupLeg
    live: LiveOrder
    details: ContractDetails
    view: Callable[[], RiskView]
    wire: WireOrder | None = None
    write: Callable[[], None] | None = None


class OrderSender:
    """Places new orders, one or a group. Used on the session loop."""

    def __init__(self, road: OrderRoad, *, bus: EventBus, account: Callable[[], str]) -> None:
        self._road = road
        self._session = road.session
        self._desk = road.desk
        self._risk = road.risk
        self._clock = road.clock
        self._bus = bus
        self._account = account
        self.committing: set[str] = set()
        """Refs whose commit has begun: from there on a caller's cancellation no longer stops them."""

    async def send(self, plan: Sequence[GroupLeg], deadline: Deadline) -> list[LiveOrder]:
        """Send one order, or a group in the order of its plan, and wait for the broker's answer.

        Raises: RiskRejected, OrderNotSent, JournalError (nothing was sent); OrderRejected; OrderInDoubt.
        """
        lives = [LiveOrder(_record(leg, self._account())) for leg in plan]
        for live in lives:
            self._desk.adopt(live)  # from here on a cancel finds it
        with contextlib.ExitStack() as watched:
            return await self._send(lives, plan, deadline, watched)

    async def _send(
        self, lives: list[LiveOrder], plan: Sequence[GroupLeg], deadline: Deadline, watched: contextlib.ExitStack
    ) -> list[LiveOrder]:
        try:
            with nothing_sent(lives[0].ref):
                self._session.require_orders()
                requests, named = [leg.request for leg in plan], bool(plan[0].oca)
                prepared = await self._prepare_undoubted(lives, requests, deadline, named=named)
                legs = [self._leg(*known) for known in zip(lives, plan, prepared, strict=True)]
                decision = self._check(legs)
                watched.enter_context(self._answering(legs, deadline))
                with await self._session.hold_order_slot(
                    units=len(legs), timeout=deadline.remaining(), reduces=lambda: self._only_reduces(legs)
                ) as slot:
                    outcome = await self._write(legs, decision, deadline, slot)
        except BaseException as error:
            cancelled = any(live.record.cancel_wanted for live in lives)
            for live in lives:
                self._give_up(live, str(error))
            if cancelled and isinstance(error, asyncio.CancelledError):
                raise OrderNotSent(f"not sent: {_CANCELLED}.", order_ref=lives[0].ref) from None
            raise
        finally:
            self.committing.difference_update(live.ref for live in lives)
        try:
            return await self._await_answer(legs, outcome, slot)
        finally:
            slot.unanswered()

    def _answering(self, legs: Sequence[_Leg], deadline: Deadline) -> contextlib.AbstractContextManager[None]:
        """Until the answer is here, what holds for the write holds for a yes to the broker's questions as well."""
        epoch = self._session.link.epoch
        return self._road.replies.watched(
            [leg.live.ref for leg in legs],
            why_not=lambda: self._why_not(legs, epoch, deadline),
            reduces=lambda: self._only_reduces(legs),
        )

    def _give_up(self, live: LiveOrder, why: str) -> None:
        """Nothing was written. An order that was committed already is known by name for ever; others never were."""
        changes = steps.not_sent(live.record, why, self._desk.context())
        if live.record.committed:
            self._desk.tell(live, changes)
        else:
            self._risk.release(live.ref)
            live.changed()
            self._desk.table.forget(live)

    # --- the steps -------------------------------------------------------------------------------------------------

    async def _prepare_undoubted(
        self, lives: Sequence[LiveOrder], requests: Sequence[OrderRequest], deadline: Deadline, *, named: bool
    ) -> list[Prepared]:
        """What the gates need, once no other order in these contracts may or may not be at the broker."""
        while True:
            prepared = [
                await self._prefetch(requests, number, deadline, named=named) for number in range(len(requests))
            ]
            con_ids = {found.details.contract.con_id for found in prepared}
            doubtful = self._desk.table.doubtful(con_ids, lives[0].record.account)
            if doubtful is None:
                return prepared
            settled = await doubtful.until(_is_settled, self._clock, deadline.remaining())
            if not settled:
                why = _held_up_by(doubtful)
                raise OrderNotSent(f"not sent: {why}.", remedy=_HELD_UP, order_ref=requests[0].order_ref)

    async def _prefetch(
        self, requests: Sequence[OrderRequest], number: int, deadline: Deadline, *, named: bool
    ) -> Prepared:
        """`named`: an error about its contract says which of the orders it is."""
        try:
            return await self._road.prefetch(requests[number], deadline)
        except ContractError as error:
            if not named:
                raise
            place = f"orders[{number}]"
            context = {**error.context, "field": f"{place}.symbol", "order_ref": requests[number].order_ref}
            told = f"{place}: {error.message}"
            raise type(error)(told, code=error.code, remedy=error.remedy, **context) from error

    def _leg(self, live: LiveOrder, planned: GroupLeg, found: Prepared) -> _Leg:
        request = planned.request.model_copy(update={"contract": found.details.contract})
        request = with_ttl(
            request,
            default=self._road.settings.order_ttl,
            is_exit=bool(planned.parent_ref),
            position=found.view().position(request.contract.con_id, request.action.sign),
            now=self._session.broker_now(),
        )
        qualified = replace(planned, request=request)
        wanted = live.record.cancel_wanted
        live.record = _record(qualified, self._account())
        live.record.cancel_wanted = wanted
        return _Leg(request, qualified, live, found.details, found.view)

    def _check(self, legs: Sequence[_Leg]) -> RiskDecision:
        """All gates and the reservation, without an `await`."""
        first = legs[0]
        if len(legs) == 1:
            decision = self._risk.check_and_reserve(first.request, first.view())
        elif first.planned.oca:
            blocks = (first.request.oca_type or OcaType.REDUCE_WITHOUT_BLOCK).blocks
            asked = [(leg.request, leg.view()) for leg in legs]
            decision = self._risk.check_and_reserve_oca(asked, group=first.planned.oca, blocks=blocks)
        else:
            entry, target, stop = (leg.request for leg in legs)
            bracket = BracketRequest(entry=entry, take_profit=target, stop_loss=stop)
            decision = self._risk.check_and_reserve_bracket(bracket, first.view())
        ref = legs[0].request.order_ref
        for result in decision.results:
            self._session.meters.count("risk_decisions", result.gate, "passed" if result.passed else "refused")
        if not decision.allowed:
            self._session.meters.count("orders", legs[0].request.action.value.lower(), "refused")
        if self._bus.has_listeners:
            self._bus.publish(
                RiskDecided(
                    at=self._clock.now(),
                    severity=Severity.INFO if decision.allowed else Severity.WARNING,
                    order_ref=ref,
                    allowed=decision.allowed,
                    decision=decision.to_dict(),
                )
            )
        if not decision.allowed and self._desk.journal is not None:
            self._desk.journal.audit("risk_refused", decision.to_dict(), ref=ref)
        return decision.require()

    async def _write(
        self, legs: Sequence[_Leg], decision: RiskDecision, deadline: Deadline, slot: HeldSlot
    ) -> LaneOutcome:
        epoch = self._session.link.epoch
        durable = True

        def prepare() -> None:
            why = self._obstacle(legs, epoch, deadline)
            if why:
                raise OrderNotSent(f"not sent: {why}.", order_ref=legs[0].request.order_ref)
            numbers: dict[str, int] = {}
            for leg in legs:
                order_id = numbers[leg.request.order_ref] = self._session.backend.take_id()
                leg.wire = wire_order(
                    OrderTerms.of_request(leg.request),
                    contract=leg.details.contract,
                    order_id=order_id,
                    account=leg.live.record.account,
                    order_ref=leg.request.order_ref,
                    parent_id=numbers.get(leg.planned.parent_ref, 0),
                    transmit=leg.planned.transmit,
                )
                leg.write = self._road.frame(leg.wire)
            self.committing.update(numbers)

        async def commit() -> None:
            nonlocal durable
            client_id = self._session.settings.client_id
            entries = [self._entry(leg, decision, client_id, epoch) for leg in legs]
            committing = self._road.journal.commit_sending(
                entries, patience=self._road.patience(deadline), keep=lambda: self._only_reduces(legs)
            )
            durable = await self._road.durably(committing, told)

        def told() -> None:
            client_id = self._session.settings.client_id
            for leg in legs:
                assert leg.wire is not None  # noqa: S101 - prepare() set it
                changes = steps.committed(
                    leg.live.record, order_id=leg.wire.order_id, client_id=client_id, ctx=self._desk.context()
                )
                self._risk.commit(leg.request.order_ref)
                self._desk.tell(leg.live, changes, journal=False)

        def recheck() -> str:
            if not durable and not self._only_reduces(legs):  # the position may have changed meanwhile
                return _NOT_WITHOUT_JOURNAL
            if slot.past_breaker and not self._only_reduces(legs):
                return NOT_PAST_BREAKER
            return self._why_not(legs, epoch, deadline)

        outcome = await self._road.lane.write(
            prepare=prepare,
            commit=commit,
            recheck=recheck,
            frames=lambda: [leg.write for leg in legs if leg.write is not None],
            timeout=deadline.remaining(),
            written=slot.sent,
        )
        if outcome.written is Written.NO:
            raise OrderNotSent(f"not sent: {outcome.reason}.", order_ref=legs[0].request.order_ref)
        if not durable:
            self._road.tell_not_journaled(legs[0].live.ref, "order")
        return outcome

    def _only_reduces(self, legs: Sequence[_Leg]) -> bool:
        """Whether it may go without the journal, and past an open breaker; a group never, because its entry adds."""
        return len(legs) == 1 and self._road.only_reduces(legs[0].request, legs[0].view())

    def _entry(self, leg: _Leg, decision: RiskDecision, client_id: int, epoch: int) -> SendingEntry:
        assert leg.wire is not None  # noqa: S101 - prepare() set it
        record = leg.live.record
        return SendingEntry(
            request=leg.request,
            account=record.account,
            order_id=leg.wire.order_id,
            client_id=client_id,
            endpoint=self._road.endpoint,
            epoch=epoch,
            sent_at=self._session.broker_now(),
            decision=decision.to_dict(),
            group=record.group,
            parent_ref=record.parent_ref,
            parent_id=leg.wire.parent_id,
        )

    def _why_not(self, legs: Sequence[_Leg], epoch: int, deadline: Deadline) -> str:
        """Why the write must not happen now; asked right before it, with nothing awaited in between."""
        obstacle = self._obstacle(legs, epoch, deadline)
        if obstacle:
            return obstacle
        return next(filter(None, (self._road.refusal(leg.request, leg.view()) for leg in legs)), "")

    def _obstacle(self, legs: Sequence[_Leg], epoch: int, deadline: Deadline) -> str:
        """What has come in between, the gates apart."""
        why = self._road.obstacle(epoch, deadline)
        if why:
            return why
        if any(leg.live.record.cancel_wanted for leg in legs):
            return _CANCELLED
        con_ids = {leg.details.contract.con_id for leg in legs}
        own = {leg.live.ref for leg in legs}
        doubtful = self._desk.table.doubtful(con_ids, legs[0].live.record.account, without=own)
        return "" if doubtful is None else _held_up_by(doubtful)

    # --- the answer ------------------------------------------------------------------------------------------------

    async def _await_answer(self, legs: Sequence[_Leg], outcome: LaneOutcome, slot: HeldSlot) -> list[LiveOrder]:
        if outcome.written is Written.MAYBE:
            why = f"the write failed in the middle: {outcome.reason}"
            for leg in legs[outcome.frames :]:  # the writing of a group ends at the first frame that fails
                self._desk.tell(leg.live, steps.not_sent(leg.live.record, why, self._desk.context()))
            self._doubt(legs[outcome.whole : outcome.frames], why)
        until = self._clock.monotonic() + self._road.settings.ack_timeout
        for leg in legs:
            left = max(until - self._clock.monotonic(), 0.0)
            await leg.live.until(_is_clear, self._clock, left)
        silent = [leg for leg in legs if not _is_answered(leg.live.record)]
        if silent:
            self._doubt(silent, f"no answer in {self._road.settings.ack_timeout:g} s")
        doubtful = [leg for leg in legs if leg.live.record.state is OrderState.IN_DOUBT]
        slot.answered(in_doubt=bool(doubtful))
        lives = [leg.live for leg in legs]
        if legs[0].planned.oca:
            self.tell_incomplete(lives)
        raise_if_refused(lives, self._session.backend, oca=legs[0].planned.oca)
        if doubtful:
            raise in_doubt(doubtful[0].live)
        return lives

    def tell_incomplete(self, lives: Sequence[LiveOrder]) -> None:
        """Raise an incident when an order of an OCA group never worked and others of it do."""
        for record in refused_alone([live.record for live in lives]):
            text = f"order {record.ref} of the OCA group {record.group} does not work ({record.why}); the others do"
            self._session.incident("oca_incomplete", text, about=record.ref)

    def _doubt(self, legs: Sequence[_Leg], why: str) -> None:
        for leg in legs:
            if not _is_answered(leg.live.record):
                changes = steps.enter_doubt(leg.live.record, Operation.NEW, why, self._desk.context())
                self._desk.tell(leg.live, changes)
        self._road.on_doubt()


def _held_up_by(doubtful: LiveOrder) -> str:
    return f"order {doubtful.ref} in the same contract and account is in doubt, and new orders there wait for it"


def _is_settled(record: OrderRecord) -> bool:
    return Operation.NEW not in record.doubts


def _is_answered(record: OrderRecord) -> bool:
    return record.acknowledged or record.is_done or record.in_doubt


def _is_clear(record: OrderRecord) -> bool:
    """Answered, and not on hold: `Inactive` is most often followed by the reason for a rejection."""
    return record.is_done or record.in_doubt or (record.acknowledged and record.broker_status != _ON_HOLD)


def _record(planned: GroupLeg, account: str) -> OrderRecord:
    return steps.new_record(
        planned.request,
        account=planned.request.account or account,
        group=planned.group,
        parent_ref=planned.parent_ref,
    )
