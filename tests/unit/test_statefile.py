from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from ibkr_connector.errors import JournalError, JournalUnwritable
from ibkr_connector.statefile import StateFile


def test_what_is_written_is_read_by_another_and_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    here, there = StateFile(tmp_path / "a.json"), StateFile(tmp_path / "a.json")
    assert here.read() is None
    here.write({"n": 1})
    assert there.read() == {"n": 1}
    there.write({"n": 2})
    assert here.read() == {"n": 2}
    if os.name == "posix":
        assert stat.S_IMODE(here.path.stat().st_mode) == 0o600


def test_change_of_the_same_size_at_the_same_moment_is_seen(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "a.json")
    file.path.write_text(json.dumps({"n": 1}))
    told = file.path.stat()
    assert file.read() == {"n": 1}
    file.path.write_text(json.dumps({"n": 2}))
    os.utime(file.path, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert file.read() == {"n": 2}


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff\xfe", b"5", b"[" * 60_000, b'{"a":"' + b"x" * 70_000 + b'"}']
)
def test_file_that_is_none_of_ours_is_an_error(tmp_path: Path, damage: bytes) -> None:
    file = StateFile(tmp_path / "a.json")
    file.path.write_bytes(damage)
    with pytest.raises(JournalError, match="cannot be understood"):
        file.read()


def test_place_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "a.json")
    file.path.mkdir()
    with pytest.raises(JournalUnwritable, match=r"a\.json"):
        file.read()
    with pytest.raises(JournalUnwritable, match=r"a\.json"):
        file.write({})


def test_only_one_at_a_time_changes_it_and_a_second_is_told_after_its_patience(tmp_path: Path) -> None:
    file, other = StateFile(tmp_path / "a.json"), StateFile(tmp_path / "a.json")
    with file.exclusive(), pytest.raises(JournalUnwritable, match="being changed"), other.exclusive(timeout=0.02):
        raise AssertionError("both were let in")
    with other.exclusive():
        pass


def test_changes_of_many_threads_are_all_there(tmp_path: Path) -> None:
    StateFile(tmp_path / "a.json").write({"n": 0})

    def add() -> None:
        file = StateFile(tmp_path / "a.json")
        for _ in range(5):
            with file.exclusive(timeout=30):
                found = file.read()
                assert found is not None
                file.write({"n": found["n"] + 1})

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert StateFile(tmp_path / "a.json").read() == {"n": 40}
