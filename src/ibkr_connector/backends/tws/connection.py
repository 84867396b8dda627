"""One connection to TWS: from the first byte to the closed transport, around one `Client` of the library.

The library's own connect waits out its timeout when the peer closes early, and blames the client id for it; here the
pieces are driven one by one, and every way to fail has its name. A connection object is used once.

`write` hands bytes to the operating system when its buffer has room; else asyncio keeps them and sends them on. Nagle's
algorithm is off. When more than `MAX_UNSENT_BYTES` wait, the peer does not read any more: `stuck` says so, and orders
are refused while it is certain that nothing of them was written.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

from ibkr_connector.backends.tws import exectime
from ibkr_connector.backends.tws.codes import to_error
from ibkr_connector.backends.tws.library import TwsLibrary
from ibkr_connector.backends.tws.trouble import DecoderLog, Unreadable, WireLog
from ibkr_connector.backends.tws.wrapper import Callbacks
from ibkr_connector.clock import Clock
from ibkr_connector.errors import (
    ConnectionRefused,
    ConnectTimeout,
    IBKRConnectionError,
    ProtocolError,
    TradingError,
    UnsupportedServerVersion,
)
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)

MAX_UNSENT_BYTES = 64 * 1024
_READ_BYTES = 32 * 1024
"""Bytes taken per read. The library cuts messages off the front of what it read, copying the rest each time."""
_CLOSE_GRACE_S = 2.0
_REFUSED = frozenset({errno.ECONNREFUSED, 10061, 1225})
_ACCEPT_HINT = (
    'Allow the connection in the gateway: its dialog "Accept incoming connection", or under API > Settings add this '
    "machine to the trusted IPs, or with IBC set AcceptIncomingConnectionAction=accept. Less often another program "
    "holds the client id."
)


class Connection:
    """Opens, watches and closes one socket."""

    def __init__(
        self,
        *,
        library: TwsLibrary,
        callbacks: Callbacks,
        clock: Clock,
        unreadable: Unreadable,
        on_lost: Callable[[str, bool], None],
    ) -> None:
        self.server_version = 0
        self.client = library.client(callbacks)
        self._callbacks = callbacks
        self._clock = clock
        self._on_lost = on_lost
        self._unreadable = unreadable
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gone = asyncio.Event()
        self._connected = False
        self._open = False
        self._closing = False
        self._why = ""
        self._where = ""
        self.client.MaxRequests = 0  # every byte goes through our own pacer
        self.client._logger = WireLog()
        self.client.decoder.logger = DecoderLog(unreadable)
        exectime.guard(self.client.decoder, clock.now)
        self.client.conn.disconnected += self._on_disconnected
        self.client.conn.hasData.error_event += self._on_packet_error
        self.client.apiError += self._on_api_error
        callbacks.on_version = self._on_version
        callbacks.on_ready = self._on_ready
        callbacks.on_refused = self._on_refused
        callbacks.on_packet = self._check_frame

    @property
    def usable(self) -> bool:
        """Whether a write can reach the peer as far as is known."""
        transport = self._transport
        return self._open and not self._closing and transport is not None and not transport.is_closing()

    @property
    def stuck(self) -> bool:
        """Whether the peer has stopped reading."""
        return self.unsent_bytes > MAX_UNSENT_BYTES

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the operating system has not taken yet."""
        transport = self._transport
        return 0 if transport is None else int(transport.get_write_buffer_size())

    @property
    def _transport(self) -> Any:
        return self.client.conn.transport

    # --- opening --------------------------------------------------------------------------------------------------

    async def open(self, *, host: str, port: int, client_id: int, timeout: float) -> None:
        """Connect and shake hands. Sends the version range and startApi, nothing else.

        Raises: see `Backend.connect`. After a failure the transport is closed.
        """
        self._where = f"{host}:{port}"
        try:
            await self._clock.wait_for(self._shake_hands(host, port, client_id), timeout)
        except BaseException as error:
            await self._abandon()
            if isinstance(error, TradingError) or not isinstance(error, Exception):
                raise
            raise self._explain(error, timeout) from None
        if self._gone.is_set():
            raise self._closed_early(self._why or "the connection ended")
        self._open = True

    async def _shake_hands(self, host: str, port: int, client_id: int) -> None:
        client = self.client
        client.host, client.port, client.clientId = host, port, client_id
        client.connState = client.CONNECTING
        await client.conn.connectAsync(host, port)
        self._connected = True
        self._tune()
        versions = f"v{client.MinClientVersion}..{client.MaxClientVersion}".encode()
        client.conn.sendMsg(b"API\0" + struct.pack(">I", len(versions)) + versions)
        await self._ready

    def _tune(self) -> None:
        """No delay for small messages, keep-alive for half-open peers, small reads, a small write buffer."""
        transport = self._transport
        raw = transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        if isinstance(getattr(transport, "max_size", None), int):
            transport.max_size = _READ_BYTES

    def _fail(self, error: TradingError) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)

    def _explain(self, error: Exception, timeout: float) -> IBKRConnectionError:
        if isinstance(error, TimeoutError) and error.errno is None:
            return self._explain_timeout(timeout)
        if isinstance(error, socket.gaierror):
            return IBKRConnectionError(f"the host name in {self._where} cannot be resolved: {error.strerror}.")
        if isinstance(error, OSError):
            if error.errno in _REFUSED or any(f"Errno {number}]" in str(error) for number in _REFUSED):
                return ConnectionRefused(f"nobody listens at {self._where}.", where=self._where)
            return IBKRConnectionError(f"no connection to {self._where}: {error}.", where=self._where)
        return IBKRConnectionError(f"no connection to {self._where}: {error!r}.", where=self._where)

    def _explain_timeout(self, timeout: float) -> ConnectTimeout:
        if not self._connected:
            told = "did not answer"
        elif not self.server_version:
            told = "accepted the connection and says nothing (not logged in, or no TWS?)"
        else:
            told = f"(server version {self.server_version}) sent no accounts and order id; its login is not finished"
        return ConnectTimeout(f"{self._where} {told}, in {timeout:g} s.", where=self._where)

    # --- what the library tells -----------------------------------------------------------------------------------

    def _on_version(self) -> None:
        self.server_version = int(self.client.serverVersion())
        if self.server_version > self.client.MaxClientVersion:
            self._fail(
                UnsupportedServerVersion(
                    f"{self._where} speaks server version {self.server_version}; this client library reads up to "
                    f"{self.client.MaxClientVersion}."
                )
            )

    def _on_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _on_refused(self, code: int, text: str) -> None:
        error = to_error(code, text, what=self._where, where=self._where)
        self._fail(error if isinstance(error, IBKRConnectionError) else IBKRConnectionError(error.message, code=code))

    def _on_api_error(self, text: str) -> None:
        """Before the handshake is done: the peer closed (told by `_on_disconnected` too), or its version is too old."""
        if self._connected and self._transport is not None:
            self._fail(UnsupportedServerVersion(f"{self._where}: {text}."))

    def _on_packet_error(self, _event: Any, error: Exception) -> None:
        """The client itself stumbled, not its decoder."""
        if self._ready.done():
            self._unreadable(f"packet: {error!r}", error)
        else:
            self._fail(self._not_tws(f"{type(error).__name__}: {error}"))

    def _check_frame(self) -> None:
        """After a packet: a length of 16 MB or more is garbage, and would be waited for and stored."""
        rest = self.client._data
        if rest and rest[0]:
            self._why = "the peer sent a message length beyond 16 MB: the stream is broken"
            self._fail(self._not_tws(self._why))
            transport = self._transport
            if transport is not None:
                transport.abort()

    def _not_tws(self, why: str) -> ProtocolError:
        return ProtocolError(
            f"what listens at {self._where} does not speak the TWS protocol ({why[:120]}).",
            remedy="Check the port: TWS 7496/7497, IB Gateway 4001/4002.",
            where=self._where,
        )

    def _on_disconnected(self, why: str) -> None:
        """The transport is closed, whoever did it. The library's client has been reset by now."""
        self._gone.set()
        reason = (
            self._why or why or ("disconnect() was called" if self._closing else "the gateway closed the connection")
        )
        self._fail(self._closed_early(reason))
        if self._open:
            self._open = False
            self._on_lost(reason, self._closing)

    def _closed_early(self, reason: str) -> IBKRConnectionError:
        if self.server_version:
            told = f"{self._where} logged the connection on (server version {self.server_version}) and then closed it"
        else:
            told = f"{self._where} accepted the connection and closed it without a word"
        return IBKRConnectionError(f"{told}: {reason}.", remedy=_ACCEPT_HINT, where=self._where)

    # --- closing --------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the connection and wait until the transport is closed. What is unsent gets two seconds."""
        self._closing = True
        await self._shut(grace=_CLOSE_GRACE_S)

    async def _abandon(self) -> None:
        """Close after a failed handshake; nothing unsent matters."""
        self._closing = True
        if not self._ready.done():
            self._ready.cancel()
        elif not self._ready.cancelled():
            self._ready.exception()
        await self._shut(grace=0.0)

    async def _shut(self, grace: float) -> None:
        transport = self._transport
        if transport is None:
            return
        with contextlib.suppress(OSError, RuntimeError):
            # Shutting down a socket that the peer has reset raises; the transport is closed below all the same.
            self.client.disconnect()
        if grace:
            with contextlib.suppress(TimeoutError):
                await self._clock.wait_for(self._gone.wait(), grace)
        if not self._gone.is_set():
            transport.abort()
            await self._gone.wait()
