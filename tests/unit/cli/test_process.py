"""The program as a process: what it does where it cannot write, and where it is interrupted before it has begun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "ibkr_connector.cli"]
INTERRUPTED_WHILE_IMPORTING = """
import sys

class Interrupting:
    def find_spec(self, name, *rest):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
sys.argv = ["ibkr-connector", "version"]
from ibkr_connector.cli import main
sys.exit(main())
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "words",
    [("version", "--json"), ("version",), ("init", "--stdout"), ("quote", "A-B", "--json"), ("nonsense", "--json")],
)
def test_a_full_disk_under_stdout_is_one_line_and_no_traceback(tmp_path: Path, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=60, check=False
        )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    (line,) = ran.stderr.splitlines()
    assert os.strerror(28) in line


def test_ctrl_c_while_the_program_is_loaded_is_no_traceback(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 130
    assert ran.stdout == ""
    assert ran.stderr == "interrupted\n"
