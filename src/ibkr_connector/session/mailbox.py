"""Hand items from the session loop to a reader on any other loop, cheaply.

The producer appends and, only when the reader is not already being woken, makes one thread-safe call: a burst costs one
hop, not one per item. The box is bounded; when a reader is too slow the oldest items go and are counted.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Generic, TypeVar

from ibkr_connector.errors import ConnectorClosed

_T = TypeVar("_T")


class Mailbox(Generic[_T]):
    """Many producers' calls on one thread, one reader on its own loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, capacity: int) -> None:
        self._loop = loop
        self._items: deque[_T] = deque(maxlen=capacity)
        self._capacity = capacity
        self._signalled = False
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._error: BaseException | None = None
        self._pid = os.getpid()
        self.dropped = 0

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken in: the stream has ended, or its reader's loop is gone."""
        # A loop can end between a wake-up call and its turn: then no call ever fails, and only the loop itself tells.
        return self._closed or self._loop.is_closed()

    def push(self, item: _T) -> bool:
        """Add an item (producer's thread). False: nobody will read it, forget the box."""
        if self.closed:
            return False
        if len(self._items) == self._capacity:
            self.dropped += 1
        self._items.append(item)
        if not self._signalled:
            self._signal()
        return not self._closed

    def close(self, error: BaseException | None = None) -> None:
        """End the stream after what is in the box; with `error`, the reader gets it then (any thread)."""
        if self._closed:
            return
        self._error = error
        self._closed = True
        self._signal()

    def _signal(self) -> None:
        self._signalled = True
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            self._closed = True  # the reader's loop is gone; nobody will read

    def _wake(self) -> None:
        self._signalled = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> _T:
        """The next item. Raises StopAsyncIteration at the end, or the error the stream ended with.

        ConnectorClosed in a child process: the producer is not in it.
        """
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                if self._closed:
                    if self._error is not None:
                        raise self._error from None
                    raise StopAsyncIteration from None
            if os.getpid() != self._pid:
                raise ConnectorClosed(
                    f"this stream belongs to process {self._pid}: its messages do not reach a child made by fork()."
                )
            self._waiter = self._loop.create_future()
            if self._items or self._closed:
                continue
            try:
                await self._waiter
            finally:
                self._waiter = None

    def drain(self) -> list[_T]:
        """All items at hand, without waiting."""
        items: list[_T] = []
        while self._items:
            items.append(self._items.popleft())
        return items
