"""Does the proof catch what it is for? Each planted bug is hunted through the schedules until an invariant breaks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proof.canaries import all_canaries, planted
from proof.judge import judge
from proof.schedule import make_schedule
from proof.stepped import run_schedule

MOST = 500
"""Schedules within which every canary must be caught."""


@dataclass(frozen=True, slots=True)
class Catch:
    """How a hunt ended."""

    canary: str
    schedules: int
    """How many it took."""
    seed: int | None = None
    """The one that caught it; None: it got away."""
    invariant: str = ""
    text: str = ""


def hunt(work: tuple[str, int, str]) -> Catch:
    """Run schedules with a bug planted, until one of them is judged to break something."""
    name, first, library = work
    for number in range(MOST):
        with planted(name):
            evidence = run_schedule(make_schedule(first + number), library=library)
        verdict = judge(evidence)
        if verdict.violations:
            found = verdict.violations[0]
            return Catch(name, number + 1, first + number, found.invariant, found.text)
    return Catch(name, MOST)


def hunt_all(
    names: Sequence[str], first: int, *, library: str, jobs: int, prepare: Callable[[], None] | None = None
) -> list[Catch]:
    """All of them, one per process at a time; in the order of `names` (none: every canary there is)."""
    work = [(name, first, library) for name in names or all_canaries()]
    if jobs == 1:
        return [hunt(one) for one in work]
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=prepare) as pool:
        return pool.map(hunt, work, chunksize=1)


def text(catches: Sequence[Catch]) -> str:
    """For people."""
    known = all_canaries()
    width = max(len(one.canary) for one in catches)
    lines = []
    for one in catches:
        how = f"caught by schedule {one.schedules}, {one.invariant}" if one.seed is not None else "GOT AWAY"
        lines.append(f"  {one.canary:<{width}}  {how:<36}  {known[one.canary].what}")
    caught = sum(one.seed is not None for one in catches)
    return "\n".join([f"{caught} of {len(catches)} planted bugs were caught within {MOST} schedules", *lines])
