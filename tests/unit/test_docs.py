"""The documentation says what the code says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from ibkr_connector.cli.app import PROGRAM, app
from ibkr_connector.paper.main import parse as parse_paper
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


# --- commands ---------------------------------------------------------------------------------------------------------

_COMMAND = re.compile(rf"(?<![\w/:.-]){PROGRAM} (?P<words>[a-z][^`\n]*)")
_GROUP: Any = typer.main.get_command(app)


def _commands(text: str) -> list[str]:
    """The words after `ibkr-connector`, of each command in a shell block or in a span of its own."""
    shell = "\n".join(re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    spans = re.findall(rf"`([^`\n]*\b{PROGRAM} [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [found["words"].split("  #")[0].strip() for found in _COMMAND.finditer("\n".join([shell, *spans]))]


def _parsed(words: list[str]) -> str:
    """The name of the command that the words are. Raises what the parser raises."""
    if words[:2] == ["paper", "oauth-keys"]:
        assert len(words) == 3
        return "paper oauth-keys"
    if words[0] == "paper":
        parse_paper(words[1:])
        return "paper"
    command, path = _GROUP, PROGRAM
    parent = command.make_context(PROGRAM, [], resilient_parsing=True)
    while hasattr(command, "commands"):
        command, name, words = command.commands[words[0]], words[0], words[1:]
        path = f"{path} {name}"
        parent = command.make_context(name, words[:], parent=parent, resilient_parsing=hasattr(command, "commands"))
    return path.removeprefix(f"{PROGRAM} ")


def _exists(words: list[str]) -> bool:
    """Whether the words begin with a command there is, whatever they give it."""
    command = _GROUP
    while hasattr(command, "commands") and words:
        if words[0] not in command.commands:
            return False
        command, words = command.commands[words[0]], words[1:]
    return True


def _pages(repo_dir: Path) -> list[Path]:
    return [repo_dir / "README.md", repo_dir / "SECURITY.md", *sorted((repo_dir / "docs").rglob("*.md"))]


def test_commands_named_in_the_documentation_exist(repo_dir: Path) -> None:
    named = [(page.name, text) for page in _pages(repo_dir) for text in _commands(page.read_text(encoding="utf-8"))]
    assert len(named) > 30
    assert [pair for pair in named if not _exists(pair[1].split())] == []


def test_commands_on_the_deployment_pages_parse(repo_dir: Path) -> None:
    pages = [repo_dir / "docs" / "DEPLOYMENT.md", *sorted((repo_dir / "docs" / "deployment").glob("*.md"))]
    found = {_parsed(shlex.split(text)) for page in pages for text in _commands(page.read_text(encoding="utf-8"))}
    assert {"doctor", "status", "kill", "paper", "paper oauth-keys", "init", "version"} <= found


@pytest.mark.parametrize("words", ["doctor --prot 1", "status now", "paper --web 5", "config shwo", "kil why"])
def test_a_command_that_does_not_parse_would_be_noticed(words: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        _parsed(words.split())
