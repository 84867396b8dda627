"""What is under way: one reservation per order ref, from the check until the order has ended.

A reservation holds the quantity that can still fill. A fill takes from it what the same execution adds to the position,
so the sum of both never changes by a fill. Silence, time and lost connections release nothing.

A bracket is one group: its exits only give back what the entry has brought, so they add nothing beyond it, and of
several exits the largest counts (one cancels the other).

Of an OCA group with block (IBKR's types 1 and 2) all fills together come to at most its largest order: on each side of
each contract the largest counts, less what the group has filled there. Groups without block (type 3) can overfill;
their orders are reservations like any others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

_ZERO = Decimal(0)
_REMEMBERED = 10_000
"""Ended reservations kept, so that an order that turns out to live can be counted again."""


@dataclass(slots=True)
class Reservation:
    """One order's share of the limits. Quantities are positive; `sign` is +1 for a buy, -1 for a sell."""

    ref: str
    con_id: int
    sign: int
    quantity: Decimal
    open: Decimal
    """What can still fill: max(old, new) while a change is unanswered."""
    loss: Decimal = _ZERO
    """What the whole quantity may cost while in flight, base currency."""
    filled: Decimal = _ZERO
    group: str = ""
    """The ref of the entry, for a bracket's legs (the entry itself included)."""
    oca: str = ""
    """The OCA group with block that it belongs to."""
    stop: Decimal | None = None
    """The protecting stop of a bracket's entry."""
    agent: str = ""
    """Which agent of the program placed it, lower case."""
    unit_value: Decimal | None = None
    """Base currency per unit of quantity, as it was judged; None = it was not."""
    margin: Decimal | None = None
    """Initial margin of the whole quantity by the broker's preview, base currency; None = not asked for."""
    committed: bool = False
    """Whether SENDING is in the journal: from then on only an end known from the broker frees it."""

    @property
    def is_exit(self) -> bool:
        """Whether it is a bracket's exit."""
        return bool(self.group) and self.group != self.ref

    def count_worth(self, unit_value: Decimal | None, margin: Decimal | None) -> None:
        """While a change is unanswered both versions count: the larger; a margin that is not known stays so."""
        if unit_value is not None:
            self.unit_value = max(self.unit_value or _ZERO, unit_value)
        self.margin = None if self.margin is None or margin is None else max(self.margin, margin)

    @property
    def margin_open(self) -> Decimal:
        """`margin`, of what is still open."""
        return (self.margin or _ZERO) * self.open / self.quantity if self.quantity else _ZERO

    @property
    def loss_open(self) -> Decimal:
        """`loss`, of what is still open."""
        return self.loss * self.open / self.quantity if self.quantity else _ZERO


@dataclass(slots=True, eq=False)
class _Group:
    entry_filled: Decimal | None = None
    """None = the entry is not known here: its exits count as they are."""
    exits_filled: dict[str, Decimal] = field(default_factory=dict)
    refs: set[str] = field(default_factory=set)

    def open_of(self, live: list[Reservation]) -> Decimal:
        """What the exits among `live` can give back: at most what the entry brought and no exit gave back yet."""
        worst = max(leg.open for leg in live)
        if self.entry_filled is None:
            return worst
        brought = self.entry_filled - sum(self.exits_filled.values(), _ZERO)
        return min(worst, max(brought, _ZERO))


