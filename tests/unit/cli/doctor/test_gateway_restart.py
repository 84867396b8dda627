"""What `doctor` says about the command that restarts the gateway."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.cli.doctor.checks import Check, Verdict
from ibkr_connector.cli.doctor.restart import restart_check
from ibkr_connector.config import load_settings

posix = pytest.mark.skipif(os.name != "posix", reason="files have no execute bit here")


def checked(tmp_path: Path, command: Any, **gateway: Any) -> Check:
    overrides = {"state_dir": tmp_path, "gateway": {"restart_command": command, **gateway}}
    return restart_check(load_settings(overrides=overrides, environ={}, cwd=tmp_path))


def script(tmp_path: Path, text: str, mode: int = 0o700) -> Path:
    path = tmp_path / "restart.sh"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_without_a_command_it_says_that_it_is_off(tmp_path: Path) -> None:
    check = checked(tmp_path, None)
    assert (check.verdict, check.fix) == (Verdict.OK, "")
    assert "off" in check.found
    assert "restart_command" in check.found


def test_a_command_that_can_be_run_is_told_with_when_it_runs_and_without_its_arguments(tmp_path: Path) -> None:
    check = checked(tmp_path, [sys.executable, "--token", "hunter2"], restart_after=4, restart_period=7200)
    assert check.verdict is Verdict.OK
    assert check.found.startswith(f"on: {sys.executable}")
    assert "4 failed" in check.found
    assert "7200 s" in check.found
    assert "hunter2" not in check.found + check.fix


def test_broken_farms_are_told_as_a_reason_where_they_are_one(tmp_path: Path) -> None:
    assert "farm" not in checked(tmp_path, sys.executable).found
    assert "a data farm broken for 90 s" in checked(tmp_path, sys.executable, restart_farms_after=90).found


@posix
def test_a_program_of_the_search_path_is_found_where_the_connector_would_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    check = checked(tmp_path, "restart.sh now")
    assert check.verdict is Verdict.OK
    assert str(path) in check.found
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    gone = checked(tmp_path, "restart.sh now")
    assert gone.verdict is Verdict.FAIL
    assert "restart.sh" in gone.found
    assert "whole path" in gone.fix


@posix
@pytest.mark.parametrize(
    ("text", "mode", "found", "fix"),
    [
        ("#!/bin/sh\n", 0o600, "not executable", "chmod +x"),
        ("systemctl restart ibgateway\n", 0o700, "#!", "#!/bin/sh"),
        ("", 0o700, "empty", "#!/bin/sh"),
    ],
)
def test_a_file_that_cannot_be_run_is_a_failure_with_its_cure(
    tmp_path: Path, text: str, mode: int, found: str, fix: str
) -> None:
    check = checked(tmp_path, str(script(tmp_path, text, mode)))
    assert check.verdict is Verdict.FAIL
    assert found in check.found
    assert fix in check.fix
    assert "[gateway] restart_command" in check.fix or "restart.sh" in check.fix


def test_a_path_that_is_no_file_is_a_failure(tmp_path: Path) -> None:
    for wrong in (tmp_path / "missing", tmp_path):
        check = checked(tmp_path, str(wrong))
        assert check.verdict is Verdict.FAIL
        assert str(wrong) in check.found
        assert "[gateway] restart_command" in check.fix


def test_a_tilde_is_no_path_without_a_shell(tmp_path: Path) -> None:
    check = checked(tmp_path, "~/bin/restart")
    assert check.verdict is Verdict.FAIL
    assert "no shell" in check.fix


@posix
def test_a_relative_path_depends_on_where_the_program_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path, "#!/bin/sh\n")
    monkeypatch.chdir(tmp_path)
    check = checked(tmp_path, "./restart.sh")
    assert check.verdict is Verdict.WARN
    assert "whole path" in check.fix
