"""The report of many runs, and the minimums that make it a proof: a fault that hit nothing proves nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ibkr_connector.paper.faults.catalogue import KINDS
from proof.schedule import Backend
from proof.tally import Tally
from proof.verdict import INVARIANTS

LEAST_ACCEPTED: dict[Backend, float] = {"tws": 0.60, "web": 0.40}
"""Refusing everything would break no invariant, and be a failure. Over the Web API starts and doubts take longer:
the kills, doubts and outages of a script cover more of the orders behind them."""
LEAST_SETTLED = 0.95
QUICK = 200
"""What CI runs: the schedules of the seeds from 0 on, of which it is known that every kind of fault hits in them."""
_FULL = 2_000
"""From so many schedules on every kind of fault and every invariant must have been met, whatever the seeds."""
NEEDED = Path(__file__).with_name("needed_hits.toml")
"""Which fault must have hit an order in which phase in a whole run, and why."""
_LEAST_TESTED = 0.003
"""Of the schedules: in how many an invariant must have been put to the test, if it can happen at all."""
_ORDER_PHASES = (
    "new", "withheld", "held", "sent", "acknowledged", "waiting", "working", "partly_filled", "modifying", "cancelling",
    "filled", "cancelled", "inactive",
)  # fmt: skip
_NEEDED_PHASES = frozenset({"new", "sent", "acknowledged", "working", "modifying", "cancelling", "filled"})
"""Phases in which some fault must have hit some order."""


def needed_hits(path: Path = NEEDED) -> tuple[int, dict[str, list[str]]]:
    """From how many schedules on which phases must have been hit, by kind of fault. Raises ValueError, KeyError."""
    found = tomllib.loads(path.read_text("utf-8"))
    if found["version"] != 1:
        msg = f"{path.name} is of version {found['version']}; this program reads version 1"
        raise ValueError(msg)
    return found["schedules"], found["pairs"]


def shortfalls(tally: Tally, backend: Backend = "tws", first: int | None = None) -> list[str]:
    """Which minimums were missed. Few schedules are asked for less.

    first: the first seed of the stepped engine, where the same seeds give the same hits; None = the engine on sockets.
    """
    found: list[str] = []
    if tally.schedules < 50:
        return found
    accepted = tally.accepted / max(1, tally.asked)
    least_accepted = LEAST_ACCEPTED[backend]
    if accepted < least_accepted:
        found.append(f"only {accepted:.0%} of the orders were accepted (at least {least_accepted:.0%})")
    if _share(tally) < LEAST_SETTLED:
        found.append(f"only {_share(tally):.0%} of the doubts were settled without an operator")
    for name, count in (("orders in doubt", tally.doubts), ("crashes", tally.crashes - tally.schedules)):
        if count < tally.schedules / 20:
            found.append(f"only {count} {name} in {tally.schedules} schedules")
    if tally.races < tally.schedules / 500:
        found.append(f"only {tally.races} cancels raced a fill")
    if backend == "web":
        # Without lost answers and questions, what only this backend can break was not tried.
        for name, count in (("order requests without an answer", tally.lost), ("replies to questions", tally.replies)):
            if count < tally.schedules / 10:
                found.append(f"only {count} {name} in {tally.schedules} schedules")
    rare = 1 if tally.schedules >= _FULL else 0
    for name in INVARIANTS:
        least = max(rare, int(tally.schedules * _LEAST_TESTED) if tally.schedules >= _FULL else 0)
        if tally.told.get(name, 0) < least:
            found.append(f"{name} was put to the test in {tally.told.get(name, 0)} schedules (at least {least})")
    return found + _unhit(tally, backend, first)


def _unhit(tally: Tally, backend: Backend, first: int | None) -> list[str]:
    """Faults, phases and pairs of both that the run should have met and did not."""
    found: list[str] = []
    full = tally.schedules >= _FULL
    if full or (first == 0 and tally.schedules >= QUICK):
        found += [
            f"fault {kind} never hit"
            for kind, one in KINDS.items()
            if backend in one.fronts and not tally.hits.get(kind)
        ]
    if full:
        met = {phase for phases in tally.hits.values() for phase in phases}
        found += [f"no fault hit an order that was {phase}" for phase in sorted(_NEEDED_PHASES - met)]
    whole, pairs = needed_hits()
    if first is not None and tally.schedules >= whole:
        found += [
            f"fault {kind} never hit: {phase} (proof/{NEEDED.name})"
            for kind, phases in pairs.items()
            for phase in phases
            if not tally.hits.get(kind, {}).get(phase)
        ]
    return found


def text(tally: Tally, seconds: float, backend: Backend = "tws", first: int | None = None) -> str:
    """For people. first: as in `shortfalls`."""
    lines = [
        f"{tally.schedules} schedules, {tally.agents} agents, in {seconds:.0f} s: {_each(tally, seconds)} s each",
        f"{_each(tally, tally.cpu_seconds)} s of one core each",
        f"{_days(tally.market_seconds)} of market time, {_days(tally.wire_seconds)} of wire time",
        "",
        "fault x order phase (how often it really hit)",
    ]
    width = max((len(kind) for kind in tally.hits), default=5)
    for kind in sorted(tally.hits):
        phases = tally.hits[kind]
        order = [*_ORDER_PHASES, *sorted(set(phases) - set(_ORDER_PHASES))]
        lines.append(f"  {kind:<{width}}  " + ", ".join(f"{name} {phases[name]}" for name in order if phases.get(name)))
    lines += ["", "invariants (schedules that put it to the test; checks that could have failed)"]
    for name, what in INVARIANTS.items():
        broken = sum(1 for _, invariant, _ in tally.violations if invariant == name)
        lines.append(
            f"  {name}  {tally.told.get(name, 0):>7} {tally.tested.get(name, 0):>9}  {what}"
            + (f"   BROKEN {broken} times" if broken else "")
        )
    if backend == "web":
        lines += _web_lines(tally)
    most = sorted(tally.outcomes.items(), key=lambda item: (-item[1], item[0]))
    lines += [
        "",
        f"orders asked for {tally.asked}, accepted {tally.accepted} ({tally.accepted / max(1, tally.asked):.1%})",
        f"orders in doubt {tally.doubts}, settled by themselves {tally.settled} ({_share(tally):.1%})",
        f"cancels that raced a fill {tally.races}, forks {tally.forks}, processes killed {tally.crashes}",
        "answers: " + ", ".join(f"{name} {count}" for name, count in most),
    ]
    for seed, invariant, what in tally.violations[:40]:
        lines.append(f"VIOLATION  seed {seed}  {invariant}  {what}")
    if len(tally.violations) > 40:
        lines.append(f"… and {len(tally.violations) - 40} more")
    for shortfall in shortfalls(tally, backend, first):
        lines.append(f"MINIMUM MISSED  {shortfall}")
    return "\n".join(lines)


def _web_lines(tally: Tally) -> list[str]:
    moved = sorted(tally.moved.items(), key=lambda item: (-item[1], item[0]))
    return [
        "",
        f"order requests written {tally.posts}, of them without an answer {tally.lost}",
        f"questions about orders {tally.questions}, replies written {tally.replies}",
        "faults of the socket, and what they were over the Web API (how often in the plans)",
        *(f"  {count:>4}  {what}" for what, count in moved),
    ]


def _each(tally: Tally, seconds: float) -> str:
    return f"{seconds / max(1, tally.schedules):.3f}"


def _share(tally: Tally) -> float:
    """Of the doubts, those that needed no operator."""
    return tally.settled / tally.doubts if tally.doubts else 1.0


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:.1f} days" if seconds >= 86_400 else f"{seconds / 3_600:.1f} hours"
