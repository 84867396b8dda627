"""Messages the decoder cannot read are counted, told, and held against the answer they belonged to."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_connector.backends.facts import BrokerFact, NextIdTold, SystemNotice
from ibkr_connector.backends.ids import Ids
from ibkr_connector.backends.outlet import Outlet
from ibkr_connector.backends.tws.trouble import UNREADABLE, DecoderLog, Unreadable
from ibkr_connector.backends.tws.wrapper import Callbacks
from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import ProtocolError


class Desk:
    """Callbacks with the trouble counter on them."""

    def __init__(self) -> None:
        self.facts: list[BrokerFact] = []
        outlet = Outlet()
        outlet.to(self.facts.append)
        self.counted = 0
        self.callbacks = Callbacks(client_id=1, clock=ManualClock(), ids=Ids(), outlet=outlet)
        self.unreadable = Unreadable(self.callbacks, outlet, self._count)
        self.log = DecoderLog(self.unreadable)

    def _count(self) -> None:
        self.counted += 1

    def garbage(self, text: str) -> None:
        """As the decoder logs it."""
        try:
            raise ValueError("not enough values to unpack")
        except ValueError:
            self.log.exception(text)


async def test_the_answer_it_belonged_to_fails() -> None:
    desk = Desk()
    request = desk.callbacks.requests.open(5, "bars")
    other = desk.callbacks.requests.open(6, "bars")
    desk.garbage("Error handling fields: ['17', '5', '', '', 'x']")
    with pytest.raises(ProtocolError, match="not enough values"):
        await request.future
    assert not other.future.done()
    assert desk.counted == desk.unreadable.count == 1
    assert desk.facts == [
        SystemNotice(code=UNREADABLE, text="unreadable message 17: ValueError: not enough values to unpack")
    ]


@pytest.mark.parametrize(
    ("message", "channel"),
    [("61", "positions"), ("5", "open_orders"), ("3", "open_orders"), ("101", "completed_orders")],
)
async def test_an_unnumbered_answer_is_incomplete(message: str, channel: str) -> None:
    desk = Desk()
    wanted = getattr(desk.callbacks, channel)
    task = asyncio.ensure_future(wanted.ask(lambda: None, 5.0))
    for _ in range(3):
        await asyncio.sleep(0)
    desk.garbage(f"Error handling fields: ['{message}', '1']")
    wanted.end()
    assert (await task).damaged


@pytest.mark.parametrize("text", ["Error for orderStatus:", "Error for orderStatus(['x']):"])
async def test_both_libraries_words_for_a_bad_field_are_understood(text: str) -> None:
    desk = Desk()
    task = asyncio.ensure_future(desk.callbacks.open_orders.ask(lambda: None, 5.0))
    for _ in range(3):
        await asyncio.sleep(0)
    desk.garbage(text)
    desk.callbacks.openOrderEnd()
    assert not (await task).complete


async def test_a_lost_execution_or_commission_makes_executions_incomplete() -> None:
    for text in ("Error handling fields: ['11', '5', 'x']", "Error handling fields: ['59', '1', 'x']"):
        desk = Desk()
        request = desk.callbacks.requests.open(5, "executions", partial=True)
        desk.garbage(text)
        assert not request.complete
        assert not request.future.done()


async def test_what_cannot_be_placed_is_counted_and_told() -> None:
    desk = Desk()
    for text in ("Error handling fields: []", "Error handling fields: ['x']", "Error for userInfo:", "packet: boom"):
        desk.garbage(text)
    assert desk.counted == 4
    assert len(desk.facts) == 4


async def test_a_flood_of_garbage_is_counted_but_not_told_one_by_one() -> None:
    desk = Desk()
    for _ in range(1_000):
        desk.garbage("Error handling fields: ['999', 'x']")
    assert desk.counted == 1_000
    assert 20 <= len(desk.facts) <= 40


async def test_facts_of_the_handshake_wait_for_the_news_of_the_connection_and_keep_their_order() -> None:
    facts: list[BrokerFact] = []
    outlet = Outlet()
    outlet.to(facts.append)
    outlet.hold()
    for number in (1, 2):
        outlet.emit(NextIdTold(order_id=number))
    outlet.release_soon()
    outlet.emit(NextIdTold(order_id=3))
    assert facts == []
    await asyncio.sleep(0)
    outlet.emit(NextIdTold(order_id=4))
    assert [fact.order_id for fact in facts if isinstance(fact, NextIdTold)] == [1, 2, 3, 4]


async def test_facts_of_a_failed_handshake_are_not_told() -> None:
    facts: list[BrokerFact] = []
    outlet = Outlet()
    outlet.to(facts.append)
    outlet.hold()
    outlet.emit(NextIdTold(order_id=1))
    outlet.drop()
    outlet.emit(NextIdTold(order_id=2))
    assert facts == [NextIdTold(order_id=2)]


async def test_a_receiver_that_raises_does_not_stop_the_wire() -> None:
    def broken(fact: BrokerFact) -> None:
        raise RuntimeError("a bug in the receiver")

    outlet = Outlet()
    outlet.emit(NextIdTold(order_id=1))
    outlet.to(broken)
    outlet.emit(NextIdTold(order_id=1))
