"""Which tests depend on the TWS client library that is installed: the others run in one environment."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_WHATEVER_THE_LIBRARY = ("web", "web_backend", "deploy", "proof", "cli")
_BUT = ("test_demo", "test_doctor", "test_trading")
"""Commands that are about the library, or stand for the others."""


_LONG = (
    "test_sockets_web",
    "test_sockets",
    "test_crashes",
    "test_every_fault",
    "test_demo",
    "test_crashes_groups",
    "test_disk_reducing",
    "test_order_writes",
    "test_power_loss",
    "test_kill_across_processes",
)
"""Begun first, the longest at the top: what is begun last should not be what takes longest."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marked and sorted.

    The Web API has its own client library; compose files have none; commands call what is tested with both.
    """
    folders = [_HERE / name for name in _WHATEVER_THE_LIBRARY]
    for item in items:
        if any(folder in item.path.parents for folder in folders) and not item.path.stem.startswith(_BUT):
            item.add_marker(pytest.mark.protocol)
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(_LONG)))
