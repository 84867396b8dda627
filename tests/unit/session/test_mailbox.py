"""Items cross from one thread to a reader on another loop: in order, bounded, with an end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.session.mailbox import Mailbox


async def test_items_from_another_thread_arrive_in_order() -> None:
    box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), 100_000)

    def produce() -> None:
        for number in range(20_000):
            box.push(number)
        box.close()

    thread = threading.Thread(target=produce)
    thread.start()
    seen = []
    with pytest.raises(StopAsyncIteration):
        async with asyncio.timeout(20):
            while True:
                seen.append(await box.get())
    thread.join()
    assert seen == list(range(20_000))
    assert box.dropped == 0


async def test_slow_reader_loses_the_oldest_never_the_newest() -> None:
    box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), 3)
    for number in range(10):
        box.push(number)
    assert box.dropped == 7
    assert [await box.get() for _ in range(3)] == [7, 8, 9]


async def test_end_comes_after_what_is_in_the_box_and_with_its_reason() -> None:
    box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), 3)
    box.push(1)
    box.close(ValueError("no permission"))
    box.push(2)
    assert await box.get() == 1
    with pytest.raises(ValueError, match="no permission"):
        await box.get()


async def test_waiting_reader_is_woken_by_the_end() -> None:
    box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), 3)
    reading = asyncio.create_task(box.get())
    await asyncio.sleep(0)
    box.close()
    with pytest.raises(StopAsyncIteration):
        await reading


async def test_producer_learns_that_nobody_reads_any_more() -> None:
    """A box kept for a reader that is gone is a leak for as long as the market moves."""
    loop = asyncio.new_event_loop()
    box: Mailbox[int] = Mailbox(loop, 3)
    assert box.push(1)
    before = box.closed
    # The wake-up call is under way and never comes: from here on no call to the loop fails, only the loop can tell.
    loop.close()
    assert (before, box.closed) == (False, True)
    assert not box.push(2)
    assert box.drain() == [1]


async def test_first_push_to_a_loop_that_is_gone_tells_it_too() -> None:
    loop = asyncio.new_event_loop()
    box: Mailbox[int] = Mailbox(loop, 3)
    loop.close()
    assert not box.push(1)
    assert not box.push(2)


async def test_push_into_an_ended_stream_says_that_it_was_not_taken() -> None:
    box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), 3)
    assert box.push(1)
    box.close()
    assert not box.push(2)
    assert box.drain() == [1]


async def test_reader_in_a_forked_child_is_told_instead_of_waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    box: Mailbox[int] = Mailbox(asyncio.get_running_loop(), 3)
    box.push(1)
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert await box.get() == 1
    with pytest.raises(ConnectorClosed, match="fork"):
        await asyncio.wait_for(box.get(), 5)
