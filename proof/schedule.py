"""What one run does: agents with their scripts, faults, crashes. One format for both engines, made from a seed alone.

A schedule is plain data: `to_json` and `from_json` are each other's inverse, and `make_schedule(seed)` gives the same
one for ever (within one `VERSION`). Times are wire seconds from the moment the run begins, prices are ticks from the
market, names of orders are refs: nothing in a schedule depends on what happens while it runs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from ibkr_connector.paper.faults.plan import Fault, make_fault

VERSION = 6
Engine = Literal["step", "sockets"]
Backend = Literal["tws", "web"]
Do = Literal[
    "place", "bracket", "resend", "modify", "cancel", "cancel_all", "filled", "wait", "read", "kill", "kill_elsewhere",
    "resume", "ready",
]  # fmt: skip
At = Literal["time", "before_commit", "after_commit", "after_write", "connecting"]


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing an agent does. Which fields mean something depends on `do`."""

    do: Do
    ref: str = ""
    """Of the order: `place`, `bracket`, `resend` (the same order again under the same ref), `modify`, `cancel`,
    `filled` (wait until it has ended)."""
    symbol: str = ""
    action: str = ""
    quantity: int = 0
    """Shares; of `modify` the new quantity (0 = leave it)."""
    type: str = ""
    """MKT, LMT or STP."""
    ticks: int = 0
    """LMT: how far behind the market (below the bid for a buy); negative = through it. STP: how far beyond it. A
    bracket's exits are so far away on either side. `modify`: the new distance."""
    what: str = ""
    """`read`: positions, open_orders, completed, executions, summary, quote, time; `resend`: place or bracket."""
    seconds: float = 0.0
    """`wait`: how long; `filled`, `cancel`, `cancel_all`, `ready`: how patient; `bracket`: 1 = its limit
    entry is marketable."""


class Agent(msgspec.Struct, frozen=True):
    """One caller of the connector: steps one after the other."""

    name: str
    start: float
    steps: tuple[Step, ...]


class Crash(msgspec.Struct, frozen=True, omit_defaults=True):
    """The connector's process, its agents included, is killed (-9) and started again `down` seconds later.

    `at` a time, or the nth passing of a step of the order road: before its commit, between commit and write, right
    after the write; or while it connects (the nth time).
    """

    at: At
    time: float = 0.0
    nth: int = 1
    down: float = 1.0


class Stop(msgspec.Struct, frozen=True, omit_defaults=True):
    """Trading is killed at the nth passing of a step of the order road, and resumed `seconds` later."""

    at: At
    nth: int
    seconds: float
    elsewhere: bool = False
    """By another process."""


class Trouble(msgspec.Struct, frozen=True):
    """What goes wrong on the connector's own side: `disk_full` for so many seconds from `time` on."""

    kind: Literal["disk_full"]
    time: float
    seconds: float


class Asking(msgspec.Struct, frozen=True):
    """What the broker asks about orders over the Web API, by the account's presets, and what is confirmed."""

    always: tuple[str, ...] = ("o10331",)
    """Message ids that are asked whenever the kind of order gives a reason."""
    value: int = 100_000
    """Orders worth more than this are asked about (o451)."""
    confirm: tuple[str, ...] = ()
    """`[web] confirm`: everything else is declined."""


class Schedule(msgspec.Struct, frozen=True):
    """Everything that makes a run."""

    seed: int
    engine: Engine
    start: datetime
    """Market time at the beginning."""
    speed: float
    """Market seconds per wire second."""
    symbols: tuple[str, ...]
    agents: tuple[Agent, ...]
    faults: tuple[dict[str, str | int | float | None], ...] = ()
    """As in a fault plan, armed when the gateway starts; `plan` makes them."""
    crashes: tuple[Crash, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    stops: tuple[Stop, ...] = ()
    limits: dict[str, int | float] = {}
    """`[risk_limits]`."""
    account: str = "DU1234567"
    """A live account (no D) is one that the connector must leave alone: INV-07."""
    client_id: int = 2
    version: int = VERSION
    backend: Backend = "tws"
    moved: tuple[str, ...] = ()
    """On the Web API: faults of the socket, and what they were translated to."""
    asking: Asking = Asking()

    def plan(self) -> list[Fault]:
        """The gateway's faults. Raises PlanError if one makes no sense."""
        return [make_fault(values) for values in self.faults]

    @property
    def orders(self) -> int:
        """New orders it asks for, a bracket's three counted as one."""
        return sum(step.do in ("place", "bracket") for agent in self.agents for step in agent.steps)

    @property
    def lasts(self) -> float:
        """Wire seconds until every fault, crash and trouble has had its time, as far as it has one."""
        ends = [crash.time + crash.down for crash in self.crashes]
        ends += [trouble.time + trouble.seconds for trouble in self.troubles]
        ends += [at for fault in self.faults if isinstance(at := fault.get("at"), int | float)]
        return max(ends, default=0.0)


def to_json(schedule: Schedule) -> bytes:
    """As JSON."""
    return msgspec.json.encode(schedule)


def from_json(data: bytes) -> Schedule:
    """What `to_json` wrote. Raises ValueError for anything else, and for another version."""
    try:
        schedule = msgspec.json.decode(data, type=Schedule)
    except msgspec.DecodeError as error:
        raise ValueError(f"this is no schedule: {error}") from None
    if schedule.version != VERSION:
        raise ValueError(f"a schedule of version {schedule.version}; this program runs version {VERSION}")
    return schedule


def make_schedule(seed: int, *, engine: Engine = "step", backend: Backend = "tws") -> Schedule:
    """The schedule of a seed; see `proof.dice`, and `proof.web_schedule` for what the Web API makes of it."""
    from proof import dice, web_schedule

    made = dice.make_schedule(seed, engine=engine)
    return web_schedule.over_the_web(made) if backend == "web" else made
