"""Connections in memory that behave as asyncio's do over TCP: latency, pieces, back-pressure, half-closes and resets.

Each direction is a pipe. Bytes leave the writer at once and arrive after a seeded latency, sometimes in two pieces;
what the reader does not take stays in the pipe, and beyond `KERNEL_BYTES` it counts as the writer's own unsent bytes.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proof.steploop import Process, StepLoop

KERNEL_BYTES = 128 * 1024
"""What two kernels hold for a reader that does not read."""
LATENCY_S = (0.00005, 0.0015)
CONNECT_S = (0.0002, 0.003)
SPLIT = 0.08
"""The chance that what is written together arrives in two pieces."""
_FIRST_PORT = 40_001

Protocol = Any
Factory = Callable[[], Protocol]
WriteTap = Callable[["MemoryTransport", bytes], None]


class MemorySocket:
    """As much of a socket as anybody asks of a transport."""

    family = socket.AF_UNSPEC

    def __init__(self, name: tuple[str, int]) -> None:
        self._name = name
        self.resets = False
        """Closing it discards what was not sent (SO_LINGER 0)."""

    def getsockname(self) -> tuple[str, int]:
        """Host and port."""
        return self._name

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """Only SO_LINGER means anything here."""
        if level == socket.SOL_SOCKET and option == socket.SO_LINGER:
            self.resets = True


class _Pipe:
    """One direction."""

    def __init__(self, net: MemoryNet, reader: MemoryTransport, writer: MemoryTransport) -> None:
        self._net = net
        self._reader = reader
        self._writer = writer
        self._flight: deque[tuple[float, float, bytes]] = deque()
        self._armed = False
        self.arrived = bytearray()
        self.ended = False
        """The writer will write no more."""
        self._in_flight = 0

    @property
    def unread(self) -> int:
        return self._in_flight + len(self.arrived)

    def put(self, data: bytes) -> None:
        loop, rng = self._net.loop, self._net.rng
        now = loop.time()
        self._in_flight += len(data)
        if self._flight and self._flight[-1][0] == now:
            _, due, before = self._flight.pop()
            self._flight.append((now, due, before + data))
            return
        due = max(now, self._flight[-1][1] if self._flight else 0.0) + rng.uniform(*LATENCY_S)
        if len(data) > 1 and rng.random() < SPLIT:
            cut = rng.randrange(1, len(data))
            self._flight.append((now, due, data[:cut]))
            data, due = data[cut:], due + rng.uniform(*LATENCY_S)
        self._flight.append((now, due, data))
        self._arm()

    def end(self) -> None:
        self.ended = True
        self._arm()

    def drop(self) -> None:
        """What is under way is lost."""
        self._flight.clear()
        self.arrived.clear()
        self._in_flight = 0

    def _arm(self) -> None:
        if self._armed:
            return
        loop = self._net.loop
        due = self._flight[0][1] if self._flight else loop.time() + self._net.rng.uniform(*LATENCY_S)
        self._armed = True
        loop.call_at(due, self._arrive, context=self._net.context)

    def _arrive(self) -> None:
        self._armed = False
        now = self._net.loop.time()
        while self._flight and self._flight[0][1] <= now + 1e-9:
            _, _, data = self._flight.popleft()
            self._in_flight -= len(data)
            self.arrived += data
        if self._flight:
            self._arm()
        self._reader.take_soon()

    @property
    def is_over(self) -> bool:
        """Everything written has arrived and been taken, and the writer has ended."""
        return self.ended and not self._flight and not self.arrived

    def taken(self) -> None:
        self._writer.made_room()


class MemoryTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, net: MemoryNet, process: Process | None, name: tuple[str, int], peer: tuple[str, int]) -> None:
        self._sock = MemorySocket(name)
        super().__init__({"socket": self._sock, "peername": peer, "sockname": name})
        self._net = net
        self.process = process
        self._context = contextvars.copy_context()
        self._protocol: Protocol = None
        self._closing = False
        self._lost = False
        self._reading = True
        self._taking = False
        self._high, self._low = 64 * 1024, 16 * 1024
        self._full = False
        self._eof_told = False
        self.max_size = 256 * 1024
        self.other: MemoryTransport = self
        self.outgoing: _Pipe
        self.incoming: _Pipe
        self.tap: WriteTap | None = None

    # --- asyncio.Transport -------------------------------------------------------------------------------------------

    def set_protocol(self, protocol: Protocol) -> None:
        """See asyncio."""
        self._protocol = protocol

    def get_protocol(self) -> Protocol:
        """See asyncio."""
        return self._protocol

    def is_closing(self) -> bool:
        """See asyncio."""
        return self._closing

    def is_reading(self) -> bool:
        """See asyncio."""
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """See asyncio."""
        self._reading = False

    def resume_reading(self) -> None:
        """See asyncio."""
        if not self._closing and not self._reading:
            self._reading = True
            self.take_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio."""
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """What the kernels have not taken."""
        return max(0, self.outgoing.unread - KERNEL_BYTES)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low, high."""
        return self._low, self._high

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio: after the end it is ignored."""
        if self._lost or self._closing:
            return
        if self.tap is not None:
            self.tap(self, bytes(data))
            if self._dead:
                return
        self.outgoing.put(bytes(data))
        if not self._full and self.get_write_buffer_size() > self._high:
            self._full = True
            self._protocol.pause_writing()

    def write_and(self, data: bytes) -> None:
        """Put bytes into the pipe without asking the tap: what a process wrote just before it was killed."""
        self.outgoing.put(data)

    def can_write_eof(self) -> bool:
        """See asyncio."""
        return True

    def write_eof(self) -> None:
        """See asyncio."""
        self.outgoing.end()

    def close(self) -> None:
        """Send what was written, then end."""
        if self._closing:
            return
        self._closing = True
        if self._sock.resets:
            self._reset_peer()
        if not self.get_write_buffer_size():
            self._end_soon(None)

    def abort(self) -> None:
        """End at once."""
        if self._lost:
            return
        self._closing = True
        if self._sock.resets:
            self._reset_peer()
        self._end_soon(None)

    # --- the other end and the net -----------------------------------------------------------------------------------

    @property
    def _dead(self) -> bool:
        return self.process is not None and not self.process.alive

    def made_room(self) -> None:
        """The reader has taken something."""
        if self._lost or self._dead:
            return
        if self._full and self.get_write_buffer_size() <= self._low:
            self._full = False
            self._call(self._protocol.resume_writing)
        if self._closing and not self.get_write_buffer_size():
            self._end_soon(None)

    def take_soon(self) -> None:
        """Something has arrived."""
        if self._taking:
            return
        self._taking = True
        self._net.loop.call_soon(self._take, context=self._net.context)

    def _take(self) -> None:
        self._taking = False
        pipe = self.incoming
        if self._lost or self._dead:
            if pipe.arrived or pipe.unread:
                # Nobody is there to read: the kernel answers with a reset.
                pipe.drop()
                self.other.reset_by_peer()
            return
        if not self.is_reading():
            return
        if pipe.arrived:
            data = bytes(pipe.arrived[: self.max_size])
            del pipe.arrived[: self.max_size]
            pipe.taken()
            self._context.run(self._protocol.data_received, data)
            if pipe.arrived or pipe.is_over:
                self.take_soon()
        elif pipe.is_over and not self._eof_told:
            self._eof_told = True
            if not self._context.run(self._protocol.eof_received):
                self.close()

    def reset_by_peer(self) -> None:
        """The peer's kernel has sent a reset."""
        if self._lost or self._dead:
            return
        self._closing = True
        self.incoming.drop()
        self._end_soon(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def die(self) -> None:
        """Its process was killed: the kernel closes the socket, with a reset if something was left unread."""
        if self._lost:
            return
        self._lost = self._closing = True
        if self.incoming.unread:
            self._reset_peer()
        self.outgoing.end()
        self.take_soon()

    def _reset_peer(self) -> None:
        self.outgoing.drop()
        self._net.loop.call_later(
            self._net.rng.uniform(*LATENCY_S), self.other.reset_by_peer, context=self._net.context
        )

    def _end_soon(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._call(self._end, error)

    def _end(self, error: Exception | None) -> None:
        self._net.forget(self)
        unread = self.incoming.unread
        try:
            self._protocol.connection_lost(error)
        finally:
            if error is None and not self._sock.resets:
                if unread:
                    self._reset_peer()
                else:
                    self.outgoing.end()

    def _call(self, callback: Callable[..., object], *args: object) -> None:
        self._net.loop.call_soon(callback, *args, context=self._context)


class MemoryServer(asyncio.AbstractServer):
    """A listening port."""

    def __init__(self, net: MemoryNet, factory: Factory, name: tuple[str, int], process: Process | None) -> None:
        self._net = net
        self.factory = factory
        self.name = name
        self.process = process
        self.context = contextvars.copy_context()
        self.sockets = (MemorySocket(name),)

    def close(self) -> None:
        """Refuse from now on."""
        self._net.stop_listening(self)

    def is_serving(self) -> bool:
        """Whether it listens."""
        return self._net.listens(self)

    async def wait_closed(self) -> None:
        """At once."""

    async def start_serving(self) -> None:
        """It does from the beginning."""

    async def serve_forever(self) -> None:
        """Nobody asks for it."""
        raise RuntimeError("a server in memory serves for as long as it is open")

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Its loop."""
        return self._net.loop


class MemoryNet:
    """All ports and connections of a loop."""

    def __init__(self, loop: StepLoop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.context = contextvars.Context()
        """In which the net itself works: it belongs to no process."""
        self._servers: dict[int, MemoryServer] = {}
        self.transports: dict[int, MemoryTransport] = {}
        self._next_port = _FIRST_PORT
        self._next = 0
        self.on_connect: Callable[[MemoryTransport], None] = lambda _: None
        """Told of the client's end of every new connection, to set its `tap`."""

    def listen(self, factory: Factory, host: str, port: int, process: Process | None) -> MemoryServer:
        """Open a port. Raises OSError where it is taken."""
        if not port:
            port, self._next_port = self._next_port, self._next_port + 1
        if port in self._servers:
            raise OSError(errno.EADDRINUSE, f"port {port} is in use")
        server = self._servers[port] = MemoryServer(self, factory, (host, port), process)
        return server

    def listens(self, server: MemoryServer) -> bool:
        """Whether the server's port is open."""
        return self._servers.get(server.name[1]) is server

    def stop_listening(self, server: MemoryServer) -> None:
        """Close its port; connections live on."""
        if self.listens(server):
            del self._servers[server.name[1]]

    async def connect(
        self, factory: Factory, host: str, port: int, process: Process | None
    ) -> tuple[MemoryTransport, Protocol]:
        """Open a connection. Raises ConnectionRefusedError."""
        arrived = self.loop.create_future()
        timer = self.loop.call_later(self.rng.uniform(*CONNECT_S), _settle, arrived)
        try:
            await arrived
        finally:
            timer.cancel()
        server = self._servers.get(port)
        if server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed ({host!r}, {port})")
        self._next += 1
        name = (host, 50_000 + self._next)
        ours = MemoryTransport(self, process, name, server.name)
        theirs = server.context.run(MemoryTransport, self, server.process, server.name, name)
        for one, other in ((ours, theirs), (theirs, ours)):
            one.other = other
            one.outgoing = other.incoming = _Pipe(self, other, one)
            self.transports[id(one)] = one
        protocol, accepted = factory(), server.context.run(server.factory)
        ours.set_protocol(protocol)
        theirs.set_protocol(accepted)
        self.on_connect(ours)
        server.context.run(accepted.connection_made, theirs)
        protocol.connection_made(ours)
        return ours, protocol

    def forget(self, transport: MemoryTransport) -> None:
        """It has ended."""
        self.transports.pop(id(transport), None)

    def of(self, process: Process) -> list[MemoryTransport]:
        """The open connections of a process."""
        return [one for one in self.transports.values() if one.process is process]

    def kill(self, process: Process) -> None:
        """Close all it has, as the kernel does."""
        for transport in self.of(process):
            self.forget(transport)
            transport.die()
        for server in [one for one in self._servers.values() if one.process is process]:
            server.close()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
