"""The audit trail as JSON lines, for log shippers and for keeping it where the journal is not.

A listener: a thread of its own copies what the journal has made durable, and nothing waits for it (INV-12). Only
durable lines are copied, so that no loss of power can leave a line here that the journal does not know. The file is
appended to and opened anew for every batch: a rotation that renames it needs no signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ibkr_connector.logs import get_logger

_log = get_logger(__name__)
THREAD_NAME = "ibkr-audit"
_RETRY_S = 5.0
"""Seconds between attempts while the file cannot be written."""
_TAIL = 1 << 20
"""Bytes at the end of the file that are searched for our last line: other accounts may write there too."""

Lines = Callable[[int], Sequence[Mapping[str, Any]]]
"""The next lines of the trail after a number, as plain values with `seq` and `hash`; empty when there are no more."""


class Position(NamedTuple):
    """The last line that is in the file."""

    seq: int = 0
    hash: str = ""


class AuditExport:
    """Copies one account's trail into a file, each line with its account."""

    def __init__(
        self,
        path: Path,
        *,
        account: str,
        lines: Lines,
        position: int = 0,
        on_copied: Callable[[int], None] = lambda _: None,
        on_trouble: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`position`: the line to go on after where the file tells none (it was rotated); `on_copied` is told what to
        give here the next time. What is not told in time is copied twice, never left out.

        `on_trouble` is told once per spell, on the export's thread, that the file cannot be written or does not fit.
        """
        self._path = path
        self._account = account
        self._lines = lines
        self._done = position
        self._on_copied = on_copied
        self._on_trouble = on_trouble
        self._troubled = False
        self._wake = threading.Event()
        self._closing = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)

    def start(self) -> None:
        """Begin, with what was not copied by an earlier run."""
        self._wake.set()
        self._thread.start()

    def notify(self) -> None:
        """There may be new durable lines. Returns at once; any thread."""
        self._wake.set()

    def close(self, timeout: float = 5.0) -> None:
        """Copy what is left and end the thread; a file that hangs is left behind after `timeout` seconds."""
        if self._pid != os.getpid() or self._closing:
            return
        self._closing = True
        self._wake.set()
        self._thread.join(timeout)

    # --- inside: the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._resume()
        except OSError as error:
            self._trouble(str(error))
        closing = False
        while not closing:
            self._wake.wait(_RETRY_S if self._troubled else None)
            self._wake.clear()
            closing = self._closing  # before the copying: what was durable by then is copied
            try:
                self._copy()
            except Exception as error:  # noqa: BLE001 - a disk, or a journal that cannot be read now: tried again
                self._trouble(f"{type(error).__name__}: {error}")
            else:
                self._troubled = False

    def _resume(self) -> None:
        """Go on after the last line of ours in the file; a line that was cut off by the end of a program goes."""
        last = last_line(self._path, self._account, mend=True)
        if last is None:
            return
        self._done = last.seq
        known = [line for line in self._lines(last.seq - 1)[:1] if line["seq"] == last.seq]
        if not known or known[0]["hash"] != last.hash:
            self._done = 0
            self._trouble(
                f"line {last.seq} of {self._path} is not in the journal's trail: one of them was changed, or the "
                "journal was begun anew. The whole trail follows in the file"
            )

    def _copy(self) -> None:
        while lines := self._lines(self._done):
            text = "".join(
                json.dumps({"account": self._account, **line}, separators=(",", ":")) + "\n" for line in lines
            )
            self._append(text.encode())
            self._done = int(lines[-1]["seq"])
            self._on_copied(self._done)

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        handle = os.open(self._path, flags, 0o600)
        with os.fdopen(handle, "ab") as file:
            if os.name == "posix":
                os.fchmod(handle, 0o600)
            size = os.fstat(handle).st_size
            try:
                file.write(data)
                file.flush()
                os.fsync(handle)
            except OSError:
                with contextlib.suppress(OSError):  # half of a batch would be half of a line
                    os.ftruncate(handle, size)
                raise

    def _trouble(self, why: str) -> None:
        if not self._troubled:
            _log.error("the audit trail is not exported", path=str(self._path), why=why)
            self._on_trouble(why)
        self._troubled = True


def last_line(path: Path, account: str, *, mend: bool = False) -> Position | None:
    """The last line of an account in a file of the trail; None if there is none. `mend` cuts off half a line.

    Raises: OSError other than that there is no file.
    """
    try:
        file = path.open("r+b" if mend else "rb")
    except FileNotFoundError:
        return None
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
        whole = tail.rfind(b"\n") + 1
        if mend and whole < len(tail):
            file.truncate(size - len(tail) + whole)
    for line in reversed(tail[:whole].splitlines()):
        told = _read(line)
        if told is not None and told[0] == account:
            return told[1]
    return None


class NotedHead(NamedTuple):
    """What a file of the trail says about one account."""

    position: Position | None
    """Its last line of the account, however far back."""
    damaged: bool
    """The last whole line of the file is none of a trail. Half a line after it is what a program that ended left."""


def noted_head(path: Path, account: str) -> NotedHead:
    """The last line of an account in a file that shall bear witness to its trail. Reads the whole file.

    Raises: OSError.
    """
    name = account.encode()
    position, last = None, b""
    with path.open("rb") as file:
        # A piece as long as this is no line of ours, and a file of one endless line must not fill the memory.
        while piece := file.readline(_TAIL):
            if not piece.strip() or not (piece.endswith(b"\n") or len(piece) == _TAIL):
                continue
            last = piece
            told = _read(piece) if name in piece else None
            if told is not None and told[0] == account:
                position = told[1]
    return NotedHead(position, bool(last) and _read(last) is None)


def _read(line: bytes) -> tuple[str, Position] | None:
    """The account and the place of a line; None if it is none of a trail."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    account, seq, digest = told.get("account"), told.get("seq"), told.get("hash")
    if not (isinstance(account, str) and isinstance(seq, int) and isinstance(digest, str)):
        return None
    return account, Position(seq, digest)
