"""The restart of the gateway: only when it is due, never twice in a period, no shell, no secret, no hanging command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ibkr_connector.clock import SystemClock
from ibkr_connector.config.gateway import GatewaySettings
from ibkr_connector.errors import (
    CircuitOpen,
    ClientIdInUse,
    ConnectionRefused,
    LiveTradingRefused,
    RequestTimeout,
)
from ibkr_connector.events import Severity
from ibkr_connector.session.link import LinkNews
from ibkr_connector.session.restart import GatewayRestart, Trouble

WHERE = "127.0.0.1:4002"
REFUSED = ConnectionRefused("nobody listens")
PYTHON = sys.executable


class QuickClock(SystemClock):
    """Real time, but nobody waits."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Desk:
    """One program's restarts."""

    def __init__(self, folder: Path, *command: str, **settings: object) -> None:
        self.told: list[tuple[str, str, Severity]] = []
        self.clock = QuickClock()
        given = GatewaySettings.model_validate(
            {"restart_command": list(command) or None, "restart_after": 2, "restart_wait": 7.0, **settings}
        )
        self.restart = GatewayRestart(
            given, where=WHERE, state_dir=folder, clock=self.clock, tell=lambda *told: self.told.append(told)
        )

    async def trouble(self, times: int = 2) -> bool:
        for _ in range(times):
            self.restart.trouble.failed(REFUSED)
        return await asyncio.wait_for(self.restart.run_if_due(), 20.0)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.told]


def runs(folder: Path, *words: str) -> tuple[str, ...]:
    """A command that adds a line to a file, its arguments as they came."""
    code = "import json,sys; open(sys.argv[1], 'a').write(json.dumps(sys.argv[2:]) + chr(10))"
    return (PYTHON, "-c", code, str(folder / "runs"), *words)


def lines(folder: Path) -> list[list[str]]:
    path = folder / "runs"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(20.0):
        while not condition():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)


# --- when -------------------------------------------------------------------------------------------------------------


def test_only_what_a_restart_could_mend_counts() -> None:
    trouble = Trouble(after=2)
    for error in (
        CircuitOpen("closed for now", retry_after=1.0, state="open", plane="connect"),
        ClientIdInUse("in use"),
        LiveTradingRefused("a live account"),
        ValueError("our own bug"),
        asyncio.CancelledError(),
    ):
        trouble.failed(error)
    assert trouble.why(0.0) == ""
    trouble.failed(REFUSED)
    assert trouble.why(0.0) == ""
    trouble.failed(RequestTimeout("the start-up sync did not finish"))
    assert "2 connection attempts failed" in trouble.why(0.0)
    trouble.went_well()
    assert trouble.why(0.0) == ""


def test_a_farm_that_stays_broken_is_a_reason_where_that_is_configured() -> None:
    trouble, silent = Trouble(after=9, farms_after=60.0), Trouble(after=9)
    for one in (trouble, silent):
        one.heard(LinkNews("usfarm", up=False), 100.0)
        one.heard(LinkNews("usfarm", up=False), 150.0)
        one.heard(LinkNews("broker", up=False), 0.0)
    assert trouble.why(159.9) == ""
    assert "usfarm has been broken for 60 s" in trouble.why(160.0)
    assert silent.why(10_000.0) == ""
    trouble.heard(LinkNews("usfarm", up=True), 161.0)
    assert trouble.why(10_000.0) == ""
    trouble.heard(LinkNews("ushmds", up=False), 200.0)
    trouble.new_connection()
    assert trouble.why(10_000.0) == ""


async def test_without_a_command_nothing_is_ever_run(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert not desk.restart.configured
    assert not await desk.trouble(100)
    assert lines(tmp_path) == []


async def test_the_command_is_run_after_enough_failures_and_then_waited_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, *runs(tmp_path))
    assert not await desk.trouble(1)
    assert await desk.trouble(1)
    assert lines(tmp_path) == [[]]
    assert desk.clock.slept[-1] == 7.0
    (kind, text, severity), *rest = desk.told
    assert (kind, severity, rest) == ("gateway_restarted", Severity.WARNING, [])
    assert "2 connection attempts failed in a row" in text
    assert "exit code 0" in text


async def test_at_most_once_in_a_period_whoever_asks(tmp_path: Path) -> None:
    first, second = Desk(tmp_path, *runs(tmp_path)), Desk(tmp_path, *runs(tmp_path))
    assert await first.trouble()
    assert not await first.trouble(50)
    assert not await second.trouble(50), "another program of the machine, or the same one after a restart"
    assert len(lines(tmp_path)) == 1
    assert second.kinds == []


async def test_two_programs_at_the_same_moment_run_it_once(tmp_path: Path) -> None:
    desks = [Desk(tmp_path, *runs(tmp_path)) for _ in range(4)]
    assert sorted(await asyncio.gather(*(desk.trouble() for desk in desks))) == [False, False, False, True]
    assert len(lines(tmp_path)) == 1


async def test_who_had_to_wait_for_the_other_does_not_take_its_restart_for_one_of_the_future(tmp_path: Path) -> None:
    first, second = Desk(tmp_path, *runs(tmp_path)), Desk(tmp_path, *runs(tmp_path))
    exclusive = first.restart._file.exclusive

    @contextlib.contextmanager
    def after_the_other() -> Iterator[None]:
        assert second.restart._claim() == 0.0
        with exclusive():
            yield

    first.restart._file.exclusive = after_the_other  # type: ignore[assignment, method-assign]
    assert 0.0 < first.restart._claim() <= GatewaySettings().restart_period


