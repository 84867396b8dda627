"""What of the account is worth telling a person: margin that runs out, a position that jumps. Pure: time passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

_ZERO = Decimal(0)
_WINDOW_S = 60.0
_REARM = Decimal("1.2")
"""The cushion must grow by a fifth beyond the threshold before falling below it is news again."""


@dataclass(slots=True)
class MarginWatch:
    """Tells once when the cushion (excess liquidity / net liquidation) falls below `least`; None switches it off."""

    least: Decimal | None
    low: bool = False

    def observe(self, net_liquidation: Decimal | None, excess_liquidity: Decimal | None) -> Decimal | None:
        """The cushion, when it has just fallen below the threshold."""
        if self.least is None or net_liquidation is None or excess_liquidity is None:
            return None
        cushion = excess_liquidity / net_liquidation if net_liquidation > 0 else Decimal(-1)
        if cushion >= self.least * _REARM:
            self.low = False
        if cushion >= self.least or self.low:
            return None
        self.low = True
        return cushion


@dataclass(slots=True)
class _Moves:
    quantity: Decimal
    moves: deque[tuple[float, Decimal]] = field(default_factory=deque)
    """(when, change of value)."""


@dataclass(slots=True)
class PositionWatch:
    """Tells when a position's value changes by `share` of net liquidation within a minute; None switches it off.

    Values in base currency. The change is that of the quantity at the present price: a price that moves is no change.
    """

    share: Decimal | None
    _known: dict[int, _Moves] | None = None

    def begin(self, held: Mapping[int, Decimal]) -> None:
        """The positions to start from, once they are read; what is not among them is flat. Later calls do nothing."""
        if self._known is None:
            self._known = {con_id: _Moves(quantity) for con_id, quantity in held.items()}

    def observe(
        self, con_id: int, quantity: Decimal, unit_value: Decimal | None, net_liquidation: Decimal | None, now: float
    ) -> Decimal | None:
        """The change of value within the window, when it has just passed the threshold. Nothing before `begin`."""
        if self._known is None:
            return None
        known = self._known.setdefault(con_id, _Moves(_ZERO))
        change, known.quantity = quantity - known.quantity, quantity
        if self.share is None or not change or unit_value is None or net_liquidation is None or net_liquidation <= 0:
            return None
        known.moves.append((now, change * unit_value))
        while now - known.moves[0][0] >= _WINDOW_S:
            known.moves.popleft()
        total = sum((value for _, value in known.moves), _ZERO)
        if abs(total) < self.share * net_liquidation:
            return None
        known.moves.clear()
        return total
