"""Whether trading is allowed at all: ACTIVE, REDUCING or HALTED, kept over restarts.

Reading is lock-free and safe from any thread (one attribute, swapped whole): the last check before a write uses it.
What cannot be read counts as HALTED.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

STATE_VERSION = 1
"""Version of what is saved."""

Load = Callable[[], Mapping[str, Any] | None]
"""Reads a stored record; None when there is none yet."""
Save = Callable[[Mapping[str, Any]], None]
"""Stores a record durably."""


class TradingState(StrEnum):
    """What may be sent."""

    ACTIVE = "active"
    REDUCING = "reducing"
    """Only orders that bring a position nearer to zero, and cancels."""
    HALTED = "halted"
    """Only cancels."""


@dataclass(frozen=True, slots=True)
class TradingRecord:
    """The state, why, and since when."""

    state: TradingState = TradingState.ACTIVE
    reason: str = ""
    at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored."""
        return {
            "version": STATE_VERSION,
            "state": self.state.value,
            "reason": self.reason,
            "at": None if self.at is None else self.at.isoformat(),
        }

    @property
    def why_halted(self) -> str:
        """Why nothing but cancels may be sent; empty while orders may."""
        if self.state is not TradingState.HALTED:
            return ""
        return "trading is halted" + (f" ({self.reason})" if self.reason else "")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TradingRecord:
        """Back from `to_dict`. ValueError for a newer version or another shape."""
        try:
            if data["version"] != STATE_VERSION:
                raise ValueError(f"version {data['version']!r}, this program knows {STATE_VERSION}")
            at = None if data["at"] is None else datetime.fromisoformat(data["at"])
            return cls(TradingState(data["state"]), str(data["reason"]), at)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the stored trading state cannot be read: {error}") from error


class TradingControl:
    """The state and who changes it. `kill`, `reduce` and `resume` may be called from any thread.

    Stopping takes effect in memory before it is saved, resuming only after: a disk that fails stops nothing from
    stopping. A kill that comes while somebody resumes wins.
    """

    def __init__(self, load: Load | None = None, save: Save | None = None) -> None:
        self._save = save
        self._swap = threading.Lock()
        self._saving = threading.Lock()
        self._record = _read(load)

    @property
    def record(self) -> TradingRecord:
        """The state now; one read, no lock."""
        return self._record

    @property
    def is_stored(self) -> bool:
        """Whether there is a place to store it; without one it ends with the program."""
        return self._save is not None

    def kill(self, reason: str, at: datetime) -> None:
        """HALTED from this moment on. Raises what saving raises, after it took effect."""
        with self._swap:
            self._record = TradingRecord(TradingState.HALTED, reason, at)
        self._store()

    def reduce(self, reason: str, at: datetime) -> None:
        """Only reducing orders from now on; a kill stays a kill. Raises what saving raises, after it took effect."""
        with self._swap:
            if self._record.state is not TradingState.ACTIVE:
                return
            self._record = TradingRecord(TradingState.REDUCING, reason, at)
        self._store()

    def resume(self, reason: str, at: datetime) -> bool:
        """ACTIVE again, if it can be saved (else raises) and nobody killed meanwhile (else False)."""
        before = self._record
        record = TradingRecord(TradingState.ACTIVE, reason, at)
        if self._save is not None:
            with self._saving:
                try:
                    self._save(record.to_dict())
                except BaseException:
                    # A save that was given up may still come to pass: what holds must be the last word stored.
                    with contextlib.suppress(Exception):
                        self._save(self._record.to_dict())
                    raise
        with self._swap:
            resumed = self._record is before
            if resumed:
                self._record = record
        if not resumed:
            self._store()
        return resumed

    def _store(self) -> None:
        if self._save is not None:
            with self._saving:
                # Always the newest: of two that stop at once the last to save must not store the older word.
                self._save(self._record.to_dict())


def _read(load: Load | None) -> TradingRecord:
    if load is None:
        return TradingRecord()
    try:
        stored = load()
        return TradingRecord() if stored is None else TradingRecord.from_dict(stored)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it: an unreadable state is a kill
        return TradingRecord(TradingState.HALTED, f"{error}; check the state directory, then resume")
