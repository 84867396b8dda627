"""When endpoints with slow limits were asked last, by whatever program of this machine: kept in a file they share.

IBKR allows some requests once in five seconds or in fifteen minutes, and counts them per user name: a second program,
or a command right after another one, would be answered 429 and might be put into the penalty box. One small file per
gateway, `<state_dir>/web-pacing-<host>-<port>.json`; it is read before each such request and written after it. Two
programs that look within the same milliseconds may still both ask. Without a file that can be used nothing is shared.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.resilience import Pacer
from ibkr_connector.resilience.rules import Charge, Work
from ibkr_connector.resilience.web_rules import slow_rule
from ibkr_connector.statefile import StateFile

_log = get_logger(__name__)
_PATIENCE_S = 0.5
"""How long a request waits for a slow disk."""
_VERSION = 1
_SAME_S = 0.001
_ODD = re.compile(r"[^A-Za-z0-9.-]")


class SharedWindows:
    """The slow windows of one gateway. Used on the session loop; the file is read and written by workers."""

    def __init__(self, state_dir: str | os.PathLike[str], where: str, clock: Clock) -> None:
        self._file = StateFile(Path(state_dir).expanduser() / f"web-pacing-{_ODD.sub('-', where)}.json")
        self._clock = clock
        self._known: dict[str, float] = {}
        """Rule -> the newest request that the pacer has counted, in seconds since 1970."""
        self._saving: set[asyncio.Future[None]] = set()

    async def heed(self, core: Pacer, work: Work) -> None:
        """Count what others have asked since, before leave for `work` is asked for."""
        rule = slow_rule(work)
        if rule is None:
            return
        name, window = rule
        try:
            said = await self._clock.wait_for(asyncio.get_running_loop().run_in_executor(None, self._load), _PATIENCE_S)
        except (TimeoutError, TradingError) as error:
            _log.warning("what other programs asked is not known", error=str(error))
            return
        at, now = said.get(name, 0.0), self._clock.now().timestamp()
        if at > self._known.get(name, 0.0) + _SAME_S and -window < now - at < window:
            self._known[name] = at
            core.note(self._clock.monotonic() - max(now - at, 0.0), Work(work.lane, (Charge(name),)))

    def sent(self, work: Work) -> None:
        """It is being written now."""
        rule = slow_rule(work)
        if rule is None:
            return
        self._known[rule[0]] = self._clock.now().timestamp()
        saving = asyncio.get_running_loop().run_in_executor(None, self._save, dict(self._known))
        self._saving.add(saving)
        saving.add_done_callback(self._saving.discard)

    def _load(self) -> dict[str, float]:
        return _times(self._file.read() or {})

    def _save(self, known: Mapping[str, float]) -> None:
        try:
            self._file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                before = self._load()
            except TradingError:
                before = {}
            merged = {name: max(before.get(name, 0.0), known.get(name, 0.0)) for name in {*before, *known}}
            self._file.write({"version": _VERSION, "asked": merged})
        except (OSError, TradingError) as error:
            _log.warning("other programs will not know what was asked", error=str(error))


def _times(said: Mapping[str, Any]) -> dict[str, float]:
    """What a file says; nothing where it is of another kind."""
    asked = said.get("asked") if said.get("version") == _VERSION else None
    if not isinstance(asked, dict):
        return {}
    return {name: float(at) for name, at in asked.items() if isinstance(at, int | float) and 0 < at < 1e11}
