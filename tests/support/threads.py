"""Plain threads beside the test's event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


async def in_thread(work: Callable[[], object], seconds: float = 30.0) -> object:
    """Run `work` on a plain thread while this loop (and the gateway on it) goes on."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[object] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            loop.call_soon_threadsafe(done.set_exception, error)
        else:
            loop.call_soon_threadsafe(done.set_result, result)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        async with asyncio.timeout(seconds):
            return await done
    finally:
        thread.join()
