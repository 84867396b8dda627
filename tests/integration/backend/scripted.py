"""A scripted TWS: it answers exactly what a test tells it to, also what no honest gateway would.

Honest behaviour is the paper gateway's business. This one is for missing and late end markers, garbage, half frames,
early closes and refusals.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

Fields = list[str]
Script = Callable[["Peer"], Awaitable[None]]
Handler = Callable[["Peer", Fields], Awaitable[None]]
ACCOUNT = "DU1234567"


def frame(*fields: object) -> bytes:
    """One message as on the wire."""
    body = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


class Peer:
    """One connected client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received: list[Fields] = []
        self.raw = b""

    async def send(self, *fields: object) -> None:
        """Write one message."""
        self.writer.write(frame(*fields))
        await self.writer.drain()

    async def send_bytes(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def next(self) -> Fields:
        """The next message of the client."""
        head = await self.reader.readexactly(4)
        body = await self.reader.readexactly(struct.unpack(">I", head)[0])
        self.raw += head + body
        fields = body.decode().split("\0")[:-1]
        self.received.append(fields)
        return fields

    async def greet(self, version: int = 176, *, next_id: int = 1, accounts: str = ACCOUNT) -> None:
        """The whole handshake."""
        assert await self.reader.readexactly(4) == b"API\0"
        size = struct.unpack(">I", await self.reader.readexactly(4))[0]
        await self.reader.readexactly(size)
        await self.send(version, "20260405 23:49:26 Greenwich Mean Time")
        start = await self.next()
        assert start[0] == "71", start
        await self.send_bytes(frame(15, 1, accounts) + frame(9, 1, next_id) + frame(4, 2, -1, 2104, "OK:usfarm", ""))

    def close(self) -> None:
        """Hang up."""
        self.writer.close()

    def abort(self) -> None:
        """Hang up with a reset."""
        self.writer.transport.abort()


class ScriptedTws:
    """`async with ScriptedTws(script)`: `script(peer)` runs for every connection; the peer is closed after it."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers: list[Peer] = []
        self.port = 0
        self.accepted = asyncio.Event()
        self.failure: BaseException | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for peer in self.peers:
            peer.close()
            with contextlib.suppress(OSError):
                await peer.writer.wait_closed()
        await self._server.wait_closed()
        if self.failure is not None and error is None:
            raise self.failure

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self.accepted.set()
        try:
            await self._script(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as failure:  # noqa: BLE001 - told at the end of the test
            self.failure = failure
        finally:
            self._tasks.discard(task)
            writer.close()


def serve(handler: Handler, **greeting: object) -> Script:
    """A script: greet, then give every message to `handler`."""

    async def script(peer: Peer) -> None:
        await peer.greet(**greeting)  # type: ignore[arg-type]
        while True:
            await handler(peer, await peer.next())

    return script


async def silent(peer: Peer, fields: Fields) -> None:
    """A handler that answers nothing."""
