"""What an operator opened stays open: over restarts, in every program of the gateway, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import JournalError
from ibkr_connector.resilience import Breaker, BreakerState
from ibkr_connector.session.operator import FILE_NAME, PLANES, OperatorWord

HERE, ELSEWHERE = "127.0.0.1:4002", "127.0.0.1:7497"


class Program:
    """The breakers of one run of one program."""

    def __init__(self, folder: Path, where: str = HERE, resting: BreakerState = BreakerState.CLOSED) -> None:
        self.word = OperatorWord(folder, where, ManualClock())
        self.breakers = {plane: Breaker(plane, rng=Random(1), resting=resting) for plane in PLANES}

    def open(self) -> dict[str, str]:
        """The planes that are forced open once the word was heeded, and why."""
        self.word.heed(self.breakers.values())
        shown = [breaker.snapshot(1.0) for breaker in self.breakers.values()]
        return {one.name: one.reason for one in shown if one.state is BreakerState.FORCED_OPEN}


def test_what_was_opened_holds_in_every_program_and_after_a_restart_until_it_is_reset(tmp_path: Path) -> None:
    running, other = Program(tmp_path), Program(tmp_path, ELSEWHERE)
    assert running.open() == {}
    running.word.force_open("orders", "quarterly maintenance")
    assert running.open() == {"orders": "quarterly maintenance"}
    assert Program(tmp_path).open() == {"orders": "quarterly maintenance"}
    assert other.open() == {}
    other.word.force_open("reads", "elsewhere")
    assert running.word.reset("orders")
    assert not running.word.reset("orders")
    assert running.open() == Program(tmp_path).open() == {}
    assert running.breakers["orders"].state is BreakerState.CLOSED
    assert other.open() == {"reads": "elsewhere"}


def test_a_breaker_that_only_watches_can_be_opened_and_goes_back_to_watching(tmp_path: Path) -> None:
    program = Program(tmp_path, resting=BreakerState.METRICS_ONLY)
    program.word.force_open("connect", "no")
    assert program.open() == {"connect": "no"}
    program.word.reset("connect")
    assert program.open() == {}
    assert program.breakers["connect"].state is BreakerState.METRICS_ONLY


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"version": 2, "gateways": {}}', '{"version": 1, "gateways": {"a": 1}}']
)
def test_a_word_that_cannot_be_read_holds_the_orders_back_and_nothing_else(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    program = Program(tmp_path)
    found = program.open()
    assert set(found) == {"orders"}
    assert FILE_NAME in found["orders"]
    with pytest.raises(JournalError):
        program.word.reset("orders")
    (tmp_path / FILE_NAME).unlink()
    assert program.open() == {}


def test_a_word_of_a_newer_version_holds_its_plane_open(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"version": 1, "gateways": {"127.0.0.1:4002": {"reads": {"version": 9}}}}')
    assert set(Program(tmp_path).open()) == {"reads"}


@pytest.mark.skipif(os.name != "posix", reason="permissions mean something on POSIX only")
def test_the_file_is_its_owners_alone_and_who_only_looks_makes_none(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert Program(folder).open() == {}
    assert not folder.exists()
    Program(folder).word.force_open("reads", "x")
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
