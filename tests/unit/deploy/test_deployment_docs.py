"""The pages on deployment: their settings exist, and their docker commands name files and services that do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ibkr_connector.config import load_settings
from ibkr_connector.config.settings import field_specs

yaml = pytest.importorskip("yaml", reason="needs the development extra (PyYAML)")

REPO = Path(__file__).resolve().parents[3]
PAGES = [REPO / "docs" / "DEPLOYMENT.md", *sorted((REPO / "docs" / "deployment").glob("*.md"))]
FENCE = re.compile(r"```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
ALL = "\n".join(page.read_text("utf-8") for page in PAGES)


def blocks(language: str) -> list[str]:
    return [found["text"] for found in FENCE.finditer(ALL) if found["language"] == language]


def test_every_way_has_a_page_that_the_index_names() -> None:
    index = PAGES[0].read_text("utf-8")
    assert {page.name for page in PAGES[1:]} == {"desk.md", "ib-gateway.md", "gnzsnz.md", "ibeam.md", "oauth.md"}
    assert [page.name for page in PAGES[1:] if f"(deployment/{page.name})" not in index] == []


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
@pytest.mark.parametrize(
    "topic", ["second factor", "Sundays", "## Check", "doctor", "## What goes wrong", "Not run here"]
)
def test_a_page_tells_what_each_page_has_to(page: Path, topic: str) -> None:
    assert topic in page.read_text("utf-8")


@pytest.mark.parametrize("text", blocks("ini"))
def test_settings_on_the_pages_are_settings(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ibkr_config.ini"
    path.write_text(text, "utf-8")
    assert load_settings(path, environ={}).notes == ()


def test_variables_on_the_pages_are_settings() -> None:
    named = set(re.findall(r"\bIBKR_[A-Z_]+\b", ALL))
    known = {spec.env for spec in field_specs()}
    assert sorted(named - known) == []


def test_docker_commands_name_files_and_services_that_exist() -> None:
    lines = [line.split("  #")[0] for text in blocks("bash") for line in text.splitlines()]
    lines += re.findall(r"`(docker compose -f [^`]+)`", ALL)
    found = [shlex.split(line) for line in lines if line.startswith("docker compose ")]
    assert len(found) > 10
    for words in found:
        path = REPO / "deploy" / words[words.index("-f") + 1]
        assert path.is_file(), words
        services = yaml.safe_load(path.read_text("utf-8"))["services"]
        if "exec" in words:
            assert words[words.index("exec") + 1] in services, words


def test_scripts_named_on_the_pages_exist() -> None:
    named = set(re.findall(r"\b(deploy/[\w./-]+\.(?:py|sh|yml)|deploy/Dockerfile)", ALL))
    named = {name for name in named if not name.startswith("deploy/compose.") or name.endswith(".yml")}
    assert named
    assert [name for name in sorted(named) if not (REPO / name).is_file()] == []


def test_ports_on_the_pages_are_those_of_the_compose_files() -> None:
    for name, way in (
        ("compose.ib-gateway.yml", "ib-gateway"),
        ("compose.gnzsnz.yml", "gnzsnz"),
        ("compose.ibeam.yml", "ibeam"),
    ):
        page = (REPO / "docs" / "deployment" / f"{way}.md").read_text("utf-8")
        (gateway,) = [
            one
            for one in yaml.safe_load((REPO / "deploy" / name).read_text("utf-8"))["services"].values()
            if "ports" in one
        ]
        published = {port.rpartition(":")[0] for port in gateway["ports"]}
        assert published == set(re.findall(r"^\| `(127\.0\.0\.1:\d+)`", page, re.MULTILINE))
