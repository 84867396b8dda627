"""Whether trading is allowed at all: ACTIVE, REDUCING or HALTED, kept over restarts and shared by processes.

What holds is read anew each time it is asked for, so that a kill by another process counts before the very next write.
What cannot be read counts as HALTED, and so does a record that was there and is gone.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

STATE_VERSION = 2
"""Version of what is saved; 1 had no serial, resumes, action and by."""

Load = Callable[[], Mapping[str, Any] | None]
"""Reads a stored record; None when there is none yet."""
Save = Callable[[Mapping[str, Any]], None]
"""Stores a record durably."""
Exclusive = Callable[[], AbstractContextManager[None]]
"""Keeps other processes from storing meanwhile."""


class TradingState(StrEnum):
    """What may be sent."""

    ACTIVE = "active"
    REDUCING = "reducing"
    """Only orders that bring a position nearer to zero, and cancels."""
    HALTED = "halted"
    """Only cancels."""


_SEVERITY = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}


class TradingAction(StrEnum):
    """What the connector that trades shall do besides, once; it clears it when it is done."""

    NONE = ""
    CANCEL = "cancel"
    """Cancel its own working orders."""
    FLATTEN = "flatten"
    """Cancel them, and close all positions."""


@dataclass(frozen=True, slots=True)
class TradingRecord:
    """The state, why, and since when."""

    state: TradingState = TradingState.ACTIVE
    reason: str = ""
    at: datetime | None = None
    serial: int = field(default=0, compare=False)
    """Rises with every change, whoever makes it: of two records the one with the higher serial holds."""
    resumes: int = field(default=0, compare=False)
    """How often trading was resumed: a trip of before is over."""
    action: TradingAction = field(default=TradingAction.NONE, compare=False)
    by: int = field(default=0, compare=False)
    """The process that said so."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored."""
        return {
            "version": STATE_VERSION,
            "state": self.state.value,
            "reason": self.reason,
            "at": None if self.at is None else self.at.isoformat(),
            "serial": self.serial,
            "resumes": self.resumes,
            "action": self.action.value,
            "by": self.by,
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
            if data["version"] not in (1, STATE_VERSION):
                raise ValueError(f"version {data['version']!r}, this program knows up to {STATE_VERSION}")
            return cls(
                TradingState(data["state"]),
                str(data["reason"]),
                None if data["at"] is None else datetime.fromisoformat(data["at"]),
                serial=int(data.get("serial", 0)),
                resumes=int(data.get("resumes", 0)),
                action=TradingAction(data.get("action", "")),
                by=int(data.get("by", 0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the stored trading state cannot be read: {error}") from error

    def beats(self, other: TradingRecord) -> bool:
        """Whether this one holds where both were found: the newer, and of two as new the stricter."""
        if self.serial != other.serial:
            return self.serial > other.serial
        return _SEVERITY[self.state] > _SEVERITY[other.state]

    def followed_by(self, state: TradingState, reason: str, at: datetime, **more: Any) -> TradingRecord:
        """The next record. Serials follow the time too: a record that was lost cannot beat those after it."""
        serial = max(self.serial + 1, int(at.timestamp() * 1000))
        return TradingRecord(state, reason, at, serial=serial, resumes=self.resumes, by=os.getpid(), **more)


class TradingControl:
    """The state and who changes it. All methods may be called from any thread.

    Stopping takes effect in memory before it is saved, resuming only after: a disk that fails stops nothing from
    stopping. A kill that comes while somebody resumes, in whatever process, wins.
    """

    def __init__(
        self, load: Load | None = None, save: Save | None = None, exclusive: Exclusive = contextlib.nullcontext
    ) -> None:
        self._load = load
        self._save = save
        self._exclusive = exclusive
        self._swap = threading.Lock()
        self._saving = threading.Lock()
        self._held = TradingRecord()
        self._known = False
        self._unsaved = False

    @property
    def record(self) -> TradingRecord:
        """The state now, as stored; without a lock, from any thread."""
        held = self._held
        if self._load is None:
            return held
        if self._unsaved:
            return self._unsaved_or_killed(held)
        try:
            stored = self._load()
            found = None if stored is None else TradingRecord.from_dict(stored)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it: an unreadable state is a kill
            return _lost(held, f"{error}; check the state directory, then resume")
        if found is None:
            return (
                _lost(held, "the record of the trading state is missing; check it, then resume")
                if self._known
                else held
            )
        self._known = True
        if found.beats(held):
            with self._swap:
                if found.beats(self._held) and not self._unsaved:
                    self._held = found
        return self._held

    def _unsaved_or_killed(self, held: TradingRecord) -> TradingRecord:
        """A stop that could not be stored holds until it is: nobody else can have known of it. But for a later kill."""
        if held.state is TradingState.HALTED:
            return held
        found = self._stored()
        if found is None or found.state is not TradingState.HALTED or not found.beats(held):
            return held
        with self._swap:
            if found.beats(self._held):
                self._held, self._unsaved, self._known = found, False, True
        return self._held

    @property
    def is_stored(self) -> bool:
        """Whether there is a place to store it; without one it ends with the program."""
        return self._save is not None

    @property
    def unsaved(self) -> bool:
        """Whether a stop could not be stored yet: `save_again` tries."""
        return self._unsaved

    def kill(self, reason: str, at: datetime, *, action: TradingAction = TradingAction.NONE) -> None:
        """HALTED from this moment on. Raises what saving raises, after it took effect."""
        with self._swap:
            self._held = self._held.followed_by(TradingState.HALTED, reason, at, action=action)
            self._unsaved = self._save is not None
        self.save_again()

    def reduce(
        self, reason: str, at: datetime, *, action: TradingAction = TradingAction.NONE, from_halted: bool = False
    ) -> None:
        """Only reducing orders from now on; a kill stays a kill, unless it is to be left (`from_halted`).

        Raises what saving raises, after it took effect: a disk that fails must not stand in the way of closing
        positions either. Where it could not be saved, everybody else, and the next start, finds the kill.
        """
        before = self.record
        if before.state is TradingState.HALTED and from_halted:
            try:
                self._loosen(before, TradingState.REDUCING, reason, at, action=action)
            except Exception:
                with self._swap:
                    if self._held.serial == before.serial:
                        self._held = self._held.followed_by(TradingState.REDUCING, reason, at, action=action)
                        self._unsaved = True
                raise
            return
        with self._swap:
            if not (before.state is self._held.state is TradingState.ACTIVE):
                return
            self._held = self._held.followed_by(TradingState.REDUCING, reason, at, action=action)
            self._unsaved = self._save is not None
        self.save_again()

    def resume(self, reason: str, at: datetime) -> bool:
        """ACTIVE again, if it can be saved (else raises) and nobody killed meanwhile (else False)."""
        before = self.record
        return self._loosen(before, TradingState.ACTIVE, reason, at, resumes=before.resumes + 1)

    def done(self, record: TradingRecord) -> None:
        """What `record` asked for besides has been done: nobody shall do it again. Raises what saving raises."""
        with self._saving, self._exclusive():
            now = self.record
            if now.serial != record.serial:
                return
            cleared = replace(now, action=TradingAction.NONE, serial=now.serial + 1)
            if self._save is not None:
                self._save(cleared.to_dict())
            with self._swap:
                if self._held.serial == now.serial:
                    self._held = cleared

    def _loosen(
        self,
        before: TradingRecord,
        state: TradingState,
        reason: str,
        at: datetime,
        *,
        resumes: int | None = None,
        action: TradingAction = TradingAction.NONE,
    ) -> bool:
        with contextlib.ExitStack() as alone:
            alone.enter_context(self._saving)
            if self._save is not None:
                alone.enter_context(self._exclusive())
            now, held = self.record, self._held
            if (now.serial, now.state) != (before.serial, before.state):
                return False
            record = now.followed_by(state, reason, at, action=action)
            if resumes is not None:
                record = replace(record, resumes=resumes)
            if self._save is not None:
                try:
                    self._save(record.to_dict())
                except BaseException:
                    # A save that was given up may still come to pass: what holds must be the last word stored.
                    with contextlib.suppress(Exception):
                        self._save(now.to_dict())
                    raise
            with self._swap:
                # Whoever looked meanwhile may have read the new record already: that is no other word.
                resumed = self._held is held or (self._held == record and self._held.serial == record.serial)
                if resumed:
                    self._held, self._unsaved, self._known = record, False, True
        if not resumed:
            self.save_again()
        return resumed

    def save_again(self) -> None:
        """Store a stop that is not stored yet. Raises what saving raises."""
        if self._save is None:
            return
        with self._saving, contextlib.ExitStack() as alone:
            # A stop waits for nobody who holds the lock too long: two words at once are put in order by their serials.
            with contextlib.suppress(Exception):
                alone.enter_context(self._exclusive())
            with self._swap:
                if not self._unsaved:
                    return
                found = self._stored()
                if found is not None and found.serial >= self._held.serial:
                    self._held = replace(self._held, serial=found.serial + 1, resumes=found.resumes)
                held = self._held
            self._save(held.to_dict())
            with self._swap:
                if self._held is held:
                    self._unsaved, self._known = False, True

    def _stored(self) -> TradingRecord | None:
        try:
            stored = None if self._load is None else self._load()
            return None if stored is None else TradingRecord.from_dict(stored)
        except Exception:  # noqa: BLE001 - what cannot be read is written over by a stop
            return None


def _lost(held: TradingRecord, why: str) -> TradingRecord:
    return replace(held, state=TradingState.HALTED, reason=why, action=TradingAction.NONE, by=0)
