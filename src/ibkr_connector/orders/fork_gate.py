"""Keeping fork() and SQLite apart.

SQLite has locks of its own for the whole process. A child made while one of our threads is inside SQLite inherits them
taken, for ever: its first journal would wait without end.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType

_FORK_WAIT_S = 2.0
"""How long a fork waits for the threads inside: a disk that hangs must not hang the program's forks."""


class ForkGate:
    """`with sqlite_gate:` around every use of SQLite, by any number of threads at once; a fork waits for them all."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._mine = threading.local()
        self._inside = 0
        self._forks = 0

    def __enter__(self) -> None:
        depth = self._mine.depth = getattr(self._mine, "depth", 0) + 1
        if depth == 1:
            with self._changed:
                self._changed.wait_for(lambda: not self._forks, _FORK_WAIT_S)
                self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mine.depth -= 1
        if not self._mine.depth:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until nobody is inside, and let nobody in."""
        with self._changed:
            self._forks += 1
            self._changed.wait_for(lambda: not self._inside, _FORK_WAIT_S)

    def after_in_parent(self) -> None:
        """Let everybody in again."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    def after_in_child(self) -> None:
        """Those who were inside did not come along."""
        self._changed = threading.Condition()
        self._mine = threading.local()
        self._inside = self._forks = 0


sqlite_gate = ForkGate()
"""The one gate of this process."""

if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(
        before=sqlite_gate.before_fork,
        after_in_parent=sqlite_gate.after_in_parent,
        after_in_child=sqlite_gate.after_in_child,
    )
