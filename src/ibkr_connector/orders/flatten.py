"""Closing everything: cancel, wait for the end, settle what is in doubt, ask again, close what is confirmed.

Never more than the broker has just confirmed is closed, in rounds, by orders that pass the gates like any other: they
can only reduce. Where the evidence is incomplete (a cancel or an order in doubt, positions that disagree) it stops and
says so: closing a position that may not be there opens one.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import (
    CancelInDoubt,
    FlattenIncomplete,
    JournalError,
    OrderError,
    OrderInDoubt,
    RiskRejected,
    TradingError,
)
from ibkr_connector.events import EventBus, Incident, Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.models.account import Position
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.portfolio.service import Portfolio
from ibkr_connector.resilience import Deadline
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.state import TradingRecord, TradingState
from ibkr_connector.session.session import Session

_log = get_logger(__name__)
AGENT = "flatten"
"""The `agent` of the orders that close."""
_LOOK_AGAIN_S = 0.2
_SAVE_S = 2.0
"""How long the trading state may take to be saved before positions are closed all the same."""
_FILL_S = 10.0
"""How long one round waits for its orders; what works on is cancelled by the next."""
_IDLE_ROUNDS = 2
_SIZE_GATES = frozenset({"order_size", "order_value", "agent_limits", "symbol_limits"})
_HALVINGS = 12
_AS_TOLD_S = 60.0
_HALTED = (
    "Trading is stopped: close what is open in TWS, or flatten again; see `ibkr-connector positions`, and "
    "`ibkr-connector orders doubt` for orders whose end is not known. `resume` when all is well."
)


@dataclass(slots=True)
class FlattenReport:
    """What was done, and what is left."""

    reason: str
    cancelled: list[str] = field(default_factory=list)
    """Refs of the orders that were cancelled."""
    orders: list[str] = field(default_factory=list)
    """Refs of the closing orders."""
    remaining: dict[str, Decimal] = field(default_factory=dict)
    """Symbol -> position that is left, as the broker told it last."""
    problems: list[str] = field(default_factory=list)
    rounds: int = 0
    flat: bool = False
    """Whether the broker confirmed that there is no position and no order of the scope."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "reason": self.reason,
            "flat": self.flat,
            "rounds": self.rounds,
            "cancelled": list(self.cancelled),
            "orders": list(self.orders),
            "remaining": {symbol: f"{quantity:f}" for symbol, quantity in self.remaining.items()},
            "problems": list(self.problems),
        }


