"""`./dev faults`: run many schedules over all cores, judge them, report.

    ./dev faults                       1,000 schedules
    ./dev faults --quick               200 schedules: what CI runs
    ./dev faults --schedules 20000 --seed 50000
    ./dev faults --replay 4711         one schedule again, with everything that happened
    ./dev faults --engine sockets      300 schedules in real time: several processes, TCP, kill -9
    ./dev faults --backend web         100 of them over the Web API, also in real time (`both`: one after the other)
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
from proof.schedule import Backend, make_schedule, to_json
from proof.stepped import run_schedule
from proof.tally import Tally, tally

QUICK = report.QUICK
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
    return _told(run_schedule(make_schedule(seed), library=library), 1_000.0)


def replay_on_sockets(seed: int, library: str, keep: Path, backend: Backend = "tws") -> int:
    """The same on real sockets, where no two runs are the same to the byte. Its files stay in `keep`."""
    from proof.sockets_run import evidence_of

    return _told(evidence_of(seed, library, keep, backend))


def judge_folder(folder: Path) -> int:
    """Judge what a run on real sockets left behind."""
    from proof.sockets_files import read_evidence

    return _told(read_evidence(folder))


def _told(evidence: Evidence, zero: float | None = None) -> int:
    print(json.dumps(json.loads(to_json(evidence.schedule)), indent=1))
    story = _story(evidence)
    begun = zero if zero is not None else story[0][0] if story else 0.0
    for at, line in story:
        print(f"{at - begun:10.4f}  {line}")
    verdict = judge(evidence)
    print(f"\nchecks: {verdict.tested}")
    for found in verdict.violations:
        print(f"VIOLATION  seed {evidence.schedule.seed}  {found.invariant}  {found.text}")
    return 1 if verdict.violations else 0


def _story(evidence: Evidence) -> list[tuple[float, str]]:
    told = [(note.at, f"          {note.kind:<13} {_plain(note.data)}") for note in evidence.history.notes]
    truth = evidence.truth.entries if evidence.truth is not None else ()
    told += [(entry.wire, f"GATEWAY   {entry.kind:<13} {_plain(entry.fields)}") for entry in truth]
    return sorted(told, key=lambda line: line[0])


def _plain(data: dict[str, object]) -> str:
    return " ".join(f"{key}={value}" for key, value in data.items() if value not in (None, "", False))


def on_sockets(given: argparse.Namespace, backend: Backend) -> tuple[Tally, list[str]]:
    """Run the schedules of the engine on real sockets; the figures, and where the files of failed runs are."""
    from proof import sockets_run

    count = (sockets_run.QUICK if given.quick else sockets_run.USUAL)[backend]
    if given.engine == "sockets" and given.schedules:
        count = given.schedules
    at_once = given.at_once or sockets_run.AT_ONCE_PER_CORE * (os.cpu_count() or 1)

    def tell(total: Tally) -> None:
        if sys.stderr.isatty():
            print(
                f"\r{total.schedules}/{count}, {len(total.violations)} violations", end="", file=sys.stderr, flush=True
            )

    total = sockets_run.run_many(
        given.seed,
        count,
        library=given.library,
        backend=backend,
        at_once=at_once,
        keep=given.keep.resolve(),
        tell=tell,
    )
    return total, list(sockets_run.kept_of(total, given.keep.resolve(), backend))


def _positive(word: str) -> int:
    """A count."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{word}: at least 1, or nothing would be shown")
    return number


def _seed(word: str) -> int:
    """A seed."""
    number = int(word)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{word}: seeds begin with 0")
    return number


def _known_canaries(backend: str) -> set[str]:
    if backend != "web":
        return set(all_canaries())
    from proof.canaries_web import all_web_canaries

    return set(all_web_canaries())


def hunt_on_web(given: argparse.Namespace) -> int:
    """Hunt the bugs that only the Web API knows, in real time."""
    from proof import canaries_web

    catches = canaries_web.hunt_on_web(given.canaries, library=given.library, at_once=given.at_once or 5)
    print(canaries_web.text(catches))
    return 0 if all(one.seed is not None for one in catches) else 1


