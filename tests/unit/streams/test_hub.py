"""Lines shared by readers who come, leave, die and are cut off: none leaks, none waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ibkr_connector.errors import (
    BrokerLinkLost,
    ConnectorClosed,
    MarketDataNotSubscribed,
    NoMarketData,
    PacingTimeout,
    TooManyMarketDataLines,
)
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote
from ibkr_connector.session.lines import LineLeases
from ibkr_connector.session.mailbox import Mailbox
from ibkr_connector.session.session import Session
from ibkr_connector.streams.hub import QuoteHub
from ibkr_connector.streams.quotes import QuoteStream
from unit.session.wire import FakeBackend, Gate, session_over

AAPL = Contract.stock("AAPL").with_con_id(265598)
SECONDS = 20.0


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def session(backend: FakeBackend) -> AsyncIterator[Session]:
    made = session_over(backend)
    await made.connect()
    yield made
    await made.close()


@pytest.fixture
async def hub(session: Session) -> AsyncIterator[QuoteHub]:
    made = QuoteHub(session, LineLeases(2), linger_s=0.01)
    yield made
    made.close()


@pytest.fixture
def pace(session: Session, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The wait for a slot, in the test's hands."""
    gate = Gate()

    async def wait(*_: Any, **__: Any) -> None:
        await gate.through()

    monkeypatch.setattr(session, "pace", wait)
    return gate


def box() -> Mailbox[Quote]:
    return Mailbox(asyncio.get_running_loop(), 100)


def tick(backend: FakeBackend, **values: Any) -> None:
    given: dict[str, Any] = {"con_id": AAPL.con_id, "symbol": "AAPL", "bid": 1.0, "ask": 2.0, **values}
    for _, sink, _ in list(backend.lines.values()):
        sink(Quote(**given))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def until_given_back(backend: FakeBackend) -> None:
    await asyncio.wait_for(backend.idle.wait(), SECONDS)


# --- readers that are gone --------------------------------------------------------------------------------------------


async def test_reader_whose_loop_died_gives_its_line_back(hub: QuoteHub, backend: FakeBackend) -> None:
    loop = asyncio.new_event_loop()
    dead: Mailbox[Quote] = Mailbox(loop, 100)
    alive = box()
    await hub.attach(AAPL, dead, SECONDS)
    await hub.attach(AAPL, alive, SECONDS)
    tick(backend)
    loop.close()
    tick(backend, bid=1.5)
    assert hub._lines[AAPL.con_id].readers == {alive}
    assert len(alive.drain()) == 2
    alive.close()
    tick(backend)
    await until_given_back(backend)
    assert hub._leases.free == 2


async def test_reader_that_left_while_its_line_was_opened_is_not_fed(hub: QuoteHub, backend: FakeBackend) -> None:
    left = box()
    left.close()
    await hub.attach(AAPL, left, SECONDS)
    await until_given_back(backend)
    assert not hub._lines


async def test_stream_cancelled_while_it_starts_leaves_no_reader_behind(
    hub: QuoteHub, backend: FakeBackend, session: Session
) -> None:
    attached = asyncio.Event()

    async def attach(one: Mailbox[Quote]) -> Contract:
        await hub.attach(AAPL, one, SECONDS)
        attached.set()
        await asyncio.Event().wait()  # the way back to the caller
        return AAPL

    async def detach(contract: Contract, one: Mailbox[Quote]) -> None:
        hub.detach(contract, one)

    starting = asyncio.create_task(QuoteStream(attach, detach, 10).start())
    await attached.wait()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    tick(backend)
    await until_given_back(backend)


# --- opening together -------------------------------------------------------------------------------------------------


async def test_one_of_two_who_open_a_line_leaves_and_the_other_gets_it(
    hub: QuoteHub, backend: FakeBackend, pace: Gate
) -> None:
    pace.shut()
    leaves = asyncio.create_task(hub.attach(AAPL, box(), SECONDS))
    stays = asyncio.create_task(hub.attach(AAPL, kept := box(), SECONDS))
    await pace.reached.wait()
    leaves.cancel()
    await settle()
    pace.opened.set()
    await asyncio.wait_for(stays, SECONDS)
    assert backend.opened == 1
    assert hub._lines[AAPL.con_id].readers == {kept}


async def test_line_whose_openers_all_left_is_neither_opened_nor_leased(
    hub: QuoteHub, backend: FakeBackend, pace: Gate
) -> None:
    pace.shut()
    callers = [asyncio.create_task(hub.quote(AAPL, max_age=1, timeout=SECONDS)) for _ in range(2)]
    await pace.reached.wait()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    pace.opened.set()
    await settle()
    assert (backend.opened, hub._leases.free, hub._lines) == (0, 2, {})


