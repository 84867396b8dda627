"""Money adds up: cash, cost, profit and margin."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.exchange.accounts import Account
from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.prices import NoExchangeRateError
from ibkr_connector.paper.exchange.types import AccountChanged, AccountSpec, Charged
from ibkr_connector.paper.instruments import Instrument
from unit.paper.exchange.kit import AAPL, ACCOUNT, ES, EURUSD, MSFT, World, d, ds

TINY = Decimal("1e-12")


@pytest.fixture
def world() -> World:
    made = World(behavior=ExchangeBehavior.instant())
    made.quote("100.00", "100.00")
    return made


class FixedPrices:
    """Marks and rates set by the test."""

    def __init__(self) -> None:
        self.marks: dict[int, Decimal] = {}
        self.rates: dict[str, Decimal] = {}

    def mark(self, instrument: Instrument) -> Decimal | None:
        return self.marks.get(instrument.con_id)

    def rate(self, currency: str, base: str) -> Decimal:
        return Decimal(1) if currency == base else self.rates[currency]


def money(world: World, account: str = ACCOUNT) -> Account:
    return world.exchange._core.accounts[account]


# --- the ledger, by example -----------------------------------------------------------------------------------------


def test_average_cost_holds_the_commission_and_closing_realizes_what_is_left(world: World) -> None:
    world.place("BUY", 100)
    position = world.exchange.positions()[0]
    assert (position.quantity, position.avg_cost) == ds(100, "100.01")
    world.quote("110.00", "110.00")
    order = world.place("SELL", 40)
    charged = [e for e in world.events if isinstance(e, Charged)]
    assert [c.commission.realized_pnl for c in charged] == [None, d("398.60")]
    assert world.exchange.positions()[0].avg_cost == d("100.01")
    assert world.exchange.pnl(ACCOUNT).realized == d("398.60")
    assert world.last(order).status.value == "Filled"


def test_a_flip_closes_one_side_and_opens_the_other(world: World) -> None:
    world.place("BUY", 100)
    world.quote("110.00", "110.00")
    world.place("SELL", 300)
    position = world.exchange.positions()[0]
    assert position.quantity == -200
    # Half a cent per share on 300 shares: a third of it belongs to the hundred that were closed.
    assert position.avg_cost == d("109.995")
    assert position.realized_pnl == d("1000") - d("1") - d("0.5")


def test_a_short_position_costs_what_it_brought_in_less_the_commission(world: World) -> None:
    world.place("SELL", 100)
    position = world.exchange.positions()[0]
    assert (position.quantity, position.avg_cost, position.market_value) == ds(-100, "99.99", -10_000)
    assert world.value("TotalCashValue") == d("1009999.00")
    assert world.value("NetLiquidation") == d("999999.00")


def test_futures_move_no_cash_until_they_are_closed(world: World) -> None:
    world.quote("6000.00", "6000.00", instrument=ES)
    world.place("BUY", 2, instrument=ES)
    assert world.value("TotalCashValue") == d("999999.00")
    world.quote("6010.00", "6010.00", instrument=ES)
    assert world.value("NetLiquidation") == d("1000999.00") - d("0.00")
    assert world.value("FuturesPNL") == d("1000.00")
    world.place("SELL", 2, instrument=ES)
    assert world.value("TotalCashValue") == world.value("NetLiquidation") == d("1000998.00")
    assert world.exchange.pnl(ACCOUNT).realized == d("998.00")
    assert world.exchange.positions() == []


def test_the_cost_of_a_future_includes_its_multiplier(world: World) -> None:
    world.quote("6000.00", "6000.00", instrument=ES)
    world.place("BUY", 1, instrument=ES)
    position = world.exchange.positions()[0]
    assert (position.avg_cost, position.market_value) == ds(300_001, 300_000)


def test_a_currency_trade_exchanges_one_balance_for_another(world: World) -> None:
    big: dict[str, Any] = {"bid_size": 10**6, "ask_size": 10**6, "instrument": EURUSD}
    world.quote("1.10000", "1.10000", **big)
    world.place("BUY", 20_000, instrument=EURUSD)
    assert world.value("CashBalance", "EUR") == 20_000
    assert world.value("CashBalance", "USD") == d("1000000") - 22_000 - 100
    assert world.value("NetLiquidation") == d("999900.00")
    world.quote("1.20000", "1.20000", **big)
    assert world.value("NetLiquidation") == d("1001900.00")
    assert world.value("ExchangeRate", "EUR") == d("1.2")
    assert world.exchange.pnl(ACCOUNT).unrealized == 2000
    assert world.exchange.pnl(ACCOUNT).realized == -100
    world.at(world.new_york(12, 17))
    assert world.exchange.pnl(ACCOUNT).realized == 0


def test_commissions_of_partial_fills_add_up_to_that_of_the_order() -> None:
    world = World(behavior=ExchangeBehavior.instant())
    world.quote("100.00", "100.00", ask_size=10)
    order = world.place("BUY", 400)
    for _ in range(4):
        world.quote("100.00", "100.00", ask_size=10)
    amounts = [e.commission.amount for e in world.events if isinstance(e, Charged)]
    assert world.status(order) == "Filled"
    assert sum(amounts) == 2
    assert amounts[0] == 1, "the minimum is charged with the first execution"


def test_an_account_without_a_pair_for_its_currency_says_so(world: World) -> None:
    money(world).cash["JPY"] = Decimal(1)
    with pytest.raises(NoExchangeRateError, match=r"neither JPY\.USD nor USD\.JPY"):
        world.exchange.account_values(ACCOUNT)


def test_the_inverse_pair_is_used_when_only_that_exists() -> None:
    world = World(behavior=ExchangeBehavior.instant())
    world.quote("1.25000", "1.25000", instrument=EURUSD)
    assert world.exchange._core.marks.rate("USD", "EUR") == d("0.8")


def test_the_day_of_profit_and_loss_ends_at_five_in_new_york(world: World) -> None:
    world.place("BUY", 100)
    world.quote("103.00", "103.00")
    world.place("SELL", 50)
    pnl = world.exchange.pnl(ACCOUNT)
    assert (pnl.daily, pnl.realized) == ds(298, "148.5")
    world.at(world.new_york(12, 17))
    pnl = world.exchange.pnl(ACCOUNT)
    assert (pnl.daily, pnl.realized) == ds(0, 0)
    assert pnl.unrealized == d("149.5")
    assert AccountChanged(account=ACCOUNT) in world.events
    world.at(world.new_york(13, 9, 31))
    world.quote("104.00", "104.00")
    single = world.exchange.pnl_single(ACCOUNT, AAPL.con_id)
    assert single is not None
    assert (single.daily_pnl, world.exchange.pnl(ACCOUNT).daily) == ds(50, 50)


def test_a_closed_position_can_still_be_asked_for(world: World) -> None:
    world.place("BUY", 1)
    world.place("SELL", 1)
    single = world.exchange.pnl_single(ACCOUNT, AAPL.con_id)
    assert single is not None
    assert (single.quantity, single.market_value, single.realized_pnl) == ds(0, 0, -2)
    assert world.exchange.pnl_single(ACCOUNT, MSFT.con_id) is None
    assert world.exchange.positions() == []


def test_accounts_are_separate() -> None:
    world = World(behavior=ExchangeBehavior.instant(), accounts=("DU1", "DU2"))
    world.quote("100.00", "100.00")
    world.place("BUY", 10, account="DU2")
    assert world.exchange.accounts == ["DU1", "DU2"]
    assert [p.account for p in world.exchange.positions()] == ["DU2"]
    assert world.exchange.positions("DU1") == []
    assert world.value("TotalCashValue", account="DU1") == 1_000_000


def test_every_fill_is_announced_as_an_account_change(world: World) -> None:
    world.place("BUY", 10)
    assert AccountChanged(account=ACCOUNT, instrument=AAPL) in world.events


def test_a_position_is_marked_at_the_last_trade_within_the_quote(world: World) -> None:
    world.place("BUY", 100)
    world.quote("100.00", "100.10")
    for price, mark in (("100.05", "100.05"), ("105", "100.10"), ("95", "100.00")):
        world.trade(price, 1)
        assert world.exchange.positions()[0].market_price == d(mark)


def test_a_position_without_any_market_is_worth_what_it_cost() -> None:
    account = Account(AccountSpec(name="DU1"), FixedPrices())
    account.trade(AAPL, Decimal(100), Decimal(50), Decimal(1), "USD")
    assert account.view(account.position(AAPL)).market_price == 50
    assert account.net_liquidation() == 999_999


# --- the books balance ----------------------------------------------------------------------------------------------

fills = st.lists(
    st.tuples(
        st.sampled_from([AAPL, MSFT, ES, EURUSD]),
        st.integers(-500, 500).filter(bool),
        st.integers(1, 20_000),
        st.integers(0, 500),
    ),
    min_size=1,
    max_size=40,
)


@given(fills, st.lists(st.integers(1, 20_000), min_size=4, max_size=4))
def test_cash_and_positions_equal_deposits_and_profits_after_any_fills(
    fills: list[tuple[Instrument, int, int, int]], marks: list[int]
) -> None:
    prices = FixedPrices()
    account = Account(AccountSpec(name="DU1", initial_cash=Decimal(1_000_000)), prices)
    commissions = Decimal(0)
    for instrument, quantity, cents, fee in fills:
        commission = Decimal(fee) / 100
        commissions += commission
        account.trade(instrument, Decimal(quantity), Decimal(cents) / 100, commission, "USD")
        for other, mark in zip((AAPL, MSFT, ES, EURUSD), marks, strict=True):
            prices.marks[other.con_id] = Decimal(mark) / 100
        prices.rates["EUR"] = prices.marks[EURUSD.con_id]
        gained = account.net_liquidation() - 1_000_000
        assert abs(gained - account.realized_in() - account.unrealized_in()) < TINY
    assert account.commissions.get("USD", Decimal(0)) == commissions
    for position in account.positions.values():
        if not position.quantity:
            assert position.cost == position.value_at_cost == 0
            assert position.average_cost == 0
        elif position.instrument.sec_type == "STK":
            assert (position.value_at_cost > 0) == (position.quantity > 0)


orders = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 700),
        st.sampled_from([AAPL, MSFT, ES]),
        st.integers(9_000, 11_000),
        st.sampled_from(["MKT", "LMT"]),
    ),
    max_size=25,
)


@given(orders, st.integers(0, 10))
def test_the_books_balance_through_the_whole_exchange(
    orders: list[tuple[str, int, Instrument, int, str]], seed: int
) -> None:
    world = World(behavior=ExchangeBehavior(), seed=seed, cash=Decimal(50_000_000))
    for action, quantity, instrument, cents, kind in orders:
        price = Decimal(cents) / 100
        price -= price % instrument.min_tick
        size = quantity if instrument is not ES else 1 + quantity % 5
        world.quote(price, price + instrument.min_tick, ask_size=333, bid_size=333, instrument=instrument)
        world.place(action, size, kind, price if kind == "LMT" else None, instrument=instrument)
        world.trade(price, quantity, instrument=instrument)
    world.run(5)
    account = money(world)
    assert abs(account.net_liquidation() - 50_000_000 - account.realized_in() - account.unrealized_in()) < TINY
    charged = [e.commission.amount for e in world.events if isinstance(e, Charged)]
    assert sum(charged) == account.commissions.get("USD", Decimal(0))
    held: dict[int, Decimal] = {}
    for fill in world.fills():
        signed = fill.shares if fill.side == "BOT" else -fill.shares
        held[fill.instrument.con_id] = held.get(fill.instrument.con_id, Decimal(0)) + signed
    assert {p.instrument.con_id: p.quantity for p in world.exchange.positions()} == {k: v for k, v in held.items() if v}
    working: dict[tuple[int, str], Decimal] = {}
    for view in world.exchange.open_orders(None):
        key = (view.ticket.instrument.con_id, view.ticket.action)
        working[key] = working.get(key, Decimal(0)) + view.remaining
    for instrument in (AAPL, MSFT, ES):
        expected = tuple(working.get((instrument.con_id, side), Decimal(0)) for side in ("BUY", "SELL"))
        assert account.working(instrument) == expected
