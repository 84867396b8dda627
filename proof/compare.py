"""The same schedules on a bare client library: how many of them break what, by the same truth log."""

from __future__ import annotations

import importlib.util
import multiprocessing
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from proof.rawrun import JUDGED, RawRun
from proof.schedule import make_schedule
from proof.verdict import INVARIANTS

_CHUNK = 20


@dataclass(slots=True)
class Tally:
    """What a number of schedules did to one program."""

    schedules: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    """Invariant -> schedules in which it broke; `any` and `hang` beside them."""
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Invariant -> the first seed that broke it, and how."""

    def add(self, other: Tally) -> None:
        """Join the tally of other schedules."""
        self.schedules += other.schedules
        self.broken += other.broken
        for name, found in other.first.items():
            self.first[name] = min(found, self.first.get(name, found))


def tally(seeds: Sequence[int], library: str, *, resend: bool) -> Tally:
    """Run these schedules on the bare library. Those of a live account are left out: it has no opinion about them."""
    found = Tally()
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")  # those that died with their process
    for seed in seeds:
        schedule = make_schedule(seed)
        if schedule.account.startswith("U"):
            continue
        run = RawRun(schedule, library, resend=resend)
        verdict = run.run()
        found.schedules += 1
        names = {violation.invariant for violation in verdict.violations} | ({"hang"} if run.hang else set())
        found.broken.update(names | ({"any"} if names else set()))
        for violation in verdict.violations:
            found.first.setdefault(violation.invariant, (seed, violation.text))
    return found


def run_raw(first: int, count: int, library: str, *, resend: bool, jobs: int) -> Tally:
    """Schedules `first` … over `jobs` processes."""
    chunks = [range(seed, min(seed + _CHUNK, first + count)) for seed in range(first, first + count, _CHUNK)]
    total = Tally()
    if jobs == 1:
        for chunk in chunks:
            total.add(tally(chunk, library, resend=resend))
        return total
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for found in pool.imap_unordered(partial(tally, library=library, resend=resend), chunks):
            total.add(found)
    return total


def text(first: int, count: int, *, library: str, jobs: int) -> str:
    """Both habits side by side, for people."""
    name = installed() if library == "auto" else library
    found = {
        f"{name}, as documented": run_raw(first, count, name, resend=False, jobs=jobs),
        f"{name} with a retry": run_raw(first, count, name, resend=True, jobs=jobs),
    }
    table = [["schedules in which it broke", *found], *rows(found)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    for label, one in found.items():
        lines += ["", f"{label}: the first schedule of each kind"]
        lines += [f"  {name}  seed {seed}  {what}" for name, (seed, what) in sorted(one.first.items())]
    return "\n".join(lines)


def installed() -> str:
    """The client library of this environment."""
    return "ib_async" if importlib.util.find_spec("ib_async") else "ib_insync"


def rows(tallies: dict[str, Tally]) -> list[list[str]]:
    """A table: one line per invariant that can be asked of a bare library, one column per program."""
    lines = []
    for name in (*JUDGED, "any", "hang"):
        text = {"any": "any of these", "hang": "the program hung"}.get(name) or f"{name} {INVARIANTS[name]}"
        lines.append([text, *(f"{one.broken[name]} of {one.schedules}" for one in tallies.values())])
    return lines
