"""An order at run time: its record, the snapshot others read, and those who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ibkr_connector.clock import Clock
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.changes import CancelRejected
from ibkr_connector.orders.record import OrderRecord, snapshot


class LiveOrder:
    """Owned by the session loop; `snapshot` is immutable, swapped whole, and may be read from any thread."""

    def __init__(self, record: OrderRecord) -> None:
        self.record = record
        self.snapshot: OrderSnapshot = snapshot(record)
        self.refusals = 0
        """How many cancels of this order the broker refused; waiters compare it with what it was when they began."""
        self.refusal: CancelRejected | None = None
        """The last of them."""
        self._waiters: set[asyncio.Future[None]] = set()
        self._listeners: dict[Callable[[OrderSnapshot], None], Callable[[], None]] = {}
        self._closed = False

    @property
    def ref(self) -> str:
        """The order's name."""
        return self.record.ref

    def changed(self) -> None:
        """The record moved: publish a new snapshot and wake whoever waits."""
        self.snapshot = snapshot(self.record)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        for listener in tuple(self._listeners):
            listener(self.snapshot)

    def refused(self, refusal: CancelRejected) -> None:
        """The broker refused a cancel: wake whoever waits for its outcome."""
        self.refusals += 1
        self.refusal = refusal
        self.changed()

    def listen(
        self, listener: Callable[[OrderSnapshot], None], *, ended: Callable[[], None] = lambda: None
    ) -> Callable[[], None]:
        """Call `listener` with every new snapshot (on the session loop); returns a function that ends it.

        `ended` is called when there will be no more because the connector closes; at once if it has.
        """
        if self._closed:
            ended()
        else:
            self._listeners[listener] = ended

        def stop() -> None:
            self._listeners.pop(listener, None)

        return stop

    def close(self) -> None:
        """The connector closes: nothing more is told. Idempotent."""
        self._closed = True
        listeners, self._listeners = self._listeners, {}
        for ended in listeners.values():
            ended()

    async def until(self, condition: Callable[[OrderRecord], bool], clock: Clock, timeout: float | None) -> bool:
        """Wait until `condition(record)` holds; False when `timeout` seconds (None = no limit) passed first."""
        deadline = None if timeout is None else clock.monotonic() + timeout
        while not condition(self.record):
            left = None if deadline is None else deadline - clock.monotonic()
            if left is not None and left <= 0:
                return False
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await clock.wait_for(waiter, left)
            except TimeoutError:
                return condition(self.record)
            finally:
                self._waiters.discard(waiter)
        return True
