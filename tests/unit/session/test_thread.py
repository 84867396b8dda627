"""The hop to the session's loop: who is cancelled, who is told, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.session.thread import SessionThread

SECONDS = 20


@pytest.fixture
def thread() -> Iterator[SessionThread]:
    made = SessionThread("ibkr-test")
    made.start()
    yield made
    assert made.stop()


async def never() -> None:
    await asyncio.Event().wait()


async def test_call_that_the_session_cancels_raises_while_the_connector_is_open(thread: SessionThread) -> None:
    """A caller whose flight was ended by somebody else must not look cancelled itself."""
    begun = threading.Event()
    inside: list[asyncio.Task[None]] = []

    async def call() -> None:
        task = asyncio.current_task()
        assert task is not None
        inside.append(task)
        begun.set()
        await never()

    waiting = asyncio.create_task(thread.run(call()))
    assert await asyncio.to_thread(begun.wait, SECONDS)
    thread.loop.call_soon_threadsafe(inside[0].cancel)
    with pytest.raises(ConnectorClosed):
        await asyncio.wait_for(waiting, SECONDS)
    assert not waiting.cancelled()


async def test_call_made_on_the_session_itself_is_told_the_same(thread: SessionThread) -> None:
    async def ended() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def outer() -> None:
        await thread.run(ended())

    with pytest.raises(ConnectorClosed):
        await asyncio.wait_for(thread.run(outer()), SECONDS)


async def test_caller_that_is_cancelled_stays_cancelled_and_cancels_its_call(thread: SessionThread) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def call() -> None:
        begun.set()
        try:
            await never()
        finally:
            ended.set()

    waiting = asyncio.create_task(thread.run(call()))
    assert await asyncio.to_thread(begun.wait, SECONDS)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(ended.wait, SECONDS)


async def test_timeout_of_the_caller_is_its_own(thread: SessionThread) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await thread.run(never())


async def test_call_made_while_the_thread_stops_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call scheduled behind the end of the loop would wait for ever."""
    thread = SessionThread("ibkr-test")
    thread.start()
    schedule = asyncio.run_coroutine_threadsafe
    stopper = threading.Thread(target=thread.stop)

    def late(coroutine: Any, loop: asyncio.AbstractEventLoop) -> Any:
        stopper.start()
        stopper.join(0.2)  # the stop gets every chance to come in between; it must not
        return schedule(coroutine, loop)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", late)
    try:
        with pytest.raises(ConnectorClosed):
            await asyncio.wait_for(thread.run(never()), SECONDS)
    finally:
        await asyncio.to_thread(stopper.join, SECONDS)


async def test_stopped_thread_cannot_be_started_even_if_it_never_ran() -> None:
    thread = SessionThread("ibkr-test")
    assert thread.stop()
    with pytest.raises(ConnectorClosed):
        thread.start()


async def test_in_a_forked_child_every_use_says_whose_it_is(
    thread: SessionThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock may be held by a thread that did not come along: nothing may wait for it."""
    owner = os.getpid()
    with thread._lock, monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        assert not thread.started
        for use in (
            thread.start,
            lambda: thread.loop,
            lambda: thread.run_sync(never()),
            lambda: thread.submit(never()),
        ):
            with pytest.raises(ConnectorClosed, match=f"process {owner}"):
                use()
        with pytest.raises(ConnectorClosed, match="fork"):
            await thread.run(never())
        assert thread.stop()
    assert await thread.run(asyncio.sleep(0, "still here")) == "still here"
