"""The examples run as they are, and the README shows those very files."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibkr_connector.cli.app import app
from ibkr_connector.config import load_settings
from ibkr_connector.testing import HostedGateway

REPO = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted(path.name for path in (REPO / "examples").glob("*.py") if not path.name.startswith("test_"))
SAID = {
    "first_order.py": r"bought 100 at [\d.]+\nprotected by Order\(.*STP, working",
    "blocking.py": r"bought 100 at [\d.]+\nprotected by sync Order\(.*STP, working",
    "bracket.py": r"in at [\d.]+, out at [\d.]+",
    "stream_quotes.py": r"(?=(?s:.*)AAPL     [\d.]+ / )(?s:.*)EUR\.USD  [\d.]+ / ",
    "web.py": r"bought 100 at [\d.]+\nprotected by Order\(.*STP, working",
    "watch_events.py": r"(?s)link: disconnected → connecting.*now working.*now cancelled.*ready → closed",
}
WEB = ("aiohttp", "cryptography", "ibind")
NEEDS = {"watched.py": ("aiohttp", "prometheus_client"), "web.py": WEB}
FENCE = re.compile(r"(?:<!-- (?P<name>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
README = (REPO / "README.md").read_text("utf-8")

SAID["watched.py"] = re.escape(next(m["text"] for m in FENCE.finditer(README) if m["language"] == "text"))


@pytest.fixture
def gateway() -> Iterator[HostedGateway]:
    both = all(importlib.util.find_spec(name) for name in WEB)
    with HostedGateway(seed=7, web_port=0 if both else None) as hosted:
        yield hosted


def environment(gateway: HostedGateway, folder: Path) -> dict[str, str]:
    here = {"IBKR_PORT": str(gateway.tws_port), "IBKR_STATE_DIR": str(folder / "state")}
    if gateway.gateway.web_port is not None:
        here["IBKR_WEB_URL"] = gateway.web_url
    return {**os.environ, **here}


def run(gateway: HostedGateway, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
        cwd=folder,
        env={**environment(gateway, folder), "PYTHONIOENCODING": "utf-8"},
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_it_says(name: str, gateway: HostedGateway, tmp_path: Path) -> None:
    for extra in NEEDS.get(name, ()):
        pytest.importorskip(extra, reason="an extra is not installed")
    ran = run(gateway, tmp_path, str(REPO / "examples" / name))
    assert ran.returncode == 0, ran.stderr
    assert re.search(SAID[name], ran.stdout), ran.stdout
    assert "Traceback" not in ran.stderr


def test_the_example_of_a_test_passes(gateway: HostedGateway, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    target = tmp_path / "test_my_strategy.py"
    target.write_bytes((REPO / "examples" / "test_my_strategy.py").read_bytes())
    ran = run(gateway, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(target))
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


def test_every_example_is_named_here() -> None:
    assert sorted(SAID) == EXAMPLES


# --- the README -------------------------------------------------------------------------------------------------------


def blocks(language: str) -> list[re.Match[str]]:
    return [match for match in FENCE.finditer(README) if match["language"] == language]


def test_the_readme_s_code_is_the_examples_code() -> None:
    found = blocks("python")
    assert [match["name"] for match in found] == [
        "examples/first_order.py",
        "examples/blocking.py",
        "examples/watched.py",
        "examples/test_my_strategy.py",
    ]
    for match in found:
        assert match["text"] == (REPO / match["name"]).read_text("utf-8"), match["name"]


def test_the_readme_s_settings_are_settings(tmp_path: Path) -> None:
    (text,) = [match["text"] for match in blocks("ini")]
    path = tmp_path / "ibkr_config.ini"
    path.write_text(text, "utf-8")
    settings = load_settings(path, environ={})
    assert settings.notes == ()
    assert settings.risk_limits.max_order_size == 500


def test_the_readme_s_commands_exist() -> None:
    import typer

    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"ibkr-connector ([a-z]+)", README)) - {"is"}
    assert named <= known
    assert {"demo", "paper", "doctor", "buy"} <= named
    launcher = (REPO / "dev").read_text("utf-8")
    for word in set(re.findall(r"^\./dev (?:--print )?(\w+)", README, re.MULTILINE)):
        assert f"./dev {word}" in launcher


# --- its section about the Web API: the commands it shows, one after the other ----------------------------------------

PROGRAM = [sys.executable, "-m", "ibkr_connector.cli"]
(WEB_TEXT,) = [m["text"] for m in FENCE.finditer(README) if m["language"] == "bash" and "IBKR_BACKEND=web" in m["text"]]
WEB_LINES = [shlex.split(line, comments=True) for line in WEB_TEXT.splitlines()]


def shown(first: str) -> list[list[str]]:
    """The words of the commands that begin so, without the program's name."""
    return [words[1:] for words in WEB_LINES if words[:1] == ["ibkr-connector"] and words[1] == first]


@pytest.mark.parametrize("words", shown("demo"), ids=" ".join)
def test_the_readme_s_demos_over_the_web_api_hold(words: list[str], tmp_path: Path) -> None:
    for extra in (*WEB, *(("Crypto",) if "--oauth" in words else ())):
        pytest.importorskip(extra, reason="an extra is not installed")
    ran = subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, encoding="utf-8", timeout=58, check=False, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "every claim holds" in ran.stdout


def test_the_readme_s_commands_over_the_web_api_work(gateway: HostedGateway, tmp_path: Path) -> None:
    for extra in WEB:
        pytest.importorskip(extra, reason="an extra is not installed")
    ((_, *options),) = shown("paper")
    assert options == ["--web-port", "5000"]
    (exported,) = [dict(word.split("=", 1) for word in words[1:]) for words in WEB_LINES if words[:1] == ["export"]]
    assert exported["IBKR_WEB_URL"] == "http://127.0.0.1:5000/v1/api/"
    chosen = {**environment(gateway, tmp_path), **exported, "IBKR_WEB_URL": gateway.web_url}
    for words in [*shown("doctor"), *shown("buy")]:
        ran = subprocess.run(
            [*PROGRAM, *words], capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path, env=chosen
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(gateway.truth.of("recv_place", source="web")) == 1
    assert gateway.truth.of("fill")


def test_the_readme_s_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [target for target in targets if not target.startswith("http") and not (REPO / target).exists()]
    assert missing == []
