"""Which modules are mutated, which of them are the core, and which tests look at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

T = TypeVar("T")
PACKAGE = "src/ibkr_connector"
ROOMS = ("resilience", "risk", "risk/gates", "orders")
ALSO = ("session/lane.py",)

CORE = {
    "breaker core": ("resilience/breaker.py", "resilience/breaker_types.py"),
    "lane and pacing": ("session/lane.py", "resilience/queues.py", "resilience/pacing.py", "resilience/window.py"),
    "journal order": (
        "orders/journal.py",
        "orders/journal_file.py",
        "orders/journal_queue.py",
        "orders/journal_read.py",
        "orders/journal_schema.py",
        "orders/sender.py",
        "orders/road.py",
        "orders/step.py",
    ),
    "reserve and release": ("risk/engine.py", "risk/in_flight.py", "risk/reservation.py"),
}
"""Where a survivor that nobody explained fails the run."""

UNIT = ("tests/unit/resilience", "tests/unit/risk", "tests/unit/orders", "tests/unit/session")
WIDER = ("tests/integration/connector",)
"""The whole connector against the gateway, over sockets."""

_CRASH, _FORK = "tests/unit/orders/test_journal_crash.py", "tests/unit/orders/test_fork_gate.py"
PROCESSES = {
    "orders/journal": (_CRASH,),
    "orders/journal_queue": (_FORK,),
    "orders/fork_gate": (_FORK,),
    "orders/audit": (_CRASH,),
    "orders/changes": (_CRASH,),
}
"""Tests whose work is done by another process, where no trace tells which lines it ran: by how a module begins."""


def modules(repo: Path) -> list[str]:
    """Every module that is mutated, relative to the package, core first."""
    core = [name for names in CORE.values() for name in names]
    found = [f"{room}/{path.name}" for room in ROOMS for path in sorted((repo / PACKAGE / room).glob("*.py"))]
    return [*core, *(name for name in (*found, *ALSO) if name not in core)]


def core_of(module: str) -> str:
    """The part of the core a module belongs to; empty for the rest."""
    return next((part for part, names in CORE.items() if module in names), "")


def sample(waiting: Sequence[tuple[str, T]], most: int, seed: int) -> list[tuple[str, T]]:
    """At most so many of each module, chosen by the seed, in their order."""
    by_module: dict[str, list[int]] = {}
    for at, (module, _) in enumerate(waiting):
        by_module.setdefault(module, []).append(at)
    chosen: list[int] = []
    for module, places in by_module.items():
        dice = Random(f"{seed} {module}")  # noqa: S311 - not a secret
        chosen += dice.sample(places, min(most, len(places)))
    return [waiting[at] for at in sorted(chosen)]


def selected(repo: Path, only: Sequence[str]) -> list[str]:
    """The modules that `--only` names: a module, a folder, `core`, or a part of a path. Raises ValueError for none."""
    everything = modules(repo)
    if not only:
        return everything
    chosen = [m for m in everything if any((w == "core" and core_of(m)) or w in m for w in only)]
    if not chosen:
        raise ValueError(f"no module matches {', '.join(only)}; `core`, or a part of one of: {', '.join(everything)}")
    return chosen
