"""What the library's decoder calls for every message: routes answers to who waits, and facts to the outlet.

The names are those of IBKR's EWrapper, as the decoder asks for them. Facts leave in the order of the wire, also those
that are part of an answer. What an error means is looked up in `codes`; what it is about is found by its number:

1. no number (-1), or a code about the link or a farm: a `SystemNotice`;
2. the id of an order written or echoed in this connection: an `OrderNotice`;
3. an open request, or a market data line: its typed error, unless the code ends nothing;
4. otherwise (a request that was given up, an order of an earlier connection that was not echoed yet): an `OrderNotice`
   if the code is about orders, else a debug log line. Nobody waits for it, and it proves nothing.
"""

# ruff: noqa: N802, N815, PLR0917 - names and parameters are IBKR's
from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from ibkr_connector.backends.base import Later
from ibkr_connector.backends.facts import (
    AccountValueSeen,
    ExecutionSeen,
    NextIdTold,
    OrderEchoed,
    OrderNotice,
    OrderStatusSeen,
    PnlSeen,
    PositionSeen,
    SystemNotice,
)
from ibkr_connector.backends.ids import Ids
from ibkr_connector.backends.outlet import Outlet
from ibkr_connector.backends.tws import convert
from ibkr_connector.backends.tws.codes import LINK_DOWN, LINK_UP, CodeInfo, Kind, classify, to_error
from ibkr_connector.backends.tws.market import LineTable
from ibkr_connector.backends.tws.requests import Channel, RequestTable, at_once
from ibkr_connector.clock import Clock
from ibkr_connector.errors import ReadOnlyApi, TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.models.account import Position

_log = get_logger(__name__)
_NO_ID = 2**31 - 1
"""What some builds send instead of -1."""


