"""Commands against a paper gateway on a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ibkr_connector.testing import HostedGateway
from support.cli import Run, runner


@pytest.fixture
def gateway() -> Iterator[HostedGateway]:
    with HostedGateway(seed=7) as hosted:
        yield hosted


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gateway: HostedGateway
) -> Run:
    """Run a command whose settings point at the gateway, and look at what it did."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IBKR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("IBKR_PORT", str(gateway.tws_port))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    return runner(capsys)
