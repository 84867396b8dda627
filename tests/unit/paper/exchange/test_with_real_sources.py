"""The exchange with the gateway's own markets, contracts and fees; the market source itself judges every fill."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.book import Exchange
from ibkr_connector.paper.exchange.types import AccountSpec, Charged, ExchangeEvent, Filled, OrderChanged, OrderTicket
from ibkr_connector.paper.instruments import ContractQuery, Instrument, InstrumentBook
from ibkr_connector.paper.market import MarketSource, parse_market
from ibkr_connector.paper.truth import TruthLog
from unit.paper.exchange.kit import ACCOUNT, NEW_YORK, HandClock

SYNTHETIC_START = datetime(2026, 3, 12, 10, tzinfo=NEW_YORK).astimezone(UTC)
LEAN_START = datetime(2013, 10, 8, 10, tzinfo=NEW_YORK).astimezone(UTC)


class Desk:
    """An exchange over a market source, and everything it said."""

    def __init__(self, market: MarketSource, start: datetime, seed: int = 1) -> None:
        self.clock = HandClock(start)
        self.market = market
        self.book = InstrumentBook(lambda: self.clock.now().date())
        self.truth = TruthLog(clock=self.clock)
        self.events: list[ExchangeEvent] = []
        self.exchange = Exchange(
            clock=self.clock,
            market=market,
            instruments=self.book,
            accounts=[AccountSpec(name=ACCOUNT, initial_cash=Decimal(10_000_000))],
            truth=self.truth,
            seed=seed,
            behavior=ExchangeBehavior(),
        )
        self.exchange.listen(self.events.append)

    def find(self, symbol: str, sec_type: str = "STK") -> Instrument:
        return self.book.resolve(ContractQuery(symbol=symbol, sec_type=sec_type, currency="USD"))[0]

    def run(self, seconds: float) -> None:
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.clock.now() < end:
            due = self.exchange.next_event_at()
            self.clock.set(end if due is None else min(max(due, self.clock.now()), end))
            self.exchange.advance()

    def order(self, instrument: Instrument, action: str, quantity: int, kind: str, limit: Decimal | None) -> None:
        self.exchange.place(
            OrderTicket(
                client_id=1,
                order_id=self.exchange.next_order_id(1),
                instrument=instrument,
                account=ACCOUNT,
                action=action,
                quantity=Decimal(quantity),
                order_type=kind,
                limit_price=limit,
            )
        )

    def trade_at_random(self, instruments: list[Instrument], orders: int, seed: int) -> None:
        rng = random.Random(seed)
        for instrument in instruments:
            self.exchange.watch(instrument)
        for _ in range(orders):
            instrument = rng.choice(instruments)
            quote = self.exchange.quote(instrument)
            assert quote is not None
            action, kind = rng.choice(["BUY", "SELL"]), rng.choice(["MKT", "LMT", "LMT"])
            near = quote.bid if action == "BUY" else quote.ask
            assert near is not None
            away = instrument.min_tick * rng.randint(-2, 2)
            size = {"STK": rng.randint(1, 500), "FUT": rng.randint(1, 3), "CASH": rng.randint(1, 50) * 1_000}
            limit = near + away if kind == "LMT" else None
            self.order(instrument, action, size[instrument.sec_type], kind, limit)
            self.run(rng.uniform(1, 60))
        self.run(120)

    def check(self) -> tuple[int, int]:
        """Judge every fill by the source; returns how many took and how many rested."""
        took = rested = 0
        limits = {
            e.order.ticket.order_id: e.order.ticket.limit_price for e in self.events if isinstance(e, OrderChanged)
        }
        for event in self.events:
            if not isinstance(event, Filled):
                continue
            fill = event.execution
            quote = self.market.quote_at(fill.instrument, fill.at)
            assert quote is not None
            far = quote.ask if fill.side == "BOT" else quote.bid
            assert far is not None
            if fill.liquidity == 2:
                took += 1
                assert fill.price >= far if fill.side == "BOT" else fill.price <= far
            else:
                rested += 1
                assert fill.price == limits[fill.order_id]
                last = self.market.last_trade_at(fill.instrument, fill.at)
                crossed = far <= fill.price if fill.side == "BOT" else far >= fill.price
                printed = last is not None and (
                    last.price <= fill.price if fill.side == "BOT" else last.price >= fill.price
                )
                assert crossed or printed
        return took, rested

    def check_money(self) -> None:
        account = self.exchange._core.accounts[ACCOUNT]
        gained = account.net_liquidation() - account.spec.initial_cash
        assert abs(gained - account.realized_in() - account.unrealized_in()) < Decimal("1e-9")
        charged = sum((e.commission.amount for e in self.events if isinstance(e, Charged)), Decimal(0))
        assert charged == sum(account.commissions.values(), Decimal(0)) > 0
        assert charged == charged.quantize(Decimal("0.01"))


@pytest.mark.parametrize("seed", [1, 2])
def test_an_hour_of_the_synthetic_market_flatters_nobody_and_the_books_balance(seed: int) -> None:
    desk = Desk(parse_market("synthetic", seed=seed), SYNTHETIC_START)
    instruments = [desk.find("AAPL"), desk.find("SPY"), desk.find("ES", "FUT"), desk.find("EUR", "CASH")]
    desk.trade_at_random(instruments, 60, seed)
    took, rested = desk.check()
    assert took > 20
    assert rested > 5
    desk.check_money()


@pytest.mark.shared
def test_real_quotes_of_october_2013_are_never_beaten(shared_dir: Path) -> None:
    desk = Desk(parse_market(f"lean:{shared_dir / 'data' / 'lean'}"), LEAN_START)
    desk.trade_at_random([desk.find("SPY"), desk.find("IBM"), desk.find("BAC")], 40, 3)
    took, _ = desk.check()
    assert took > 10
    desk.check_money()


def test_orders_held_overnight_work_at_the_next_open_of_the_synthetic_market() -> None:
    desk = Desk(parse_market("synthetic"), SYNTHETIC_START + timedelta(hours=11))
    aapl = desk.find("AAPL")
    desk.order(aapl, "BUY", 10, "MKT", None)
    desk.run(13 * 3600)
    fills = [e.execution for e in desk.events if isinstance(e, Filled)]
    opened = datetime(2026, 3, 13, 9, 30, tzinfo=NEW_YORK)
    assert fills
    assert opened <= fills[0].at < opened + timedelta(minutes=1)
    desk.check()


def test_day_stats_and_quotes_come_from_the_source() -> None:
    desk = Desk(parse_market("synthetic"), SYNTHETIC_START)
    aapl = desk.find("AAPL")
    desk.exchange.watch(aapl)
    desk.run(600)
    now = desk.clock.now()
    assert desk.exchange.quote(aapl) == desk.market.quote_at(aapl, now)
    assert desk.exchange.last_trade(aapl) == desk.market.last_trade_at(aapl, now)
    stats = desk.exchange.day_stats(aapl)
    assert None not in {stats.open, stats.high, stats.low, stats.close}
    assert stats.low is not None
    assert stats.high is not None
    before = stats
    desk.run(1200)
    after = desk.exchange.day_stats(aapl)
    assert after.open == before.open
    assert after.high is not None
    assert after.low is not None
    assert after.high >= stats.high
    assert after.low <= stats.low
    assert after.volume > before.volume
    fresh = Desk(desk.market, desk.clock.now()).exchange.day_stats(aapl)
    assert (after.open, after.high, after.low, after.close) == (fresh.open, fresh.high, fresh.low, fresh.close)
