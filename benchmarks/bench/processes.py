"""Child processes that are asked with one line of JSON and answer with one line of JSON.

    {"do": "orders", "args": {"count": 50}}   ->   {"ok": true, "value": ...} or {"ok": false, "error": "..."}

The first line a child writes is {"ok": true, "value": ...} once it is ready. It ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent.parent
Handler = Callable[[str, dict[str, Any]], Awaitable[Any]]
_ANSWER_S = 60.0
_END_S = 10.0


class ChildError(Exception):
    """A child refused, broke, or did not answer."""


class Child:
    """A process of the benchmark, seen from the harness."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._errors: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            cwd=HERE,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.greeting = self._answer()

    def ask(self, command: str, *, within: float = _ANSWER_S, **args: Any) -> Any:
        """Give a command and wait for its value, at most `within` seconds. Raises `ChildError`."""
        self._tell(command, **args)
        return self._answer(within)

    def _tell(self, command: str, **args: Any) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": command, "args": args}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ChildError(f"{self.name} has ended: {self._tail()}") from error

    def _answer(self, within: float = _ANSWER_S) -> Any:
        try:
            line = self._lines.get(timeout=within)
        except queue.Empty:
            raise ChildError(f"{self.name} did not answer in {within:g} s: {self._tail()}") from None
        if not line:
            raise ChildError(f"{self.name} has ended: {self._tail()}")
        answer = json.loads(line)
        if not answer["ok"]:
            raise ChildError(f"{self.name}: {answer['error']}")
        return answer["value"]

    def close(self) -> None:
        """End the process: its input ends; after ten seconds it is killed."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _tail(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._errors.seek(0)
        return self._errors.read().strip()[-2_000:] or "it said nothing"


def clean_environment() -> dict[str, str]:
    """The environment without settings of a connector or of ibind: a benchmark measures defaults and what it sets."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("IBKR_", "IBIND_"))}


async def serve(ready: Any, handle: Handler) -> None:
    """The child's side: answer commands until standard input ends."""
    loop = asyncio.get_running_loop()
    _write({"ok": True, "value": ready})
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        asked = json.loads(line)
        try:
            _write({"ok": True, "value": await handle(asked["do"], asked["args"])})
        except Exception as error:  # noqa: BLE001 - told to the harness, which gives up
            traceback.print_exc()
            _write({"ok": False, "error": f"{asked['do']}: {type(error).__name__}: {error}"})


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
