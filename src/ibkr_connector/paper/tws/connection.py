"""One TCP connection: greeting, frames, the gateway's message rate, and back-pressure. Starts a `Session` at startApi.

Nothing a peer does here can hurt another one: what it sends is bounded (frame length, one paused read at a time), what
it does not read is bounded (the write limit), what it wants is bounded (the message rate, a share of each loop turn).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from . import handshake, layouts_system, texts, versions
from .fields import Cursor, FieldError
from .framing import MAX_INBOUND, FrameError, FrameReader, encode_frame, split_fields
from .handshake import Handshake, HandshakeError, Hello
from .pacing import BREACHES_TO_DISCONNECT, MessageRate
from .session import Session
from .taps import Pipe
from .wire import HOME_ZONE, HOME_ZONE_NAME

if TYPE_CHECKING:
    from .hub import Hub

START_API: Final = "71"
BEFORE_START: Final = 64 * 1024
"""Bytes of the longest frame anybody may send before startApi."""
MESSAGES_PER_TURN: Final = 100
"""Requests of one connection answered before the others get their turn."""
PACKET: Final = 64 * 1024
"""Bytes collected in a turn of the loop that are not kept back until its end."""

NO_LINGER: Final = struct.pack("ii", 1, 0)
"""Closing discards what was not sent and resets the connection."""


class Connection(asyncio.Protocol):
    """A peer, from its first byte to its last."""

    def __init__(
        self, hub: Hub, claim: Callable[[Connection, int], texts.Error | None], gone: Callable[[Connection], None]
    ) -> None:
        """`claim` asks for a client id and returns the error to refuse it with; `gone` is told the end."""
        self._hub = hub
        self._claim = claim
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._handshake: Handshake | None = Handshake()
        self._reader = FrameReader(BEFORE_START)
        self._version = 0
        self._rate: MessageRate | None = None
        self._rejecting = False
        self._resume: asyncio.Handle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._ending = False
        self._frozen = False
        self.pipe: Pipe | None = None
        """What happens to bytes on their way to the client; None while nothing does."""
        self.session: Session | None = None
        self._collected: list[bytes] = []
        """What was written in this turn of the loop: it leaves in one piece, so that no client sees half a quote."""
        self._collected_size = 0
        self.peer = ""
        self.reason = "closed by the client"
        """Why the connection ended."""
        self.closed: asyncio.Future[None] = hub.loop.create_future()

    # --- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a deadline for the greeting."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"a stream transport is needed, not {type(transport).__name__}")
        self._transport = transport
        if self._ending:
            transport.abort()
            return
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
        self._deadline = self._hub.loop.call_later(
            self._hub.options.handshake_timeout, self.drop, "did not introduce itself in time"
        )

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, in whatever pieces."""
        if self._ending or self._frozen:
            return
        try:
            if self._handshake is not None:
                hello = self._handshake.feed(data)
                if hello is None:
                    return
                data = self._handshake.rest
                self._handshake = None
                if not self._agree(hello):
                    return
            self._reader.feed(data, self._hub.loop.time())
        except (FrameError, HandshakeError) as error:
            self.drop(str(error))
            return
        if self._resume is None:
            self._work()

    def eof_received(self) -> bool:
        """Half-close: the peer has nothing more to say, and a client that does not listen is none."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """End the session; its orders live on."""
        if error is not None and not self._ending:
            self.reason = f"connection lost: {error}"
        self._ending = True
        for handle in (self._resume, self._deadline):
            if handle is not None:
                handle.cancel()
        self._resume = self._deadline = None
        self._collected.clear()
        if self.pipe is not None:
            self.pipe.close()
        if self.session is not None:
            self.session.close()
        self._gone(self)
        if not self.closed.done():
            self.closed.set_result(None)

    # --- Link --------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes. A peer that leaves more than the write limit unread is dropped."""
        if self.pipe is None or self.pipe.is_clear:
            self.pipe = None
            self._collect(data)
            return
        self.pipe.send(data)
        if self.pipe.pending > self._hub.options.write_limit:
            self.drop("does not read what it is sent")

    def _collect(self, data: bytes) -> None:
        if self._transport is None or self._ending:
            return
        if not self._collected:
            self._hub.loop.call_soon(self._flush)
        self._collected.append(data)
        self._collected_size += len(data)
        if self._collected_size > PACKET:
            self._flush()

    def _flush(self) -> None:
        """Hand over what was collected; everything that bends or ends the connection comes after it."""
        data = b"".join(self._collected)
        self._collected.clear()
        self._collected_size = 0
        if data:
            self._transmit(data)

    def _transmit(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or self._ending:
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self._hub.options.write_limit:
            self.drop("does not read what it is sent")

    def drop(self, reason: str, *, reset: bool = False) -> None:
        """End the connection at once; `reset` makes the peer's system say so instead of ending it in good order."""
        self._flush()
        if self._ending:
            return
        self.reason = reason
        self._ending = True
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket") if reset else None
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            self._transport.abort()

    def make_pipe(self) -> Pipe:
        """The pipe on the way to the client; made if there is none."""
        if self.pipe is None:
            self._flush()
            self.pipe = Pipe(self._hub.loop, self._transmit)
        return self.pipe

    def freeze(self) -> None:
        """Neither read nor write any more: what a peer sees whose connection is half open."""
        self._frozen = True
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()
        self.make_pipe().close()

    def close(self, reason: str) -> None:
        """End the connection after what was written has been sent."""
        self._flush()
        if self._ending:
            return
        self.reason = reason
        self._ending = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Give up on a connection that is being closed and whose peer does not read."""
        if self._transport is not None:
            self._transport.abort()

    # --- greeting and start ------------------------------------------------------------------------------------------

    def _agree(self, hello: Hello) -> bool:
        version = versions.negotiate(hello.min_version, hello.max_version)
        if version is None:
            error = texts.unsupported_version(hello.min_version, hello.max_version, versions.OLDEST, versions.NEWEST)
            # No version is agreed: errors have the shape every client reads.
            self._refuse(versions.OLDEST, error)
            return False
        self._version = version
        options = self._hub.options
        if options.message_rate_limit is not None:
            self._rate = MessageRate(options.message_rate_limit)
        # A client can ask to be paced instead of refused.
        self._rejecting = options.rate_mode == "reject" and "+PACEAPI" not in hello.options
        # One frame and nothing behind it: ibapi reads the first frame of the first packet and forgets the rest.
        self.write(encode_frame(handshake.server_hello(version, self._hub.clock.now(), HOME_ZONE, HOME_ZONE_NAME)))
        self._flush()
        return True

    def _refuse(self, version: int, error: texts.Error) -> None:
        code, text = error
        self.write(encode_frame(layouts_system.error(version, layouts_system.SYSTEM, code, text)))
        self.close(f"refused with {code}: {text}")

    def _start(self, fields: list[str]) -> None:
        """startApi: from here on there is a session. Anything else before it is answered with 504."""
        if fields[0] != START_API:
            self._error(texts.NOT_CONNECTED)
            return
        cursor = Cursor(fields, 1)
        try:
            cursor.skip("version")
            client_id = cursor.integer("clientId")
            if cursor.left:
                cursor.skip("optionalCapabilities")
            cursor.end()
        except FieldError as error:
            self._error(texts.unreadable(str(error)))
            return
        refusal = self._claim(self, client_id)
        if refusal is not None:
            self._refuse(self._version, refusal)
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._reader.limit = MAX_INBOUND
        self.session = Session(self._hub, self, client_id, self._version)
        self._hub.sessions[client_id] = self.session
        self._hub.truth.record("connect", client_id=client_id, server_version=self._version, peer=self.peer)
        taps = self._hub.taps
        if taps is not None:
            taps.request(self.session, fields, self.session.greet)
        else:
            self.session.greet()

    def _error(self, error: texts.Error) -> None:
        code, text = error
        self.write(encode_frame(layouts_system.error(self._version, layouts_system.SYSTEM, code, text)))

    # --- requests ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Answer what has arrived, within the message rate and this turn's share."""
        self._resume = None
        for _ in range(MESSAGES_PER_TURN):
            if self._ending or self._frozen:
                return
            try:
                payload = self._next_payload()
            except FrameError as error:
                self.drop(str(error))
                return
            if payload is None:
                return
            self._one(payload)
        if self._reader.pending and not (self._ending or self._frozen):
            self._pause(0.0)

    def _next_payload(self) -> bytes | None:
        """The next request, unless the rate says to wait."""
        payload = self._reader.peek_frame()
        if payload is None:
            self._read_on()
            return None
        if self._rate is not None and self.session is not None and not self._rejecting:
            wait = self._rate.wait(self._hub.loop.time())
            if wait > 0:
                self._pause(wait)
                return None
        self._reader.drop_frame()
        return payload

    def _one(self, payload: bytes) -> None:
        fields = split_fields(payload)
        if fields is None:
            self.drop("sent a message that does not end with a NUL")
            return
        if self.session is None:
            self._start(fields)
            return
        if self._rejecting and self._rate is not None and self._rate.reject(self._hub.loop.time()):
            rate = self._rate
            self._error(texts.rate_exceeded(rate.limit, rate.received, rate.breaches))
            if rate.breaches >= BREACHES_TO_DISCONNECT:
                self.close("exceeded the message rate three times")
            return
        self.session.handle(fields, self._reader.arrived)

    def _pause(self, seconds: float) -> None:
        """Stop reading for a while: TCP makes the peer wait."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()
        self._resume = self._hub.loop.call_later(seconds, self._work)

    def _read_on(self) -> None:
        if self._transport is not None and not self._ending and not self._transport.is_reading():
            self._transport.resume_reading()
