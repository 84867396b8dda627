"""Websockets: the greeting, heartbeats, requests as texts, and a queue per client: nobody holds up the others."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from ..exchange.types import ExchangeEvent
from .calls import Json, WebError
from .encoding import encode
from .session import SERVER_NAME, SERVER_VERSION

if TYPE_CHECKING:
    from .accounts_desk import AccountsDesk
    from .hub import WebHub
    from .topics import Topics

MESSAGE_LIMIT: Final = 16 * 1024
"""Bytes of the longest message that is read."""
MAX_SOCKETS: Final = 32
CLOSE_WAIT: Final = 1.0

MakeTopics = Callable[["Socket"], "Topics"]


class Socket:
    """One websocket."""

    def __init__(self, hub: WebHub, accounts: AccountsDesk, make_topics: MakeTopics) -> None:
        self.hub = hub
        self._accounts = accounts
        self._ws = web.WebSocketResponse(max_msg_size=MESSAGE_LIMIT, autoping=True)
        self._queue: deque[str] = deque()
        self._waiting = 0
        self._more = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self.silent = False
        """Whether a fault keeps it from saying anything."""
        self.twice = 0
        """So many more frames are sent twice (a fault)."""
        self.topics = make_topics(self)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Talk until either side ends it."""
        self._transport = request.transport
        await self._ws.prepare(request)
        writer = self.hub.loop.create_task(self._write())
        unlisten = self.hub.session.listen(lambda change: self.send({"topic": "sts", "args": change}))
        self._greet()
        self._beat_later()
        self.hub.truth.record("web_socket", what="open")
        try:
            async for message in self._ws:
                if message.type is WSMsgType.TEXT:
                    self._receive(message.data)
                elif message.type is WSMsgType.BINARY:
                    self._receive(message.data.decode("utf-8", "replace"))
        except ConnectionError:
            pass  # gone: the same as a close without a word
        finally:
            self._ended = True
            unlisten()
            self.topics.close()
            if self._timer is not None:
                self._timer.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            self.hub.truth.record("web_socket", what="closed")
        return self._ws

    # --- saying ------------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        session = self.hub.session
        if not session.logged_in:
            self.send({"message": "waiting for session"})
            return
        username = self.hub.options.username
        self.send({"topic": "system", "success": username, "isFT": False, "isPaper": True})
        self.send({"topic": "act", "args": self._accounts.body()})
        self.send(
            {
                "topic": "sts",
                "args": {
                    "connected": session.connected,
                    "authenticated": session.authenticated,
                    "established": session.authenticated,
                    "competing": session.competing,
                    "message": "",
                    "fail": "",
                    "serverName": SERVER_NAME,
                    "serverVersion": SERVER_VERSION,
                    "username": username,
                },
            }
        )

    def send(self, frame: Json) -> None:
        """Queue a frame. A client that does not read loses its connection."""
        if self.silent or self._ended:
            return
        text = encode(frame).decode()
        for _ in range(2 if self.twice else 1):
            self._queue.append(text)
            self._waiting += len(text)
        self.twice = max(0, self.twice - 1)
        if self._waiting > self.hub.options.write_limit:
            self.abort()
        self._more.set()

    async def _write(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._queue:
                text = self._queue.popleft()
                self._waiting -= len(text)
                try:
                    await self._ws.send_str(text)
                except ConnectionError:
                    return  # gone: the reader sees it as well

    def _beat_later(self) -> None:
        self._timer = self.hub.loop.call_later(self.hub.options.heartbeat, self._beat)

    def _beat(self) -> None:
        # A login or a session can end while nobody asks anything.
        self.hub.session.look()
        self.send({"topic": "system", "hb": self.hub.epoch_ms()})
        self._beat_later()

    # --- hearing -----------------------------------------------------------------------------------------------------

    def _receive(self, text: str) -> None:
        if self.silent:
            return
        if text.strip() == "tic":
            self._tic()
            return
        topic, _, rest = text.partition("+")
        try:
            self.hub.exchange.advance()
            known = self.topics.handle(topic.strip(), rest)
        except WebError as error:
            self.send({"error": str(error), "code": error.status, "topic": topic[:16]})
            return
        if not known:
            self.send({"error": f"Topic unknown {topic[:32]}", "code": 1})

    def _tic(self) -> None:
        session = self.hub.session
        session.look()
        session.touch()
        body = {"topic": "tic", "alive": session.logged_in, "id": session.token, "lastAccessed": self.hub.epoch_ms()}
        self.send(body)

    # --- the end -----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End in good order."""
        try:
            async with asyncio.timeout(CLOSE_WAIT):
                await self._ws.close()
        except (TimeoutError, ConnectionError):
            self.abort()

    def abort(self) -> None:
        """End without a word."""
        if self._transport is not None:
            self._transport.abort()


class SocketFloor:
    """Every websocket of the front."""

    def __init__(self, hub: WebHub, accounts: AccountsDesk, make_topics: MakeTopics) -> None:
        self._hub = hub
        self._accounts = accounts
        self._make_topics = make_topics
        self.sockets: set[Socket] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for a websocket."""
        if len(self.sockets) >= MAX_SOCKETS:
            return web.Response(status=503)
        if not web.WebSocketResponse().can_prepare(request).ok:
            return web.Response(status=400, text='Can "Upgrade" only to "WebSocket".')
        socket = Socket(self._hub, self._accounts, self._make_topics)
        self.sockets.add(socket)
        try:
            return await socket.serve(request)
        finally:
            self.sockets.discard(socket)

    def on_event(self, event: ExchangeEvent) -> None:
        """The exchange said something."""
        for socket in tuple(self.sockets):
            socket.topics.on_event(event)

    def broadcast(self, frame: Json) -> None:
        """Say something to everybody."""
        for socket in tuple(self.sockets):
            socket.send(frame)

    async def close(self) -> None:
        """End every websocket."""
        await asyncio.gather(*(socket.close() for socket in tuple(self.sockets)))


def parse_options(text: str) -> dict[str, Json]:
    """The JSON object at the end of a request; an empty one where there is none."""
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise WebError(400, "the options of a topic are a JSON object") from None
    if not isinstance(found, dict):
        raise WebError(400, "the options of a topic are a JSON object")
    return found