async def test_after_the_period_it_is_run_again(tmp_path: Path) -> None:
    first = Desk(tmp_path, *runs(tmp_path))
    assert await first.trouble()
    path = tmp_path / "gateway-restarts.json"
    path.write_text(
        json.dumps({"version": 1, "last": {WHERE: "2020-01-01T00:00:00+00:00", "other:1": "2020-01-01T00:00:00+00:00"}})
    )
    assert await Desk(tmp_path, *runs(tmp_path)).trouble()
    kept = json.loads(path.read_text())["last"]
    assert set(kept) == {WHERE, "other:1"}
    assert not kept[WHERE].startswith("2020")


@pytest.mark.parametrize(
    "said", ["{", "[]", '{"version": 9, "last": {}}', '{"version": 1, "last": {"a": 1}}', '{"x": 1}']
)
async def test_without_knowing_when_it_was_run_last_it_is_not_run(tmp_path: Path, said: str) -> None:
    (tmp_path / "gateway-restarts.json").write_text(said)
    desk = Desk(tmp_path, *runs(tmp_path))
    assert not await desk.trouble()
    assert not await desk.trouble()
    assert lines(tmp_path) == []
    assert desk.kinds == ["gateway_restart_failed"], "told once"


@pytest.mark.skipif(os.name != "posix", reason="permissions mean something on POSIX only")
async def test_its_record_is_its_owners_alone(tmp_path: Path) -> None:
    assert await Desk(tmp_path / "new", PYTHON, "-c", "").trouble()
    assert (tmp_path / "new" / "gateway-restarts.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


# --- how --------------------------------------------------------------------------------------------------------------


async def test_arguments_reach_the_program_as_they_are_and_no_shell_reads_them(tmp_path: Path) -> None:
    words = ("a b", "$HOME", "; touch pwned", "*", "`id`", "'")
    desk = Desk(tmp_path, *runs(tmp_path, *words))
    assert await desk.trouble()
    assert lines(tmp_path) == [list(words)]


def test_a_line_of_the_settings_file_is_split_like_a_command_line() -> None:
    settings = GatewaySettings(restart_command="docker compose -f 'my file.yml' restart ib-gateway")
    assert settings.restart_argv == ("docker", "compose", "-f", "my file.yml", "restart", "ib-gateway")
    assert GatewaySettings().restart_argv == ()
    for wrong in ("echo 'unbalanced", "   "):
        with pytest.raises(ValueError, match="split into program"):
            GatewaySettings(restart_command=wrong)


async def test_our_variables_are_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBKR_PASSWORD", "hunter2")
    monkeypatch.setenv("OTHER", "stays")
    code = (
        "import json,os,sys; found=[os.getenv('IBKR_PASSWORD'), os.getenv('OTHER')];"
        "open(sys.argv[1], 'w').write(json.dumps(found))"
    )
    desk = Desk(tmp_path, PYTHON, "-c", code, str(tmp_path / "runs"))
    assert await desk.trouble()
    assert lines(tmp_path) == [[None, "stays"]]


async def test_its_exit_code_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PYTHON, "-c", "raise SystemExit(3)")
    assert await desk.trouble()
    assert desk.told[0][0] == "gateway_restart_failed"
    assert desk.told[0][2] is Severity.CRITICAL
    assert "exit code 3" in desk.told[0][1]


async def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, str(tmp_path / "missing"))
    assert await desk.trouble()
    assert desk.kinds == ["gateway_restart_failed"]
    assert "cannot be run" in desk.told[0][1]


async def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess,sys,time; child=subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "open(sys.argv[1],'w').write(str(child.pid)); time.sleep(600)"
    )
    desk = Desk(tmp_path, PYTHON, "-c", code, str(tmp_path / "pid"), restart_timeout=2.0)
    assert await desk.trouble()
    assert "was ended after 2 s" in desk.told[0][1]
    await until(lambda: not alive(int((tmp_path / "pid").read_text())))


async def test_a_child_that_keeps_the_output_open_holds_nobody_up(tmp_path: Path) -> None:
    code = "import subprocess,sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])"
    desk = Desk(tmp_path, PYTHON, "-c", code, restart_timeout=10.0)
    assert await asyncio.wait_for(desk.trouble(), 15.0)
    assert desk.kinds == ["gateway_restarted"]


async def test_whoever_is_cancelled_ends_the_command(tmp_path: Path) -> None:
    code = "import os,sys,time; open(sys.argv[1],'w').write(str(os.getpid())); time.sleep(600)"
    desk = Desk(tmp_path, PYTHON, "-c", code, str(tmp_path / "pid"), restart_timeout=600.0)
    task = asyncio.create_task(desk.trouble())
    pid = tmp_path / "pid"
    await until(lambda: pid.exists() and bool(pid.read_text()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(int(pid.read_text()))


async def test_what_it_writes_is_logged_cut_and_redacted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = "import sys; print('x' * 100_000); print('password=hunter2 done', file=sys.stderr)"
    desk = Desk(tmp_path, PYTHON, "-c", code)
    with caplog.at_level(logging.WARNING):
        assert await desk.trouble()
    assert "done" in caplog.text
    assert "hunter2" not in caplog.text
    assert len(caplog.text) < 8_000
