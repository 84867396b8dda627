"""`WebBackend`: the `Backend` protocol over IBKR's Web API, composed of its parts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ibkr_connector.backends.base import (
    Capabilities,
    ConnectInfo,
    ExecutionRecords,
    FactSink,
    HistoryRequest,
    Later,
    LineHandle,
    MarketDataKind,
    OrderRecords,
    QuoteSink,
    ReplyLeave,
    WhatIf,
    WireOrder,
)
from ibkr_connector.backends.facts import AccountValueSeen, SocketClosed
from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.backends.web.feed import Feed
from ibkr_connector.backends.web.history import SOURCES
from ibkr_connector.backends.web.library import ibind_label
from ibkr_connector.backends.web.lines import FROZEN, Lines
from ibkr_connector.backends.web.login import Login
from ibkr_connector.backends.web.options import OAuthSource, WebEndpoint
from ibkr_connector.backends.web.order_body import OCA_TYPE, TIMES_IN_FORCE
from ibkr_connector.backends.web.orders import WebOrders
from ibkr_connector.backends.web.pace import Pace
from ibkr_connector.backends.web.questions import Questions
from ibkr_connector.backends.web.reads import Reads
from ibkr_connector.backends.web.records import Records
from ibkr_connector.backends.web.shared import Part, WebRoom
from ibkr_connector.backends.web.ws import Socket
from ibkr_connector.clock import Clock, system_clock
from ibkr_connector.errors import ConnectTimeout, IBKRConnectionError, TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.models.account import Position
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.models.market import Bar, Quote

_log = get_logger(__name__)
_STOP_S = 3.0
"""What one part may take to let go."""


class WebBackend:
    """One connection to the Web API at a time; may connect again after it ended. Used from one event loop.

    Args:
        endpoint: where the API is, and how to behave towards it.
        clock: where time comes from.
        oauth: makes ibind's OAuth configuration; None = a gateway that holds the login itself.
        rng: jitter of waits.
    """

    def __init__(
        self,
        endpoint: WebEndpoint,
        *,
        clock: Clock = system_clock,
        oauth: OAuthSource | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._room = WebRoom(endpoint, WebCalls(endpoint, clock=clock, oauth=oauth), clock)
        jitter = rng or random.Random()  # noqa: S311 - jitter, not secrecy
        self._login = Login(self._room, rng=jitter, on_back=self._on_back, on_lost=self._on_lost)
        self._socket = Socket(self._room, on_status=self._login.doubt, rng=jitter)
        self._reads = Reads(self._room)
        self._records = Records(self._room)
        self._questions = Questions(self._room)
        self._orders = WebOrders(self._room, self._questions, self._records)
        self._lines = Lines(self._room, self._socket)
        self._feed = Feed(self._room, self._socket, self._reads, self._records)
        self._parts: tuple[Part, ...] = (self._socket, self._records, self._orders, self._lines, self._feed)
        self._connecting = False
        self._ending: asyncio.Task[None] | None = None

    # --- life -----------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What it can do: what its parts refuse with `NotSupportedByBackend` is told here too."""
        return Capabilities(
            name="web",
            library=ibind_label(),
            client_ids=False,
            times_in_force=TIMES_IN_FORCE,
            oca_types=frozenset({OCA_TYPE}),
            bar_kinds=frozenset(SOURCES),
            market_data=frozenset(MarketDataKind) - FROZEN,
            head_timestamp=False,
            generic_ticks=False,
        )

    @property
    def connected(self) -> bool:
        """Whether the login is done and the connection was not ended."""
        return self._room.connected

    @property
    def unsent_bytes(self) -> int:
        """Requests have a connection of their own each: nothing queues up behind a peer that does not read."""
        return 0

    def on_fact(self, sink: FactSink) -> None:
        """Name the one receiver of facts."""
        self._room.outlet.to(sink)

    def pace_with(self, later: Later) -> None:
        """See `Backend.pace_with`."""
        self._room.later = later

    def pace_requests(self, pace: Pace) -> None:
        """Ask `pace` for leave before every read. Called before `connect`; without it they are made at once.

        Orders are not asked about: they got their leave from the session.
        """
        self._room.calls.pace = pace

    def reply_with(self, leave: ReplyLeave) -> None:
        """See `Backend.reply_with`."""
        self._questions.leave = leave

    def remember(self, order: WireOrder, *, perm_id: int, client_id: int, over: bool) -> None:
        """See `Backend.remember`."""
        own = client_id == self._room.client_id
        self._records.book.remember(order, perm_id, client_id=None if own else client_id, over=over)

    async def order_turn(self, timeout: float) -> None:
        """See `Backend.order_turn`."""
        await self._orders.turn(timeout)

    def allow_ids_from(self, first: int) -> None:
        """Numbers from now on are >= `first`."""
        self._room.ids.allow_from(first)

    def take_id(self) -> int:
        """The next number of the sequence that orders and requests share."""
        return self._room.ids.take()

    async def connect(self, *, host: str, port: int, client_id: int, timeout: float) -> ConnectInfo:
        """See `Backend.connect`. `host` and `port` are those of the endpoint; ibind is imported here.

        Raises:
            ConfigurationError: ibind is missing, OAuth parameters are unusable.
            LiveTradingRefused: the login is a live one and the mode is paper.
            IBKRConnectionError: and subclasses (AuthenticationError, ConnectionRefused, ConnectTimeout).
        """
        del host, port
        room = self._room
        if self._connecting or room.connected:
            raise IBKRConnectionError("a connection exists or is being made; disconnect first.")
        self._connecting = True
        until = self._clock.monotonic() + timeout
        try:
            if self._ending is not None:
                await asyncio.wait([self._ending])
            room.calls.open()
            room.ids.new_connection()
            room.client_id = client_id
            room.outlet.hold()
            room.gaps.forget()
            try:
                await self._clock.wait_for(self._begin(until), timeout)
            except TimeoutError as error:
                await self._end()
                if isinstance(error, TradingError):
                    raise
                raise ConnectTimeout(f"the Web API was not ready in {timeout:g} s.") from None
            except BaseException:
                await self._end()
                raise
            room.connected = True
            self._login.keep()
            room.outlet.release_soon()
            return ConnectInfo(
                accounts=room.accounts,
                next_valid_id=room.ids.next,
                server_version=0,
                connected_at=self._clock.now(),
            )
        finally:
            self._connecting = False

    async def _begin(self, until: float) -> None:
        await self._login.begin(max(until - self._clock.monotonic(), 0.001))
        for part in self._parts:
            await part.start(max(until - self._clock.monotonic(), 0.001))

    async def disconnect(self) -> None:
        """End the connection; the brokerage session is left open (other programs may use it). Idempotent, bounded."""
        was = self._room.connected
        if self._ending is not None:
            await asyncio.wait([self._ending])
        await self._end()
        if was:
            self._room.outlet.emit(SocketClosed(reason="disconnected", expected=True))

    def _on_lost(self, reason: str) -> None:
        """The gateway is gone: let go of everything, and tell it."""
        if self._room.connected:
            self._room.connected = False
            self._ending = asyncio.get_running_loop().create_task(self._end(), name="ibkr-web-end")
            self._room.outlet.emit(SocketClosed(reason=reason, expected=False))

    async def _end(self) -> None:
        room = self._room
        room.connected = False
        room.outlet.drop()
        await self._login.stop()
        for part in reversed(self._parts):
            try:
                await self._clock.wait_for(part.stop(), _STOP_S)
            except Exception as error:  # noqa: BLE001 - the others are ended all the same
                _log.error("a part of the web backend did not end in order", error=repr(error))
        await room.end_tasks()
        await room.calls.close()

    def _on_back(self) -> None:
        for part in self._parts:
            part.back()

    # --- reads ----------------------------------------------------------------------------------------------------

    async def server_time(self, timeout: float) -> datetime:
        """See `Reads.server_time`."""
        return await self._reads.server_time(timeout)

    async def positions(self, timeout: float) -> list[Position]:
        """See `Reads.positions`."""
        return await self._reads.positions(timeout)

    async def account_values(self, account: str, timeout: float) -> list[AccountValueSeen]:
        """See `Reads.account_values`."""
        return await self._reads.account_values(account, timeout)

    async def open_orders(self, timeout: float, *, all_clients: bool = True) -> OrderRecords:
        """See `Records.open_orders`."""
        return await self._records.open_orders(timeout, all_clients=all_clients)

    async def completed_orders(self, timeout: float) -> OrderRecords:
        """See `Records.completed_orders`."""
        return await self._records.completed_orders(timeout)

    async def executions(self, timeout: float, *, account: str = "") -> ExecutionRecords:
        """See `Records.executions`."""
        return await self._records.executions(timeout, account=account)

    async def contract_details(self, contract: Contract, timeout: float) -> list[ContractDetails]:
        """See `Reads.contract_details`."""
        return await self._reads.contract_details(contract, timeout)

    async def search_contracts(self, pattern: str, timeout: float) -> list[Contract]:
        """See `Reads.search_contracts`."""
        return await self._reads.search_contracts(pattern, timeout)

    async def historical_bars(self, request: HistoryRequest, timeout: float) -> list[Bar]:
        """See `Reads.historical_bars`."""
        return await self._reads.historical_bars(request, timeout)

    async def head_timestamp(self, contract: Contract, what_to_show: str, timeout: float, *, use_rth: bool) -> datetime:
        """See `Reads.head_timestamp`."""
        return await self._reads.head_timestamp(contract, what_to_show, timeout, use_rth=use_rth)

    async def what_if(self, order: WireOrder, timeout: float) -> WhatIf:
        """See `WebOrders.what_if`."""
        return await self._orders.what_if(order, timeout)

    # --- subscriptions ----------------------------------------------------------------------------------------------

    def subscribe_account(self, account: str) -> None:
        """See `Feed.subscribe_account`."""
        self._room.require()
        self._feed.subscribe_account(account)

    def unsubscribe_account(self, account: str) -> None:
        """See `Feed.unsubscribe_account`; silent when disconnected."""
        if self.connected:
            self._feed.unsubscribe_account(account)

    def open_line(
        self, contract: Contract, sink: QuoteSink, on_error: Callable[[Exception], None], generic_ticks: str = ""
    ) -> LineHandle:
        """See `Lines.open_line`."""
        self._room.require()
        return self._lines.open_line(contract, sink, on_error, generic_ticks)

    def close_line(self, line: LineHandle) -> None:
        """See `Lines.close_line`."""
        self._lines.close_line(line)

    def renew_line(self, line: LineHandle) -> None:
        """See `Lines.renew_line`."""
        self._lines.renew_line(line)

    def set_market_data(self, kind: MarketDataKind) -> None:
        """See `Lines.set_market_data`."""
        self._room.require()
        self._lines.set_market_data(kind)

    async def snapshot(self, contract: Contract, timeout: float) -> Quote:
        """See `Lines.snapshot`."""
        return await self._lines.snapshot(contract, timeout)

    # --- writes -----------------------------------------------------------------------------------------------------

    def order_frame(self, order: WireOrder) -> Callable[[], None]:
        """See `WebOrders.order_frame`."""
        self._room.require()
        return self._orders.order_frame(order)

    def send_cancel(self, order_id: int) -> None:
        """See `WebOrders.send_cancel`."""
        self._room.require()
        self._orders.send_cancel(order_id)

    def refusal(self, code: int | None, text: str, **context: Any) -> TradingError:
        """See `WebOrders.refusal`."""
        return self._orders.refusal(code, text, **context)

    def send_global_cancel(self) -> None:
        """See `WebOrders.send_global_cancel`."""
        self._room.require()
        self._orders.send_global_cancel()
