"""The one place that asks ibind for anything over HTTP: each request once, in its own thread, with a typed failure.

Reads have a pool of threads. Orders have one thread of their own, so that they leave in the order they were handed
over and never wait behind a read; what gets out (DELETE) has another, and never waits behind an order. ibind's own
retries are off (`max_retries=0`), and its sessions are ours (see `wire`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ibkr_connector.backends.web import codes
from ibkr_connector.backends.web.library import load_ibind
from ibkr_connector.backends.web.options import OAuthSource, WebEndpoint
from ibkr_connector.backends.web.pace import Pace, Unpaced
from ibkr_connector.backends.web.wire import Attempt, ExactSession, making
from ibkr_connector.backends.web.workers import Workers
from ibkr_connector.clock import Clock
from ibkr_connector.errors import (
    AuthenticationError,
    IBKRConnectionError,
    NotConnected,
    OrderInDoubt,
    PacingError,
    TradingError,
)
from ibkr_connector.logs import get_logger, register_secret

_log = get_logger(__name__)
_CLOSE_S = 2.0
_GRACE_S = 0.5
"""A thread sees its time run out itself; the loop waits a little longer for it to say how far it came."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
LATE_S = 0.01
"""What is written later than this after its leave is counted once more, at that moment. Less than the pacer's margin of
every rule: a burst of cancels leaves one by one, and the next second's would join its end."""


def _unheard(error: TradingError) -> None:
    """Nobody listens."""


