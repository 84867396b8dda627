"""Market-data lines: how many the account has, and who holds them. Pure.

Source: facts of IBKR's "Market Data Lines" (100 by default; error 101 beyond). Snapshots take none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ibkr_connector.errors import TooManyMarketDataLines

DEFAULT_LINES = 100


@dataclass(slots=True)
class LineLeases:
    """Counts leases by con_id; the same contract shares one line."""

    limit: int = DEFAULT_LINES
    held: set[int] = field(default_factory=set)

    def take(self, con_id: int) -> None:
        """Lease a line. Raises `TooManyMarketDataLines` when none is free."""
        if con_id in self.held:
            return
        if len(self.held) >= self.limit:
            raise TooManyMarketDataLines(
                f"all {self.limit} market data lines are in use.", code=101, limit=self.limit, in_use=len(self.held)
            )
        self.held.add(con_id)

    def give_back(self, con_id: int) -> None:
        """Return a lease. Idempotent."""
        self.held.discard(con_id)

    @property
    def free(self) -> int:
        """Lines left."""
        return self.limit - len(self.held)
