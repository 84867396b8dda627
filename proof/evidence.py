"""What a run leaves behind for the judge: truth, history, journal, and pictures of the connector's state."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from ibkr_connector.assembly import House
from ibkr_connector.models.account import Execution
from ibkr_connector.orders.entries import AuditEntry, JournalOrder
from ibkr_connector.orders.journal import JournalReader
from ibkr_connector.orders.journal_read import FILE_NAME
from ibkr_connector.paper import TruthLog
from proof.history import History
from proof.schedule import Schedule


@dataclass(frozen=True, slots=True)
class OrderPicture:
    """One own order as the connector knows it."""

    state: str
    filled: Decimal
    order_id: int
    perm_ids: tuple[int, ...]
    fills: tuple[tuple[str, Decimal, Decimal], ...]
    """Execution id, quantity, price."""
    in_doubt: bool
    is_done: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a connector knows at a moment."""

    orders: dict[str, OrderPicture]
    positions: dict[int, Decimal]
    state: str
    """Of trading: active, reducing, halted."""
    counted: dict[int, Decimal] = field(default_factory=dict)
    """Positions as the gates count them."""
    reserved: dict[str, Decimal] = field(default_factory=dict)
    """What each order that is open here may still fill, as the gates count it."""

    @classmethod
    def of(cls, house: House, account: str) -> Picture:
        """Take one."""
        orders = {}
        for live in house.manager.desk.table:
            record = live.record
            free = record.ended is not None and record.ended.reusable  # given up unsent: as if it had never been
            if record.ours and record.committed and not free:
                snapshot = live.snapshot
                orders[live.ref] = OrderPicture(
                    state=snapshot.state.value,
                    filled=snapshot.filled,
                    order_id=snapshot.order_id,
                    perm_ids=tuple(sorted(record.perm_ids)),
                    fills=tuple(sorted((fill.exec_id, fill.quantity, fill.price) for fill in snapshot.fills)),
                    in_doubt=record.in_doubt,
                    is_done=record.is_done,
                    why=snapshot.why,
                )
        return cls(
            orders=orders,
            positions={
                held.contract.con_id: held.quantity
                for held in house.portfolio.positions.snapshot
                if held.account == account and held.quantity
            },
            state=house.engine.trading.state.value,
            counted={
                con_id: house.portfolio.positions.counted(account, con_id)
                for con_id in house.portfolio.positions.keys(account)
            },
            reserved={ref: held for ref in orders if (held := house.engine.reserved(ref)) is not None},
        )


@dataclass(slots=True)
class Evidence:
    """Everything there is to judge by."""

    schedule: Schedule
    history: History
    truth: TruthLog | None = None
    checkpoints: dict[str, int] = field(default_factory=dict)
    """Entries of the truth log at `settled` (nothing fails any more, doubts had their time) and `cancelled`."""
    settled: Picture | None = None
    final: Picture | None = None
    recovered: Picture | None = None
    """After a kill -9 and a new start: what `final` was."""
    orders: list[JournalOrder] = field(default_factory=list)
    fills: list[Execution] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)
    audit_problems: tuple[str, ...] = ()
    has_journal: bool = False
    hang: str = ""
    unready: bool = False
    problems: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    wire_seconds: float = 0.0
    market_seconds: float = 0.0

    def read_journal(self, state_dir: Path) -> None:
        """Read what the journal holds, if there is one."""
        account = self.schedule.account
        if not (state_dir / account / FILE_NAME).exists():
            return
        reader = JournalReader.of(state_dir, account)
        self.has_journal = True
        self.orders = reader.recent(100_000)
        self.fills = reader.fills()
        self.audit = list(reader.audit())
        report = reader.verify()
        self.audit_problems = report.problems if not report.ok else ()
