"""What users may import and call: a change of it shows up in review.

Write it anew with: python tests/unit/test_public_names.py
"""

from __future__ import annotations

import inspect
from pathlib import Path

import ibkr_connector
from ibkr_connector import errors, models
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.facade import Facade

SNAPSHOT = Path(__file__).with_name("public_names.txt")


def public_names() -> str:
    """One name a line, with the signature of the connector's methods."""
    lines = [f"ibkr_connector.{name}" for name in sorted(ibkr_connector.__all__)]
    lines += [f"ibkr_connector.models.{name}" for name in sorted(models.__all__)]
    lines += [
        f"ibkr_connector.errors.{name}"
        for name, value in sorted(vars(errors).items())
        if inspect.isclass(value) and value.__module__ == errors.__name__
    ]
    for name, member in sorted({**vars(Facade), **vars(IBKRConnector)}.items()):
        if not name.startswith("_"):
            shown = inspect.signature(member) if inspect.isfunction(member) else ": property"
            lines.append(f"IBKRConnector.{name}{shown}")
    return "\n".join(lines) + "\n"


def test_public_names_are_those_of_the_snapshot() -> None:
    assert public_names() == SNAPSHOT.read_text(encoding="utf-8")


if __name__ == "__main__":
    SNAPSHOT.write_text(public_names(), encoding="utf-8")
