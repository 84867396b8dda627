"""Items cross from one thread to a reader on another loop: in order, bounded, with an end."""

from __future__ import annotations

import asyncio
import threading

import pytest

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


async def test_pushing_to_a_reader_whose_loop_is_gone_is_harmless() -> None:
    loop = asyncio.new_event_loop()
    box: Mailbox[int] = Mailbox(loop, 3)
    loop.close()
    box.push(1)
    box.push(2)
    assert box.drain() == [1]
