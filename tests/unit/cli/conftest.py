"""Commands in an empty folder, with their state in another one, and no gateway where the settings point."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cli import Run, runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command and look at what it did."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("IBKR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("IBKR_PORT", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / "config"))
    return runner(capsys)
