"""The health checks of the containers: they tell a gateway that serves from one that merely listens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import struct
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ibkr_connector.testing import HostedGateway

CHECKS = Path(__file__).resolve().parents[3] / "deploy" / "checks"
SECONDS = 30.0

needs_bash = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("bash"), reason="it runs inside Linux containers"
)


async def run(*command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()
    return process.returncode, (out + err).decode()


async def tws_api(port: int, seconds: float = 5) -> tuple[int | None, str]:
    return await run("bash", str(CHECKS / "tws_api.sh"), str(port), str(seconds))


@contextlib.asynccontextmanager
async def serving(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server that does as told with each connection, and closes it: its port."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def frame(*fields: str) -> bytes:
    payload = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


# --- TWS --------------------------------------------------------------------------------------------------------------


@needs_bash
async def test_a_gateway_that_lets_clients_in_is_healthy() -> None:
    with HostedGateway(seed=7) as gateway:
        assert await tws_api(gateway.tws_port) == (
            0,
            f"the API answers on port {gateway.tws_port}, server version 157\n",
        )


@needs_bash
async def test_a_port_that_accepts_and_says_nothing_is_not_healthy() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as port:
        assert (await tws_api(port, 0.5))[0] == 124  # ended by its time limit


@needs_bash
async def test_a_gateway_that_answers_the_handshake_and_drops_the_client_is_not_healthy() -> None:
    async def dropping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"157")
        writer.write(frame("176", "20261120 10:00:00 EST"))
        await reader.read(10)

    async with serving(dropping) as port:
        assert (await tws_api(port))[0] == 1


@needs_bash
async def test_a_login_screen_without_accounts_is_not_healthy() -> None:
    async def without(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"157")
        writer.write(frame("176", "20261120 10:00:00 EST") + frame("9", "1", "1"))
        writer.write(frame("4", "2", "-1", "2110", "Connectivity between TWS and server is broken") * 50)
        await writer.drain()
        await reader.read()

    async with serving(without) as port:
        code, said = await tws_api(port)
    assert (code, said) == (1, f"the API on port {port} told no account\n")


@needs_bash
async def test_something_else_on_the_port_is_not_healthy() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"157")
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with serving(web) as port:
        code, said = await tws_api(port)
    assert code == 1
    assert "not the TWS API" in said


@needs_bash
async def test_nobody_on_the_port_is_not_healthy() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert (await tws_api(reserved.getsockname()[1]))[0] == 1


# --- Web --------------------------------------------------------------------------------------------------------------

AUTHENTICATED = {"authenticated": True, "connected": True, "competing": False}


async def web_api(status: int, body: bytes) -> tuple[int | None, str, bytes]:
    """The check against a server with that one answer: exit code, what it said, what it asked."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    async with serving(answer) as port:
        code, said = await run(sys.executable, str(CHECKS / "web_api.py"), f"http://127.0.0.1:{port}/v1/api/", "5")
    return code, said, asked[0]


async def test_an_authenticated_session_is_healthy_and_is_what_was_asked_for() -> None:
    code, said, asked = await web_api(200, json.dumps(AUTHENTICATED).encode())
    assert (code, said) == (0, "authenticated=yes, connected=yes, competing=no\n")
    assert asked.startswith(b"POST /v1/api/iserver/auth/status HTTP/1.1\r\n")
    assert b"User-Agent: Python" not in asked


@pytest.mark.parametrize(
    "changed", [{"authenticated": False}, {"connected": False}, {"competing": True}, {"authenticated": "yes"}]
)
async def test_a_session_that_cannot_be_used_is_not_healthy(changed: dict[str, object]) -> None:
    assert (await web_api(200, json.dumps({**AUTHENTICATED, **changed}).encode()))[0] == 1


@pytest.mark.parametrize(("status", "body"), [(401, b""), (200, b"<html>login</html>"), (200, b"[]"), (503, b"{}")])
async def test_a_gateway_without_a_login_is_not_healthy(status: int, body: bytes) -> None:
    code, said, _ = await web_api(status, body)
    assert code == 1
    assert "Traceback" not in said


async def test_the_paper_gateway_s_web_front_is_healthy_until_it_is_logged_out() -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="needs the extra paper-web")
    pytest.importorskip("cryptography", reason="needs the extra paper-web")
    command = [sys.executable, "-m", "ibkr_connector.paper", "--tws-port", "0", "--web-port", "0", "--tls"]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            url = json.loads(await process.stdout.readline())["web_url"]
        check = (sys.executable, str(CHECKS / "web_api.py"), url, "10")
        assert (await run(*check))[0] == 0
        async with aiohttp.ClientSession() as session, session.post(f"{url}logout", ssl=False) as answer:
            assert answer.status == 200
        assert (await run(*check))[0] == 1
    finally:
        process.terminate()
        async with asyncio.timeout(SECONDS):
            await process.communicate()
