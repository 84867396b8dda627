"""Disks that really fail: full, read-only, with a journal that is gone, locked or behind a disk that hangs."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ibkr_connector.orders.journal_file import JournalFile
from support.connector import ACCOUNT

_PAGE = 4096


class Outage:
    """A state directory and what happens to the disk under it. `end` gives the disk back; not every kind can."""

    ends = True

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    @property
    def journals(self) -> list[Path]:
        """The files of the journal."""
        return sorted((self.state_dir / ACCOUNT).glob("journal.sqlite3*"))

    def begin(self) -> None:
        """From now on the journal cannot be written."""
        raise AssertionError

    def end(self) -> None:
        """From now on it can. Idempotent."""

    def image(self, folder: Path) -> Path:
        """What a program that is killed now would leave on the disk, as a state directory of its own."""
        return Path(shutil.copytree(self.state_dir, folder))


class _Full(Outage):
    def begin(self) -> None:
        with contextlib.suppress(OSError), (self.state_dir / "other").open("wb", buffering=0) as other:
            while True:
                other.write(b"x" * _PAGE)
        with contextlib.suppress(OSError), (self.state_dir / "more").open("wb", buffering=0) as other:
            while True:
                other.write(b"x")

    def end(self) -> None:
        (self.state_dir / "other").unlink(missing_ok=True)
        (self.state_dir / "more").unlink(missing_ok=True)

    def image(self, folder: Path) -> Path:
        return Path(shutil.copytree(self.state_dir, folder, ignore=shutil.ignore_patterns("other", "more")))


class _NoGrowth(Outage):
    """The kernel refuses every byte of this process: what a full disk is to a program, without needing a small one."""

    def begin(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def end(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    def image(self, folder: Path) -> Path:
        # In another process: with room in this one the journal would be written meanwhile.
        words = 'ulimit -S -f unlimited && cp -r "$0" "$1"'
        subprocess.run(["sh", "-c", words, str(self.state_dir), str(folder)], check=True)
        return folder


class _ReadOnly(Outage):
    """What the kernel does to a file system that has met an error: for good, until it is repaired."""

    ends = False

    def begin(self) -> None:
        _run("mount", "-o", "remount,abort", str(self.state_dir))


class _Deleted(Outage):
    """Moved away, and put back in time."""

    def begin(self) -> None:
        (self.state_dir / "aside").mkdir()
        for path in self.journals:
            path.rename(self.state_dir / "aside" / path.name)

    def end(self) -> None:
        for path in (self.state_dir / "aside").glob("*"):
            path.rename(self.state_dir / ACCOUNT / path.name)


class _Locked(Outage):
    """Somebody has the sqlite3 shell open, in the middle of a transaction. SQLite waits 5 s for that."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self._other: sqlite3.Connection | None = None

    def begin(self) -> None:
        self._other = sqlite3.connect(self.state_dir / ACCOUNT / "journal.sqlite3", isolation_level=None)
        self._other.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        if self._other is not None:
            self._other.close()


class _Hanging(Outage):
    """Nothing fails, and nothing comes back."""

    def __init__(self, state_dir: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(state_dir)
        self.answers = threading.Event()
        self.answers.set()
        begin = JournalFile.begin

        def slow(file: JournalFile, *, durable: bool) -> None:
            self.answers.wait()
            begin(file, durable=durable)

        patch.setattr(JournalFile, "begin", slow)

    def begin(self) -> None:
        self.answers.clear()

    def end(self) -> None:
        self.answers.set()


KINDS = ("full", "no growth", "read-only", "deleted", "locked", "hanging")


@contextlib.contextmanager
def outage_of(kind: str, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """A state directory in `folder` whose disk can fail in this way. Skips where the system has no such disk."""
    state_dir = folder / "state"
    state_dir.mkdir()
    with contextlib.ExitStack() as undo:
        if kind == "full":
            _mount(undo, state_dir, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
        elif kind == "read-only":
            image = folder / "disk.img"
            with image.open("wb") as file:
                file.truncate(8 << 20)
            _run("mkfs.ext4", "-q", str(image))
            _mount(undo, state_dir, "-o", "loop", str(image))
        made: dict[str, Callable[[Path], Outage]] = {
            "full": _Full,
            "no growth": _NoGrowth,
            "read-only": _ReadOnly,
            "deleted": _Deleted,
            "locked": _Locked,
        }
        outage = _Hanging(state_dir, patch) if kind == "hanging" else made[kind](state_dir)
        undo.callback(outage.end)
        yield outage


def _mount(undo: contextlib.ExitStack, where: Path, *words: str) -> None:
    _run("mount", *words, str(where))
    undo.callback(_run, "umount", "-l", str(where))


def _run(*words: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"{words[0]} needs root")
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this system does not let {' '.join(words[:3])}: {error}")
