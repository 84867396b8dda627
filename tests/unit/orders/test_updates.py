"""Streams of one order's snapshots: they end with the order, with their reader, and with the connector."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.updates import Box, Following, OrderUpdates
from ibkr_connector.session.mailbox import Mailbox
from unit.orders.kit import UP, echo, sent, status


def updates_of(live: LiveOrder, *, closed: bool = False) -> OrderUpdates:
    following = Following(live)

    async def detach(_: Box) -> None:
        if closed:
            raise ConnectorClosed("the connector's session is not running.")
        await following.end()

    return OrderUpdates(following.begin, detach)


def happen(live: LiveOrder, *facts: Any) -> None:
    for fact in facts:
        apply(live.record, fact, UP)
    live.changed()


async def test_first_comes_what_is_known_and_last_the_end() -> None:
    live = LiveOrder(sent())
    async with updates_of(live) as updates:
        happen(live, echo(), status("Submitted"))
        happen(live, status("Cancelled", 0, 0))
        seen = [snapshot.state async for snapshot in updates]
    assert len(seen) == 3
    assert seen[-1] is OrderState.CANCELLED
    assert not live._listeners


async def test_reader_whose_loop_died_is_forgotten() -> None:
    live = LiveOrder(sent())
    loop = asyncio.new_event_loop()
    await Following(live).begin(Mailbox(loop, 10))
    loop.close()
    assert live._listeners
    happen(live, echo())
    assert not live._listeners


async def test_reader_that_waits_is_woken_when_the_connector_closes() -> None:
    live = LiveOrder(sent())
    updates = updates_of(live, closed=True)
    await anext(updates)
    waiting = asyncio.create_task(anext(updates))
    await asyncio.sleep(0)
    live.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, 5)
    await updates.aclose()  # the session is gone: nothing to end there
    await updates.aclose()


async def test_reader_that_comes_in_the_middle_of_the_close_does_not_wait_either() -> None:
    live = LiveOrder(sent())
    live.close()
    live.close()
    updates = updates_of(live)
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(updates), 5)
    assert not live._listeners
