"""History pacing over restarts: nothing that was asked for is forgotten, and what cannot be read counts as full."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import JournalUnwritable
from ibkr_connector.resilience import Grant, Pacer, Wait, Work
from ibkr_connector.resilience.rules import history
from ibkr_connector.session.windows import KeptWindows, PacingFiles

ACCOUNT = "DU1234567"


def bars(contract: str = "1") -> Work:
    return history(contract=contract, exchange="SMART", what_to_show="TRADES", identity=contract, bar_seconds=5)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Run:
    """One run of the program."""

    def __init__(self, folder: Path, clock: ManualClock, client_id: int = 2) -> None:
        self.pacer, self.clock = Pacer(), clock
        self.problems: list[str] = []
        self.files = PacingFiles(folder, ACCOUNT, client_id, clock)
        self.kept = KeptWindows(self.files, clock, self.problems.append)

    async def ask(self, contract: str) -> None:
        grant = self.pacer.reserve(self.clock.monotonic(), bars(contract))
        assert isinstance(grant, Grant)
        await self.kept.keep(self.pacer, 5.0)
        self.pacer.sent(grant, self.clock.monotonic())
        self.pacer.done(grant, self.clock.monotonic())

    def waits(self, contract: str) -> str:
        answer = self.pacer.reserve(self.clock.monotonic(), bars(contract))
        if isinstance(answer, Grant):
            self.pacer.give_back(answer, self.clock.monotonic())
            return ""
        return answer.rule


async def begun(folder: Path, clock: ManualClock, client_id: int = 2) -> Run:
    made = Run(folder, clock, client_id)
    await made.kept.take_over(made.pacer)
    return made


def path_of(folder: Path, client_id: int = 2) -> Path:
    return folder / ACCOUNT / f"pacing-{client_id}.json"


def written_at(path: Path, clock: ManualClock, ago: float) -> None:
    at = (clock.now() - timedelta(seconds=ago)).timestamp()
    os.utime(path, (at, at))


async def test_what_was_asked_for_counts_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    first = await begun(tmp_path, clock)
    await first.ask("1")
    clock.advance(5.0)
    second = await begun(tmp_path, clock)
    assert (second.waits("1"), second.waits("2")) == ("history-identical", "")
    clock.advance(10.2)
    assert second.waits("1") == ""
    assert second.problems == []


async def test_sixty_of_the_last_run_leave_none_for_this_one(tmp_path: Path, clock: ManualClock) -> None:
    first = await begun(tmp_path, clock)
    for number in range(60):
        await first.ask(str(number))
        clock.advance(1.0)
    second = await begun(tmp_path, clock)
    assert second.waits("100") == "history-long"
    clock.advance(541.0 + 1.0)
    assert second.waits("100") == ""


async def test_a_program_killed_between_leave_and_write_has_it_on_file(tmp_path: Path, clock: ManualClock) -> None:
    first = await begun(tmp_path, clock)
    assert isinstance(first.pacer.reserve(clock.monotonic(), bars("1")), Grant)
    await first.kept.keep(first.pacer, 5.0)  # killed here
    assert (await begun(tmp_path, clock)).waits("1") == "history-identical"


async def test_other_client_ids_of_the_account_count_too(tmp_path: Path, clock: ManualClock) -> None:
    await (await begun(tmp_path, clock, client_id=7)).ask("1")
    mine = await begun(tmp_path, clock)
    assert mine.waits("1") == "history-identical"
    await mine.ask("2")
    assert {path.name for path in (tmp_path / ACCOUNT).glob("pacing-*")} == {"pacing-7.json", "pacing-2.json"}


@pytest.mark.skipif(os.name != "posix", reason="permissions mean something on POSIX only")
async def test_the_file_is_its_owners_alone(tmp_path: Path, clock: ManualClock) -> None:
    await (await begun(tmp_path, clock)).ask("1")
    path = path_of(tmp_path)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 99, "at": "2026-01-05T15:00:00+00:00", "windows": []}',
        b"x" * 100_000,
        b'{"version": 1}',
    ],
    ids=["empty", "cut", "list", "future", "large", "shape"],
)
async def test_a_file_that_cannot_be_read_counts_as_full_windows(
    tmp_path: Path, clock: ManualClock, content: bytes
) -> None:
    path_of(tmp_path).parent.mkdir()
    path_of(tmp_path).write_bytes(content)
    written_at(path_of(tmp_path), clock, 60.0)
    run = await begun(tmp_path, clock)
    assert run.waits("1") == "history-long"
    assert len(run.problems) == 1
    assert "full" in run.problems[0] or "cannot be used" in run.problems[0]
    clock.advance(530.0)
    assert run.waits("1") == "history-long"
    clock.advance(12.0)
    assert run.waits("1") == ""


async def test_a_damaged_file_of_long_ago_holds_nothing_up(tmp_path: Path, clock: ManualClock) -> None:
    path_of(tmp_path).parent.mkdir()
    path_of(tmp_path).write_bytes(b"{")
    written_at(path_of(tmp_path), clock, 3_600.0)
    assert (await begun(tmp_path, clock)).waits("1") == ""


async def test_a_disk_that_fails_holds_no_history_up_and_is_told_once(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begun(tmp_path, clock)

    def full(_: Any) -> None:
        raise JournalUnwritable("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(run.files, "save", full)
        await run.ask("1")
        await run.ask("2")
    assert len(run.problems) == 1
    assert "no space left" in run.problems[0]
    await run.ask("3")
    monkeypatch.setattr(run.files, "save", full)
    await run.ask("4")
    assert len(run.problems) == 2


async def test_who_only_looks_leaves_no_folder(tmp_path: Path, clock: ManualClock) -> None:
    await begun(tmp_path / "state", clock)
    assert not (tmp_path / "state").exists()


async def test_callers_that_come_while_a_save_runs_share_the_next(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await begun(tmp_path, clock)
    go, saved = threading.Event(), []
    save: Callable[[Any], None] = run.files.save

    def slowly(state: Any) -> None:
        go.wait(10.0)
        saved.append(len(state["windows"]))
        save(state)

    monkeypatch.setattr(run.files, "save", slowly)
    grants = []
    tasks = []
    for number in range(5):
        grants.append(run.pacer.reserve(clock.monotonic(), bars(str(number))))
        tasks.append(asyncio.create_task(run.kept.keep(run.pacer, 5.0)))
        await asyncio.sleep(0)
    assert not any(isinstance(grant, Wait) for grant in grants)
    go.set()
    await asyncio.gather(*tasks)
    assert len(saved) == 2
    after = await begun(tmp_path, clock)
    assert [after.waits(str(number)) for number in range(5)] == ["history-identical"] * 5
