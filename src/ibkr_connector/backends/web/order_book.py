"""Which of the broker's orders are ours: the Web API tells neither client ids nor our numbers.

An order of ours is known by the permId that the broker answered with. While that is not known (the answer was lost, or
this program is a new one), a row is ours by our ref, if account, contract and side fit and the row was not there under
another program's hand before. A second permId under one of our refs is ours only where we wrote something twice (a
change, of which the broker may have made a second order); else it is a stranger who uses the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from ibkr_connector.backends.base import WireOrder

NOBODY = -1
"""The client id of facts about orders that are not ours."""
_MOST_STRANGERS = 50_000
_LATE_S = 10.0
"""How long rows of before a change may still come after it was accepted."""

Version: TypeAlias = tuple[Decimal, Decimal | None, Decimal | None]
"""Quantity, limit price, stop price; None = not told."""


@dataclass(slots=True)
class Known:
    """One order of ours."""

    order: WireOrder
    """The version the broker accepted last, or the one on its way."""
    perm_id: int = 0
    proposed: WireOrder | None = None
    """A change that is on its way or in doubt."""
    changed: bool = False
    """A change was written: the broker may have made a second order of it."""
    cancel: bool = False
    """A cancel is owed as soon as the permId is known."""
    over: bool = False
    """The broker told its end."""
    earlier: bool = False
    """Sent by an earlier run: what was there before this run knew of it may be it."""
    client_id: int | None = None
    """The client id it went out with; None = the present one."""
    forks: set[int] = field(default_factory=set)
    _before: WireOrder | None = None
    """The version before the one that was accepted last, and the monotonic second of that."""
    _accepted_at: float = 0.0

    def accept(self, order: WireOrder, at: float) -> None:
        """The broker took a change."""
        self._before, self._accepted_at = self.order, at
        self.order, self.proposed = order, None

    def shows_old_version(self, told: Version, at: float) -> bool:
        """Whether a row is only late: it shows the version before a change that was accepted a moment ago.

        A row that shows a change whose answer has not come is that answer.
        """
        if self.proposed is not None and _is_version(self.proposed, told) and not _is_version(self.order, told):
            self.accept(self.proposed, at)
        if self._before is None or at - self._accepted_at > _LATE_S:
            return False
        return _is_version(self._before, told) and not _is_version(self.order, told)


class OrderBook:
    """The orders of this program, by our number, by the broker's, by ref."""

    def __init__(self) -> None:
        self._by_id: dict[int, Known] = {}
        self._by_perm: dict[int, Known] = {}
        self._by_ref: dict[str, Known] = {}
        self._strangers: dict[int, None] = {}

    def __iter__(self) -> Iterator[Known]:
        return iter(tuple(self._by_id.values()))

    def add(self, order: WireOrder, perm_id: int = 0) -> Known:
        """Take in an order that is being sent."""
        known = Known(order)
        self._by_id[order.order_id] = self._by_ref[order.order_ref] = known
        if perm_id:
            self.learn(known, perm_id)
        return known

    def remember(self, order: WireOrder, perm_id: int, *, client_id: int | None, over: bool) -> Known:
        """Take in an order of an earlier run; `client_id`: another one than ours, whose numbers are not ours either."""
        known = Known(order, earlier=True, client_id=client_id, over=over)
        if client_id is None:
            self._by_id[order.order_id] = known
        self._by_ref[order.order_ref] = known
        if perm_id:
            self.learn(known, perm_id)
        return known

    def forget(self, order: WireOrder) -> None:
        """It was not written after all."""
        known = self._by_id.pop(order.order_id, None)
        if known is not None and self._by_ref.get(order.order_ref) is known:
            del self._by_ref[order.order_ref]

    def by_id(self, order_id: int) -> Known | None:
        """By our number."""
        return self._by_id.get(order_id)

    def by_perm(self, perm_id: int) -> Known | None:
        """By the broker's number."""
        return self._by_perm.get(perm_id)

    def learn(self, known: Known, perm_id: int) -> None:
        """The broker's number of an order of ours is told."""
        if known.perm_id and known.perm_id != perm_id:
            known.forks.add(perm_id)
        else:
            known.perm_id = perm_id
        self._by_perm[perm_id] = known
        self._strangers.pop(perm_id, None)

    def whose(self, perm_id: int, ref: str, *, account: str, con_id: int, side: str) -> Known | None:
        """The order of ours that the broker shows; None = another program's."""
        known = self._by_perm.get(perm_id)
        if known is not None:
            return known
        known = self._by_ref.get(ref) if ref else None
        if known is not None and perm_id in self._strangers and not known.earlier:
            return None
        if known is None or not _fits(known.order, account, con_id, side):
            self._remember_stranger(perm_id)
            return None
        if known.perm_id and not known.changed:
            self._remember_stranger(perm_id)
            return None
        if perm_id:
            self.learn(known, perm_id)
        return known

    def _remember_stranger(self, perm_id: int) -> None:
        if perm_id:
            self._strangers[perm_id] = None
            if len(self._strangers) > _MOST_STRANGERS:
                del self._strangers[next(iter(self._strangers))]


def _is_version(order: WireOrder, told: Version) -> bool:
    pairs = zip((order.quantity, order.limit_price, order.stop_price), told, strict=True)
    return all(shown is None or ours == shown for ours, shown in pairs)


def _fits(order: WireOrder, account: str, con_id: int, side: str) -> bool:
    same = not con_id or not order.contract.con_id or con_id == order.contract.con_id
    return same and (not account or account == order.account) and side == order.action
