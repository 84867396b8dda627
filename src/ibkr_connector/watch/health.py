"""Is it alive, and which of its planes can be used: conditions with their names, and what is wrong with each. Pure.

Four planes: `market_data`, `history`, `orders`, `account`. A plane is ready iff all its checks pass; the text of a
check that fails is the text with which the rooms themselves refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ibkr_connector.logs import redact


class Plane(StrEnum):
    """What a program can be busy with."""

    MARKET_DATA = "market_data"
    HISTORY = "history"
    ORDERS = "orders"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One condition. `why` is empty when it holds."""

    name: str
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return not self.why

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without secrets."""
        return {"check": self.name, "passed": self.passed, "why": redact(self.why)}


@dataclass(frozen=True, slots=True)
class PlaneHealth:
    """Whether one plane can be used."""

    plane: Plane
    checks: tuple[HealthCheck, ...]

    @property
    def ready(self) -> bool:
        """Whether every check passes."""
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What keeps it from being ready."""
        return tuple(check.why for check in self.checks if check.why)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"ready": self.ready, "checks": [check.to_dict() for check in self.checks]}


@dataclass(frozen=True, slots=True)
class Health:
    """All planes at one moment."""

    at: datetime
    planes: Mapping[Plane, PlaneHealth]

    @property
    def ready(self) -> bool:
        """Whether every plane is."""
        return all(plane.ready for plane in self.planes.values())

    def of(self, plane: Plane | str) -> PlaneHealth:
        """One plane. ValueError for a name that is none."""
        return self.planes[Plane(plane)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "ready": self.ready,
            "at": self.at.isoformat(),
            "planes": {plane.value: health.to_dict() for plane, health in self.planes.items()},
        }


def farms_check(kind: str, farms: Mapping[str, bool], kinds: Mapping[str, str]) -> HealthCheck:
    """Whether at least one farm of a kind is up, or none was named: single farms go down daily and come back."""
    ours = {farm: up for farm, up in farms.items() if kinds.get(farm) == kind}
    if not ours or any(ours.values()):
        return HealthCheck("farms")
    return HealthCheck("farms", f"all {kind.replace('_', ' ')} farms are down: {', '.join(sorted(ours))}")
