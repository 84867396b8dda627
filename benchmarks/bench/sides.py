"""The two kinds of sides that are measured: a client library as its users use it, and the connector over it.

Only what is needed is imported, when it is needed: a raw side never loads the connector, so its memory is its own.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibkr_connector import IBKRConnector
    from ibkr_connector.resilience import PacerSnapshot

HOST = "127.0.0.1"
MESSAGES_PER_SECOND = 500
CANCEL_RESERVE = 100
"""The connector's pacer is on, at the highest rate its settings allow; the benchmarks stay below it."""


class RawSide:
    """A client library, connected. Its own throttle of 45 messages per second is off."""

    kind = "raw"

    def __init__(self, library: str, port: int, client_id: int) -> None:
        self.library = library
        self.port = port
        self.client_id = client_id
        self.module: Any = None
        self.ib: Any = None
        self.lines: dict[str, Any] = {}
        self._next_client = itertools.count(client_id * 100)

    async def open(self) -> None:
        """Import the library inside the running loop, and connect."""
        self.module = importlib.import_module(self.library)
        logging.getLogger(self.library).setLevel(logging.CRITICAL)
        self.ib = await self.connect(self.client_id)

    async def connect(self, client_id: int) -> Any:
        """A new connection, with the library's own start-up sync."""
        ib = self.module.IB()
        ib.client.MaxRequests = 0
        await ib.connectAsync(HOST, self.port, clientId=client_id)
        return ib

    def new_client_id(self) -> int:
        """A client id nobody used."""
        return next(self._next_client)

    async def stock(self, symbol: str) -> Any:
        """A qualified contract."""
        (contract,) = await self.ib.qualifyContractsAsync(self.module.Stock(symbol, "SMART", "USD"))
        return contract

    async def ended(self, trade: Any) -> None:
        """Wait for the end of an order."""
        await self.until(trade.statusEvent, lambda told: told.isDone(), trade)

    async def until(self, event: Any, condition: Callable[[Any], bool], subject: Any) -> None:
        """Wait until `condition` holds for what `event` tells, or for `subject` already; TimeoutError after 10 s."""
        done = asyncio.get_running_loop().create_future()

        def told(subject: Any) -> None:
            if not done.done() and condition(subject):
                done.set_result(None)

        event += told
        try:
            told(subject)
            await asyncio.wait_for(done, 10)
        finally:
            event -= told

    async def close(self) -> None:
        """Disconnect."""
        if self.ib is not None:
            self.ib.disconnect()


class ConnectorSide:
    """The connector, connected; the caller's event loop is the worker's, on another thread than the session."""

    kind = "connector"

    def __init__(
        self, library: str, port: int, client_id: int, folder: Path, *, rates: dict[str, int] | None = None
    ) -> None:
        self.library = library
        self.port = port
        self.client_id = client_id
        self.folder = folder
        self.rates = {"messages_per_second": MESSAGES_PER_SECOND, "cancel_reserve": CANCEL_RESERVE}
        if rates is not None:
            self.rates = rates
        self._connector: IBKRConnector | None = None
        self._next_client = itertools.count(client_id * 100)
        self.lines: dict[str, Any] = {}

    @property
    def connector(self) -> IBKRConnector:
        """The connected connector."""
        if self._connector is None:
            raise RuntimeError("the side is not open")
        return self._connector

    async def open(self) -> None:
        """Make the connector and connect."""
        logging.getLogger("ibkr_connector").setLevel(logging.CRITICAL)
        logging.getLogger(self.library).setLevel(logging.CRITICAL)
        self._connector = self.make(self.client_id, "main")
        await self._connector.connect()

    def make(self, client_id: int, name: str, **limits: Any) -> IBKRConnector:
        """A connector of its own profile and journal; it takes nothing from this machine's settings."""
        from ibkr_connector import IBKRConnector

        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "empty.ini"
        settings.touch(mode=0o600)
        made: IBKRConnector = IBKRConnector(
            settings,
            profile=f"bench-{name}",
            mode="paper",
            tws_library=self.library,
            host=HOST,
            port=self.port,
            client_id=client_id,
            state_dir=folder,
            pacing=self.rates,
            **limits,
        )
        return made

    def pacer(self) -> PacerSnapshot:
        """What the connector's pacer holds right now."""
        return self.connector._house.session.guard.pacing()

    async def until_paced(self, told: Callable[[PacerSnapshot], bool]) -> None:
        """Wait until the pacer's figures are so; TimeoutError after 20 s. It is asked on the session's own loop."""

        async def look() -> None:
            for _ in range(4_000):
                if told(self.pacer()):
                    return
                await asyncio.sleep(0.005)
            raise TimeoutError(f"the pacer never came to that: {self.pacer()}")

        await self.connector._house.thread.run(look())

    def new_client_id(self) -> int:
        """A client id nobody used."""
        return next(self._next_client)

    async def close(self) -> None:
        """Close the connector."""
        if self._connector is not None:
            await self._connector.close()


Side = RawSide | ConnectorSide
Commands = dict[str, Callable[..., Awaitable[Any]]]
"""`kind.command` -> what a worker does for it; the first argument is its side."""
