"""A server that answers what a test tells it to, and counts what reached it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

pytest.importorskip("ibind")

from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.clock import system_clock

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def reply(body: str = "{}", status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Server:
    """One port. `answers` tells what is said to each request line, `seen` what came."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.answer: bytes | Answer = reply()
        self.came = asyncio.Event()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The API's base."""
        return f"http://127.0.0.1:{self.port}/v1/api/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while line := await reader.readline():
                length = 0
                while (header := await reader.readline()) not in {b"\r\n", b""}:
                    name, _, value = header.decode().partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                await reader.readexactly(length)
                self.seen.append(" ".join(line.decode().split()[:2]))
                self.came.set()
                if isinstance(self.answer, bytes):
                    writer.write(self.answer)
                    await writer.drain()
                else:
                    await self.answer(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def end(self) -> None:
        """Cut what is still open."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        for _ in range(3):  # an aborted transport closes its socket a step later
            await asyncio.sleep(0)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on a free port."""
    one = Server()
    listening = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = listening.sockets[0].getsockname()[1]
    yield one
    listening.close()
    await one.end()


@pytest.fixture
async def calls(server: Server) -> AsyncIterator[WebCalls]:
    """Requests to it."""
    made = WebCalls(WebEndpoint(url=server.url, answer_limit=50_000), clock=system_clock)
    made.open()
    yield made
    await made.close()
