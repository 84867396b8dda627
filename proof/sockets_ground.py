"""What a connector stands on in its process on real sockets: the machine's own ground, which tells what happens on it.

Patched in before it connects: its journal tells before and after each commit of a new order, its bus notes what it is
told where it happened, and asyncio's sockets show what is written to the gateway. At a step that a schedule names
trading is killed, or the process (SIGKILL).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from asyncio import selector_events
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import ibkr_connector.assembly
from ibkr_connector.clock import Clock
from ibkr_connector.events import Event, EventBus
from ibkr_connector.ground import Ground
from ibkr_connector.orders.entries import SendingEntry
from ibkr_connector.orders.journal import Journal, Keep
from proof.schedule import At, Crash, Stop, Trouble
from proof.sockets_files import FileHistory
from proof.tap import Tap

_BEAT_S = 0.1
_STALL_S = 0.02


class Steps:
    """Counts the steps of the order road, and kills the process at the one that was chosen."""

    def __init__(
        self, history: FileHistory, passed: dict[str, int], crashes: Sequence[Crash], stops: Sequence[Stop]
    ) -> None:
        self._history = history
        self._passed = dict(passed)
        self.crashes = list(crashes)
        self.stops = list(stops)
        self.stop: Callable[[Stop], None] = lambda _: None
        """Kills trading."""

    def passed(self, step: At) -> None:
        """A step is passed now; perhaps trading is killed here, perhaps the process."""
        with self._history.lines.lock:
            count = self._passed[step] = self._passed.get(step, 0) + 1
            self._history.add("passed", step=step)
        for stop in self.stops:
            if stop.at == step and stop.nth == count:
                self.stop(stop)
        for crash in tuple(self.crashes):
            if crash.at == step and crash.nth == count:
                self._history.add_then("crashed", _die, why=step, down=crash.down)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def feel_the_pulse(history: FileHistory) -> None:
    """On a thread of its own: note when the machine gave this process no time. Deadlines are judged with that."""

    def beat() -> None:
        due = time.monotonic() + _BEAT_S
        while True:
            time.sleep(max(0.0, due - time.monotonic()))
            late = time.monotonic() - due
            if late > _STALL_S:
                history.add("stalled", seconds=round(late, 4))
            due = time.monotonic() + _BEAT_S

    threading.Thread(target=beat, name="pulse", daemon=True).start()


class NotingBus(EventBus):
    """Notes each event where it is published, and tells the listeners on their threads as ever."""

    history: FileHistory

    def publish(self, event: Event) -> None:
        """See `EventBus`."""
        self.history.event(event)
        super().publish(event)


class WatchedJournal(Journal):
    """The journal; tells before and after the commit of new orders."""

    steps: Steps
    history: FileHistory

    async def commit_sending(
        self, entries: Sequence[SendingEntry], *, patience: float | None = None, keep: Keep | None = None
    ) -> bool:
        """See `Journal`."""
        self.history.add("committing", ids={entry.request.order_ref: entry.order_id for entry in entries})
        self.steps.passed("before_commit")
        durable = await super().commit_sending(entries, patience=patience, keep=keep)
        self.steps.passed("after_commit")
        return durable


def stand_on(history: FileHistory, steps: Steps, troubles: Sequence[Trouble], zero: float) -> None:
    """Every connector made from now on in this process stands on a ground that tells."""

    def bus() -> NotingBus:
        made = NotingBus()
        made.history = history
        return made

    def open_journal(
        state_dir: Path, account: str, clock: Clock, /, *, forget_before: datetime | None = None
    ) -> Journal:
        journal = cast(WatchedJournal, WatchedJournal.open(state_dir, account, clock, forget_before=forget_before))
        journal.steps, journal.history = steps, history
        begin = journal._file.begin

        def checked(*, durable: bool) -> None:
            now = time.monotonic() - zero
            if any(one.time <= now < one.time + one.seconds for one in troubles):
                raise sqlite3.OperationalError("database or disk is full")
            begin(durable=durable)

        journal._file.begin = checked  # type: ignore[method-assign]
        for trouble in troubles:
            _tell_when_caught_up(journal, history, zero + trouble.time + trouble.seconds)
        return journal

    # `House` asks for its ground by this name when nobody gives it one.
    vars(ibkr_connector.assembly)["Ground"] = lambda: Ground(bus=bus, journal=open_journal)


def _tell_when_caught_up(journal: Journal, history: FileHistory, back: float) -> None:
    """Note when a disk that was full has everything that was kept in memory meanwhile."""

    def watch() -> None:
        time.sleep(max(0.0, back - time.monotonic()))
        while not journal.writable or journal._queue._backlog:
            time.sleep(_BEAT_S)
        history.add("disk_caught_up")

    threading.Thread(target=watch, name="disk", daemon=True).start()


def tap_writes(port: int, history: FileHistory, client_id: int, steps: Steps) -> None:
    """Note every message that goes to the gateway's port, before the kernel gets it, and pass `after_write` behind."""
    transport_class: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    write = transport_class.write

    def tapped(transport: Any, data: bytes) -> None:
        peer = transport.get_extra_info("peername")
        if peer is None or peer[1] != port:
            write(transport, data)
            return
        if "_proof" not in transport.__dict__:
            said: list[str] = []
            transport._proof = Tap(history, client_id, lambda *words: said.append(words[-1])), said
        tap, said = transport._proof
        tap.written(transport, data)
        write(transport, data)
        was_order = "place" in said
        said.clear()
        if was_order:
            steps.passed("after_write")

    transport_class.write = tapped
