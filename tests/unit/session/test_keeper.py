"""Keeping a connection through an outage: patience that grows, words that are honoured, a gateway that is restarted."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.config.gateway import GatewaySettings
from ibkr_connector.errors import ClientIdInUse, ConnectionRefused, IBKRConnectionError
from ibkr_connector.events import Event, EventBus, Incident
from ibkr_connector.session.absence import Absence, KnownAbsences
from ibkr_connector.session.link import LinkState
from ibkr_connector.session.restart import GatewayRestart
from ibkr_connector.session.session import Session
from support.stepclock import StepClock, settle
from unit.session.wire import FakeBackend, session_over

REFUSED = ConnectionRefused("nobody listens")


def state_of(session: Session) -> LinkState:
    """A function, so that type checkers do not take the last answer for the next."""
    return session.link.state


class Away(KnownAbsences):
    """An absence that the test ends."""

    def __init__(self, absence: Absence | None) -> None:
        super().__init__(GatewaySettings())
        self.absence = absence

    def at(self, now: Any) -> Absence | None:
        del now
        return self.absence


class OneCommand(GatewayRestart):
    """Counts instead of running."""

    def __init__(self, folder: Path, clock: StepClock, **settings: object) -> None:
        given = GatewaySettings.model_validate({"restart_command": [sys.executable], **settings})
        super().__init__(given, where="h:1", state_dir=folder, clock=clock, tell=lambda *_: None)
        self.runs = 0
        self.running = asyncio.Event()
        self.ended = asyncio.Event()
        self.ended.set()

    async def run_if_due(self) -> bool:
        if not self.trouble.why(self._clock.monotonic()):
            return False
        self.trouble.went_well()
        self.trouble.new_connection()
        self.running.set()
        await self.ended.wait()
        self.runs += 1
        return True


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def sessions() -> AsyncIterator[list[Session]]:
    made: list[Session] = []
    yield made
    for session in made:
        await session.close()


async def lost(session: Session, backend: FakeBackend, refusals: list[Exception]) -> None:
    """Connect, and lose it again."""
    await session.connect()
    backend.refusals = refusals
    backend.cut()
    await settle()


async def test_attempts_become_rarer_and_the_breaker_has_its_say(
    clock: StepClock, backend: FakeBackend, sessions: list[Session]
) -> None:
    session = session_over(backend, clock)
    sessions.append(session)
    await lost(session, backend, [REFUSED] * 3)
    assert state_of(session) is LinkState.RECONNECTING
    await clock.step(1.0 + 2.0 + 4.0)
    assert backend.refusals == []
    assert state_of(session) is LinkState.CIRCUIT_OPEN
    await clock.step(22.0)
    assert state_of(session) is LinkState.CIRCUIT_OPEN, "nobody knocks before the cool-down is over"
    await clock.step(17.0)
    assert state_of(session) is LinkState.READY


async def test_client_id_in_use_is_waited_for_and_never_changed(
    clock: StepClock, backend: FakeBackend, sessions: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """326 after a loss is our own half-open predecessor: another id would leave its orders behind."""
    ids: list[int] = []
    connect = backend.connect

    async def watched(**given: Any) -> Any:
        ids.append(given["client_id"])
        return await connect(**given)

    monkeypatch.setattr(backend, "connect", watched)
    session = session_over(backend, clock, client_id=5)
    sessions.append(session)
    await lost(session, backend, [ClientIdInUse("in use")] * 6)
    for _ in range(60):
        await clock.step(10.0)
    assert state_of(session) is LinkState.READY
    assert ids == [5] * 8


async def test_a_known_absence_is_slept_through_once_attempts_have_failed(
    clock: StepClock, backend: FakeBackend, sessions: list[Session]
) -> None:
    away = Away(Absence("IBKR's nightly reset until 00:05 New York", 900.0))
    session = session_over(backend, clock, absences=away)
    sessions.append(session)
    await lost(session, backend, [REFUSED] * 3)
    await clock.step(7.0)
    assert state_of(session) is LinkState.CIRCUIT_OPEN
    assert "nightly reset until 00:05" in session.link.last_reason
    away.absence = None
    await clock.step(880.0)
    assert state_of(session) is LinkState.CIRCUIT_OPEN
    await clock.step(60.0)
    assert state_of(session) is LinkState.READY


async def test_a_breaker_that_an_operator_opened_is_waited_for_and_not_knocked_at(
    clock: StepClock, backend: FakeBackend, sessions: list[Session]
) -> None:
    session = session_over(backend, clock)
    sessions.append(session)
    await session.connect()
    session.guard.connect.force_open(clock.monotonic(), "maintenance")
    backend.cut()
    await clock.step(3_600.0)
    assert state_of(session) is LinkState.CIRCUIT_OPEN
    assert backend.connecting.passed == 1
    session.guard.connect.reset(clock.monotonic())
    await clock.step(10.0)
    assert state_of(session) is LinkState.READY


# --- the restart ------------------------------------------------------------------------------------------------------


async def test_after_repeated_failures_the_gateway_is_restarted_and_connected_to_at_once(
    clock: StepClock, backend: FakeBackend, sessions: list[Session], tmp_path: Path
) -> None:
    restart = OneCommand(tmp_path, clock, restart_after=3)
    session = session_over(backend, clock, restart=restart)
    sessions.append(session)
    await lost(session, backend, [REFUSED] * 3)
    await clock.step(7.0)
    assert restart.runs == 1
    await clock.step(2.0)
    assert state_of(session) is LinkState.READY, "the cool-down was for the gateway that is gone"


async def test_a_first_connect_has_the_gateway_restarted_too(
    clock: StepClock, backend: FakeBackend, sessions: list[Session], tmp_path: Path
) -> None:
    restart = OneCommand(tmp_path, clock, restart_after=3)
    session = session_over(backend, clock, restart=restart)
    sessions.append(session)
    backend.refusals = [REFUSED] * 3
    connecting = asyncio.create_task(session.connect())
    await clock.step(10.0)
    await connecting
    assert restart.runs == 1
    assert state_of(session) is LinkState.READY


async def test_no_restart_while_the_broker_is_known_to_be_away(
    clock: StepClock, backend: FakeBackend, sessions: list[Session], tmp_path: Path
) -> None:
    restart = OneCommand(tmp_path, clock, restart_after=1)
    session = session_over(backend, clock, restart=restart, absences=Away(Absence("reset", 60.0)))
    sessions.append(session)
    backend.refusals = [REFUSED] * 3
    connecting = asyncio.create_task(session.connect())
    await clock.step(10.0)
    with pytest.raises(IBKRConnectionError):
        await connecting
    assert restart.runs == 0


async def test_a_broken_farm_restarts_the_gateway_and_the_loss_that_follows_does_not_stop_the_command(
    clock: StepClock, backend: FakeBackend, sessions: list[Session], tmp_path: Path
) -> None:
    restart = OneCommand(tmp_path, clock, restart_after=9, restart_farms_after=30.0)
    session = session_over(backend, clock, restart=restart)
    sessions.append(session)
    await session.connect()
    backend.notice(2103)
    restart.ended.clear()
    await clock.step(45.0)
    assert restart.running.is_set()
    backend.cut("the gateway is being restarted")
    await clock.step(30.0)
    assert backend.connecting.passed == 1, "nobody knocks while it is being restarted"
    restart.ended.set()
    await clock.step(5.0)
    assert (restart.runs, state_of(session)) == (1, LinkState.READY)


async def test_a_heartbeat_goes_on_where_no_restart_was_due(
    clock: StepClock, backend: FakeBackend, sessions: list[Session], tmp_path: Path
) -> None:
    session = session_over(backend, clock, restart=OneCommand(tmp_path, clock))
    sessions.append(session)
    await session.connect()
    asked: list[float] = []
    ask = backend.server_time

    async def watched(timeout: float) -> Any:
        asked.append(clock.monotonic())
        return await ask(timeout)

    backend.server_time = watched  # type: ignore[method-assign]
    await clock.step(100.0)
    assert len(asked) >= 4


async def test_what_could_not_be_reconnected_is_told(
    clock: StepClock, backend: FakeBackend, sessions: list[Session]
) -> None:
    bus, told = EventBus(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(event: Event) -> None:
        if isinstance(event, Incident) and event.kind == "credential_use":
            loop.call_soon_threadsafe(told.set)

    bus.subscribe(listen)
    session = session_over(backend, clock, bus=bus)
    sessions.append(session)
    await lost(session, backend, [ClientIdInUse("in use")])
    await clock.step(5.0)
    await asyncio.wait_for(told.wait(), 10.0)
    assert state_of(session) is LinkState.READY
    await session.close()
    bus.close()
