"""An agent: carries out its script with nothing but the connector's public calls, and notes every answer.

It behaves as the README tells callers to: prices from a quote, an order ref of its own for every order, never a second
order after a doubt. What it asked for under a ref it remembers for ever, also over the connector's crashes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import TradingError
from ibkr_connector.facade import Facade
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import BracketRequest, OrderRequest, OrderType
from proof.history import History
from proof.schedule import Agent, Step

CALL_LIMIT_S = 120.0
"""No call may take longer, whatever happens: its deadlines are far below (INV-11)."""
_TICK = Decimal("0.01")
_TYPES = {"MKT": OrderType.MARKET, "LMT": OrderType.LIMIT, "STP": OrderType.STOP}
_STRAY = (TradingError, TimeoutError)


@dataclass(slots=True)
class Memory:
    """What the callers of one run know, and keep when the connector's process dies."""

    requests: dict[str, OrderRequest | BracketRequest] = field(default_factory=dict)
    """What was asked for under each ref."""
    next: dict[str, int] = field(default_factory=dict)
    """The step each agent is at."""


class Caller:
    """One agent at work."""

    def __init__(
        self,
        agent: Agent,
        connector: Facade,
        history: History,
        memory: Memory,
        elsewhere: Callable[[str], None],
    ) -> None:
        self._agent = agent
        self._connector = connector
        self._history = history
        self._memory = memory
        self._elsewhere = elsewhere
        """Kills trading as another process would: `ibkr-connector kill`."""

    async def run(self, delay: float) -> None:
        """The rest of the script. The step under way when the process died is begun again, under the same ref."""
        await asyncio.sleep(delay)
        name = self._agent.name
        for index in range(self._memory.next.get(name, 0), len(self._agent.steps)):
            self._memory.next[name] = index
            await self._step(index, self._agent.steps[index])
        self._memory.next[name] = len(self._agent.steps)

    async def _step(self, index: int, step: Step) -> None:
        if step.do == "wait":
            await asyncio.sleep(step.seconds)
            return
        about = {"agent": self._agent.name, "index": index, "do": step.do, "ref": step.ref}
        self._history.add("call", **about)
        told: Any = None
        error: BaseException | None = None
        limit = asyncio.timeout(CALL_LIMIT_S)
        try:
            async with limit:
                told = await self._do(step)
        except _STRAY as raised:
            error = RuntimeError("STUCK") if limit.expired() else raised
        except Exception as raised:  # noqa: BLE001 - a bug: no call raises anything but the connector's own errors
            error = raised
        self._history.answer(error, **about, state=told if isinstance(told, str) else "", stuck=limit.expired())

    async def _do(self, step: Step) -> Any:
        connector = self._connector
        match step.do:
            case "place" | "bracket" | "resend":
                return await self._place(step)
            case "modify":
                return await self._modify(step)
            case "cancel":
                snapshot = await connector.cancel_order(step.ref, timeout=step.seconds)
                return snapshot.state.value
            case "ready":
                await cast(IBKRConnector, connector).ready(step.seconds)
            case "cancel_all":
                await connector.cancel_all_orders(timeout=step.seconds)
            case "filled":
                order = await connector.get_order(step.ref)
                return (await order.done(timeout=step.seconds)).state.value
            case "read":
                await self._read(step)
            case "kill":
                try:
                    connector.kill("the schedule says so")
                finally:
                    self._history.add("killed", where="here")
            case "kill_elsewhere":
                self._elsewhere("the schedule says so, elsewhere")
                self._history.add("killed", where="elsewhere")
            case "resume":
                if connector.resume("the schedule says so"):
                    self._history.add("resumed", where="here")
        return None

    # --- orders ------------------------------------------------------------------------------------------------------

    async def _place(self, step: Step) -> str:
        request = self._memory.requests.get(step.ref)
        if request is None:
            request = self._memory.requests[step.ref] = await self._request(step)
        if isinstance(request, BracketRequest):
            return (await self._connector.orders.place_bracket(request)).entry.state.value
        return (await self._connector.orders.place(request)).state.value

    async def _request(self, step: Step) -> OrderRequest | BracketRequest:
        bracket = step.do == "bracket" or step.what == "bracket"
        side = 1 if step.action == "BUY" else -1
        market = None
        if bracket or step.type != "MKT":
            market = await self._market(step.symbol)
        if not bracket:
            return self._order(step, step.ref, step.action, _TYPES[step.type], _price(step, market, side))
        assert market is not None
        bid, ask = market
        touch = ask if side > 0 else bid
        entry = None if step.type == "MKT" else touch if step.seconds else (bid if side > 0 else ask)
        away = "SELL" if side > 0 else "BUY"
        distance = side * step.ticks * _TICK
        kind = OrderType.MARKET if entry is None else OrderType.LIMIT
        return BracketRequest(
            entry=self._order(step, step.ref, step.action, kind, entry),
            take_profit=self._order(step, f"{step.ref}.tp", away, OrderType.LIMIT, touch + distance),
            stop_loss=self._order(step, f"{step.ref}.sl", away, OrderType.STOP, touch - distance),
        )

    def _order(self, step: Step, ref: str, action: str, kind: OrderType, price: Decimal | None) -> OrderRequest:
        prices: dict[str, Any] = {}
        if kind is OrderType.LIMIT:
            prices["limit_price"] = price
        elif kind is OrderType.STOP:
            prices["stop_price"] = price
        if "." in ref:
            prices["tif"] = "GTC"  # an exit that ended with the day would leave its position unprotected
        return OrderRequest.make(
            contract=Contract.stock(step.symbol),
            quantity=step.quantity,
            action=action,
            order_type=kind,
            order_ref=ref,
            agent=self._agent.name,
            **prices,
        )

    async def _modify(self, step: Step) -> str:
        snapshot = await self._connector.get_order_status(step.ref)
        market = await self._market(snapshot.contract.symbol)
        side = snapshot.action.sign
        prices: dict[str, Any] = {}
        if snapshot.order_type == "LMT":
            prices["limit_price"] = _behind(market, side, step.ticks)
        elif snapshot.order_type == "STP":
            prices["stop_price"] = _beyond(market, side, abs(step.ticks) + 1)
        changed = await self._connector.modify_order(step.ref, quantity=step.quantity or None, **prices)
        return changed.state.value

    async def _market(self, symbol: str) -> tuple[Decimal, Decimal]:
        quote = await self._connector.get_live_quote(symbol, max_age=20.0, timeout=4.0)
        known = quote.bid or quote.last or quote.close, quote.ask or quote.last or quote.close
        if known[0] is None or known[1] is None:
            raise TimeoutError("no price")
        return Decimal(str(known[0])), Decimal(str(known[1]))

    async def _read(self, step: Step) -> None:
        connector = self._connector
        match step.what:
            case "positions":
                await connector.get_positions(refresh=True)
            case "open_orders":
                await connector.get_open_orders(refresh=True)
            case "completed":
                await connector.get_completed_orders()
            case "executions":
                await connector.get_executions()
            case "summary":
                await connector.get_account_summary(refresh=True)
            case "quote":
                await connector.get_live_quote(step.symbol, max_age=5.0, timeout=5.0)
            case _:
                await connector.get_server_time()


def _price(step: Step, market: tuple[Decimal, Decimal] | None, side: int) -> Decimal | None:
    if market is None:
        return None
    return _behind(market, side, step.ticks) if step.type == "LMT" else _beyond(market, side, step.ticks)


def _behind(market: tuple[Decimal, Decimal], side: int, ticks: int) -> Decimal:
    bid, ask = market
    return _on_tick((bid if side > 0 else ask) - side * ticks * _TICK)


def _beyond(market: tuple[Decimal, Decimal], side: int, ticks: int) -> Decimal:
    bid, ask = market
    return _on_tick((ask if side > 0 else bid) + side * ticks * _TICK)


def _on_tick(price: Decimal) -> Decimal:
    return max(price.quantize(_TICK), _TICK)
