"""`IBKRConnector`: one connection to Interactive Brokers, safe from any thread and any event loop.

The class is a thread-safe singleton per profile: its life is here; what can be asked of it is its `Facade`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ibkr_connector.backends.factory import with_endpoint
from ibkr_connector.config import Settings, load_settings
from ibkr_connector.errors import ConnectorClosed, ConnectorConflict
from ibkr_connector.facade import Facade
from ibkr_connector.models.arguments import wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    from ibkr_connector.assembly import House
    from ibkr_connector.backends.base import Capabilities
    from ibkr_connector.events import Listener
    from ibkr_connector.sync import SyncConnector
    from ibkr_connector.watch.health import Health

DEFAULT_PROFILE = "default"
_LEAVING = ("leave", "cancel_increasing", "cancel_all")


class _OnePerProfile(type):
    """Calling the class gives the profile's one instance; `__init__` runs once."""

    _lock = threading.RLock()
    _instances: ClassVar[dict[str, IBKRConnector]] = {}
    _of_parents: ClassVar[list[IBKRConnector]] = []
    """In a forked child: the connectors it inherited, kept so that nothing here finalises what the parent uses."""

    def __call__(
        cls,
        config_path: str | os.PathLike[str] | None = None,
        *,
        profile: str = DEFAULT_PROFILE,
        allow_live: bool = False,
        **overrides: Any,
    ) -> Any:
        with _OnePerProfile._lock:
            found = _OnePerProfile._instances.get(profile)
            if found is not None and not found.closed:
                if config_path is not None or allow_live or overrides:
                    found._refuse_other(load_settings(config_path, overrides=overrides), allow_live=allow_live)
                return found
            made = super().__call__(config_path, profile=profile, allow_live=allow_live, **overrides)
            _OnePerProfile._instances[profile] = made
            return made

    @staticmethod
    def _after_fork() -> None:
        """In the child: its connectors are new and unconnected, and no lock is held by a thread that is not here."""
        _OnePerProfile._lock = threading.RLock()
        _OnePerProfile._of_parents.extend(_OnePerProfile._instances.values())
        _OnePerProfile._instances.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_OnePerProfile._after_fork)


