"""Threads that make blocking calls for an event loop.

Not an executor of the standard library: the interpreter waits at its end for those, and a program that ends without
`close()` must not wait for an answer that never comes. These threads are daemons, and every queue has its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ibkr_connector.clock import Clock

_T = TypeVar("_T")


class Workers:
    """`count` threads that take jobs in the order they were submitted. Used from the loop it is made on."""

    def __init__(self, name: str, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._ended = [asyncio.Event() for _ in range(count)]
        self._closed = False
        for number, ended in enumerate(self._ended):
            threading.Thread(target=self._work, args=(ended,), name=f"{name}-{number}", daemon=True).start()

    def submit(self, job: Callable[[], _T]) -> asyncio.Future[_T]:
        """Have a thread do `job`; the future gets what it returns or raises. Nobody needs to wait for it.

        Raises RuntimeError after `close`: then it was not submitted.
        """
        if self._closed:
            raise RuntimeError("the workers are closed")
        future: asyncio.Future[_T] = self._loop.create_future()
        future.add_done_callback(_look)

        def run() -> None:
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                self._tell(partial(_fail, future, error))
            else:
                self._tell(partial(_fulfil, future, result))

        self._jobs.put(run)
        return future

    async def close(self, clock: Clock, timeout: float) -> bool:
        """End the threads when they have done what they were given; whether all did within `timeout` seconds.

        One that hangs in a call ends with that call.
        """
        self._closed = True
        for _ in self._ended:
            self._jobs.put(None)
        try:
            await clock.wait_for(asyncio.gather(*(ended.wait() for ended in self._ended)), timeout)
        except TimeoutError:
            return False
        return True

    def _work(self, ended: asyncio.Event) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._tell(ended.set)

    def _tell(self, news: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
            self._loop.call_soon_threadsafe(news)


def _fulfil(future: asyncio.Future[_T], result: _T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[_T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _look(future: asyncio.Future[_T]) -> None:
    """An error that nobody waits for any more is no news."""
    if not future.cancelled():
        future.exception()
