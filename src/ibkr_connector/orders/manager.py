"""Orders of one connector: the one door to placing, changing, cancelling, looking up and settling them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from ibkr_connector.backends.base import ConnectInfo, WhatIf
from ibkr_connector.backends.facts import BrokerFact, SocketClosed
from ibkr_connector.clock import Clock
from ibkr_connector.config.settings import OrderSettings
from ibkr_connector.errors import (
    ConnectorClosed,
    OrderInDoubt,
    OrderNotFound,
    OrderNotSent,
    OrderValidationError,
    TradingError,
)
from ibkr_connector.events import EventBus
from ibkr_connector.logs import get_logger
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.models.order import BracketRequest, OrderRequest, OrderSnapshot, OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.answers import in_doubt, raise_if_refused
from ibkr_connector.orders.canceller import OrderCanceller
from ibkr_connector.orders.changes import Change, Drifted, NeverArrived, NotSent, OrderTerms, Rejected
from ibkr_connector.orders.desk import OrderDesk
from ibkr_connector.orders.groups import GroupLeg, plan_bracket
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.modifier import OrderModifier
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.recover import recover
from ibkr_connector.orders.repeat import check_same
from ibkr_connector.orders.replies import ReplyDesk
from ibkr_connector.orders.road import OrderRoad, Prefetch
from ibkr_connector.orders.sender import OrderSender
from ibkr_connector.orders.settler import Settler
from ibkr_connector.orders.wire import wire_of, wire_order
from ibkr_connector.resilience import Deadline
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.session.flight import Flight
from ibkr_connector.session.lane import OrderLane
from ibkr_connector.session.link import LinkNews
from ibkr_connector.session.session import Session

_T = TypeVar("_T")
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _OrderFlight:
    """An order, or a group, on its way."""

    plan: tuple[GroupLeg, ...]
    """As it was asked for, contracts not qualified yet."""
    flight: Flight[list[LiveOrder]]


class OrderManager:
    """Used on the session loop, but for the lookups, which read immutable snapshots and may be called anywhere."""

    def __init__(
        self,
        *,
        session: Session,
        risk: RiskEngine,
        prefetch: Prefetch,
        lookup: Callable[[Contract], Awaitable[ContractDetails]],
        settings: OrderSettings,
        bus: EventBus,
        clock: Clock,
        account: Callable[[], str],
    ) -> None:
        self.clock = clock
        self.desk = OrderDesk(session=session, risk=risk, bus=bus, clock=clock, account=account)
        self._session = session
        self._risk = risk
        self._lookup = lookup
        self._settings = settings
        self._account = account
        self._flights: dict[str, _OrderFlight] = {}
        """Orders on their way, under the ref of every leg."""
        self._background: set[asyncio.Task[Any]] = set()
        endpoint = f"{session.settings.host}:{session.settings.port}"
        self.settler = Settler(
            session=session, desk=self.desk, settings=settings, clock=clock, bus=bus, endpoint=endpoint
        )
        self._replies = ReplyDesk(session=session, desk=self.desk)
        road = OrderRoad(
            session=session,
            desk=self.desk,
            lane=OrderLane(clock, session.backend.order_turn),
            replies=self._replies,
            risk=risk,
            prefetch=prefetch,
            settings=settings,
            clock=clock,
            endpoint=endpoint,
            on_doubt=self.settler.kick,
        )
        self._sender = OrderSender(road, bus=bus, account=account)
        self._modifier = OrderModifier(road)
        self._canceller = OrderCanceller(
            session=session,
            desk=self.desk,
            clock=clock,
            timeout=settings.order_deadline,
            give_up=self._give_up,
            ask_state=self.settler.kick,
            ask_ends=self.settler.ask_completed,
        )
        session.on_fact(self._on_fact)
        session.on_link_news(self._on_link_news)
        self.desk.on_changes(self._on_changes)

    # --- life ------------------------------------------------------------------------------------------------------

    def open_journal(self, journal: Journal, since: datetime) -> None:
        """Take in the journal of the account: what it holds is known from now on."""
        journal.on_trouble(self.settler.journal_trouble)
        self.desk.journal = journal
        for known in journal.load(since):
            record, changes = recover(known, self.desk.context())
            live = LiveOrder(record)
            self.desk.adopt(live)
            self._session.backend.remember(
                wire_of(record), perm_id=record.perm_id, client_id=record.client_id, over=record.is_done
            )
            self.desk.tell(live, changes)
            self.desk.count(live)

    async def sync(self, info: ConnectInfo) -> None:
        """The start-up step: know what the broker knows about orders, and send cancels that are owed."""
        await self.settler.sync(info)
        self._canceller.resend()

    async def close(self) -> None:
        """Stop background work and close the journal."""
        await self.settler.close()
        await self._canceller.close()
        tasks = [*(one.flight.task for one in self._flights.values()), *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.desk.journal is not None:
            journal, self.desk.journal = self.desk.journal, None
            await asyncio.get_running_loop().run_in_executor(None, journal.close)

    # --- placing ---------------------------------------------------------------------------------------------------

    async def place(self, request: OrderRequest, timeout: float | None = None) -> LiveOrder:
        """Place one order and wait for the broker's answer; see `OrdersApi`."""
        return (await self._place([GroupLeg(request=request)], timeout))[0]

    async def place_bracket(self, request: BracketRequest, timeout: float | None = None) -> list[LiveOrder]:
        """Place entry, target and stop as one group."""
        return await self._place(plan_bracket(request), timeout)

    async def place_oca(self, plan: Sequence[GroupLeg], timeout: float | None = None) -> list[LiveOrder]:
        """Place the orders of an OCA group as one; see `OrdersApi.oca`."""
        return await self._place(plan, timeout)

    async def _place(self, plan: Sequence[GroupLeg], timeout: float | None) -> list[LiveOrder]:
        if self._session.settings.read_only:
            raise OrderNotSent("the settings say read_only: no order is sent.", remedy="Set read_only = no.")
        under_way = self._under_way(plan)
        while under_way is not None and under_way.flight.ending:  # its last caller left, and nothing was written
            await asyncio.wait([under_way.flight.task])
            under_way = self._under_way(plan)
        if under_way is not None:
            return await under_way.flight.join()
        known = self._known(plan)
        if known is not None:
            return await self._repeat(known)
        self._refuse_used_group(plan)
        return await self._take_off(plan, timeout).flight.join()

    def _take_off(self, plan: Sequence[GroupLeg], timeout: float | None) -> _OrderFlight:
        refs = [leg.request.order_ref for leg in plan]
        deadline = Deadline(self.clock, self._settings.order_deadline if timeout is None else timeout)

        def is_committed() -> bool:
            live = self.desk.table.by_ref(refs[0])
            if live is not None and live.record.is_done:
                return live.record.state is not OrderState.NOT_SENT
            return refs[0] in self._sender.committing or (live is not None and live.record.committed)

        def ended() -> Exception:
            if is_committed():
                return OrderInDoubt(f"order {refs[0]} was on its way when the connector was closed.", order_ref=refs[0])
            return ConnectorClosed("the connector was closed while the order was waiting; it was not sent.")

        flight = Flight(self._sender.send(plan, deadline), name=f"order {refs[0]}", ended=ended, keep=is_committed)
        under_way = _OrderFlight(tuple(plan), flight)
        self._flights.update(dict.fromkeys(refs, under_way))
        flight.task.add_done_callback(lambda _: self._landed(refs))
        return under_way

    def _landed(self, refs: Sequence[str]) -> None:
        for ref in refs:
            self._flights.pop(ref, None)

    def _give_up(self, ref: str) -> None:
        """A cancel reached an order that was not committed yet: whoever placed it gets `OrderNotSent`."""
        under_way = self._flights.get(ref)
        if under_way is not None and ref not in self._sender.committing:
            under_way.flight.task.cancel()

    def _under_way(self, plan: Sequence[GroupLeg]) -> _OrderFlight | None:
        """The flight of this very order; another one with the same name is refused."""
        found = [self._flights.get(leg.request.order_ref) for leg in plan]
        under_way = next((one for one in found if one is not None), None)
        if under_way is None:
            return None
        flying = {leg.request.order_ref: leg for one in found if one is not None for leg in one.plan}
        known = [flying.get(leg.request.order_ref) for leg in plan]
        check_same(plan, [None if leg is None else (leg, OrderState.NEW) for leg in known])
        return under_way

    def _known(self, plan: Sequence[GroupLeg]) -> list[LiveOrder] | None:
        found = [self.desk.table.by_ref(leg.request.order_ref) for leg in plan]
        known = [live for live in found if live is not None]
        if known and all(live.record.ended is not None and live.record.ended.reusable for live in known):
            for live in known:  # given up before any write: the name is free again
                self.desk.table.forget(live)
            return None
        if not known:
            self._refuse_lost_names(plan)
            return None
        check_same(plan, [None if live is None else (_as_placed(live.record), live.record.state) for live in found])
        return known

    def _refuse_lost_names(self, plan: Sequence[GroupLeg]) -> None:
        """A journal that was lost must not make a second order of one that this program has at the broker (INV-01)."""
        client_id = self._session.settings.client_id
        for leg in plan:
            ref, account = leg.request.order_ref, leg.request.account or self._account()
            lost = self.desk.table.stranger(ref, client_id=client_id, account=account)
            if lost is not None:
                whose = f"client id {client_id}" if lost.record.order_id else "a client id that it does not tell"
                raise OrderValidationError(
                    f"order_ref={ref!r} is the name of an order of {whose} at the broker that this "
                    f"journal does not know ({lost.record.state.value}, permId {lost.record.perm_id}).",
                    field="order_ref",
                    value=ref,
                    legal="a new ref; the journal of the program that placed it was lost, or lies in another state_dir",
                )

    def _refuse_used_group(self, plan: Sequence[GroupLeg]) -> None:
        """A second group of the same name would be one with the first: a fill in either would end both."""
        name, account = plan[0].oca, plan[0].request.account or self._account()
        if not name:
            return
        flying = [leg.request for flight in self._flights.values() for leg in flight.plan]
        taken = [one.order_ref for one in flying if one.oca_group == name and (one.account or account) == account]
        known = [live.record for live in self.desk.table.open()]
        taken += [one.ref for one in known if one.terms.oca_group == name and one.account == account]
        if taken:
            raise OrderValidationError(
                f"group={name!r} is the name of an OCA group that works: order {taken[0]} is in it.",
                field="group",
                value=name,
                legal="a name that no working order has, or none (it is then named after its first order)",
            )

    async def _repeat(self, known: list[LiveOrder]) -> list[LiveOrder]:
        """The same ref again: the same order, and the same answer."""
        raise_if_refused(known, self._session.backend, oca=known[0].record.oca)
        for live in known:
            if live.record.state is OrderState.IN_DOUBT:
                raise in_doubt(live)
        return known

    async def preview(self, request: OrderRequest, timeout: float | None = None) -> WhatIf:
        """The broker's preview; nothing is placed."""
        details = await self.details(request.contract)
        order = wire_order(
            OrderTerms.of_request(request),
            contract=details.contract,
            order_id=0,
            account=request.account or self._account(),
            order_ref=request.order_ref,
            what_if=True,
        )
        return await self._session.read(
            f"preview of {request.contract.symbol}",
            lambda left: self._session.backend.what_if(order, left),
            timeout=self._session.settings.request_timeout if timeout is None else timeout,
            retry=False,
            op="preview",
        )

    async def details(self, contract: Contract) -> ContractDetails:
        """The contract's rules."""
        return await self._lookup(contract)

    # --- changing --------------------------------------------------------------------------------------------------

    async def modify(
        self,
        live: LiveOrder,
        *,
        quantity: float | Decimal | None = None,
        limit_price: float | Decimal | None = None,
        stop_price: float | Decimal | None = None,
    ) -> OrderSnapshot:
        """Change a working order; a caller that leaves does not stop a change that is on its way."""
        task = self._spawn(
            self._modifier.modify(live, quantity=quantity, limit_price=limit_price, stop_price=stop_price),
            f"modify {live.ref}",
        )
        return await asyncio.shield(task)

    async def cancel(self, live: LiveOrder, timeout: float | None = None) -> OrderSnapshot:
        """Cancel and wait for the end."""
        return await self._canceller.cancel(live, timeout)

    async def cancel_all(self, scope: str, timeout: float | None = None) -> list[OrderSnapshot]:
        """Cancel own orders, those of this client id, or all of the account."""
        if scope == "account":
            # Begun is done: a caller that leaves must not leave half of it.
            return await asyncio.shield(self._spawn(self._canceller.cancel_account(timeout), "cancel the account"))
        client_id = self._session.settings.client_id
        chosen = [
            live
            for live in [*self.desk.table.unsent(), *self.desk.table.open()]
            if live.record.ours or (scope == "client" and live.record.client_id == client_id)
        ]
        return await self._canceller.cancel_many(chosen, timeout)

    async def alone(self, work: Coroutine[Any, Any, _T], name: str) -> _T:
        """Do `work` to its end, whether or not the caller waits; it ends with the manager."""
        return await asyncio.shield(self._spawn(work, name))

    async def cancel_chosen(self, chosen: Sequence[LiveOrder], timeout: float | None) -> list[OrderSnapshot]:
        """Cancel these own orders at once. Raises `CancelInDoubt` naming those whose end is not known in time."""
        return await self._canceller.cancel_many(chosen, timeout)

    async def resolve_doubt(self, live: LiveOrder, state: OrderState, evidence: str) -> OrderSnapshot:
        """An operator's word on a doubtful order, kept on the disk. Raises: InvalidRequest, JournalError."""
        was = live.record.state
        changes = steps.resolve(live.record, state, evidence=evidence, operator="api", ctx=self.desk.context())
        self.desk.tell(live, changes)
        journal = self.desk.journal
        if journal is not None:
            journal.audit("resolved", {"was": was.value, "as": state.value, "evidence": evidence}, ref=live.ref)
            await journal.flush()
        return live.snapshot

    # --- looking up ------------------------------------------------------------------------------------------------

    def resolve_order(self, key: str | int) -> LiveOrder:
        """The order that a ref or an order id names. Raises `OrderNotFound`."""
        live = self.desk.table.by_ref(key) if isinstance(key, str) else None
        if live is None and isinstance(key, str) and key.isdigit():
            key = int(key)
        if live is None and isinstance(key, int):
            live = self.desk.table.by_number(self._session.settings.client_id, key) or self.desk.table.by_perm(key)
        if live is None:
            raise OrderNotFound(f"no order {key!r} is known here.", order=key)
        return live

    def open_orders(self) -> list[OrderSnapshot]:
        """Orders that can still fill."""
        return [live.snapshot for live in self.desk.table.open()]

    def in_doubt(self) -> list[OrderSnapshot]:
        """Orders with an operation that may or may not have arrived."""
        return [live.snapshot for live in self.desk.table if live.record.in_doubt]

    async def refresh_open(self) -> None:
        """Ask the broker for all open orders again."""
        await self.settler.ask_open(self._session.settings.request_timeout)

    async def completed_orders(self) -> list[OrderSnapshot]:
        """Orders of the day that ended, as the broker and the journal tell."""
        await self.settler.ask_completed(self._session.settings.request_timeout)
        return [live.snapshot for live in self.desk.table if live.record.is_done]

    # --- what happens ----------------------------------------------------------------------------------------------

    def _on_fact(self, fact: BrokerFact) -> None:
        if isinstance(fact, SocketClosed):
            self._link_lost(f"the connection was lost ({fact.reason})")

    def _on_link_news(self, news: LinkNews) -> None:
        if news.what == "broker" and not news.up:
            self._link_lost("the gateway lost its link to IBKR (1100)")

    def _link_lost(self, why: str) -> None:
        for live in self.desk.table.open():
            changes = steps.link_lost(live.record, why, self.desk.context())
            self.desk.tell(live, changes)

    def _on_changes(self, live: LiveOrder, changes: list[Change]) -> None:
        """A severe drift of the broker's echo (side, account, quantity) cancels the order; so does a refused exit."""
        for change in changes:
            if isinstance(change, Rejected | NotSent | NeverArrived) and live.record.group:
                self._on_refused_leg(live)
            if isinstance(change, Drifted) and change.severe and live.record.ours and not live.record.cancel_wanted:
                _log.error("the broker's echo differs from the intent: cancelling", order_ref=live.ref)
                self._spawn(self._canceller.cancel(live, None), f"cancel drifted {live.ref}")

    def _on_refused_leg(self, leg: LiveOrder) -> None:
        if leg.record.parent_ref:
            self._on_refused_child(leg)
        elif leg.record.oca and leg.ref not in self._flights:  # else whoever places it tells, when all have answered
            self._sender.tell_incomplete([one for one in self.desk.table if one.record.group == leg.record.group])

    def _on_refused_child(self, child: LiveOrder) -> None:
        """An entry must not fill without its exits (INV-10): take it back while nothing of it is filled."""
        parent = self.desk.table.by_ref(child.record.parent_ref)
        if parent is None or (parent.record.is_done and not parent.record.filled):
            return
        if child.record.state is OrderState.NOT_SENT and not parent.record.acknowledged:
            return  # what becomes of the entry is as open
        text = f"order {child.ref}, an exit of {parent.ref}, was refused: {child.record.why}"
        if parent.record.filled:
            text += f"; {parent.record.filled} of the entry are filled and NOT protected by it"
        elif not parent.record.cancel_wanted:
            text += "; the entry is being cancelled"
            self._spawn(self._canceller.cancel(parent, None), f"cancel {parent.ref} without its exit")
        self._session.incident("bracket_incomplete", text)

    def _spawn(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        task: asyncio.Task[_T] = asyncio.create_task(work, name=name)
        self._background.add(task)

        def landed(done: asyncio.Task[_T]) -> None:
            self._background.discard(done)
            error = None if done.cancelled() else done.exception()
            if error is not None:
                _log.warning("background work on an order failed", work=name, error=str(error))
                if not isinstance(error, TradingError):  # our own bug
                    self._session.incident("unexpected_exception", f"{name}: {type(error).__name__}: {error}")

        task.add_done_callback(landed)
        return task


def _as_placed(record: OrderRecord) -> GroupLeg:
    """A known order as it was asked for. Raises `OrderNotSent` for one that nobody asked for here."""
    if record.request is None:
        raise OrderNotSent(f"order_ref={record.ref!r} names an order that is not ours.")
    return GroupLeg(request=record.request, group=record.group, parent_ref=record.parent_ref)
