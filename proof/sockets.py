"""The engine on real sockets: one schedule in real time, in processes that are killed with SIGKILL.

The gateway is one process, the connector with its agents another, now and then a third trades the same account. This
module starts them, kills them, asks them, and writes down what it did; what happened is read from the files afterwards.
It blocks its thread: many runs at a time take many threads, each of which mostly waits.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from datetime import datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import msgspec

from ibkr_connector.paper.truth import TruthEntry
from proof import sockets_child, sockets_others
from proof.dice import SYMBOLS
from proof.evidence import Evidence
from proof.history import AT_THE_END, Note
from proof.schedule import Schedule, to_json
from proof.sockets_child import Birth
from proof.sockets_files import (
    FAULTS,
    OUTSIDE,
    SCHEDULE,
    TRUTH,
    FileHistory,
    history_file,
    read_evidence,
    read_notes,
    read_truth,
    to_toml,
)
from proof.web_schedule import DOWN_S

LONGEST_S = 600.0
"""After so long a run is given up as hanging."""
SETTLE_S = 150.0
"""What doubts get to settle once nothing fails any more."""
READY_S = 120.0
_ANSWER_S = 60.0
"""What anything else that is asked for may take."""
_LIVE_S = 3.0
_STRANGERS = 0.2
"""In so many runs another program trades the same account."""
_PRELOAD = [
    "proof.sockets_child", "proof.sockets_others", "ibkr_connector.sync", "ibkr_connector.paper.gateway",
    "ibkr_connector.paper.control", "exchange_calendars", "proof.web_preload",
]  # fmt: skip
"""Imported once, by the process that the others are forked from. Not the client library: it wants a running loop."""


class Stuck(Exception):
    """Somebody does not answer, or has ended without being asked."""


class SocketRun:
    """One schedule from beginning to end; leaves everything in its folder."""

    def __init__(
        self, schedule: Schedule, folder: Path, library: str = "auto", *, stranger: bool | None = None, canary: str = ""
    ) -> None:
        """`stranger`: whether another program trades the same account; None: the seed says it. `canary`: see there."""
        self._canary = canary
        self._web_url = ""
        self.schedule = schedule
        self.folder = folder
        self._library = library
        self._rng = random.Random(f"{schedule.seed}:sockets")
        chosen = self._rng.random() < _STRANGERS and not schedule.account.startswith("U")
        self._has_stranger = chosen if stranger is None else stranger
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOAD)
        self._history = FileHistory(folder / OUTSIDE)
        self._crashes = [crash for crash in schedule.crashes if crash.at == "time"]
        self._armed = True
        self._scripted = False
        self._processes: list[ForkServerProcess] = []
        self._pipes: list[Connection] = []
        self._child: ForkServerProcess
        self._pipe: Connection
        self._stranger: ForkServerProcess | None = None
        self._stranger_at: float | None = None
        self._idle = False
        self._number = 0
        self._zero = self._until = 0.0
        self._control = 0
        self._port = 0

    # --- the whole ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run it. What goes wrong stands in the files."""
        schedule = self.schedule
        (self.folder / SCHEDULE).write_bytes(to_json(schedule))
        (self.folder / FAULTS).write_text(to_toml(schedule.faults), "utf-8")
        (self.folder / "none.ini").touch()
        try:
            self._begin()
            if schedule.account.startswith("U"):
                self._await_idle()
                time.sleep(_LIVE_S)
            else:
                self._quiesce()
            self._end()
        except Stuck as stuck:
            self._history.add("hang", text=str(stuck))
            self._dump()
        finally:
            self._bury()
            self._history.close()

    def _begin(self) -> None:
        words = sockets_others.gateway_words(self.schedule, self.folder)
        asking = self.schedule.asking if self.schedule.backend == "web" else None
        _, pipe = self._spawn(sockets_others.gateway_main, words, asking)
        try:
            if not pipe.poll(_ANSWER_S):
                raise Stuck("the gateway did not start")
            ready = pipe.recv()
        except EOFError:
            raise Stuck("the gateway ended at its start") from None
        self._port, self._control = ready["tws_port"], ready["control_port"]
        self._web_url = ready.get("web_url", "")
        self._zero = time.monotonic()
        self._until = self._zero + LONGEST_S
        for trouble in self.schedule.troubles:
            self._history.lines.put(_disk(self._zero + trouble.time, full=True))
            self._history.lines.put(_disk(self._zero + trouble.time + trouble.seconds, full=False))
        self._start()
        self._stranger_at = self._zero + self._rng.uniform(2.0, 8.0) if self._has_stranger else None

    # --- processes ---------------------------------------------------------------------------------------------------

    def _spawn(self, target: Any, *args: Any) -> tuple[ForkServerProcess, Connection]:
        """Start a process that is given `args` and the other end of a pipe."""
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=target, args=(*args, theirs), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        self._pipes.append(mine)
        return process, mine

    def _start(self) -> None:
        """Start the connector's process on the same state directory, with what is left of the script."""
        passed: dict[str, int] = {}
        for number in range(1, self._number + 1):
            for note in read_notes(history_file(self.folder, number)):
                if note.kind == "passed":
                    passed[note.data["step"]] = passed.get(note.data["step"], 0) + 1
        self._number += 1
        birth = Birth(
            folder=self.folder,
            number=self._number,
            port=self._port,
            zero=self._zero,
            passed=passed,
            scripted=self._scripted,
            crashes=self.schedule.crashes if self._armed else (),
            library=self._library,
            web_url=self._web_url,
            canary=self._canary,
        )
        self._history.add("started", process=self._number)
        self._child, self._pipe = self._spawn(sockets_child.main, birth)
        self._idle = False

    def _kill(self, why: str, down: float) -> None:
        """End the connector's process with SIGKILL; start another one `down` seconds later."""
        if self._child.is_alive():
            self._child.kill()
        self._child.join()
        if not self._killed_itself():
            self._history.add("crashed", why=why, down=down)
        self._restart(down)

    def _restart(self, down: float) -> None:
        time.sleep(down)
        self._start()

    def _killed_itself(self) -> float | None:
        """How long it is to stay down, when the last process ended at a step it was to end at."""
        for note in read_notes(history_file(self.folder, self._number)):
            if note.kind == "crashed":
                return float(note.data["down"]) or 0.001
        return None

    def _on_death(self) -> None:
        self._child.join()
        down = self._killed_itself()
        if down is None:
            raise Stuck(f"the connector's process {self._number} ended by itself with {self._child.exitcode}")
        self._restart(down)

    def _bury(self) -> None:
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()
            process.close()
        for pipe in self._pipes:
            pipe.close()

    def _dump(self) -> None:
        """Let the connector's process write where its threads are."""
        with contextlib.suppress(OSError, ValueError):
            if self._child.is_alive() and self._child.pid:
                os.kill(self._child.pid, signal.SIGUSR1)
                time.sleep(0.5)

    # --- the script --------------------------------------------------------------------------------------------------

    def _await_idle(self) -> None:
        """Until the agents are done and every crash has had its time, with whatever is to happen meanwhile."""
        while True:
            now = time.monotonic()
            self._check_deadline(now)
            if self._stranger_at is not None and now >= self._stranger_at:
                self._stranger_at = None
                self._let_stranger_in()
            due = [crash for crash in self._crashes if self._zero + crash.time <= now]
            for crash in due:
                self._crashes.remove(crash)
            if due:
                self._kill("time", due[-1].down)
                continue
            ends = self._zero + self.schedule.lasts + 0.5
            if self._idle and self._stranger_at is None and (now >= ends or not self._armed):
                return
            moments = [self._zero + crash.time for crash in self._crashes] + [self._until]
            moments += [ends] if self._idle and now < ends else []
            moments += [self._stranger_at] if self._stranger_at is not None else []
            self._look(min(moments) - now)

    def _look(self, seconds: float) -> Any:
        """Wait for a word of the connector's process, or its end. Returns what it said, if it is no news of agents."""
        ready = wait([self._pipe, self._child.sentinel], max(0.0, seconds))
        if self._pipe in ready:
            with contextlib.suppress(EOFError, OSError):
                said = self._pipe.recv()
                if said[0] != "idle":
                    return said
                self._idle = self._scripted = True
                return None
        if self._child.sentinel in ready:
            self._on_death()
        return None

    def _check_deadline(self, now: float) -> None:
        if now >= self._until:
            raise Stuck(f"not at an end after {LONGEST_S:g} s")

    def _ask(self, *words: object, within: float = _ANSWER_S) -> str:
        """Let the connector's process do something; returns its complaint. Nothing kills it any more."""
        self._pipe.send(words)
        until = min(time.monotonic() + within, self._until)
        while time.monotonic() < until:
            before = self._number
            said = self._look(until - time.monotonic())
            if said is not None:
                return str(said[1])
            if self._number != before:
                if words[0] == "disarm":
                    return ""
                raise Stuck(f"the connector's process was killed while it was asked to {words[0]}")
        raise Stuck(f"no answer to {words[0]} in {within:g} s")

    def _let_stranger_in(self) -> None:
        symbol = self._rng.choice([name for name in SYMBOLS if name not in self.schedule.symbols])
        process = self._context.Process(
            target=sockets_others.stranger_main, args=(self.schedule, self.folder, self._port, symbol), daemon=True
        )
        process.start()
        self._processes.append(process)
        self._stranger = process

    # --- after the script --------------------------------------------------------------------------------------------

    def _quiesce(self) -> None:
        """End the faults, let everything settle, look, cancel, look again, kill the process, look once more."""
        self._await_idle()
        self._armed = False
        self._ask("disarm")
        sockets_others.control(self._control, "clear_faults")
        self._await_idle()
        if self._stranger is not None:
            self._stranger.join(READY_S)
        self._await_forwarded()
        self._ready()
        self._ask("settle", SETTLE_S, within=SETTLE_S + _ANSWER_S)
        self._look_at("settled")
        complaint = self._ask("cancel_all", 20.0)
        if complaint:
            self._history.add("remark", text=f"cancel_all at the end: {complaint}")
        self._ask("settle", SETTLE_S, within=SETTLE_S + _ANSWER_S)
        time.sleep(5.0)
        self._look_at("cancelled", "final")
        self._kill(AT_THE_END, 0.1 if self.schedule.backend == "tws" else DOWN_S)
        self._await_idle()
        self._ready()
        time.sleep(2.0)
        self._ask("picture", "recovered")

    def _await_forwarded(self) -> None:
        """Wait until the gateway holds nothing back: orders of a cut link can reach the broker later."""
        until = time.monotonic() + SETTLE_S
        while _waiting(read_truth(self.folder / TRUTH).entries) and time.monotonic() < until:
            time.sleep(1.0)

    def _ready(self) -> None:
        complaint = self._ask("ready", READY_S, within=READY_S + _ANSWER_S)
        if complaint:
            self._history.add("remark", text=f"never ready: {complaint}")
            self._history.add("unready")

    def _look_at(self, name: str, picture: str = "") -> None:
        status = sockets_others.control(self._control, "status")
        self._history.add("counted", name=name, entries=status["truth_entries"])
        self._ask("picture", picture or name)

    def _end(self) -> None:
        """Close everything in good order."""
        complaint = self._ask("close")
        if complaint:
            self._history.add("remark", text=f"close: {complaint}")
        self._child.join(5.0)
        if self._child.exitcode != 0:
            self._history.add("leftover", text=f"the process, after its close: {self._child.exitcode}")
        status = sockets_others.control(self._control, "status")
        market = datetime.fromisoformat(status["market_time"]) - self.schedule.start
        self._history.add("lasted", wire=time.monotonic() - self._zero, market=market.total_seconds())
        sockets_others.control(self._control, "shutdown")
        self._processes[0].join(10.0)


def _waiting(entries: Sequence[TruthEntry]) -> set[tuple[object, object]]:
    """Numbers of orders with a message that a cut link holds back."""
    found: set[tuple[object, object]] = set()
    for entry in entries:
        if entry.kind in {"withheld", "forwarded", "forgotten"}:
            key = entry.fields["client_id"], entry.fields["order_id"]
            (found.add if entry.kind == "withheld" else found.discard)(key)
    return found


def _disk(at: float, *, full: bool) -> bytes:
    return msgspec.json.encode(Note(at, "disk", {"full": full}))


def run_schedule(schedule: Schedule, folder: Path, *, library: str = "auto", canary: str = "") -> Evidence:
    """Run a schedule in an empty folder, and read what it left there."""
    SocketRun(schedule, folder, library, canary=canary).run()
    return read_evidence(folder)
