"""What becomes of open orders when the connector is closed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import StrEnum

from ibkr_connector.models.order import OrderSnapshot, OrderType

_PROTECTING = frozenset({OrderType.STOP.value, OrderType.STOP_LIMIT.value, OrderType.TRAILING_STOP.value})


class OpenOrders(StrEnum):
    """What `close` does with this connector's own open orders."""

    LEAVE = "leave"
    """They go on working at the broker."""
    CANCEL_INCREASING = "cancel_increasing"
    """Those that can add to a position are cancelled; stops and targets that protect one go on working."""
    CANCEL_ALL = "cancel_all"


def increasing(orders: Iterable[OrderSnapshot], position: Callable[[int, int], Decimal]) -> list[OrderSnapshot]:
    """Own orders of `orders` (all open ones of the account) that can add to a position.

    `position(con_id, sign)` is what to assume before orders of that side (+1 buy, -1 sell). On the side that reduces,
    orders are kept as long as all of them together cannot cross zero: other programs' first, then stops, then the rest;
    of a group of which one fills the largest counts once. Exits whose entry is open share its fate: they protect what
    of it is filled, and the broker cancels them with it.
    """
    found = sorted(orders, key=_priority)
    parents = {order.order_ref for order in found}
    chosen: list[OrderSnapshot] = []
    used: dict[tuple[int, int], Decimal] = {}
    groups: dict[tuple[int, int, str], Decimal] = {}
    for order in found:
        if order.parent_ref in parents:
            continue
        con_id, sign = order.contract.con_id, order.action.sign
        side = (con_id, sign)
        held = position(con_id, sign)
        room = abs(held) if held * sign < 0 else Decimal(0)
        group = (con_id, sign, order.parent_ref or order.oca_group or order.order_ref)
        more = max(Decimal(0), order.remaining - groups.get(group, Decimal(0)))
        if used.get(side, Decimal(0)) + more <= room:
            used[side] = used.get(side, Decimal(0)) + more
            groups[group] = max(order.remaining, groups.get(group, Decimal(0)))
        elif order.ours:
            chosen.append(order)
        else:
            used[side] = used.get(side, Decimal(0)) + more
    return chosen


def _priority(order: OrderSnapshot) -> tuple[bool, bool, int]:
    return (order.ours, order.order_type not in _PROTECTING, order.order_id)
