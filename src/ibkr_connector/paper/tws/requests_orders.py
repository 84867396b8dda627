"""Requests about orders and executions, and what their client is told when something happens to them."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from ..exchange.mishaps import NEW
from ..exchange.types import (
    Commission,
    Execution,
    MarginPreview,
    OrderMessage,
    OrderStatus,
    OrderTicket,
    OrderView,
)
from . import layouts_orders, layouts_system, texts, versions
from .fields import Cursor, FieldError
from .place_order import PlaceOrder, decode_place_order
from .request_times import parse_request_time
from .routes import Refusal, Route, Routes
from .tickets import make_ticket, unsupported
from .wire import HOME_ZONE

if TYPE_CHECKING:
    from .session import Session

_SIDES = {"": "", "BUY": "BOT", "SELL": "SLD", "SSHORT": "SLD", "BOT": "BOT", "SLD": "SLD"}


class OrderDesk:
    """Takes orders of one client to the exchange and shows it what happens to them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._given = 0
        """The last order id the client was told."""
        self._sees_all = False
        """Whether the client has asked for the orders of all clients; only then may it cancel them."""
        self._cancelling: set[tuple[int, int]] = set()
        """Orders of other clients this one has asked to cancel."""

    def routes(self) -> Routes:
        """The requests answered here."""
        return {
            3: Route(self._place, 1),
            4: Route(self._cancel, 2),
            5: Route(self._open_orders),
            7: Route(self._executions, 2),
            8: Route(self._next_id),
            15: Route(self._auto_open),
            16: Route(self._all_open_orders),
            58: Route(self._global_cancel),
            99: Route(self._completed_orders),
        }

    def close(self) -> None:
        """Orders outlive the connection: nothing to end."""

    def give_next_id(self) -> None:
        """Tell the client an order id it may use; one it was told before counts as taken, as captured."""
        exchange = self._session.hub.exchange
        self._given = max(exchange.next_order_id(self._session.client_id), self._given + 1)
        self._session.send(layouts_system.next_valid_id(self._given))

    # --- requests ----------------------------------------------------------------------------------------------------

    def _place(self, cursor: Cursor) -> None:
        session, hub = self._session, self._session.hub
        try:
            order = decode_place_order(cursor, session.version)
        except FieldError as error:
            hub.truth.record("unreadable", client_id=session.client_id, request="placeOrder", cause=str(error))
            raise
        try:
            ticket = self._admitted(order)
        except Refusal as refusal:
            self._record_refused(order, refusal.error)
            raise
        if ticket.what_if:
            self._preview(ticket)
        else:
            hub.exchange.place(ticket)
            hub.wake()

    def refuse(self, cursor: Cursor, error: texts.Error) -> None:
        """Answer a placeOrder with this error instead of placing the order."""
        order = decode_place_order(cursor, self._session.version)
        self._record_refused(order, error)
        self._session.error(order.order_id, error)

    def _admitted(self, order: PlaceOrder) -> OrderTicket:
        """The exchange's ticket for an order; a Refusal where the gateway itself does not take it."""
        hub = self._session.hub
        if hub.options.read_only:
            raise Refusal(order.order_id, texts.READ_ONLY)
        instrument = hub.instrument(order.contract, order.order_id)
        reason = unsupported(order)
        if reason is not None:
            raise Refusal(order.order_id, texts.order_rejected(reason))
        return make_ticket(order, instrument, self._session.client_id, self._account(order))

    def _preview(self, ticket: OrderTicket) -> None:
        """A what-if order is answered by one openOrder with margins, and not placed."""
        answer = self._session.hub.exchange.preview(ticket)
        if isinstance(answer, MarginPreview):
            view = OrderView(ticket=ticket, perm_id=0, status=OrderStatus.PRE_SUBMITTED, remaining=ticket.quantity)
            self._session.send(layouts_orders.open_order(self._session.version, view, answer))
        else:
            self.on_message(answer)

    def _record_refused(self, order: PlaceOrder, error: texts.Error) -> None:
        """Orders the exchange never sees belong into the truth log as well."""
        fields = {
            "client_id": self._session.client_id,
            "order_id": order.order_id,
            "order_ref": order.values["order_ref"],
            "account": order.values["account"],
            "con_id": order.contract.con_id,
            "symbol": order.contract.symbol,
            "action": order.values["action"],
            "quantity": order.decimal("total_quantity"),
            "order_type": order.values["order_type"],
        }
        hub = self._session.hub
        now = hub.clock.now()
        known = hub.exchange.mishaps.phase(self._session.client_id, order.order_id).phase != NEW
        hub.truth.record("recv_modify" if known else "recv_place", at=now, **fields)
        hub.truth.record("rejected", at=now, **fields, code=error[0], text=error[1])

    def _account(self, order: PlaceOrder) -> str:
        """The account an order is for: a login with one account need not name it."""
        account = order.values["account"]
        accounts = self._session.hub.exchange.accounts
        return accounts[0] if not account and len(accounts) == 1 else account

    def _cancel(self, cursor: Cursor) -> None:
        hub = self._session.hub
        cursor.skip("version")
        order_id = cursor.request_id("orderId")
        if self._session.version >= versions.MANUAL_ORDER_TIME:
            cursor.skip("manualCancelOrderTime")
        cursor.end()
        if hub.options.read_only:
            raise Refusal(order_id, texts.READ_ONLY)
        if self._sees_all:
            self._cancelling |= {
                (view.ticket.client_id, order_id)
                for view in hub.exchange.open_orders(None)
                if view.ticket.order_id == order_id and view.ticket.client_id != self._session.client_id
            }
        hub.exchange.cancel(self._session.client_id, order_id, any_client=self._sees_all)
        hub.wake()

    def _global_cancel(self, cursor: Cursor) -> None:
        hub = self._session.hub
        cursor.skip("version")
        cursor.end()
        if hub.options.read_only:
            raise Refusal(layouts_system.SYSTEM, texts.READ_ONLY)
        hub.exchange.global_cancel(self._session.client_id)
        hub.wake()

    def _open_orders(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.end()
        self._show_open(self._session.client_id)

    def _all_open_orders(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.end()
        self._sees_all = True
        self._show_open(None)

    def _show_open(self, client_id: int | None) -> None:
        session = self._session
        for view in session.hub.exchange.open_orders(client_id):
            session.send(layouts_orders.open_order(session.version, view))
            session.send(layouts_orders.order_status(view))
        session.send(["53", "1"])

    def _auto_open(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.flag("bAutoBind")
        cursor.end()
        if self._session.client_id != 0:
            raise Refusal(layouts_system.SYSTEM, texts.NOT_CLIENT_ZERO)
        # Nobody places orders by hand in this gateway: there is nothing to bind.

    def _next_id(self, cursor: Cursor) -> None:
        cursor.skip("version")
        cursor.integer("numIds", empty=1)
        cursor.end()
        self.give_next_id()

    def _completed_orders(self, cursor: Cursor) -> None:
        session = self._session
        api_only = cursor.flag("apiOnly")
        cursor.end()
        for view in session.hub.exchange.completed_orders(api_only):
            session.send(layouts_orders.completed_order(session.version, view))
        session.send(["102"])

    def _executions(self, cursor: Cursor) -> None:
        session = self._session
        cursor.skip("version")
        request_id = cursor.request_id()
        client_id = cursor.integer("clientId", empty=0)
        account = cursor.text("acctCode")
        since_text = cursor.text("time")
        symbol = cursor.text("symbol")
        sec_type = cursor.text("secType")
        exchange = cursor.text("exchange")
        side = cursor.text("side").upper()
        cursor.end()
        if side not in _SIDES:
            raise Refusal(request_id, texts.invalid("Invalid side field was entered", "b4"))
        now = session.hub.clock.now()
        since = parse_request_time(since_text, now)
        if since_text and since is None:
            raise Refusal(request_id, texts.INVALID_DATE)
        midnight = datetime.combine(now.astimezone(HOME_ZONE).date(), time(), HOME_ZONE)
        found = session.hub.exchange.executions(
            account=account,
            symbol=symbol,
            sec_type=sec_type,
            side=_SIDES[side],
            # A gateway keeps the executions of the current day only.
            since=midnight.astimezone(UTC) if since is None else since.at,
            client_id=client_id,
        )
        for execution, commission in found:
            if exchange and exchange != execution.venue:
                continue
            session.send(layouts_orders.exec_details(session.version, execution, request_id))
            if commission is not None:
                session.send(layouts_orders.commission_report(commission))
        session.send(["55", "1", str(request_id)])

    # --- what the exchange says --------------------------------------------------------------------------------------

    def on_order(self, view: OrderView, *, echo: bool, status: bool) -> None:
        """Something about one of this client's orders changed, or about one it asked to cancel."""
        session = self._session
        ticket = view.ticket
        if ticket.client_id == session.client_id:
            if echo:
                session.send(layouts_orders.open_order(session.version, view))
            if status:
                session.send(layouts_orders.order_status(view))
            return
        key = (ticket.client_id, ticket.order_id)
        if status and key in self._cancelling:
            # Captured: who cancels another client's order sees the status under its own client id.
            session.send(layouts_orders.order_status(view, session.client_id))
            if view.status.is_done:
                self._cancelling.discard(key)

    def on_fill(self, execution: Execution) -> None:
        """A live execution of one of this client's orders."""
        self._session.send(layouts_orders.exec_details(self._session.version, execution))

    def on_commission(self, commission: Commission) -> None:
        """A commission report for one of this client's executions."""
        self._session.send(layouts_orders.commission_report(commission))

    def on_message(self, message: OrderMessage) -> None:
        """An error or notice about an order."""
        self._session.error(message.order_id, (message.code, message.text), message.advanced_reject_json)
