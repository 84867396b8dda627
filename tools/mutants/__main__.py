"""The command: `./dev mutants [--only MODULE]... [--resume] [--jobs N] [--unit-only] [--list] [--record]`."""

from __future__ import annotations

import argparse
import compileall
import datetime as dt
import json
import os
import platform
import py_compile
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence, Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from tools.mutants import explained as reasons
from tools.mutants.operators import Mutant, mutants_of
from tools.mutants.plan import PACKAGE, UNIT, WIDER, core_of, modules, sample, selected
from tools.mutants.results import Result, Store, digest, fate, table, write_between
from tools.mutants.tests_of import TestMap, survey

REPO = Path(__file__).resolve().parents[2]
STATE = REPO / ".mutants"
RECORD = REPO / "docs" / "RELIABILITY.md"
_COPIED = ("src", "tests", "tools", "examples", "docs", "config", "requirements", "dev", "pyproject.toml", "README.md")


class Worker:
    """A copy of the checkout, and the process that tries mutants in it."""

    def __init__(self, folder: Path, nice: int) -> None:
        self.tree = folder / "tree"
        self._log = folder / "output.txt"
        for name in _COPIED:
            source = REPO / name
            if source.is_dir():
                shutil.copytree(source, self.tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_file():
                self.tree.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, self.tree / name)
        shared = REPO.parent / "shared"
        if shared.exists():
            (folder / "shared").symlink_to(shared.resolve())
        # Checked by content: two mutants of one length within a second would be one file to the usual cache.
        mode = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(self.tree / "src", quiet=2, invalidation_mode=mode)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("IBKR_", "PYTHON"))}
        kept.update(
            PYTHONPATH=os.pathsep.join((str(self.tree / "src"), str(self.tree / "tests"), str(self.tree))),
            PYTHONDONTWRITEBYTECODE="1",
            HYPOTHESIS_PROFILE="mutants",
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.mutants.worker"],
            cwd=self.tree,
            env=kept,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.nice(nice) and None,  # noqa: PLW1509 - before any thread is started
        )

    def ask(self, **job: Any) -> dict[str, Any]:
        """Hand over a job and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that tries the mutants has ended; its output is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, tests: tuple[str, ...], limit: float) -> tuple[str, float]:
        """Run tests as the tree is."""
        answer = self.ask(kind="mutant", tests=list(tests), limit=limit, log=str(self._log))
        return answer["verdict"], answer["seconds"]

    def survey(self, files: Sequence[str], target: Path) -> None:
        """Run test files once with coverage and have the report written."""
        self.ask(kind="survey", tests=list(files), target=str(target))
        if not target.is_file():
            raise SystemExit("the tests could not be run; see above")

    def output(self) -> str:
        """What the last run said."""
        return self._log.read_text("utf-8", errors="replace")

    @contextmanager
    def changed(self, module: str, mutant: Mutant) -> Iterator[None]:
        """The copy with one change in a module."""
        path = self.tree / PACKAGE / module
        before = path.read_bytes()
        path.write_bytes(mutant.apply(before))
        try:
            yield
        finally:
            path.write_bytes(before)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def attempt(
    worker: Worker, tests: TestMap, module: str, mutant: Mutant, *, explained: bool = False
) -> tuple[str, float]:
    """Try one mutant: its own tests, then the wider ones. Of an `explained` one only its own are asked."""
    tiers = tests.select(module, mutant)[: 1 if explained else None]
    if not tiers:
        return "unseen", 0.0
    verdict, total = "survived", 0.0
    with worker.changed(module, mutant):
        for tier in tiers:
            limit = 5.0 + 2 * tier.seconds
            verdict, seconds = worker.run(tier.tests, limit)
            total += seconds
            if verdict == "killed" and seconds > limit:
                # A busy machine fails tests that wait for something: ask once more.
                verdict, seconds = worker.run(tier.tests, limit)
                total += seconds
            if verdict != "survived":
                break
    return verdict, total


def prove_map(worker: Worker, tests: TestMap, names: list[str]) -> None:
    """Run the chosen tests of each module unchanged: what fails then would pass for a kill."""
    for module in names:
        found = mutants_of((REPO / PACKAGE / module).read_bytes())
        chosen = sorted({test for mutant in found for tier in tests.select(module, mutant) for test in tier.tests})
        if chosen and worker.run(tuple(chosen), 900.0)[0] != "survived":
            raise SystemExit(f"the tests of {module} fail without any change:\n{worker.output()[-3000:]}")


def main() -> int:
    """Parse, try what is to be tried, tell, and say with the exit code whether the core is clean."""
    options = _options()
    try:
        names = selected(REPO, options.only)
        why = reasons.load(REPO / reasons.FILE)
    except ValueError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    work = {name: mutants_of((REPO / PACKAGE / name).read_bytes()) for name in names}
    if options.list:
        for name, found in work.items():
            for mutant in found:
                print(f"{name}:{mutant.first_line} [{mutant.operator}] {mutant.key}")
        return 0
    STATE.mkdir(exist_ok=True)
    store = Store(STATE / "results.jsonl")
    if not options.resume:
        store.clear()
    _try_all(options, names, work, store, why.keys())
    results = [
        result
        for name in names
        for mutant in work[name]
        if (result := store.of_source(name, mutant.key, digest([REPO / PACKAGE / name])))
    ]
    return _tell(options, results, why, {name: len(found) for name, found in work.items()})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev mutants", description="Change one thing at a time; see what notices.")
    parser.add_argument("--only", action="append", default=[], help="a module, a folder, or `core` (may be repeated)")
    parser.add_argument("--resume", action="store_true", help="keep earlier results that still hold")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="mutants at a time")
    parser.add_argument("--unit-only", action="store_true", help="do not ask the wider tests")
    parser.add_argument("--list", action="store_true", help="show the mutants, try none")
    parser.add_argument(
        "--at-most", type=float, default=float("inf"), metavar="MINUTES", help="begin no more after (0: only tell)"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="of each module try N that were not tried yet")
    parser.add_argument("--seed", type=int, default=1, help="which ones a sample takes")
    parser.add_argument("--nice", type=int, default=10, help="how much to stand back for other programs")
    parser.add_argument("--record", action="store_true", help=f"write the table into {RECORD.relative_to(REPO)}")
    return parser.parse_args()


def _try_all(
    options: argparse.Namespace,
    names: list[str],
    work: dict[str, list[Mutant]],
    store: Store,
    explained: AbstractSet[tuple[str, str]],
) -> None:
    folders = UNIT if options.unit_only else (*UNIT, *WIDER)
    # Survivors of the unit tests alone are asked again when all may answer.
    tests_digest = f"{digest((REPO / 'tests').rglob('*.py'))}/{len(folders)}"
    sources = {name: digest([REPO / PACKAGE / name]) for name in names}
    waiting = [
        (name, mutant)
        for name in names
        for mutant in work[name]
        if store.still_true(name, mutant.key, sources[name], tests_digest, explained=(name, mutant.key) in explained)
        is None
    ]
    if options.sample is not None:
        waiting = sample(waiting, options.sample, options.seed)
    if not waiting or options.at_most <= 0:
        return
    jobs: SimpleQueue[tuple[str, Mutant]] = SimpleQueue()
    for one in waiting:
        jobs.put(one)
    until = dt.datetime.now(dt.UTC).timestamp() + options.at_most * 60
    lock = threading.Lock()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        workers = [Worker(Path(folder) / str(n), options.nice) for n in range(max(1, options.jobs))]
        try:
            tests = survey(REPO, STATE, folders, workers[0].survey)
        except ValueError as error:
            raise SystemExit(f"mutants: {error}") from None
        prove_map(workers[0], tests, sorted({name for name, _ in waiting}))
        print(f"{len(waiting)} mutants, {len(tests.seconds)} tests ({sum(tests.seconds.values()):.0f} s)", flush=True)

        def loop(worker: Worker) -> None:
            while dt.datetime.now(dt.UTC).timestamp() < until:
                try:
                    name, mutant = jobs.get_nowait()
                except Empty:
                    return
                known = (name, mutant.key) in explained
                verdict, seconds = attempt(worker, tests, name, mutant, explained=known)
                with lock:
                    store.add(Result(name, mutant.key, verdict, round(seconds, 2), sources[name], tests_digest))
                    if verdict != "killed":
                        print(f"{verdict:<9}{name}:{mutant.first_line}  {mutant.key}", flush=True)

        threads = [threading.Thread(target=loop, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for worker in workers:
            worker.close()


def _tell(
    options: argparse.Namespace, results: list[Result], why: dict[tuple[str, str], str], whole: dict[str, int]
) -> int:
    keys = {name: {m.key for m in mutants_of((REPO / PACKAGE / name).read_bytes())} for name in modules(REPO)}
    stale = reasons.stale(why, keys)
    unexplained = [r for r in results if r.alive and fate(r, why) != "explained"]
    wrong = [r for r in results if not r.alive and (r.module, r.key) in why]
    rows = table(results, why, whole)
    print("\n" + "\n".join(rows) + "\n")
    for result in sorted(unexplained, key=lambda r: not core_of(r.module)):
        print(f"{'CORE ' if core_of(result.module) else ''}{result.verdict}: {result.module}  {result.key}")
    for module, key in stale:
        print(f"stale, take it out of {reasons.FILE}: {module}  {key}")
    for result in wrong:
        print(f"killed after all, take it out of {reasons.FILE}: {result.module}  {result.key}")
    if options.record:
        write_between(RECORD, _record(results, rows))
    failed = stale or any(core_of(result.module) for result in unexplained)
    return 1 if failed else 0


def _record(results: list[Result], rows: list[str]) -> list[str]:
    day = dt.datetime.now(dt.UTC).date()
    seconds = sum(result.seconds for result in results)
    words = [word for word in sys.argv[1:] if word not in ("--record", "--resume")]
    what = f"Recorded {day} with `./dev {' '.join(('mutants', *words))}`"
    where = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
    return [f"{what}; {where}; {seconds / 60:.0f} minutes of trying.", "", *rows]


if __name__ == "__main__":
    sys.exit(main())
