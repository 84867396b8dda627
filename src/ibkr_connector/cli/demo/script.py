"""What the demo does: one small trading day, through the public face of the connector."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from ibkr_connector.cli.commands.market import bars_table, quotes_table
from ibkr_connector.cli.commands.orders import orders_table
from ibkr_connector.cli.demo.child import GatewayProcess
from ibkr_connector.cli.demo.story import Story, sparkline
from ibkr_connector.cli.demo.ways import Way
from ibkr_connector.clock import system_clock
from ibkr_connector.errors import NoMarketData
from ibkr_connector.models.account import Execution, Position
from ibkr_connector.models.market import Quote
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.handle import Order

if TYPE_CHECKING:
    from ibkr_connector.connector import IBKRConnector

_MOST = 100
_WORTH = 20_000
"""Shares bought at a time, at most, and what they may be worth: well within the default risk limits."""
_TICKS = 5
_FILL_S = 20.0
_CENT = Decimal("0.01")
_QUOTE_S = 8.0
RECORDED_GAP_S = 120.0
"""Market seconds within which recorded minute data brings a change."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What the connector knows when it is over."""

    account: str = ""
    audit_head: dict[str, str | None] = field(default_factory=dict)
    """Of the audit trail, at start and stop."""
    placed: list[str] = field(default_factory=list)
    cash_before: Decimal = Decimal(0)
    cash_after: Decimal = Decimal(0)
    realized: Decimal | None = None
    """None for currencies: theirs leaves the commissions out."""
    commissions: Decimal = Decimal(0)
    executions: list[Execution] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    open_orders: list[OrderSnapshot] = field(default_factory=list)
    in_doubt: list[OrderSnapshot] = field(default_factory=list)


