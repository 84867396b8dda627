"""The agents of a run on real sockets, spread over threads: event loops of their own, and blocking callers.

One to three loops share most of them. One in four calls `connector.sync` from a thread of its own, and so does whoever
kills from another process, because the command line takes its time.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from ibkr_connector.config.settings import Settings
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.facade import Facade
from ibkr_connector.sync.runtime import Blocking
from ibkr_connector.trading import shared_control
from proof.agent import Caller, Memory
from proof.history import History
from proof.schedule import Agent, Schedule
from proof.sockets_files import STATE

_AT_ONCE = frozenset({"kill", "resume"})
"""What waits for nothing in the asynchronous connector either."""
_COMMAND_S = 120.0


class BlockingFace:
    """`connector.sync` under the names and awaits of the asynchronous connector: each call blocks its thread."""

    def __init__(self, twin: Any) -> None:
        self._twin = twin

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._twin, name)
        if not callable(found) or name in _AT_ONCE:
            return _faced(found)

        async def call(*args: Any, **named: Any) -> Any:
            return _faced(found(*args, **named))

        return call


def _faced(found: Any) -> Any:
    return BlockingFace(found) if isinstance(found, Blocking) else found


class Agents:
    """All agents of a schedule, at work in one process."""

    def __init__(
        self, folder: Path, schedule: Schedule, connector: IBKRConnector, history: History, memory: Memory
    ) -> None:
        self._folder = folder
        self._schedule = schedule
        self._connector = connector
        self._history = history
        self._memory = memory
        self._rng = random.Random(f"{schedule.seed}:threads")

    def start(self, done: Callable[[], None]) -> None:
        """Let them work; `done` is called, on some thread, when the last one has ended."""
        groups = [(group, False) for group in self._groups()]
        alone = [([agent], True) for agent in self._schedule.agents if agent.name in self._alone]
        threads = [
            threading.Thread(target=self._run, args=work, name=f"agents-{number}", daemon=True)
            for number, work in enumerate([*groups, *alone])
        ]

        def wait() -> None:
            for thread in threads:
                thread.join()
            done()

        for thread in threads:
            thread.start()
        threading.Thread(target=wait, name="agents-done", daemon=True).start()

    def _groups(self) -> list[list[Agent]]:
        agents = self._schedule.agents
        self._alone = {
            agent.name
            for agent in agents
            if self._rng.random() < 0.25 or any(step.do == "kill_elsewhere" for step in agent.steps)
        }
        together = [agent for agent in agents if agent.name not in self._alone]
        count = self._rng.randint(1, 3)
        return [group for group in (together[first::count] for first in range(count)) if group]

    def _run(self, agents: Sequence[Agent], blocking: bool) -> None:
        asyncio.run(self._together(agents, blocking))

    async def _together(self, agents: Sequence[Agent], blocking: bool) -> None:
        face = cast(Facade, BlockingFace(self._connector.sync)) if blocking else self._connector
        await asyncio.gather(
            *(
                Caller(agent, face, self._history, self._memory, self._kill_elsewhere).run(
                    0.0 if agent.name in self._memory.next else agent.start
                )
                for agent in agents
            )
        )

    def _kill_elsewhere(self, reason: str) -> None:
        """`ibkr-connector kill` in a process of its own. TimeoutError when it did not, or trading went on meanwhile."""
        keep = ["--keep-orders"] if self._rng.random() < 0.5 else []
        try:
            ended = command(self._folder, self._connector.settings, "kill", reason, *keep)
            self._history.add("command", words="kill", code=ended.returncode, text=ended.stderr[-300:])
        except subprocess.TimeoutExpired:
            self._history.add("command", words="kill", text=f"took longer than {_COMMAND_S:g} s")
        record = shared_control(self._folder / STATE, self._schedule.account).record
        if record.why_halted == "" or record.reason != reason:
            raise TimeoutError("the kill was not saved, or somebody resumed meanwhile")


def command(folder: Path, settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the real command line beside the connector, on its state directory."""
    home = str(folder)
    named = {"IBKR_STATE_DIR": str(folder / STATE), "HOME": home, "XDG_CONFIG_HOME": home}
    if settings.connection.backend == "web":
        named |= {"IBKR_BACKEND": "web", "IBKR_WEB_URL": settings.web.url}
    else:
        named |= {"IBKR_PORT": str(settings.connection.port)}
    return subprocess.run(
        [sys.executable, "-m", "ibkr_connector.cli", *words, "--json"],
        env={**os.environ, **named},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_COMMAND_S,
        check=False,
    )