async def test_second_opener_keeps_its_own_deadline(hub: QuoteHub, pace: Gate) -> None:
    pace.shut()
    patient = asyncio.create_task(hub.quote(AAPL, max_age=1, timeout=SECONDS))
    await pace.reached.wait()
    with pytest.raises(NoMarketData):
        await asyncio.wait_for(hub.quote(AAPL, max_age=1, timeout=0.02), 5)
    assert not patient.done()
    patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)


async def test_who_joins_an_opening_does_not_get_the_others_want_of_time(
    hub: QuoteHub, session: Session, pace: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*_: Any, timeout: float, **__: Any) -> None:
        await pace.through()
        if timeout < SECONDS / 2:
            raise PacingTimeout("no slot within so short a time.")

    monkeypatch.setattr(session, "pace", wait)
    pace.shut()
    hasty = asyncio.create_task(hub.attach(AAPL, box(), SECONDS / 4))
    await pace.reached.wait()
    patient = asyncio.create_task(hub.attach(AAPL, kept := box(), SECONDS))
    await settle()
    pace.opened.set()
    with pytest.raises(PacingTimeout):
        await hasty
    await asyncio.wait_for(patient, SECONDS)
    assert hub._lines[AAPL.con_id].readers == {kept}


async def test_line_lost_and_opened_by_two_ways_at_once_is_opened_once(
    hub: QuoteHub, backend: FakeBackend, pace: Gate
) -> None:
    await hub.attach(AAPL, box(), SECONDS)
    hub.lost()
    backend.lines.clear()
    pace.shut()
    asking = asyncio.create_task(hub.attach(AAPL, box(), SECONDS))
    again = asyncio.create_task(hub.resubscribe())
    hub.retry_lost()
    await settle()
    pace.opened.set()
    await asyncio.wait_for(asyncio.gather(asking, again), SECONDS)
    assert backend.opened == 2  # the first one, and one after the loss
    assert len(hub._lines[AAPL.con_id].readers) == 2


