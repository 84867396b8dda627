"""The process in which mutants live and die: everything but the package is loaded once, each mutant gets a fork.

A fork starts in milliseconds where a fresh interpreter with pytest, hypothesis and pydantic takes a second. It reads
the mutated file from a copy of the checkout, which it finds through PYTHONPATH, as processes that the tests start do.
Linux and macOS only: it needs `fork`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

_PRELOAD = (
    "hypothesis.stateful",
    "pytest_asyncio.plugin",
    "pytest_timeout",
    "_pytest.assertion.rewrite",
    "asyncio",
    "sqlite3",
    "msgspec",
    "pydantic",
    "pydantic_settings",
    "platformdirs",
    "structlog",
    "tenacity",
    "rich.console",
    "coverage",
)
_MEMORY = 4 << 30
"""Bytes a mutant may take: a loop that lost its end must not take the machine with it."""
_OPTIONS = (
    "-x",
    "-q",
    "--no-header",
    "-p",
    "no:cacheprovider",
    "-o",
    "timeout=10",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)


class Recorder:
    """Tells coverage which test runs, and keeps how long each took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """One test, from its fixtures to their end."""
        import coverage

        measuring = coverage.Coverage.current()
        if measuring is not None:
            measuring.switch_context(item.nodeid)
        begin = time.perf_counter()  # the time of tests, not of the connector
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.perf_counter() - begin
            if measuring is not None:
                measuring.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what failed."""
        if report.failed:
            self.failed.append(report.nodeid)


def preload() -> None:
    """Load what every mutant needs and no mutant changes."""
    for name in _PRELOAD:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    gc.collect()
    gc.freeze()


def survey(folders: Sequence[str], target: Path) -> None:
    """Run the tests once, unchanged, and write which test ran which line, how long each took, and what failed."""
    import coverage

    measuring = coverage.Coverage(
        data_file=str(target.with_suffix(".coverage")), source_pkgs=["ibkr_connector"], concurrency=["thread"]
    )
    measuring.start()
    recorder = Recorder()
    code = pytest.main([option for option in _OPTIONS if option != "-x"] + list(folders), plugins=[recorder])
    measuring.stop()
    data = measuring.get_data()
    lines = {
        str(Path(name).relative_to(Path.cwd())): {str(line): who for line, who in data.contexts_by_lineno(name).items()}
        for name in data.measured_files()
    }
    report = {"code": int(code), "failed": recorder.failed, "seconds": recorder.seconds, "lines": lines}
    target.write_text(json.dumps(report), "utf-8")


def try_mutant(tests: Sequence[str], limit: float, log: Path) -> tuple[str, float]:
    """Run tests in a fork: ("killed" | "survived" | "timeout", seconds). The changed file is in its place already.

    `limit` is in seconds of processor time, so that a busy machine kills no mutant; who hangs without using any meets
    the tests' own timeouts, or four times the limit and two minutes.
    """
    begin = time.perf_counter()
    child = os.fork()
    if child == 0:
        _in_child(tests, limit, log)
    deadline = begin + 120 + 4 * limit
    pause = 0.002
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end_group(child)
            code = os.waitstatus_to_exitcode(status)
            verdict = "survived" if code == 0 else "timeout" if code == -signal.SIGXCPU else "killed"
            return verdict, time.perf_counter() - begin
        if time.perf_counter() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout", time.perf_counter() - begin
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _end_group(child: int) -> None:
    """Processes that a broken test left behind."""
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _in_child(tests: Sequence[str], limit: float, log: Path) -> None:
    code = 70
    try:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(out, stream)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 30))
        code = int(pytest.main([*_OPTIONS, *tests]))
    except BaseException:  # noqa: BLE001 - a mutant may raise anything; that is a kill
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def serve() -> None:
    """Take jobs from stdin, one JSON line each, and answer on the real stdout."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    preload()
    for line in sys.stdin:
        job = json.loads(line)
        if job["kind"] == "survey":
            child = os.fork()
            if child == 0:
                survey(job["tests"], Path(job["target"]))
                os._exit(0)
            os.waitpid(child, 0)
            answers.write(json.dumps({"done": True}) + "\n")
            continue
        verdict, seconds = try_mutant(job["tests"], job["limit"], Path(job["log"]))
        answers.write(json.dumps({"verdict": verdict, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    serve()
