"""Market-data lines: how many the account has, and who holds them. Pure.

Source: IBKR, "Market Data Lines" (100 by default, more by commissions and equity; error 101 beyond). Snapshots take
none. Lines belong to the login: what other programs and TWS itself show counts too, so the broker may say 101 before
ours are used up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ibkr_connector.errors import TooManyMarketDataLines

DEFAULT_LINES = 100


@dataclass(slots=True)
class LineLeases:
    """Counts leases by con_id; the same contract shares one line."""

    configured: int = DEFAULT_LINES
    held: set[int] = field(default_factory=set)
    learned: int | None = None
    """How many there were when the broker said 101; until the next connection."""

    @property
    def limit(self) -> int:
        """How many may be held now."""
        return self.configured if self.learned is None else min(self.learned, self.configured)

    def refused(self) -> None:
        """The broker said 101 to the line that was leased last: all others are what there is now."""
        self.learned = max(len(self.held) - 1, 0)

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
        return max(self.limit - len(self.held), 0)
