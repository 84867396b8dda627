"""What every test gets: hypothesis profiles, the leak check, the folder with other people's fixtures."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# What fails under a planted change need not be made small: nobody reads it.
settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.register_profile("dev", deadline=None, max_examples=100)
settings.register_profile("deep", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

REPO = Path(__file__).resolve().parent.parent
GRACE = 5.0
"""Seconds a thread or task that is ending already may take; nothing waits when nothing is left."""


@pytest.fixture(scope="session")
def repo_dir() -> Path:
    """The checkout's root."""
    return REPO


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of other people's fixtures and data; the test skips where it is absent."""
    shared = REPO.parent / "shared"
    if not (shared / "fixtures").is_dir():
        pytest.skip(f"needs the folder {shared.name}/ beside the checkout (captured fixtures, market data)")
    return shared


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own IBKR_* variables do not reach the tests."""
    for name in [name for name in os.environ if name.startswith("IBKR_") and not name.startswith("IBKR_TEST_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """What a program under test does to the loggers of the package and of its libraries ends with the test."""
    loggers = [logging.getLogger(name) for name in ("ibkr_connector", "ib_insync", "ib_async", "ibind")]
    before = [(one.level, one.propagate, one.disabled, list(one.handlers)) for one in loggers]
    yield
    for one, state in zip(loggers, before, strict=True):
        one.level, one.propagate, one.disabled, one.handlers[:] = state
    loggers[0].manager._clear_cache()  # type: ignore[attr-defined]


# --- leaks (INV-11): leaving a thread, a task or a socket behind fails a test ---------------------------------------


def _sockets() -> set[tuple[int, int]]:
    """The process's open sockets as (descriptor, inode). Empty on Windows, which has no list of descriptors."""
    folder = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    if sys.platform == "win32" or not Path(folder).is_dir():
        return set()
    found = set()
    for entry in Path(folder).iterdir():
        try:
            status = os.fstat(int(entry.name))
        except OSError:
            continue  # the descriptor of the listing itself
        if stat.S_ISSOCK(status.st_mode):
            found.add((int(entry.name), status.st_ino))
    return found


def _allowed(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("leaks_allowed") is not None


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare threads and sockets before and after; what is ending gets a moment to end."""
    threads, sockets = set(threading.enumerate()), _sockets()
    yield
    if _allowed(request):
        return
    deadline = time.monotonic() + GRACE
    left = [thread for thread in threading.enumerate() if thread not in threads]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    alive = [thread.name for thread in left if thread.is_alive()]
    if alive:
        pytest.fail(f"threads left behind: {', '.join(sorted(alive))}", pytrace=False)
    if _sockets() - sockets:
        # A closed socket's descriptor may wait in a reference cycle; pytest reports that one as a ResourceWarning.
        gc.collect()
        leaked = _sockets() - sockets
        if leaked:
            pytest.fail(
                f"sockets left open: {len(leaked)} (descriptors {sorted(fd for fd, _ in leaked)})", pytrace=False
            )


@pytest.fixture
async def _no_tasks_left(request: pytest.FixtureRequest, _no_leaks: None) -> AsyncIterator[None]:
    """Compare the loop's tasks before and after a test and its fixtures; what is ending gets a moment to end."""
    before = asyncio.all_tasks()
    yield
    if _allowed(request):
        return
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, pending = await asyncio.wait(left, timeout=GRACE)
        if pending:
            names = sorted(f"{task.get_name()} {getattr(task.get_coro(), '__qualname__', '')}" for task in pending)
            pytest.fail(f"tasks left behind: {'; '.join(names)}", pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every asynchronous test the task check, before its own fixtures, so that it looks after theirs ended."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, "_no_tasks_left")
