"""What each agent of the program has traded: positions by its own executions, for limits of its own. Pure.

An agent's position is what its orders have filled, whatever the others hold: two agents may hold opposite positions of
one contract, of which the broker shows the sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ibkr_connector.risk.reservation import Exposure

_ZERO = Decimal(0)
_NOTHING = Exposure()
Key = tuple[str, int]
"""(agent in lower case, con_id)."""


class AgentLedger:
    """Positions by agent and contract. Not thread-safe: the engine's lock guards it."""

    def __init__(self) -> None:
        self._held: dict[Key, Decimal] = {}

    def start(self, held: Mapping[Key, Decimal]) -> None:
        """Begin with what earlier runs have filled."""
        self._held = dict(held)

    def add(self, agent: str, con_id: int, signed: Decimal) -> None:
        """Count an execution (negative = sold), or the difference that a correction makes."""
        if agent and signed:
            key = (agent.lower(), con_id)
            self._held[key] = self._held.get(key, _ZERO) + signed

    def position(self, agent: str, con_id: int) -> Decimal:
        """What an agent holds of a contract."""
        return self._held.get((agent.lower(), con_id), _ZERO)


@dataclass(frozen=True, slots=True)
class AgentShare:
    """One agent's part of what is open in a contract, and of the account's orders."""

    position: Decimal = _ZERO
    exposure: Exposure = _NOTHING
    open_orders: int = 0
