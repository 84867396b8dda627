"""Positions: the last complete broker snapshot, and the executions since. Pure.

Two figures are kept per contract. `counted` is the snapshot's quantity plus every execution that arrived after the
snapshot was asked for (by execution id, corrections replacing). `told` is what the broker's own position messages say.
Usually they agree. While they do not (a position message before its execution, a trade of another program), the gates
are given the worse of the two for the side of the order, and `diverging` asks for a new snapshot.

A snapshot is no better than its wire. One that says what neither figure says (an end marker that overtook rows, a row
too few) is not believed before a second one says the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation

from ibkr_connector.models.account import Execution, Position

_ZERO = Decimal(0)
Key = tuple[str, int]
"""(account, con_id)."""


@dataclass(slots=True)
class PositionBook:
    """All positions of the login. Mutated on the session loop; readers take `snapshot`, which is swapped whole."""

    snapshot: tuple[Position, ...] = ()
    _base: dict[Key, Decimal] = field(default_factory=dict)
    _told: dict[Key, Position] = field(default_factory=dict)
    _shown: dict[Key, Position] = field(default_factory=dict)
    """As told, or as executions that are newer than the last message say."""
    _since: dict[Key, Decimal] = field(default_factory=dict)
    _known: dict[str, Decimal] = field(default_factory=dict)
    _count: int = 0
    _taken: bool = False
    """Whether there ever was a snapshot to compare with."""
    _odd: dict[Key, Decimal] = field(default_factory=dict)
    """What the last snapshot said that nothing else had said; empty when it was taken."""
    _heard: set[Key] = field(default_factory=set)
    """Of which contracts a position message came since a snapshot was asked for."""

    def begin_snapshot(self) -> int:
        """Call when a snapshot is asked for: executions that arrive from now on may or may not be in it."""
        self._heard.clear()
        return self._count

    def install(self, positions: Iterable[Position], mark: int) -> bool:
        """Take a complete snapshot; False (and nothing changes) if another one has to be asked for.

        That is so when executions arrived since `begin_snapshot`, and when it contradicts both figures kept here, or
        a message that came meanwhile: then a second one must say the same.
        """
        if mark != self._count:
            return False
        told = {(p.account, p.contract.con_id): p for p in positions}
        odd = self._unheard_of(told)
        if odd and odd != self._odd:
            self._odd = odd
            return False
        self._odd = {}
        self._taken = True
        self._told = {key: self._keep_prices(p) for key, p in told.items()}
        self._shown = dict(self._told)
        self._base = {key: p.quantity for key, p in self._told.items()}
        self._since = {}
        self._publish()
        return True

    def _unheard_of(self, told: dict[Key, Position]) -> dict[Key, Decimal]:
        """The quantities of a snapshot, 0 for what is missing in it, that neither executions nor messages explain."""
        found = {}
        for key in set(told) | set(self._told) | set(self._base) | set(self._since):
            quantity = told[key].quantity if key in told else _ZERO
            if quantity == self.told(*key) or (quantity == self.counted(*key) and key not in self._heard):
                continue
            if self._taken or key in self._heard:  # before the first snapshot nothing else can be known
                found[key] = quantity
        return found

    def _keep_prices(self, position: Position) -> Position:
        old = self._told.get((position.account, position.contract.con_id))
        if old is None or position.market_price is not None:
            return position
        return replace(
            position,
            market_price=old.market_price,
            market_value=old.market_value,
            unrealized_pnl=old.unrealized_pnl,
            realized_pnl=old.realized_pnl,
        )

    def on_position(self, position: Position) -> None:
        """A position message outside a snapshot."""
        key = (position.account, position.contract.con_id)
        self._heard.add(key)
        self._told[key] = self._shown[key] = self._keep_prices(position)
        self._publish()

    def on_execution(self, execution: Execution) -> bool:
        """Count an execution once, a correction by its difference; True if anything changed.

        The start-up sync replays executions before it asks for positions, so what is replayed later and was not known
        is counted too: at worst the two figures differ until the next snapshot.
        """
        signed = execution.quantity if execution.side == "BUY" else -execution.quantity
        change = signed - self._known.get(execution.base_id, _ZERO)
        if not change:
            return False
        self._known[execution.base_id] = signed
        key = (execution.account, execution.contract.con_id)
        shown = self._shown.get(key)
        agreed = self.counted(*key) == (shown.quantity if shown is not None else _ZERO)
        self._since[key] = self._since.get(key, _ZERO) + change
        self._count += 1
        if agreed:
            # The execution came before the broker's position message: show what follows from it meanwhile.
            self._shown[key] = _after(shown, execution, change)
            self._publish()
        return True

    def counted(self, account: str, con_id: int) -> Decimal:
        """Snapshot plus executions since."""
        key = (account, con_id)
        return self._base.get(key, _ZERO) + self._since.get(key, _ZERO)

    def told(self, account: str, con_id: int) -> Decimal:
        """What the broker's position messages say."""
        position = self._told.get((account, con_id))
        return position.quantity if position else _ZERO

    def worst(self, account: str, con_id: int, sign: int) -> Decimal:
        """The quantity to assume before an order of this side (+1 buy, -1 sell): the one nearer to its limit."""
        figures = (self.counted(account, con_id), self.told(account, con_id))
        return max(figures) if sign > 0 else min(figures)

    def diverging(self) -> set[Key]:
        """Contracts for which the two figures differ: a new snapshot settles it."""
        touched = set(self._since) | set(self._told) | set(self._base)
        return {key for key in touched if self.counted(*key) != self.told(*key)}

    def keys(self, account: str) -> set[int]:
        """Contract ids with any figure for this account."""
        touched = set(self._since) | set(self._told)
        return {con_id for name, con_id in touched if name == account}

    def find(self, account: str, con_id: int) -> Position | None:
        """The position as shown."""
        return self._shown.get((account, con_id))

    def _publish(self) -> None:
        self.snapshot = tuple(p for p in self._shown.values() if p.quantity)


def _after(before: Position | None, execution: Execution, change: Decimal) -> Position:
    """The position after an execution, until the broker tells its own figures. Cost by average price, without fees."""
    try:
        multiplier = Decimal(execution.contract.multiplier or 1)
    except InvalidOperation:
        multiplier = Decimal(1)
    price = execution.price * multiplier
    held = before.quantity if before is not None else _ZERO
    quantity = held + change
    if before is None or held * quantity <= 0:
        cost = price
    elif abs(quantity) > abs(held):
        cost = (before.avg_cost * held + price * change) / quantity
    else:
        cost = before.avg_cost
    if before is None:
        return Position(account=execution.account, contract=execution.contract, quantity=quantity, avg_cost=cost)
    return replace(before, quantity=quantity, avg_cost=cost, market_value=None, unrealized_pnl=None)
