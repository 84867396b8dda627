"""Limits of one agent, and of one symbol, beside those of the account: they only ever tighten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from ibkr_connector.risk.decision import Figure, GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.limits import RiskLimits, SubLimits
from ibkr_connector.risk.order_check import OrderCheck, Role


@dataclass(frozen=True, slots=True)
class _Found:
    """One limit that is passed."""

    name: str
    limit: Figure
    value: Figure
    text: str


def _sizes(order: OrderCheck, limits: SubLimits, position: Decimal, open_side: Decimal) -> list[_Found]:
    """The limits on one order and on the position it may lead to."""
    found = []
    quantity, currency = order.request.quantity, order.view.currency
    if limits.max_order_size is not None and quantity > limits.max_order_size:
        found.append(_Found("max_order_size", limits.max_order_size, quantity, f"{quantity:f}"))
    if limits.max_order_value is not None and order.value > limits.max_order_value:
        found.append(_Found("max_order_value", limits.max_order_value, order.value, f"{order.value:,.2f} {currency}"))
    if order.role is Role.EXIT:
        return found
    away = order.sign * position + open_side + order.quantity
    if limits.max_position_size is not None and away > limits.max_position_size:
        found.append(_Found("max_position_size", limits.max_position_size, away, f"a position of {away:f}"))
    if limits.max_position_value is not None and away > 0:
        value = away * order.unit_value_of(order.con_id)
        if value > limits.max_position_value:
            found.append(
                _Found("max_position_value", limits.max_position_value, value, f"a position of {value:,.2f} {currency}")
            )
    return found


class AgentLimitsGate:
    """The agent that asks keeps within limits of its own: size and value of orders and of its position, their number.

    Its position is what its own orders have filled, by the journal. Orders without an agent, and of agents that have no
    section, are judged by the account's limits alone.
    """

    name: ClassVar[str] = "agent_limits"
    again: ClassVar[bool] = False

    def __init__(self, limits: RiskLimits) -> None:
        self._limits = limits

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        agent = order.request.agent
        limits = self._limits.of_agent(agent)
        if limits is None or agent is None:
            return passed(self, message="it has no limits of its own")
        share = order.agent
        found = _sizes(order, limits, share.position, share.exposure.side(order.sign))
        if limits.max_open_orders is not None and share.open_orders + 1 > limits.max_open_orders:
            count = share.open_orders + 1
            found.append(_Found("max_open_orders", limits.max_open_orders, count, f"open order number {count}"))
        if limits.max_orders is not None:
            window, now, name = self._limits.max_orders_window, order.view.monotonic, agent.lower()
            count = 1 + sum(now - one.at < window and one.agent == name for one in order.recent)
            if count > limits.max_orders:
                found.append(_Found("max_orders", limits.max_orders, count, f"{count} orders within {window:g} s"))
        return _answer(self, found, f"agent {agent}", f"[agent.{agent.lower()}]")


class SymbolLimitsGate:
    """Contracts of some symbols keep within tighter limits than all others."""

    name: ClassVar[str] = "symbol_limits"
    again: ClassVar[bool] = False

    def __init__(self, symbols: Mapping[str, SubLimits]) -> None:
        self._symbols = symbols

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        symbol = order.request.contract.symbol
        limits = self._symbols.get(symbol.lower())
        if limits is None:
            return passed(self, message="it has no limits of its own")
        found = _sizes(order, limits, order.position, order.exposure.side(order.sign))
        return _answer(self, found, symbol, f"[symbol.{symbol.lower()}]")


def _answer(gate: AgentLimitsGate | SymbolLimitsGate, found: list[_Found], who: str, section: str) -> GateResult:
    if not found:
        return passed(gate, message=f"within the limits of {who}")
    told = "; ".join(f"{one.text} is beyond {one.name} {one.limit}" for one in found)
    names = ", ".join(one.name for one in found)
    remedy = f"Make the order smaller, or raise {names} in {section}."
    return refused(gate, found[0].limit, found[0].value, f"{who}: {told}", remedy)
