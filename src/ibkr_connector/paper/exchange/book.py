"""The exchange: takes orders, matches them against the market, keeps the accounts, and says what happened.

Synchronous and without I/O: time comes from the injected clock, and whatever is due happens in `advance`. Nothing here
knows a wire format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta

from ..instruments import Instrument
from ..market.base import Quote, Trade
from ..sessions import NEW_YORK
from .behavior import ExchangeBehavior
from .core import Core
from .desk import Desk
from .lifecycle import Lifecycle
from .margin import MarginRules
from .mishaps import Mishaps
from .orders import Order, Stage
from .ports import Clock, Contracts, Fees, MarketFeed, Truth
from .preview import preview
from .reports import Listener
from .statement import account_values
from .tape import Tape
from .types import (
    AccountChanged,
    AccountSpec,
    AccountValue,
    Commission,
    DayStats,
    Execution,
    MarginPreview,
    OrderMessage,
    OrderStatus,
    OrderTicket,
    OrderView,
    PnlView,
    PositionView,
    QuoteChanged,
    TradePrinted,
)

DAY_ENDS = time(17)
"""New York time at which a profit-and-loss day ends."""
_SIDES = {"BUY": "BOT", "SELL": "SLD"}


class Exchange:
    """The facade the fronts call, all on one thread. `paper/exchange/types.py` has the words.

    Orders, ids and accounts outlive every connection. Requests are answered by events only: errors in an order never
    raise.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        market: MarketFeed,
        instruments: Contracts,
        accounts: Sequence[AccountSpec],
        truth: Truth,
        seed: int = 0,
        fees: Fees | None = None,
        behavior: ExchangeBehavior | None = None,
        margin_rules: MarginRules | None = None,
    ) -> None:
        if not accounts:
            raise ValueError('an exchange needs at least one account: pass AccountSpec(name="DU1234567")')
        if len({spec.name for spec in accounts}) != len(accounts):
            raise ValueError("two accounts have the same name: give each its own")
        self._core = Core(
            clock=clock,
            market=market,
            contracts=instruments,
            accounts=accounts,
            truth=truth,
            seed=seed,
            fees=fees,
            behavior=behavior if behavior is not None else ExchangeBehavior(),
            margin_rules=margin_rules if margin_rules is not None else MarginRules(),
        )
        self._life = Lifecycle(self._core)
        self._desk = Desk(self._core, self._life)
        self.mishaps = Mishaps(self._core)
        """Accidents to ask for; none happens by itself."""
        self._advancing = False
        self._schedule_day_end()

    # --- time ---

    @property
    def now(self) -> datetime:
        """The market time up to which everything has happened."""
        return self._core.now

    def advance(self, now: datetime | None = None) -> None:
        """Let everything happen that is due by `now` (the clock's time by default), in the order of its time.

        Of several things at one time the market comes first: a quote is in force from its own stamp on.
        """
        core = self._core
        if self._advancing:
            return
        target = core.clock.now() if now is None else now
        self._advancing = True
        try:
            while True:
                market_at, timer_at = core.feed.next_at(), core.timeline.next_at()
                if market_at is not None and (timer_at is None or market_at <= timer_at):
                    if market_at > target:
                        break
                    core.now = max(core.now, market_at)
                    self._market_event(*core.feed.pop())
                elif timer_at is not None and timer_at <= target:
                    core.now = max(core.now, timer_at)
                    core.timeline.run_next()
                else:
                    break
                core.report.flush()
            core.now = max(core.now, target)
        finally:
            self._advancing = False
        core.report.flush()

    def next_event_at(self) -> datetime | None:
        """The market time at which `advance` has something to do next; None while nothing is to come."""
        times = [at for at in (self._core.feed.next_at(), self._core.timeline.next_at()) if at is not None]
        return min(times, default=None)

    def _market_event(self, tape: Tape, event: Quote | Trade) -> None:
        core, instrument = self._core, tape.instrument
        book = self._life.book(instrument)
        if isinstance(event, Quote):
            tape.on_quote(event)
            if tape.watchers:
                core.report.put(
                    QuoteChanged(
                        instrument=instrument,
                        at=event.at,
                        bid=event.bid,
                        ask=event.ask,
                        bid_size=event.bid_size,
                        ask_size=event.ask_size,
                    )
                )
            book.on_quote(event, core.now)
        else:
            tape.on_trade(event)
            if tape.watchers:
                core.report.put(TradePrinted(instrument=instrument, at=event.at, price=event.price, size=event.size))
            book.on_trade(event, core.now)

    def _schedule_day_end(self) -> None:
        local = self._core.now.astimezone(NEW_YORK)
        day = local.date() if local.time() < DAY_ENDS else local.date() + timedelta(days=1)
        self._core.timeline.at(datetime.combine(day, DAY_ENDS, NEW_YORK), self._end_day)

    def _end_day(self) -> None:
        for account in self._core.accounts.values():
            account.start_day()
            self._core.report.put(AccountChanged(account=account.name))
        self._schedule_day_end()

    # --- listening and the market ---

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Hear every event; call the result to stop."""
        return self._core.report.listen(callback)

    def watch(self, instrument: Instrument) -> None:
        """Send QuoteChanged and TradePrinted for an instrument. Counted: each watch needs its unwatch."""
        self._catch_up()
        self._core.tape(instrument).watchers += 1
        self._core.mind(instrument)

    def unwatch(self, instrument: Instrument) -> None:
        """Take back one watch; more than were made is a ValueError."""
        tape = self._core.tape(instrument)
        if tape.watchers <= 0:
            raise ValueError(f"{instrument.local_symbol} is not watched: unwatch once per watch")
        tape.watchers -= 1
        self._core.mind(instrument)

    def quote(self, instrument: Instrument) -> Quote | None:
        """The quote in force."""
        return self._core.feed.look_up(self._core.tape(instrument), self._core.now)

    def last_trade(self, instrument: Instrument) -> Trade | None:
        """The last print."""
        return self._core.feed.look_up_trade(self._core.tape(instrument), self._core.now)

    def day_stats(self, instrument: Instrument) -> DayStats:
        """Open, high, low and volume of the session in progress or the last one, and the close before it."""
        return self._core.tape(instrument).day_stats(self._core.market, self._core.now)

    def halt(self, instrument: Instrument) -> None:
        """Halt trading in an instrument: orders are taken, nothing matches."""
        self._catch_up()
        self._core.tape(instrument).halted = True
        self._core.report.record("halt", con_id=instrument.con_id, symbol=instrument.symbol)

    def is_halted(self, instrument: Instrument) -> bool:
        """Whether trading in an instrument is halted."""
        return self._core.tape(instrument).halted

    def resume(self, instrument: Instrument) -> None:
        """End a halt: orders match from the next quote on."""
        self._catch_up()
        self._core.tape(instrument).halted = False
        self._core.report.record("resume", con_id=instrument.con_id, symbol=instrument.symbol)

    def cut_link(self) -> None:
        """The broker can no longer be reached: requests wait, and the gateway shows what it knew. See `mishaps`."""
        self._catch_up()
        self.mishaps.cut(self.open_orders(None), self.positions(None))

    # --- orders ---

    def place(self, ticket: OrderTicket, *, recorded: bool = False) -> None:
        """A new order, or a change of the live order with the same client and order id. Everything comes as events.

        What-if tickets go to `preview` (ValueError here). `recorded`: its arrival is in the truth log already.
        """
        if ticket.what_if:
            raise ValueError("a what-if order is not placed: call preview(ticket)")
        self._catch_up()
        self._desk.place(ticket, recorded=recorded)
        self._core.report.flush()

    def preview(self, ticket: OrderTicket) -> MarginPreview | OrderMessage:
        """What an order would require and cost, or why the gateway refuses it. Changes nothing."""
        self._catch_up()
        return preview(self._core, self._desk.normalized(ticket))

    def cancel(self, client_id: int, order_id: int, *, any_client: bool = False, source: str = "tws") -> None:
        """Cancel an order of this client, or with `any_client` the live order of that id whoever placed it."""
        self._catch_up()
        self._desk.cancel(client_id, order_id, any_client=any_client, source=source)
        self._core.report.flush()

    def global_cancel(self, client_id: int, *, source: str = "tws") -> None:
        """Cancel every live order of every client; `client_id` is who asked."""
        self._catch_up()
        self._desk.cancel_all(client_id, source)
        self._core.report.flush()

    def next_order_id(self, client_id: int) -> int:
        """The next valid order id of a client: above every id it ever used."""
        return self._core.order_ids.next(client_id)

    def order(self, client_id: int, order_id: int) -> OrderView | None:
        """An order by its client and id, live or finished."""
        order = self._core.registry.get(client_id, order_id)
        return None if order is None else order.view()

    def order_by_perm_id(self, perm_id: int) -> OrderView | None:
        """An order by its permanent id, live or finished."""
        order = self._core.registry.by_perm_id(perm_id)
        return None if order is None else order.view()

    def open_orders(self, client_id: int | None = None) -> list[OrderView]:
        """The unfinished orders of a client (None = of all), oldest first; those not transmitted are not shown."""
        known = self._core.link.known
        if known is not None:
            views = known.open_orders
        else:
            hidden = {Stage.HELD, Stage.SENT}
            views = [order.view() for order in self._core.registry.live() if order.stage not in hidden]
        return [view for view in views if client_id is None or view.ticket.client_id == client_id]

    def completed_orders(self, api_only: bool = False) -> list[OrderView]:
        """The orders that ended today, oldest first. All orders here came through the API: `api_only` has no effect.

        Rejected orders are shown as Cancelled, as a real gateway does although it called them Inactive before.
        """
        since, known = self._window(), self._core.link.known
        return [
            _completed(order)
            for order in (self._core.registry.completed if known is None else known.completed)
            if order.completed_at is not None
            and order.completed_at >= since
            and order.status is not OrderStatus.API_CANCELLED
        ]

    def executions(
        self,
        account: str = "",
        symbol: str = "",
        sec_type: str = "",
        side: str = "",
        since: datetime | None = None,
        client_id: int = 0,
        days: int | None = None,
    ) -> list[tuple[Execution, Commission | None]]:
        """Today's executions that fit every criterion given, oldest first, each with its commission once reported.

        `days` reaches further back than the exchange's behavior says, today included. `side` is BUY/SELL or BOT/SLD;
        `client_id` 0 means every client's.
        """
        start, known = self._window(days), self._core.link.known
        earliest = start if since is None else max(start, since)
        wanted = _SIDES.get(side.upper(), side.upper())
        return [
            (record.execution, record.commission)
            for record in (self._core.registry.executions if known is None else known.executions)
            if record.execution.at >= earliest
            and (not account or record.execution.account == account)
            and (not symbol or record.execution.instrument.symbol == symbol)
            and (not sec_type or record.execution.instrument.sec_type == sec_type)
            and (not wanted or record.execution.side == wanted)
            and (not client_id or record.execution.client_id == client_id)
        ]

    def _window(self, days: int | None = None) -> datetime:
        """Midnight in New York, of today or (behavior.execution_days) some days before."""
        local = self._core.now.astimezone(NEW_YORK)
        day = local.date() - timedelta(days=(days or self._core.behavior.execution_days) - 1)
        return datetime.combine(day, time(), NEW_YORK)

    # --- accounts ---

    @property
    def accounts(self) -> list[str]:
        """The names of the accounts."""
        return list(self._core.accounts)

    def account_values(self, account: str) -> list[AccountValue]:
        """Every figure of an account. An unknown account is a KeyError, here and below."""
        return account_values(self._core.accounts[account], self._core.margin, self._core.now)

    def positions(self, account: str | None = None) -> list[PositionView]:
        """The open positions of an account, or of all."""
        known = self._core.link.known
        if known is not None:
            return [view for view in known.positions if account in {None, view.account}]
        chosen = self._core.accounts.values() if account is None else [self._core.accounts[account]]
        return [books.view(p) for books in chosen for p in books.positions.values() if p.quantity]

    def pnl(self, account: str) -> PnlView:
        """Today's profit and loss, base currency."""
        books = self._core.accounts[account]
        return PnlView(
            account=account,
            daily=books.net_liquidation() - books.day_start_value,
            unrealized=books.unrealized_in(),
            realized=books.realized_in(today=True),
        )

    def pnl_single(self, account: str, con_id: int) -> PositionView | None:
        """One position, also a closed one (quantity 0); None when the account never had it."""
        books = self._core.accounts[account]
        position = books.positions.get(con_id)
        return None if position is None else books.view(position)

    def _catch_up(self) -> None:
        """Before a request: whatever the market did until now happened before it."""
        self.advance()


def _completed(order: Order) -> OrderView:
    view = order.view()
    return replace(view, status=OrderStatus.CANCELLED) if view.status is OrderStatus.INACTIVE else view
