"""What the Web API keeps of orders, as records and facts: live orders, ended ones, trades, one order's status.

Live orders are a whole list only in an answer with `snapshot: true`; the first answer of a session starts the list and
holds nothing. Ended orders of the day are in the same list. Frames of the websocket (`sor`, `str`) bring the news; what
they may have lost is read again after a gap, and looked at from time to time while an order of ours works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.base import ExecutionRecords, OrderRecords
from ibkr_connector.backends.facts import (
    BrokerFact,
    CommissionSeen,
    ExecutionSeen,
    OrderCompleted,
    OrderEchoed,
    OrderStatusSeen,
)
from ibkr_connector.backends.web import order_rows as rows
from ibkr_connector.backends.web.convert import integer
from ibkr_connector.backends.web.order_book import Known, OrderBook
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import ProtocolError, RequestTimeout, TradingError
from ibkr_connector.logs import get_logger

_log = get_logger(__name__)
_MOST_LIVE = 1000
"""Rows that a list holds at most: one as long as that may lack some."""
_SNAPSHOT_AGAIN_S = 0.3
_SAME_ANSWER_S = 3.0
"""Open and completed orders asked for one after the other are parts of one answer."""
_FOLLOW_S = (0.0, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0)
"""Pauses between looks at an order that something was just written about."""
_LOOK_TIMEOUT_S = 10.0
_MOST_TRADES = 50_000
_MOST_ROWS = 10_000


class Records:
    """The reads of `Backend` that are about orders, and the news about them."""

    nothing = Decimal(0)

    def __init__(self, room: WebRoom) -> None:
        self._room = room
        self._clock = room.clock
        self.book = OrderBook()
        self.on_identified: Callable[[Known], None] = lambda _: None
        """Told when the broker's number of an order of ours gets known."""
        self._asked = False
        """Whether anybody has asked for open orders in this connection. Before that it is not known yet which orders
        are ours (the journal is not open): a frame told now would make strangers of them.
        """
        self._asking = asyncio.Lock()
        self._answer: tuple[float, list[rows.Told]] | None = None
        """The last whole list of live orders, and when it was asked for."""
        self._rows: dict[int, dict[str, Any]] = {}
        """The newest row of each order: later frames tell what changed of it."""
        self._frames: dict[int, int] = {}
        """How many frames came of each order. An answer that was asked for before the newest of them is overtaken:
        what it says may be the version before a change, which would look like a broker that holds another order."""
        self._trades: dict[str, dict[str, rows.Trade]] = {}
        self._filled: dict[int, Decimal] = {}
        self._following: dict[int, asyncio.Task[None]] = {}
        self._looking: asyncio.Task[None] | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, timeout: float) -> None:
        """See `Part`."""
        self._answer = None
        self._asked = False
        self._rows.clear()
        self._frames.clear()
        self._room.spawn(self._watch(), "order-watch")

    async def stop(self) -> None:
        """See `Part`."""
        self._answer = None
        self._following.clear()

    def back(self) -> None:
        """See `Part`: what happened meanwhile nobody told."""
        self._answer = None
        self.look_at_all()

    async def _watch(self) -> None:
        """Frames can be lost without a word: while an order of ours works, look."""
        while True:
            await self._clock.sleep(self._room.endpoint.watch_every)
            if any(known.perm_id and not known.over for known in self.book):
                await self._look()

    def look_at_all(self) -> None:
        """Read live orders and trades again, beside everything else."""
        if self._looking is None or self._looking.done():
            self._looking = self._room.spawn(self._look(), "order-look")

    async def _look(self) -> None:
        try:
            await self.open_orders(_LOOK_TIMEOUT_S)
            await self.completed_orders(_LOOK_TIMEOUT_S)
            await self.executions(_LOOK_TIMEOUT_S)
        except TradingError as error:
            _log.warning("orders could not be looked at", error=error.message)

    # --- whole lists ------------------------------------------------------------------------------------------------

    async def open_orders(self, timeout: float, *, all_clients: bool = True) -> OrderRecords:
        """See `Backend.open_orders`. Complete only by an answer that calls itself a snapshot."""
        self._asked = True
        told, complete = await self._live(timeout)
        echoes: list[OrderEchoed] = []
        statuses: list[OrderStatusSeen] = []
        for one in told:
            known = self._whose(one)
            if one.status in rows.FINAL or (known is None and not all_clients):
                continue
            facts = self._shown(one, known)
            self._emit(*facts)
            echoes.append(self._echo(one, known))
            statuses.append(facts[-1])
        return OrderRecords(echoes=tuple(echoes), statuses=tuple(statuses), complete=complete)

    async def completed_orders(self, timeout: float) -> OrderRecords:
        """See `Backend.completed_orders`: the part of the same list that is over."""
        now, known_answer = self._clock.monotonic(), self._answer
        if known_answer is not None and now - known_answer[0] <= _SAME_ANSWER_S:
            told, complete = known_answer[1], True
        else:
            told, complete = await self._live(timeout)
        found = [self._over(one, self._whose(one)) for one in told if one.status in rows.FINAL]
        self._emit(*found)
        return OrderRecords(completed=tuple(found), complete=complete)

    async def _live(self, timeout: float) -> tuple[list[rows.Told], bool]:
        """The list, and whether it is whole."""
        self._room.require()
        until = self._clock.monotonic() + timeout
        try:
            await self._clock.wait_for(self._asking.acquire(), timeout)
        except TimeoutError:
            raise RequestTimeout("no answer in time to: live orders.", what="live orders") from None
        try:
            while True:
                asked_at = self._clock.monotonic()
                left = max(until - asked_at, 0.001)
                before = dict(self._frames)
                body = await self._room.calls.get("iserver/account/orders", timeout=left)
                if not isinstance(body, dict) or not isinstance(body.get("orders"), list):
                    raise ProtocolError("the answer to live orders is no list.")
                told, readable = self._read(body["orders"], before)
                if body.get("snapshot") is True:
                    complete = readable and len(body["orders"]) < _MOST_LIVE
                    self._answer = (asked_at, told) if complete else None
                    return told, complete
                if until - self._clock.monotonic() <= _SNAPSHOT_AGAIN_S:
                    return told, False
                await self._clock.sleep(_SNAPSHOT_AGAIN_S)
        finally:
            self._asking.release()

    def _read(self, listed: Sequence[Any], before: Mapping[int, int]) -> tuple[list[rows.Told], bool]:
        """The list's orders; those of which a frame came since it was asked for, as that frame left them."""
        told, readable = [], True
        for row in listed[:_MOST_LIVE]:
            one = rows.live_row(row) if isinstance(row, dict) else None
            if one is None:
                readable = False
                _log.warning("a row of the live orders cannot be read")
                continue
            if self._frames.get(one.perm_id) == before.get(one.perm_id):
                self._rows[one.perm_id] = dict(row)
            else:
                one = rows.live_row(self._rows.get(one.perm_id, {})) or one
            told.append(one)
        return told, readable

    async def executions(self, timeout: float, *, account: str = "") -> ExecutionRecords:
        """See `Backend.executions`: the trades of the day, with what they cost."""
        self._room.require()
        body = await self._room.calls.get("iserver/account/trades", timeout=timeout)
        if not isinstance(body, list):
            raise ProtocolError("the answer to trades is no list.")
        trades, complete = self._trades_of(body)
        facts = [self._executed(trade, replayed=True) for trade in trades]
        for several in facts:
            self._emit(*several)
        found = tuple(several[0].execution for several in facts)
        return ExecutionRecords(
            executions=tuple(one for one in found if account in ("", one.account)), complete=complete
        )

    def _trades_of(self, listed: Iterable[Any]) -> tuple[list[rows.Trade], bool]:
        found, complete = [], True
        for row in listed:
            trade = rows.trade_row(row, self._room.account) if isinstance(row, dict) else None
            if trade is None:
                complete = False
                _log.warning("a row of the trades cannot be read")
            else:
                found.append(trade)
        return sorted(found, key=lambda one: (one.at, one.exec_id)), complete

    # --- news -------------------------------------------------------------------------------------------------------

    def on_orders(self, changed: Any) -> None:
        """A `sor` frame: whole rows, or an order's number and what changed of it.

        The end of a stranger's order is told as a completed order: its status alone would be nobody's.
        """
        for row in changed if isinstance(changed, list) else ():
            perm_id = integer(row.get("orderId")) if isinstance(row, dict) else 0
            if not perm_id:
                continue
            whole = self._rows.setdefault(perm_id, {})
            whole.update(row)
            self._frames[perm_id] = self._frames.get(perm_id, 0) + 1
            if len(self._rows) > _MOST_ROWS:
                oldest = next(iter(self._rows))
                del self._rows[oldest]
                self._frames.pop(oldest, None)
            told = rows.live_row(whole)
            if told is None and self._asked:
                self.look_at_all()
            if told is None or not self._asked:
                continue  # what is not told now is in the list that will be asked for
            known = self._whose(told)
            if told.status not in rows.FINAL:
                self._emit(*self._shown(told, known))
            else:
                self._emit(self._over(told, known) if known is None else self._status(told, known))

    def on_trades(self, listed: Any) -> None:
        """A `str` frame. What it repeats of the past is known by its execution ids."""
        if not self._asked:
            return
        for trade in self._trades_of(listed if isinstance(listed, list) else ())[0]:
            self._emit(*self._executed(trade, replayed=False))

    def follow(self, known: Known, *, until_over: bool = False) -> None:
        """Look at an order that something was just written about, until it rests (or is over) or for some seconds."""
        running = self._following.get(known.order.order_id)
        if running is not None:
            running.cancel()
        task = self._room.spawn(self._follow(known, until_over=until_over), f"follow-{known.order.order_id}")
        self._following[known.order.order_id] = task

    async def _follow(self, known: Known, *, until_over: bool) -> None:
        for pause in _FOLLOW_S:
            await self._clock.sleep(pause)
            if known.over:
                return
            told = await self._status_of(known)
            if told is None:
                continue
            if told.status in rows.FINAL:
                self._emit(self._status(told, known))
                return
            self._emit(*self._shown(told, known))
            if told.status == "Submitted" and not until_over:
                return

    async def _status_of(self, known: Known) -> rows.Told | None:
        path = f"iserver/account/order/status/{known.perm_id}"
        before = self._frames.get(known.perm_id)
        try:
            body = await self._room.calls.get(path, timeout=_LOOK_TIMEOUT_S)
        except TradingError as error:
            _log.debug("an order's status is not told", order_id=known.order.order_id, error=error.message)
            return None
        overtaken = self._frames.get(known.perm_id) != before
        return rows.status_row(body, known) if isinstance(body, dict) and not overtaken else None

    # --- facts ------------------------------------------------------------------------------------------------------

    def identified(self, known: Known, perm_id: int) -> None:
        """The broker's number of an order of ours is told."""
        self.book.learn(known, perm_id)
        self.on_identified(known)

    def filled(self, perm_id: int) -> Decimal:
        """The highest count of filled units that was told of an order."""
        return self._filled.get(perm_id, self.nothing)

    def _whose(self, told: rows.Told) -> Known | None:
        before = self.book.by_perm(told.perm_id)
        known = self.book.whose(told.perm_id, told.ref, account=told.account, con_id=told.con_id, side=told.side)
        if known is not None and before is None:
            self.on_identified(known)
        return known

    def _emit(self, *facts: BrokerFact) -> None:
        for fact in facts:
            self._room.outlet.emit(fact)

    def _shown(self, told: rows.Told, known: Known | None) -> tuple[*tuple[OrderEchoed, ...], OrderStatusSeen]:
        """What a row says of an order that works. Its terms are left out where they are only late: for a while after a
        change was accepted, answers and frames of before still show the version of before, which is no drift.
        """
        if known is not None and known.shows_old_version(told.version, self._clock.monotonic()):
            return (self._status(told, known),)
        return (self._echo(told, known), self._status(told, known))

    def _echo(self, told: rows.Told, known: Known | None) -> OrderEchoed:
        return rows.echoed(told, known, client_id=self._client_of(known), contracts=self._room.contracts)

    def _status(self, told: rows.Told, known: Known | None) -> OrderStatusSeen:
        self._note(told, known)
        return rows.status_seen(told, known, client_id=self._client_of(known))

    def _client_of(self, known: Known | None) -> int:
        return self._room.client_id if known is None or known.client_id is None else known.client_id

    def _over(self, told: rows.Told, known: Known | None) -> OrderCompleted:
        self._note(told, known)
        return rows.completed(told, known, self._room.contracts)

    def _note(self, told: rows.Told, known: Known | None) -> None:
        self._filled[told.perm_id] = max(self.filled(told.perm_id), told.filled)
        if known is not None and told.status in rows.FINAL and told.perm_id == known.perm_id and not known.forks:
            known.over = True

    def _executed(self, trade: rows.Trade, *, replayed: bool) -> tuple[ExecutionSeen, *tuple[CommissionSeen, ...]]:
        known = self.book.whose(trade.perm_id, trade.ref, account=trade.account, con_id=trade.con_id, side=trade.side)
        earlier = self._earlier(trade)
        execution = rows.execution(
            trade,
            known,
            client_id=self._client_of(known),
            contracts=self._room.contracts,
            before=sum((one.quantity for one in earlier), self.nothing),
            before_value=sum((one.quantity * one.price for one in earlier), self.nothing),
        )
        seen = ExecutionSeen(execution=execution, replayed=replayed)
        if execution.commission is None:
            return (seen,)
        cost = CommissionSeen(
            exec_id=execution.exec_id,
            commission=execution.commission,
            currency=execution.commission_currency,
            realized_pnl=None,
        )
        return (seen, cost)

    def _earlier(self, trade: rows.Trade) -> list[rows.Trade]:
        """The executions of the same order before this one: rows tell no running totals."""
        mine = self._trades.setdefault(str(trade.perm_id) if trade.perm_id else trade.ref, {})
        mine[trade.exec_id.rpartition(".")[0] or trade.exec_id] = trade
        if len(self._trades) > _MOST_TRADES:
            del self._trades[next(iter(self._trades))]
        return [one for one in mine.values() if (one.at, one.exec_id) < (trade.at, trade.exec_id)]
