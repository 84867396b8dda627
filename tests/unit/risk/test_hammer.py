"""The million tries against one limit are a target of their own (`./dev hammer`); that it can tell is tested here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def hammer(repo_dir: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(repo_dir / "tools/hammer_limit.py"), "--tries", "6000", "--threads", "16", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_limit_holds_and_is_reached(repo_dir: Path) -> None:
    found = hammer(repo_dir)
    assert (found["tries"], found["passes"], found["nearest"]) == (6000, 0, "100")


@pytest.mark.slow
def test_check_and_reservation_apart_are_caught(repo_dir: Path) -> None:
    assert hammer(repo_dir, "--canary", "--tries", "20000")["passes"] > 0
