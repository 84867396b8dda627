"""Where broker messages become news: find the order meant, judge, remember, tell.

One message is taken in synchronously, in wire order: the record changes, the reservation moves, the journal is told
(it writes behind), listeners are told (on their own threads), waiters wake. Nothing here waits for anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ibkr_connector.backends.facts import (
    BrokerFact,
    CommissionSeen,
    ExecutionSeen,
    OrderCompleted,
    OrderEchoed,
    OrderNotice,
    OrderStatusSeen,
    OrderUnanswered,
)
from ibkr_connector.clock import Clock
from ibkr_connector.events import EventBus, Incident, OrderUpdated, Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OcaType, OrderSnapshot
from ibkr_connector.orders import lifecycle
from ibkr_connector.orders.changes import (
    Change,
    Committed,
    Drifted,
    Echoed,
    End,
    EnteredDoubt,
    FillAdded,
    FillCorrected,
    Forked,
    NotSent,
    Rejected,
    Revived,
    Settled,
)
from ibkr_connector.orders.journal import JournalWriter
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.record import Context, OrderRecord
from ibkr_connector.orders.table import OrderTable
from ibkr_connector.orders.whose import foreign
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.session.mailbox import Mailbox
from ibkr_connector.session.session import Session

_T = TypeVar("_T")
_log = get_logger(__name__)
_REMEMBER = 50_000
"""Executions and commissions kept for finding the other half; a program runs for months."""
_INCIDENTS: tuple[tuple[type, str, Severity], ...] = (
    (EnteredDoubt, "order_in_doubt", Severity.CRITICAL),
    (Forked, "order_forked", Severity.CRITICAL),
    (Rejected, "order_rejected", Severity.WARNING),
    (Revived, "order_revived", Severity.CRITICAL),
)
_COUNTED: dict[type, str] = {Committed: "sent", NotSent: "not_sent", EnteredDoubt: "in_doubt"}
"""What is counted beside the ends of orders."""


class OrderDesk:
    """All orders of this connector and what is said about them. Used on the session loop."""

    def __init__(
        self, *, session: Session, risk: RiskEngine, bus: EventBus, clock: Clock, account: Callable[[], str]
    ) -> None:
        self.table = OrderTable()
        self.journal: JournalWriter | None = None
        self._session = session
        self._risk = risk
        self._bus = bus
        self._clock = clock
        self._account = account
        self._by_exec: dict[str, LiveOrder] = {}
        self._orphans: dict[str, CommissionSeen] = {}
        self._boxes: dict[Mailbox[OrderSnapshot], bool] = {}
        """Streams of all orders, and whether they want other programs' too."""
        self._ended = False
        self._on_changes: list[Callable[[LiveOrder, list[Change]], None]] = []
        session.on_fact(self.on_fact)

    def on_changes(self, listener: Callable[[LiveOrder, list[Change]], None]) -> None:
        """Tell `listener` (on the session loop) what happened to which order."""
        self._on_changes.append(listener)

    def follow(self, box: Mailbox[OrderSnapshot], *, foreign: bool) -> None:
        """Give `box` every order that is open now, and then a snapshot with every change of any order."""
        if self._ended:
            box.close()
            return
        for live in self.table.open():
            if foreign or live.record.ours:
                box.push(live.snapshot)
        self._boxes[box] = foreign

    def unfollow(self, box: Mailbox[OrderSnapshot]) -> None:
        """No more for `box`. Idempotent."""
        self._boxes.pop(box, None)

    def end_streams(self) -> None:
        """The connector closes: every stream of orders ends after what is in it."""
        self._ended = True
        for box in self._boxes:
            box.close()
        self._boxes.clear()
        for live in self.table:
            live.close()

    def context(self) -> Context:
        """What must be known beside a message to judge it now."""
        return Context(
            link_up=self._session.link.broker_link,
            epoch=self._session.link.epoch,
            now=self._session.broker_now(),
            client_id=self._session.settings.client_id,
        )

    # --- what the broker says --------------------------------------------------------------------------------------

    def on_fact(self, fact: BrokerFact) -> None:
        """Take in one message about an order; others are ignored."""
        live = self._meant(fact)
        if live is None:
            return
        changes = lifecycle.apply(live.record, fact, self.context())
        if changes:
            self._tell(live, changes)

    def _meant(self, fact: BrokerFact) -> LiveOrder | None:
        if isinstance(fact, OrderNotice | OrderUnanswered):
            return self.table.by_number(self._session.settings.client_id, fact.order_id)
        if isinstance(fact, OrderStatusSeen):
            return self.table.by_perm(fact.perm_id) or self.table.by_number(fact.client_id, fact.order_id)
        if isinstance(fact, CommissionSeen):
            live = self._by_exec.get(fact.exec_id)
            if live is None:
                _keep(self._orphans, fact.exec_id, fact)
            return live
        if isinstance(fact, ExecutionSeen):
            execution = fact.execution
            live = self.table.meant(execution)
            if live is None and not execution.order_ref:
                live = self.table.by_number(execution.client_id, execution.order_id)
            live = live or self._foreign(fact)
            if live is not None:
                _learn_numbers(live.record, execution)
                _keep(self._by_exec, execution.exec_id, live)
            return live
        if isinstance(fact, OrderEchoed | OrderCompleted):
            if isinstance(fact, OrderEchoed) and fact.what_if:
                return None
            return self.table.meant(fact) or self._nameless(fact) or self._foreign(fact)
        return None

    def _nameless(self, fact: OrderEchoed | OrderCompleted) -> LiveOrder | None:
        """An order that is not ours and was told without its permId before."""
        known = self.table.by_number(fact.client_id, fact.order_id) if isinstance(fact, OrderEchoed) else None
        return known if known is not None and not known.record.ours and not known.record.perm_ids else None

    def _foreign(self, fact: OrderEchoed | OrderCompleted | ExecutionSeen) -> LiveOrder | None:
        """An order that is not ours: another program's, TWS's own, or older than the journal."""
        record = foreign(fact, self.context())
        if record is None:
            return None
        live = LiveOrder(record)
        self.table.add(live)
        return live

    # --- what we do ourselves --------------------------------------------------------------------------------------

    def tell(self, live: LiveOrder, changes: list[Change], *, journal: bool = True) -> None:
        """Make known what a step of ours did to an order. `journal=False` for what was committed already."""
        if changes:
            self._tell(live, changes, journal=journal)

    def adopt(self, live: LiveOrder) -> None:
        """Take in an order that was read back from the journal, or is about to be sent."""
        self.table.add(live)
        for fill in live.record.fills.values():
            _keep(self._by_exec, fill.exec_id, live)

    def _tell(self, live: LiveOrder, changes: list[Change], *, journal: bool = True) -> None:
        record = live.record
        if record.ours:
            self._count(record.terms.action.value, changes)
        self.table.add(live)
        self._move_reservation(live, changes)
        if record.ours and record.committed and journal and self.journal is not None:
            self.journal.record_all(record.ref, changes)
        live.changed()
        gone = [box for box, foreign in self._boxes.items() if (foreign or record.ours) and not box.push(live.snapshot)]
        for box in gone:  # their readers left, or their loops ended
            self.unfollow(box)
        for change in changes:
            self._publish(live, change)
        for listener in self._on_changes:
            listener(live, changes)
        for change in changes:
            if isinstance(change, FillAdded | FillCorrected):
                orphan = self._orphans.pop(change.execution.exec_id, None)
                if orphan is not None:
                    self.on_fact(orphan)

    def _count(self, side: str, changes: list[Change]) -> None:
        for change in changes:
            outcome = change.state.value if isinstance(change, End) else _COUNTED.get(type(change))
            if outcome is not None:
                self._session.meters.count("orders", side.lower(), outcome)

    def _move_reservation(self, live: LiveOrder, changes: list[Change]) -> None:
        record = live.record
        if not record.ours:
            self.count(live)
            return
        for change in changes:
            if isinstance(change, FillAdded | FillCorrected):
                self._risk.on_fill(record.ref, record.filled, record.open_quantity)
            elif isinstance(change, End | NotSent):
                self._risk.on_done(record.ref)
            elif isinstance(change, Revived):
                self._risk.on_revived(record.ref, record.open_quantity)
            elif isinstance(change, Forked | Settled) or (isinstance(change, Echoed) and record.may_shrink):
                self._risk.on_open(record.ref, record.open_quantity)
        self._mark_fork(record)

    def _mark_fork(self, record: OrderRecord) -> None:
        if record.is_forked and not record.is_done:
            self._risk.on_forked(record.ref, record.terms.contract.con_id)

    def count(self, live: LiveOrder) -> None:
        """Hold an order against the limits that did not pass the gates: another program's, or one of an earlier run."""
        record = live.record
        if not record.state.is_live:
            self._risk.on_done(record.ref)
        elif record.account == self._account():
            self._risk.adopt(
                record.ref,
                con_id=record.terms.contract.con_id,
                sign=record.terms.action.sign,
                quantity=record.wanted,
                open_quantity=record.open_quantity,
                filled=record.filled,
                group=record.bracket,
                oca=record.oca if OcaType(record.terms.oca_type or 3).blocks else "",
                agent=record.agent.lower(),
            )
            self._mark_fork(record)

    def _publish(self, live: LiveOrder, change: Change) -> None:
        if not self._bus.has_listeners:
            return
        now = self._clock.now()
        self._bus.publish(OrderUpdated(at=now, order_ref=live.ref, what=change.kind, order=live.snapshot.to_dict()))
        for kind, name, severity in _INCIDENTS:
            if isinstance(change, kind) and live.record.ours:
                text = f"order {live.ref}: {getattr(change, 'why', '') or name.replace('_', ' ')}"
                self._bus.publish(
                    Incident(at=now, severity=severity, kind=name, text=text, context={"order_ref": live.ref})
                )
        if isinstance(change, Drifted) and live.record.ours and change.fields:
            severity = Severity.CRITICAL if change.severe else Severity.WARNING
            text = f"order {live.ref}: the broker's echo differs in {', '.join(d.field for d in change.fields)}"
            self._bus.publish(
                Incident(at=now, severity=severity, kind="echo_drift", text=text, context={"order_ref": live.ref})
            )


def _learn_numbers(record: OrderRecord, execution: Execution) -> None:
    """A stranger's order that was told as completed, without client and number: its executions name them."""
    if not record.ours and not record.order_id:
        record.order_id, record.client_id = execution.order_id, execution.client_id


def _keep(kept: dict[str, _T], key: str, value: _T) -> None:
    """Remember, and forget the oldest beyond a bound."""
    kept[key] = value
    if len(kept) > _REMEMBER:
        del kept[next(iter(kept))]
