"""What `doctor` says about metrics, health and alerts."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.cli.doctor.checks import Verdict
from ibkr_connector.cli.doctor.watching import alerts_check, watch_check
from ibkr_connector.config import Settings, load_settings


def settings(tmp_path: Path, **overrides: Any) -> Settings:
    return load_settings(overrides={"state_dir": tmp_path, **overrides}, environ={}, cwd=tmp_path)


def test_what_is_off_is_fine(tmp_path: Path) -> None:
    assert watch_check(settings(tmp_path)).verdict is Verdict.OK
    assert alerts_check(settings(tmp_path)).verdict is Verdict.OK


def test_a_missing_extra_is_a_failure_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "apprise", None)
    for check in (
        watch_check(settings(tmp_path, watch={"http_port": 9464})),
        alerts_check(settings(tmp_path, alerts={"apprise": "json://127.0.0.1/"})),
    ):
        assert check.verdict is Verdict.FAIL
        assert "pip install" in check.fix


def test_a_port_in_use_and_an_address_of_another_machine_are_told(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="the extra metrics is not installed")
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert watch_check(settings(tmp_path, watch={"http_port": port})).verdict is Verdict.WARN
    assert watch_check(settings(tmp_path, watch={"http_port": port})).verdict is Verdict.OK
    elsewhere = watch_check(settings(tmp_path, watch={"http_port": port, "http_host": "192.0.2.1"}))
    assert elsewhere.verdict is Verdict.FAIL
    everywhere = watch_check(settings(tmp_path, watch={"http_port": port, "http_host": "0.0.0.0"}))
    assert (everywhere.verdict, "network" in everywhere.found) == (Verdict.WARN, True)


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("https://hooks.example.org/secret-path", Verdict.OK),
        ("http://127.0.0.1:9/secret-path", Verdict.OK),
        ("http://hooks.example.org/secret-path", Verdict.WARN),
        ("hooks.example.org/secret-path", Verdict.FAIL),
    ],
)
def test_a_webhook_is_judged_without_showing_it(tmp_path: Path, url: str, verdict: Verdict) -> None:
    check = alerts_check(settings(tmp_path, alerts={"webhook": url}))
    assert check.verdict is verdict
    assert "secret-path" not in str(check.to_dict())


def test_live_trading_that_tells_nobody_is_worth_a_look(tmp_path: Path) -> None:
    live = settings(tmp_path, mode="live", account_id="U1234567")
    assert alerts_check(live).verdict is Verdict.WARN
