"""The risk engine: all gates and the reservation in one critical section, so that no two orders share one limit.

Synchronous and short: nothing in here waits for the network, a write or another thread's work (the trading state is
read from a small file that the system has in memory). Everything an order needs was gathered before, as a `RiskView`;
what is missing refuses the order and names the remedy. All reasons are collected.

A fill must move quantity from the reservation to the position in one step. On the session loop it does, because both
are told in the same callback; from other threads do both inside `atomically()`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from ibkr_connector.models.order import BracketRequest, OrderRequest
from ibkr_connector.risk.agents import AgentShare
from ibkr_connector.risk.daily_loss import DailyLoss
from ibkr_connector.risk.decision import DataMissing, RiskDecision
from ibkr_connector.risk.gates import Gate, default_gates
from ibkr_connector.risk.in_flight import InFlight
from ibkr_connector.risk.judging import (
    ask,
    decision_of,
    integrity,
    loss_of,
    refused_change,
    reservation_of,
    status_of,
    worth_of,
)
from ibkr_connector.risk.legs import Leg, bracket_legs, leg_of
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.order_check import OrderCheck, Others, RecentOrder, Role, shape_of
from ibkr_connector.risk.state import TradingControl, TradingRecord
from ibkr_connector.risk.trading_day import TradingDay
from ibkr_connector.risk.view import RiskView

_ZERO = Decimal(0)
_NOBODY: frozenset[str] = frozenset()


class RiskEngine(InFlight, TradingDay):
    """One account's gates and reservations. All methods are safe from any thread.

    Here orders are judged. What becomes of their reservations is in `InFlight`, what stops trading in `TradingDay`; all
    three work under one lock.
    """

    def __init__(
        self,
        limits: RiskLimits,
        *,
        control: TradingControl | None = None,
        day: DailyLoss | None = None,
        gates: Sequence[Gate] | None = None,
    ) -> None:
        lock = threading.RLock()
        InFlight.__init__(self, lock)
        TradingDay.__init__(self, limits, lock, control, day)
        self._gates = default_gates(limits) if gates is None else tuple(gates)
        self._again = tuple(gate for gate in self._gates if gate.again)
        self._recent: deque[RecentOrder] = deque()
        counts = limits.max_orders is not None or any(one.max_orders is not None for one in limits.agents.values())
        self._keep_recent = max(limits.duplicate_window or 0.0, limits.max_orders_window if counts else 0.0)

    @property
    def remembers(self) -> float:
        """For how many seconds an order counts as a recent one; 0: no gate asks."""
        return self._keep_recent

    def start_recent(self, earlier: Iterable[tuple[float, OrderRequest]]) -> None:
        """The orders of earlier runs, oldest first, each with when (monotonic seconds) it was sent.

        A program that fails and is started again over and over is what the gates on rate and repetition are for.
        """
        noted = [RecentOrder(at, shape_of(request), (request.agent or "").lower()) for at, request in earlier]
        with self._lock:
            self._recent.extendleft(reversed(noted))

    # --- before an order is sent --------------------------------------------------------------------------------------

    def check_and_reserve(self, request: OrderRequest, view: RiskView) -> RiskDecision:
        """Ask all gates about a new order and, if all agree, reserve its share of the limits. Never raises for a no."""
        return self._decide([Leg(request, view)], reserve=True)

    def check_and_reserve_bracket(self, bracket: BracketRequest, view: RiskView) -> RiskDecision:
        """The same for an entry with its exits: one decision, one reservation, all or nothing."""
        return self._decide(bracket_legs(bracket, view), reserve=True)

    def check_and_reserve_oca(
        self, orders: Sequence[tuple[OrderRequest, RiskView]], *, group: str, blocks: bool
    ) -> RiskDecision:
        """The same for the orders of an OCA group, each with a view that knows its contract.

        `blocks`: no two of them can fill in full (IBKR's types 1 and 2). On each side of each contract the worst leg is
        reserved then, and of the loss in flight the worst of all. Without block every leg counts in full.
        """
        legs = [Leg(request, view, oca=group if blocks else "") for request, view in orders]
        return self._decide(legs, reserve=True)

    def check(self, request: OrderRequest, view: RiskView) -> RiskDecision:
        """What `check_and_reserve` would say; nothing is reserved."""
        return self._decide([Leg(request, view)], reserve=False)

    def check_and_reserve_change(self, request: OrderRequest, view: RiskView) -> RiskDecision:
        """Ask about a changed version of a live order (same ref); until it is settled max(old, new) is reserved.

        `request.quantity` is the whole new quantity, what is filled already included.
        """
        with self._lock:
            old = self._book.get(request.order_ref)
            if old is None:
                return refused_change(request, view, "it is not known here as a live order", "Look the order up.")
            if (old.con_id, old.sign) != (request.contract.con_id, request.action.sign):
                return refused_change(
                    request,
                    view,
                    "a change cannot move to another contract or side",
                    "Cancel it and place a new order.",
                )
            own, trading = frozenset({request.order_ref}), self.control.record
            leg = leg_of(old, request, view)
            check = self._check_of(leg, trading, without=own, recent=(), filled=old.filled)
            decision = decision_of(ask(self._gates, check), check)
            if decision.allowed:
                old.open = max(old.open, check.quantity)
                old.quantity = max(old.quantity, request.quantity)
                old.loss = max(old.loss, loss_of(check))
                if self.limits.needs_portfolio:
                    old.count_worth(*worth_of(check))
            return decision

    def recheck(self, request: OrderRequest, view: RiskView) -> RiskDecision:
        """Ask once more, right before the write, what may have changed since: trading state, hours, loss, quote age.

        The order's own reservation (and its group's) is not held against it.
        """
        with self._lock:
            trading = self.control.record
            self._observe(view, trading)
            own = self._book.get(request.order_ref)
            leg = Leg(request, view) if own is None else leg_of(own, request, view)
            refs = {request.order_ref} if own is None or not own.group else self._book.bracket_refs(own.group)
            check = self._check_of(
                leg, trading, without=frozenset(refs), recent=(), filled=_ZERO if own is None else own.filled
            )
            return decision_of(ask(self._again, check), check, again=True)

    def only_reduces(self, request: OrderRequest, view: RiskView) -> bool:
        """Whether the order can only bring the position nearer to zero, with all that works or is in doubt on its side.

        The rule of REDUCING, asked again for an order that passed the gates: the order itself, its group and what was
        not sent yet do not count.
        """
        with self._lock:
            own = self._book.get(request.order_ref)
            leg = Leg(request, view) if own is None else leg_of(own, request, view)
            refs = {request.order_ref} if own is None or not own.group else set(self._book.bracket_refs(own.group))
            refs |= {ref for ref in self._book.refs() if (found := self._book.get(ref)) and not found.committed}
            filled = _ZERO if own is None else own.filled
            check = self._check_of(leg, self.control.record, without=frozenset(refs), recent=(), filled=filled)
            try:
                return check.reduces
            except DataMissing:
                return False

    # --- looking ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Plain values for status pages."""
        with self._lock:
            return status_of(self.control.record, self._day, self._gates, self._book)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _decide(self, legs: Sequence[Leg], *, reserve: bool) -> RiskDecision:
        """Each leg is judged as if those before it were there already, so that what is reserved was judged."""
        with self._lock:
            trading = self.control.record  # read once: all gates and legs see the same
            self._observe(legs[0].view, trading)
            results = integrity(legs, self._book)
            entry = legs[0].request.order_ref if legs[0].role is Role.ENTRY else ""
            checks: list[OrderCheck] = []
            reserved: list[RecentOrder] = []
            try:
                for leg in legs:
                    recent = (*self._recent, *reserved) if reserved else self._recent
                    checks.append(self._check_of(leg, trading, without=_NOBODY, recent=recent, filled=_ZERO))
                    results += ask(self._gates, checks[-1], many=len(legs) > 1)
                    if reserve and all(result.passed for result in results):
                        held = reservation_of(leg, checks[-1], entry, with_worth=self.limits.needs_portfolio)
                        noted = RecentOrder(leg.view.monotonic, shape_of(leg.request), held.agent)
                        self._book.add(held)
                        reserved.append(noted)
                decision = decision_of(results, checks[0])
            except BaseException:
                self._take_back(legs[: len(reserved)])
                raise
            if not decision.allowed:
                self._take_back(legs[: len(reserved)])
            elif self._keep_recent and reserved:
                self._recent.extend(reserved)
                while reserved[-1].at - self._recent[0].at >= self._keep_recent:
                    self._recent.popleft()
            return decision

    def _take_back(self, legs: Sequence[Leg]) -> None:
        """The group is refused after all: what was reserved of it never was."""
        for leg in legs:
            self._book.remove(leg.request.order_ref, remember=False)

    def _check_of(
        self,
        leg: Leg,
        trading: TradingRecord,
        *,
        without: frozenset[str],
        recent: Sequence[RecentOrder],
        filled: Decimal,
    ) -> OrderCheck:
        request, view = leg.request, leg.view
        con_id, sign = request.contract.con_id, request.action.sign
        # Of a group with block one order stands for all on its side, and its loss for all of them: see `reservation`.
        group = self._book.oca_refs(leg.oca) if leg.oca else _NOBODY
        beside = without | self._book.on_side(group, con_id, sign)
        return OrderCheck(
            request,
            view,
            self.limits,
            trading=trading,
            day=self._day.figures(view.net_liquidation, view.daily_pnl),
            exposure=self._book.exposure(con_id, without=beside),
            others=Others(
                self._book.loss_open(without=without | group),
                len(self._book) - len(without),
                forked=tuple(ref for ref, forked in self._forked.items() if forked == con_id),
                agent=lambda: self._share_of(request, without, beside),
                open_contracts=lambda: self._book.open_contracts(without=beside),
            ),
            recent=recent,
            role=leg.role,
            stop_price=leg.stop,
            filled=filled,
        )

    def _share_of(self, request: OrderRequest, without: frozenset[str], beside: frozenset[str]) -> AgentShare:
        """Asked for by a gate: inside the critical section."""
        name, con_id = (request.agent or "").lower(), request.contract.con_id
        own = sum((found := self._book.get(ref)) is not None and found.agent == name for ref in without)
        return AgentShare(
            self._agents.position(name, con_id),
            self._book.exposure(con_id, without=beside, agent=name),
            self._book.open_of(name) - own,
        )
