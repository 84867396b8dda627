"""The developer launcher: the commands it shows are the ones the documents promise; a second run installs nothing."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def envs(tmp_path: Path) -> Path:
    """A folder where no environment exists yet."""
    return tmp_path / "envs"


def dev(repo_dir: Path, envs: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher as a user would."""
    environ = {**os.environ, "IBKR_DEV_ENVS": str(envs), **variables}
    command = [sys.executable, str(repo_dir / "dev"), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)


def shown(repo_dir: Path, envs: Path, *words: str, **variables: str) -> list[str]:
    """The commands it shows, with the environments' folder left out."""
    done = dev(repo_dir, envs, "--print", *words, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.removeprefix("$ ") for line in done.stdout.splitlines() if line.startswith("$ ")]
    return [line.replace(f"{envs}{os.sep}", "").replace("Scripts", "bin").replace(".exe", "") for line in lines]


def after_setup(commands: list[str]) -> list[str]:
    """The commands that are not about making environments."""
    return [line for line in commands if " -m venv " not in line and " -m pip " not in line]


def load(repo_dir: Path) -> ModuleType:
    """The launcher as a module."""
    loader = importlib.machinery.SourceFileLoader("dev_launcher", str(repo_dir / "dev"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_printing_runs_nothing(repo_dir: Path, envs: Path) -> None:
    assert shown(repo_dir, envs, "test")
    assert not envs.exists()


def test_test_runs_every_check_in_both_environments(repo_dir: Path, envs: Path) -> None:
    launcher = load(repo_dir)
    parallel, waiting = " ".join(launcher.SHARED), " ".join(launcher.WAITING)
    assert after_setup(shown(repo_dir, envs, "test")) == [
        ".venv/bin/ruff check .",
        ".venv/bin/ruff format --check .",
        ".venv/bin/mypy",
        ".venv/bin/lint-imports --no-logo",
        f".venv/bin/python -m pytest tests/unit {parallel}",
        f".venv/bin/python -m pytest -m protocol tests/integration {waiting}",
        f".venv/bin/python -m pytest -m 'not protocol' tests/integration {waiting}",
        f".venv-ib_async/bin/python -m pytest -m 'not protocol' tests/integration {waiting}",
    ]


def test_what_runs_in_one_environment_only_does_not_touch_a_client_library(repo_dir: Path) -> None:
    once = [
        path.read_text("utf-8")
        for path in (repo_dir / "tests/integration").rglob("test_*.py")
        if "pytest.mark.protocol" in path.read_text("utf-8")
    ]
    assert once
    for text in once:
        imported = "\n".join(line for line in text.splitlines() if re.match(r"(from|import) ", line))
        assert not re.search(r"ib_insync|ib_async|support\.connector|ibkr_connector(?!\.(paper|fees)\b)", imported)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["test", "unit", "-k", "foo"], [".venv/bin/python -m pytest tests/unit -k foo"]),
        (["test", "-k", "foo and bar"], [".venv/bin/python -m pytest -k 'foo and bar'"]),
        (["test", "tests/unit/x.py", "-q"], [".venv/bin/python -m pytest tests/unit/x.py -q"]),
        (
            ["test", "integration", "--lib", "ib_async", "-x"],
            [".venv-ib_async/bin/python -m pytest -m 'not protocol' tests/integration -x"],
        ),
        (["lint"], [".venv/bin/ruff check .", ".venv/bin/ruff format --check ."]),
        (["types"], [".venv/bin/mypy"]),
        (["demo", "--market", "lean:x"], [".venv/bin/ibkr-connector demo --market lean:x"]),
        (["demo", "--lib=ib_async"], [".venv-ib_async/bin/ibkr-connector demo"]),
        (["ci"], ["bash .ci/run"]),
        (["mutants", "--only", "core"], [".venv/bin/python -m tools.mutants --only core"]),
        (["build"], [".venv/bin/python -m build --no-isolation --outdir dist"]),
    ],
)
def test_a_command_is_what_the_documents_say(words: list[str], expected: list[str], repo_dir: Path, envs: Path) -> None:
    assert after_setup(shown(repo_dir, envs, *words)) == expected


def test_a_part_of_the_tests_is_not_held_to_the_minimum_of_all(repo_dir: Path, envs: Path) -> None:
    assert after_setup(shown(repo_dir, envs, "coverage"))[-1] == ".venv/bin/python -m coverage report"
    part = after_setup(shown(repo_dir, envs, "coverage", "tests/unit"))
    assert part[0] == ".venv/bin/python -m coverage run -m pytest tests/unit"
    assert part[-1] == ".venv/bin/python -m coverage report --fail-under=0"


def test_the_bench_gets_both_libraries(repo_dir: Path, envs: Path) -> None:
    (line,) = after_setup(shown(repo_dir, envs, "bench", "--quick"))
    assert line.startswith("IBKR_BENCH_IB_ASYNC_PYTHON=.venv-ib_async/bin/python .venv/bin/python")
    assert line.endswith("benchmarks/run.py --quick")


