"""`breaker`: what one process says of the breakers is on file for the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.clock import SystemClock
from ibkr_connector.session.operator import OperatorWord

Run = Callable[..., Any]


def test_a_breaker_is_held_open_shown_and_let_go(run: Run, tmp_path: Path) -> None:
    opened = run("breaker", "open", "orders", "the desk is being moved", "--port", "4002", "--json").document
    assert opened == {"gateway": "127.0.0.1:4002", "held_open": {"orders": "the desk is being moved"}}
    word = OperatorWord(tmp_path / "state", "127.0.0.1:4002", SystemClock())
    assert word.forced() == {"orders": "the desk is being moved"}
    assert "the desk is being moved" in run("breaker", "status", "--port", "4002").out
    assert run("breaker", "status", "--port", "4001", "--json").document["held_open"] == {}
    assert run("breaker", "reset", "orders", "--port", "4002", "--json").document["held_open"] == {}
    assert word.forced() == {}


def test_over_the_web_api_the_gateway_is_that_of_its_address(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_BACKEND", "web")
    monkeypatch.setenv("IBKR_WEB_URL", "https://127.0.0.1:5000/v1/api/")
    assert run("breaker", "open", "orders", "lunch", "--json").document["gateway"] == "127.0.0.1:5000"
    assert OperatorWord(tmp_path / "state", "127.0.0.1:5000", SystemClock()).forced() == {"orders": "lunch"}
    refused = run("breaker", "status", "--port", "4002", "--json")
    assert refused.code == 2
    assert "[web] url" in refused.document["remedy"]


def test_a_plane_that_does_not_exist_and_a_missing_reason_are_bad_input(run: Run) -> None:
    assert run("breaker", "open", "cancels", "x").code == 2
    assert run("breaker", "open", "orders", "  ").code == 2
