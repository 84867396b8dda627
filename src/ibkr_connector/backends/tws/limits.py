"""IBKR's limits for one TWS connection, as data for the pacer, and what each call of this backend costs in messages.

Sources: IBKR, "TWS API: Pacing Limitations", "Market Data Lines", "Historical Data Limitations".
"""

from __future__ import annotations

from ibkr_connector.resilience.rules import Rule, default_rules

DEFAULT_LINES = 100
"""Market data lines of an account without extras (more by commissions, equity or quote boosters)."""

MAX_CLIENTS = 32
"""API connections of one TWS or gateway."""

MAX_OPEN_HISTORY = 50
"""Historical requests unanswered at a time."""

MAX_ACCOUNT_SUMMARIES = 2
"""Account summary subscriptions at a time (beyond: error 322)."""

MAX_DEPTH = 3
"""Market depth requests at a time with 100 lines (beyond: error 309)."""

MAX_SCANNERS = 10
"""Market scanners at a time."""

SNAPSHOT_SECONDS = 11.0
"""A snapshot's end marker comes at most so late; snapshots take no market data line."""

MAX_FRAME_BYTES = 16 * 1024 * 1024 - 1
"""The longest message TWS sends or takes (0xFFFFFF); a longer length prefix is garbage."""

MESSAGES_PER_CALL: dict[str, int] = {
    "account_values": 2,  # the request, and the end of the subscription that comes with it
    "head_timestamp": 2,  # the request, and its release
    "subscribe_account": 2,  # account updates, profit and loss
    "unsubscribe_account": 2,
}
"""Messages a backend call writes, where it is more than one. A read given up early may write one more to release it."""


def messages_per_second(lines: int = DEFAULT_LINES) -> int:
    """How many messages a connection may send in a second: half the market data lines."""
    return max(lines // 2, 1)


def tick_by_tick_lines(lines: int = DEFAULT_LINES) -> int:
    """Tick-by-tick subscriptions at a time: 5 % of the lines, at least one (beyond: error 10190)."""
    return max(lines // 20, 1)


def pacing_rules(lines: int = DEFAULT_LINES, cancel_reserve: int = 10) -> tuple[Rule, ...]:
    """The pacing rules of a connection with so many market data lines; `cancel_reserve` messages/s stay free."""
    return default_rules(messages_per_second(lines), min(cancel_reserve, messages_per_second(lines) - 1))
