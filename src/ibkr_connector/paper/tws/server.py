"""The listening socket of the TWS front: who is connected, and the way of the exchange's events to their clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from ..exchange.types import (
    AccountChanged,
    Charged,
    ExchangeEvent,
    Filled,
    OrderChanged,
    OrderMessage,
    QuoteChanged,
    TradePrinted,
)
from . import layouts_system, texts
from .connection import Connection
from .hub import Hub
from .session import Session

AGAIN: Final = 0.5
"""Wire seconds between two attempts to get the port back."""
FAREWELL: Final = 1.0
"""Wire seconds clients have to read what was sent when the gateway closes."""
STRANGERS: Final = 32
"""Connections without a session at once, beyond the clients."""


class TwsServer:
    """Speaks the TWS protocol on one port for one exchange."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._claimed: dict[int, Connection] = {}
        self._unlisten: Callable[[], None] | None = None
        self._host = ""
        self._placeholder: socket.socket | None = None
        self._opening: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def clients(self) -> list[int]:
        """The ids of the clients that have started."""
        return sorted(self._hub.sessions)

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        self._host = host
        self._server = await self._hub.loop.create_server(self._connect, host, port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._unlisten = self._hub.exchange.listen(self._on_event)

    async def close(self) -> None:
        """Stop listening, end every connection, and wait until they are gone."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        if self._opening is not None:
            await asyncio.wait([self._opening])
        self._let_go()
        if self._server is not None:
            self._server.close()
        leaving = list(self._connections)
        for connection in leaving:
            connection.close("the gateway is closing")
        if leaving:
            _, waiting = await asyncio.wait([each.closed for each in leaving], timeout=FAREWELL)
            for connection in leaving:
                connection.abort()  # a peer that does not read would keep its connection open
            if waiting:
                await asyncio.wait(waiting)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    # --- closed for a while (faults) ---------------------------------------------------------------------------------

    def stop_listening(self) -> None:
        """Refuse new connections as a port refuses them on which nobody listens. The port stays ours."""
        if self._server is None:
            return
        address = self._server.sockets[0]
        family, name = address.family, address.getsockname()
        self._server.close()
        self._server = None
        if family == socket.AF_UNSPEC:
            return  # an event loop with connections of its own: there is nothing to hold
        # A bound socket that does not listen keeps others from taking the port meanwhile.
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(name)
        except OSError:
            holder.close()  # somebody was quicker
        else:
            self._placeholder = holder

    def listen_again(self) -> None:
        """Accept connections on the same port as before, very soon."""
        if self._server is None and self._opening is None and self._unlisten is not None:
            self._opening = self._hub.loop.create_task(self._open_again())

    async def _open_again(self) -> None:
        self._let_go()
        try:
            self._server = await self._hub.loop.create_server(self._connect, self._host, self.port)
        except OSError:
            # Somebody was quicker: the port is asked for until it is ours again.
            self._hub.loop.call_later(AGAIN, self.listen_again)
        finally:
            self._opening = None

    def _let_go(self) -> None:
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None

    def end_all(self, reason: str) -> int:
        """End every connection in good order, those that have not started too; how many there were."""
        leaving = list(self._connections)
        for connection in leaving:
            connection.close(reason)
        return len(leaving)

    def connection(self, client_id: int) -> Connection | None:
        """The connection of a client that has started."""
        return self._claimed.get(client_id)

    # --- connections -------------------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        connection = Connection(self._hub, self._claim, self._gone)
        self._connections.add(connection)
        if len(self._connections) - len(self._claimed) > STRANGERS:
            # The transport is set after this returns.
            self._hub.loop.call_soon(connection.drop, "too many connections have not started")
        return connection

    def _claim(self, connection: Connection, client_id: int) -> texts.Error | None:
        refusal = None if self._hub.taps is None else self._hub.taps.refusal(client_id)
        if refusal is not None:
            return refusal
        if client_id in self._claimed:
            return texts.ID_IN_USE
        if len(self._claimed) >= self._hub.options.max_clients:
            return texts.too_many_clients(self._hub.options.max_clients)
        self._claimed[client_id] = connection
        return None

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        session = connection.session
        if session is None:
            return
        self._claimed.pop(session.client_id, None)
        self._hub.sessions.pop(session.client_id, None)
        self._hub.truth.record(
            "disconnect", client_id=session.client_id, reason=connection.reason, messages=session.messages
        )

    # --- tools for tests, benchmarks and the control port -----------------------------------------------------------

    def drop(self, client_id: int | None = None, reason: str = "dropped on command") -> int:
        """Cut the connection of one client, or of all; how many there were."""
        chosen = [c for i, c in self._claimed.items() if client_id is None or i == client_id]
        for connection in chosen:
            connection.drop(reason)
        return len(chosen)

    def inject_error(
        self, code: int, text: str, request_id: int = layouts_system.SYSTEM, client_id: int | None = None
    ) -> int:
        """Send an error or notice to one client, or to all; how many got it."""
        chosen = [s for i, s in self._hub.sessions.items() if client_id is None or i == client_id]
        for session in chosen:
            session.error(request_id, (code, text))
        return len(chosen)

    def on_jump(self) -> None:
        """The market clock has jumped forward: what waited for a market time looks again."""
        for session in self._hub.sessions.values():
            session.bars.on_jump()

    def session(self, client_id: int) -> Session:
        """The session of a client. KeyError if it is not connected."""
        return self._hub.sessions[client_id]

    # --- events of the exchange --------------------------------------------------------------------------------------

    def _on_event(self, event: ExchangeEvent) -> None:
        if self._hub.taps is not None and self._hub.taps.hides(event):
            return
        if isinstance(event, QuoteChanged):
            for feed in tuple(self._hub.feeds.get(event.instrument.con_id, ())):
                feed.on_quote(event)
        elif isinstance(event, TradePrinted):
            for feed in tuple(self._hub.feeds.get(event.instrument.con_id, ())):
                feed.on_trade(event)
        elif isinstance(event, OrderChanged):
            # Not only the owner: whoever asked to cancel the order is told as well.
            for session in tuple(self._hub.sessions.values()):
                session.orders.on_order(event.order, echo=event.echo, status=event.status)
        elif isinstance(event, AccountChanged):
            for session in tuple(self._hub.sessions.values()):
                session.accounts.on_change(event.account, event.instrument)
        else:
            self._tell_owner(event)

    def _tell_owner(self, event: Filled | Charged | OrderMessage) -> None:
        client_id = event.execution.client_id if isinstance(event, Filled) else event.client_id
        owner = self._hub.sessions.get(client_id)
        if owner is None:
            return  # not connected: it will ask for executions and orders when it comes back
        if isinstance(event, Filled):
            owner.orders.on_fill(event.execution)
        elif isinstance(event, Charged):
            owner.orders.on_commission(event.commission)
        else:
            owner.orders.on_message(event)
