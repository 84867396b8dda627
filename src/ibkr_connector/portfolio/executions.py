"""Executions by id: corrections replace, commissions join. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from ibkr_connector.backends.base import CommissionSeen
from ibkr_connector.models.account import Execution


@dataclass(slots=True)
class ExecutionBook:
    """What was filled today, in all accounts of the login that this client may see."""

    _by_base: dict[str, Execution] = field(default_factory=dict)
    _commissions: dict[str, CommissionSeen] = field(default_factory=dict)

    def on_execution(self, execution: Execution) -> None:
        """Take in an execution; a higher correction number (after the last dot) replaces a lower one."""
        known = self._by_base.get(execution.base_id)
        if known is not None and _correction(execution.exec_id) < _correction(known.exec_id):
            return
        told = self._commissions.get(execution.exec_id)
        self._by_base[execution.base_id] = _with_commission(execution, told) if told else execution

    def on_commission(self, told: CommissionSeen) -> None:
        """Take in a commission report, before or after its execution."""
        self._commissions[told.exec_id] = told
        base = told.exec_id.rpartition(".")[0] or told.exec_id
        known = self._by_base.get(base)
        if known is not None and known.exec_id == told.exec_id:
            self._by_base[base] = _with_commission(known, told)

    def forget_before(self, moment: datetime) -> None:
        """Drop what is older: the broker repeats a week at most."""
        self._by_base = {base: known for base, known in self._by_base.items() if known.at >= moment}
        kept = {known.exec_id for known in self._by_base.values()}
        self._commissions = {exec_id: told for exec_id, told in self._commissions.items() if exec_id in kept}

    def all(self) -> tuple[Execution, ...]:
        """Every execution, oldest first."""
        return tuple(sorted(self._by_base.values(), key=lambda execution: (execution.at, execution.exec_id)))


def _correction(exec_id: str) -> int:
    tail = exec_id.rpartition(".")[2]
    return int(tail) if tail.isdigit() else 0


def _with_commission(execution: Execution, told: CommissionSeen) -> Execution:
    return replace(
        execution,
        commission=told.commission,
        commission_currency=told.currency,
        realized_pnl=told.realized_pnl,
    )
