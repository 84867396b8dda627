"""Which tests depend on the TWS client library that is installed: the others run in one environment."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_WHATEVER_THE_LIBRARY = ("web", "web_backend", "deploy", "proof", "cli")
_BUT = ("test_demo", "test_doctor", "test_trading")
"""Commands that are about the library, or stand for the others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The Web API has its own client library; compose files have none; commands call what is tested with both."""
    folders = [_HERE / name for name in _WHATEVER_THE_LIBRARY]
    for item in items:
        if any(folder in item.path.parents for folder in folders) and not item.path.stem.startswith(_BUT):
            item.add_marker(pytest.mark.protocol)
