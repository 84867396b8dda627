"""Starting the gateway again: a command of the operator's, after repeated trouble, at most once in a while.

Off unless `[gateway] restart_command` says how. Trouble is a number of failed connection attempts in a row, or a data
farm that has been broken for long. The last run is written down before the command is begun, for all programs of the
machine that use this gateway, so that neither a crash nor a second program runs it twice.

The command is a program with arguments, run without a shell, with nothing on its standard input and none of our own
variables (secrets are among them) in its environment. It has a time limit; what it wrote is logged, redacted and cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ibkr_connector.clock import Clock
from ibkr_connector.config.gateway import GatewaySettings
from ibkr_connector.errors import (
    CircuitOpen,
    ClientIdInUse,
    IBKRConnectionError,
    LiveTradingRefused,
    RequestTimeout,
    TradingError,
    UnsupportedServerVersion,
)
from ibkr_connector.events import Severity
from ibkr_connector.logs import get_logger, redact
from ibkr_connector.session.link import LinkNews
from ibkr_connector.statefile import StateFile
from ibkr_connector.store import translate

_log = get_logger(__name__)
_OURS = ("IBKR_", "IBIND_OAUTH1A_", "VAULT_TOKEN")
_KEEP_BYTES = 4_096
"""How much of the command's output is kept: its end."""
_LAST_WORDS_S = 1.0
"""How long the end of a killed command is waited for."""
_FILE = "gateway-restarts.json"
_NOT_ITS_FAULT = (CircuitOpen, ClientIdInUse, LiveTradingRefused, UnsupportedServerVersion)
"""Errors that no restart mends: the gateway itself is well."""
Tell = Callable[[str, str, Severity], None]
"""kind, text, severity."""


@dataclass(slots=True)
class Trouble:
    """What speaks for a restart. Pure; `now` is monotonic seconds."""

    after: int
    farms_after: float | None = None
    failures: int = 0
    broken: dict[str, float] = field(default_factory=dict)
    """Since when each broken farm has been."""

    def failed(self, error: BaseException) -> None:
        """An attempt failed."""
        if isinstance(error, IBKRConnectionError | RequestTimeout) and not isinstance(error, _NOT_ITS_FAULT):
            self.failures += 1

    def went_well(self) -> None:
        """There is a synchronised connection. Farms are told of anew on each."""
        self.failures = 0

    def new_connection(self) -> None:
        """Nothing is known of farms."""
        self.broken.clear()

    def heard(self, news: LinkNews, now: float) -> None:
        """A farm broke, or is back."""
        if news.what == "broker":
            return
        if news.up:
            self.broken.pop(news.what, None)
        else:
            self.broken.setdefault(news.what, now)

    def why(self, now: float) -> str:
        """Why a restart is due; empty: it is not."""
        if self.failures >= self.after:
            return f"{self.failures} connection attempts failed in a row"
        if self.farms_after is not None:
            for farm, since in self.broken.items():
                if now - since >= self.farms_after:
                    return f"data farm {farm} has been broken for {now - since:.0f} s"
        return ""


class GatewayRestart:
    """Runs the command when it is due. Used on the session loop."""

    def __init__(
        self, settings: GatewaySettings, *, where: str, state_dir: str | os.PathLike[str], clock: Clock, tell: Tell
    ) -> None:
        self._settings = settings
        self._argv = settings.restart_argv
        self._where = where
        self._file = StateFile(Path(state_dir).expanduser() / _FILE)
        self._clock = clock
        self._tell = tell
        self._refused_until = 0.0
        self.trouble = Trouble(settings.restart_after, settings.restart_farms_after)

    @property
    def configured(self) -> bool:
        """Whether there is a command."""
        return bool(self._argv)

    async def run_if_due(self) -> bool:
        """Run the command if there was trouble enough, and wait a while; whether it was run (well or badly)."""
        now = self._clock.monotonic()
        why = self.trouble.why(now) if self._argv else ""
        if not why or now < self._refused_until:
            return False
        try:
            wait = await asyncio.get_running_loop().run_in_executor(None, self._claim)
        except TradingError as error:
            # Whoever cannot write down that it was run would run it again and again.
            self._refused_until = now + self._settings.restart_period
            self._tell("gateway_restart_failed", f"not run, {error.message}", Severity.CRITICAL)
            return False
        if wait > 0:
            self._refused_until = now + wait
            _log.warning("the gateway was restarted lately; not again yet", seconds=round(wait), why=why)
            return False
        self.trouble.went_well()
        self.trouble.new_connection()
        await self._run(why)
        await self._clock.sleep(self._settings.restart_wait)
        return True

    def _claim(self) -> float:
        """Write down that it is run now, and return 0; or the seconds until it may be. Blocks."""
        period = self._settings.restart_period
        try:
            self._file.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise translate(error, self._file.path) from error
        with self._file.exclusive():
            now = self._clock.now()  # not before: what another wrote while we waited must not lie in our future
            said = self._file.read() or {}
            last = said.get("last") if said.get("version", 1) == 1 else None
            runs: dict[str, Any] = dict(last) if isinstance(last, dict) else {}
            if (last is None and said) or not all(_is_stamp(stamp) for stamp in runs.values()):
                # Not ours, or of the future: nobody knows when it was run last.
                raise TradingError(f"{self._file.path} cannot be understood; remove it when the gateway is well.")
            if self._where in runs:
                left = datetime.fromisoformat(runs[self._where]) + timedelta(seconds=period) - now
                if timedelta() < left <= timedelta(seconds=period):
                    return left.total_seconds()
            self._file.write({"version": 1, "last": {**runs, self._where: now.isoformat()}})
        return 0.0

    async def _run(self, why: str) -> None:
        program, timeout = self._argv[0], self._settings.restart_timeout
        _log.warning("restarting the gateway", why=why, program=program)
        try:
            code, output = await self._command(timeout)
        except (OSError, ValueError) as error:
            self._tell("gateway_restart_failed", f"{why}; {program} cannot be run: {error}", Severity.CRITICAL)
            return
        _log.warning("the restart command has ended", exit_code=code, output=output)
        if code is None:
            self._tell("gateway_restart_failed", f"{why}; {program} was ended after {timeout:g} s", Severity.CRITICAL)
        elif code:
            self._tell("gateway_restart_failed", f"{why}; {program} ended with exit code {code}", Severity.CRITICAL)
        else:
            self._tell("gateway_restarted", f"{why}; {program} ended with exit code 0", Severity.WARNING)

    async def _command(self, timeout: float) -> tuple[int | None, str]:
        """Exit code (None: cut off) and the end of what was written."""
        # A file, not a pipe: what the command has left running may hold its output open for ever.
        with tempfile.TemporaryFile() as written:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=written,
                stderr=asyncio.subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
                start_new_session=True,
            )
            code: int | None = None
            try:
                with contextlib.suppress(TimeoutError):
                    code = await self._clock.wait_for(process.wait(), timeout)
            finally:
                if code is None:
                    _end(process)
                    with contextlib.suppress(TimeoutError):
                        await self._clock.wait_for(process.wait(), _LAST_WORDS_S)
            size = written.seek(0, os.SEEK_END)
            written.seek(max(size - _KEEP_BYTES, 0))
            return code, redact(written.read(_KEEP_BYTES).decode("utf-8", "replace").strip())


def _is_stamp(stamp: object) -> bool:
    try:
        return isinstance(stamp, str) and datetime.fromisoformat(stamp).tzinfo is not None
    except ValueError:
        return False


def _end(process: asyncio.subprocess.Process) -> None:
    """End the command and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
