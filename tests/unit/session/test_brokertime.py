"""Broker time is the last answer carried on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ibkr_connector.session.brokertime import BrokerTime

TOLD = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
WALL = datetime(2026, 3, 1, tzinfo=UTC)


def test_unknown_until_told() -> None:
    time = BrokerTime()
    assert not time.known
    assert time.now(5.0, WALL) == WALL
    assert time.skew(5.0, WALL) is None


def test_carried_on_at_the_gateways_speed() -> None:
    time = BrokerTime(time_scale=60.0)
    time.told(TOLD, 100.0)
    assert time.now(101.5, WALL) == TOLD + timedelta(seconds=90)
    assert time.skew(100.0, TOLD - timedelta(seconds=2)) == 2.0
