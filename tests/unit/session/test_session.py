"""The session's life: who shares an attempt, what `ready` means, and ends that come from several sides at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ibkr_connector.backends.base import ConnectInfo
from ibkr_connector.errors import BrokerLinkLost, ConnectionLost, ConnectorClosed, NotConnected
from ibkr_connector.session.link import LinkState
from ibkr_connector.session.session import Session
from unit.session.wire import FakeBackend, Gate, session_over

SECONDS = 20.0


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def session(backend: FakeBackend) -> AsyncIterator[Session]:
    made = session_over(backend)
    yield made
    for gate in (backend.connecting, backend.disconnecting):
        gate.opened.set()
    await made.close()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def state_of(session: Session) -> LinkState:
    """A function, so that type checkers do not take the last answer for the next."""
    return session.link.state


async def soon(condition: asyncio.Event) -> None:
    await asyncio.wait_for(condition.wait(), SECONDS)


# --- sharing one attempt ----------------------------------------------------------------------------------------------


async def test_one_of_two_connecting_callers_leaves_and_the_other_is_connected(
    session: Session, backend: FakeBackend
) -> None:
    backend.connecting.shut()
    leaves, stays = asyncio.create_task(session.connect()), asyncio.create_task(session.connect())
    await soon(backend.connecting.reached)
    leaves.cancel()
    await settle()
    backend.connecting.opened.set()
    await asyncio.wait_for(stays, SECONDS)
    assert session.link.state is LinkState.READY
    assert backend.connecting.passed == 1


async def test_connect_that_everybody_left_connects_nothing_behind_their_backs(
    session: Session, backend: FakeBackend
) -> None:
    backend.connecting.shut()
    callers = [asyncio.create_task(session.connect()) for _ in range(2)]
    await soon(backend.connecting.reached)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    backend.connecting.opened.set()
    await settle()
    assert state_of(session) is LinkState.DISCONNECTED
    await asyncio.wait_for(session.connect(), SECONDS)
    assert state_of(session) is LinkState.READY


async def test_connect_waits_for_the_end_of_an_attempt_that_was_given_up(
    session: Session, backend: FakeBackend
) -> None:
    """Two attempts at once would write into each other's connection."""
    sync = Gate()
    session.on_ready("sync", lambda _: sync.through())
    sync.shut()
    first = asyncio.create_task(session.connect())
    await soon(sync.reached)
    backend.disconnecting.shut()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await soon(backend.disconnecting.reached)  # the attempt is being taken back
    second = asyncio.create_task(session.connect())
    await settle()
    assert backend.connecting.passed == 1
    sync.opened.set()
    backend.disconnecting.opened.set()
    await asyncio.wait_for(second, SECONDS)
    assert (session.link.state, backend.connecting.passed) == (LinkState.READY, 2)


async def test_disconnect_in_the_middle_of_a_connect_says_so(session: Session, backend: FakeBackend) -> None:
    backend.connecting.shut()
    callers = [asyncio.create_task(session.connect()) for _ in range(2)]
    await soon(backend.connecting.reached)
    await asyncio.wait_for(session.disconnect(), SECONDS)
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [NotConnected, NotConnected]
    assert "disconnect() or close()" in str(results[0])


# --- ready ------------------------------------------------------------------------------------------------------------


async def test_ready_waits_for_the_broker_link_and_not_only_for_the_socket(
    session: Session, backend: FakeBackend
) -> None:
    """During 1100 no order can be placed: whoever waits for `ready` must not be told otherwise."""
    await session.connect()
    backend.notice(1100)
    assert session.link.state is LinkState.READY
    with pytest.raises(NotConnected, match="1100") as caught:
        await session.ready(0.05)
    assert "connect()" not in caught.value.remedy
    waiting = asyncio.create_task(session.ready(SECONDS))
    await settle()
    assert not waiting.done()
    backend.notice(1102)
    await waiting
    assert not session.link.why_no_orders


async def test_ready_after_a_sync_in_which_the_link_was_lost_waits_too(session: Session, backend: FakeBackend) -> None:
    async def loses(_: ConnectInfo) -> None:
        if backend.connecting.passed == 1 and not lost:
            lost.append(True)
            backend.notice(1100)

    lost: list[bool] = []
    session.on_ready("loses", loses)
    await session.connect()
    with pytest.raises(NotConnected, match="1100"):
        await session.ready(0.05)
    backend.notice(1102)
    await session.ready(SECONDS)


