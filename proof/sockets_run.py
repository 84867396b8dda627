"""Many runs on real sockets, several at a time, each in a folder of its own; what failed is kept."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from multiprocessing import forkserver
from pathlib import Path

from proof.evidence import Evidence
from proof.schedule import Backend, make_schedule
from proof.sockets import run_schedule
from proof.tally import Tally, tally

USUAL: dict[Backend, int] = {"tws": 300, "web": 100}
QUICK: dict[Backend, int] = {"tws": 16, "web": 8}
AT_ONCE_PER_CORE = 6
"""Runs at a time: each of them mostly waits."""
PREFIX = "ibkr-proof-"


def run_many(
    first: int,
    count: int,
    *,
    library: str,
    backend: Backend = "tws",
    at_once: int,
    keep: Path,
    tell: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Schedules `first` …, `at_once` at a time. Folders of runs in which something was wrong are moved to `keep`."""
    total = Tally()
    before = _cpu_of_children()
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX) as place,
        ThreadPoolExecutor(at_once, thread_name_prefix="proof") as pool,
    ):
        work = [pool.submit(_one, seed, library, backend, Path(place), keep) for seed in range(first, first + count)]
        for done in as_completed(work):
            total.add(done.result())
            tell(total)
    total.cpu_seconds = _cpu_of_children() - before
    return total


def _one(seed: int, library: str, backend: Backend, place: Path, keep: Path) -> Tally:
    folder = place / _name(seed, backend)
    folder.mkdir()
    try:
        made = make_schedule(seed, engine="sockets", backend=backend)
        found = tally(run_schedule(made, folder, library=library))
    except Exception as error:  # noqa: BLE001 - the proof itself stumbled: that is no proof, and must be seen
        where = traceback.extract_tb(error.__traceback__)[-1]
        what = f"the run could not be judged: {error!r} in {Path(where.filename).name}, line {where.lineno}"
        found = Tally(violations=[(seed, "proof", what)])
    if found.violations:
        keep.mkdir(parents=True, exist_ok=True)
        kept = keep / folder.name
        shutil.rmtree(kept, ignore_errors=True)
        shutil.move(folder, kept)
    else:
        shutil.rmtree(folder)
    return found


def _name(seed: int, backend: Backend) -> str:
    return f"seed-{seed}" if backend == "tws" else f"seed-{seed}-{backend}"


def _cpu_of_children() -> float:
    """What the processes of all runs have used so far; those that ended, which all do."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def kept_of(total: Tally, keep: Path, backend: Backend = "tws") -> Iterator[str]:
    """Lines that say where the files of the failed runs are."""
    for seed in sorted({seed for seed, _, _ in total.violations}):
        folder = keep / _name(seed, backend)
        if folder.is_dir():
            yield f"KEPT  seed {seed}  {folder}  (again: ./dev faults --judge {folder})"


def evidence_of(seed: int, library: str, keep: Path, backend: Backend = "tws") -> Evidence:
    """Run one schedule and keep its files, whatever comes of it."""
    folder = keep / _name(seed, backend)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return run_schedule(make_schedule(seed, engine="sockets", backend=backend), folder, library=library)
