"""What the parts of one Web backend share, and how a part is told of the connection's life."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from ibkr_connector.backends.base import Later, Write
from ibkr_connector.backends.facts import SystemNotice
from ibkr_connector.backends.ids import Ids
from ibkr_connector.backends.outlet import Outlet
from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.clock import Clock
from ibkr_connector.errors import NotConnected
from ibkr_connector.logs import get_logger
from ibkr_connector.models.contract import Contract

_log = get_logger(__name__)
LINK_LOST, LINK_BACK = 1100, 1101
"""As TWS tells them; 1101 says that subscriptions were made again, and that news may have been missed."""


def _at_once(write: Write) -> None:
    write()


class Gaps:
    """What stands between the broker's news and us, told as one: 1100 with the first of them, 1101 with the last.

    The brokerage session and the websocket come and go by themselves; the link is up when both are.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._open: set[str] = set()

    def begin(self, what: str, why: str) -> None:
        """`what` is gone, and `why`."""
        first = not self._open
        self._open.add(what)
        if first:
            self._outlet.emit(SystemNotice(code=LINK_LOST, text=f"Web API: {why}"))

    def end(self, what: str) -> None:
        """`what` is there again."""
        if what in self._open:
            self._open.discard(what)
            if not self._open:
                self._outlet.emit(SystemNotice(code=LINK_BACK, text="Web API: session and websocket are there again"))

    def forget(self) -> None:
        """A new connection: nothing is told of the old one's gaps."""
        self._open.clear()


class Part(Protocol):
    """A part of the backend that lives as long as a connection."""

    async def start(self, timeout: float) -> None:
        """The login is done and the accounts are known."""
        ...

    async def stop(self) -> None:
        """The connection ends: let go of everything, quickly. Idempotent."""
        ...

    def back(self) -> None:
        """The brokerage session was lost and is there again: what the broker was told to send must be asked anew."""
        ...


class WebRoom:
    """Shared state. Used on the session loop."""

    def __init__(self, endpoint: WebEndpoint, calls: WebCalls, clock: Clock) -> None:
        self.endpoint = endpoint
        self.calls = calls
        self.clock = clock
        self.ids = Ids()
        self.outlet = Outlet()
        self.gaps = Gaps(self.outlet)
        self.later: Later = _at_once
        self.connected = False
        self.accounts: tuple[str, ...] = ()
        self.client_id = 0
        """What facts carry as `client_id` where an order is ours: the configured one, though the Web API has none."""
        self.tickle_session = ""
        """What /tickle calls `session`: the websocket's cookie."""
        self.contracts: dict[int, Contract] = {}
        """Contracts by con_id, as their details told them: rows of orders and trades carry less."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def account(self) -> str:
        """The account that requests about orders name: the pinned one, else the login's first."""
        return self.endpoint.account or (self.accounts[0] if self.accounts else "")

    def require(self) -> None:
        """Raise `NotConnected` unless there is a connection."""
        if not self.connected:
            raise NotConnected("there is no connection to the Web API.")

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Do it beside everything else, at most until the connection ends. What it raises is logged."""
        task = asyncio.get_running_loop().create_task(work, name=f"ibkr-web-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the web backend failed", task=task.get_name(), error=repr(error))

    async def end_tasks(self) -> None:
        """Cancel what was spawned, and wait for its end."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
