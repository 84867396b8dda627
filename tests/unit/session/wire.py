"""A broker made of switches, for the tests of the session: connected when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any, cast

from ibkr_connector.backends.base import Backend, ConnectInfo, LineHandle
from ibkr_connector.backends.facts import BrokerFact, SocketClosed, SystemNotice
from ibkr_connector.clock import Clock, SystemClock
from ibkr_connector.config.settings import BreakerSettings, ConnectionSettings, PacingSettings
from ibkr_connector.events import EventBus
from ibkr_connector.models.contract import Contract
from ibkr_connector.session.absence import KnownAbsences
from ibkr_connector.session.guard import Guard
from ibkr_connector.session.restart import GatewayRestart
from ibkr_connector.session.session import Session

INFO = ConnectInfo(
    accounts=("DU1",), next_valid_id=1, server_version=178, connected_at=datetime(2026, 3, 12, tzinfo=UTC)
)


class Gate:
    """Something that takes until the test opens it. Open at first."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.opened.set()
        self.passed = 0

    def shut(self) -> None:
        self.reached.clear()
        self.opened.clear()

    async def through(self) -> None:
        self.reached.set()
        await self.opened.wait()
        self.passed += 1


class FakeBackend:
    """What `Session` and `QuoteHub` use of a backend."""

    def __init__(self) -> None:
        self.connected = False
        self.connecting, self.disconnecting = Gate(), Gate()
        self.sink: Callable[[BrokerFact], None] = lambda _: None
        self.lines: dict[int, tuple[LineHandle, Any, Any]] = {}
        self.idle = asyncio.Event()
        """Set while no line is open that was open before."""
        self.opened = 0
        self.closed_lines = 0
        self.renewed = 0
        self.refusals: list[Exception] = []
        """What the next attempts to connect end with."""

    def on_fact(self, sink: Callable[[BrokerFact], None]) -> None:
        self.sink = sink

    def pace_with(self, later: Any) -> None:
        self.later = later

    async def connect(self, **_: Any) -> ConnectInfo:
        await self.connecting.through()
        if self.refusals:
            raise self.refusals.pop(0)
        self.connected = True
        return INFO

    async def disconnect(self) -> None:
        await self.disconnecting.through()
        self.connected = False

    async def server_time(self, timeout: float) -> datetime:
        return INFO.connected_at

    def open_line(self, contract: Contract, sink: Any, on_error: Any, generic_ticks: str = "") -> LineHandle:
        self.opened += 1
        handle = LineHandle(req_id=self.opened, contract=contract)
        self.lines[self.opened] = (handle, sink, on_error)
        self.idle.clear()
        return handle

    def close_line(self, line: LineHandle) -> None:
        self.closed_lines += 1
        self.lines.pop(line.req_id, None)
        if not self.lines:
            self.idle.set()

    def renew_line(self, line: LineHandle) -> None:
        self.renewed += 1

    def cut(self, reason: str = "the cable was pulled") -> None:
        self.connected = False
        self.sink(SocketClosed(reason=reason, expected=False))

    def notice(self, code: int) -> None:
        self.sink(SystemNotice(code=code, text="text"))


def session_over(
    backend: FakeBackend,
    clock: Clock | None = None,
    *,
    absences: KnownAbsences | None = None,
    restart: GatewayRestart | None = None,
    bus: EventBus | None = None,
    **settings: Any,
) -> Session:
    clock = clock or SystemClock()
    connection = ConnectionSettings(connect_delays=(0.01, 0.01, 0.01), **settings)
    guard = Guard(connection=connection, pacing=PacingSettings(), breaker=BreakerSettings(), clock=clock, rng=Random(7))
    return Session(
        backend=cast("Backend", backend),
        settings=connection,
        guard=guard,
        clock=clock,
        bus=bus or EventBus(),
        rng=Random(7),
        absences=absences,
        restart=restart,
    )