async def test_ready_ends_with_the_session(session: Session) -> None:
    waiting = asyncio.create_task(session.ready(SECONDS))
    await settle()
    await session.close()
    with pytest.raises(ConnectorClosed):
        await waiting


# --- what a call is told while there is no connection -----------------------------------------------------------------


async def test_read_beside_a_start_up_sync_that_was_cut_can_be_made_again(
    session: Session, backend: FakeBackend
) -> None:
    """ "Call connect() first" would be wrong: it was called, and is being tried again."""
    sync = Gate()
    session.on_ready("sync", lambda _: sync.through())
    sync.shut()
    connecting = asyncio.create_task(session.connect())
    await soon(sync.reached)
    backend.cut()
    with pytest.raises(ConnectionLost) as caught:
        await session.read("the time", backend.server_time, timeout=1.0, retry=False)
    assert caught.value.retryable
    assert "connect()" not in caught.value.remedy
    sync.opened.set()
    await asyncio.wait_for(connecting, SECONDS)


async def test_read_without_any_connect_says_to_connect(session: Session, backend: FakeBackend) -> None:
    with pytest.raises(NotConnected, match="no connection"):
        await session.read("the time", backend.server_time, timeout=1.0, retry=False)


async def test_figures_during_an_outage_of_the_gateway_are_not_blamed_on_a_missing_connect(
    session: Session, backend: FakeBackend
) -> None:
    await session.connect()
    backend.notice(1100)
    assert isinstance(session.unavailable("figures are not current"), BrokerLinkLost)
    assert "1100" in str(session.unavailable("figures are not current"))
    await session.disconnect()
    assert isinstance(session.unavailable("figures are not current"), NotConnected)


# --- several ends at once ---------------------------------------------------------------------------------------------


async def test_disconnects_and_closes_from_all_sides_end_in_closed(session: Session, backend: FakeBackend) -> None:
    await session.connect()
    backend.disconnecting.shut()
    ends = [
        asyncio.create_task(end()) for end in (session.disconnect, session.close, session.disconnect, session.close)
    ]
    await soon(backend.disconnecting.reached)
    backend.disconnecting.opened.set()
    assert await asyncio.wait_for(asyncio.gather(*ends), SECONDS) == [None] * 4
    assert session.link.state is LinkState.CLOSED
    with pytest.raises(ConnectorClosed):
        await session.connect()


async def test_connect_beside_a_disconnect_comes_after_it(session: Session, backend: FakeBackend) -> None:
    await session.connect()
    backend.disconnecting.shut()
    leaving = asyncio.create_task(session.disconnect())
    await soon(backend.disconnecting.reached)
    again = asyncio.create_task(session.connect())
    await settle()
    assert not again.done()
    backend.disconnecting.opened.set()
    await asyncio.wait_for(asyncio.gather(leaving, again), SECONDS)
    assert (session.link.state, backend.connecting.passed) == (LinkState.READY, 2)


async def test_close_ends_a_resync_that_waits_for_the_one_before_it(session: Session, backend: FakeBackend) -> None:
    """The second resync waits until the first has ended; a close in that moment must end both, and not start one."""
    sync, cleaned_up = Gate(), asyncio.Event()

    begun: list[ConnectInfo] = []

    async def step(info: ConnectInfo) -> None:
        begun.append(info)
        try:
            await sync.through()
        except asyncio.CancelledError:
            await cleaned_up.wait()
            raise

    session.on_ready("sync", step)
    await session.connect()
    sync.shut()
    backend.notice(1100)
    backend.notice(1102)
    await soon(sync.reached)
    session._keeper.resync()
    await asyncio.sleep(0)  # the new one has cancelled the old one, which takes its time, and waits
    closing = asyncio.create_task(session.close())
    await settle()
    cleaned_up.set()
    ended, _ = await asyncio.wait({closing}, timeout=5)
    assert ended
    assert session.link.state is LinkState.CLOSED
    assert len(begun) == 2  # the connect's and the first resync's
