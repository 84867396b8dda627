"""One websocket connection, made by ibind's `IbkrWsClient`: from its opening to its end, once.

ibind is given its frames' router (`frames`), a sink that hands events to the session's loop in the order of the wire
without a queue that could overflow, and, instead of a REST client, one cookie: none of its threads makes a request. It
does not reconnect: a connection that ended is put away, and `ws` makes a new one when it is time. Subscriptions are
written as texts; what is subscribed is known above, not here.

Where ibind offers no argument, `_tune` sets how long its threads wait for each other, that websocket-client gives up at
once where it would sleep for five seconds before it tried again, and that nobody waits for what is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from socket import SHUT_RDWR
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ibkr_connector.logs import get_logger

if TYPE_CHECKING:
    from ibkr_connector.clock import Clock

_log = get_logger(__name__)

THREAD_WAIT_S = 1.25
"""How long ibind waits for one of its threads, and for the other side's goodbye."""
_LONGEST_WHY = 200
_NORMAL = 1000
"""The status of a websocket's goodbye when all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketAddress:
    """Where the websocket is, and what opens it. The last two are secrets: they are in no repr."""

    url: str
    """Without a query: `wss://127.0.0.1:5000/v1/api/ws`."""
    account: str = ""
    verify: str | bool = False
    """A file of certificates that are trusted; False: any (a gateway on this machine)."""
    session: str = ""
    """`session` of the last tickle."""
    access_token: str | None = None
    """With OAuth: its access token."""

    def __repr__(self) -> str:
        return f"SocketAddress({self.url})"


class _NoRequests:
    """Stands where ibind wants a REST client: it gives the cookie of one connection, and no other."""

    def __init__(self, session: str) -> None:
        self._answer = SimpleNamespace(data={"session": session})
        self._given = False
        self.ended = threading.Event()
        self.is_open: Callable[[], bool] = lambda: False
        """Whether ibind has a connection, open or being opened."""

    def tickle(self) -> SimpleNamespace:
        """The cookie: before connecting, and once more when connected (ibind compares the two)."""
        if self.ended.is_set() or (self._given and not self.is_open()):
            raise TimeoutError("this connection is over")
        self._given = True
        return self._answer

    def authentication_status(self) -> SimpleNamespace:
        """Frames tell; nothing is asked."""
        return SimpleNamespace(data={"authenticated": False})


class SocketClient:
    """One connection. `open`, `write` and `close` block and belong on threads; what it tells comes on the loop.

    Args:
        address: where to.
        clock: where time comes from.
        loop: the session's.
        on_frame: gets every frame, in the order of the wire; none is ever dropped.
        on_end: told why, once, when the connection is gone without `close`.
    """

    def __init__(
        self,
        address: SocketAddress,
        *,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        on_frame: Callable[[dict[str, Any]], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._address = address
        self._clock = clock
        self._loop = loop
        self._on_frame = on_frame
        self._on_end = on_end
        self._closing = False
        self._over = False
        self._cookie = _NoRequests(address.session)
        self._client: Any = None

    # --- blocking: on a thread ------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start ibind's threads; waits a moment for the session, frames tell when it stands."""
        # Here and not above: importing ibind takes half a second and reads its environment.
        import ibind

        from ibkr_connector.backends.web.frames import FrameRouter

        address = self._address
        client = ibind.IbkrWsClient(
            account_id=address.account,
            url=address.url,
            ibkr_client=self._cookie,
            use_oauth=address.access_token is not None,
            access_token=address.access_token,
            cacert=address.verify,
            sink=self,
            router=FrameRouter(lambda: self._clock.now().timestamp()),
            # Without the queue in between, which drops the oldest of 10,000 events.
            synchronous_output_events=True,
        )
        transport = _tune(client, self._cookie.ended)
        self._cookie.is_open = lambda: transport._wsa is not None
        self._client = client
        if not self._closing:
            client.start()

    def write(self, text: str) -> bool:
        """Write one message; whether it was."""
        client = self._client
        if client is None or self._closing or self._over or not client.is_authenticated():
            return False
        try:
            return bool(client._runtime.send(text))
        except Exception as error:  # noqa: BLE001 - whatever the library raises: it was not written, and the end is told
            _log.debug("a message could not be written to the websocket", error=_words(error))
            return False

    def close(self) -> bool:
        """End it; whether all its threads have."""
        self._closing = True
        self._cookie.ended.set()
        client = self._client
        if client is None:
            return True
        try:
            # First, or ibind's runtime makes a new thread for the one that ends here.
            client._runtime.set_state(type(client.get_state()).STOPPING)
            wire = _cut(client._runtime._transport)
            ended = bool(client.shutdown())
            if wire is not None:
                wire.close()  # websocket-client does not, after a goodbye of ours
        except Exception as error:  # noqa: BLE001 - the threads are daemons, and nothing they do reaches anybody
            _log.warning("the websocket did not close in order", error=_words(error))
            return False
        return ended

    # --- ibind's sink: on its runtime thread --------------------------------------------------------------------------

    def emit(self, event: Any) -> None:
        """An event of ibind."""
        name = type(event).__name__
        if name == "GenericIbkrEvent":
            self._tell(self._heard, event.message)
        elif name in ("WsClose", "WsDegraded"):
            self._cookie.ended.set()
            self._tell(self._ended, _why_closed(event))
        elif name == "WsError":
            self._cookie.ended.set()
            self._tell(self._ended, _words(event.error))

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everybody who listened
            self._loop.call_soon_threadsafe(call, *arguments)

    # --- on the loop --------------------------------------------------------------------------------------------------

    def _heard(self, message: dict[str, Any]) -> None:
        if not self._closing:
            self._on_frame(message)

    def _ended(self, why: str) -> None:
        if not self._over and not self._closing:
            self._over = True
            self._on_end(why)

    def abandon(self) -> None:
        """From now on nothing of it is heard, not even what is on its way. On the loop."""
        self._closing = True
        self._cookie.ended.set()


