"""The server versions this gateway speaks, and how one is agreed on.

A real gateway answers min(client's highest, its own highest). This one knows three wire layouts exactly, so it answers
the highest of those the client can accept: 157 (the original ibapi 9.81), 176 (ib_insync 0.9.86) and 178 (ib_async).
Layouts test `version >= N` with the N below, so that a fourth version is a new entry here and new branches there.
"""

from __future__ import annotations

from typing import Final

SUPPORTED: Final[tuple[int, ...]] = (157, 176, 178)
"""Ascending. Never beyond 200: 201 starts protobuf frames."""

OLDEST: Final[int] = SUPPORTED[0]
NEWEST: Final[int] = SUPPORTED[-1]

# Which server version brought which change of layout (IBKR's server_versions table; only what lies between the
# supported ones).
DURATION: Final = 158
MARKET_DATA_IN_SHARES: Final = 159
POST_TO_ATS: Final = 160
AUTO_CANCEL_PARENT: Final = 162
SIZE_RULES: Final = 164
"""contractDetails loses its version and size multiplier, and gains the three size fields."""
ADVANCED_ORDER_REJECT: Final = 166
MANUAL_ORDER_TIME: Final = 169
PEG_BEST_PEG_MID: Final = 170
TIME_ZONES: Final = 174
"""Times of executions and bars carry their time zone."""
HISTORY_IN_SHARES: Final = 175
BOND_ISSUER: Final = 176
NO_FA_PROFILE: Final = 177
PENDING_PRICE_REVISION: Final = 178


def negotiate(client_min: int, client_max: int) -> int | None:
    """The server version to announce to a client that accepts client_min..client_max; None if there is none."""
    return max((v for v in SUPPORTED if client_min <= v <= client_max), default=None)
