"""Executions by id: corrections replace, commissions join, and one that nobody told of is missed. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from ibkr_connector.backends.facts import CommissionSeen
from ibkr_connector.models.account import Execution

ASK_AT_MOST = 3
"""How often an execution is asked for whose commission came without it, while the answers do not end."""


@dataclass(slots=True)
class ExecutionBook:
    """What was filled today, in all accounts of the login that this client may see."""

    _by_base: dict[str, Execution] = field(default_factory=dict)
    _commissions: dict[str, CommissionSeen] = field(default_factory=dict)
    _missing: dict[str, int] = field(default_factory=dict)
    """Executions that a commission report named and nobody told of, and how often they were asked for."""

    @property
    def missing(self) -> frozenset[str]:
        """Ids of executions, or corrections, whose commission came without them: they may have got lost."""
        return frozenset(self._missing)

    def asked(self, missing: AbstractSet[str], *, complete: bool) -> None:
        """The broker was asked, and told what it has: what is `missing` still is not asked for again.

        Unless the answer was not `complete`: then it is, `ASK_AT_MOST` times in all.
        """
        for exec_id in missing & self._missing.keys():
            self._missing[exec_id] += 1
            if complete or self._missing[exec_id] >= ASK_AT_MOST:
                del self._missing[exec_id]

    def on_execution(self, execution: Execution) -> None:
        """Take in an execution; a higher correction number (after the last dot) replaces a lower one."""
        self._missing.pop(execution.exec_id, None)
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
        elif known is None or _correction(known.exec_id) < _correction(told.exec_id):
            self._missing.setdefault(told.exec_id, 0)

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