def _parts(given: argparse.Namespace) -> list[tuple[str, Backend]]:
    """Which engines over which backends."""
    backends: list[Backend] = ["tws", "web"] if given.backend == "both" else [given.backend]
    found: list[tuple[str, Backend]] = [("step", "tws")] if given.engine in ("step", "both") else []
    return found + [("sockets", one) for one in backends if given.engine != "step"]


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="./dev faults", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add(
        "--schedules",
        type=_positive,
        help=f"how many (default {USUAL}; sockets 300, over the Web API 100, which is also what `both` runs of them)",
    )
    add("--quick", action="store_true", help=f"few schedules: what CI runs ({QUICK}; sockets 16, web 8)")
    add("--seed", type=_seed, default=0, help="the first seed")
    add("--engine", choices=("step", "sockets", "both"), help="sockets: real time, kill -9; Linux (default: step)")
    add("--backend", choices=("tws", "web", "both"), default="tws", help="web: over the Web API, engine sockets only")
    add("--library", choices=("auto", "ib_insync", "ib_async"), default="auto")
    add(
        "--jobs",
        type=_positive,
        default=os.cpu_count() or 1,
        help="processes of the stepped engine (default: the cores)",
    )
    add("--at-once", type=_positive, help="runs on sockets at a time (default 6 for each core)")
    add("--keep", type=Path, default=Path(".proof"), metavar="FOLDER", help="for the files of failed runs on sockets")
    alone = parser.add_mutually_exclusive_group()
    alone.add_argument("--replay", type=_seed, metavar="SEED", help="run one schedule and tell everything")
    alone.add_argument("--judge", type=Path, metavar="FOLDER", help="judge the files of a run on sockets again")
    alone.add_argument(
        "--canaries", nargs="*", metavar="NAME", help="hunt planted bugs (default: all); with --backend web, its own"
    )
    alone.add_argument("--raw", action="store_true", help="run the bare client library instead of the connector")
    add("--json", type=Path, metavar="FILE", help="write the figures there")
    given = parser.parse_args(words)
    _quiet()
    given.engine = given.engine or ("step" if given.backend == "tws" else "sockets")
    if given.backend != "tws" and given.engine == "step":
        parser.error("the stepped engine knows no HTTP: --backend web runs with --engine sockets")
    if given.engine != "step" and sys.platform != "linux":
        parser.error("the engine on real sockets needs Linux: one clock for all processes, /proc; use --engine step")
    if given.judge is not None:
        return judge_folder(given.judge)
    if given.replay is not None and given.engine == "sockets":
        backend: Backend = "web" if given.backend == "web" else "tws"
        return replay_on_sockets(given.replay, given.library, given.keep.resolve(), backend)
    if given.replay is not None:
        return replay(given.replay, given.library)
    if given.canaries is not None and (strange := set(given.canaries) - _known_canaries(given.backend)):
        parser.error(f"no such planted bug: {', '.join(sorted(strange))}")
    if given.canaries is not None and given.backend == "web":
        return hunt_on_web(given)
    if given.canaries is not None:
        catches = hunt.hunt_all(given.canaries, given.seed, library=given.library, jobs=given.jobs, prepare=_quiet)
        print(hunt.text(catches))
        return 0 if all(one.seed is not None for one in catches) else 1
    if given.raw:
        print(compare.text(given.seed, given.schedules or USUAL, library=given.library, jobs=given.jobs))
        return 0
    good = True
    figures: dict[str, dict[str, object]] = {}
    for engine, backend in _parts(given):
        begun = time.monotonic()
        kept: list[str] = []
        if engine == "step":
            count = given.schedules or (QUICK if given.quick else USUAL)
            total = run_many(given.seed, count, library=given.library, jobs=given.jobs, tell=sys.stderr.isatty())
        else:
            total, kept = on_sockets(given, backend)
        seconds = time.monotonic() - begun
        print(f"engine: {engine}" if backend == "tws" else f"engine: {engine}, backend: {backend}")
        first = given.seed if engine == "step" else None
        print("\n".join([report.text(total, seconds, backend, first), *kept]))
        missed = report.shortfalls(total, backend, first)
        good = good and not total.violations and not missed
        figures[engine if backend == "tws" else f"{engine} {backend}"] = {
            **json.loads(msgspec.json.encode(total)),
            "seconds": seconds,
            "first_seed": given.seed,
            "shortfalls": missed,
        }
    if given.json is not None:
        told = figures if len(figures) > 1 else next(iter(figures.values()))
        given.json.write_text(json.dumps(told, indent=1), "utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
