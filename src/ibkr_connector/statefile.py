"""A small record that processes share: read whole, replaced whole, changed by one at a time.

The trading state lies in one (`<state_dir>/<account>/trading.json`): every connector of the account reads it before
each write, and a command in another process changes it. Reading costs some 20 microseconds and takes no lock.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ibkr_connector.errors import JournalError, JournalInUse, JournalUnwritable
from ibkr_connector.store import FileLock, translate, write_atomic

_LARGEST = 65_536
"""Bytes: a record is a few lines; anything larger is not one of ours."""
_TRY_AGAIN_S = 0.005


class StateFile:
    """One JSON object in a file of its own. Safe from any thread and process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parsed: tuple[bytes | None, Mapping[str, Any]] = (None, {})

    def read(self) -> Mapping[str, Any] | None:
        """What is stored now; None when there is no file.

        Raises: JournalError when the file cannot be read, or is none of ours.
        """
        try:
            with self.path.open("rb") as file:
                raw = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translate(error, self.path) from error
        before, parsed = self._parsed
        if raw == before:  # the usual case: nothing has changed
            return parsed
        try:
            found = json.loads(raw) if len(raw) <= _LARGEST else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise JournalError(f"{self.path} cannot be understood", path=str(self.path))
        self._parsed = (raw, found)
        return found

    def write(self, data: Mapping[str, Any]) -> None:
        """Replace what is stored; durable on return. Raises: JournalUnwritable."""
        write_atomic(self.path, json.dumps(dict(data), indent=1).encode() + b"\n")

    @contextlib.contextmanager
    def exclusive(self, timeout: float = 1.0) -> Iterator[None]:
        """Be the only one who changes it, in any process. Held for one read and one write.

        Raises: JournalUnwritable when another holds it for longer than `timeout` seconds, or it cannot be locked.
        """
        lock, pause = FileLock(self.path.with_suffix(".lock")), threading.Event()
        for left in range(max(round(timeout / _TRY_AGAIN_S), 1), 0, -1):
            try:
                lock.acquire()
                break
            except JournalInUse as error:
                if left == 1:
                    raise JournalUnwritable(
                        f"{self.path} is being changed by another process for more than {timeout:g} s.",
                        remedy="Look for a stopped `ibkr-connector` process, then try again.",
                        pid=error.context.get("pid"),
                    ) from None
                pause.wait(_TRY_AGAIN_S)
        try:
            yield
        finally:
            lock.release()
