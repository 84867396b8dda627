"""The session's event loop, in one daemon thread of its own.

A daemon thread, because an event loop inside an executor's worker would keep the interpreter alive for ever; a program
that ends without `close()` just ends. Work comes in from any thread and any number of event loops through `run` (a
coroutine's hop) and `run_sync` (a blocking caller), and stays on this one loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ibkr_connector.errors import ConnectorClosed, SyncCallFromSession
from ibkr_connector.logs import get_logger
from ibkr_connector.session.flight import caller_is_cancelled

_T = TypeVar("_T")
_log = get_logger(__name__)
_WORKERS = 4
"""Threads for the little that blocks: opening the journal, loading a calendar."""


class SessionThread:
    """Owns the loop. `start` before use; `stop` ends it and joins."""

    def __init__(self, name: str = "ibkr-session") -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._pid = os.getpid()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The session's loop. Raises `ConnectorClosed` when there is none."""
        self._check_process()
        loop = self._loop
        if loop is None or self._closed:
            raise ConnectorClosed("the connector's session is not running.")
        return loop

    def _check_process(self) -> None:
        """After fork() the thread is not here, and a lock of this object may be held for ever."""
        if self._pid != os.getpid():
            raise ConnectorClosed(
                f"this connector belongs to process {self._pid}: its session did not come along into the child made by "
                "fork().",
                pid=self._pid,
            )

    @property
    def is_current(self) -> bool:
        """Whether the caller is on the session thread."""
        thread = self._thread
        return thread is not None and thread.ident == threading.get_ident()

    @property
    def started(self) -> bool:
        """Whether the thread was started (in this process)."""
        return self._thread is not None and self._pid == os.getpid()

    def start(self) -> None:
        """Start the thread (once); returns when its loop runs."""
        self._check_process()
        with self._lock:
            if self._closed:
                raise ConnectorClosed("the connector was closed.")
            if self._thread is not None:
                return
            ready = threading.Event()
            self._thread = threading.Thread(target=self._main, args=(ready,), name=self._name, daemon=True)
            self._thread.start()
            ready.wait()

    def _main(self, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.set_default_executor(ThreadPoolExecutor(_WORKERS, thread_name_prefix="ibkr"))
        self._loop = loop
        loop.call_soon(ready.set)
        try:
            loop.run_forever()
        finally:
            with contextlib.suppress(RuntimeError):
                loop.run_until_complete(_cancel_leftovers())
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            asyncio.set_event_loop(None)
            loop.close()

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Schedule `coroutine` on the session loop from any thread."""
        try:
            self._check_process()
            # Under the lock nothing can be scheduled behind the loop's end, where it would wait for ever.
            with self._lock:
                return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except ConnectorClosed:
            coroutine.close()
            raise

    async def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Await `coroutine` on the session loop from any loop. Cancelling the caller cancels it.

        Raises:
            ConnectorClosed: there is no session, or it ended the call: only a caller that is cancelled itself ever sees
                `CancelledError`.
        """
        try:
            if self.is_current:
                return await coroutine
            return await asyncio.wrap_future(self.submit(coroutine))
        except asyncio.CancelledError:
            if caller_is_cancelled():
                raise
            raise ConnectorClosed("the connector was closed while the call was waiting.") from None

    def run_sync(self, coroutine: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
        """Block until `coroutine` is done on the session loop; Ctrl-C interrupts the wait and cancels it.

        Raises:
            SyncCallFromSession: called on the session thread, where it would wait for itself.
        """
        if self.is_current:
            coroutine.close()
            raise SyncCallFromSession("a blocking call on the session thread would wait for itself.")
        future = self.submit(coroutine)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise ConnectorClosed("the connector was closed while the call was waiting.") from None
        except BaseException:
            future.cancel()
            raise

    def stop(self, timeout: float = 5.0) -> bool:
        """End the loop and join the thread; False if it did not end in `timeout` seconds. Idempotent.

        Nothing can be started afterwards. In a child made by fork() there is nothing to end.
        """
        if self._pid != os.getpid():
            return True
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return True
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        if self.is_current:
            return True
        thread.join(timeout)
        if thread.is_alive():
            _log.warning("session thread did not end", seconds=timeout)
        return not thread.is_alive()


async def _cancel_leftovers() -> None:
    me = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not me]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
