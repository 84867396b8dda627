"""What the generated blocking twins stand on: waiting, and streams read with a plain `for`.

Every blocking call is one coroutine on the session's loop, awaited through `SessionThread.run_sync`: it may be made
from any thread but the session's own (`SyncCallFromSession`), and Ctrl-C interrupts the wait and cancels the call. An
order whose write was already committed lives on after that, as it does for a cancelled coroutine; a note on the
interruption names it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from ibkr_connector.api.leaving import hearing
from ibkr_connector.errors import SyncCallFromSession
from ibkr_connector.models.market import Quote
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.updates import AllOrderUpdates, OrderUpdates
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.streams.quotes import QuoteStream

_T = TypeVar("_T")
_Inner = TypeVar("_Inner")


class Blocking(Generic[_Inner]):
    """Base of the twins: the asynchronous object, and the thread its coroutines run on."""

    def __init__(self, inner: _Inner, thread: SessionThread) -> None:
        self._inner = inner
        self._thread = thread

    def _wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        with hearing():
            return self._thread.run_sync(coroutine)

    def _start_and_wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """For the first call of all: the thread may not run yet."""
        try:
            self._thread.start()
        except BaseException:
            coroutine.close()
            raise
        return self._thread.run_sync(coroutine)

    def _wait_outside(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """For what ends the session's loop, and so cannot run on it: a loop of its own."""
        if self._thread.is_current:
            coroutine.close()
            raise SyncCallFromSession("a blocking call on the session thread would wait for itself.")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(coroutine)
        # Called from a coroutine, in a notebook for instance: its thread has a loop already.
        with ThreadPoolExecutor(1, thread_name_prefix="ibkr-sync") as helper:
            return helper.submit(asyncio.run, coroutine).result()

    def __repr__(self) -> str:
        return f"sync {self._inner!r}"


class SyncQuoteStream(Blocking[QuoteStream]):
    """Quotes of one contract, read with `for`; the `for` ends when the stream is closed.

        with connector.sync.stream_quotes("AAPL") as quotes:
            for quote in quotes:
                ...

    A burst costs one hop to the session thread, not one per quote. One reader at a time.
    """

    def __init__(self, inner: QuoteStream, thread: SessionThread) -> None:
        super().__init__(inner, thread)
        self._at_hand: deque[Quote] = deque()

    @property
    def dropped(self) -> int:
        """Quotes lost because the reader was too slow."""
        return self._inner.dropped

    def start(self) -> Self:
        """Open the stream (done by `with` too)."""
        self._wait(self._inner.start())
        return self

    def close(self) -> None:
        """Give the line back. Idempotent."""
        self._wait(self._inner.aclose())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Quote]:
        return self

    def __next__(self) -> Quote:
        if not self._at_hand:
            self._at_hand.extend(self._wait(self._inner.batch()))
        if not self._at_hand:
            raise StopIteration
        return self._at_hand.popleft()


class SyncOrderUpdates(Blocking[OrderUpdates]):
    """Snapshots of one order, one per change, read with `for`; the last one is the order's end."""

    def close(self) -> None:
        """End the stream. Idempotent."""
        self._wait(self._inner.aclose())

    def __enter__(self) -> Self:
        self._wait(self._inner.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[OrderSnapshot]:
        return self

    def __next__(self) -> OrderSnapshot:
        try:
            return self._wait(self._inner.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class SyncAllOrderUpdates(Blocking[AllOrderUpdates]):
    """Snapshots of all orders, one per change, read with `for`; it ends when the connector is closed."""

    @property
    def dropped(self) -> int:
        """Snapshots lost because the reader was too slow."""
        return self._inner.dropped

    def close(self) -> None:
        """End the stream. Idempotent."""
        self._wait(self._inner.aclose())

    def __enter__(self) -> Self:
        self._start_and_wait(self._inner.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[OrderSnapshot]:
        return self

    def __next__(self) -> OrderSnapshot:
        try:
            return self._wait(self._inner.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None
