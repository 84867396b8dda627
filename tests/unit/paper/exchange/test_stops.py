"""Triggers and trailing stops, the latter against a naive model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from unit.paper.exchange.kit import AAPL, EURUSD, World, d

CENT = Decimal("0.01")


@pytest.fixture
def world() -> World:
    made = World(behavior=ExchangeBehavior.instant())
    made.quote("100.00", "100.05")
    made.trade("100.00", 10)
    return made


def test_a_quote_alone_does_not_trigger_a_stock_stop(world: World) -> None:
    order = world.place("SELL", 10, "STP", aux="99")
    world.quote("90.00", "90.05")
    assert world.fills() == []
    world.trade("99.00", 1)
    assert world.filled(order) == [(d(10), d("90.00"))]


def test_a_stop_needs_its_price_not_nearly_its_price(world: World) -> None:
    world.place("SELL", 10, "STP", aux="99")
    world.place("BUY", 10, "STP", aux="101")
    world.trade("99.01", 1000)
    world.trade("100.99", 1000)
    assert world.fills() == []
    world.trade("101.00", 1)
    assert [e.side for e in world.fills()] == ["BOT"]


def test_a_stop_placed_behind_the_market_triggers_at_once(world: World) -> None:
    order = world.place("SELL", 10, "STP", aux="101")
    assert world.filled(order) == [(d(10), d("100.00"))]


def test_a_stop_limit_rests_at_its_limit_once_triggered(world: World) -> None:
    order = world.place("SELL", 10, "STP LMT", "98.50", aux="99")
    world.quote("98.00", "98.10")
    world.trade("98.90", 1)
    assert world.lines(order)[-2:] == ["echo", "Submitted"]
    assert world.fills() == []
    world.quote("98.50", "98.60")
    assert world.filled(order) == [(d(10), d("98.50"))]


def test_currency_stops_trigger_on_bid_and_ask(world: World) -> None:
    big: dict[str, Any] = {"bid_size": 10**6, "ask_size": 10**6, "instrument": EURUSD}
    world.quote("1.10000", "1.10005", **big)
    sell = world.place("SELL", 20_000, "STP", aux="1.09000", instrument=EURUSD)
    buy = world.place("BUY", 20_000, "STP", aux="1.11000", instrument=EURUSD)
    world.quote("1.08995", "1.09005", **big)
    assert world.fills() == [], "the ask is still above the sell stop"
    world.quote("1.08990", "1.09000", **big)
    assert world.filled(sell) == [(d(20_000), d("1.08990"))]
    world.quote("1.10995", "1.11000", **big)
    assert world.filled(buy) == []
    world.quote("1.11000", "1.11005", **big)
    assert world.filled(buy) == [(d(20_000), d("1.11005"))]


def test_a_trailing_stop_starts_at_its_own_stop_price(world: World) -> None:
    order = world.place("SELL", 10, "TRAIL", aux="1", trail_stop="98")
    assert world.exchange.open_orders(1)[0].ticket.trail_stop_price == 99, "closer than 98: the market is at 100"
    world.place("SELL", 10, "TRAIL", aux="3", trail_stop="99.50", order_id=None)
    assert world.exchange.open_orders(1)[1].ticket.trail_stop_price == d("99.50"), "closer than its distance"
    world.trade("99.50", 1)
    assert world.status(order) == "PreSubmitted"
    assert [e.order_id for e in world.fills()] == [order + 1]


def test_a_trailing_stop_in_percent_follows_and_never_goes_back(world: World) -> None:
    world.place("SELL", 10, "TRAIL", percent="1.5")
    stops = []
    for price in ("100", "102", "101", "104.37", "103"):
        world.trade(price, 1)
        stops.append(world.exchange.open_orders(1)[0].ticket.trail_stop_price)
    assert stops == [d("98.50"), d("100.47"), d("100.47"), d("102.80"), d("102.80")]
    world.trade("102.80", 1)
    assert len(world.fills()) == 1


def test_a_buy_trail_follows_the_market_down(world: World) -> None:
    order = world.place("BUY", 10, "TRAIL", aux="2")
    for price in ("99", "97", "98"):
        world.trade(price, 1)
    assert world.exchange.open_orders(1)[0].ticket.trail_stop_price == 99
    world.trade("99", 1)
    assert world.filled(order) == [(d(10), d("100.05"))]


@pytest.mark.parametrize(
    ("extras", "limit", "trail_stop"),
    [({"limit_price_offset": "0.50"}, None, None), ({}, "98.50", "99.00")],
    ids=["offset", "limit and stop"],
)
def test_a_trailing_stop_limit_works_at_its_offset_from_where_it_was_triggered(
    world: World, extras: dict[str, str], limit: str | None, trail_stop: str | None
) -> None:
    order = world.place("SELL", 10, "TRAIL LIMIT", limit, "1", trail_stop=trail_stop, extras=extras)
    world.trade("110", 1)
    world.quote("108.00", "108.05")
    world.trade("109", 1)
    view = world.exchange.open_orders(1)[0]
    assert (view.status.value, view.ticket.limit_price) == ("Submitted", d("108.50"))
    world.trade("108.60", 100)
    assert world.filled(order) == [(d(10), d("108.50"))]


def test_an_unreadable_limit_offset_is_refused(world: World) -> None:
    world.place("SELL", 10, "TRAIL LIMIT", aux="1", extras={"limit_price_offset": "much"})
    assert world.messages(321)


def test_a_trailing_stop_without_any_trade_yet_starts_with_the_first() -> None:
    world = World(behavior=ExchangeBehavior.instant())
    world.place("SELL", 10, "TRAIL", aux="1")
    assert world.exchange.open_orders(1)[0].ticket.trail_stop_price is None
    world.quote("100.00", "100.05")
    world.trade("100", 1)
    assert world.exchange.open_orders(1)[0].ticket.trail_stop_price == 99


def test_a_changed_trailing_distance_counts_from_the_market_now(world: World) -> None:
    order = world.place("SELL", 10, "TRAIL", aux="1")
    world.trade("105", 1)
    world.place("SELL", 10, "TRAIL", aux="3", order_id=order)
    # The stop never goes back by itself: it stays where it was until the wider distance overtakes it.
    assert world.exchange.open_orders(1)[0].ticket.trail_stop_price == 104
    world.place("SELL", 10, "TRAIL", aux="3", trail_stop="101", order_id=order)
    assert world.exchange.open_orders(1)[0].ticket.trail_stop_price == 102


prices = st.lists(st.integers(9_000, 11_000), min_size=1, max_size=40)


@given(prices, st.sampled_from(["BUY", "SELL"]), st.integers(1, 300), st.booleans())
def test_trailing_stops_agree_with_a_naive_model(prices: list[int], action: str, distance: int, percent: bool) -> None:
    world = World(behavior=ExchangeBehavior.instant())
    world.quote("100.00", "100.01", bid_size=10**6, ask_size=10**6)
    world.trade("100.00", 1)
    order = (
        world.place("SELL" if action == "SELL" else "BUY", 1, "TRAIL", percent=CENT * distance)
        if percent
        else world.place(action, 1, "TRAIL", aux=CENT * distance)
    )

    def away(price: Decimal) -> Decimal:
        gap = price * CENT * distance / 100 if percent else CENT * distance
        stop = price - gap if action == "SELL" else price + gap
        rounded = stop.quantize(CENT)
        if action == "SELL" and rounded > stop:
            rounded -= CENT
        if action == "BUY" and rounded < stop:
            rounded += CENT
        return rounded

    best = max if action == "SELL" else min
    stop = away(Decimal("100.00"))
    for number in prices:
        price = CENT * number
        stop = best(stop, away(price))
        hit = price <= stop if action == "SELL" else price >= stop
        world.trade(price, 1)
        if hit:
            assert world.status(order) == "Filled"
            return
        assert world.exchange.open_orders(1)[0].ticket.trail_stop_price == stop
    assert world.status(order) == "PreSubmitted"
    assert AAPL.min_tick == CENT
