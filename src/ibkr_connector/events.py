"""What happens inside, told to whoever listens: typed events and the bus that carries them.

Every listener runs on a thread of its own, in order, one event at a time: a slow, raising or blocking one delays
itself, never another and never an order. Whatever it raises, `SystemExit` included, is logged and counted. Each has a
bounded queue; what does not fit is dropped and counted. `EventBus.listeners` tells of each how far it lags behind, in
events and in seconds.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from ibkr_connector.clock import Clock, system_clock
from ibkr_connector.logs import get_logger
from ibkr_connector.models.arguments import wrong

_log = get_logger(__name__)


class Severity(StrEnum):
    """How much an event matters to a person."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. `at` is when it was published (UTC)."""

    at: datetime
    severity: Severity = Severity.INFO


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChanged(Event):
    """The connection's state machine moved."""

    previous: str
    state: str
    reason: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLinkChanged(Event):
    """The gateway lost or regained IBKR (1100, 1101, 1102, 2110), or a data farm changed."""

    what: str
    up: bool
    code: int
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChanged(Event):
    """A circuit breaker moved. `plane`: connect, orders, reads; `cooldown`: seconds it stays open of itself."""

    plane: str
    previous: str
    state: str
    reason: str = ""
    cooldown: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderUpdated(Event):
    """An order moved: its snapshot as a plain dict (`OrderSnapshot.to_dict`), and what happened."""

    order_ref: str
    what: str
    order: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskDecided(Event):
    """The gates decided about an order."""

    order_ref: str
    allowed: bool
    decision: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident(Event):
    """Something a person should look at: in doubt, fork, echo drift, journal trouble, kill."""

    kind: str
    text: str
    context: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerLag:
    """How one listener keeps up."""

    name: str
    waiting: int
    """Events in its queue."""
    seconds: float
    """How long ago the event was published that it works on, or that is next; 0 when it has nothing to do."""
    dropped: int
    """Events that did not fit into its queue."""
    raised: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "waiting": self.waiting,
            "lag_seconds": self.seconds,
            "dropped": self.dropped,
            "raised": self.raised,
        }


class _Worker:
    """One listener with its queue and thread."""

    def __init__(self, listener: Listener, name: str, capacity: int, clock: Clock) -> None:
        self.listener = listener
        self.name = name
        self.dropped = 0
        self.raised = 0
        self._clock = clock
        self._queue: queue.Queue[tuple[float, Event] | None] = queue.Queue(maxsize=capacity)
        self._busy_with: float | None = None
        """When the event was published that the listener is working on."""
        self._thread = threading.Thread(target=self._run, name=f"ibkr-listener-{name}", daemon=True)
        self._thread.start()

    def offer(self, at: float, event: Event) -> None:
        try:
            self._queue.put_nowait((at, event))
        except queue.Full:
            self.dropped += 1

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def lag(self) -> ListenerLag:
        oldest = self._busy_with
        if oldest is None:
            with self._queue.mutex:  # the queue's own lock: its first item cannot be taken while it is looked at
                first = self._queue.queue[0] if self._queue.queue else None
            oldest = first[0] if first is not None else None
        return ListenerLag(
            name=self.name,
            waiting=self.waiting,
            seconds=0.0 if oldest is None else max(0.0, self._clock.monotonic() - oldest),
            dropped=self.dropped,
            raised=self.raised,
        )

    def stop(self, timeout: float) -> bool:
        """Ask the thread to end after what is queued; whether it ended in time."""
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return False
        if self._thread is threading.current_thread():
            return True  # a listener that ends its own subscription: its thread ends after this event
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._busy_with, event = item
            try:
                self.listener(event)
            except BaseException:  # noqa: BLE001 - a listener is not ours: not even its SystemExit may end this thread
                self.raised += 1
                _log.exception("a listener raised; it stays subscribed", happened=type(event).__name__)
            self._busy_with = None


class EventBus:
    """Publish from any thread; never blocks, never raises for a listener's sake."""

    def __init__(self, capacity: int = 10_000, clock: Clock = system_clock) -> None:
        self._capacity = capacity
        self._clock = clock
        self._workers: dict[int, _Worker] = {}
        self._gone: list[tuple[int, int]] = []
        """Of each listener that has ended: events dropped, times it raised."""
        self._next = 0
        self._lock = threading.Lock()

    def subscribe(self, listener: Listener, *, name: str = "") -> Callable[[], None]:
        """Call `listener` for every event from now on, on its own thread; returns a function that ends it.

        Raises: InvalidRequest when it cannot be called.
        """
        if not callable(listener):
            raise wrong("listener", listener, "a function of one event", why="cannot be called")
        with self._lock:
            key = self._next
            self._next += 1
            worker = _Worker(listener, name or str(key), self._capacity, self._clock)
            self._workers = {**self._workers, key: worker}

        def unsubscribe() -> None:
            with self._lock:
                found = self._workers.get(key)
                self._workers = {k: w for k, w in self._workers.items() if k != key}
            if found is not None:
                found.stop(1.0)
                self._gone.append((found.dropped, found.raised))

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Hand `event` to every listener's queue."""
        workers = self._workers
        if workers:
            at = self._clock.monotonic()
            for worker in workers.values():
                worker.offer(at, event)

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens: what is dear to build need not be built for nobody."""
        return bool(self._workers)

    @property
    def dropped(self) -> int:
        """Events that did not fit into a listener's queue since the start."""
        return sum(worker.dropped for worker in self._workers.values()) + sum(gone[0] for gone in self._gone)

    @property
    def raised(self) -> int:
        """Times that a listener raised since the start; the log tells what."""
        return sum(worker.raised for worker in self._workers.values()) + sum(gone[1] for gone in self._gone)

    @property
    def lag(self) -> int:
        """Events waiting in the fullest queue."""
        return max((worker.waiting for worker in self._workers.values()), default=0)

    @property
    def listeners(self) -> tuple[ListenerLag, ...]:
        """How each listener keeps up now."""
        return tuple(worker.lag() for worker in self._workers.values())

    def close(self, timeout: float = 1.0) -> None:
        """End all listeners after what they have queued, waiting at most `timeout` seconds for each."""
        with self._lock:
            workers, self._workers = self._workers, {}
        for worker in workers.values():
            if not worker.stop(timeout):
                _log.warning("a listener did not end; its thread is a daemon and is left behind", seconds=timeout)
            self._gone.append((worker.dropped, worker.raised))