async def test_line_that_is_being_opened_is_not_given_away(hub: QuoteHub, backend: FakeBackend, pace: Gate) -> None:
    """Under pressure for lines the idle ones go first; one that is about to be read is not idle."""
    pace.shut()
    opening = [
        asyncio.create_task(hub.attach(Contract.stock(name).with_con_id(number), box(), SECONDS))
        for number, name in ((1, "A"), (2, "B"))
    ]
    await settle()
    third = asyncio.create_task(hub.attach(Contract.stock("C").with_con_id(3), box(), SECONDS))
    await settle()
    pace.opened.set()
    results = await asyncio.gather(*opening, third, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["NoneType", "NoneType", "TooManyMarketDataLines"]
    assert backend.opened == 2


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_close_ends_readers_and_waiters_and_lets_nobody_begin(hub: QuoteHub, backend: FakeBackend) -> None:
    reading = box()
    await hub.attach(AAPL, reading, SECONDS)
    waiting = asyncio.create_task(hub.quote(AAPL, max_age=1, timeout=SECONDS))
    await settle()
    hub.close()
    with pytest.raises(StopAsyncIteration):
        await reading.get()
    with pytest.raises(ConnectorClosed):
        await asyncio.wait_for(waiting, 5)
    for late in (hub.attach(AAPL, box(), SECONDS), hub.quote(AAPL, max_age=1, timeout=SECONDS)):
        with pytest.raises(ConnectorClosed):
            await asyncio.wait_for(late, 5)
    assert hub._leases.free == 2


async def test_close_ends_a_line_that_is_being_opened(hub: QuoteHub, backend: FakeBackend, pace: Gate) -> None:
    pace.shut()
    opening = asyncio.create_task(hub.attach(AAPL, box(), SECONDS))
    await pace.reached.wait()
    hub.close()
    with pytest.raises(ConnectorClosed):
        await asyncio.wait_for(opening, 5)
    pace.opened.set()
    await settle()
    assert backend.opened == 0


async def test_closing_a_stream_after_the_connector_is_no_error(hub: QuoteHub) -> None:
    async def attach(one: Mailbox[Quote]) -> Contract:
        await hub.attach(AAPL, one, SECONDS)
        return AAPL

    async def closed(contract: Contract, one: Mailbox[Quote]) -> None:
        raise ConnectorClosed("the connector's session is not running.")

    stream = await QuoteStream(attach, closed, 10).start()
    hub.close()
    await stream.aclose()
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_line_that_fails_before_its_opener_waits_is_told_to_it(
    hub: QuoteHub, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer can be read between the opening and the first wait: both belong to one loop."""
    opened = backend.open_line

    def refused_at_once(contract: Contract, sink: Any, on_error: Any) -> Any:
        handle = opened(contract, sink, on_error)
        asyncio.get_running_loop().call_soon(on_error, MarketDataNotSubscribed("not for you."))
        return handle

    monkeypatch.setattr(backend, "open_line", refused_at_once)
    async with asyncio.timeout(SECONDS):
        with pytest.raises(MarketDataNotSubscribed):
            await hub.quote(AAPL, max_age=5.0, timeout=600.0)
        with pytest.raises(MarketDataNotSubscribed):
            await hub.attach(AAPL, box(), 600.0)


# --- what the broker says ---------------------------------------------------------------------------------------------

MSFT = Contract.stock("MSFT").with_con_id(272093)
USED_UP = TooManyMarketDataLines("the market data lines are used up.", code=101)


async def test_line_refused_during_an_outage_is_made_again_and_its_readers_stay(
    hub: QuoteHub, backend: FakeBackend
) -> None:
    """Gateways answer pending requests with 200 a moment after 1100; that ends no stream."""
    reader = box()
    await hub.attach(AAPL, reader, SECONDS)
    _, _, on_error = backend.lines.pop(1)
    on_error(BrokerLinkLost("no security definition", code=200))
    assert not reader.closed
    await hub.resubscribe()
    tick(backend)
    assert (await asyncio.wait_for(reader.get(), SECONDS)).bid == 1.0


async def test_line_refused_with_101_takes_the_place_of_one_that_nobody_reads(
    session: Session, backend: FakeBackend
) -> None:
    hub = QuoteHub(session, LineLeases(10))
    idle, reader = box(), box()
    await hub.attach(AAPL, idle, SECONDS)
    hub.detach(AAPL, idle)
    await hub.attach(MSFT, reader, SECONDS)
    _, _, on_error = backend.lines.pop(2)
    on_error(USED_UP)
    await settle()
    assert hub.lines == (1, 1)
    assert [handle.contract.symbol for handle, _, _ in backend.lines.values()] == ["MSFT"]
    assert not reader.closed
    hub.close()


async def test_after_101_no_line_is_asked_for_that_the_broker_does_not_have(
    session: Session, backend: FakeBackend
) -> None:
    hub = QuoteHub(session, LineLeases(10))
    first, second = box(), box()
    await hub.attach(AAPL, first, SECONDS)
    await hub.attach(MSFT, second, SECONDS)
    backend.lines.pop(2)[2](USED_UP)
    with pytest.raises(TooManyMarketDataLines):
        await second.get()
    with pytest.raises(TooManyMarketDataLines, match="all 1 market data lines"):
        await hub.attach(MSFT, box(), SECONDS)
    assert backend.opened == 2
    hub.lost()
    await hub.attach(MSFT, box(), SECONDS)
    assert hub.lines == (2, 10)
    hub.close()


async def test_silence_of_a_line_that_may_end_silently_makes_its_quote_older(
    session: Session, backend: FakeBackend
) -> None:
    made = QuoteHub(session, LineLeases(2), lines_end_silently=True)
    reader = box()
    await made.attach(AAPL, reader, SECONDS)
    tick(backend)
    line = made._lines[AAPL.con_id]
    line.latest_at -= 60.0
    session.alive_at = session.clock.monotonic()  # the connection lives: of the line that says nothing
    latest = made.latest(AAPL.con_id)
    assert latest is not None
    assert latest[1] >= 60.0
    reader.close()
    made.close()


async def test_an_old_quote_of_such_a_line_is_asked_for_again_and_the_answer_is_new(
    session: Session, backend: FakeBackend
) -> None:
    made = QuoteHub(session, LineLeases(2), lines_end_silently=True)
    reader = box()
    await made.attach(AAPL, reader, SECONDS)
    tick(backend)
    made._lines[AAPL.con_id].latest_at -= 60.0
    asking = asyncio.ensure_future(made.quote(AAPL, max_age=5.0, timeout=SECONDS))
    async with asyncio.timeout(SECONDS):
        while not backend.renewed:  # noqa: ASYNC110 - the backend tells nobody
            await asyncio.sleep(0)
    tick(backend, bid=1.5)
    assert (await asking).bid == 1.5
    reader.close()
    made.close()
