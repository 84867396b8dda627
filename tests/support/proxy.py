"""A man in the middle between a client and the paper gateway: swallows, holds or cuts, frame by frame.

It knows the framing of TWS's protocol (4-byte length, fields ended by NUL) and nothing else, so that a test can say
"the order never arrives" or "the answer never comes back" about a real connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

Frame = list[str]
Rule = Callable[[Frame], bool]
PLACE_ORDER = "3"
CANCEL_ORDER = "4"


def is_kind(*kinds: str) -> Rule:
    """Matches frames whose first field is one of `kinds`."""
    return lambda fields: bool(fields) and fields[0] in kinds


class Proxy:
    """Forwards connections to `port`. Rules are asked for every frame; the first that matches decides."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.swallow_requests: Rule = lambda _: False
        self.swallow_answers: Rule = lambda _: False
        self.cut_after_request: Rule = lambda _: False
        self.cut_before_request: Rule = lambda _: False
        self.swallowed = 0
        self.seen = asyncio.Event()
        """Set when a rule struck."""
        self.refuse = False
        self.requests: list[Frame] = []
        self.say_before: Callable[[Frame], list[Frame]] = lambda _: []
        """Frames of our own that the client gets right before an answer."""
        self._client: asyncio.StreamWriter | None = None

    @property
    def port(self) -> int:
        """Where clients connect."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)
        for writer in list(self._writers):
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    def say(self, *fields: str) -> None:
        """Send the client of the last connection a frame that the gateway did not send."""
        assert self._client is not None
        self._client.write(_packed(list(fields)))

    def say_error(self, code: int, text: str, *, about: int = -1) -> None:
        """An error message (kind 4, version 2), about the request or order `about`."""
        self.say(*error_frame(code, text, about=about))

    def heal(self) -> None:
        """Forget every rule."""
        never: Rule = lambda _: False
        self.swallow_requests = self.swallow_answers = self.cut_after_request = self.cut_before_request = never
        self.say_before = lambda _: []
        self.refuse = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, there_writer}
        up = asyncio.create_task(self._requests(reader, there_writer))
        down = asyncio.create_task(self._answers(there_reader, writer))
        for task in (up, down):
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, there_writer):
            one.close()
            self._writers.discard(one)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(await reader.readexactly(4))  # "API\0"
            while True:
                raw, fields = await _frame(reader)
                self.requests.append(fields)
                if self.cut_before_request(fields):
                    self._strike()
                    self.cut()
                    return
                if self.swallow_requests(fields):
                    self._strike()
                    continue
                writer.write(raw)
                await writer.drain()
                if self.cut_after_request(fields):
                    self._strike()
                    self.cut()
                    return

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                raw, fields = await _frame(reader)
                for extra in self.say_before(fields):
                    writer.write(_packed(extra))
                if self.swallow_answers(fields):
                    self._strike()
                    continue
                writer.write(raw)
                await writer.drain()

    def _strike(self) -> None:
        self.swallowed += 1
        self.seen.set()


def error_frame(code: int, text: str, *, about: int = -1) -> Frame:
    """An error message as a frame."""
    return ["4", "2", str(about), str(code), text, ""]


def _packed(fields: Frame) -> bytes:
    body = "".join(f"{field}\0" for field in fields).encode()
    return len(body).to_bytes(4, "big") + body


async def _frame(reader: asyncio.StreamReader) -> tuple[bytes, Frame]:
    head = await reader.readexactly(4)
    body = await reader.readexactly(int.from_bytes(head, "big"))
    return head + body, body.decode(errors="replace").split("\0")[:-1]
