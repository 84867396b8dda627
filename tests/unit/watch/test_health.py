"""Health: a plane is ready iff every check passes, and says in words without secrets what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ibkr_connector.secrets import Secret
from ibkr_connector.watch.health import Health, HealthCheck, Plane, PlaneHealth, farms_check


def health(**wrong: str) -> Health:
    planes = {
        plane: PlaneHealth(plane, (HealthCheck("connection"), HealthCheck("other", wrong.get(plane.value, ""))))
        for plane in Plane
    }
    return Health(datetime(2026, 1, 5, tzinfo=UTC), planes)


def test_one_failed_check_makes_its_plane_and_the_whole_not_ready() -> None:
    seen = health(orders="the order journal cannot be written")
    assert health().ready
    assert not seen.ready
    assert {plane.value: one.ready for plane, one in seen.planes.items()} == {
        "market_data": True,
        "history": True,
        "orders": False,
        "account": True,
    }
    assert seen.of("orders").reasons == ("the order journal cannot be written",)
    document = seen.to_dict()
    assert document["planes"]["orders"]["checks"][1] == {
        "check": "other",
        "passed": False,
        "why": "the order journal cannot be written",
    }


def test_an_unknown_plane_is_no_plane() -> None:
    with pytest.raises(ValueError, match="news"):
        health().of("news")


def test_a_reason_holds_no_secret() -> None:
    Secret("hunter2-of-health")
    assert "hunter2" not in str(health(orders="login hunter2-of-health refused").to_dict())


def test_a_kind_of_farm_is_down_only_when_all_of_it_are() -> None:
    kinds = {"usfarm": "market_data", "eufarm": "market_data", "ushmds": "history"}
    assert farms_check("market_data", {}, {}).passed
    assert farms_check("market_data", {"usfarm": False, "eufarm": True}, kinds).passed
    down = farms_check("market_data", {"usfarm": False, "eufarm": False, "ushmds": True}, kinds)
    assert down.why == "all market data farms are down: eufarm, usfarm"
    assert farms_check("history", {"usfarm": False, "ushmds": True}, kinds).passed
