"""One piece of work that several callers wait for: it ends when it is done, or when the last of them has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


def caller_is_cancelled() -> bool:
    """Whether the running task itself is being cancelled, and not only what it waits for.

    Asked in an `except CancelledError`. A caller's own cancellation is passed on as it is; work that somebody else
    ended must become an exception, or the caller would look cancelled and never learn why.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Flight(Generic[_T]):
    """Shared work on one event loop.

    Args:
        work: begun at once, in a task of its own.
        name: the task's name.
        ended: makes the exception for callers whose flight somebody else ended (a disconnect, a close).
        keep: asked when the last caller leaves; while it says True the work goes on without callers.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, _T],
        *,
        name: str,
        ended: Callable[[], Exception],
        keep: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ended = ended
        self._keep = keep
        self._callers = 0
        self._given_up = False
        self._task = asyncio.create_task(work, name=name)
        self._task.add_done_callback(_retrieve)

    @property
    def task(self) -> asyncio.Task[_T]:
        """The task that does the work."""
        return self._task

    @property
    def open(self) -> bool:
        """Whether one may still join: neither done nor given up."""
        return not self._given_up and not self._task.done()

    @property
    def ending(self) -> bool:
        """Given up and not over yet: whoever wants the same work begun anew waits for `task` first."""
        return self._given_up and not self._task.done()

    async def join(self) -> _T:
        """Wait for the result. A caller that is cancelled leaves; the last one to leave ends the work."""
        self._callers += 1
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if caller_is_cancelled() or not self._task.done():
                raise
            raise self._ended() from None
        finally:
            self._callers -= 1
            if not self._callers and not self._task.done() and not self._keep():
                self.give_up()

    def give_up(self) -> None:
        """End the work; whoever still waits gets `ended()`."""
        self._given_up = True
        self._task.cancel()

    async def stop(self) -> None:
        """`give_up`, and wait until the work has ended."""
        self.give_up()
        await asyncio.wait([self._task])


def _retrieve(task: asyncio.Task[Any]) -> None:
    """The callers got the error; a caller that left must not leave a warning behind."""
    if not task.cancelled():
        task.exception()
