"""The gateway as a program of its own: one line when ready, commands over the control port, a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from .raw import RawClient

pytestmark = pytest.mark.protocol

SECONDS = 30.0


@contextlib.asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The program running, and its first line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ibkr_connector.paper",
        "--tws-port",
        "0",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), SECONDS)
        yield process, json.loads(line)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ending(process: asyncio.subprocess.Process) -> tuple[int, bytes, bytes]:
    """Exit code and what was still written."""
    out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode is not None
    return process.returncode, out, err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_one_ready_line_and_a_clean_stop_on_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    async with program("--truth", str(truth), "--account", "DU7", "--seed", "3") as (process, ready):
        assert (ready["event"], ready["accounts"]) == ("ready", ["DU7"])
        async with await RawClient.connect(ready["tws_port"], 4) as client:
            client.send("17", "1")
            assert await client.receive() == ["15", "1", "DU7"]
            process.send_signal(number)
            assert await client.closed() == []
        assert await ending(process) == (0, b"", b"")
    kinds = [json.loads(line)["kind"] for line in truth.read_text().splitlines()]
    assert kinds == ["connect", "disconnect"]


async def test_a_port_that_is_taken_is_explained_and_exits_with_1() -> None:
    async with program() as (_, ready):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ibkr_connector.paper",
            "--tws-port",
            str(ready["tws_port"]),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        code, out, err = await ending(process)
        assert (code, out) == (1, b"")
        assert b"choose --tws-port 0" in err


async def test_the_control_port_takes_commands_and_stops_the_program() -> None:
    async with program("--control-port", "0") as (process, ready):
        async with await RawClient.connect(ready["tws_port"], 4) as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", ready["control_port"])

            async def ask(request: object) -> dict[str, Any]:
                text = request if isinstance(request, bytes) else json.dumps(request).encode()
                writer.write(text + b"\n")
                answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), SECONDS))
                return answer

            status = await ask({"command": "status"})
            assert (status["ok"], status["clients"], status["tws_port"]) == (True, [4], ready["tws_port"])
            assert status["server_versions"] == [157, 176, 178]
            later = await ask({"command": "advance", "seconds": 3600})
            assert later["market_time"] > status["market_time"]
            assert (await ask({"command": "jump", "to": "2000-01-01T00:00:00Z"}))["ok"] is False
            assert (await ask({"command": "jump", "to": "2000-01-01T00:00:00"}))["error"].endswith("Z or -05:00")
            told = await ask({"command": "inject_error", "code": 2103, "text": "broken:usfarm", "client_id": 4})
            assert told == {"ok": True, "clients": 1}
            assert (await client.receive())[2:5] == ["-1", "2103", "broken:usfarm"]
            for bad in (
                b"not json",
                b"[]",
                {"command": "dance"},
                {"command": "advance", "seconds": "x"},
                {"command": "advance", "seconds": 1e12},
                {"command": "jump"},
                {"command": "jump", "to": "soon"},
                {"command": "inject_error", "code": "x"},
                {"command": "inject_error", "code": 1, "text": 5},
                {"command": "drop", "client_id": "x"},
            ):
                answer = await ask(bad)
                assert answer["ok"] is False, bad
                assert answer["error"]
            assert await ask({"command": "drop", "client_id": 4}) == {"ok": True, "clients": 1}
            assert await client.closed() == []
            assert (await ask({"command": "shutdown"}))["ok"] is True
            writer.close()
        assert (await ending(process))[0] == 0


async def test_a_control_connection_that_floods_is_dropped() -> None:
    async with program("--control-port", "0") as (_, ready):
        reader, writer = await asyncio.open_connection("127.0.0.1", ready["control_port"])
        writer.write(b"x" * 200_000)
        with contextlib.suppress(ConnectionResetError):  # how it is told depends on what it had sent
            assert await asyncio.wait_for(reader.read(), SECONDS) == b""
        writer.close()
        again, writer = await asyncio.open_connection("127.0.0.1", ready["control_port"])
        writer.write(b'{"command": "status"}\n')
        assert json.loads(await asyncio.wait_for(again.readline(), SECONDS))["ok"] is True
        writer.close()