class WebCalls:
    """Requests of one backend. Used from the session loop; `open` before the first, `close` after the last.

    Args:
        endpoint: where the API is.
        clock: where time comes from.
        oauth: makes ibind's OAuth configuration; None = a gateway that holds the login itself.
    """

    def __init__(self, endpoint: WebEndpoint, *, clock: Clock, oauth: OAuthSource | None = None) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._oauth = oauth
        self._reads: Workers | None = None
        self._orders: Workers | None = None
        self._exits: Workers | None = None
        self._reader: Any = None
        self._orderer: Any = None
        self._under_way: set[Attempt] = set()
        self._writing: set[Attempt] = set()
        """Those of them that write orders: at the end they are left a moment to be answered."""
        self.pace: Pace = Unpaced()
        """Asked before every read; orders got their leave from whoever sends them."""
        self.on_trouble: Callable[[TradingError], None] = _unheard
        """Told, on the loop, when the login, the brokerage session or the gateway seems to be gone."""
        self.date: datetime | None = None
        """The newest answer's Date header (UTC, whole seconds), and the monotonic second at which it came."""
        self.date_at = 0.0

    # --- life -----------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether requests can be made."""
        return self._reads is not None

    @property
    def signed(self) -> bool:
        """Whether requests are signed (OAuth)."""
        return self._oauth is not None

    @property
    def host(self) -> str:
        """Where the API is."""
        return self._endpoint.host

    @property
    def client(self) -> Any:
        """Ibind's client of the reads: what its websocket client is given. Raises `NotConnected`."""
        if self._reader is None:
            raise NotConnected("there is no connection to the Web API.")
        return self._reader

    def open(self) -> None:
        """Make threads and clients; no request. Raises `ConfigurationError`."""
        if self._reads is None:
            load_ibind()
            self._reads = Workers("ibkr-web-read", self._endpoint.read_workers)
            self._orders = Workers("ibkr-web-order", 1)
            self._exits = Workers("ibkr-web-exit", 1)
            if self._oauth is None:
                self._reader, self._orderer = self._make(None), self._make(None)

    async def close(self) -> None:
        """End it, within two seconds: reads at once, orders that are being answered after that. Idempotent."""
        pools = [pool for pool in (self._reads, self._orders, self._exits) if pool is not None]
        clients = [client for client in (self._reader, self._orderer) if client is not None]
        self._reads = self._orders = self._exits = self._reader = self._orderer = None
        for attempt in tuple(self._under_way):
            attempt.abandon()  # what has not begun does not begin any more
            if attempt not in self._writing:
                attempt.cut()
        ended = await asyncio.gather(*(pool.close(self._clock, _CLOSE_S) for pool in pools))
        if not all(ended):
            _log.warning("a request was still on its way when the connection was closed")
            for attempt in tuple(self._under_way):
                attempt.cut()
        for client in clients:
            client.close_session()

    def _make(self, config: Any) -> Any:
        ibind = load_ibind()
        where = self._endpoint
        if config is None:
            verify: bool | str = where.ca_file or where.verify_tls
            client = ibind.IbkrClient(
                url=where.url, cacert=verify, max_retries=0, use_session=False, auto_register_shutdown=False
            )
        else:
            client = ibind.IbkrClient(
                use_oauth=True, oauth_config=config, max_retries=0, use_session=False, auto_register_shutdown=False
            )
            if where.ca_file:
                client.cacert = where.ca_file
        client._verbose_retries = False
        client._logger = logging.Logger("ibind")  # of nobody: it would log requests that failed, orders and all  # noqa: LOG001
        client._logger.addHandler(logging.NullHandler())  # without any, warnings go to stderr
        away = urlsplit(client.base_url).hostname not in _LOOPBACK
        client._session = ExactSession(self._clock.monotonic, proxies_from_environment=away)
        client.use_session = True
        return client

    async def authenticate(self, *, timeout: float) -> float | None:
        """With OAuth: ask for a new live session token, and sign with it from now on.

        Returns the token's end in seconds since 1970; None without OAuth, where the gateway holds the login.

        Raises:
            AuthenticationError: the token was refused, or the answer does not prove that it is IBKR's.
            ConfigurationError: keys or parameters are unusable.
        """
        if self._oauth is None:
            return None
        source = self._oauth
        what = "a live session token"
        attempt = Attempt(until=self._clock.monotonic() + timeout, limit=self._endpoint.answer_limit)

        def work() -> tuple[Any, Any]:
            config = source()
            config.init_oauth = config.maintain_oauth = config.init_brokerage_session = config.shutdown_oauth = False
            reader, orderer = self._make(config), self._make(config)
            reader.generate_live_session_token()
            from ibind.oauth.oauth1a import validate_live_session_token

            if not validate_live_session_token(
                live_session_token=reader.live_session_token,
                live_session_token_signature=reader.live_session_token_signature,
                consumer_key=config.consumer_key,
            ):
                raise AuthenticationError(f"{what}: the answer was not signed with the token we computed.")
            register_secret(reader.live_session_token)
            orderer.live_session_token = reader.live_session_token
            return reader, orderer

        made = await self._paced("POST", "oauth/live_session_token", work, attempt, what, timeout)
        for old in (self._reader, self._orderer):
            if old is not None:
                old.close_session()
        self._reader, self._orderer = made
        return float(self._reader.live_session_token_expires_ms) / 1000

    # --- requests -------------------------------------------------------------------------------------------------

    async def get(self, path: str, params: dict[str, Any] | None = None, *, timeout: float) -> Any:
        """Read. The answer as JSON has it; an `error` in an answer with status 200 is raised too.

        Raises what `codes` says; nothing is asked twice.
        """
        return await self._read("GET", path, {"params": params} if params else {}, timeout)

    async def post(self, path: str, body: Any = None, *, timeout: float) -> Any:
        """Ask with a body, for what changes no order. As `get`."""
        return await self._read("POST", path, {} if body is None else {"json": body}, timeout)

    async def order(self, method: str, path: str, body: Any = None, *, timeout: float) -> Any:
        """Write what changes orders, and wait for the answer. An `error` with status 200 is returned, not raised.

        Raises:
            OrderInDoubt: it may have arrived (outcome UNKNOWN).
            IBKRConnectionError, PacingError, RequestRejected: it did not, or was refused; `outcome` says which.
        """
        return await self.begin(method, path, body, timeout=timeout)

    def begin(self, method: str, path: str, body: Any = None, *, timeout: float) -> asyncio.Task[Any]:
        """`order` without waiting: it is with its thread when this returns, in the order of the calls.

        The task ends within `timeout` seconds and a little; nobody needs to wait for it. Cancelling it takes
        back what was not written yet, and nothing else. Raises `NotConnected`: nothing was or will be written.
        """
        what = f"{method} {path}"
        pool = self._pool(self._exits if method == "DELETE" else self._orders)
        attempt = Attempt(until=self._clock.monotonic() + timeout, limit=self._endpoint.answer_limit)
        options = {} if body is None else {"json": body}
        work = partial(self._request, self._orderer, method, path, options)
        handed, loop = self._clock.monotonic(), asyncio.get_running_loop()

        def on_begin() -> None:
            if self._clock.monotonic() - handed > LATE_S:
                _soon(loop, partial(self.pace.late, path))

        begun = self._submit(pool, work, attempt, what, order=True, on_begin=on_begin)
        task = loop.create_task(
            self._ended(begun, attempt, what, timeout, order=True), name=f"ibkr-web-{method.lower()}"
        )
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _read(self, method: str, path: str, options: dict[str, Any], timeout: float) -> Any:
        what = f"{method} {path}"
        attempt = Attempt(until=self._clock.monotonic() + timeout, limit=self._endpoint.answer_limit)

        def work() -> Any:
            return self._request(self.client, method, path, options)

        data = await self._paced(method, path, work, attempt, what, timeout)
        text = codes.error_text(data)
        if text:
            raise self._heard(codes.refused(what, attempt.status, text))
        return data

    async def _paced(
        self, method: str, path: str, work: Callable[[], Any], attempt: Attempt, what: str, timeout: float
    ) -> Any:
        """Wait for leave, have it done, tell when it left."""
        self._pool(self._reads)
        async with self.pace.request(method, path, timeout) as leave:
            loop = asyncio.get_running_loop()
            told = False

            def leaving() -> None:
                nonlocal told
                if not told:
                    told = True
                    leave.sent()

            try:
                pool = self._pool(self._reads)
                begun = self._submit(pool, work, attempt, what, order=False, on_begin=partial(_soon, loop, leaving))
                left = max(attempt.until - self._clock.monotonic(), 0.001)
                return await self._ended(begun, attempt, what, left, order=False)
            except BaseException:
                if not told and not attempt.begun:
                    told = True
                    leave.unused()
                raise
            finally:
                leaving()

    @staticmethod
    def _pool(pool: Workers | None) -> Workers:
        if pool is None:
            raise NotConnected("there is no connection to the Web API.")
        return pool

    @staticmethod
    def _request(client: Any, method: str, path: str, options: dict[str, Any]) -> Any:
        """In a thread."""
        return client.request(method, path, log=False, **options).data

    def _submit(
        self,
        pool: Workers,
        work: Callable[[], Any],
        attempt: Attempt,
        what: str,
        *,
        order: bool,
        on_begin: Callable[[], None],
    ) -> asyncio.Future[Any]:
        def job() -> Any:
            try:
                if not attempt.begin():
                    raise NotConnected(f"{what}: the connection ended before it was made; nothing was sent.")
                on_begin()
                making(attempt)
                result = work()
            except TradingError:
                raise
            except Exception as error:  # noqa: BLE001 - ibind raises what it likes; what is known is in the attempt
                raise codes.failed(what, attempt, error, order=order) from None
            finally:
                making(None)
                self._under_way.discard(attempt)
                self._writing.discard(attempt)
            if not 200 <= attempt.status < 300:
                raise codes.failed(what, attempt, None, order=order)
            return result

        self._under_way.add(attempt)
        if order:
            self._writing.add(attempt)
        return pool.submit(job)

    async def _ended(
        self, begun: asyncio.Future[Any], attempt: Attempt, what: str, timeout: float, *, order: bool
    ) -> Any:
        try:
            data = await self._clock.wait_for(asyncio.shield(begun), timeout + _GRACE_S)
        except TimeoutError as error:
            if isinstance(error, TradingError):
                raise self._heard(error) from None
            raise codes.given_up(what, timeout, unwritten=attempt.abandon(), order=order) from None
        except asyncio.CancelledError:
            attempt.abandon()
            raise
        except TradingError as error:
            self._note(attempt)  # a refusal has the server's time as well, and may be about it
            raise self._heard(error) from None
        self._note(attempt)
        return data

    def _note(self, attempt: Attempt) -> None:
        try:
            date = parsedate_to_datetime(attempt.date)
        except ValueError:
            return
        if date.tzinfo is not None:
            self.date, self.date_at = date, self._clock.monotonic()

    def _heard(self, error: TradingError) -> TradingError:
        """Tell who must know, and give it back to be raised."""
        if isinstance(error, PacingError):
            self.pace.limited(error)
        elif isinstance(error, IBKRConnectionError | OrderInDoubt):
            self.on_trouble(error)
        return error


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """From a thread: call it on the loop, if there still is one."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
