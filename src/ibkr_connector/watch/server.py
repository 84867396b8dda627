"""/metrics, /livez and /readyz over HTTP, on an event loop and a thread of their own: a scrape delays no order.

Needs the extra `metrics` (aiohttp). Loopback by default, GET only, nothing is ever changed by a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from ibkr_connector.errors import ConfigurationError
from ibkr_connector.logs import get_logger
from ibkr_connector.watch.health import Health, Plane

_log = get_logger(__name__)
_START_S = 5.0
_STOP_S = 5.0


def aiohttp_web() -> Any:
    """The aiohttp.web module. Raises ConfigurationError naming the extra where it is missing."""
    try:
        return importlib.import_module("aiohttp.web")
    except ImportError:
        raise ConfigurationError(
            "watch.http_port is set, but the aiohttp library is not installed.",
            remedy='Install the extra: pip install "ibkr-connector[metrics]", or remove http_port.',
            field="watch.http_port",
        ) from None


class WatchServer:
    """Serves from `start` to `stop`.

    Args:
        health: every plane now; must not wait.
        alive: whether the session's loop answers; may wait up to two seconds.
        registry: what /metrics shows.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        name: str,
        health: Callable[[], Health],
        alive: Callable[[], Awaitable[bool]],
        registry: Any,
    ) -> None:
        self._web = aiohttp_web()
        self._exposition = importlib.import_module("prometheus_client.exposition")
        self._host = host
        self._port = port
        self._name = name
        self._health = health
        self._alive = alive
        self._registry = registry
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self.port = 0
        """Where it listens; 0 while it does not."""

    def start(self) -> None:
        """Listen. Raises OSError when the address cannot be had."""
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name=f"ibkr-watch-{self._name}", daemon=True)
        self._thread.start()
        try:
            self.port = started.result(_START_S)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop listening and end the thread. Idempotent."""
        loop, end, thread = self._loop, self._end, self._thread
        self.port = 0
        if loop is not None and end is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(end.set)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STOP_S)

    def _run(self, started: Future[int]) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:  # noqa: BLE001 - told to whoever starts it, or to the log
            if started.done():
                _log.error("the metrics and health server ended", error=repr(error))
            else:
                started.set_exception(error)

    async def _serve(self, started: Future[int]) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = self._web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/readyz/{plane}", self._readyz_plane)
        runner = self._web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = self._web.TCPSite(runner, self._host, self._port)
            await site.start()
            started.set_result(int(runner.addresses[0][1]))
            await self._end.wait()
        finally:
            await runner.cleanup()

    # --- what is served --------------------------------------------------------------------------------------------

    async def _metrics(self, request: Any) -> Any:
        encode, kind = self._exposition.choose_encoder(request.headers.get("Accept", ""))
        # On a worker: reading the figures waits for the session's loop, and /livez must be answered meanwhile.
        body = await asyncio.to_thread(encode, self._registry)
        return self._web.Response(body=body, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    async def _livez(self, request: Any) -> Any:
        alive = await self._alive()
        return self._answer(200 if alive else 503, {"alive": alive})

    async def _readyz(self, request: Any) -> Any:
        health = self._health()
        return self._answer(200 if health.ready else 503, health.to_dict())

    async def _readyz_plane(self, request: Any) -> Any:
        name = request.match_info["plane"]
        if name not in {plane.value for plane in Plane}:
            return self._answer(404, {"error": "there is no such plane", "planes": [plane.value for plane in Plane]})
        plane = self._health().of(name)
        return self._answer(200 if plane.ready else 503, {"plane": name, **plane.to_dict()})

    def _answer(self, status: int, data: dict[str, Any]) -> Any:
        return self._web.json_response(data, status=status, headers={"Cache-Control": "no-store"})
