"""The process in which mutants live and die: everything but the package is loaded once, each mutant gets a fork.

A fork starts in milliseconds where a fresh interpreter with pytest, hypothesis and pydantic takes a second. It reads
the mutated file from a copy of the checkout, which it finds through PYTHONPATH, as processes that the tests start do.
Linux and macOS only: it needs `fork`.
"""

from __future__ import annotations

import contextlib
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
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
    "-o",
    "timeout=10",
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
    # Unchanged tests hang in no way: on a busy machine they get all the time they need.
    options = [option for option in _OPTIONS if option not in ("-x", "timeout=10")]
    code = pytest.main([*options, "timeout=60", *folders], plugins=[recorder])
    measuring.stop()
    data = measuring.get_data()
    lines = {
        str(Path(name).relative_to(Path.cwd())): {str(line): who for line, who in data.contexts_by_lineno(name).items()}
        for name in data.measured_files()
    }
    report = {"code": int(code), "failed": recorder.failed, "seconds": recorder.seconds, "lines": lines}
    target.write_text(json.dumps(report), "utf-8")


class Output:
    """What a child says, through a pipe: tests of a full disk forbid their process to write into any file."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        self._text = bytearray()

    def take_over(self) -> None:
        """In the child: whatever it prints goes here."""
        for stream in (1, 2):
            os.dup2(self._in, stream)

    def drain(self) -> bytes:
        """In the parent: what came since the last time. A child whose pipe is full would wait for ever."""
        fresh = bytearray()
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._out, 1 << 16):
                fresh += part
        self._text = (self._text + fresh)[-(1 << 20) :]
        return bytes(fresh)

    def close(self) -> bytes:
        """The end of all that was said."""
        self.drain()
        os.close(self._in)
        os.close(self._out)
        return bytes(self._text)


def try_mutant(tests: Sequence[str], limit: float, log: Path) -> tuple[str, float]:
    """Run tests in a fork: ("killed" | "survived" | "timeout", seconds). The changed file is in its place already.

    `limit` is in seconds of processor time, so that a busy machine kills no mutant; who hangs without using any meets
    the tests' own timeouts, or four times the limit and two minutes.
    """
    begin = time.perf_counter()
    output = Output()
    child = os.fork()
    if child == 0:
        _in_child(tests, limit, output)
    deadline = begin + 120 + 4 * limit
    pause = 0.002
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        output.drain()
        if done or time.perf_counter() > deadline:
            log.write_bytes(output.close())
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


def _in_child(tests: Sequence[str], limit: float, output: Output) -> None:
    code = 70
    try:
        os.setsid()
        output.take_over()
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
            output = Output()
            child = os.fork()
            if child == 0:
                output.take_over()
                survey(job["tests"], Path(job["target"]))
                sys.stdout.flush()
                os._exit(0)
            done = 0
            while not done:
                done, _ = os.waitpid(child, os.WNOHANG)
                os.write(2, output.drain())
                time.sleep(0.05)
            output.close()
            answers.write(json.dumps({"done": True}) + "\n")
            continue
        verdict, seconds = try_mutant(job["tests"], job["limit"], Path(job["log"]))
        answers.write(json.dumps({"verdict": verdict, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    serve()
