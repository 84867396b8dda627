"""The truth log, read as orders: what each one was, what became of it, and the account's exposure at every step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ibkr_connector.paper.truth import TruthEntry

_ENDED = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})
ZERO = Decimal(0)


@dataclass(slots=True)
class TruthOrder:
    """One order at the broker: of a fork there are two with one number."""

    client_id: int
    order_id: int
    ref: str
    con_id: int
    sign: int
    quantity: Decimal
    parent_id: int = 0
    symbol: str = ""
    order_type: str = ""
    perm_id: int = 0
    filled: Decimal = ZERO
    status: str = ""
    changing: Decimal | None = None
    """The quantity asked for by a change that is not answered yet."""
    received_at: float = 0.0
    cancel_asked: float | None = None
    """When the first cancel of it arrived, wire seconds."""
    held: bool = False
    """In the gateway, and not transmitted: the broker does not know of it."""
    raced: bool = False
    """It was filled after a cancel had arrived."""
    asked: bool = False
    """Over the Web API: read, and not passed on to the exchange; the broker may ask back first, or refuse it."""

    @property
    def is_live(self) -> bool:
        """Whether it can still fill."""
        return self.status not in _ENDED and not self.held and not self.asked

    @property
    def open_quantity(self) -> Decimal:
        """What it can still fill at most, a change under way counted in full."""
        if not self.is_live:
            return ZERO
        return max(self.quantity, self.changing or ZERO) - self.filled


@dataclass(slots=True)
class TruthView:
    """Orders and executions up to a point of the log."""

    orders: list[TruthOrder] = field(default_factory=list)
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the execution id without its correction number: the latest version."""
    positions: dict[int, Decimal] = field(default_factory=dict)
    forked: set[str] = field(default_factory=set)
    """Refs of which the broker made two."""
    waiting: set[tuple[int, int]] = field(default_factory=set)
    """Numbers of orders with a message that a cut link holds back."""

    @classmethod
    def of(cls, entries: Iterable[TruthEntry]) -> TruthView:
        """Everything these entries tell."""
        view = cls()
        for _ in view.steps(entries):
            pass
        return view

    def steps(self, entries: Iterable[TruthEntry]) -> Iterator[TruthEntry]:
        """Take in one entry after the other; each is given out when it has been taken in."""
        for entry in entries:
            self._take(entry)
            yield entry

    def by_ref(self, ref: str) -> list[TruthOrder]:
        """The orders of this name."""
        return [order for order in self.orders if order.ref == ref]

    def numbered(self, client_id: int, order_id: int) -> list[TruthOrder]:
        """The orders of this number."""
        return [one for one in self.orders if one.order_id == order_id and one.client_id == client_id]

    # --- taking in ---------------------------------------------------------------------------------------------------

    def _take(self, entry: TruthEntry) -> None:
        take = _TAKE.get(entry.kind)
        if take is not None:
            take(self, entry, entry.fields)

    def _received(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        self.orders.append(
            TruthOrder(
                client_id=at["client_id"],
                order_id=at["order_id"],
                ref=at["order_ref"],
                con_id=at["con_id"],
                sign=1 if at["action"] == "BUY" else -1,
                quantity=Decimal(at["quantity"]),
                parent_id=at.get("parent_id") or 0,
                symbol=str(at.get("symbol", "")),
                order_type=at.get("order_type", ""),
                received_at=entry.wire,
                asked=bool(at.get("asked")),
            )
        )

    def _change_received(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        for order in self.numbered(at["client_id"], at["order_id"])[:1]:
            order.changing = max(Decimal(at["quantity"]), order.changing or ZERO)

    def _changed(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        for order in self._meant(at):
            order.quantity, order.changing = Decimal(at["quantity"]), None

    def _meant(self, at: dict[str, Any]) -> list[TruthOrder]:
        """By permId; an order that has none yet gets it here."""
        perm_id = at.get("perm_id") or 0
        same = self.numbered(at["client_id"], at["order_id"])
        found = [order for order in same if perm_id and order.perm_id == perm_id]
        if not found:
            found = [order for order in same if not order.perm_id][:1]
            for order in found:
                order.perm_id = perm_id
        for order in found:
            order.asked = False
        return found

    def _accepted(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        for order in self._meant(at):
            order.held = False

    def _held(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        for order in self._meant(at):
            order.held = not order.status

    def _rejected(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        if at.get("perm_id"):
            return  # its status has told the end
        for order in self.numbered(at["client_id"], at["order_id"])[:1]:
            if order.changing is not None:
                order.changing = None
            elif not order.perm_id:
                order.status = "Inactive"

    def _status(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        for order in self._meant(at):
            order.held = False
            if not order.status or order.is_live:
                order.status = at["status"]
            if order.is_live:
                # The group of a bracket shrinks its exits without a word of its own.
                order.quantity = Decimal(at["filled"]) + Decimal(at["remaining"])

    def _filled(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        base = str(at["exec_id"]).rpartition(".")[0]
        self.executions[base] = dict(at)
        for order in self._meant(at):
            order.filled = Decimal(at["cum_qty"])
            order.raced = order.raced or order.cancel_asked is not None
            if order.filled >= order.quantity and order.changing is None:
                order.status = "Filled"
        signed = Decimal(at["quantity"]) * (1 if at["side"] == "BOT" else -1)
        self.positions[at["con_id"]] = self.positions.get(at["con_id"], ZERO) + signed

    def _corrected(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        self.executions[str(at["exec_id"]).rpartition(".")[0]] = dict(at)

    def _forked(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        self.forked.add(at["order_ref"])
        first = self.numbered(at["client_id"], at["order_id"])[0]
        quantity = (first.changing or first.quantity) - first.filled
        first.changing = None
        self.orders.append(
            TruthOrder(
                client_id=first.client_id,
                order_id=first.order_id,
                ref=first.ref,
                con_id=first.con_id,
                sign=first.sign,
                quantity=quantity,
                perm_id=at["perm_id"],
                order_type=first.order_type,
                received_at=entry.wire,
            )
        )

    def _cancel_received(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        for order in self.numbered(at["client_id"], at["order_id"]):
            if order.cancel_asked is None and order.is_live:
                order.cancel_asked = entry.wire

    def _withheld(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        self.waiting.add((at["client_id"], at["order_id"]))
        for order in self.numbered(at["client_id"], at["order_id"]):
            order.asked = False

    def _unasked(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        """A question about a change was declined, or cannot be answered any more: the order is as it was."""
        for number in at.get("numbers", ()):
            for order in self.numbered(at["client_id"], number):
                order.changing = None

    def _forwarded(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        self.waiting.discard((at["client_id"], at["order_id"]))

    def _forgotten(self, entry: TruthEntry, at: dict[str, Any]) -> None:
        key = (at["client_id"], at["order_id"])
        self.waiting.discard(key)
        for order in self.numbered(*key):
            order.changing = None
            if not order.perm_id:
                order.status = "Inactive"


def exposure(view: TruthView, con_id: int) -> tuple[Decimal, Decimal]:
    """The highest and the lowest position that can come of what is held and in flight."""
    position = view.positions.get(con_id, ZERO)
    long = short = ZERO
    exits: dict[int, list[TruthOrder]] = {}
    for order in view.orders:
        if order.con_id != con_id:
            continue
        if order.parent_id:
            exits.setdefault(order.parent_id, []).append(order)
        elif order.sign > 0:
            long += order.open_quantity
        else:
            short += order.open_quantity
    for parent_id, group in exits.items():
        # Exits close what their entry has filled, one of them does.
        parents = view.numbered(group[0].client_id, parent_id)
        entered = sum((parent.filled for parent in parents), ZERO)
        left = max(ZERO, entered - sum((order.filled for order in group), ZERO))
        most = min(left, max(order.open_quantity for order in group))
        if group[0].sign > 0:
            long += most
        else:
            short += most
    return position + long, position - short


_TAKE: dict[str, Any] = {
    "recv_place": TruthView._received,
    "recv_modify": TruthView._change_received,
    "modified": TruthView._changed,
    "accepted": TruthView._accepted,
    "held": TruthView._held,
    "rejected": TruthView._rejected,
    "status": TruthView._status,
    "fill": TruthView._filled,
    "correction": TruthView._corrected,
    "forked": TruthView._forked,
    "recv_cancel": TruthView._cancel_received,
    "withheld": TruthView._withheld,
    "forwarded": TruthView._forwarded,
    "forgotten": TruthView._forgotten,
    "declined": TruthView._unasked,
    "question_lost": TruthView._unasked,
}
