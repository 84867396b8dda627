"""The leak check itself: a test that leaves something behind must fail, a clean one must not."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HEADER = """
import asyncio, socket, threading
import pytest
KEEP = []
"""


def run(pytester: pytest.Pytester, repo_dir: Path, body: str) -> pytest.RunResult:
    """Run one test in a process of its own, under the project's own conftest."""
    pytester.makeconftest((repo_dir / "tests/conftest.py").read_text("utf-8").replace("GRACE = 5.0", "GRACE = 0.2"))
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
        "markers =\n    leaks_allowed(reason): no leak check\n"
    )
    pytester.makepyfile(HEADER + textwrap.dedent(body))
    return pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")


LEAKS = {
    "a thread": (
        """
        def test_it():
            stop = threading.Event()
            KEEP.append(stop)
            threading.Thread(target=stop.wait, name="forgotten", daemon=True).start()
        """,
        "threads left behind: forgotten",
    ),
    "a task": (
        """
        async def test_it():
            KEEP.append(asyncio.ensure_future(asyncio.Event().wait()))
        """,
        "tasks left behind:",
    ),
    "a task of a fixture": (
        """
        @pytest.fixture
        async def server():
            yield asyncio.ensure_future(asyncio.Event().wait())

        async def test_it(server):
            assert not server.done()
        """,
        "tasks left behind:",
    ),
    "a socket": (
        """
        def test_it():
            KEEP.append(socket.socket())
        """,
        "sockets left open: 1",
    ),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_leaving_something_behind_fails(kind: str, pytester: pytest.Pytester, repo_dir: Path) -> None:
    body, message = LEAKS[kind]
    result = run(pytester, repo_dir, body)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([f"*{message}*"])


def test_what_is_ending_already_is_no_leak(pytester: pytest.Pytester, repo_dir: Path) -> None:
    result = run(
        pytester,
        repo_dir,
        """
        async def test_it():
            loop = asyncio.get_running_loop()
            ready = asyncio.Event()
            async def end_soon():
                await asyncio.sleep(0)
            asyncio.ensure_future(end_soon())
            thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(ready.set))
            thread.start()
            await ready.wait()
            server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
            server.close()
            await server.wait_closed()
        """,
    )
    result.assert_outcomes(passed=1)


def test_the_marker_switches_the_check_off(pytester: pytest.Pytester, repo_dir: Path) -> None:
    result = run(
        pytester,
        repo_dir,
        """
        @pytest.mark.leaks_allowed("the socket is the subject")
        def test_it():
            KEEP.append(socket.socket())
        """,
    )
    result.assert_outcomes(passed=1)