class IBKRConnector(Facade, metaclass=_OnePerProfile):
    """A connection to IBKR that can be left running.

        connector = get_ibkr_connector()
        await connector.connect()
        order = await connector.place_market_order("AAPL", 100, "BUY")
        await order.filled()

    Args:
        config_path: an `ibkr_config.ini`; None looks in the usual places (`ibkr-connector config show` tells where).
        profile: connectors of different profiles are independent; one profile has one connector per process.
        allow_live: one of the three steps to a live account; the others are `mode = live` and a pinned `account_id`.
        overrides: settings by name (`port=4002`, `client_id=7`, `risk_limits={"max_order_size": 10}`).

    Raises:
        ConfigurationError: a setting is wrong; names field, origin and what is legal.
        ConnectorConflict: this profile has a connector with other settings.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] | None = None,
        *,
        profile: str = DEFAULT_PROFILE,
        allow_live: bool = False,
        **overrides: Any,
    ) -> None:
        self.profile = profile
        self.settings: Settings = load_settings(config_path, overrides=overrides)
        self._allow_live = allow_live
        self._made: House | None = None
        self._closed = False
        self._making = threading.Lock()
        self._pid = os.getpid()

    @property
    def _is_inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's connector: its threads and sockets are not here."""
        return self._pid != os.getpid()

    def _require_own_process(self) -> None:
        if self._is_inherited:
            raise ConnectorClosed(
                f"this connector belongs to process {self._pid}; a child made by fork() needs its own.",
                remedy="Ask get_ibkr_connector() in the child, with a client_id of its own.",
                pid=self._pid,
            )

    @property
    def _house(self) -> House:
        """All rooms; made when first needed, so that naming a connector costs no more than reading its settings."""
        self._require_own_process()
        if self._made is None:
            from ibkr_connector.assembly import House

            with self._making:
                if self._closed:
                    raise ConnectorClosed("the connector was closed.")
                if self._made is None:
                    self._made = House(self.settings, allow_live=self._allow_live, profile=self.profile)
        return self._made

    def _refuse_other(self, settings: Settings, *, allow_live: bool) -> None:
        fields = list(self.settings.differences(settings))
        if allow_live != self._allow_live:
            fields.append("allow_live")
        if fields:
            raise ConnectorConflict(
                f"profile {self.profile!r} has a connector with other settings: {', '.join(fields)} differ.",
                fields=fields,
                profile=self.profile,
            )

    # --- life ------------------------------------------------------------------------------------------------------

    async def connect(self) -> bool:
        """Connect, synchronise, and keep connected. Returns True, or raises.

        Raises:
            ConnectionRefused, ConnectTimeout, ClientIdInUse …: after the tries of the adaptive plan.
            CircuitOpen: after too many failures; `retry_after` says when.
            LiveTradingRefused: the account is not the paper account that the settings expect.
            JournalError: the order journal cannot be opened.
        """
        self._require_own_process()  # before any thread is asked for: an inherited pool has none
        house = await asyncio.to_thread(lambda: self._house)
        await house.connect()
        return True

    async def disconnect(self) -> None:
        """End the connection; orders at the broker live on, and `connect` may follow."""
        if self._made is not None and not self._is_inherited:
            await self._made.disconnect()

    async def close(self, open_orders: str = "leave") -> None:
        """End the connector for good and free everything; a new one can be made afterwards.

        `open_orders` says what becomes of this connector's own: `leave` them at the broker, `cancel_increasing` (those
        that can add to a position; what protects one goes on working), or `cancel_all`. Raises `CancelInDoubt` after
        everything was freed if one did not end in time; its cancel stands, and is sent again by the next connector.

        Idempotent, from any thread and loop: all callers share one close and return when it is done; begun, it is done
        to the end. Whoever still waits for an answer gets ConnectorClosed; streams end. In a child made by fork() it
        does nothing: the connection is the parent's.
        """
        if open_orders not in _LEAVING:
            raise wrong("open_orders", open_orders, ", ".join(_LEAVING), why="is not known")
        if self._is_inherited:
            return
        with self._making:
            self._closed = True
        if self._made is not None:
            await self._made.close(open_orders)

    async def ready(self, timeout: float = 60.0) -> None:
        """Wait until orders can be placed: connected, the broker link up, reconciled. Raises NotConnected."""
        await self._house.ready(timeout)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or this is the parent's connector in a child made by fork()."""
        return self._closed or self._is_inherited

    @property
    def connected(self) -> bool:
        """Whether there is a synchronised connection now."""
        return self._made is not None and not self._is_inherited and self._made.connected

    def is_connected(self) -> bool:
        """The same as `connected`, as a method."""
        return self.connected

    # --- what it is doing ------------------------------------------------------------------------------------------

    @property
    def account_id(self) -> str:
        """The account in use; empty before the first connect."""
        return self.account.account_id

    @property
    def capabilities(self) -> Capabilities:
        """What the backend in use can do."""
        return self._house.capabilities

    def get_connection_status(self) -> dict[str, Any]:
        """State of link, breaker and synchronisation, without waiting."""
        return self._house.status()

    def should_attempt_connection(self) -> bool:
        """Whether `connect` would try now: not connected, and no breaker open."""
        return self._house.should_attempt()

    def health(self) -> Health:
        """Which planes can be used (market data, history, orders, account), and why not; any thread, without waiting.

        The reasons of the orders plane are the words with which an order that adds risk would be refused.
        """
        return self._house.watch.health()

    def metrics_registry(self) -> Any:
        """A prometheus_client `CollectorRegistry` of this connector alone, read at every scrape: to serve it yourself.

        `[watch] http_port` serves it without a line of code. Raises ConfigurationError without the extra `metrics`.
        """
        return self._house.watch.registry()

    @property
    def watch_port(self) -> int:
        """Where /metrics, /livez and /readyz are served; 0 = they are not."""
        return self._house.watch.port

    def on_event(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every event, on a thread of its own; returns a function that ends it."""
        return self._house.bus.subscribe(listener)

    @property
    def sync(self) -> SyncConnector:
        """The blocking twin: the same methods for programs without an event loop."""
        from ibkr_connector.sync import SyncConnector

        return SyncConnector(self, self._house.thread)

    def __repr__(self) -> str:
        c = with_endpoint(self.settings).connection
        state = "closed" if self._closed else self._made.state if self._made else "not connected"
        if self._is_inherited:
            state = f"of process {self._pid}"
        return f"IBKRConnector(profile={self.profile!r}, {c.host}:{c.port}, client_id={c.client_id}, {state})"
