"""The image: a supported Python, no root, no secrets, nothing in it that the build does not need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[3]
TEXT = (REPO / "deploy" / "Dockerfile").read_text("utf-8")
PLAIN = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE))
"""Without comments, one instruction per line."""
PROJECT: dict[str, Any] = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word}\s+(.*)$", PLAIN, re.MULTILINE)


def sources() -> list[str]:
    """What the build takes from the checkout."""
    copied = [part for line in instructions("COPY") for part in line.split()[:-1] if not part.startswith("--")]
    mounted = [
        found
        for mount in re.findall(r"--mount=(\S+)", PLAIN)
        if "from=" not in mount
        for found in re.findall(r"source=([^,\s]+)", mount)
    ]
    return copied + mounted


def test_the_base_is_a_slim_python_that_the_project_supports() -> None:
    bases = [line.split()[0] for line in instructions("FROM")]
    versions = {re.fullmatch(r"python:(\d+\.\d+)(?:\.\d+)?-slim-[a-z]+(?:@sha256:[0-9a-f]{64})?", one) for one in bases}
    assert None not in versions, f"not pinned to a version and a Debian release: {bases}"
    (version,) = {found[1] for found in versions if found}
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    oldest = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["requires-python"])
    assert oldest
    assert tuple(map(int, version.split("."))) >= tuple(map(int, oldest.groups()))


def test_it_does_not_run_as_root() -> None:
    user = instructions("USER")[-1]
    assert user not in {"root", "0"}
    assert f"useradd --uid 10001 --gid {user}" in PLAIN
    assert PLAIN.rindex("\nUSER ") > PLAIN.rindex("\nRUN ")


def test_the_state_is_a_volume_of_that_user_alone() -> None:
    (volume,) = instructions("VOLUME")
    assert re.search(rf"install --directory --mode=0700 --owner=ibkr --group=ibkr {volume}$", PLAIN, re.MULTILINE)
    assert f"IBKR_STATE_DIR={volume}" in PLAIN


def test_no_secret_is_built_in() -> None:
    given = " ".join(instructions("ARG") + instructions("ENV"))
    assert not re.search(r"PASSWORD|SECRET|TOKEN|USERNAME|ACCOUNT|_KEY", given)
    assert not instructions("ADD")


def test_it_installs_the_wheel_under_the_constraints_with_extras_that_exist() -> None:
    found = re.search(r'install .*--constraint (\S+) +"\$\(ls /dist/ibkr_connector-\*\.whl\)\[([\w,-]+)\]"', PLAIN)
    assert found
    assert f"source=requirements/constraints.txt,target={found[1]}" in PLAIN
    assert set(found[2].split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_health_check_asks_the_program() -> None:
    (check,) = instructions("HEALTHCHECK")
    path = re.findall(r'"(/opt/checks/[^"]+)"', check)[0]
    assert f"deploy/checks/{Path(path).name} {path}" in PLAIN


@pytest.mark.parametrize("source", sources())
def test_what_the_build_takes_is_there_and_not_ignored(source: str) -> None:
    assert (REPO / source).exists()
    let_through = [line[1:] for line in ignore_lines() if line.startswith("!")]
    assert any(source == one or source.startswith(f"{one}/") for one in let_through)


def test_nothing_else_is_sent_to_the_build() -> None:
    lines = ignore_lines()
    assert lines[0] == "*"
    needed = sources()
    extra = [one for one in lines if one[0] == "!" and not any(s == one[1:] or s.startswith(one[1:]) for s in needed)]
    assert extra == []
    assert {"**/*.sqlite*", "**/__pycache__"} <= set(lines)


def ignore_lines() -> list[str]:
    lines = (REPO / ".dockerignore").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
