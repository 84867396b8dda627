"""The pipe to a client: nothing overtakes, nothing is added, and what is lost is lost."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import given, strategies as st

from ibkr_connector.paper.tws.taps import Pipe


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Time that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, int, Timer, Callable[[], None]]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        timer = Timer()
        heapq.heappush(self._timers, (at, next(self._order), timer, call))
        return timer

    def advance(self, to: float) -> None:
        while self._timers and self._timers[0][0] <= to:
            at, _, timer, call = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            if not timer.cancelled:
                call()
        self.now = to


def make() -> tuple[Pipe, Loop, list[tuple[float, bytes]]]:
    loop, out = Loop(), list[tuple[float, bytes]]()
    typed: Any = loop
    as_loop: asyncio.AbstractEventLoop = typed
    return Pipe(as_loop, lambda data: out.append((loop.now, data))), loop, out


def test_a_delay_is_kept_and_ends_without_overtaking() -> None:
    pipe, loop, out = make()
    pipe.delay = 1.0
    pipe.send(b"a")
    loop.advance(0.5)
    pipe.delay = 0.0
    pipe.send(b"b")
    assert pipe.pending == 2
    assert out == []
    loop.advance(2.0)
    assert out == [(1.0, b"ab")]
    assert (pipe.pending, pipe.is_clear) == (0, True)


def test_pieces_come_one_after_the_other() -> None:
    pipe, loop, out = make()
    pipe.cut = lambda data: [(0.0, data[:1]), (0.5, data[1:])]
    pipe.send(b"abc")
    pipe.send(b"de")
    loop.advance(5.0)
    assert out == [(0.0, b"a"), (0.5, b"bc"), (0.5, b"d"), (1.0, b"e")]


def test_the_pieces_of_a_cut_are_not_put_together_again_when_the_loop_is_late() -> None:
    pipe, loop, out = make()
    pipe.send(b"a")
    pipe.send(b"b")
    pipe.cut = lambda data: [(0.0, data[:1]), (0.5, data[1:])]
    pipe.send(b"cde")
    pipe.cut = None
    pipe.send(b"f")
    pipe.send(b"g")
    loop.now = 5.0
    loop.advance(5.0)
    assert out == [(5.0, b"ab"), (5.0, b"c"), (5.0, b"de"), (5.0, b"fg")]


def test_a_closed_pipe_delivers_nothing_and_keeps_no_timer() -> None:
    pipe, loop, out = make()
    pipe.delay = 1.0
    pipe.send(b"a")
    pipe.close()
    pipe.send(b"b")
    loop.advance(5.0)
    assert out == []
    assert pipe.pending == 0
    assert not pipe.is_clear


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.floats(0, 3), st.floats(0, 3)), max_size=20))
def test_every_byte_arrives_once_and_in_order(steps: list[tuple[bytes, float, float]]) -> None:
    pipe, loop, out = make()
    for data, delay, wait in steps:
        pipe.delay = delay
        pipe.cut = (lambda d: [(0.1, d[i : i + 1]) for i in range(len(d))]) if delay > 1 else None
        pipe.send(data)
        loop.advance(loop.now + wait)
    loop.advance(loop.now + 1000)
    assert b"".join(data for _, data in out) == b"".join(data for data, _, _ in steps)
    assert [at for at, _ in out] == sorted(at for at, _ in out)
    assert pipe.pending == 0
