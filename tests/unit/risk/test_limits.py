from __future__ import annotations

from decimal import Decimal

import pytest

from ibkr_connector.config import settings
from ibkr_connector.risk import RiskLimits


def test_defaults_are_those_of_the_settings() -> None:
    assert RiskLimits.from_settings(settings.RiskLimits()) == RiskLimits()


def test_every_setting_arrives() -> None:
    section = settings.RiskLimits(
        max_position_size=Decimal(1),
        max_position_value=Decimal(2),
        max_order_size=None,
        max_order_value=Decimal(4),
        daily_loss_limit=Decimal(5),
        check_market_hours=False,
        allow_outside_rth=False,
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
    )


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
    ],
)
def test_a_limit_that_is_no_limit_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        RiskLimits(**{name: value})  # type: ignore[arg-type]
