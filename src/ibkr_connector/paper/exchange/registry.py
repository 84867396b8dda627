"""All orders and executions the exchange knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .groups import OcaGroup
from .orders import Order, Stage
from .types import WEB_CLIENT_ID, Commission, Execution


@dataclass(slots=True, eq=False)
class ExecutionRecord:
    """An execution that was reported, and its commission once that was reported too."""

    execution: Execution
    commission: Commission | None = None


class Registry:
    """Orders by (client id, order id), which stays theirs for ever; OCA groups; executions in order of reporting.

    Two orders can only share an id where the broker made two of one (`paper.exchange.mishaps`).
    """

    def __init__(self) -> None:
        self._orders: dict[tuple[int, int], list[Order]] = {}
        self._by_perm_id: dict[int, Order] = {}
        self._live: dict[int, Order] = {}
        self._live_by_instrument: dict[int, int] = {}
        self._groups: dict[tuple[str, str], OcaGroup] = {}
        self.completed: list[Order] = []
        self.executions: list[ExecutionRecord] = []
        self._by_exec_id: dict[str, ExecutionRecord] = {}

    def get(self, client_id: int, order_id: int) -> Order | None:
        """An order, live or finished; of several with this id the first that is live, else the last."""
        orders = self._orders.get((client_id, order_id))
        if orders is None:
            return None
        return next((order for order in orders if order.stage is not Stage.DONE), orders[-1])

    def by_perm_id(self, perm_id: int) -> Order | None:
        """An order, live or finished."""
        return self._by_perm_id.get(perm_id)

    def live(self) -> list[Order]:
        """Every unfinished order, oldest first, those not transmitted included."""
        return list(self._live.values())

    def find_live(self, order_id: int) -> Order | None:
        """The newest unfinished order with this id, whoever's it is; orders of the Web API have no such id."""
        found = [
            order
            for order in self._live.values()
            if order.ticket.order_id == order_id and order.ticket.client_id != WEB_CLIENT_ID
        ]
        return found[-1] if found else None

    def has_live(self, con_id: int) -> bool:
        """Whether an instrument has unfinished orders."""
        return self._live_by_instrument.get(con_id, 0) > 0

    def add(self, order: Order) -> None:
        """A new order."""
        self._orders.setdefault(order.key, []).append(order)
        self._by_perm_id[order.perm_id] = order
        self._live[order.perm_id] = order
        con_id = order.ticket.instrument.con_id
        self._live_by_instrument[con_id] = self._live_by_instrument.get(con_id, 0) + 1

    def finish(self, order: Order, at: datetime) -> None:
        """An order reached its end."""
        if order.stage is Stage.DONE:
            return
        order.stage = Stage.DONE
        order.completed_at = at
        del self._live[order.perm_id]
        self._live_by_instrument[order.ticket.instrument.con_id] -= 1
        self.completed.append(order)

    def group(self, account: str, name: str) -> OcaGroup:
        """The OCA group of that name, made on first use."""
        group = self._groups.get((account, name))
        if group is None:
            group = self._groups[account, name] = OcaGroup(name)
        return group

    def note_execution(self, execution: Execution) -> None:
        """An execution was reported."""
        record = ExecutionRecord(execution)
        self.executions.append(record)
        self._by_exec_id[execution.exec_id] = record

    def execution(self, exec_id: str) -> Execution | None:
        """The execution of that id, if it was reported."""
        record = self._by_exec_id.get(exec_id)
        return None if record is None else record.execution

    def commission_of(self, exec_id: str) -> Commission | None:
        """What an execution cost, once that was reported."""
        return self._by_exec_id[exec_id].commission

    def note_commission(self, commission: Commission) -> None:
        """Its commission was reported."""
        self._by_exec_id[commission.exec_id].commission = commission
