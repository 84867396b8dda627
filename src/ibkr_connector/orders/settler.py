"""Knowing what the broker knows: at every connect, and for as long as anything is in doubt.

The decisions are `reconcile`'s; here is the asking. A round asks for open orders, completed orders and executions; what
they show flows through the desk like any other message, and what they do not show is judged afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ibkr_connector.backends.base import ConnectInfo
from ibkr_connector.backends.facts import BrokerFact, OrderEchoed, SocketClosed
from ibkr_connector.clock import Clock
from ibkr_connector.config.settings import OrderSettings
from ibkr_connector.errors import JournalError, RequestTimeout, TradingError
from ibkr_connector.events import EventBus, Incident, Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import Change, EnteredDoubt, Noted
from ibkr_connector.orders.desk import OrderDesk
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.reconcile import (
    EvidenceRound,
    Reconciler,
    SettledAbsent,
    SettleRules,
    StillInDoubt,
    broker_day,
    resurfaced,
    unseen,
)
from ibkr_connector.session.link import LinkNews, LinkState
from ibkr_connector.session.session import Session

_log = get_logger(__name__)
_ANSWER_S = 6.0
"""How long an end marker may take: beyond it the answer is incomplete evidence (real gateways forget some)."""
_EXECUTIONS_LATE_S = 2.0
"""How long executions may lag behind the status that counted them before they are asked for."""
_ROUNDS_ON_OLD_CONNECTION = 2
"""Rounds without a trace on the connection an order was written to, before that connection is given up for proof."""
_ROUNDS_FOR_EXECUTIONS = 5
"""Rounds in which executions may be missing before a person is told."""


@dataclass(slots=True)
class _Progress:
    fruitless: int = 0
    """Rounds without a trace on the connection it was written to."""
    waited: int = 0
    """Rounds in which executions that a status counted did not come."""
    told: bool = False
    """An operator was told: asking does not help any more."""


class Settler:
    """Evidence rounds and what follows from them. Used on the session loop."""

    def __init__(
        self,
        *,
        session: Session,
        desk: OrderDesk,
        settings: OrderSettings,
        clock: Clock,
        bus: EventBus,
        endpoint: str,
    ) -> None:
        self._session = session
        self._desk = desk
        self._settings = settings
        self._clock = clock
        self._bus = bus
        self._endpoint = endpoint
        self._reconciler = Reconciler(SettleRules(link_up_for=settings.settle_link_up, gap=settings.settle_interval))
        self._progress: dict[str, _Progress] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._asked = False
        self._unseen: set[str] = set()
        """Working orders that the broker's last whole list of open orders did not hold."""
        session.on_fact(self._on_fact)
        session.on_link_news(self._on_link_news)
        desk.on_changes(self._on_changes)

    # --- at every connect ------------------------------------------------------------------------------------------

    async def sync(self, info: ConnectInfo) -> None:
        """The start-up step: number above every id used before, then one round of evidence.

        Raises:
            RequestTimeout: the list of open orders did not come whole; without it exposure is not known.
        """
        link = self._session.link
        self._reconciler.connected(link.epoch)
        self._reconciler.link(up=link.broker_link, at=link.broker_link_since)
        self._number_above_all_used(info)
        evidence = await self._round()
        if "open orders" in evidence.missing:
            raise RequestTimeout("the broker did not finish its list of open orders.")
        if evidence.missing:
            self._incident("incomplete_evidence", f"no end marker for: {', '.join(evidence.missing)}", Severity.WARNING)
        self._number_above_all_used(info)
        self._judge(evidence)
        self._progress.clear()
        self._asked = False
        if self._open_questions():
            self._ensure_working()

    def _number_above_all_used(self, info: ConnectInfo) -> None:
        """INV-08. The journal is asked for every gateway: one that moved, or was replaced, counts anew."""
        client_id = self._session.settings.client_id
        highest = max(
            (live.record.order_id for live in self._desk.table if live.record.client_id == client_id), default=0
        )
        journal = self._desk.journal
        if journal is not None:
            if highest:
                journal.raise_high_water(self._endpoint, client_id, highest)
            highest = max(highest, journal.high_water(client_id))
        self._session.backend.allow_ids_from(max(info.next_valid_id, highest + 1))

    async def ask_open(self, timeout: float) -> None:
        """Ask for all open orders; the answer flows through the desk, and what it lacks is looked into."""
        backend = self._session.backend
        since = self._session.broker_now()
        told = await self._session.read("open orders", lambda left: backend.open_orders(left), timeout=timeout)
        if told.complete:
            self._look_into(told.echoes, since)

    async def ask_completed(self, timeout: float) -> None:
        """Ask for the orders that ended today."""
        await self._session.read("completed orders", self._session.backend.completed_orders, timeout=timeout)

    async def _round(self) -> EvidenceRound:
        backend = self._session.backend
        started, started_at = self._clock.monotonic(), self._session.broker_now()
        epoch = self._session.link.epoch
        read, most = self._session.read, 2 * _ANSWER_S
        opened = await read("open orders", lambda left: backend.open_orders(min(left, _ANSWER_S)), timeout=most)
        completed = await read(
            "completed orders", lambda left: backend.completed_orders(min(left, _ANSWER_S)), timeout=most
        )
        executions = await read("executions", lambda left: backend.executions(min(left, _ANSWER_S)), timeout=most)
        return EvidenceRound.of(
            opened,
            completed,
            executions,
            started=started,
            finished=self._clock.monotonic(),
            started_at=started_at,
            epoch=epoch,
        )

    # --- while anything is in doubt --------------------------------------------------------------------------------

    def kick(self) -> None:
        """Something is to be asked: make sure that somebody asks."""
        self._asked = True
        self._wake.set()
        self._ensure_working()

    def _ensure_working(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="ibkr-settle")

    async def close(self) -> None:
        """Stop asking."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while self._asked or self._open_questions():
            await self._pause()
            if not self._can_ask:
                continue
            self._asked = False
            try:
                evidence = await self._round()
            except TradingError as error:
                _log.warning("a round of evidence failed", error=str(error))
                continue
            self._judge(evidence)
            await self._give_up_connection_if_needed()

    @property
    def _can_ask(self) -> bool:
        """Whether an answer would be worth anything: while the broker link is down the gateway tells what it has."""
        return self._session.link.state is LinkState.READY and self._session.link.broker_link

    async def _pause(self) -> None:
        """Until the next round can count, or something new is asked."""
        self._wake.clear()
        if self._asked and self._can_ask:
            return
        at, longest = self._reconciler.next_round_at(), self._settings.settle_interval
        wait = longest if at is None else min(max(at - self._clock.monotonic(), 0.05), longest)
        try:
            await self._clock.wait_for(self._wake.wait(), wait)
        except TimeoutError:
            return

    def _open_questions(self) -> list[LiveOrder]:
        """Orders about which asking can help."""
        return [
            live
            for live in self._desk.table
            if (live.record.in_doubt or live.record.awaiting_executions or self._is_unseen(live))
            and not self._is_hopeless(live)
        ]

    def _is_unseen(self, live: LiveOrder) -> bool:
        return live.ref in self._unseen and not live.record.is_done

    def _look_into(self, open_echoes: Sequence[OrderEchoed], since: datetime) -> None:
        """Orders that work as far as we know and that the broker's list lacks: ask until it shows or tells them."""
        missing = unseen(open_echoes, since, [live.record for live in self._desk.table])
        self._unseen = {record.ref for record in missing}
        if self._unseen:
            self._ensure_working()

    def _is_hopeless(self, live: LiveOrder) -> bool:
        progress = self._progress.get(live.ref)
        return progress is not None and progress.told

    def _judge(self, evidence: EvidenceRound) -> None:
        """Settle what the evidence settles."""
        self._reconciler.add(evidence)
        if self._reconciler.link_since is None:
            return  # what the gateway tells without its link to the broker is no evidence of absence
        if "open orders" not in evidence.missing:
            self._look_into(evidence.open_echoes, evidence.started_at)
        ctx = self._desk.context()
        today = broker_day(ctx.now)
        table = self._desk.table
        for found in resurfaced(evidence, [live.record for live in table]):
            live = table.by_ref(found.ref)
            if live is not None:
                why = f"the broker lists it as {found.status}"
                self._desk.tell(live, steps.revive(live.record, found.perm_id, why, ctx))
        for gone in self._reconciler.vanished([live.record for live in table], today=today):
            live = table.by_ref(gone.ref)
            if live is not None:
                step = steps.expire_unseen if gone.expired else steps.lose_sight
                self._desk.tell(live, step(live.record, gone.why, ctx))
        for live in table:
            for operation in sorted(live.record.doubts):
                decision = self._reconciler.decide(live.record, operation, today=today)
                if isinstance(decision, SettledAbsent):
                    _log.info("settled as never arrived", order_ref=live.ref, evidence=decision.evidence)
                    self._desk.tell(live, steps.settle_absent(live.record, operation, decision.evidence, ctx))
                elif isinstance(decision, StillInDoubt):
                    self._still(live, decision)
            if live.record.awaiting_executions:
                self._still_waiting(live)
            elif not live.record.in_doubt:
                self._progress.pop(live.ref, None)

    def _still(self, live: LiveOrder, decision: StillInDoubt) -> None:
        progress = self._progress.setdefault(live.ref, _Progress())
        progress.fruitless = progress.fruitless + 1 if decision.needs_new_connection else 0
        if decision.needs_operator and not progress.told:
            progress.told = True
            self._incident("needs_operator", f"order {live.ref}: {decision.why}", Severity.CRITICAL)

    def _still_waiting(self, live: LiveOrder) -> None:
        """Executions of an earlier day are not told any more: asking for ever would not bring them."""
        progress = self._progress.setdefault(live.ref, _Progress())
        progress.waited += 1
        if progress.waited >= _ROUNDS_FOR_EXECUTIONS and not progress.told:
            progress.told = True
            text = f"order {live.ref}: the broker counts {live.record.reported} as filled, told {live.record.filled}"
            self._incident("executions_missing", text, Severity.CRITICAL)

    async def _give_up_connection_if_needed(self) -> None:
        """Bytes on their way can arrive as long as the connection is open: absence is proven on a new one only."""
        stuck = [ref for ref, progress in self._progress.items() if progress.fruitless >= _ROUNDS_ON_OLD_CONNECTION]
        if stuck:
            for ref in stuck:
                self._progress[ref].fruitless = 0
            await self._session.drop(f"to settle {', '.join(stuck)}: unanswered on this connection")

    # --- what happens ----------------------------------------------------------------------------------------------

    def _on_fact(self, fact: BrokerFact) -> None:
        if isinstance(fact, SocketClosed):
            self._reconciler.disconnected()

    def _on_link_news(self, news: LinkNews) -> None:
        if news.what == "broker":
            self._reconciler.link(up=news.up, at=self._clock.monotonic())

    def _on_changes(self, live: LiveOrder, changes: list[Change]) -> None:
        if any((isinstance(change, Noted) and change.ask) or isinstance(change, EnteredDoubt) for change in changes):
            self.kick()
        elif live.record.awaiting_executions and self._late is None:
            self._late = asyncio.get_running_loop().call_later(_EXECUTIONS_LATE_S, self._look_for_late)

    def _look_for_late(self) -> None:
        self._late = None
        if any(live.record.awaiting_executions for live in self._desk.table):
            self.kick()

    def journal_trouble(self, error: JournalError) -> None:
        """The journal cannot be written (called on its thread)."""
        self._incident("journal_unwritable", str(error), Severity.CRITICAL)

    def _incident(self, kind: str, text: str, severity: Severity) -> None:
        _log.warning("incident", kind=kind, text=text)
        self._bus.publish(Incident(at=self._clock.now(), severity=severity, kind=kind, text=text))