def test_the_two_libraries_never_meet_in_one_environment(repo_dir: Path, envs: Path) -> None:
    commands = [line for line in shown(repo_dir, envs, "setup") if " -m pip install " in line]
    first = [line for line in commands if line.startswith(".venv/")]
    second = [line for line in commands if line.startswith(".venv-ib_async/")]
    assert len(first) + len(second) == len(commands)
    assert all("-c requirements/constraints.txt" in line for line in first)
    assert all("--no-deps" in line for line in second)
    lists = {path.name: path.read_text("utf-8") for path in (repo_dir / "requirements").iterdir()}
    mine, other = lists["constraints.txt"], lists["constraints-ib_async.txt"]
    assert "ib-insync==" in mine
    assert not re.search(r"^(ib_async|aeventkit)\b", mine, re.MULTILINE)
    assert "ib_async==" in other
    assert not re.search(r"^(ib.insync|eventkit)\b", other, re.MULTILINE)


def test_the_constraints_hold_names_and_versions_only(repo_dir: Path) -> None:
    for path in (repo_dir / "requirements").iterdir():
        for line in path.read_text("utf-8").splitlines():
            marker = r"( ; (sys_platform|python_version) (==|<) \"[a-z0-9.]+\")?"
            assert re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9A-Za-z.]+" + marker, line), line


def test_a_wheel_is_installed_instead_of_the_checkout(repo_dir: Path, envs: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "ibkr_connector-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    commands = shown(repo_dir, envs, "test", "unit", f"--installed={wheel}")
    assert any(f"{wheel}[dev]" in line for line in commands)
    assert not any(" -e " in line for line in commands)
    missing = dev(repo_dir, envs, "test", "--installed", "dist/none.whl")
    assert (missing.returncode, "./dev build" in missing.stderr) == (2, True)


def test_a_second_run_installs_nothing_until_the_requirements_change(
    repo_dir: Path, envs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBKR_DEV_ENVS", str(envs))
    module = load(repo_dir)
    calls: list[str] = []

    def pretend(_self: object, *command: object, failed: str) -> None:
        calls.append(" ".join(map(str, command)))
        python = envs / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    monkeypatch.setattr(module.Dev, "must", pretend)

    def setup() -> int:
        calls.clear()
        module.Dev(show=False, lib="ib_insync", wheel=None).setup("ib_insync")
        return len(calls)

    assert (setup(), setup()) == (2, 0)
    stamp = envs / ".venv/dev-stamp.json"
    stamp.write_text(re.sub(r'("packages": ")\w+', r"\1older", stamp.read_text()))
    assert (setup(), setup()) == (1, 0), "changed requirements are installed into the same environment"


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (["tset"], {}, "There is no command tset."),
        (["test", "--lib", "ibapi"], {}, "--lib is one of"),
        (["test", "--lib"], {}, "needs a value"),
        (["setup"], {"IBKR_DEV_PYTHON": "no-such-python"}, "is no Python interpreter"),
    ],
)
def test_a_mistake_is_answered_with_what_is_right(
    words: list[str], variables: dict[str, str], said: str, repo_dir: Path, envs: Path
) -> None:
    done = dev(repo_dir, envs, *words, **variables)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_python_that_is_too_old_or_has_no_venv_is_named_with_the_fix(
    repo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load(repo_dir)
    monkeypatch.setattr(module, "version_of", lambda _path: (3, 10))
    monkeypatch.setenv("IBKR_DEV_PYTHON", sys.executable)
    with pytest.raises(module.Problem, match=r"is Python 3\.10; 3\.11 or newer is needed"):
        module.find_python()
    monkeypatch.setattr(module.sys, "version_info", (3, 10, 0))
    with pytest.raises(module.Problem, match="apt-get install python3"):
        module.main(["test"])
    monkeypatch.setattr(module.subprocess, "run", lambda *_a, **_k: subprocess.CompletedProcess([], 1))
    with pytest.raises(module.Problem, match="apt-get install python3-venv"):
        module.check_venv(Path("python3"))


def test_help_lists_the_commands(repo_dir: Path, envs: Path) -> None:
    done = dev(repo_dir, envs, "help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("./dev setup", "./dev test", "./dev demo", "bench", "--print"))


@pytest.mark.parametrize(
    ("line", "is_summary"),
    [
        ("============ 812 passed, 3 skipped in 40.10s ============", True),
        ("=== 1 failed, 2 passed, 1 warning in 75.20s (0:01:15) ===", True),
        ("19 passed in 0.05s", True),
        ("============ no tests ran in 0.01s ============", True),
        ("tests/unit/test_x.py ..... [100%]", False),
        ("short test summary info", False),
    ],
)
def test_pytest_s_summary_line_is_recognised(line: str, is_summary: bool, repo_dir: Path) -> None:
    assert bool(load(repo_dir).SUMMARY.match(line)) is is_summary
