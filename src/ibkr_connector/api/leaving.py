"""What a caller must know who leaves while an order is being placed: its ref, and how to find out what became of it.

A cancelled coroutine gets it as a note on its `CancelledError`. A blocking caller is interrupted (Ctrl-C) on a thread
where the order's name is not known; it opens `hearing()` before it waits, and the coroutine leaves the note there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

_T = TypeVar("_T")
_heard: ContextVar[list[str] | None] = ContextVar("ibkr_connector_leaving", default=None)


class Caller:
    """Who waits for an order's answer."""

    def __init__(self) -> None:
        self.left = False

    async def unless_left(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Begin `work`, on the session's loop, if there is still somebody who wants it.

        A cancellation that is faster than the hop to that loop is delivered only after the first step of what it
        cancels; the order would be on its way by then, and its caller told that it is not.
        """
        if self.left:
            raise asyncio.CancelledError
        return await work()


@contextmanager
def placing(refs: Sequence[str]) -> Iterator[Caller]:
    """Around the wait for an order's answer: whoever leaves is told its ref."""
    caller = Caller()
    first = refs[0]
    names = first if len(refs) == 1 else f"{first} (with {', '.join(refs[1:])})"
    note = (
        f"The wait for order {names} was left; it may have been sent. get_order({first!r}) tells what became of it "
        f"(OrderNotFound: nothing was sent). To place it again is safe only with order_ref={first!r}."
    )
    heard = _heard.get()
    if heard is not None:
        heard.append(note)
    try:
        yield caller
    except BaseException as error:
        if not isinstance(error, Exception):
            caller.left = True
            error.add_note(note)
        raise
    if heard is not None:
        heard.remove(note)


@contextmanager
def hearing() -> Iterator[None]:
    """Around a blocking wait: an interruption gets the notes of the orders that were being placed."""
    notes: list[str] = []
    token = _heard.set(notes)
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):
            for note in tuple(notes):
                error.add_note(note)
        raise
    finally:
        _heard.reset(token)