class Callbacks:
    """The library's view of us, for one connection."""

    def __init__(self, *, client_id: int, clock: Clock, ids: Ids, outlet: Outlet, later: Later = at_once) -> None:
        self.client_id = client_id
        self.ids = ids
        self.requests = RequestTable()
        self.positions: Channel[Position] = Channel("positions", clock, later=later)
        self.open_orders: Channel[OrderEchoed | OrderStatusSeen] = Channel("open orders", clock, later=later)
        self.completed_orders: Channel[Any] = Channel("completed orders", clock, later=later)
        self.time: Channel[datetime] = Channel("the broker's time", clock, later=later)
        self.lines = LineTable(clock.now)
        self.accounts: tuple[str, ...] = ()
        self.pnl_accounts: dict[int, str] = {}
        self.execution_ids: set[int] = set()
        """Numbers of requests for executions: what carries one is a replay."""
        self.link_up = True
        self.ready = False
        self.on_ready: Callable[[], None] = _nothing
        self.on_version: Callable[[], None] = _nothing
        self.on_refused: Callable[[int, str], None] = lambda _code, _text: None
        self.on_packet: Callable[[], None] = _nothing
        self.cancel_line: Callable[[int], None] = lambda _req_id: None
        self._emit = outlet.emit
        self._now = clock.now
        self._id_told = False
        # The decoder asks for these: the zone of execution times that carry none ("" = this machine's), and the zone
        # to tell times in.
        self.ib = SimpleNamespace(TimezoneTWS="")
        self.defaultTimezone = UTC
        # The hot path: no call between the decoder and the table.
        self.priceSizeTick = self.lines.price_tick
        self.tickSize = self.lines.size_tick
        self.tickGeneric = self.lines.generic_tick
        self.tickString = self.lines.string_tick
        self.tickSnapshotEnd = self.lines.snapshot_end
        self.marketDataType = self.lines.kind

    # --- connection -----------------------------------------------------------------------------------------------

    def connectAck(self) -> None:
        """The version frame came; startApi was sent."""
        self.on_version()

    def nextValidId(self, order_id: int) -> None:
        """The lowest order id that may be used."""
        self.ids.allow_from(order_id)
        self._id_told = True
        self._emit(NextIdTold(order_id=order_id))
        self._maybe_ready()

    def managedAccounts(self, accounts: str) -> None:
        """The accounts of the login. An empty list means that the login is not finished."""
        self.accounts = tuple(name.strip() for name in accounts.split(",") if name.strip())
        self._maybe_ready()

    def _maybe_ready(self) -> None:
        if self._id_told and self.accounts and not self.ready:
            self.ready = True
            self.on_ready()

    def tcpDataProcessed(self) -> None:
        """A packet was taken in."""
        self.lines.flush()
        self.on_packet()

    # --- errors ---------------------------------------------------------------------------------------------------

    def error(self, req_id: int, code: int, text: str, reject_json: str = "") -> None:
        """A message with a code; see the module's docstring."""
        info = classify(code, text)
        if code in LINK_DOWN:
            self.link_up = False
        elif code in LINK_UP:
            self.link_up = True
        if not self.ready and info.kind is Kind.CONNECTION:
            self.on_refused(code, text)
        if req_id <= 0 or req_id == _NO_ID or info.kind in (Kind.LINK, Kind.FARM):
            self._emit(SystemNotice(code=code, text=text))
            if info.error is ReadOnlyApi:
                # Asking for orders is refused without a number; nothing else un-numbered is.
                for channel in (self.open_orders, self.completed_orders):
                    channel.fail(lambda what: to_error(code, text, what=what))
        elif req_id in self.ids.orders:
            self._emit(OrderNotice(order_id=req_id, code=code, text=text, reject_json=reject_json))
        else:
            self._request_error(req_id, info, text, reject_json)

    def _request_error(self, req_id: int, info: CodeInfo, text: str, reject_json: str) -> None:
        request = self.requests.get(req_id)
        line = self.lines.get(req_id)
        if request is None and line is None and info.kind is Kind.ORDER:
            self._emit(OrderNotice(order_id=req_id, code=info.code, text=text, reject_json=reject_json))
        elif not info.ends_request or (request is None and line is None):
            _log.debug("a message that ends nothing", code=info.code, number=req_id, text=text)
        elif request is not None:
            request.fail(to_error(info.code, text, what=request.what, link_up=self.link_up, req_id=req_id))
        elif line is not None:
            what = f"market data of {line.symbol or line.con_id}"
            self.lines.fail(req_id, to_error(info.code, text, what=what, link_up=self.link_up, con_id=line.con_id))
            if info.stream_may_live:
                self.cancel_line(req_id)

    # --- orders ---------------------------------------------------------------------------------------------------

    def openOrder(self, order_id: int, contract: Any, order: Any, state: Any) -> None:
        """An order as the broker holds it, or the answer to a preview."""
        if order.whatIf:
            request = self.requests.get(order_id)
            if request is not None:
                request.items.append(convert.what_if(state))
                request.finish()
            return
        echo = convert.order_echo(order_id, contract, order, state)
        if echo.client_id == self.client_id:
            self.ids.saw_order(order_id)
            self.ids.what_ifs.discard(order_id)
        self.open_orders.add(echo)
        self._emit(echo)

    def orderStatus(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        avg_fill_price: float,
        perm_id: int,
        parent_id: int,
        last_fill_price: float,
        client_id: int,
        why_held: str,
        market_cap_price: float = 0.0,
    ) -> None:
        """Where an order stands."""
        seen = convert.order_status(
            order_id, status, filled, remaining, avg_fill_price, perm_id, parent_id, client_id, why_held
        )
        if client_id == self.client_id:
            if order_id in self.ids.what_ifs:
                return
            self.ids.saw_order(order_id)
        self.open_orders.add(seen)
        self._emit(seen)

    def openOrderEnd(self) -> None:
        """All open orders were told."""
        self.open_orders.end()

    def completedOrder(self, contract: Any, order: Any, state: Any) -> None:
        """An order that ended today."""
        completed = convert.completed_order(contract, order, state)
        self.completed_orders.add(completed)
        self._emit(completed)

    def completedOrdersEnd(self) -> None:
        """All completed orders were told."""
        self.completed_orders.end()

    def execDetails(self, req_id: int, contract: Any, execution: Any) -> None:
        """A fill, live or as part of an answer."""
        seen = convert.execution(contract, execution)
        if seen.client_id == self.client_id:
            self.ids.saw_order(seen.order_id)
        self.requests.add(req_id, seen)
        self._emit(ExecutionSeen(execution=seen, replayed=req_id in self.execution_ids))

    def execDetailsEnd(self, req_id: int) -> None:
        """All executions were told."""
        self.requests.finish(req_id)

    def commissionReport(self, report: Any) -> None:
        """What a fill cost."""
        seen = convert.commission(report)
        if seen is None:
            return
        self.requests.add_to_partial(seen)
        self._emit(seen)

    # --- account --------------------------------------------------------------------------------------------------

    def position(self, account: str, contract: Any, quantity: float, avg_cost: float) -> None:
        """A position: part of an answer, or news."""
        seen = convert.position(account, contract, quantity, avg_cost, self._now())
        if self.positions.busy:
            self.positions.add(seen)
        else:
            self._emit(PositionSeen(position=seen))

    def positionEnd(self) -> None:
        """All positions were told."""
        self.positions.end()

    def updatePortfolio(
        self,
        contract: Any,
        quantity: float,
        price: float,
        value: float,
        avg_cost: float,
        unrealized: float,
        realized: float,
        account: str,
    ) -> None:
        """A position with its value."""
        item = convert.portfolio_item(
            contract, quantity, price, value, avg_cost, unrealized, realized, account, self._now()
        )
        self._emit(PositionSeen(position=item))

    def updateAccountValue(self, key: str, value: str, currency: str, account: str) -> None:
        """One figure of the subscribed account."""
        self._emit(AccountValueSeen(account=account, key=key, value=value, currency=currency))

    def accountUpdateMulti(self, req_id: int, account: str, model: str, key: str, value: str, currency: str) -> None:
        """One figure of the account that was asked for."""
        self.requests.add(req_id, AccountValueSeen(account=account, key=key, value=value, currency=currency))

    def accountUpdateMultiEnd(self, req_id: int) -> None:
        """All figures were told."""
        self.requests.finish(req_id)

    def pnl(self, req_id: int, daily: float, unrealized: float, realized: float) -> None:
        """Profit and loss of a subscribed account."""
        account = self.pnl_accounts.get(req_id)
        if account is not None:
            self._emit(PnlSeen(pnl=convert.pnl(account, daily, unrealized, realized, self._now())))

    def currentTime(self, seconds: int) -> None:
        """The broker's clock."""
        self.time.add(datetime.fromtimestamp(seconds, UTC))
        self.time.end()

    # --- contracts, history ---------------------------------------------------------------------------------------

    def contractDetails(self, req_id: int, details: Any) -> None:
        """One contract that fits."""
        self.requests.add(req_id, convert.contract_details(details))

    def bondContractDetails(self, req_id: int, details: Any) -> None:
        """One bond that fits."""
        self.requests.add(req_id, convert.contract_details(details))

    def contractDetailsEnd(self, req_id: int) -> None:
        """All contracts that fit were told."""
        self.requests.finish(req_id)

    def symbolSamples(self, req_id: int, descriptions: list[Any]) -> None:
        """The whole answer to a symbol search."""
        for found in convert.found_contracts(descriptions):
            self.requests.add(req_id, found)
        self.requests.finish(req_id)

    def historicalData(self, req_id: int, bar: Any) -> None:
        """One bar."""
        self.requests.add(req_id, bar)

    def historicalDataEnd(self, req_id: int, start: str, end: str) -> None:
        """All bars were told."""
        self.requests.finish(req_id)

    def headTimestamp(self, req_id: int, text: str) -> None:
        """The earliest data there is."""
        self.requests.add(req_id, text)
        self.requests.finish(req_id)

    # --- the rest: nothing of it was asked for --------------------------------------------------------------------

    def _ignored(self, *_args: Any) -> None:
        """A message that nobody here asks for."""

    setEventsDone = connectionClosed = updateAccountTime = accountDownloadEnd = _ignored
    accountSummary = accountSummaryEnd = positionMulti = positionMultiEnd = pnlSingle = orderBound = _ignored
    tickReqParams = tickOptionComputation = tickEFP = tickNews = deltaNeutralValidation = _ignored
    tickByTickAllLast = tickByTickBidAsk = tickByTickMidPoint = realtimeBar = historicalDataUpdate = _ignored
    historicalTicks = historicalTicksBidAsk = historicalTicksLast = historicalSchedule = histogramData = _ignored
    updateMktDepth = updateMktDepthL2 = mktDepthExchanges = smartComponents = marketRule = _ignored
    rerouteMktDataReq = rerouteMktDepthReq = securityDefinitionOptionParameter = _ignored
    securityDefinitionOptionParameterEnd = softDollarTiers = familyCodes = scannerData = scannerDataEnd = _ignored
    scannerParameters = fundamentalData = newsProviders = newsArticle = historicalNews = historicalNewsEnd = _ignored
    updateNewsBulletin = receiveFA = replaceFAEnd = wshMetaData = wshEventData = userInfo = _ignored
    verifyMessageAPI = verifyCompleted = verifyAndAuthMessageAPI = verifyAndAuthCompleted = _ignored
    displayGroupList = displayGroupUpdated = _ignored

    # --- ends -----------------------------------------------------------------------------------------------------

    def fail_reads(self, make: Callable[[str], TradingError]) -> None:
        """End every waiting read with `make(what)`; lines fall silent (their owner is told of the connection)."""
        self.requests.fail_all(make)
        for channel in (self.positions, self.open_orders, self.completed_orders, self.time):
            channel.fail(make)
        self.lines.fail_snapshots(make)
        self.lines.clear()


def _nothing() -> None:
    """A hook that nobody uses."""
