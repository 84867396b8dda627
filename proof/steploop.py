"""An event loop whose time jumps: when nothing is ready, it is the next timer's time at once.

Everything runs in one thread, nothing waits, and nothing outside takes part, so the same seed gives the same run. What
belongs together as one *process* (a connector and its callers) is marked by a context variable; `kill` ends a process
as `kill -9` does: not one more of its callbacks runs, and its connections are closed by the kernel.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

from proof.memorynet import MemoryNet, MemoryServer

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_MOST_TURNS = 200_000
"""Turns of the loop without a step of time: more is a busy loop, and would never end."""
TURN_S = 1e-7
"""What a turn of the loop takes: who asks whether a moment has passed must not ask for ever in the same one."""
WORK_S = (0.0002, 0.004)
"""How long work on another thread seems to take: the work itself is done at once."""


class Hang(Exception):
    """Nothing is ready, and no timer is set: whoever waits would wait for ever."""


class Process:
    """What dies together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True

    def __repr__(self) -> str:
        return f"<Process {self.name}{'' if self.alive else ' (dead)'}>"


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("PROCESS", default=None)


class Killed(BaseException):
    """Raised inside a process that has just been killed, so that the code under way goes no further.

    What it does while it unwinds reaches neither disk nor network: both are closed already.
    """


class _Clockwork:
    """The selector: instead of waiting it moves the time."""

    def __init__(self, loop: StepLoop) -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        loop = self._loop
        if timeout is None:
            raise Hang(loop.describe_waiting())
        if timeout > 0:
            loop.jump(timeout)
            self._turns = 0
            return []
        self._turns += 1
        loop.jump(TURN_S)
        if self._turns > _MOST_TURNS:
            raise Hang(f"time stands still at {loop.time():.6f} s: something spins. {loop.describe_waiting()}")
        return []

    def close(self) -> None:
        """Nothing to close."""


class StepLoop(asyncio.BaseEventLoop):
    """Virtual time, connections in memory, worker threads' work done at once. `seed` decides all latencies."""

    def __init__(self, seed: int | str = 0) -> None:
        super().__init__()
        self._now = 1_000.0
        self._selector = _Clockwork(self)
        self._clock_resolution = 1e-9
        self.rng = random.Random(f"{seed}:loop")
        self.net = MemoryNet(self, random.Random(f"{seed}:net"))
        self.problems: list[str] = []
        """What nobody caught."""
        self._tasks: weakref.WeakKeyDictionary[asyncio.Task[Any], Process] = weakref.WeakKeyDictionary()
        self.set_task_factory(self._make_task)

    # --- time --------------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Move on."""
        self._now += seconds

    def describe_waiting(self) -> str:
        """The tasks that wait."""
        names = sorted(f"{task.get_name()} ({_where(task)})" for task in asyncio.all_tasks(self) if not task.done())
        return f"waiting: {'; '.join(names) or 'nobody'}"

    # --- what BaseEventLoop needs ------------------------------------------------------------------------------------

    def _process_events(self, event_list: list[Any]) -> None:
        del event_list

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody caught is noted, whatever else the program does about it; what a kill left behind is not."""
        error = context.get("exception")
        owner = context.get("task") or context.get("future")
        process = self._tasks.get(owner) if isinstance(owner, asyncio.Task) else PROCESS.get()
        if isinstance(error, Killed) or (process is not None and not process.alive):
            return
        self.problems.append(f"{context.get('message')}: {error!r}")

    # --- dead processes ----------------------------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """As usual, unless the process it would run in is dead."""
        if self.is_closed():  # the finalisers of what was killed
            return _nothing(self)
        handle = super().call_soon(callback, *args, context=context)
        _silence(handle, context)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """As usual, unless the process it would run in is dead."""
        if self.is_closed():
            return asyncio.TimerHandle(when, callback, args, self)
        handle = super().call_at(when, callback, *args, context=context)
        _silence(handle, context)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def kill(self, process: Process) -> list[asyncio.Task[Any]]:
        """End a process at once; its unfinished tasks, which the caller must keep for as long as the loop runs."""
        process.alive = False
        for handle in [*self._ready, *self._scheduled]:  # type: ignore[attr-defined]
            if handle._context.get(PROCESS) is process:
                handle.cancel()
        self.net.kill(process)
        tasks = self.tasks_of(process)
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        return tasks

    def tasks_of(self, process: Process) -> list[asyncio.Task[Any]]:
        """Its unfinished tasks, the oldest first."""
        return [task for task, owner in self._tasks.items() if owner is process and not task.done()]

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        """A task that is known by its process."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            self._tasks[task] = process
        return task

    # --- the world outside -------------------------------------------------------------------------------------------

    def run_in_executor(self, executor: Any, func: Callable[..., _T], *args: Any) -> asyncio.Future[_T]:  # type: ignore[override]
        """The work is done here and now; its result comes a moment later, as from another thread."""
        del executor
        future: asyncio.Future[_T] = self.create_future()
        error: BaseException | None = None
        try:
            result = func(*args)
        except Exception as raised:  # noqa: BLE001 - the caller's, wherever it comes from
            error = raised

        def land() -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self.rng.uniform(*WORK_S), land)
        return future

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **kw: Any) -> Any:
        """Connect to a server of this loop."""
        del kw
        return await self.net.connect(protocol_factory, str(host), int(port), PROCESS.get())

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **kw: Any) -> MemoryServer:  # type: ignore[override]
        """Listen; port 0 means any."""
        del kw
        return self.net.listen(protocol_factory, str(host), int(port or 0), PROCESS.get())

    def close(self) -> None:
        """End; what is left is forgotten without a word."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        super().close()


def _silence(handle: asyncio.Handle, context: contextvars.Context | None) -> None:
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is not None and not process.alive:
        handle.cancel()


def _nothing(loop: asyncio.AbstractEventLoop) -> asyncio.Handle:
    handle = asyncio.Handle(int, (), loop)
    handle.cancel()
    return handle


def _where(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    return f"{frames[-1].f_code.co_qualname}:{frames[-1].f_lineno}" if frames else "?"