class _UntilOver:
    """The state that ibind waits for when it starts, and a word to stop waiting."""

    def __init__(self, states: Any, ended: threading.Event) -> None:
        self._states = states
        self._ended = ended

    def is_authenticated(self) -> bool:
        return self._ended.is_set() or bool(self._states.is_authenticated())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._states, name)


def _tune(client: Any, ended: threading.Event) -> Any:
    """Set what ibind takes from the environment of the process, for this client alone; its transport."""
    runtime = client._runtime
    runtime._lifecycle._state_manager = _UntilOver(runtime._state_manager, ended)
    transport = runtime._transport
    transport._reconnect_timeout = 0
    transport._connection_timeout = THREAD_WAIT_S
    runtime._lifecycle._connection_timeout = THREAD_WAIT_S
    return transport


def _cut(transport: Any) -> Any:
    """Say goodbye and end the connection, so that ibind's transport thread notices at once; its socket, if it has one.

    Left to websocket-client, the thread that closes may take the other side's goodbye and the descriptor away from the
    thread that reads, which then sleeps until its ping is due.
    """
    transport._running = False
    app = transport._wsa
    if app is None:
        return None
    app.keep_running = False
    socket = app.sock
    wire = None if socket is None else socket.sock
    if socket is None or wire is None:
        return None
    with contextlib.suppress(Exception):  # it may be gone already, or be in the middle of anything
        wire.settimeout(THREAD_WAIT_S / 2)
        socket.send_close(_NORMAL)
    with contextlib.suppress(Exception):
        wire.shutdown(SHUT_RDWR)
    return wire


def _why_closed(event: Any) -> str:
    code = getattr(event, "close_status_code", None)
    said = str(getattr(event, "close_msg", None) or "")[:_LONGEST_WHY]
    return f"closed by the other side ({code}{': ' if said else ''}{said})" if code else "the connection is gone"


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST_WHY]