class Script:
    """The steps, in order. Each ends when what it is about has really happened."""

    def __init__(
        self, connector: IBKRConnector, gateway: GatewayProcess, story: Story, symbol: str, *, gap: float, way: Way
    ) -> None:
        self.connector = connector
        self.gateway = gateway
        self.story = story
        self.symbol = symbol
        self._way = way
        self._quote_s = max(_QUOTE_S, gap)
        self.outcome = Outcome()
        self._tick = Decimal("0.01")
        self._quantity = _MOST
        self._told = 0

    async def play(self) -> Outcome:
        """All steps. Raises what the connector raises."""
        await self._connect()
        await self._account()
        await self._bars()
        quote = await self._quotes()
        await self._market_order()
        await self._limit_order(quote)
        await self._bracket()
        await self._close_out()
        return self.outcome

    # --- reading ---------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        await self.story.step("Connect")
        begin = system_clock.monotonic()
        await self.connector.connect()
        seconds = system_clock.monotonic() - begin
        status = self.connector.get_connection_status()
        self.outcome.audit_head["start"] = status["audit_head"]
        told = await self.connector.get_server_time()
        library = self.connector.capabilities.library
        if self._way.web:
            signed = ", signed with OAuth 1.0a" if self._way.oauth else ""
            self.story.say(
                f"{library} to {self.gateway.web_url}{signed}: login, brokerage session, account, positions, orders "
                f"and executions read in {seconds:.2f} s, as fast as IBKR's limits of the Web API allow."
            )
        else:
            self.story.say(
                f"{library} over a TCP socket to 127.0.0.1:{self.gateway.port}: handshake, account, positions, orders "
                f"and executions read in {seconds:.2f} s, server version {status['server_version']}."
            )
        self.story.say(f"The gateway's market clock says {told:%A %Y-%m-%d %H:%M:%S} UTC.")
        self.story.keep(library=library, server_version=status["server_version"], seconds=round(seconds, 3))
        self._wire()

    async def _account(self) -> None:
        await self.story.step("Read the account")
        summary = await self.connector.get_account_summary()
        positions = await self.connector.get_positions()
        self.outcome.account = summary.account_id
        self.outcome.cash_before = summary.total_cash
        self.story.say(
            f"{summary.account_id}: cash {summary.total_cash:,.2f} {summary.currency}, buying power "
            f"{summary.buying_power:,.2f}, {len(positions)} positions."
        )
        self.story.keep(account=summary.account_id, cash=summary.total_cash, positions=len(positions))

    async def _bars(self) -> None:
        await self.story.step(f"Download bars of {self.symbol}")
        details = await self.connector.get_contract(self.symbol)
        self._tick = details.min_tick
        series = await self.connector.get_historical_data(self.symbol, "1 D", "1 min", use_rth=False)
        if not series:
            raise NoMarketData(f"there are no bars of {self.symbol}.", remedy="Choose another --symbol or --start.")
        self.story.say(
            f"{details.long_name or self.symbol} (conId {details.contract.con_id}, tick {details.min_tick}): "
            f"{len(series)} bars of {series.bar_size}, the last ones:"
        )
        self.story.show(bars_table(series[-3:], series))
        self.story.say(f"closes  {sparkline([bar.close for bar in series])}")
        self.story.keep(con_id=details.contract.con_id, bars=len(series), last_close=series[-1].close)

    async def _quotes(self) -> Quote:
        await self.story.step(f"Stream quotes of {self.symbol}")
        seen: list[Quote] = []
        async with self.connector.stream_quotes(self.symbol) as stream:
            while len(seen) < _TICKS:
                try:
                    quote = await system_clock.wait_for(anext(stream), self._quote_s)
                except TimeoutError:
                    raise NoMarketData(
                        f"only {len(seen)} quotes of {self.symbol} came in time.",
                        remedy="Choose another --start: is the market open then?",
                    ) from None
                # The first packets bring one value each, and some a new volume only: shown is what moved.
                if quote.mid is not None and (not seen or _book(quote) != _book(seen[-1])):
                    seen.append(quote)
        self.story.show(quotes_table([(self.symbol, quote) for quote in seen]))
        self.story.keep(quotes=len(seen))
        self._quantity = max(2, min(_MOST, int(_WORTH / (seen[-1].ask or _WORTH)) // 10 * 10))
        return seen[-1]

    # --- trading ---------------------------------------------------------------------------------------------------

    async def _market_order(self) -> None:
        await self.story.step(f"Market order: buy {self._quantity} {self.symbol}")
        order = await self.connector.place_market_order(self.symbol, self._quantity, "BUY")
        self._placed(order)
        await order.filled(_FILL_S)
        self._wire()
        self._tell(order)

    async def _limit_order(self, quote: Quote) -> None:
        await self.story.step("Limit order: rest, change, cancel")
        below = self._price(quote.bid, -2)
        order = await self.connector.place_limit_order(self.symbol, self._quantity, "BUY", below)
        self._placed(order)
        self.story.say(f"It rests at {below}, 2 % below the market: {order.status}.")
        self._wire()
        higher = self._price(quote.bid, -1.5)
        changed = await order.modify(limit_price=higher, quantity=self._quantity // 2)
        self.story.say(f"Changed to {changed.quantity} at {changed.limit_price}, confirmed by the broker's echo.")
        self._wire()
        ended = await order.cancel()
        self.story.say(f"Cancelled, and the broker's last word waited for: {ended.state.value}, filled {ended.filled}.")
        self._wire()
        self._tell(order)

    async def _bracket(self) -> None:
        await self.story.step("Bracket order: entry, target and stop as one group")
        quote = await self.connector.get_live_quote(self.symbol)
        entry, target, stop = self._price(quote.ask, 0.2), self._price(quote.ask, 1.5), self._price(quote.bid, -1)
        bracket = await self.connector.place_bracket_order(
            self.symbol, self._quantity, entry, action="BUY", take_profit_price=target, stop_loss_price=stop
        )
        self._placed(*bracket.legs)
        self.story.say(f"Buy {self._quantity} at {entry} or better, take profit at {target}, stop at {stop}.")
        await bracket.entry.filled(_FILL_S)
        self.story.say("The entry is filled; its two exits protect the position now.")
        self._wire()
        closer = self._price(quote.bid, -0.8)
        await bracket.stop_loss.modify(stop_price=closer)
        self.story.say(f"The stop was moved up to {closer}.")
        await bracket.cancel()
        self.story.say("Both exits were cancelled; the position is closed by hand next.")
        self._wire()
        self._tell(*bracket.legs)

    async def _close_out(self) -> None:
        await self.story.step("Go flat, and count the money")
        for position in await self.connector.get_positions():
            action = "SELL" if position.quantity > 0 else "BUY"
            order = await self.connector.place_market_order(position.contract, abs(position.quantity), action)
            self._placed(order)
            await order.filled(_FILL_S)
            self._tell(order)
        self._wire()
        await self._settled()
        end = self.outcome
        end.positions = await self.connector.get_positions(refresh=True)
        end.open_orders = await self.connector.get_open_orders(refresh=True)
        end.in_doubt = self.connector.orders_in_doubt()
        summary = await self.connector.get_account_summary(refresh=True)
        end.cash_after = summary.total_cash
        if self._way.web and end.realized is None:
            end.realized = await self._realized(end.cash_after - end.cash_before)
        self.story.keep(cash=summary.total_cash, net_liquidation=summary.net_liquidation)

    async def _settled(self) -> None:
        """Wait until every execution has its commission: the report follows the fill."""
        deadline = system_clock.monotonic() + self._way.settle_s
        while True:
            found = await self.connector.get_executions()
            complete = all(e.commission is not None for e in found)
            if complete or system_clock.monotonic() > deadline:
                break
            await system_clock.sleep(0.05)
        end = self.outcome
        end.executions = found
        end.commissions = sum((e.commission or Decimal(0) for e in found), Decimal(0))
        told = [e.realized_pnl for e in found if e.realized_pnl is not None and e.contract.sec_type != "CASH"]
        end.realized = sum(told, Decimal(0)) if told else None

    async def _realized(self, expected: Decimal) -> Decimal:
        """The account's realised profit: trades of the Web API tell none, and the account's stream follows them."""
        deadline = system_clock.monotonic() + self._way.settle_s
        while True:
            realized = (await self.connector.get_portfolio_pnl()).realized
            if abs(realized - expected) <= _CENT or system_clock.monotonic() > deadline:
                return realized
            await system_clock.sleep(0.05)

    # --- telling ---------------------------------------------------------------------------------------------------

    def _price(self, side: float | None, percent: float) -> Decimal:
        """A price so many percent from one side of the market, on the contract's grid."""
        if side is None:
            raise NoMarketData(f"{self.symbol} has no two-sided market.", remedy="Choose another --start or --symbol.")
        price = Decimal(str(side)) * (1 + Decimal(str(percent)) / 100)
        return (price / self._tick).quantize(Decimal(1), ROUND_DOWN) * self._tick

    def _placed(self, *orders: Order) -> None:
        self.outcome.placed += [order.ref for order in orders]

    def _tell(self, *orders: Order) -> None:
        self.story.show(orders_table([order.snapshot for order in orders]))
        self.story.keep(orders=[order.to_dict() for order in orders])

    def _wire(self) -> None:
        entries = self.gateway.truth.read(self._told)
        if entries:
            self._told = entries[-1]["seq"]
        self.story.wire(entries)
        asked = [entry["message_id"] for entry in entries if entry["kind"] == "question"]
        if asked:
            ids = ", ".join(asked)
            self.story.say(
                f"The broker asked before it took that ({ids}); `[web] confirm` names it: answered with yes."
            )
            self.story.keep(questions=asked)


def _book(quote: Quote) -> tuple[float | None, ...]:
    return (quote.bid, quote.ask, quote.last, quote.bid_size, quote.ask_size)
