"""`TwsBackend`: the `Backend` protocol over TWS's socket API.

Writes are plain calls into the library's encoder. Everything about orders leaves as facts (see `wrapper`); market data
as quotes to the line's sink (see `market`). When the connection ends, every waiting read gets `ConnectionLost`, lines
fall silent, and one `SocketClosed` tells the receiver of facts. An attempt to connect that fails raises, no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ibkr_connector.backends.base import (
    Capabilities,
    ConnectInfo,
    FactSink,
    Later,
    LineHandle,
    MarketDataKind,
    QuoteSink,
    ReplyLeave,
    WireOrder,
)
from ibkr_connector.backends.facts import Operation, SocketClosed
from ibkr_connector.backends.outlet import Outlet
from ibkr_connector.backends.tws.codes import to_error
from ibkr_connector.backends.tws.connection import Connection
from ibkr_connector.backends.tws.library import (
    Choice,
    announce_loop,
    choose_library,
    describe_installation,
    load_library,
)
from ibkr_connector.backends.tws.market import Line
from ibkr_connector.backends.tws.orders import library_contract, library_order
from ibkr_connector.backends.tws.reads import Reads, check_text, timed_out
from ibkr_connector.backends.tws.trouble import Unreadable
from ibkr_connector.backends.tws.wrapper import Callbacks
from ibkr_connector.clock import Clock, system_clock
from ibkr_connector.errors import (
    ConfigurationError,
    ConnectionLost,
    IBKRConnectionError,
    InvalidRequest,
    NotConnected,
    OrderRejected,
    TradingError,
)
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote

_GENERIC_LEGAL = frozenset("0123456789,")
_MARKET_DATA_TYPES = {
    MarketDataKind.LIVE: 1,
    MarketDataKind.FROZEN: 2,
    MarketDataKind.DELAYED: 3,
    MarketDataKind.DELAYED_FROZEN: 4,
}
"""reqMarketDataType."""


class TwsBackend(Reads):
    """One connection to TWS or IB Gateway at a time; may connect again after it ended. Used from one event loop.

    Args:
        tws_library: `auto` (ib_async where it can run, else ib_insync), `ib_insync` or `ib_async`.
        clock: where time comes from.
    """

    def __init__(self, *, tws_library: Choice = "auto", clock: Clock = system_clock) -> None:
        super().__init__(clock)
        self._choice: Choice = tws_library
        self._outlet = Outlet()
        self._pnl: dict[str, int] = {}
        self._connecting = False
        self._expected_label = ""
        self.decode_errors = 0
        """Messages that the library could not read, over the backend's life."""

    # --- life -----------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return Capabilities(name="tws", library=self._label())

    def _label(self) -> str:
        if self._library is not None:
            return self._library.label
        if not self._expected_label:
            found = describe_installation()
            try:
                name = choose_library(self._choice, found)
            except ConfigurationError:
                return "none"
            self._expected_label = f"{name} {found.ib_insync if name == 'ib_insync' else found.ib_async}"
        return self._expected_label

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the operating system has not taken yet: more than a few mean that the peer does not read."""
        return 0 if self._connection is None else self._connection.unsent_bytes

    def on_fact(self, sink: FactSink) -> None:
        """Name the one receiver of facts."""
        self._outlet.to(sink)

    def pace_with(self, later: Later) -> None:
        """See `Backend.pace_with`."""
        self._later = later

    def reply_with(self, leave: ReplyLeave) -> None:
        """TWS answers orders with questions to nobody over its socket."""

    def remember(self, order: WireOrder, *, perm_id: int, client_id: int, over: bool) -> None:
        """TWS tells client ids and order ids itself."""

    async def order_turn(self, timeout: float) -> None:
        """Frames go out as they are handed over."""

    def allow_ids_from(self, first: int) -> None:
        """Numbers from now on are >= `first`."""
        self._ids.allow_from(first)

    def take_id(self) -> int:
        """The next number of the sequence that orders and requests share."""
        return self._ids.take()

    async def connect(self, *, host: str, port: int, client_id: int, timeout: float) -> ConnectInfo:
        """See `Backend.connect`. The library is imported here, on the running loop.

        Facts of the handshake's last packet are told after the caller had its turn (see `outlet`).

        Raises:
            ConfigurationError: no usable client library.
            IBKRConnectionError: and subclasses, as the protocol says.
        """
        if self._connecting or self.connected:
            raise IBKRConnectionError("a connection exists or is being made; disconnect first.")
        self._connecting = True
        try:
            if self._connection is not None:
                await self._connection.close()
            if self._library is None:
                self._library = load_library(self._choice)
            announce_loop()
            self._ids.new_connection()
            self._pnl.clear()
            callbacks = Callbacks(
                client_id=client_id, clock=self._clock, ids=self._ids, outlet=self._outlet, later=self._later
            )
            callbacks.cancel_line = self._cancel_line
            connection = Connection(
                library=self._library,
                callbacks=callbacks,
                clock=self._clock,
                unreadable=Unreadable(callbacks, self._outlet, self._count_unreadable),
                on_lost=lambda reason, expected: self._on_lost(callbacks, reason, expected=expected),
            )
            self._outlet.hold()
            try:
                await connection.open(host=host, port=port, client_id=client_id, timeout=timeout)
            except BaseException:
                self._outlet.drop()
                raise
            self._connection, self._callbacks = connection, callbacks
            self._outlet.release_soon()
            return ConnectInfo(
                accounts=callbacks.accounts,
                next_valid_id=self._ids.next,
                server_version=connection.server_version,
                connected_at=self._clock.now(),
            )
        finally:
            self._connecting = False

    async def disconnect(self) -> None:
        """Close and wait until the transport is closed. Idempotent."""
        if self._connection is not None:
            await self._connection.close()

    def _on_lost(self, callbacks: Callbacks, reason: str, *, expected: bool) -> None:
        callbacks.fail_reads(lambda what: ConnectionLost(f"{what}: the connection ended while waiting ({reason})."))
        self._outlet.emit(SocketClosed(reason=reason, expected=expected))

    def _count_unreadable(self) -> None:
        self.decode_errors += 1

    # --- subscriptions --------------------------------------------------------------------------------------------

    def subscribe_account(self, account: str) -> None:
        """Start account values, portfolio and P&L updates (facts). TWS feeds values of one account at a time.

        Again, P&L is asked for anew: after 1101 the gateway has forgotten that it was.
        """
        client, callbacks, _ = self._live()
        check_text("account", account)
        client.reqAccountUpdates(True, account)
        before = self._pnl.pop(account, None)
        if before is not None:
            callbacks.pnl_accounts.pop(before, None)
            self._afterwards(lambda: client.cancelPnL(before))
        number = self._pnl[account] = self._ids.take()
        callbacks.pnl_accounts[number] = account
        client.reqPnL(number, account, "")

    def unsubscribe_account(self, account: str) -> None:
        """Stop them; silent when disconnected."""
        if not self.connected:
            return
        client, callbacks, _ = self._live()
        check_text("account", account)
        client.reqAccountUpdates(False, account)
        number = self._pnl.pop(account, None)
        if number is not None:
            callbacks.pnl_accounts.pop(number, None)
            self._afterwards(lambda: client.cancelPnL(number))

    def set_market_data(self, kind: MarketDataKind) -> None:
        """What lines and snapshots asked for from now on may show."""
        client, _, _ = self._live()
        client.reqMarketDataType(_MARKET_DATA_TYPES[kind])

    def open_line(
        self, contract: Contract, sink: QuoteSink, on_error: Callable[[Exception], None], generic_ticks: str = ""
    ) -> LineHandle:
        """Open a streaming line; `sink` gets one whole quote per packet of changes, `on_error` the end of the line."""
        number = self._request_line(contract, generic_ticks, snapshot=False, sink=sink, on_error=on_error)
        return LineHandle(req_id=number.req_id, contract=contract)

    def close_line(self, line: LineHandle) -> None:
        """Close it. Idempotent; silent when disconnected."""
        if self._callbacks is not None and self._callbacks.lines.close(line.req_id) is not None:
            self._cancel_line(line.req_id)

    def renew_line(self, line: LineHandle) -> None:
        """Nothing to do: TWS tells every change, and the end of a line as well."""

    async def snapshot(self, contract: Contract, timeout: float) -> Quote:
        """One quote: as soon as bid, ask, last and close are there, else when the gateway ends it (at most 11 s)."""
        line = self._request_line(contract, "", snapshot=True)
        _, callbacks, _ = self._live()
        line.done = asyncio.get_running_loop().create_future()
        try:
            await self._clock.wait_for(line.done, timeout)
        except TimeoutError as error:
            if isinstance(error, TradingError):
                raise
            self._release(self._cancel_line, line.req_id, callbacks)
            timed_out(f"a snapshot of {contract.symbol or contract.con_id}", timeout)
        finally:
            callbacks.lines.close(line.req_id)
        return line.quote(self._clock.now())

    def _request_line(
        self,
        contract: Contract,
        generic_ticks: str,
        *,
        snapshot: bool,
        sink: QuoteSink | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> Line:
        client, callbacks, library = self._live()
        if not _GENERIC_LEGAL.issuperset(generic_ticks):
            raise InvalidRequest(
                f"generic_ticks={generic_ticks!r} is no list of numbers.",
                field="generic_ticks",
                value=generic_ticks,
                legal="numbers with commas, e.g. 233,236",
            )
        wanted = library_contract(library, contract)
        line = Line(self._ids.take(), contract, sink, on_error)
        callbacks.lines.open(line)
        try:
            client.reqMktData(line.req_id, wanted, generic_ticks, snapshot, False, [])
        except BaseException:
            callbacks.lines.close(line.req_id)
            raise
        return line

    def _cancel_line(self, req_id: int) -> None:
        if self.connected:
            client = self._live()[0]
            self._afterwards(lambda: client.cancelMktData(req_id))

    # --- writes ---------------------------------------------------------------------------------------------------

    def order_frame(self, order: WireOrder) -> Callable[[], None]:
        """What writes a new order or a change. Calling it: any exception but `NotConnected` means *maybe sent*.

        Raises:
            NotConnected: no connection (also by the call: or a peer that has stopped reading): nothing was written.
            OrderValidationError, InvalidRequest: the order cannot be encoded: nothing was written.
        """
        library = self._live()[2]
        wanted = library_contract(library, order.contract)
        made = library_order(library, order)

        def write() -> None:
            client = self._live()[0]
            connection = self._connection
            if connection is not None and connection.stuck:
                raise NotConnected(
                    f"the gateway has stopped reading ({connection.unsent_bytes} bytes wait); nothing was written.",
                    remedy="Look at the gateway: it hangs, or holds requests back for pacing.",
                )
            self._ids.saw_order(order.order_id)
            client.placeOrder(order.order_id, wanted, made)

        return write

    def refusal(self, code: int | None, text: str, **context: Any) -> TradingError:
        """See `Backend.refusal`."""
        if code is None:
            return OrderRejected(text, **context)
        return to_error(code, text, operation=Operation.NEW, **context)

    def send_cancel(self, order_id: int) -> None:
        """Write a cancel. Raises `NotConnected` when nothing was written."""
        self._live()[0].cancelOrder(order_id)

    def send_global_cancel(self) -> None:
        """Write a cancel of every order of the login, other programs' too. Raises `NotConnected`."""
        self._live()[0].reqGlobalCancel()
