"""The connector's process of the engine on real sockets: the public `IBKRConnector`, and the agents that call it.

The connector is what users get, over TCP, on a ground that tells what happens (`sockets_ground`). When the agents are
done, the process does what it is asked for: settle, look, cancel, close.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ibkr_connector.clock import system_clock
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import TradingError
from ibkr_connector.resilience import web_rules
from ibkr_connector.sync import SyncConnector
from ibkr_connector.trading import shared_control
from proof.evidence import Picture
from proof.schedule import Crash, Schedule, Stop, from_json
from proof.sockets_agents import Agents
from proof.sockets_files import MEMORY, SCHEDULE, STATE, FileHistory, history_file, open_memory
from proof.sockets_ground import Steps, feel_the_pulse, stand_on, tap_writes
from proof.sockets_others import PENALTY_S
from proof.tap_web import tap_requests

SECRET = "s3cret-Pa55word"
_AGAIN_S = 2.0
"""Between two tries to connect."""
_ENDING_S = 5.0
"""What the rooms' threads may take to end after `close`."""
_UNSETTLED = frozenset({"sending", "awaiting_executions"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a process is told when it is started."""

    folder: Path
    number: int
    """1 for the first of a run."""
    port: int
    zero: float
    """When the run began."""
    passed: dict[str, int] = field(default_factory=dict)
    """How often its predecessors passed each step."""
    scripted: bool = False
    """The agents are done: only what is asked for."""
    crashes: tuple[Crash, ...] = ()
    library: str = "auto"
    web_url: str = ""
    """Where the gateway's Web front is; empty: the connector speaks to the other one."""
    canary: str = ""
    """A bug that is planted in this process."""


class Child:
    """One life of the connector's process."""

    def __init__(self, birth: Birth, pipe: Connection) -> None:
        self.birth = birth
        self.folder = birth.folder
        self.schedule: Schedule = from_json((self.folder / SCHEDULE).read_bytes())
        self.history = FileHistory(history_file(self.folder, birth.number), SECRET)
        stops = () if birth.scripted else self.schedule.stops
        self.steps = Steps(self.history, birth.passed, birth.crashes, stops)
        self.steps.stop = self._stop
        self._pipe = pipe
        self._said = threading.Lock()
        self._before: set[str] = set()
        self.connector: IBKRConnector

    # --- its life ----------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Connect, let the agents work, do what is asked for."""
        schedule, history = self.schedule, self.history
        self._listen_for_trouble()
        stand_on(history, self.steps, schedule.troubles, self.birth.zero)
        if self.birth.web_url:
            port = urlsplit(self.birth.web_url).port or 0
            tap_requests(port, history, schedule.client_id, lambda: self.steps.passed("after_write"))
            vars(web_rules)["PENALTY_S"] = PENALTY_S + 1.0
        else:
            tap_writes(self.birth.port, history, schedule.client_id, self.steps)
        feel_the_pulse(history)
        self._before = _sockets()
        self.connector = IBKRConnector(self.folder / "none.ini", profile="proof", **self._settings())
        self.connector.on_event(lambda _: None)  # the bus has threads only where somebody listens
        if self._connect() and not self.birth.scripted:
            Agents(self.birth.folder, schedule, self.connector, history, open_memory(self.folder / MEMORY)).start(
                lambda: self._say("idle")
            )
        else:
            self._say("idle")
        while self._obey():
            pass

    def _settings(self) -> dict[str, Any]:
        schedule = self.schedule
        return {
            "mode": "paper",
            "host": "127.0.0.1",
            "port": self.birth.port,
            "client_id": schedule.client_id,
            "read_only": False,
            "state_dir": self.folder / STATE,
            "password": SECRET,
            "time_scale": schedule.speed,
            "tws_library": self.birth.library,
            "risk_limits": dict(schedule.limits),
            "watch": {"http_port": None},
            "alerts": {"webhook": "", "apprise": ""},
            **({"backend": "web", "web": self._web()} if self.birth.web_url else {}),
        }

    def _web(self) -> dict[str, Any]:
        return {"url": self.birth.web_url, "confirm": list(self.schedule.asking.confirm)}

    def _connect(self) -> bool:
        """Whether there is a connection: for as long as it takes, unless the account must be left alone."""
        while True:
            self.steps.passed("connecting")
            try:
                self.sync.connect()
            except TradingError as error:
                self.history.add("connect_failed", outcome=type(error).__name__, text=str(error)[:200])
                if self.schedule.account.startswith("U"):
                    return False
                time.sleep(_AGAIN_S)
            else:
                self.history.add("ready", process=self.birth.number)
                return True

    def _stop(self, stop: Stop) -> None:
        """Kill trading in the middle of an order's road, on its very thread, and resume after a while."""
        if self.connector.risk.trading.state.value != "active":
            return

        def resume() -> None:
            with contextlib.suppress(TradingError):
                if self.connector.resume("the schedule says so"):
                    self.history.add("resumed", where="here")

        if stop.elsewhere:
            control = shared_control(self.folder / STATE, self.schedule.account)
            control.kill("the schedule says so, elsewhere", system_clock.now())
        else:
            self.connector.kill("the schedule says so")
        self.history.add("killed", where="elsewhere" if stop.elsewhere else "step")
        timer = threading.Timer(stop.seconds, resume)
        timer.daemon = True
        timer.start()

    @property
    def sync(self) -> SyncConnector:
        """The blocking twin."""
        return self.connector.sync

    def _listen_for_trouble(self) -> None:
        """What nobody catches is a problem of the run."""
        faulthandler.register(signal.SIGUSR1, (self.folder / f"stacks-{self.birth.number}.txt").open("w"))
        logging.basicConfig(
            filename=self.folder / f"log-{self.birth.number}.txt",
            level=logging.WARNING,
            format="%(asctime)s %(name)s %(levelname)s %(message)s",
            force=True,
        )
        for name in ("ibkr_connector", "ib_insync", "ib_async"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.captureWarnings(True)
        logging.getLogger("asyncio").addHandler(_Problems(self.history))

        def uncaught(text: str) -> None:
            self.history.add("problem", text=text)

        threading.excepthook = lambda given: uncaught(f"{given.thread and given.thread.name}: {given.exc_value!r}")
        sys.unraisablehook = lambda given: uncaught(f"{given.err_msg} {given.object!r}: {given.exc_value!r}")

    # --- what it is asked for ----------------------------------------------------------------------------------------

    def _say(self, *words: object) -> None:
        with self._said, contextlib.suppress(OSError):
            self._pipe.send(words)

    def _obey(self) -> bool:
        """Do one thing; False after the last one."""
        try:
            name, *words = self._pipe.recv()
        except (EOFError, OSError):
            return False
        error = ""
        try:
            getattr(self, f"do_{name}")(*words)
        except (TradingError, TimeoutError) as raised:
            error = f"{type(raised).__name__}: {raised}"
        self._say("done", error)
        return str(name) != "close"

    def do_disarm(self) -> None:
        """No more crashes."""
        self.steps.crashes.clear()

    def do_ready(self, seconds: float) -> None:
        """Resume trading if it was stopped, and wait until orders can be placed."""
        trading = self.connector.risk.trading
        if trading.state.value != "active" and self.connector.resume("the proof ends every kill"):
            self.history.add("resumed", where="proof")
        self.sync.ready(seconds)

    def do_settle(self, seconds: float) -> None:
        """Wait until nothing is in doubt and nothing waits for a word of the broker, at most so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(1.0)
            if self._on_session(self._is_settled()) is True:
                time.sleep(1.0)
                return

    async def _is_settled(self) -> bool:
        manager = self.connector._house.manager
        waiting = [
            live
            for live in manager.desk.table.open()
            if live.record.cancel_wanted or live.record.state.value in _UNSETTLED
        ]
        return not waiting and not manager.in_doubt()

    def do_picture(self, name: str) -> None:
        """Note what the connector knows."""
        self.history.add("picture", name=name, picture=msgspec.json.encode(self._on_session(self._picture())).decode())

    async def _picture(self) -> Picture:
        return Picture.of(self.connector._house, self.schedule.account)

    def _on_session(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """On the thread that owns what is looked at."""
        return self.connector._house.thread.run_sync(coroutine, _ENDING_S)

    def do_cancel_all(self, seconds: float) -> None:
        """Cancel all own orders."""
        self.sync.cancel_all_orders(timeout=seconds)

    def do_close(self) -> None:
        """Close in good order, and look for what is left."""
        self.sync.close()
        until = time.monotonic() + _ENDING_S
        while (left := self._left()) and time.monotonic() < until:
            time.sleep(0.05)
        for text in left:
            self.history.add("leftover", text=text)

    def _left(self) -> list[str]:
        threads = [f"thread {one.name}" for one in threading.enumerate() if one.name.startswith("ibkr")]
        return threads + [f"connection {name}" for name in sorted(_sockets() - self._before)]


def _sockets() -> set[str]:
    """The sockets of this process."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            if target.startswith("socket:"):
                found.add(target)
    return found


class _Problems(logging.Handler):
    """What asyncio logs as an error, nobody has caught."""

    def __init__(self, history: FileHistory) -> None:
        super().__init__(logging.ERROR)
        self._history = history

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._history.add("problem", text=f"{record.getMessage()}: {error!r}")


def main(birth: Birth, pipe: Connection) -> None:
    """The process."""
    for name in [name for name in os.environ if name.startswith("IBKR_")]:
        del os.environ[name]
    if not birth.canary:
        Child(birth, pipe).live()
        return
    from proof.canaries_web import planted

    with planted(birth.canary):
        Child(birth, pipe).live()
