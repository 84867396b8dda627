"""Whoever is refused reads which setting did it, by its name and value, or the command that ends it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.limits import RiskLimits
from unit.risk.test_gates import AAPL, NOW, OFF, PRICES, D, only, order, view

_HALTED, _OLD = replace(PRICES[AAPL], halted=True), replace(PRICES[AAPL], age=9.0)
_FIGURES = {"BuyingPower": D(100), "AvailableFunds": D(100), "ExcessLiquidity": D(100), "DayTradesRemaining": D(0)}


def told(limits: RiskLimits, gate: str, *, before: int = 0, **seen: Any) -> str:
    engine = RiskEngine(limits)
    for _ in range(before):
        assert engine.check_and_reserve(order("BUY", 10), view(**seen)).allowed
    result = only(engine.check_and_reserve(order("BUY", 10), view(**seen)), gate)
    assert not result.passed
    return f"{result.message}. {result.remedy}"


@pytest.mark.parametrize(
    ("gate", "limits", "before", "seen", "words"),
    [
        ("duplicate_order", {"duplicate_window": 60.0}, 1, {}, ("duplicate_window 60",)),
        ("order_rate", {"max_orders": 1, "max_orders_window": 60.0}, 1, {}, ("max_orders 1", "60 s")),
        ("open_orders", {"max_open_orders": 1}, 1, {}, ("max_open_orders 1",)),
        ("halted", {"refuse_halted": True}, 0, {"prices": {AAPL: _HALTED}}, ("refuse_halted",)),
        ("quote_age", {"max_quote_age": 5.0}, 0, {"prices": {AAPL: _OLD}}, ("max_quote_age 5",)),
        ("buying_power", {"buying_power": "value"}, 0, {"figures": _FIGURES}, ("100.00", "buying_power off")),
        ("intraday_margin", {"intraday_margin": "excess"}, 0, {"figures": _FIGURES}, ("intraday_margin",)),
    ],
)  # fmt: skip
def test_a_refusal_names_the_setting(
    gate: str, limits: dict[str, Any], before: int, seen: dict[str, Any], words: tuple[str, ...]
) -> None:
    text = told(replace(OFF, **limits), gate, before=before, **seen)
    assert all(word in text for word in words), text
    assert "[risk_limits]" in text


def test_a_price_far_through_the_market_names_its_collar() -> None:
    engine = RiskEngine(replace(OFF, price_collar=Decimal("0.01")))
    result = only(engine.check_and_reserve(order("BUY", 1, 200), view()), "price_collar")
    assert "[risk_limits]" in result.remedy
    assert "price_collar" in result.remedy


def test_a_lost_day_names_the_limit_and_what_is_lost_now_and_the_command_that_ends_it() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)))
    engine.observe(view(daily_pnl=D(-600)))
    result = only(engine.check_and_reserve(order(), view(daily_pnl=D(-100), net_liquidation=D(100_500))), "daily_loss")
    assert result.message == "the day's loss passed daily_loss_limit 500.00 today (it is 100.00 USD now)"
    assert "ibkr-connector resume" in result.remedy


def test_a_stop_names_the_command_that_ends_it() -> None:
    engine = RiskEngine(OFF)
    engine.reduce("careful", NOW)
    assert "ibkr-connector resume" in only(engine.check_and_reserve(order(), view()), "trading_state").remedy
    engine.kill("enough", NOW)
    assert "ibkr-connector resume" in only(engine.check_and_reserve(order(), view()), "trading_state").remedy
    engine = RiskEngine(replace(OFF, drawdown_limit=D(1)))
    engine.observe(view())
    lower = view(net_liquidation=D(99_000))
    assert "ibkr-connector resume" in only(engine.check_and_reserve(order(), lower), "drawdown").remedy