class Flattener:
    """Closes the account's positions. Used on the session loop; one at a time."""

    def __init__(
        self,
        *,
        session: Session,
        manager: OrderManager,
        portfolio: Portfolio,
        engine: RiskEngine,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._session = session
        self._manager = manager
        self._portfolio = portfolio
        self._engine = engine
        self._bus = bus
        self._clock = clock
        self._one = asyncio.Lock()

    async def cancel_as_told(self, record: TradingRecord) -> None:
        """Cancel own orders because the trading state says so; owed from now on, their ends need not be waited for."""
        del record
        with contextlib.suppress(CancelInDoubt):
            await self._manager.cancel_all("own", _AS_TOLD_S)

    async def flatten_as_told(self, record: TradingRecord) -> None:
        """Flatten because the trading state says so; once: what is left was told, and trying on would trade on."""
        with contextlib.suppress(FlattenIncomplete):
            await self.flatten(record.reason, "own", _AS_TOLD_S)

    async def begin(self, reason: str, scope: str, timeout: float) -> FlattenReport:
        """`flatten`, done to its end whether or not the caller waits."""
        return await self._manager.alone(self.flatten(reason, scope, timeout), "flatten")

    async def flatten(self, reason: str, scope: str, timeout: float) -> FlattenReport:
        """Reduce only from now on, cancel the orders of `scope`, close every position of the account.

        A kill becomes reducing for as long as it takes, and is a kill again afterwards. Neither that nor the closing
        orders wait for a disk that fails (INV-12); the report says what could not be saved.
        Raises: FlattenIncomplete (its context is the report), OrderNotSent without a connection.
        """
        async with self._one:
            self._session.require_orders()
            report = FlattenReport(reason)
            killed = self._engine.trading
            unsaved = await self._say(
                lambda: self._engine.reduce(f"flatten: {reason}", self._clock.now(), from_halted=True)
            )
            try:
                await self._rounds(report, scope, Deadline(self._clock, timeout))
            except TradingError as error:
                report.problems.append(error.message)
            finally:
                if killed.state is TradingState.HALTED:
                    unsaved = await self._say(lambda: self._engine.kill(killed.reason, self._clock.now()))
            if unsaved:
                report.problems.append(unsaved)
            self._tell(report)
            return report

    async def _say(self, change: Any) -> str:
        """Off the loop: it waits for the disk. Returns why it could not be saved; it holds here all the same."""
        try:
            saving = asyncio.get_running_loop().run_in_executor(None, change)
            await self._clock.wait_for(asyncio.shield(saving), _SAVE_S)
        except TimeoutError:
            _log.error("the trading state is not saved yet: the disk hangs")
            return "the trading state holds in this program only so far: the disk hangs"
        except JournalError as error:
            _log.error("the trading state could not be saved", error=str(error))
            return f"the trading state holds in this program only, it could not be saved: {error.message}"
        return ""

    async def _rounds(self, report: FlattenReport, scope: str, deadline: Deadline) -> None:
        idle = 0
        while not deadline.expired and idle < _IDLE_ROUNDS:
            report.rounds += 1
            await self._cancel(report, scope, deadline)
            await self._settled(deadline)
            held = await self._confirmed(deadline)
            before, report.remaining = report.remaining, {_name(p): p.quantity for p in held}
            if not held:
                report.flat = True
                report.problems.clear()
                return
            idle = idle + 1 if before == report.remaining else 0
            if self._engine.trading.state is TradingState.HALTED:
                report.problems.append("trading was halted meanwhile")
                return
            placed = await asyncio.gather(*(self._close(position, report, deadline) for position in held))
            for live in placed:
                if live is not None:
                    await live.until(lambda known: known.is_done, self._clock, min(_FILL_S, deadline.remaining()))
        report.problems.append("it does not come to an end" if deadline.expired else "positions do not get smaller")

    async def _cancel(self, report: FlattenReport, scope: str, deadline: Deadline) -> None:
        try:
            ended = await self._manager.cancel_all(scope, max(deadline.remaining(), _LOOK_AGAIN_S))
        except CancelInDoubt as error:
            raise FlattenIncomplete(f"cancels are not confirmed: {error.message}") from None
        report.cancelled += [order.order_ref for order in ended if order.order_ref not in report.orders]

    async def _settled(self, deadline: Deadline) -> None:
        while self._manager.in_doubt():
            if deadline.expired:
                refs = ", ".join(order.order_ref for order in self._manager.in_doubt())
                raise FlattenIncomplete(f"orders are in doubt: {refs}.")
            await self._clock.sleep(_LOOK_AGAIN_S)

    async def _confirmed(self, deadline: Deadline) -> list[Position]:
        """Positions as the broker has just told them, agreeing with every execution."""
        while True:
            await self._portfolio.refresh_positions(max(deadline.remaining(), 1.0))
            if not self._portfolio.positions.diverging():
                return list(self._portfolio.held())
            if deadline.expired:
                raise FlattenIncomplete("the broker's positions and its executions disagree.")
            await self._clock.sleep(_LOOK_AGAIN_S)

    async def _close(self, position: Position, report: FlattenReport, deadline: Deadline) -> LiveOrder | None:
        """One order for at most what is held; smaller where a limit on the size of orders wants it."""
        quantity = abs(position.quantity)
        for _ in range(_HALVINGS):
            request = OrderRequest.make(
                contract=position.contract,
                action="SELL" if position.quantity > 0 else "BUY",
                quantity=quantity,
                order_type="MKT",
                agent=AGENT,
            )
            try:
                live = await self._manager.place(request, max(deadline.remaining(), _LOOK_AGAIN_S))
            except RiskRejected as error:
                if set(error.gates) <= _SIZE_GATES and quantity > 1:
                    quantity = (quantity / 2).to_integral_value(rounding="ROUND_CEILING")
                    continue
                _note(report, f"{_name(position)}: {error.message}")
                return None
            except OrderInDoubt:
                report.orders.append(request.order_ref)
                return None  # settled at the next round's beginning
            except (OrderError, TradingError) as error:
                _note(report, f"{_name(position)}: {error.message}")
                return None
            report.orders.append(request.order_ref)
            return live
        return None

    def _tell(self, report: FlattenReport) -> None:
        if not report.flat:  # executions since the last round are in it, and what was held where no round could ask
            mine, told_last = self._portfolio.account_id, self._portfolio.positions.snapshot
            report.remaining = {_name(p): p.quantity for p in told_last if p.account == mine}
        told = report.to_dict()
        journal = self._manager.desk.journal
        if journal is not None:
            journal.audit("flatten", told)
        if report.flat:
            _log.info("all positions are closed", **told)
            return
        left = ", ".join(f"{quantity:f} {name}" for name, quantity in report.remaining.items())
        left = f"open: {left} (as last told)" if left else "no position is known to be open, but that is not confirmed"
        why = "; ".join(problem.rstrip(".") for problem in dict.fromkeys(report.problems))
        text = f"not everything could be closed: {why}; {left}."
        remedy = _HALTED if self._engine.trading.state is TradingState.HALTED else FlattenIncomplete.default_remedy
        self._bus.publish(
            Incident(
                at=self._clock.now(),
                severity=Severity.CRITICAL,
                kind="flatten_incomplete",
                text=f"{text} {remedy}",
                context=told,
            )
        )
        raise FlattenIncomplete(text, remedy=remedy, report=told)


def _name(position: Position) -> str:
    return position.contract.local_symbol or position.contract.symbol


def _note(report: FlattenReport, problem: str) -> None:
    if problem not in report.problems:
        report.problems.append(problem)
