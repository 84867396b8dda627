"""Orders, fills, account figures, profit and positions as facts, as the websocket tells them.

Rows of orders (`sor`: whole once, then what changed) and trades (`str`: the day's, then each as it happens, and once
more with its commission) are read by `Records`, in the order of the wire, once their contracts are known. Figures
(`ssd`, `sld`) and profit (`spl`) come every few seconds, as differences. Positions have no topic: they are read over
REST after fills, and once in a while for their values.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.facts import PositionSeen
from ibkr_connector.backends.web import convert, figures
from ibkr_connector.backends.web.reads import Reads, path_part
from ibkr_connector.backends.web.records import Records
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.backends.web.ws import Socket
from ibkr_connector.errors import RequestTimeout, TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.models.account import Position

_log = get_logger(__name__)
_CONFIRM_TRIES = 3
_READ_S = 10.0
_NOTHING = Decimal(0)
_KNOW_S = 5.0
"""How long rows wait for their contracts' descriptions before they are told without."""

Row = Mapping[str, Any]


class Feed:
    """The feeds of `Backend`. `reads` and `records` answer what has to be read again."""

    def __init__(self, room: WebRoom, socket: Socket, reads: Reads, records: Records) -> None:
        self._room = room
        self._socket = socket
        self._reads = reads
        self._records = records
        self._accounts: dict[str, figures.AccountFigures] = {}
        self._waiting: deque[tuple[set[int], Callable[[], None]]] = deque()
        self._telling: asyncio.Task[Any] | None = None
        self._begun = False
        self._confirmed: asyncio.Future[None] | None = None
        self._held: dict[tuple[str, int], Position] = {}
        self._positions_due = asyncio.Event()
        self._positions: asyncio.Task[Any] | None = None
        socket.on_open(self._subscribe)
        socket.listen("sor", self._on_orders)
        socket.listen("str", self._on_trades)
        socket.listen("spl", self._on_profit)
        socket.listen("ssd", self._on_summary)
        socket.listen("sld", self._on_ledger)

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self, timeout: float) -> None:
        """See `Part`."""

    async def stop(self) -> None:
        """See `Part`."""
        self._begun = False
        self._accounts.clear()
        self._waiting.clear()
        self._held.clear()
        self._positions = self._telling = None

    def back(self) -> None:
        """See `Part`. The websocket is made anew, and `_subscribe` with it."""

    async def _subscribe(self) -> None:
        """On every new websocket: orders and trades always, accounts as far as they were asked for.

        The list of live orders is begun once per connection: its first answer holds nothing anyway. With `force`,
        because a filter that any program of this user name has put on the list holds for `sor` as well.
        """
        if not self._begun:
            await self._room.calls.get("iserver/account/orders", {"force": "true"}, timeout=_READ_S)
            self._begun = True
        self._socket.send("sor+{}")
        for _ in range(_CONFIRM_TRIES):
            self._confirmed = asyncio.get_running_loop().create_future()
            self._socket.send('str+{"days":1}')
            try:
                await self._room.clock.wait_for(self._confirmed, self._socket.times.confirm)
                break
            except TimeoutError:
                continue
        else:
            raise RequestTimeout("the websocket does not answer to subscriptions.")
        for account in self._accounts.values():
            self._ask_account(account)

    # --- the account ------------------------------------------------------------------------------------------------

    def subscribe_account(self, account: str) -> None:
        """See `Backend.subscribe_account`."""
        path_part(account)
        known = self._accounts.setdefault(account, figures.AccountFigures(account, self._room.clock.now))
        self._ask_account(known)
        if self._positions is None or self._positions.done():
            self._positions = self._room.spawn(self._keep_positions(), "positions")

    def unsubscribe_account(self, account: str) -> None:
        """See `Backend.unsubscribe_account`."""
        if self._accounts.pop(account, None) is None:
            return
        for text in (f"usd+{account}", f"uld+{account}", *(() if self._accounts else ("upl",))):
            self._later(text)
        if not self._accounts and self._positions is not None:
            self._positions.cancel()
            self._positions = None

    def _later(self, text: str) -> None:
        self._room.later(lambda: self._socket.send(text))

    def _ask_account(self, account: figures.AccountFigures) -> None:
        for text in (f"ssd+{account.account}+{{}}", f"sld+{account.account}+{{}}", "spl"):
            self._socket.send(text)

    def _on_profit(self, message: Row) -> None:
        told = message.get("args")
        for name, row in told.items() if isinstance(told, dict) else ():
            account, _, part = str(name).partition(".")
            known = self._accounts.get(account)
            if known is not None and part in ("", "Core") and isinstance(row, dict):
                self._emit(known.profit(row))

    def _on_summary(self, message: Row) -> None:
        self._figures(message, figures.AccountFigures.summary)

    def _on_ledger(self, message: Row) -> None:
        self._figures(message, figures.AccountFigures.ledger)

    def _figures(self, message: Row, read: Callable[[figures.AccountFigures, Row], Iterable[Any]]) -> None:
        known = self._accounts.get(str(message.get("topic", "")).partition("+")[2].partition("+")[0])
        told = message.get("result")
        if known is None or not isinstance(told, list):
            return
        for row in told:
            if isinstance(row, dict):
                self._emit(read(known, row))

    def _emit(self, facts: Iterable[Any]) -> None:
        for fact in facts:
            self._room.outlet.emit(fact)

    # --- orders and trades ------------------------------------------------------------------------------------------

    def _on_orders(self, message: Row) -> None:
        told = _rows(message)
        self._tell(told, lambda: self._records.on_orders(told))

    def _on_trades(self, message: Row) -> None:
        if self._confirmed is not None and not self._confirmed.done():
            self._confirmed.set_result(None)
        else:
            self._positions_due.set()
        told = _rows(message)
        self._tell(told, lambda: self._records.on_trades(told))

    def _tell(self, told: list[dict[str, Any]], tell: Callable[[], None]) -> None:
        """Tell it now if its contracts are known and nothing waits before it, else in its turn."""
        con_ids = {convert.integer(row.get("conid")) for row in told} - {0}
        if not self._waiting and con_ids <= self._room.contracts.keys():
            _safely(tell)
            return
        self._waiting.append((con_ids, tell))
        if self._telling is None or self._telling.done():
            self._telling = self._room.spawn(self._tell_in_turn(), "order-rows")

    async def _tell_in_turn(self) -> None:
        while self._waiting:
            con_ids, _ = self._waiting[0]
            try:
                await self._reads.know(con_ids, _KNOW_S)
            except TradingError as error:
                _log.warning("orders are told without their contracts' descriptions", error=error.message)
            # The queue may have been emptied meanwhile: the connection has ended.
            if self._waiting:
                _safely(self._waiting.popleft()[1])

    # --- positions --------------------------------------------------------------------------------------------------

    async def _keep_positions(self) -> None:
        """Read them after fills, and every minute for their values."""
        clock, times = self._room.clock, self._socket.times
        while True:
            try:
                await clock.wait_for(self._positions_due.wait(), times.positions_every)
                await clock.sleep(times.positions_after_fill)  # the rest of the fills, and the broker's own books
            except TimeoutError:
                pass
            self._positions_due.clear()
            if not self._socket.up:
                continue  # all of it is read again when the gap is over
            try:
                found = await self._reads.positions(_READ_S)
            except TradingError as error:
                _log.info("positions could not be read for their values", error=error.message)
                continue
            self._tell_positions(found)

    def _tell_positions(self, found: Iterable[Position]) -> None:
        told = {(position.account, position.contract.con_id): position for position in found}
        # What was held and is not listed any more is held no more.
        closed = [replace(old, quantity=_NOTHING, as_of=None) for key, old in self._held.items() if key not in told]
        self._held = told
        self._emit(PositionSeen(position=position) for position in (*told.values(), *closed))


def _rows(message: Row) -> list[dict[str, Any]]:
    told = message.get("args")
    return [row for row in told if isinstance(row, dict)] if isinstance(told, list) else []


def _safely(tell: Callable[[], None]) -> None:
    try:
        tell()
    except Exception:  # noqa: BLE001 - logged; one row that cannot be read must not hold up the others
        _log.exception("a row of an order or trade could not be read")
