"""What the parts of one Web backend share, and how a part is told of the connection's life."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from ibkr_connector.backends.base import Later, Write
from ibkr_connector.backends.ids import Ids
from ibkr_connector.backends.outlet import Outlet
from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.clock import Clock
from ibkr_connector.errors import NotConnected
from ibkr_connector.logs import get_logger
from ibkr_connector.models.contract import Contract

_log = get_logger(__name__)


def _at_once(write: Write) -> None:
    write()


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
