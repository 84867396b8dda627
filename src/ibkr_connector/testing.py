"""Test your own code against the paper gateway: the real client library, a real socket, no IBKR account.

As fixtures (pytest-asyncio):

    @pytest.fixture
    async def connector():
        async with paper_connector(seed=7) as connector:
            yield connector

    async def test_my_strategy_buys(connector):
        await my_strategy(connector)
        assert [p.quantity for p in await connector.get_positions()] == [100]

Blocking programs:

    def test_my_script():
        with sync_paper_connector(seed=7) as connector:
            connector.place_market_order("AAPL", 100, "BUY").filled(timeout=30)

Several connectors on one gateway, or a look at what really happened there (`gateway.truth`):

    async with paper_gateway(seed=7) as gateway, paper_connector(gateway, client_id=5) as connector:
        order = await connector.place_market_order("AAPL", 100, "BUY")
        await order.filled(timeout=30)
        assert gateway.truth.of("fill", order_ref=order.ref)

Nothing of the developer's machine takes part: ports are free ones on 127.0.0.1, journals lie in a temporary folder, no
settings file is read, and each connector is a profile of its own.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.paper import PaperGateway

if TYPE_CHECKING:
    from types import TracebackType

    from ibkr_connector.paper import TruthLog
    from ibkr_connector.sync import SyncConnector

__all__ = [
    "HostedGateway",
    "hosted_paper_gateway",
    "paper_connector",
    "paper_gateway",
    "sync_paper_connector",
]

_T = TypeVar("_T")
_START_TIMEOUT_S = 60.0
"""A gateway starts in less than a second; a first start may have to build calendars."""
_numbers = itertools.count(1)


@contextlib.asynccontextmanager
async def paper_gateway(**options: Any) -> AsyncIterator[PaperGateway]:
    """A running gateway on a free port; `options` are those of `PaperGateway` (seed, market, start, speed, accounts …).

    It lives on the caller's event loop. `gateway.tws_port` is where clients connect (with `web_port=0` also
    `gateway.web.url`), `gateway.truth` what happened.
    """
    async with PaperGateway(**{"tws_port": 0, **options}) as gateway:
        yield gateway


class HostedGateway:
    """A gateway on an event loop and thread of its own, for blocking tests. A context manager.

    `options` are those of `PaperGateway`. Its parts belong to its own loop: use `call` for anything but `tws_port`,
    `web_url` and `truth`, which may be read from any thread.
    """

    def __init__(self, **options: Any) -> None:
        self._options = {"tws_port": 0, **options}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._gateway: PaperGateway | None = None

    @property
    def gateway(self) -> PaperGateway:
        """The gateway itself. RuntimeError before `start`."""
        if self._gateway is None:
            raise RuntimeError("the gateway has not been started: use `with HostedGateway(...)`, or call start()")
        return self._gateway

    @property
    def tws_port(self) -> int:
        """Where TWS clients connect."""
        return self.gateway.tws_port

    @property
    def web_url(self) -> str:
        """The base URL of the Web API. RuntimeError unless the options have a `web_port`."""
        return self.gateway.web.url

    @property
    def truth(self) -> TruthLog:
        """What the gateway received and did."""
        return self.gateway.truth

    def start(self) -> Self:
        """Start the thread; returns when the gateway accepts connections, or raises what kept it from that."""
        if self._thread is not None:
            raise RuntimeError("this HostedGateway has been started before: make a new one")
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(ready)), name="paper-gateway", daemon=True
        )
        self._thread.start()
        try:
            ready.result(_START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        return self

    async def _main(self, ready: concurrent.futures.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        stop = self._stop = asyncio.Event()
        try:
            async with PaperGateway(**self._options) as gateway:
                self._gateway = gateway
                ready.set_result(None)
                await stop.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    def call(self, function: Callable[[PaperGateway], _T], timeout: float = 30.0) -> _T:
        """Call `function(gateway)` on the gateway's loop and give back what it returns (at most `timeout` seconds)."""
        gateway, loop = self.gateway, self._loop

        async def run() -> _T:
            return function(gateway)

        if loop is None:
            raise RuntimeError("the gateway is not running")
        return asyncio.run_coroutine_threadsafe(run(), loop).result(timeout)

    def close(self) -> None:
        """Stop the gateway and join its thread. Idempotent."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if loop is not None and stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stop.set)
        if thread is not None:
            thread.join(_START_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def hosted_paper_gateway(**options: Any) -> HostedGateway:
    """A gateway for blocking tests, used as a context manager; see `HostedGateway`."""
    return HostedGateway(**options)


AnyGateway: TypeAlias = PaperGateway | HostedGateway | int
"""A gateway in this process, or the port of one elsewhere on this machine."""


@contextlib.asynccontextmanager
async def paper_connector(
    gateway: AnyGateway | None = None,
    *,
    seed: int = 0,
    state_dir: str | os.PathLike[str] | None = None,
    connect: bool = True,
    **overrides: Any,
) -> AsyncIterator[IBKRConnector]:
    """A connected connector against a paper gateway, closed afterwards.

    Args:
        gateway: where to connect; None starts one of its own with `seed`.
        seed: of the gateway's own market, when none is given.
        state_dir: keep journal and id marks here instead of in a temporary folder (to test a restart, for instance).
        connect: False hands over a connector that has not connected yet.
        overrides: settings by name, as for `IBKRConnector` (`client_id=5`, `risk_limits={"max_order_size": 10}`).
    """
    async with contextlib.AsyncExitStack() as stack:
        if gateway is None:
            gateway = await stack.enter_async_context(paper_gateway(seed=seed))
        folder = stack.enter_context(_state_folder(state_dir))
        connector = _make(gateway, folder, overrides)
        stack.push_async_callback(connector.close)
        if connect:
            await connector.connect()
        yield connector


@contextlib.contextmanager
def sync_paper_connector(
    gateway: HostedGateway | int | None = None,
    *,
    seed: int = 0,
    state_dir: str | os.PathLike[str] | None = None,
    connect: bool = True,
    **overrides: Any,
) -> Iterator[SyncConnector]:
    """The blocking twin of `paper_connector`; a gateway of its own runs on a thread (`HostedGateway`)."""
    with contextlib.ExitStack() as stack:
        if gateway is None:
            gateway = stack.enter_context(HostedGateway(seed=seed))
        folder = stack.enter_context(_state_folder(state_dir))
        connector = _make(gateway, folder, overrides).sync
        stack.callback(connector.close)
        if connect:
            connector.connect()
        yield connector


@contextlib.contextmanager
def _state_folder(given: str | os.PathLike[str] | None) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        if given is None:
            given = stack.enter_context(tempfile.TemporaryDirectory(prefix="ibkr-paper-"))
        yield Path(given)


def _make(gateway: AnyGateway, folder: Path, overrides: dict[str, Any]) -> IBKRConnector:
    """A connector that takes nothing from the machine: an empty settings file, and every endpoint value given."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "no-settings.ini"
    empty.touch(mode=0o600)
    inner = gateway.gateway if isinstance(gateway, HostedGateway) else gateway
    given: dict[str, Any] = {
        "mode": "paper",
        "backend": "tws",
        "host": "127.0.0.1" if isinstance(inner, int) else inner.host,
        "port": inner if isinstance(inner, int) else inner.tws_port,
        "client_id": 2,
        "read_only": False,
        "state_dir": folder,
        "gateway": {"nightly_reset": None, "weekly_login": None, "restart_command": None},
        "watch": {"http_port": None},
        "alerts": {"webhook": "", "apprise": ""},
    }
    if not isinstance(inner, int):
        given["time_scale"] = inner.clock.speed
    made: IBKRConnector = IBKRConnector(
        empty, profile=f"paper-{os.getpid()}-{next(_numbers)}", **{**given, **overrides}
    )
    return made
