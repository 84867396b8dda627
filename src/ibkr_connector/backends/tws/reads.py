"""The reading half of the TWS backend, and what both halves stand on.

Numbered requests wait in the request table, the others in their channels (see `requests`). A read has one timeout, its
own; it neither paces nor retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, NoReturn

from ibkr_connector.backends.base import ExecutionRecords, HistoryRequest, Later, OrderRecords, WhatIf, WireOrder
from ibkr_connector.backends.facts import AccountValueSeen, CommissionSeen, OrderCompleted, OrderEchoed, OrderStatusSeen
from ibkr_connector.backends.ids import Ids
from ibkr_connector.backends.tws import history
from ibkr_connector.backends.tws.connection import Connection
from ibkr_connector.backends.tws.library import TwsLibrary
from ibkr_connector.backends.tws.orders import is_plain_text, library_contract, library_order
from ibkr_connector.backends.tws.requests import Answer, Request, at_once
from ibkr_connector.backends.tws.wrapper import Callbacks
from ibkr_connector.clock import Clock
from ibkr_connector.errors import InvalidRequest, NotConnected, ProtocolError, RequestTimeout, TradingError
from ibkr_connector.models.account import Execution, Position
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.models.market import Bar


class Reads:
    """State of the present connection, and the reads of `Backend`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids = Ids()
        self._library: TwsLibrary | None = None
        self._connection: Connection | None = None
        self._callbacks: Callbacks | None = None
        self._later: Later = at_once

    @property
    def connected(self) -> bool:
        """Whether the handshake is done and the transport is up."""
        return self._connection is not None and self._connection.usable

    # --- plumbing -------------------------------------------------------------------------------------------------

    def _live(self) -> tuple[Any, Callbacks, TwsLibrary]:
        """The library's client, our callbacks, the library. Raises `NotConnected`: nothing was written."""
        connection, callbacks, library = self._connection, self._callbacks, self._library
        if connection is None or callbacks is None or library is None or not connection.usable:
            raise NotConnected("there is no connection to TWS.")
        return connection.client, callbacks, library

    async def _ask(
        self,
        what: str,
        timeout: float,
        write: Callable[[int], None],
        *,
        release: Callable[[int], None] | None = None,
        partial: bool = False,
    ) -> Request:
        """Make a numbered request and wait for its end. `release` is written when it is given up early.

        With `partial`, what came until the timeout is returned with `complete` False; else it is a `RequestTimeout`.
        """
        _, callbacks, _ = self._live()
        req_id = self._ids.take()
        request = callbacks.requests.open(req_id, what, partial=partial)
        if partial:
            callbacks.execution_ids.add(req_id)
        try:
            write(req_id)
            await self._clock.wait_for(request.future, timeout)
        except TimeoutError as error:
            if isinstance(error, TradingError):
                raise
            self._release(release, req_id, callbacks)
            if not partial:
                timed_out(what, timeout)
            request.complete = False
        except asyncio.CancelledError:
            self._release(release, req_id, callbacks)
            raise
        finally:
            callbacks.requests.close(request)
        return request

    def _release(self, release: Callable[[int], None] | None, req_id: int, asked: Callbacks | None) -> None:
        """Give a request up, on the connection it was made on: a newer one knows nothing of it."""
        if release is not None and asked is self._callbacks:
            self._afterwards(lambda: release(req_id))

    def _afterwards(self, write: Callable[[], object]) -> None:
        """Write what nobody waits for, in its turn, if this connection is still up by then."""
        connection = self._connection

        def in_turn() -> bool:
            if connection is None or connection is not self._connection or not connection.usable:
                return False
            write()
            return True

        self._later(in_turn)

    # --- reads ----------------------------------------------------------------------------------------------------

    async def server_time(self, timeout: float) -> datetime:
        """IBKR's clock, UTC, whole seconds."""
        client, callbacks, _ = self._live()
        answer = await callbacks.time.ask(client.reqCurrentTime, timeout)
        if not answer.complete or not answer.items:
            timed_out("the broker's time", timeout)
        return answer.items[-1]

    async def positions(self, timeout: float) -> list[Position]:
        """All positions of all accounts of the login; zero positions included as sent. Later changes come as facts."""
        client, callbacks, _ = self._live()
        answer = await callbacks.positions.ask(client.reqPositions, timeout)
        if not answer.complete:
            if answer.damaged:
                raise ProtocolError("a part of the positions is unreadable; the rest would be a wrong list.")
            timed_out("positions", timeout)
        newest = {(row.account, row.contract.con_id): row for row in answer.items}
        return list(newest.values())

    async def account_values(self, account: str, timeout: float) -> list[AccountValueSeen]:
        """Every figure of `account`, per currency (a numbered request, so accounts do not disturb each other)."""
        client, _, _ = self._live()
        check_text("account", account)
        release = client.cancelAccountUpdatesMulti
        request = await self._ask(
            f"values of account {account}",
            timeout,
            lambda number: client.reqAccountUpdatesMulti(number, account, "", False),
            release=release,
        )
        self._release(release, request.req_id, self._callbacks)
        return list(request.items)

    async def open_orders(self, timeout: float, *, all_clients: bool = True) -> OrderRecords:
        """Orders that work now. A missing end marker: `complete` False, with what came."""
        client, callbacks, _ = self._live()
        write, variant = (client.reqAllOpenOrders, "all") if all_clients else (client.reqOpenOrders, "own")
        answer = await callbacks.open_orders.ask(write, timeout, variant=variant)
        return OrderRecords(
            echoes=tuple(row for row in answer.items if isinstance(row, OrderEchoed)),
            statuses=tuple(row for row in answer.items if isinstance(row, OrderStatusSeen)),
            complete=answer.complete,
        )

    async def completed_orders(self, timeout: float) -> OrderRecords:
        """Orders that ended today, manual ones too. A missing end marker: `complete` False, with what came."""
        client, callbacks, _ = self._live()
        answer: Answer[OrderCompleted] = await callbacks.completed_orders.ask(
            lambda: client.reqCompletedOrders(False), timeout
        )
        return OrderRecords(completed=answer.items, complete=answer.complete)

    async def executions(self, timeout: float, *, account: str = "") -> ExecutionRecords:
        """Executions since midnight, with the commissions that came with them. Missing end marker: `complete` False."""
        client, _, library = self._live()
        check_text("account", account)
        chosen = library.execution_filter(acctCode=account)
        request = await self._ask(
            "executions", timeout, lambda number: client.reqExecutions(number, chosen), partial=True
        )
        costs = {row.exec_id: row for row in request.items if isinstance(row, CommissionSeen)}
        found = tuple(_with_cost(row, costs) for row in request.items if isinstance(row, Execution))
        return ExecutionRecords(executions=found, complete=request.complete)

    async def contract_details(self, contract: Contract, timeout: float) -> list[ContractDetails]:
        """Every contract that fits. Raises `ContractNotFound` (`BrokerLinkLost` while the gateway has no link)."""
        client, _, library = self._live()
        wanted = library_contract(library, contract)
        request = await self._ask(
            f"contract details of {contract.symbol or contract.con_id}",
            timeout,
            lambda number: client.reqContractDetails(number, wanted),
        )
        return list(request.items)

    async def search_contracts(self, pattern: str, timeout: float) -> list[Contract]:
        """Contracts whose symbol or name starts with `pattern` (at most 16)."""
        client, _, _ = self._live()
        check_text("pattern", pattern)
        request = await self._ask(
            f"contracts like {pattern!r}", timeout, lambda number: client.reqMatchingSymbols(number, pattern)
        )
        return list(request.items)

    async def historical_bars(self, request: HistoryRequest, timeout: float) -> list[Bar]:
        """Bars, oldest first. Given up early, the query is cancelled at IBKR (it counts as open there)."""
        client, _, library = self._live()
        wanted = library_contract(library, request.contract, include_expired=request.contract.sec_type == "FUT")
        for field in ("duration", "bar_size", "what_to_show"):
            check_text(field, getattr(request, field))
        answer = await self._ask(
            history.describe(request),
            timeout,
            lambda number: client.reqHistoricalData(
                number,
                wanted,
                history.end_text(request),
                request.duration,
                request.bar_size,
                request.what_to_show,
                request.use_rth,
                history.FORMAT_EPOCH,
                False,
                [],
            ),
            release=client.cancelHistoricalData,
        )
        return history.bars(answer.items)

    async def head_timestamp(self, contract: Contract, what_to_show: str, timeout: float, *, use_rth: bool) -> datetime:
        """The earliest data available."""
        client, _, library = self._live()
        wanted = library_contract(library, contract, include_expired=contract.sec_type == "FUT")
        check_text("what_to_show", what_to_show)
        release = client.cancelHeadTimeStamp
        request = await self._ask(
            f"earliest {what_to_show} of {contract.symbol or contract.con_id}",
            timeout,
            lambda number: client.reqHeadTimeStamp(number, wanted, what_to_show, use_rth, history.FORMAT_EPOCH),
            release=release,
        )
        self._release(release, request.req_id, self._callbacks)
        return history.moment(request.items[-1])

    async def what_if(self, order: WireOrder, timeout: float) -> WhatIf:
        """The broker's preview. `order.order_id` 0 takes the next number. No fact of it reaches the sink."""
        client, callbacks, library = self._live()
        wanted = library_contract(library, order.contract)
        number = order.order_id or self._ids.take()
        preview = library_order(library, replace(order, order_id=number, what_if=True, transmit=True))
        self._ids.allow_from(number + 1)
        self._ids.what_ifs.add(number)
        request = callbacks.requests.open(number, f"preview of {order.action} {order.contract.symbol}")
        try:
            client.placeOrder(number, wanted, preview)
            await self._clock.wait_for(request.future, timeout)
        except TimeoutError as error:
            if isinstance(error, TradingError):
                raise
            timed_out(request.what, timeout)
        finally:
            callbacks.requests.close(request)
        answer: WhatIf = request.items[-1]
        return answer


def timed_out(what: str, timeout: float) -> NoReturn:
    """Raise `RequestTimeout`, naming what was asked."""
    raise RequestTimeout(f"no answer in {timeout:g} s to: {what}.", what=what, timeout=timeout) from None


def check_text(field: str, text: str) -> None:
    """Raise `InvalidRequest` for text that cannot go on the wire."""
    if not is_plain_text(text):
        raise InvalidRequest(
            f"{field}={text!r} is not printable ASCII.", field=field, value=text, legal="printable ASCII"
        )


def _with_cost(execution: Execution, costs: dict[str, CommissionSeen]) -> Execution:
    cost = costs.get(execution.exec_id)
    if cost is None:
        return execution
    return replace(
        execution, commission=cost.commission, commission_currency=cost.currency, realized_pnl=cost.realized_pnl
    )
