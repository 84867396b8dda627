"""The program of the image: it waits for a gateway, tells when it is ready, and ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ibkr_connector.testing import HostedGateway

for _extra in ("aiohttp", "prometheus_client"):
    pytest.importorskip(_extra, reason="the image has the extra metrics")
if sys.platform == "win32":
    pytest.skip("it runs inside Linux containers", allow_module_level=True)

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
SECONDS = 45.0


def free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def program(folder: Path, **variables: object) -> AsyncIterator[tuple[Process, dict[str, str]]]:
    named = {"IBKR_STATE_DIR": folder / "state", "IBKR_WATCH_HTTP_PORT": free_port(), "HOME": folder, **variables}
    environment = {**os.environ, **{name: str(value) for name, value in named.items()}, "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(DEPLOY / "app" / "main.py"), env=environment, cwd=folder, stdout=PIPE, stderr=STDOUT
    )
    try:
        yield process, environment
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process, beginning: str) -> str:
    """The next line that begins so; fails when the program ends before."""
    assert process.stdout is not None
    seen = []
    async with asyncio.timeout(SECONDS):
        while text := (await process.stdout.readline()).decode():
            seen.append(text)
            if text.startswith(beginning):
                return text
    pytest.fail("it ended: " + "".join(seen))


async def ready(environment: dict[str, str]) -> tuple[int | None, str]:
    check = str(DEPLOY / "checks" / "connector_ready.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, check, "5", env=environment, stdout=PIPE, stderr=STDOUT
    )
    async with asyncio.timeout(SECONDS):
        out, _ = await process.communicate()
    return process.returncode, out.decode()


async def ended(process: Process) -> int:
    process.send_signal(signal.SIGTERM)
    await line(process, "ended")
    async with asyncio.timeout(SECONDS):
        return await process.wait()


async def test_it_is_healthy_while_connected_and_ends_when_docker_says_so(tmp_path: Path) -> None:
    with HostedGateway(seed=7) as gateway:
        async with program(tmp_path, IBKR_PORT=gateway.tws_port) as (process, environment):
            assert await line(process, "ready") == "ready: account DU1234567\n"
            assert await ready(environment) == (0, "ready\n")
            assert await ended(process) == 0
            assert (await ready(environment))[0] == 1


async def test_it_waits_for_a_gateway_that_is_not_there_and_says_why(tmp_path: Path) -> None:
    attempts = {"IBKR_CONNECT_ATTEMPTS": "1, 1, 1", "IBKR_CONNECT_DELAYS": "0.1, 0.1, 0.1"}
    async with program(tmp_path, IBKR_PORT=free_port(), **attempts) as (process, environment):
        assert "nobody listens" in await line(process, "waiting")
        code, why = await ready(environment)
        assert code == 1
        assert why.startswith("HTTP 503: ")
        assert "disconnected" in why
        assert await ended(process) == 0


async def test_it_ends_at_once_for_what_no_waiting_mends(tmp_path: Path) -> None:
    with HostedGateway(seed=7) as gateway:
        async with program(tmp_path, IBKR_PORT=gateway.tws_port, IBKR_ACCOUNT_ID="DU7777777") as (process, _):
            async with asyncio.timeout(SECONDS):
                out, _ = await process.communicate()
            assert process.returncode == 1
            assert b"DU7777777" in out
            assert b"Traceback" not in out
