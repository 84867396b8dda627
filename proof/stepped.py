"""The stepped engine: one schedule, one loop, a connector that can be killed, and a gateway that fails on plan."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import tempfile
import warnings
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from ibkr_connector.assembly import House
from ibkr_connector.clock import Clock
from ibkr_connector.config import Settings, load_settings
from ibkr_connector.errors import TradingError
from ibkr_connector.facade import Facade
from ibkr_connector.orders.closing import OpenOrders
from ibkr_connector.orders.journal import Journal
from ibkr_connector.paper import PaperGateway
from ibkr_connector.paper.market import parse_market
from ibkr_connector.trading import shared_control
from proof.agent import Caller, Memory
from proof.evidence import Evidence, Picture
from proof.ground import RETRY_S, Disk, LoopClock, cut_off, step_ground, try_again
from proof.history import AT_THE_END, History
from proof.memorynet import MemoryTransport
from proof.schedule import At, Schedule, Stop, Trouble
from proof.steploop import PROCESS, Hang, Killed, Process, StepLoop
from proof.tap import Tap
from proof.truthview import TruthView

SECRET = "s3cret-Pa55word"
LONGEST_S = 3_600.0
"""Wire seconds after which a run is given up as hanging."""
SETTLE_S = 240.0
"""Wire seconds that doubts get to settle once nothing fails any more."""
_MOST_LAYERS = 20
"""Waits in `finally` blocks, one inside the other, of one dead coroutine."""
_MARKETS = 8
"""Synthetic markets: each keeps what it has drawn, so that a thousand runs do not draw it a thousand times."""


class Connector(Facade):
    """The public face over a house on the stepped ground."""

    def __init__(self, house: House) -> None:
        self.house = house

    @property
    def _house(self) -> House:
        return self.house


class StepRun:
    """One schedule from beginning to end. `run` gives the evidence; what is wrong with it the judge says."""

    def __init__(self, schedule: Schedule, state_dir: Path, library: str = "auto") -> None:
        self.schedule = schedule
        self.loop = StepLoop(schedule.seed)
        self.history = History(self.loop.time, SECRET, alive=_is_alive)
        self.memory = Memory()
        self._state_dir = state_dir
        self._library = library
        self._rng = random.Random(f"{schedule.seed}:run")
        self._disk = Disk(self.loop, random.Random(f"{schedule.seed}:disk"))
        self._disk.on_step = self._on_step
        self._tap = Tap(self.history, schedule.client_id, self._on_written)
        self.loop.net.on_connect = self._on_connect
        self._passed: dict[str, int] = {}
        self._crashes = list(schedule.crashes)
        self._gateway: PaperGateway
        self._process: Process | None = None
        self._house: House | None = None
        self._journals: list[Journal] = []
        self._graveyard: list[object] = []
        """Dead tasks and houses, kept so that no finaliser of theirs runs while the run does."""
        self._agents: list[asyncio.Task[None]] = []
        self._idle = asyncio.Event()
        self._scripted = False
        self._outside = contextvars.Context()

    # --- the whole ---------------------------------------------------------------------------------------------------

    def run(self) -> Evidence:
        """Run it. Never raises for what the connector does: that stands in the evidence."""
        evidence = Evidence(schedule=self.schedule, history=self.history)
        asyncio.set_event_loop(self.loop)
        try:
            main = self.loop.create_task(self._main(evidence), name="proof", context=self._outside)
            self.loop.run_until_complete(main)
        except Hang as hang:
            evidence.hang = str(hang)
        finally:
            self.history.close()
            evidence.problems += self.loop.problems
            evidence.wire_seconds = self.loop.time() - 1_000.0
            self._bury()
            self.loop.close()
            asyncio.set_event_loop(None)
            self._unwind()
        return evidence

    def _bury(self) -> None:
        process = self._process
        if process is not None and process.alive:
            self._graveyard += self.loop.kill(process)
        for journal in self._journals:
            cut_off(journal)

    def _unwind(self) -> None:
        """Let dead coroutines end here, and not in a finaliser at some other time; what they say means nothing now."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what they began to await while they ended
            for task in self._graveyard:
                if isinstance(task, asyncio.Task):
                    _end_coroutine(task.get_coro())

    async def _main(self, evidence: Evidence) -> None:
        schedule = self.schedule
        self._gateway = PaperGateway(
            accounts=(schedule.account,),
            market=market_of(schedule.seed),
            start=schedule.start,
            speed=schedule.speed,
            seed=schedule.seed,
            faults=schedule.plan(),
        )
        await self._gateway.start()
        evidence.truth = self._gateway.truth
        try:
            async with asyncio.timeout(LONGEST_S):
                await self._course(evidence)
        except TimeoutError:
            evidence.hang = f"not at an end after {LONGEST_S:g} s; {self.loop.describe_waiting()}"
        finally:
            evidence.market_seconds = (self._gateway.clock.now() - schedule.start) / timedelta(seconds=1)
            await self._gateway.aclose()

    async def _course(self, evidence: Evidence) -> None:
        for trouble in self.schedule.troubles:
            self._trouble(trouble)
        for crash in [one for one in self._crashes if one.at == "time"]:
            self.loop.call_later(crash.time, self._crash_by_time, crash.down)
        self._start()
        if self.schedule.account.startswith("U"):
            await asyncio.sleep(30.0)  # an account that must be left alone: there is nothing else to see
        else:
            await self._quiesce(evidence)
        await self._end(evidence)

    # --- the process -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start the connector's process: a house on the same state directory, and its callers."""
        process = self._process = Process(f"connector-{len(self._graveyard)}")
        self.history.add("started", process=process.name)
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        self.loop.create_task(self._live(process), name="program", context=context)

    async def _live(self, process: Process) -> None:
        """The program: connect, for as long as it takes, and let the callers work."""
        house = self._house = House(
            self._settings(),
            allow_live=False,
            profile="proof",
            ground=step_ground(
                self.loop, self.schedule.start, random.Random(self._rng.random()), self._disk, self._journals
            ),
        )
        house.bus.subscribe(lambda event: self.history.event(event) if process.alive else None)
        connector = Connector(house)
        while True:
            self._on_step("connecting")
            try:
                await house.connect()
                break
            except TradingError as error:
                self.history.add("connect_failed", outcome=type(error).__name__, text=str(error)[:200])
                if self.schedule.account.startswith("U"):
                    return
                await asyncio.sleep(2.0)
        self.history.add("ready", process=process.name)
        if not self._scripted:
            callers = [
                asyncio.create_task(
                    Caller(agent, connector, self.history, self.memory, self._kill_elsewhere).run(
                        0.0 if agent.name in self.memory.next else agent.start
                    ),
                    name=f"agent {agent.name}",
                )
                for agent in self.schedule.agents
            ]
            await asyncio.gather(*callers)
            self._scripted = True
        self._idle.set()

    def _settings(self) -> Settings:
        schedule = self.schedule
        empty = self._state_dir / "none.ini"
        empty.touch()
        overrides: dict[str, Any] = {
            "mode": "paper",
            "host": "127.0.0.1",
            "port": self._gateway.tws_port,
            "client_id": schedule.client_id,
            "read_only": False,
            "state_dir": self._state_dir,
            "password": SECRET,
            "time_scale": schedule.speed,
            "tws_library": self._library,
            "risk_limits": dict(schedule.limits),
            "watch": {"http_port": None},
            "alerts": {"webhook": "", "apprise": ""},
        }
        return load_settings(empty, overrides=overrides, environ=_NO_ENVIRONMENT, cwd=self._state_dir)

    def crash(self, why: str, down: float) -> None:
        """End it as kill -9 does, with a new start `down` seconds later."""
        process = self._process
        if process is None or not process.alive:
            return
        self.history.add("crashed", why=why)
        self._graveyard += [*self.loop.kill(process), self._house]
        for journal in self._journals:
            cut_off(journal)
        self._journals.clear()
        self._idle.clear()
        self.loop.call_later(down, self._start, context=self._outside)

    def _crash_by_time(self, down: float) -> None:
        self.crash("time", down)

    def _on_step(self, step: At) -> None:
        """The process passes a step of the order road; perhaps it dies there."""
        process = PROCESS.get()
        if process is None or not process.alive:
            return
        count = self._passed[step] = self._passed.get(step, 0) + 1
        for stop in self.schedule.stops:
            if (stop.at, stop.nth) == (step, count) and not self._scripted:
                self._stop(stop)
        for crash in self._crashes:
            if crash.at == step and crash.nth == count:
                self.crash(step, crash.down)
                raise Killed(step)

    def _stop(self, stop: Stop) -> None:
        """Kill trading in the middle of an order's road, and resume after a while."""
        house = self._house
        if house is None or house.engine.trading.state.value != "active":
            return

        def resume() -> None:
            if house is self._house and house.risk.resume("the schedule says so"):
                self.history.add("resumed", where="here")

        if stop.elsewhere:
            self._kill_elsewhere("the schedule says so, elsewhere")
        else:
            house.risk.kill("the schedule says so")
        self.history.add("killed", where="elsewhere" if stop.elsewhere else "here")
        self.loop.call_later(stop.seconds, resume)

    def _on_connect(self, transport: MemoryTransport) -> None:
        self._tap.begin()
        transport.tap = self._tap.written

    def _on_written(self, transport: MemoryTransport, data: bytes, message: str) -> None:
        if message == "place":
            count = self._passed.get("after_write", 0) + 1
            if any(crash.at == "after_write" and crash.nth == count for crash in self._crashes):
                transport.write_and(data)
            self._on_step("after_write")

    def _trouble(self, trouble: Trouble) -> None:
        def begin() -> None:
            self._disk.full = True
            self.history.add("disk", full=True)

        def end() -> None:
            self._disk.full = False
            self.history.add("disk", full=False)
            self.loop.call_later(RETRY_S, again, context=self._outside)

        def again() -> None:
            for journal in self._journals:
                try_again(journal)
            self.history.add("disk_caught_up")

        self.loop.call_later(trouble.time, begin)
        self.loop.call_later(trouble.time + trouble.seconds, end)

    def _kill_elsewhere(self, reason: str) -> None:
        """What `ibkr-connector kill` does in another process."""
        shared_control(self._state_dir, self.schedule.account).kill(reason, self._clock().now())

    def _clock(self) -> Clock:
        return LoopClock(self.loop, self.schedule.start)

    # --- after the script --------------------------------------------------------------------------------------------

    async def _quiesce(self, evidence: Evidence) -> None:
        """End the faults, let everything settle, look, cancel, look again, kill the process, look once more."""
        await self._idle.wait()
        begun = self.loop.time()
        await asyncio.sleep(max(0.0, self.schedule.lasts + 1_000.5 - begun))
        self._crashes.clear()
        self._gateway.faults.clear()
        await self._idle.wait()
        await self._all_forwarded()
        await self._ready_again(evidence)
        await self._settle()
        evidence.checkpoints["settled"] = len(self._gateway.truth.entries)
        evidence.settled = self._picture()
        try:
            await self._ask(_cancel_everything)
        except TradingError as error:
            evidence.notes.append(f"cancel_all at the end: {error!r}")
        await self._settle()
        await asyncio.sleep(5.0)
        evidence.checkpoints["cancelled"] = len(self._gateway.truth.entries)
        evidence.final = self._picture()
        self.crash(AT_THE_END, 0.1)
        await self._idle.wait()
        await self._ready_again(evidence)
        await asyncio.sleep(2.0)
        evidence.recovered = self._picture()

    async def _ready_again(self, evidence: Evidence) -> None:
        house = self._house
        assert house is not None
        if house.engine.trading.state.value != "active" and house.risk.resume("the proof ends every kill"):
            self.history.add("resumed", where="proof")
        try:
            await self._ask(_ready)
        except (TradingError, TimeoutError) as error:
            evidence.notes.append(f"never ready: {error}")
            evidence.unready = True

    async def _ask(self, what: Any) -> Any:
        """Let the process do something."""
        house, process = self._house, self._process
        context = contextvars.Context()
        context.run(PROCESS.set, process)
        return await self.loop.create_task(what(house), name="operator", context=context)

    async def _all_forwarded(self) -> None:
        """Wait until the gateway holds nothing back: orders of a cut link can reach the broker minutes later."""
        for _ in range(int(SETTLE_S)):
            if not TruthView.of(self._gateway.truth.entries).waiting:
                break
            await asyncio.sleep(1.0)

    async def _settle(self) -> None:
        """Wait until nothing is in doubt and nothing waits for a word of the broker, at most SETTLE_S."""
        until = self.loop.time() + SETTLE_S
        house = self._house
        assert house is not None
        while self.loop.time() < until:
            await asyncio.sleep(1.0)
            if not house.manager.in_doubt() and not any(
                live.record.cancel_wanted or live.record.state.value in _UNSETTLED
                for live in house.manager.desk.table.open()
            ):
                await asyncio.sleep(1.0)
                return

    def _picture(self) -> Picture:
        house = self._house
        assert house is not None
        return Picture.of(house, self.schedule.account)

    async def _end(self, evidence: Evidence) -> None:
        """Close in good order, and look for what is left."""
        house, process = self._house, self._process
        if house is None or process is None:
            return
        await self._ask(_close)
        await asyncio.sleep(1.0)
        evidence.leftovers = [f"task {task.get_name()}" for task in self.loop.tasks_of(process)] + [
            f"connection to {one.get_extra_info('peername')}" for one in self.loop.net.of(process)
        ]
        self._journals.clear()
        evidence.read_journal(self._state_dir)


_UNSETTLED = frozenset({"sending", "awaiting_executions"})


_NO_ENVIRONMENT: Mapping[str, str] = {}


def _is_alive() -> bool:
    """Whether what runs now belongs to no process, or to one that lives."""
    process = PROCESS.get()
    return process is None or process.alive


def _end_coroutine(coroutine: Any) -> None:
    for _ in range(_MOST_LAYERS):
        with contextlib.suppress(BaseException):
            coroutine.close()
            return


async def _ready(house: House) -> None:
    await house.ready(180.0)


async def _cancel_everything(house: House) -> None:
    await house.orders.cancel_all("own", timeout=20.0)


async def _close(house: House) -> None:
    await house._close_rooms(OpenOrders.LEAVE)
    house.thread.stop()


_markets: dict[int, Any] = {}


def market_of(seed: int) -> Any:
    """The market of a schedule's seed."""
    number = seed % _MARKETS
    if number not in _markets:
        _markets[number] = parse_market("synthetic", seed=number)
    return _markets[number]


def run_schedule(schedule: Schedule, *, library: str = "auto") -> Evidence:
    """Run a schedule in a state directory of its own, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="ibkr-proof-", dir=place) as folder:
        return StepRun(schedule, Path(folder), library).run()
