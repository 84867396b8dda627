"""The exported audit trail: every durable line once, whatever happens to the file or the program in between."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.watch.audit import AuditExport, last_line, noted_head

SECONDS = 20.0


class Trail:
    """A journal's trail, as far as the export sees it."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []
        self.positions: list[int] = []
        self.troubles: list[str] = []
        self.troubled = threading.Event()

    def add(self, count: int = 1) -> None:
        for _ in range(count):
            seq = len(self.kept) + 1
            self.kept.append({"seq": seq, "kind": "sending", "hash": f"h{seq}"})

    def lines(self, after: int) -> list[dict[str, Any]]:
        return self.kept[after : after + 3]

    def told(self, why: str) -> None:
        self.troubles.append(why)
        self.troubled.set()


@pytest.fixture
def trail() -> Trail:
    return Trail()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "trail.jsonl"


def exported(path: Path, trail: Trail, position: int = 0, during: Callable[[AuditExport], None] | None = None) -> None:
    export = AuditExport(
        path,
        account="DU1",
        lines=trail.lines,
        position=position,
        on_copied=trail.positions.append,
        on_trouble=trail.told,
    )
    export.start()
    if during is not None:
        during(export)
    export.close(SECONDS)


def seqs(path: Path) -> list[int]:
    return [json.loads(line)["seq"] for line in path.read_text().splitlines()]


def test_every_line_is_there_once_over_several_runs_and_only_its_owner_reads_it(path: Path, trail: Trail) -> None:
    trail.add(8)

    def more(export: AuditExport) -> None:
        trail.add(2)
        export.notify()

    exported(path, trail, during=more)
    trail.add(2)
    exported(path, trail)
    assert seqs(path) == list(range(1, 13))
    assert {json.loads(line)["account"] for line in path.read_text().splitlines()} == {"DU1"}
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_rotated_is_begun_anew_with_the_next_line_in_the_next_run_too(path: Path, trail: Trail) -> None:
    trail.add(4)
    exported(path, trail)
    path.rename(path.with_suffix(".1"))
    trail.add(2)
    exported(path, trail, position=trail.positions[-1])
    assert (seqs(path), trail.positions) == ([5, 6], [3, 4, 6])


def test_half_a_line_of_a_program_that_was_killed_is_taken_back(path: Path, trail: Trail) -> None:
    trail.add(3)
    exported(path, trail)
    with path.open("ab") as file:
        file.write(b'{"account":"DU1","seq":4,"ha')
    trail.add(1)
    exported(path, trail)
    assert seqs(path) == [1, 2, 3, 4]


def test_accounts_can_share_a_file(path: Path, trail: Trail) -> None:
    trail.add(2)
    exported(path, trail)
    with path.open("a") as file:
        file.write('{"account":"DU2","seq":9,"hash":"other"}\n')
    trail.add(1)
    exported(path, trail)
    assert seqs(path) == [1, 2, 9, 3]


def test_a_file_that_does_not_fit_the_journal_is_told_and_the_whole_trail_follows(path: Path, trail: Trail) -> None:
    trail.add(3)
    exported(path, trail)
    trail.kept.clear()
    trail.add(1)
    trail.kept[0]["hash"] = "anew"
    exported(path, trail)
    assert seqs(path) == [1, 2, 3, 1]
    assert "not in the journal" in trail.troubles[0]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_that_cannot_be_written_is_told_once_and_written_when_it_can_be(
    tmp_path: Path, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkr_connector.watch.audit._RETRY_S", 0.01)
    blocked = tmp_path / "folder"
    blocked.mkdir()
    trail.add(2)

    def mend(_: AuditExport) -> None:
        assert trail.troubled.wait(SECONDS)
        blocked.rmdir()

    exported(blocked, trail, during=mend)
    assert (seqs(blocked), len(trail.troubles)) == ([1, 2], 1)


def test_the_last_line_is_that_of_the_account(path: Path, trail: Trail) -> None:
    assert last_line(path, "DU1") is None
    trail.add(2)
    exported(path, trail)
    with path.open("a") as file:
        file.write("no json\n[]\n")
    assert last_line(path, "DU1") == (2, "h2")
    assert last_line(path, "DU9") is None


OURS, THEIRS = (json.dumps({"account": name, "seq": 4, "hash": "h4"}).encode() + b"\n" for name in ("DU1", "DU2"))


@pytest.mark.parametrize(
    ("text", "position", "damaged"),
    [
        (b"", None, False),
        (THEIRS, None, False),
        (b"garbage\n", None, True),
        (OURS, (4, "h4"), False),
        (OURS + THEIRS * 40_000, (4, "h4"), False),  # further back than an export looks
        (OURS + b"\n", (4, "h4"), False),
        (OURS + OURS[:-9], (4, "h4"), False),  # the program ended while it wrote
        (OURS + OURS[:-9] + b"\n", (4, "h4"), True),
        (OURS + b"\xff\x00\n", (4, "h4"), True),
        (OURS + b"[]\n", (4, "h4"), True),
        (OURS + b'{"account":"DU1","seq":1e999,"hash":"h5"}\n', (4, "h4"), True),
        (OURS + b'{"account":"DU1","seq":5}\n', (4, "h4"), True),
        (OURS + b"[" * 200_000 + b"\n", (4, "h4"), True),
        (OURS + b"x" * 3_000_000 + b"\n", (4, "h4"), True),
        (b"garbage\n" + OURS, (4, "h4"), False),
    ],
    ids=range(15),
)
def test_a_file_is_a_witness_by_the_last_line_of_the_account_and_a_damaged_end_is_told(
    tmp_path: Path, text: bytes, position: tuple[int, str] | None, damaged: bool
) -> None:
    (tmp_path / "file").write_bytes(text)
    assert noted_head(tmp_path / "file", "DU1") == (position, damaged)
