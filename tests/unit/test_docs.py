"""The documentation says what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ibkr_connector.resilience import BreakerState, default_rules
from ibkr_connector.resilience.breaker_types import LEGAL as breaker_moves
from ibkr_connector.session.link import LEGAL as link_moves, LinkState


def test_generated_tables_are_up_to_date(repo_dir: Path) -> None:
    command = [sys.executable, "tools/generate_tables.py", "--check"]
    result = subprocess.run(command, cwd=repo_dir, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_links_between_pages_lead_somewhere(repo_dir: Path) -> None:
    pages = [repo_dir / "README.md", *sorted((repo_dir / "docs").rglob("*.md"))]
    missing = [
        f"{page.relative_to(repo_dir)} -> {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []


def test_tests_named_in_the_invariants_exist(repo_dir: Path) -> None:
    page = (repo_dir / "docs" / "IMPLEMENTATION" / "invariants.md").read_text(encoding="utf-8")
    files = list((repo_dir / "tests").rglob("test_*.py"))
    missing = []
    for named in re.findall(r"`([^`]*test_[^`]*)`", page):
        path, _, test = named.partition("::")
        pattern = re.compile(re.escape(Path(path).name).replace(r"\*", ".*"))
        found = [file for file in files if pattern.fullmatch(file.name)]
        text = "".join(file.read_text(encoding="utf-8") for file in found)
        if not found or (test and not re.search(re.escape(test).replace(r"\*", r"\w*"), text)):
            missing.append(named)
    assert missing == []


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"])
def test_project_files_are_there(repo_dir: Path, name: str) -> None:
    assert (repo_dir / name).read_text(encoding="utf-8").strip()


def _moves(page: Path) -> dict[str, set[str]]:
    """The first table of a page with the columns `from` and `to`."""
    text = page.read_text(encoding="utf-8").split("| from | to |\n|---|---|\n", 1)[1]
    rows = [line.strip("|").split("|") for line in text.split("\n\n", 1)[0].splitlines()]
    return {re.findall(r"`(\w+)`", left)[0]: set(re.findall(r"`(\w+)`", right)) for left, right in rows}


def test_the_moves_of_link_and_breaker_are_those_of_the_code(repo_dir: Path) -> None:
    pages = repo_dir / "docs" / "IMPLEMENTATION"
    link = {state.value: {one.value for one in found} for state, found in link_moves.items()}
    breaker = {state.value: {one.value for one in found} for state, found in breaker_moves.items()}
    assert _moves(pages / "link.md") == link
    assert _moves(pages / "resilience.md") == breaker
    assert set(link) == {state.value for state in LinkState}
    assert set(breaker) == {state.value for state in BreakerState}


def test_the_pacing_rules_are_those_of_the_code(repo_dir: Path) -> None:
    page = (repo_dir / "docs" / "IMPLEMENTATION" / "resilience.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (\d+)", page, re.MULTILINE))
    assert rows == {rule.name: str(rule.limit) for rule in default_rules()}
