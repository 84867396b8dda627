"""The websocket, kept: opened, watched, made again after every end, and its gaps told as on TWS.

One connection at a time (`wsclient`). Whatever ends it (the other side, silence where heartbeats should come, the loss
of the brokerage session) begins a gap: order updates, fills and quotes may have been missed. A gap is told as 1100, so
that what was sent is in doubt and nothing new is sent; when a new connection stands and everything is subscribed again,
1101 is told, and the session reads all it needs to know again over REST, as it does when TWS has its link back.

Used from the session's loop. ibind's threads are reached through `Workers`, and are heard by `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from typing import Any

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.backends.web.workers import Workers
from ibkr_connector.backends.web.wsclient import SocketAddress, SocketClient
from ibkr_connector.errors import (
    AuthenticationError,
    BrokerLinkLost,
    ConnectionLost,
    ConnectTimeout,
    NotConnected,
    TradingError,
)
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)

_GAP = "websocket"
_CLOSE_S = 1.8
"""How long the threads of a connection may take to end before they are left to themselves."""
_MOST_DOUBLINGS = 10
_WAITING = "waiting for session"

Handler = Callable[[dict[str, Any]], None]
"""Takes a frame."""
Step = Callable[[], Coroutine[Any, Any, None]]


class Socket:
    """The one websocket of a backend.

    Args:
        room: where the session's cookie is, and where gaps are told.
        on_status: told, in words, what speaks against the session: it is looked at then.
        rng: jitter of waits.
    """

    def __init__(self, room: WebRoom, *, on_status: Callable[[str], None], rng: random.Random) -> None:
        self._room = room
        self._clock = room.clock
        self._doubt = on_status
        self._rng = rng
        self.times = room.endpoint.streams
        self._handlers: dict[str, list[Handler]] = {}
        self._steps: list[Step] = []
        self._gap_listeners: list[Callable[[], None]] = []
        self._client: SocketClient | None = None
        self._talk: Workers | None = None
        self._life: Workers | None = None
        self._standing = asyncio.Event()
        self._over = asyncio.Event()
        self._why_over: TradingError | None = None
        self._up = False
        self._heard_at = 0.0
        self._poke = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.connections = 0
        """Websockets that were opened, over the backend's life."""

    # --- what others register -------------------------------------------------------------------------------------

    def listen(self, topic: str, handler: Handler) -> None:
        """Give `handler` every frame of a topic (`sor`, `smd`, `sts`, `ntf`, `error` …), in the order of the wire."""
        self._handlers.setdefault(topic, []).append(handler)

    def on_open(self, step: Step) -> None:
        """Do `step` on every new connection, before it counts: subscriptions. What it raises ends the connection."""
        self._steps.append(step)

    def on_gap(self, listener: Callable[[], None]) -> None:
        """Tell `listener` when a connection is gone."""
        self._gap_listeners.append(listener)

    # --- life -----------------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether frames come, and everything is subscribed."""
        return self._up

    async def start(self, timeout: float) -> None:
        """Open it within `timeout` seconds, and keep it from now on.

        Raises: ConnectTimeout, ConnectionLost, AuthenticationError, BrokerLinkLost.
        """
        self._talk, self._life = Workers("ibkr-ws-write", 1), Workers("ibkr-ws-life", 1)
        await self._open(min(timeout, self.times.opening))
        self._task("watch", self._watch())

    async def stop(self) -> None:
        """End it, and its threads; silent. Idempotent."""
        for task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
        self._tasks.clear()
        self._up = False
        await self._put_away()
        workers = [each for each in (self._talk, self._life) if each is not None]
        self._talk = self._life = None
        ended = await asyncio.gather(*(each.close(self._clock, _CLOSE_S / 2) for each in workers))
        if not all(ended):
            _log.warning("a thread of the websocket hangs, and was left to itself")

    def send(self, text: str) -> bool:
        """Have a message written; False where there is no connection to write it to."""
        client, talk = self._client, self._talk
        if client is None or talk is None or not self._standing.is_set():
            return False
        talk.submit(lambda: client.write(text))
        return True

    def back(self) -> None:
        """See `Part`. A new connection: what this one was to send is forgotten with the old session."""
        self._lost("the brokerage session was opened again", doubted=False)
        self._poke.set()

    # --- opening ----------------------------------------------------------------------------------------------------

    async def _open(self, timeout: float) -> None:
        """One connection, from its first byte until everything is subscribed. What it raises leaves nothing behind."""
        life = self._life
        if life is None:
            raise NotConnected("the websocket was closed.")
        loop = asyncio.get_running_loop()
        self._standing, self._over, self._why_over = asyncio.Event(), asyncio.Event(), None
        client: SocketClient

        def on_frame(message: dict[str, Any]) -> None:
            if self._client is client:
                self._on_frame(message)

        def on_end(why: str) -> None:
            if self._client is client:
                self._end_opening(ConnectionLost(f"the websocket ended while it was being opened: {why}."))
                self._lost(why)

        client = SocketClient(self._address(), clock=self._clock, loop=loop, on_frame=on_frame, on_end=on_end)
        self._client = client
        try:
            life.submit(client.open).add_done_callback(self._begun)
            try:
                await self._clock.wait_for(self._unless_over(self._standing.wait()), timeout)
            except TimeoutError as error:
                if isinstance(error, TradingError):
                    raise
                raise ConnectTimeout(
                    f"the websocket did not open in {timeout:g} s.",
                    remedy="Look whether the gateway is logged in, and whether something in between blocks websockets.",
                ) from None
            self.connections += 1
            for step in self._steps:
                await self._unless_over(step())
        except BaseException:
            await self._put_away()
            raise
        self._up = True

    async def _unless_over(self, work: Coroutine[Any, Any, object]) -> None:
        """Do it, but no longer than the connection stands; raises why it does not."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._over.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._why_over is not None:
                raise self._why_over
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _end_opening(self, error: TradingError) -> None:
        """The connection will not stand: whoever opens it is told."""
        if not self._up and self._why_over is None:
            self._why_over = error
            self._over.set()

    def _address(self) -> SocketAddress:
        where, calls = self._room.endpoint, self._room.calls
        verify: str | bool = (where.ca_file or DEFAULT_CA_BUNDLE_PATH) if where.verify_tls else False
        token = calls.client.oauth_config.access_token if calls.signed else None
        return SocketAddress(
            url=where.socket_url,
            account=self._room.account,
            verify=verify,
            session=self._room.tickle_session,
            access_token=token,
        )

    def _begun(self, begun: asyncio.Future[None]) -> None:
        if not begun.cancelled() and (error := begun.exception()) is not None:
            self._end_opening(ConnectionLost(f"the websocket could not be opened: {type(error).__name__}: {error}."))

    async def _put_away(self) -> None:
        """End the present connection, without a word to anybody."""
        client, self._client = self._client, None
        if client is None or self._life is None:
            return
        client.abandon()
        closed = self._life.submit(client.close)
        try:
            in_order = await self._clock.wait_for(asyncio.shield(closed), _CLOSE_S)
        except TimeoutError:
            in_order = False
        if not in_order:
            _log.warning("the threads of a websocket have not ended in time, and were left to themselves")

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _on_frame(self, message: dict[str, Any]) -> None:
        self._heard_at = self._clock.monotonic()
        topic = message.get("topic")
        if topic == "sts":
            self._on_status(message)
        elif topic is None and message.get("message") == _WAITING:
            self._on_waiting()
        if "error" in message:
            name = "error"
        else:
            name = topic.partition("+")[0] if isinstance(topic, str) else ""
        for handler in self._handlers.get(name, ()):
            try:
                handler(message)
            except Exception:  # noqa: BLE001 - logged; a frame that cannot be read must not end the others
                _log.exception("a frame of the websocket could not be taken in", topic=name)

    def _on_status(self, message: dict[str, Any]) -> None:
        """`sts`: whole at first, fragments later."""
        told = message.get("args")
        authenticated = told.get("authenticated") if isinstance(told, dict) else None
        if authenticated is True:
            self._standing.set()
        elif authenticated is False:
            self._end_opening(BrokerLinkLost("the websocket is open, but there is no brokerage session."))
            self._lost("the brokerage session has ended")
        if isinstance(told, dict) and told.get("competing") is True:
            self._doubt("another program of this user name wants the brokerage session")

    def _on_waiting(self) -> None:
        self._end_opening(
            AuthenticationError(
                "the websocket waits for a login.",
                remedy="Log in at the gateway again (IBeam does it by itself).",
                retryable=True,
            )
        )
        self._lost("the login has ended")

    async def _watch(self) -> None:
        """Notice a connection over which nothing comes any more, not even heartbeats."""
        while True:
            await self._clock.sleep(self.times.silence / 5)
            quiet = self._clock.monotonic() - self._heard_at
            if self._up and quiet > self.times.silence:
                self._lost(f"nothing came for {quiet:.0f} s, not even a heartbeat")

    # --- gaps -------------------------------------------------------------------------------------------------------

    def _lost(self, why: str, *, doubted: bool = True) -> None:
        if not self._up:
            return
        self._up = False
        self._standing.clear()
        if self._client is not None:
            self._client.abandon()
        _log.warning("the websocket is lost; it is made again", why=why)
        self._room.gaps.begin(_GAP, f"the websocket is lost ({why}): order updates, fills and quotes do not come.")
        if doubted:
            self._doubt(f"the websocket is lost: {why}")
        for listener in self._gap_listeners:
            listener()
        self._task("restore", self._restore())

    async def _restore(self) -> None:
        """Until it is up again."""
        await self._put_away()
        failures = 0
        while True:
            self._poke.clear()
            try:
                await self._open(self.times.opening)
                break
            except Exception as error:  # noqa: BLE001 - whatever it was, giving up would leave orders unwatched
                _log.warning("the websocket could not be made again", failures=failures + 1, error=repr(error))
                if isinstance(error, AuthenticationError | BrokerLinkLost):
                    self._doubt(error.message)
            doubled = self.times.retry_first * 2.0 ** min(failures, _MOST_DOUBLINGS)
            failures += 1
            with contextlib.suppress(TimeoutError):
                wait = min(self.times.retry_most, doubled) * self._rng.uniform(0.5, 1.0)
                await self._clock.wait_for(self._poke.wait(), wait)
        self._room.gaps.end(_GAP)

    def _task(self, name: str, work: Any) -> None:
        task = self._tasks[name] = asyncio.create_task(work, name=f"ibkr-ws-{name}")
        task.add_done_callback(_tell_failure)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the keeper of the websocket failed", error=repr(error))
