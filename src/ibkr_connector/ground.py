"""What a connector stands on: time, randomness, its thread, its bus, and how the journal is opened.

The defaults are the machine's own. Proofs give others, so that a connector and a gateway run in one thread on one
stepped event loop (`proof/`); nothing in the settings leads here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ibkr_connector.clock import Clock, system_clock
from ibkr_connector.events import EventBus
from ibkr_connector.orders.journal import Journal
from ibkr_connector.session.thread import SessionThread


class OpenJournal(Protocol):
    """Opens the journal of an account; see `Journal.open`."""

    def __call__(
        self, state_dir: Path, account: str, clock: Clock, /, *, forget_before: datetime | None = None
    ) -> Journal:
        """Open it."""
        ...


def _open_journal(state_dir: Path, account: str, clock: Clock, /, *, forget_before: datetime | None = None) -> Journal:
    """`Journal.open` as it is when it is called, not as it was when this module was imported."""
    return Journal.open(state_dir, account, clock, forget_before=forget_before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What `House` is built on."""

    clock: Clock = system_clock
    rng: random.Random = field(default_factory=random.Random)
    """For jitter, never for secrecy."""
    thread: Callable[[str], SessionThread] = SessionThread
    """Makes the session's thread, from its name."""
    bus: Callable[[], EventBus] = EventBus
    journal: OpenJournal = _open_journal
