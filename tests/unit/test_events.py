"""The bus: ordered, isolated, bounded."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from ibkr_connector import events
from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import InvalidRequest
from ibkr_connector.events import Event, EventBus, Incident

AT = datetime(2026, 1, 5, tzinfo=UTC)


def incident(text: str) -> Incident:
    return Incident(at=AT, kind="test", text=text)


def test_listener_gets_every_event_in_order() -> None:
    bus, seen = EventBus(), list[str]()
    bus.subscribe(lambda event: seen.append(getattr(event, "text", "")))
    for number in range(100):
        bus.publish(incident(str(number)))
    bus.close()
    assert seen == [str(number) for number in range(100)]


def test_raising_listener_stays_and_others_are_not_touched() -> None:
    bus, seen = EventBus(), list[Event]()

    def raises(event: Event) -> None:
        seen.append(event)
        raise RuntimeError("bug")

    bus.subscribe(raises)
    bus.subscribe(seen.append)
    bus.publish(incident("a"))
    bus.publish(incident("b"))
    bus.close()
    assert len(seen) == 4


def test_blocked_listener_loses_only_its_own_events_and_they_are_counted() -> None:
    bus, release, seen = EventBus(capacity=2), threading.Event(), list[Event]()
    started = threading.Event()

    def blocks(event: Event) -> None:
        started.set()
        release.wait(10)

    bus.subscribe(blocks)
    bus.publish(incident("first"))
    assert started.wait(10)
    for number in range(5):
        bus.publish(incident(str(number)))
    assert bus.dropped == 3
    assert bus.lag == 2
    bus.subscribe(seen.append)
    bus.publish(incident("last"))
    release.set()
    bus.close()
    assert [getattr(event, "text", "") for event in seen] == ["last"]


def test_unsubscribed_listener_hears_nothing_more() -> None:
    bus, seen = EventBus(), list[Event]()
    stop = bus.subscribe(seen.append)
    before = bus.has_listeners
    stop()
    bus.publish(incident("late"))
    assert (before, bus.has_listeners) == (True, False)
    assert seen == []


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_listener_that_wants_to_end_the_program_ends_nothing(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    bus, seen, other = EventBus(), list[Event](), list[Event]()

    def leaves(event: Event) -> None:
        seen.append(event)
        raise kind("bye")

    bus.subscribe(leaves)
    bus.subscribe(other.append)
    for text in ("a", "b", "c"):
        bus.publish(incident(text))
    bus.close()
    assert (len(seen), len(other), bus.raised) == (3, 3, 3)
    assert caplog.text.count("a listener raised; it stays subscribed happened=Incident") == 3


def test_what_cannot_be_called_is_no_listener() -> None:
    bus = EventBus()
    with pytest.raises(InvalidRequest):
        bus.subscribe(5)  # type: ignore[arg-type]
    assert not bus.has_listeners


def test_lag_of_a_blocked_listener_is_told_in_events_and_in_seconds() -> None:
    clock = ManualClock()
    bus, release, started = EventBus(capacity=2, clock=clock), threading.Event(), threading.Event()

    def blocks(event: Event) -> None:
        started.set()
        release.wait(10)

    bus.subscribe(blocks, name="slow")
    bus.subscribe(lambda _: None, name="quick")
    bus.publish(incident("first"))
    assert started.wait(10)
    clock.advance(3.0)
    for number in range(3):
        bus.publish(incident(str(number)))
    clock.advance(1.5)
    slow = next(one for one in bus.listeners if one.name == "slow")
    assert (slow.waiting, slow.seconds, slow.dropped, slow.raised) == (2, 4.5, 1, 0)
    assert slow.to_dict()["lag_seconds"] == 4.5
    release.set()
    bus.close()
    assert bus.listeners == ()


def test_listener_that_has_nothing_to_do_does_not_lag() -> None:
    clock = ManualClock()
    worker = events._Worker(lambda _: None, "quick", 10, clock)
    worker.offer(clock.monotonic(), incident("done"))
    assert worker.stop(10)
    clock.advance(60.0)
    assert (worker.lag().seconds, worker.lag().waiting) == (0.0, 0)


def test_listener_may_end_its_own_subscription() -> None:
    bus, seen, ended = EventBus(), list[Event](), threading.Event()

    def once(event: Event) -> None:
        seen.append(event)
        stop()
        ended.set()

    stop = bus.subscribe(once)
    bus.publish(incident("first"))
    assert ended.wait(10)
    bus.publish(incident("second"))
    bus.close()
    assert (len(seen), bus.raised) == (1, 0)
