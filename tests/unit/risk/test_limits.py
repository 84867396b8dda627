from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

import pytest

from ibkr_connector.config import AgentLimits, SymbolLimits, risk as settings
from ibkr_connector.risk import RiskLimits, SubLimits


def test_defaults_are_those_of_the_settings() -> None:
    assert RiskLimits.from_settings(settings.RiskSettings()) == RiskLimits()


def test_every_setting_arrives() -> None:
    section = settings.RiskSettings(
        max_position_size=Decimal(1),
        max_position_value=Decimal(2),
        max_order_size=None,
        max_order_value=Decimal(4),
        daily_loss_limit=Decimal(5),
        check_market_hours=False,
        allow_outside_rth=False,
        restricted_symbols=("gme", " amc "),
        max_orders=7,
        buying_power="what_if",
    )
    made = RiskLimits.from_settings(section)
    assert made == RiskLimits(
        max_position_size=Decimal(1),
        max_position_value=Decimal(2),
        max_order_size=None,
        max_order_value=Decimal(4),
        daily_loss_limit=Decimal(5),
        check_market_hours=False,
        allow_outside_rth=False,
        restricted_symbols=("GME", "AMC"),
        max_orders=7,
        buying_power="what_if",
    )


def test_every_limit_has_a_setting_and_every_setting_a_limit() -> None:
    limits = {f.name for f in fields(RiskLimits)} - {"agents", "symbols"}
    assert set(settings.RiskSettings.model_fields) - {"env_may_loosen"} == limits
    assert {f.name for f in fields(SubLimits)} == set(AgentLimits.model_fields)


def test_an_agent_has_its_own_limits_or_those_of_all_agents_and_no_agent_has_none() -> None:
    made = RiskLimits.from_settings(
        settings.RiskSettings(),
        agents={"fast": AgentLimits(max_orders=1), "*": AgentLimits(max_orders=2)},
        symbols={"aapl": SymbolLimits(max_order_size=Decimal(3))},
    )
    assert made.of_agent("FAST") == SubLimits(max_orders=1)
    assert made.of_agent("slow") == SubLimits(max_orders=2)
    assert made.of_agent(None) is None
    assert made.symbols == {"aapl": SubLimits(max_order_size=Decimal(3))}
    assert RiskLimits().of_agent("fast") is None


def test_collars_need_not_widen() -> None:
    assert RiskLimits(delayed_collar_factor=1).delayed_collar_factor == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_order_size", Decimal(-1)),
        ("daily_loss_limit", Decimal("NaN")),
        ("in_flight_collar", Decimal("Infinity")),
        ("price_collar", Decimal("-0.01")),
        ("delayed_collar_factor", 0),
        ("buying_power", "some"),
        ("intraday_margin", "on"),
    ],
)
def test_a_limit_that_is_no_limit_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        RiskLimits(**{name: value})  # type: ignore[arg-type]