@dataclass(slots=True, eq=False)
class _Oca:
    legs: dict[str, Reservation] = field(default_factory=dict)
    """Those that ended too, as long as one lives: what they filled counts."""

    def open_of(self, live: list[Reservation]) -> Decimal:
        """What `live`, on one side of one contract, can still fill together."""
        con_id, sign = live[0].con_id, live[0].sign
        side = [leg for leg in self.legs.values() if (leg.con_id, leg.sign) == (con_id, sign)]
        # A fork made by the broker can fill more than was asked for.
        most = max(max(leg.quantity, leg.filled + leg.open) for leg in side)
        left = most - sum((leg.filled for leg in side), _ZERO)
        return min(max(leg.open for leg in live), max(left, _ZERO))


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is open in one contract: quantities that may still be bought and sold."""

    buys: Decimal = _ZERO
    sells: Decimal = _ZERO

    def side(self, sign: int) -> Decimal:
        """The quantity of one side."""
        return self.buys if sign > 0 else self.sells


@dataclass(frozen=True, slots=True)
class OpenContract:
    """What is open in one contract, for gates that look at all of them."""

    exposure: Exposure
    unit_value: Decimal | None
    """Base currency per unit, the highest that was judged; None = none was."""
    margin: Decimal
    """Of the orders whose margin was asked for, base currency."""
    unpriced: Decimal
    """The quantity of those whose margin was not."""


class ReservationBook:
    """All reservations of one account. Not thread-safe: the engine's lock guards it."""

    def __init__(self) -> None:
        self._live: dict[str, Reservation] = {}
        self._by_contract: dict[int, set[str]] = {}
        self._groups: dict[str, _Group] = {}
        self._ocas: dict[str, _Oca] = {}
        self._ended: OrderedDict[str, Reservation] = OrderedDict()

    def __len__(self) -> int:
        return len(self._live)

    def get(self, ref: str) -> Reservation | None:
        """The live reservation of `ref`."""
        return self._live.get(ref)

    def ended(self, ref: str) -> Reservation | None:
        """The reservation of an order that has ended (the last ten thousand are remembered)."""
        return self._ended.get(ref)

    def refs(self) -> tuple[str, ...]:
        """Every order ref with a live reservation."""
        return tuple(self._live)

    def bracket_refs(self, name: str) -> frozenset[str]:
        """The live orders of a bracket."""
        return frozenset(ref for ref in self._groups[name].refs if ref in self._live)

    def oca_refs(self, name: str) -> frozenset[str]:
        """The live orders of an OCA group with block."""
        group = self._ocas.get(name)
        return frozenset() if group is None else frozenset(ref for ref in group.legs if ref in self._live)

    def add(self, reservation: Reservation) -> None:
        """Count an order from now on. ValueError when its ref is counted already."""
        if reservation.ref in self._live:
            raise ValueError(f"order {reservation.ref} is reserved already")
        self._ended.pop(reservation.ref, None)
        self._live[reservation.ref] = reservation
        self._by_contract.setdefault(reservation.con_id, set()).add(reservation.ref)
        if reservation.group:
            group = self._groups.setdefault(reservation.group, _Group())
            group.refs.add(reservation.ref)
            self._count_in_group(reservation, group)
        if reservation.oca:
            self._ocas.setdefault(reservation.oca, _Oca()).legs[reservation.ref] = reservation

    def on_side(self, refs: frozenset[str], con_id: int, sign: int) -> frozenset[str]:
        """Those of `refs` that are live on one side of one contract."""
        return frozenset(
            ref for ref in refs if (one := self._live.get(ref)) and (one.con_id, one.sign) == (con_id, sign)
        )

    def set_open(self, ref: str, open_quantity: Decimal, filled: Decimal | None = None) -> bool:
        """Set what can still fill, and what has; False when `ref` is not counted."""
        found = self._live.get(ref)
        if found is None:
            return False
        found.open = max(open_quantity, _ZERO)
        if filled is not None:
            found.filled = filled
            if found.group:
                self._count_in_group(found, self._groups[found.group])
        return True

    def remove(self, ref: str, *, remember: bool = True) -> Reservation | None:
        """Stop counting an order; returns what was held. `remember`: it may turn out to live."""
        found = self._live.pop(ref, None)
        if found is None:
            return None
        refs = self._by_contract[found.con_id]
        refs.discard(ref)
        if not refs:
            del self._by_contract[found.con_id]
        if found.group and not any(other in self._live for other in self._groups[found.group].refs):
            del self._groups[found.group]
        if found.oca and not any(other in self._live for other in self._ocas[found.oca].legs):
            del self._ocas[found.oca]
        if not remember:
            return found
        self._ended[ref] = found
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)
        return found

    def exposure(self, con_id: int, *, without: frozenset[str] = frozenset(), agent: str | None = None) -> Exposure:
        """What may still be bought and sold in a contract, `without` some orders, or by one agent."""
        sides = {1: _ZERO, -1: _ZERO}
        shared: dict[tuple[_Group | _Oca, int], list[Reservation]] = {}
        for ref in self._by_contract.get(con_id, ()):
            if ref in without:
                continue
            found = self._live[ref]
            if agent is not None and found.agent != agent:
                continue
            group = self._groups[found.group] if found.is_exit else self._ocas.get(found.oca)
            if group is None:
                sides[found.sign] += found.open
            else:
                shared.setdefault((group, found.sign), []).append(found)
        for (group, sign), legs in shared.items():
            sides[sign] += group.open_of(legs)
        return Exposure(sides[1], sides[-1])

    def loss_open(self, *, without: frozenset[str] = frozenset()) -> Decimal:
        """What everything in flight may cost, base currency."""
        return _worst([found for ref, found in self._live.items() if ref not in without], lambda one: one.loss_open)

    def contracts(self) -> Iterable[int]:
        """Every con_id with a live reservation."""
        return tuple(self._by_contract)

    def open_of(self, agent: str) -> int:
        """How many orders of an agent can still fill."""
        return sum(found.agent == agent for found in self._live.values())

    def open_contracts(self, *, without: frozenset[str] = frozenset()) -> dict[int, OpenContract]:
        """What is open in every contract that has live reservations, `without` some orders."""
        found: dict[int, OpenContract] = {}
        for con_id, refs in self._by_contract.items():
            held = [self._live[ref] for ref in refs if ref not in without]
            if held:
                values = [one.unit_value for one in held if one.unit_value is not None]
                # An exit gives back what its entry brought: it ties up no margin of its own.
                entries = [one for one in held if not one.is_exit]
                known = _worst(entries, lambda one: one.margin_open)
                unknown = _worst([one for one in entries if one.margin is None], lambda one: one.open)
                exposure = self.exposure(con_id, without=without)
                found[con_id] = OpenContract(exposure, max(values, default=None), known, unknown)
        return found

    @staticmethod
    def _count_in_group(reservation: Reservation, group: _Group) -> None:
        if reservation.ref == reservation.group:
            group.entry_filled = reservation.filled
        else:
            group.exits_filled[reservation.ref] = reservation.filled


def _worst(held: Iterable[Reservation], figure: Callable[[Reservation], Decimal]) -> Decimal:
    """The sum of a figure, in which of each OCA group with block the highest stands for all."""
    total, highest = _ZERO, dict[str, Decimal]()
    for one in held:
        if one.oca:
            highest[one.oca] = max(highest.get(one.oca, _ZERO), figure(one))
        else:
            total += figure(one)
    return total + sum(highest.values(), _ZERO)
