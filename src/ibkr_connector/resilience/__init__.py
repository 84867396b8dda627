"""What to do when the other side is slow, busy or away: pure policy, time passed in.

`breaker` stops asking what does not answer, `pacing` keeps IBKR's message and history limits, `retry` repeats reads,
`deadline` bounds a call as a whole. `waiter` is the one asyncio file: coroutines waiting for the pacer.
"""

from __future__ import annotations

from ibkr_connector.resilience.attempts import AttemptPlan, AttemptPolicy
from ibkr_connector.resilience.breaker import Breaker
from ibkr_connector.resilience.breaker_types import (
    BreakerChange,
    BreakerPolicy,
    BreakerSnapshot,
    BreakerState,
    Permit,
    Rejected,
)
from ibkr_connector.resilience.deadline import Deadline
from ibkr_connector.resilience.outcomes import CallOutcome, classify, hint_of
from ibkr_connector.resilience.pacing import Grant, Pacer, PacerSnapshot, Ticket, TicketState, Wait
from ibkr_connector.resilience.retry import RetryNote, RetryPolicy, idempotent, retry_read, retryable
from ibkr_connector.resilience.rules import Charge, Lane, SlotRule, WindowRule, Work, default_rules

__all__ = [
    "AttemptPlan",
    "AttemptPolicy",
    "Breaker",
    "BreakerChange",
    "BreakerPolicy",
    "BreakerSnapshot",
    "BreakerState",
    "CallOutcome",
    "Charge",
    "Deadline",
    "Grant",
    "Lane",
    "Pacer",
    "PacerSnapshot",
    "Permit",
    "Rejected",
    "RetryNote",
    "RetryPolicy",
    "SlotRule",
    "Ticket",
    "TicketState",
    "Wait",
    "WindowRule",
    "Work",
    "classify",
    "default_rules",
    "hint_of",
    "idempotent",
    "retry_read",
    "retryable",
]
