"""The paper gateway as a process of its own, and its truth log as it is written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from ibkr_connector.clock import system_clock
from ibkr_connector.errors import InvalidRequest, TradingError

# `python -m ibkr_connector.paper`, that also stops when the pipe to its stdin closes: however the demo ends, even by
# kill -9, it leaves no process behind.
_PROGRAM = """
import os, signal, sys, threading
from ibkr_connector.paper.main import main

def stop_with_parent():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=stop_with_parent, daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""
_REFUSED = 2
"""The gateway's exit code for an option that makes no sense."""
_READY_S = 60.0
_STOP_S = 10.0


class GatewayFailed(TradingError):
    """The paper gateway did not start. Its own words are in the message."""

    default_remedy = "Correct the option its message names; `ibkr-connector paper --help` lists them."


@dataclass(slots=True)
class GatewayProcess:
    """A gateway that accepts connections."""

    process: asyncio.subprocess.Process
    port: int
    market_time: datetime
    truth: TruthFile
    web_url: str = ""
    """Base address of its Web front; empty: it has none."""
    exit_code: int | None = None
    """Set when it has ended."""

    async def stop(self) -> int:
        """Ask it to stop, wait, and give its exit code; a gateway that does not stop is killed. Idempotent."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                self.exit_code = await system_clock.wait_for(self.process.wait(), _STOP_S)
            except TimeoutError:
                self.process.kill()
                self.exit_code = await self.process.wait()
        return self.exit_code


@contextlib.asynccontextmanager
async def gateway_process(options: list[str], truth: Path) -> AsyncIterator[GatewayProcess]:
    """Start `ibkr-connector paper` with these options on any free port; it has ended when the block is left.

    Raises: InvalidRequest for options it refuses, GatewayFailed otherwise.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", _PROGRAM, "--tws-port", "0", "--truth", str(truth), *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    errors = asyncio.create_task(_read_all(process.stderr))
    gateway: GatewayProcess | None = None
    try:
        ready = await _ready(process, errors)
        gateway = GatewayProcess(
            process,
            int(ready["tws_port"]),
            datetime.fromisoformat(ready["market_time"]),
            TruthFile(truth),
            web_url=str(ready.get("web_url", "")),
        )
        yield gateway
    finally:
        if gateway is not None:
            await gateway.stop()
        elif process.returncode is None:
            process.kill()
            await process.wait()
        await errors


async def _ready(process: asyncio.subprocess.Process, errors: asyncio.Task[str]) -> dict[str, Any]:
    line = b""
    if process.stdout is not None:
        with contextlib.suppress(TimeoutError):
            line = await system_clock.wait_for(process.stdout.readline(), _READY_S)
    try:
        ready = json.loads(line)
        if ready["event"] == "ready":
            return dict(ready)
    except (ValueError, KeyError, TypeError):
        pass
    await _ended(process)
    said = (await errors).strip().removeprefix("ibkr-connector paper: ")
    last = said.splitlines()[-1] if said else "it said nothing"
    message = f"the paper gateway did not start: {last.rstrip('.')}."
    if process.returncode == _REFUSED:
        raise InvalidRequest(message, remedy=GatewayFailed.default_remedy)
    raise GatewayFailed(message)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """A process that said nothing more has ended or is about to; one that goes on is killed."""
    try:
        await system_clock.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _read_all(stream: asyncio.StreamReader | None) -> str:
    return (await stream.read()).decode("utf-8", "replace") if stream is not None else ""


class TruthFile:
    """The gateway's truth log, read from its file: what it really received and did."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, after: int = 0) -> list[dict[str, Any]]:
        """The entries with `seq > after`, oldest first; an entry being written is left for the next time."""
        text = self.path.read_text("utf-8") if self.path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        entries = [json.loads(line) for line in whole.splitlines()]
        return [entry for entry in entries if entry["seq"] > after]


def decimal(entry: dict[str, Any], name: str) -> Decimal:
    """An amount of an entry; 0 where there is none."""
    return Decimal(str(entry.get(name) or 0))
