"""Sees to it that what is said about trading, here or in another process, is done, told and kept in the audit trail.

Every write asks the record itself; this task looks ten times a second, for what nobody would ask otherwise: orders that
a kill wants cancelled, positions that are to be closed, listeners that are to be told.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping

from ibkr_connector.clock import Clock
from ibkr_connector.errors import TradingError
from ibkr_connector.events import EventBus, Incident, Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.state import TradingAction, TradingRecord, TradingState

_log = get_logger(__name__)
LOOK_S = 0.1
_SAVE_AGAIN_LOOKS = 5
_KINDS = {
    TradingState.ACTIVE: ("resumed", Severity.INFO),
    TradingState.REDUCING: ("reducing", Severity.WARNING),
    TradingState.HALTED: ("killed", Severity.CRITICAL),
}
Act = Callable[[TradingRecord], Awaitable[None]]


class Watchman:
    """One task on the session loop."""

    def __init__(
        self,
        *,
        engine: RiskEngine,
        bus: EventBus,
        clock: Clock,
        audit: Callable[[str, Mapping[str, object]], None],
        acts: Mapping[TradingAction, Act],
        able: Callable[[], bool],
    ) -> None:
        """`acts` does what a record asks for; `able` says whether that can be tried now."""
        self._engine = engine
        self._bus = bus
        self._clock = clock
        self._audit = audit
        self._acts = acts
        self._able = able
        self._seen: TradingRecord | None = None
        self._task: asyncio.Task[None] | None = None
        self._acting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; once."""
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="ibkr-watchman")

    async def close(self) -> None:
        """Stop looking; a stop that could not be saved is tried a last time."""
        tasks = [task for task in (self._task, self._acting) if task is not None]
        self._task = self._acting = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._seen is not None:
            self._look()
        if self._engine.control.unsaved:
            await self._save_again()

    async def _watch(self) -> None:
        looks = 0
        while True:
            record = self._look()
            looks += 1
            if self._engine.control.unsaved and looks % _SAVE_AGAIN_LOOKS == 0:
                await self._save_again()
            if record.action in self._acts and self._able() and (self._acting is None or self._acting.done()):
                self._acting = asyncio.create_task(self._act(record), name=f"ibkr-{record.action.value}")
            await self._clock.sleep(LOOK_S)

    def _look(self) -> TradingRecord:
        record, seen = self._engine.control.record, self._seen
        self._seen = record
        if seen is not None and seen != record:  # a serial that rises alone says nothing new
            self._tell(record)
        return record

    def _tell(self, record: TradingRecord) -> None:
        self._audit("trading_state", record.to_dict())
        if record.by == os.getpid():
            return  # whoever said so here has told it
        who = f" by process {record.by}" if record.by else ""
        kind, severity = _KINDS[record.state]
        text = f"trading is {record.state.value}{who}: {record.reason or 'no reason was given'}"
        _log.warning("the trading state changed", **record.to_dict())
        self._bus.publish(
            Incident(at=self._clock.now(), severity=severity, kind=kind, text=text, context=record.to_dict())
        )

    async def _save_again(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._engine.control.save_again)
        except (TradingError, OSError) as error:
            _log.error("the trading state cannot be saved: it holds in this process only", error=str(error))

    async def _act(self, record: TradingRecord) -> None:
        """Do what the record asks for; it stands, and is tried again, until that is done."""
        try:
            await self._acts[record.action](record)
            await asyncio.get_running_loop().run_in_executor(None, self._engine.control.done, record)
        except (TradingError, OSError) as error:
            _log.error("what the trading state asks for could not be done", action=record.action, error=str(error))
            await self._clock.sleep(1.0)
