"""One connection on a loop whose time the test moves: the message rate, back-pressure, the start."""

from __future__ import annotations

import asyncio
import heapq
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from ibkr_connector.paper.tws import connection as module
from ibkr_connector.paper.tws.connection import Connection
from ibkr_connector.paper.tws.options import TwsOptions
from ibkr_connector.paper.tws.texts import ID_IN_USE, Error

TIME = ("49", "1")


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A clock and a list of timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Handle, Callable[[], None]]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., None], *arguments: Any) -> Handle:
        handle = Handle()
        heapq.heappush(self._timers, (self.now + delay, next(self._order), handle, lambda: callback(*arguments)))
        return handle

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> Handle:
        return self.call_later(0.0, callback, *arguments)

    def create_future(self) -> asyncio.Future[None]:
        loop = asyncio.new_event_loop()
        loop.close()
        return asyncio.Future(loop=loop)

    def move(self, seconds: float) -> None:
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            self.now, _, handle, callback = heapq.heappop(self._timers)
            if not handle.cancelled:
                callback()
        self.now = until


class Transport(asyncio.Transport):
    """Remembers what was done with it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 40001)})
        self.packets: list[bytes] = []
        self.reading = True
        self.ended = ""
        self.unread = 0

    @property
    def sent(self) -> bytes:
        return b"".join(self.packets)

    def write(self, data: Any) -> None:
        self.packets.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.ended = "aborted"

    def close(self) -> None:
        self.ended = "closed"


class Truth:
    def __init__(self) -> None:
        self.kinds: list[str] = []

    def record(self, kind: str, **_: object) -> None:
        self.kinds.append(kind)


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 4, 15, 14, tzinfo=UTC)


@dataclass
class FakeHub:
    options: TwsOptions
    loop: Loop = field(default_factory=Loop)
    clock: Clock = field(default_factory=Clock)
    truth: Truth = field(default_factory=Truth)
    sessions: dict[int, Any] = field(default_factory=dict)
    taps: None = None


class FakeSession:
    """Counts what reaches it."""

    def __init__(self, hub: Any, link: Any, client_id: int, version: int) -> None:
        self.client_id, self.version = client_id, version
        self.handled: list[list[str]] = []
        self.arrived: list[float] = []
        self.closed = False

    def greet(self) -> None:
        pass

    def handle(self, fields: list[str], arrived: float) -> None:
        self.handled.append(fields)
        self.arrived.append(arrived)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def _fake_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Session", FakeSession)


def make(options: TwsOptions | None = None, claim: Error | None = None) -> tuple[Connection, Transport, FakeHub]:
    hub = FakeHub(options or TwsOptions())
    link = Connection(hub, lambda _, __: claim, lambda _: None)  # type: ignore[arg-type]
    transport = Transport()
    link.connection_made(transport)
    return link, transport, hub


def pack(*fields: str) -> bytes:
    payload = "".join(f"{text}\0" for text in fields).encode()
    return struct.pack(">I", len(payload)) + payload


def start(link: Connection, options: str = "") -> FakeSession:
    greeting = f"v178..178{' ' + options if options else ''}".encode()
    link.data_received(b"API\0" + struct.pack(">I", len(greeting)) + greeting + pack("71", "2", "1", ""))
    session: object = link.session
    assert isinstance(session, FakeSession)
    return session


def last_error(transport: Transport) -> tuple[str, str]:
    text = transport.sent.decode().rstrip("\0").split("\0")
    at = len(text) - 1 - text[::-1].index("-1")
    return text[at + 1], text[at + 2]


def test_the_fifty_first_message_waits_until_a_second_has_passed_and_the_peer_is_not_read_meanwhile() -> None:
    link, transport, hub = make()
    session = start(link)
    link.data_received(pack(*TIME) * 60)
    assert len(session.handled) == 50
    assert not transport.is_reading()
    hub.loop.move(0.99)
    assert len(session.handled) == 50
    hub.loop.move(0.02)
    assert len(session.handled) == 60
    assert len(set(session.arrived)) == 1  # all came at once, whenever they were looked at
    assert transport.is_reading()


def test_without_a_limit_everything_is_answered_in_shares() -> None:
    link, transport, hub = make(TwsOptions(message_rate_limit=None))
    session = start(link)
    link.data_received(pack(*TIME) * 250)
    assert len(session.handled) == module.MESSAGES_PER_TURN
    hub.loop.move(0.0)
    assert len(session.handled) == 250
    assert transport.is_reading()


def test_rejecting_answers_100_and_the_third_breach_ends_the_session() -> None:
    link, transport, hub = make(TwsOptions(rate_mode="reject"))
    session = start(link)
    for breach in (1, 2, 3):
        link.data_received(pack(*TIME) * 51)
        hub.loop.move(0.0)
        code, text = last_error(transport)
        assert (code, text) == ("100", f"Max rate of messages per second has been exceeded:max=50 rec=51 ({breach})")
        assert len(session.handled) == 50 * breach
        assert transport.ended == ("closed" if breach == 3 else "")
        hub.loop.move(1.1)


def test_a_client_that_asked_for_pacing_is_never_rejected() -> None:
    link, transport, hub = make(TwsOptions(rate_mode="reject"))
    session = start(link, "+PACEAPI")
    link.data_received(pack(*TIME) * 120)
    hub.loop.move(3.0)
    assert len(session.handled) == 120
    assert b"exceeded" not in transport.sent


def test_a_peer_that_leaves_more_than_the_limit_unread_is_aborted() -> None:
    link, transport, hub = make(TwsOptions(write_limit=1000))
    start(link)
    transport.unread = 1000
    link.write(b"x")
    hub.loop.move(0.0)
    assert transport.ended == ""
    transport.unread = 1001
    link.write(b"x")
    hub.loop.move(0.0)
    assert (transport.ended, link.reason) == ("aborted", "does not read what it is sent")
    before = transport.sent
    link.write(b"more")
    hub.loop.move(0.0)
    assert transport.sent == before


def test_what_is_written_in_one_turn_leaves_in_one_packet_so_that_no_client_sees_half_a_quote() -> None:
    link, transport, hub = make()
    start(link)
    before = len(transport.packets)
    link.write(b"bid")
    link.write(b"ask")
    assert len(transport.packets) == before
    hub.loop.move(0.0)
    assert transport.packets[before:] == [b"bidask"]
    link.write(b"last")
    hub.loop.move(0.0)
    assert transport.packets[before:] == [b"bidask", b"last"]


def test_much_that_is_written_in_one_turn_is_not_kept_back_and_the_limit_counts_it() -> None:
    link, transport, _ = make(TwsOptions(write_limit=1000))
    start(link)
    transport.unread = 1001
    link.write(bytes(module.PACKET))
    assert transport.ended == ""
    link.write(b"x")
    assert (transport.ended, link.reason) == ("aborted", "does not read what it is sent")


@pytest.mark.parametrize(("end", "ended"), [("drop", "aborted"), ("close", "closed")])
def test_the_end_of_a_connection_comes_after_what_was_written_before_it(end: str, ended: str) -> None:
    link, transport, hub = make()
    start(link)
    link.write(b"written before")
    getattr(link, end)("over")
    assert transport.ended == ended
    assert transport.packets[-1] == b"written before"
    hub.loop.move(0.0)
    assert transport.packets[-1] == b"written before"


def test_a_fault_bends_what_is_written_after_it_and_not_what_was_written_before_it_in_the_same_turn() -> None:
    link, transport, _ = make()
    start(link)
    link.write(b"before")
    link.freeze()
    link.write(b"after")
    assert transport.packets[-1] == b"before"


def test_nothing_follows_the_greeting_in_its_packet_because_ibapi_would_not_read_it() -> None:
    link, transport, hub = make(claim=ID_IN_USE)
    link.data_received(b"API\0" + struct.pack(">I", 9) + b"v178..178" + pack("71", "2", "1", ""))
    hub.loop.move(0.0)
    assert [b"326" in packet for packet in transport.packets] == [False, True]


def test_a_peer_that_does_not_introduce_itself_is_aborted() -> None:
    link, transport, hub = make(TwsOptions(handshake_timeout=30))
    link.data_received(b"API\0")
    hub.loop.move(29.9)
    assert transport.ended == ""
    hub.loop.move(0.2)
    assert transport.ended == "aborted"


def test_a_started_client_has_no_deadline() -> None:
    link, transport, hub = make(TwsOptions(handshake_timeout=30))
    start(link)
    hub.loop.move(3600.0)
    assert transport.ended == ""


def test_a_refused_client_id_gets_its_error_before_the_close() -> None:
    link, transport, hub = make(claim=ID_IN_USE)
    link.data_received(b"API\0" + struct.pack(">I", 9) + b"v178..178" + pack("71", "2", "1", ""))
    assert link.session is None
    assert last_error(transport) == ("326", ID_IN_USE[1])
    assert transport.ended == "closed"
    assert hub.truth.kinds == []


@pytest.mark.parametrize("fields", [("71", "2"), ("71", "2", "x", ""), ("71", "2", "1", "", "more")])
def test_an_unreadable_start_is_error_320_and_no_session(fields: tuple[str, ...]) -> None:
    link, transport, hub = make()
    link.data_received(b"API\0" + struct.pack(">I", 9) + b"v178..178" + pack(*fields))
    hub.loop.move(0.0)
    assert link.session is None
    assert last_error(transport)[0] == "320"


def test_losing_the_connection_ends_the_session_and_every_timer() -> None:
    link, _, hub = make()
    session = start(link)
    link.data_received(pack(*TIME) * 60)
    link.connection_lost(None)
    assert session.closed
    handled = len(session.handled)
    hub.loop.move(10.0)
    assert len(session.handled) == handled


def test_before_the_start_a_long_frame_is_refused() -> None:
    link, transport, _ = make()
    link.data_received(b"API\0" + struct.pack(">I", 9) + b"v178..178" + struct.pack(">I", module.BEFORE_START + 1))
    assert transport.ended == "aborted"
