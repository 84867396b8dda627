"""Orders (sor) and executions (str) over the websocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exchange.types import Charged, ExchangeEvent, Filled, OrderChanged, OrderStatus, OrderView
from .calls import Json
from .order_rows import trade
from .orders_desk import snake
from .stream import Stream

if TYPE_CHECKING:
    from ..exchange.types import Execution
    from .orders_desk import OrdersDesk
    from .socket import Socket


class OrderStream(Stream):
    """sor: every order once in full, then what changed of it. A filter of the REST list holds here as well."""

    def __init__(self, socket: Socket, desk: OrdersDesk, filters: frozenset[str]) -> None:
        super().__init__(socket)
        self._desk = desk
        self._filters = filters
        self._shown: dict[int, dict[str, Json]] = {}

    def open(self) -> None:
        """Send the orders there are."""
        rows = [self._note(view) for view in self._desk.views()]
        found = [row for row in rows if row is not None and self._passes(row)]
        if found:
            self.socket.send({"topic": "sor", "args": found})

    def on_event(self, event: ExchangeEvent) -> None:
        """An order changed."""
        if not isinstance(event, OrderChanged) or event.order.status is OrderStatus.PENDING_SUBMIT:
            return
        changed = self._note(event.order)
        full = self._shown.get(event.order.perm_id)
        if changed is not None and full is not None and self._passes(full):
            self.socket.send({"topic": "sor", "args": [changed]})

    def _passes(self, row: dict[str, Json]) -> bool:
        wanted = self._desk.filter or self._filters
        status = str(row["status"])
        return not wanted or snake(status) in wanted or status.lower() in wanted

    def _note(self, view: OrderView) -> dict[str, Json] | None:
        """The order's row, or what of it differs from what was shown; None if nothing does."""
        row = self._desk.row(view)
        before = self._shown.get(view.perm_id)
        self._shown[view.perm_id] = row
        if before is None:
            return row
        changed = {name: value for name, value in row.items() if before.get(name) != value}
        # The time of the last execution moves with every look at a working order.
        if not changed.keys() - {"lastExecutionTime", "lastExecutionTime_r"}:
            return None
        return {"acct": row["acct"], "orderId": row["orderId"], **changed}


class TradeStream(Stream):
    """str: executions, each again when its commission is known."""

    def __init__(self, socket: Socket, desk: OrdersDesk, days: int, *, only_new: bool) -> None:
        super().__init__(socket)
        self._desk = desk
        self._days = days
        self._only_new = only_new
        self._recent: dict[str, Execution] = {}

    def open(self) -> None:
        """Send the executions there are; an empty list says that the subscription stands."""
        found = [] if self._only_new else self._desk.trades(self._days)
        self.socket.send({"topic": "str", "args": found})

    def on_event(self, event: ExchangeEvent) -> None:
        """Something was executed, or charged."""
        submitter = self.hub.options.username
        if isinstance(event, Filled):
            self._recent[event.execution.exec_id] = event.execution
            self.socket.send({"topic": "str", "args": [trade(event.execution, None, submitter)]})
        elif isinstance(event, Charged):
            execution = self._recent.pop(event.commission.exec_id, None)
            if execution is not None:
                self.socket.send({"topic": "str", "args": [trade(execution, event.commission, submitter)]})
