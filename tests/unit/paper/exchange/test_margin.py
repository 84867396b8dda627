"""Margin, buying power, previews and the account's figures."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.margin import MarginRules, requirement
from ibkr_connector.paper.exchange.types import MarginPreview, OrderMessage
from ibkr_connector.paper.instruments import Instrument
from unit.paper.exchange.kit import AAPL, ACCOUNT, ES, EURUSD, MSFT, World, d, ds, stock


@pytest.fixture
def world() -> World:
    made = World(behavior=ExchangeBehavior.instant(), cash=Decimal(100_000))
    made.quote("100.00", "100.00")
    made.quote("200.00", "200.00", instrument=MSFT)
    return made


RULES = MarginRules()


@pytest.mark.parametrize(
    ("instrument", "quantity", "price", "initial", "maintenance", "intraday"),
    [
        (AAPL, 100, "100", 5_000, 2_500, 2_500),
        (AAPL, -100, "100", 5_000, 3_000, 3_000),
        (AAPL, -100, "10", 500, 500, 500),
        (AAPL, -100, "4", 400, 400, 400),
        (AAPL, -100, "1", 250, 250, 250),
        (AAPL, 0, "100", 0, 0, 0),
        (ES, 2, "6000", 50_000, 45_000, 50_000),
        (ES, -2, "6000", 50_000, 45_000, 50_000),
        (EURUSD, 20_000, "1.1", 660, 660, 660),
    ],
)
def test_requirements(
    instrument: Instrument, quantity: int, price: str, initial: int, maintenance: int, intraday: int
) -> None:
    found = requirement(RULES, instrument, Decimal(quantity), Decimal(price))
    assert (found.initial, found.maintenance, found.intraday) == ds(initial, maintenance, intraday)


def test_a_future_without_a_listed_margin_is_charged_a_share_of_its_value() -> None:
    other = stock("CL", 5)
    other = type(other)(**{**{f: getattr(other, f) for f in other.__slots__}, "sec_type": "FUT", "multiplier": d(1000)})
    found = requirement(RULES, other, d(1), d(80))
    assert (found.initial, found.maintenance) == ds(6_400, 5_600)


def test_buying_power_is_four_times_the_equity_in_regular_hours_and_twice_outside(world: World) -> None:
    assert world.value("BuyingPower") == 400_000
    world.at(world.new_york(12, 17))
    assert world.value("BuyingPower") == 200_000


def test_a_small_account_has_twice_its_equity() -> None:
    world = World(cash=Decimal(24_999))
    assert world.value("BuyingPower") == 49_998


@pytest.mark.parametrize(("quantity", "status"), [(4_000, "Submitted"), (4_001, "Inactive")])
def test_orders_fit_exactly_up_to_the_buying_power(world: World, quantity: int, status: str) -> None:
    assert world.status(world.place("BUY", quantity, "LMT", "99.99")) == status
    assert world.status(world.place("SELL", 1, "LMT", "150")) == "Submitted"


def test_working_orders_count_as_if_they_were_filled(world: World) -> None:
    assert world.status(world.place("BUY", 2_000, "LMT", "99")) == "Submitted"
    assert world.status(world.place("BUY", 1_000, "LMT", "199", instrument=MSFT)) == "Submitted"
    assert world.status(world.place("BUY", 1, "LMT", "99")) == "Inactive"


def test_a_cancelled_order_frees_its_margin(world: World) -> None:
    order = world.place("BUY", 4_000, "LMT", "99")
    world.cancel(order)
    assert world.status(world.place("BUY", 4_000, "LMT", "99")) == "Submitted"


def test_getting_out_is_never_refused(world: World) -> None:
    world.place("BUY", 4_000, "LMT", "100")
    world.quote("76.00", "76.00")
    assert world.value("ExcessLiquidity") < 0
    assert world.status(world.place("SELL", 4_000)) == "Filled"


def test_a_refusal_names_the_equity_and_the_margin(world: World) -> None:
    world.place("BUY", 10_000)
    assert world.messages(201)[0].text.endswith(
        "your Equity with Loan Value [100000.00 USD] must exceed the new total Initial Margin of [250000.00 USD]."
    )


def test_the_figures_of_an_account_with_a_position(world: World) -> None:
    world.place("BUY", 1_000)
    for key, expected in {
        "AvailableFunds": "49995.00",
        "BuyingPower": "299980.00",
        "EquityWithLoanValue": "99995.00",
        "ExcessLiquidity": "74995.00",
        "FullInitMarginReq": "50000.00",
        "GrossPositionValue": "100000.00",
        "InitMarginReq": "50000.00",
        "MaintMarginReq": "25000.00",
        "NetLiquidation": "99995.00",
        "SettledCash": "-5.00",
        "StockMarketValue": "100000.00",
        "TotalCashValue": "-5.00",
        "UnrealizedPnL": "-5.00",
        "RealizedPnL": "0.00",
    }.items():
        assert world.value(key) == d(expected), key
    assert world.value("Cushion", "") == d("0.749987")
    assert world.value("CashBalance", "BASE") == -5


def test_every_key_clients_ask_for_is_there(world: World) -> None:
    rows = world.exchange.account_values(ACCOUNT)
    keys = {row.key for row in rows}
    assert keys >= {
        "AccountType", "NetLiquidation", "TotalCashValue", "SettledCash", "AccruedCash", "BuyingPower", "SMA",
        "EquityWithLoanValue", "PreviousDayEquityWithLoanValue", "GrossPositionValue", "RegTEquity", "RegTMargin",
        "InitMarginReq", "MaintMarginReq", "AvailableFunds", "ExcessLiquidity", "Cushion", "FullInitMarginReq",
        "FullMaintMarginReq", "FullAvailableFunds", "FullExcessLiquidity", "LookAheadNextChange",
        "LookAheadInitMarginReq", "LookAheadMaintMarginReq", "LookAheadAvailableFunds", "LookAheadExcessLiquidity",
        "DayTradesRemaining", "UnrealizedPnL", "RealizedPnL", "CashBalance", "ExchangeRate", "AccountReady",
        "AccountCode",
    }  # fmt: skip
    assert len({(row.key, row.currency) for row in rows}) == len(rows)
    facts = {row.key: row.value for row in rows if not row.currency}
    assert facts["AccountType"] == "INDIVIDUAL"
    assert {row.currency for row in rows if row.key == "CashBalance"} == {"USD", "BASE"}


def test_an_unknown_account_is_a_key_error(world: World) -> None:
    for ask in (world.exchange.account_values, world.exchange.positions, world.exchange.pnl):
        with pytest.raises(KeyError):
            ask("DU0")


# --- what-if --------------------------------------------------------------------------------------------------------


def test_a_preview_shows_margin_and_commission_and_changes_nothing(world: World) -> None:
    preview = world.exchange.preview(world.ticket("BUY", 100, "LMT", "99", what_if=True))
    assert isinstance(preview, MarginPreview)
    assert (preview.init_before, preview.init_change, preview.init_after) == ds(0, 5_000, 5_000)
    assert (preview.maint_change, preview.equity_before, preview.equity_after) == ds(2_500, 100_000, 99_999)
    assert preview.equity_change == -1
    assert (preview.commission, preview.commission_currency, preview.refusal_code) == (d(1), "USD", 0)
    assert world.exchange.next_order_id(1) == 1
    assert world.events == []
    assert world.exchange.open_orders(None) == []
    assert world.exchange.positions() == []


def test_a_preview_of_closing_frees_margin(world: World) -> None:
    world.place("BUY", 100)
    preview = world.exchange.preview(world.ticket("SELL", 100, what_if=True))
    assert isinstance(preview, MarginPreview)
    assert (preview.init_before, preview.init_change, preview.init_after) == ds(5_000, -5_000, 0)


def test_a_preview_beyond_the_margin_has_the_numbers_and_the_refusal(world: World) -> None:
    preview = world.exchange.preview(world.ticket("BUY", 10_000, what_if=True))
    assert isinstance(preview, MarginPreview)
    assert preview.init_after == 500_000
    assert preview.refusal_code == 201
    assert "must exceed the new total Initial Margin" in preview.refusal_text


def test_a_preview_of_a_bad_ticket_is_the_refusal(world: World) -> None:
    answer = world.exchange.preview(world.ticket("BUY", 1, "FEELINGS"))
    assert isinstance(answer, OrderMessage)
    assert answer.code == 321
