"""`./dev faults`: run many schedules over all cores, judge them, report.

    ./dev faults                       1,000 schedules
    ./dev faults --quick               200 schedules: what CI runs
    ./dev faults --schedules 20000 --seed 50000
    ./dev faults --replay 4711         one schedule again, with everything that happened
    ./dev faults --canaries            plant bugs, one at a time: each must be caught within 500 schedules
    ./dev faults --raw                 what a bare client library does on the same schedules, for comparison

Ends with 1 when an invariant broke, a minimum was missed or a planted bug got away, with 2 when it was called wrongly.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from proof import compare, hunt, report
from proof.canaries import all_canaries
from proof.evidence import Evidence
from proof.judge import judge
from proof.schedule import make_schedule, to_json
from proof.stepped import run_schedule
from proof.tally import Tally, tally

QUICK = 200
USUAL = 1_000
_CHUNK = 20


def one(seed: int, library: str) -> Tally:
    """Run and judge one schedule."""
    begun = time.process_time()
    found = tally(run_schedule(make_schedule(seed), library=library))
    found.cpu_seconds = time.process_time() - begun
    return found


def _many(work: tuple[int, int, str]) -> bytes:
    """In a worker: some schedules in a row."""
    first, count, library = work
    total = Tally()
    for seed in range(first, first + count):
        try:
            total.add(one(seed, library))
        except Exception as error:  # noqa: BLE001 - the proof itself stumbled: that is no proof, and must be seen
            total.violations.append((seed, "proof", f"the run could not be judged: {error!r}"))
    return msgspec.msgpack.encode(total)


def run_many(first: int, count: int, *, library: str, jobs: int, tell: bool = False) -> Tally:
    """Schedules `first` … over `jobs` processes."""
    work = [(seed, min(_CHUNK, first + count - seed), library) for seed in range(first, first + count, _CHUNK)]
    total = Tally()
    for done in _results(work, jobs):
        total.add(msgspec.msgpack.decode(done, type=Tally))
        if tell:
            print(
                f"\r{total.schedules}/{count}, {len(total.violations)} violations", end="", file=sys.stderr, flush=True
            )
    if tell:
        print(file=sys.stderr)
    return total


def _results(work: Sequence[tuple[int, int, str]], jobs: int) -> Iterator[bytes]:
    if jobs == 1:
        yield from map(_many, work)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=_quiet) as pool:
        yield from pool.imap_unordered(_many, work)


def _quiet() -> None:
    logging.getLogger("ibkr_connector").setLevel(logging.CRITICAL + 1)
    for name in ("ib_insync", "ib_async"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def replay(seed: int, library: str) -> int:
    """One schedule again: what it says, what happened in order, the verdict."""
    schedule = make_schedule(seed)
    print(json.dumps(json.loads(to_json(schedule)), indent=1))
    evidence = run_schedule(schedule, library=library)
    for at, line in _story(evidence):
        print(f"{at - 1_000.0:10.4f}  {line}")
    verdict = judge(evidence)
    print(f"\nchecks: {verdict.tested}")
    for found in verdict.violations:
        print(f"VIOLATION  seed {seed}  {found.invariant}  {found.text}")
    return 1 if verdict.violations else 0


def _story(evidence: Evidence) -> list[tuple[float, str]]:
    told = [(note.at, f"          {note.kind:<13} {_plain(note.data)}") for note in evidence.history.notes]
    truth = evidence.truth.entries if evidence.truth is not None else ()
    told += [(entry.wire, f"GATEWAY   {entry.kind:<13} {_plain(entry.fields)}") for entry in truth]
    return sorted(told, key=lambda line: line[0])


def _plain(data: dict[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in data.items() if value not in (None, "", False))


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="./dev faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--schedules", type=int, help=f"how many (default {USUAL})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} schedules: what CI runs")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--engine", choices=("step", "sockets", "both"), default="step")
    parser.add_argument("--library", choices=("auto", "ib_insync", "ib_async"), default="auto")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: the cores)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one schedule and tell everything")
    parser.add_argument(
        "--canaries", nargs="*", metavar="NAME", choices=[*all_canaries()], help="hunt planted bugs (default: all)"
    )
    parser.add_argument("--raw", action="store_true", help="run the bare client library instead of the connector")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    given = parser.parse_args(words)
    _quiet()
    if given.replay is not None:
        return replay(given.replay, given.library)
    if given.engine != "step":
        parser.error("the engine on real sockets is not part of this program yet: use --engine step")
    if given.canaries is not None:
        catches = hunt.hunt_all(given.canaries, given.seed, library=given.library, jobs=given.jobs, prepare=_quiet)
        print(hunt.text(catches))
        return 0 if all(one.seed is not None for one in catches) else 1
    if given.raw:
        print(compare.text(given.seed, given.schedules or USUAL, library=given.library, jobs=given.jobs))
        return 0
    count = given.schedules or (QUICK if given.quick else USUAL)
    begun = time.monotonic()
    total = run_many(given.seed, count, library=given.library, jobs=given.jobs, tell=sys.stderr.isatty())
    seconds = time.monotonic() - begun
    print(report.text(total, seconds))
    if given.json is not None:
        figures = {
            **json.loads(msgspec.json.encode(total)),
            "seconds": seconds,
            "first_seed": given.seed,
            "shortfalls": report.shortfalls(total),
        }
        given.json.write_text(json.dumps(figures, indent=1), "utf-8")
    return 1 if total.violations or report.shortfalls(total) else 0


if __name__ == "__main__":
    sys.exit(main())
