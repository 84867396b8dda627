"""History pacing over restarts: what was asked for lately is kept in a small file, and read back after a connect.

IBKR counts historical requests over ten minutes, and knows nothing of our restarts. One file per client id lies beside
the journal (`<state_dir>/<account>/pacing-<client id>.json`, only its owner can read it); after a connect the files of
all client ids are read, because IBKR counts them together. A file that cannot be read is taken for full windows, as of
the time it was written: for ten minutes no small-bar request goes out, rather than one that breaks the rule.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.errors import TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.resilience import Pacer
from ibkr_connector.resilience.rules import full_history
from ibkr_connector.statefile import StateFile
from ibkr_connector.store import account_dir

_log = get_logger(__name__)
_PATIENCE_S = 2.0
"""How long a history request waits for a slow disk."""
_PATTERN = "pacing-*.json"
Found = list[tuple[Mapping[str, Any] | None, float]]
"""What a file says (None: it cannot be understood), and how many seconds ago it was written."""


class PacingFiles:
    """The files of one account. `load` and `save` block: they are called on a worker thread."""

    def __init__(self, state_dir: str | os.PathLike[str], account: str, client_id: int, clock: Clock) -> None:
        self._state_dir = Path(state_dir).expanduser()
        self._account = account
        self._name = f"pacing-{client_id}.json"
        self._clock = clock

    def load(self) -> Found:
        """What all files of the account say."""
        found: Found = []
        for path in sorted((self._state_dir / self._account).glob(_PATTERN)):
            try:
                said = StateFile(path).read()
            except TradingError as error:
                _log.warning("pacing windows cannot be read; they count as full", error=error.message)
                found.append((None, self._age(path)))
                continue
            if said is not None:
                found.append((said, self._age(path)))
        return found

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace our own file; folders are made now, because who only reads leaves none. Raises: JournalUnwritable."""
        StateFile(account_dir(self._state_dir, self._account) / self._name).write(state)

    def _age(self, path: Path) -> float:
        try:
            written = path.stat().st_mtime
        except OSError:
            return 0.0
        return max(self._clock.now().timestamp() - written, 0.0)


class KeptWindows:
    """The pacer's history windows, kept in files. Used on the session loop; files are read and written by workers.

    `problem` is told once of what goes wrong, and again after it went right in between: history goes on without files.
    """

    def __init__(self, files: PacingFiles, clock: Clock, problem: Callable[[str], None]) -> None:
        self._files = files
        self._clock = clock
        self._problem = problem
        self._failing = False
        self._saving = asyncio.Lock()
        self._asked = 0
        self._saved = 0

    async def take_over(self, pacer: Pacer) -> None:
        """Put what the files say into the pacer's windows."""
        found = await asyncio.get_running_loop().run_in_executor(None, self._files.load)
        for problem in take_over(pacer, found, self._clock):
            self._tell(f"{problem}; they count as full")

    async def keep(self, pacer: Pacer, timeout: float) -> None:
        """Save the windows with all that is held now, before it is written; at most `timeout` seconds."""
        self._asked += 1
        try:
            await self._clock.wait_for(self._save(pacer, self._asked), min(timeout, _PATIENCE_S))
        except TimeoutError:
            self._tell(f"the history pacing windows could not be saved in {_PATIENCE_S:g} s")
        except TradingError as error:
            self._tell(f"the history pacing windows cannot be saved: {error.message}")
        else:
            self._failing = False

    async def _save(self, pacer: Pacer, mark: int) -> None:
        async with self._saving:
            if self._saved >= mark:  # somebody's save that began later had ours in it
                return
            mark = self._asked
            state = pacer.export(self._clock.monotonic(), self._clock.now())
            await asyncio.get_running_loop().run_in_executor(None, self._files.save, state)
            self._saved = mark

    def _tell(self, text: str) -> None:
        _log.warning("history pacing", problem=text)
        if not self._failing:
            self._failing = True
            self._problem(text)


def take_over(pacer: Pacer, found: Found, clock: Clock) -> list[str]:
    """Put what `PacingFiles.load` found into the pacer's windows; returns why some of it counts as full windows."""
    now, wall, problems = clock.monotonic(), clock.now(), []
    for said, age in found:
        try:
            if said is None:
                raise ValueError("the file cannot be understood")
            pacer.restore(said, now, wall)
        except ValueError as error:
            problems.append(str(error))
            pacer.note(now - age, full_history())
    return problems
