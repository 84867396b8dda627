"""The note of an order's ref goes to whoever leaves, and to nobody else."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ibkr_connector.api.leaving import hearing, placing


def notes_of(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_whoever_leaves_gets_the_ref(kind: type[BaseException]) -> None:
    with pytest.raises(kind) as caught, placing(["ref-1"]):
        raise kind
    assert len(notes_of(caught.value)) == 1
    assert "ref-1" in notes_of(caught.value)[0]
    assert "get_order('ref-1')" in notes_of(caught.value)[0]


def test_an_error_tells_its_own_story() -> None:
    with pytest.raises(ValueError, match="said") as caught, hearing(), placing(["ref-1"]):
        raise ValueError("said")
    assert notes_of(caught.value) == []


def test_a_blocking_caller_hears_what_is_placed_on_another_thread() -> None:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    begun = threading.Event()

    async def place() -> None:
        with placing(["ref-1", "ref-1.tp"]):
            begun.set()
            await asyncio.Event().wait()

    try:
        with pytest.raises(KeyboardInterrupt) as caught, hearing():
            future = asyncio.run_coroutine_threadsafe(place(), loop)
            assert begun.wait(20)
            raise KeyboardInterrupt
        assert len(notes_of(caught.value)) == 1
        assert "ref-1.tp" in notes_of(caught.value)[0]
        future.cancel()
    finally:
        asyncio.run_coroutine_threadsafe(_settle(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


async def _settle() -> None:
    """Let what was cancelled end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def test_an_order_that_was_answered_is_forgotten() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, hearing():
        with placing(["ref-1"]):
            pass
        raise KeyboardInterrupt
    assert notes_of(caught.value) == []
