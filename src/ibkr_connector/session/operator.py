"""An operator's word on the breakers: what was opened by hand stays open, over restarts and in every program.

One file for all gateways of the machine, `<state_dir>/breakers.json`; every connector reads it before each try (some 20
microseconds, no lock), so that `ibkr-connector breaker open` in one process holds in another at once. A file that
cannot be read holds the orders back and nothing else: getting out, and looking, must stay possible.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import JournalError
from ibkr_connector.resilience import Breaker, BreakerState
from ibkr_connector.statefile import StateFile
from ibkr_connector.store import translate

FILE_NAME = "breakers.json"
PLANES = ("connect", "orders", "reads")
_VERSION = 1


class OperatorWord:
    """What operators said of the breakers of one gateway (`host:port`). Any thread."""

    def __init__(self, state_dir: str | os.PathLike[str], where: str, clock: Clock) -> None:
        self._file = StateFile(Path(state_dir).expanduser() / FILE_NAME)
        self._where = where
        self._clock = clock

    def heed(self, breakers: Iterable[Breaker]) -> None:
        """Make the breakers what the file says: forced open, or no longer."""
        now = self._clock.monotonic()
        try:
            said: Mapping[str, Any] = self._gateways().get(self._where, {})
            unreadable = ""
        except JournalError as error:
            said, unreadable = {}, f"{error.message}; repair or remove it"
        for breaker in breakers:
            forced = breaker.state is BreakerState.FORCED_OPEN
            if unreadable:
                if breaker.name == "orders" and not forced:
                    breaker.force_open(now, unreadable)
                continue
            try:
                if breaker.name in said and not forced:
                    breaker.restore(said[breaker.name], now)
                elif forced and breaker.name not in said:
                    breaker.reset(now)
            except (ValueError, AttributeError) as error:
                breaker.force_open(now, str(error))

    def force_open(self, plane: str, reason: str) -> None:
        """Write it down; it holds from then on, everywhere. Raises: JournalUnwritable, JournalError."""
        breaker = Breaker(plane, rng=Random(0))  # noqa: S311 - for its stored form alone
        breaker.force_open(0.0, reason)
        self._change(plane, breaker.export(self._clock.now()))

    def reset(self, plane: str) -> bool:
        """Take it back; whether there was anything. Raises: JournalUnwritable, JournalError."""
        return plane in self.forced() and self._change(plane, None)

    def forced(self) -> dict[str, str]:
        """The planes that are held open by hand, and why. Raises: JournalError when it cannot be read."""
        return {plane: str(state.get("reason", "")) for plane, state in self._gateways().get(self._where, {}).items()}

    def _change(self, plane: str, state: Mapping[str, Any] | None) -> bool:
        try:
            self._file.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise translate(error, self._file.path) from error
        with self._file.exclusive():
            gateways = {where: dict(planes) for where, planes in self._gateways().items()}
            mine = gateways.setdefault(self._where, {})
            if state is None:
                mine.pop(plane, None)
            else:
                mine[plane] = state
            if not mine:
                del gateways[self._where]
            self._file.write({"version": _VERSION, "gateways": gateways})
        return True

    def _gateways(self) -> Mapping[str, Mapping[str, Any]]:
        said = self._file.read()
        if said is None:
            return {}
        found: Any = said.get("gateways")
        if said.get("version") == _VERSION and isinstance(found, dict):
            gateways: dict[str, Mapping[str, Any]] = found
            if all(isinstance(one, dict) for one in gateways.values()):
                return gateways
        raise JournalError(f"{self._file.path} cannot be understood", path=str(self._file.path))
