"""The same agents on a bare client library, written as its documentation teaches: for comparison.

`connectAsync`, `placeOrder`, look at the `Trade`; connect again when the connection ends; before the first order under
a name, look whether a `Trade` of that name is there. With `resend` the program also does what a retry decorator around
it does: an order that was not acknowledged in time is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from decimal import Decimal
from types import ModuleType
from typing import Any

from proof.history import History
from proof.schedule import Agent, Step

CALL_LIMIT_S = 120.0
"""A call without an answer after so long hangs."""
ACK_S = 5.0
CONNECT_S = 8.0
OFFLINE_S = 10.0
"""How long an order waits for a connection before it is given up unsent."""
TRIES = 3
_TICK = 0.01
_UNKNOWN = frozenset({"", "PendingSubmit", "ApiPending"})


class Unanswered(Exception):
    """No acknowledgement in time."""


@dataclass(slots=True)
class RawMemory:
    """What the callers keep when their process dies."""

    asked: dict[str, Step] = field(default_factory=dict)
    """Orders that were asked for, by name; a bracket's exits are `.tp` and `.sl`."""
    next: dict[str, int] = field(default_factory=dict)
    stopped: bool = False


class RawProgram:
    """One process: a client and the agents that share it."""

    def __init__(
        self, module: ModuleType, port: int, client_id: int, history: History, memory: RawMemory, *, resend: bool
    ) -> None:
        self._module = module
        self._port = port
        self._client_id = client_id
        self._history = history
        self._memory = memory
        self._resend = resend
        self.ib: Any = module.IB()
        self.up = asyncio.Event()
        self._contracts: dict[str, Any] = {}
        self._closing = False

    # --- the connection ----------------------------------------------------------------------------------------------

    async def stay_connected(self) -> None:
        """Connect, and again after every end of the connection."""
        lost = asyncio.Event()

        def down(*_: Any) -> None:
            self.up.clear()
            lost.set()

        self.ib.disconnectedEvent += down
        while not self._closing:
            lost.clear()
            try:
                await self.ib.connectAsync("127.0.0.1", self._port, clientId=self._client_id, timeout=CONNECT_S)
            except Exception as error:  # noqa: BLE001 - whatever it is, the program tries again
                self._history.add("connect_failed", outcome=type(error).__name__, text=str(error)[:200])
                await asyncio.sleep(2.0)
                continue
            self.up.set()
            await lost.wait()
            await asyncio.sleep(1.0)

    def end(self) -> None:
        """Disconnect for good."""
        self._closing = True
        self.ib.disconnect()

    # --- the agents --------------------------------------------------------------------------------------------------

    async def run(self, agent: Agent, delay: float) -> None:
        """The rest of an agent's script."""
        await asyncio.sleep(delay)
        for index in range(self._memory.next.get(agent.name, 0), len(agent.steps)):
            self._memory.next[agent.name] = index
            step = agent.steps[index]
            if step.do == "wait":
                await asyncio.sleep(step.seconds)
                continue
            about = {"agent": agent.name, "index": index, "do": step.do, "ref": step.ref}
            self._history.add("call", **about)
            error: BaseException | None = None
            limit = asyncio.timeout(CALL_LIMIT_S)
            try:
                async with limit:
                    await self._do(step)
            except Exception as raised:  # noqa: BLE001 - the library raises whatever it likes; it is noted
                error = raised
            self._history.answer(error, **about, state="", stuck=limit.expired())
        self._memory.next[agent.name] = len(agent.steps)

    async def _do(self, step: Step) -> None:
        match step.do:
            case "place" | "resend" if step.do == "place" or step.what != "bracket":
                await self._place(step, step.ref)
            case "bracket" | "resend":
                await self._bracket(step)
            case "modify":
                await self._modify(step)
            case "cancel":
                await self._cancel(self.trades(step.ref), step.seconds)
            case "cancel_all":
                await self._cancel(self.ib.openTrades(), step.seconds)
            case "filled":
                for trade in self.trades(step.ref):
                    await self._until(trade, trade.isDone, step.seconds)
            case "read":
                await self._read(step)
            case "kill" | "kill_elsewhere":
                self._memory.stopped = True
            case "resume":
                self._memory.stopped = False

    def trades(self, ref: str) -> list[Any]:
        """What the library knows of an order's name."""
        return [trade for trade in self.ib.trades() if trade.order.orderRef == ref]

    # --- orders ------------------------------------------------------------------------------------------------------

    async def _place(self, step: Step, ref: str) -> None:
        self._memory.asked[ref] = step
        for number in range(TRIES if self._resend else 1):
            await self._may_send()
            if not number and self.trades(ref):
                return
            order = await self._order(step, ref)
            trade = self.ib.placeOrder(await self._contract(step.symbol), order)
            with contextlib.suppress(TimeoutError):
                await self._acknowledged(trade)
                return
        raise Unanswered(ref)

    async def _may_send(self) -> None:
        if self._memory.stopped:
            raise PermissionError("trading is stopped")
        await asyncio.wait_for(self.up.wait(), OFFLINE_S)

    async def _bracket(self, step: Step) -> None:
        names = (step.ref, f"{step.ref}.tp", f"{step.ref}.sl")
        for number in range(TRIES if self._resend else 1):
            await self._may_send()
            if not number and self.trades(step.ref):
                return
            bid, ask = await self._market(step.symbol)
            side = 1 if step.action == "BUY" else -1
            touch = ask if side > 0 else bid
            distance = side * step.ticks * _TICK
            entry = touch if step.seconds else (bid if side > 0 else ask)
            orders = self.ib.bracketOrder(
                step.action, step.quantity, round(entry, 2), round(touch + distance, 2), round(touch - distance, 2)
            )
            if step.type == "MKT":
                orders.parent.orderType, orders.parent.lmtPrice = "MKT", self._module.util.UNSET_DOUBLE
            contract = await self._contract(step.symbol)
            placed = []
            for name, order in zip(names, orders, strict=True):
                self._memory.asked[name] = step
                order.orderRef = name
                if order is not orders.parent:
                    order.tif = "GTC"
                placed.append(self.ib.placeOrder(contract, order))
            with contextlib.suppress(TimeoutError):
                await self._acknowledged(placed[0])
                return
        raise Unanswered(step.ref)

    async def _order(self, step: Step, ref: str) -> Any:
        make = self._module
        side = 1 if step.action == "BUY" else -1
        if step.type == "MKT":
            return make.MarketOrder(step.action, step.quantity, orderRef=ref)
        bid, ask = await self._market(step.symbol)
        if step.type == "LMT":
            price = (bid if side > 0 else ask) - side * step.ticks * _TICK
            return make.LimitOrder(step.action, step.quantity, round(price, 2), orderRef=ref)
        price = (ask if side > 0 else bid) + side * step.ticks * _TICK
        return make.StopOrder(step.action, step.quantity, round(price, 2), orderRef=ref)

    async def _modify(self, step: Step) -> None:
        for trade in self.trades(step.ref)[-1:]:
            if trade.isDone():
                return
            bid, ask = await self._market(trade.contract.symbol)
            side = 1 if trade.order.action == "BUY" else -1
            if trade.order.orderType == "LMT":
                trade.order.lmtPrice = round((bid if side > 0 else ask) - side * step.ticks * _TICK, 2)
            elif trade.order.orderType == "STP":
                trade.order.auxPrice = round((ask if side > 0 else bid) + side * (abs(step.ticks) + 1) * _TICK, 2)
            if step.quantity:
                trade.order.totalQuantity = step.quantity
            self.ib.placeOrder(trade.contract, trade.order)
            await asyncio.sleep(0.2)

    async def _cancel(self, trades: list[Any], patience: float) -> None:
        for trade in trades:
            if not trade.isDone():
                self.ib.cancelOrder(trade.order)
        for trade in trades:
            await self._until(trade, trade.isDone, patience)

    async def _acknowledged(self, trade: Any) -> None:
        await self._until(trade, lambda: trade.orderStatus.status not in _UNKNOWN, ACK_S)

    async def _until(self, trade: Any, condition: Any, seconds: float) -> None:
        """Wait for a condition of a trade, looking at each of its changes; TimeoutError."""
        changed = asyncio.Event()

        def told(*_: Any) -> None:
            changed.set()

        trade.statusEvent += told
        trade.filledEvent += told
        trade.cancelledEvent += told
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    changed.clear()
                    await changed.wait()
        finally:
            trade.statusEvent -= told
            trade.filledEvent -= told
            trade.cancelledEvent -= told

    # --- reads -------------------------------------------------------------------------------------------------------

    async def _contract(self, symbol: str) -> Any:
        if symbol not in self._contracts:
            contract = self._module.Stock(symbol, "SMART", "USD")
            await asyncio.wait_for(self.ib.qualifyContractsAsync(contract), ACK_S)
            self._contracts[symbol] = contract
        return self._contracts[symbol]

    async def _market(self, symbol: str) -> tuple[float, float]:
        contract = await self._contract(symbol)
        (ticker,) = await asyncio.wait_for(self.ib.reqTickersAsync(contract), 12.0)
        last = ticker.last if ticker.last == ticker.last else ticker.close
        bid = ticker.bid if ticker.bid > 0 else last
        ask = ticker.ask if ticker.ask > 0 else last
        if not (bid > 0 and ask > 0):
            raise TimeoutError("no price")
        return bid, ask

    async def _read(self, step: Step) -> None:
        ib = self.ib
        match step.what:
            case "positions":
                await ib.reqPositionsAsync()
            case "open_orders":
                await ib.reqAllOpenOrdersAsync()
            case "completed":
                await ib.reqCompletedOrdersAsync(False)
            case "executions":
                await ib.reqExecutionsAsync()
            case "summary":
                await ib.accountSummaryAsync()
            case "quote":
                await self._market(step.symbol)
            case _:
                await ib.reqCurrentTimeAsync()


@dataclass(frozen=True, slots=True)
class Belief:
    """What the program knows at a moment."""

    states: dict[str, list[tuple[str, bool, Decimal]]]
    """Name -> status, whether it has ended, how much is filled; one for each `Trade`."""
    fills: dict[str, tuple[Decimal, Decimal]]
    positions: dict[int, Decimal]

    @classmethod
    def of(cls, program: RawProgram, account: str) -> Belief:
        """Take it from the library's own records."""
        states: dict[str, list[tuple[str, bool, Decimal]]] = {}
        for trade in program.ib.trades():
            done = Decimal(str(trade.filled()))
            states.setdefault(trade.order.orderRef, []).append((trade.orderStatus.status, trade.isDone(), done))
        return cls(
            states=states,
            fills={
                fill.execution.execId: (Decimal(str(fill.execution.shares)), Decimal(str(fill.execution.price)))
                for fill in program.ib.fills()
            },
            positions={
                held.contract.conId: Decimal(str(held.position))
                for held in program.ib.positions(account)
                if held.position
            },
        )
