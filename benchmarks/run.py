#!/usr/bin/env python3
"""Measure the connector beside the raw client libraries, in one run, against a gateway in a process of its own.

    ./dev bench                          everything; writes docs/BENCHMARKS.md
    ./dev bench --only orders --quick    one benchmark, few rounds; writes nothing
    ./dev bench --long                   ten minutes against a gateway that paces; writes a section of its own
    python benchmarks/run.py --list      what there is

Nothing here fails because a machine is slow: a target that is not reached is shown as missed, with the number.
IBKR_BENCH_IB_ASYNC_PYTHON names the interpreter of an environment with ib_async (`./dev bench` sets it).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import (
    bars,
    blocked,
    connect,
    crowd,
    gates,
    harness,
    imports,
    machine,
    memory,
    orders,
    pacing,
    positions,
    reconnect,
    ticks,
    web_orders,
    web_pace,
    web_positions,
    web_quotes,
    web_writes,
)
from bench.processes import ChildError
from bench.table import BEGIN, END, LONG, Section, as_markdown, as_text, between_markers

BUSY = 0.5
"""Load average above which a run says that it does not have the machine to itself."""
REPORT = Path(__file__).resolve().parent.parent / "docs" / "BENCHMARKS.md"

BENCHMARKS: dict[str, tuple[str, Callable[[harness.Bench], Section]]] = {
    module.NAME: (module.TITLE, module.run)
    for module in (
        memory,
        connect,
        orders,
        gates,
        crowd,
        blocked,
        reconnect,
        pacing,
        bars,
        ticks,
        positions,
        imports,
        web_quotes,
        web_positions,
        web_orders,
        web_pace,
        web_writes,
    )
}
"""In the order they run: memory first, while nothing else has happened."""


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description="The connector beside the raw libraries.")
    parser.add_argument("--only", action="append", metavar="NAME", choices=list(BENCHMARKS), help="run this one")
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that it works; writes no report")
    parser.add_argument("--long", action="store_true", help=f"only this: {pacing.LONG_TITLE}, written to the report")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and run nothing")
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"the report to update (default: {REPORT.name})")
    options = parser.parse_args(words)
    if options.long and (options.only or options.quick):
        parser.error("--long is a run of its own: it takes ten minutes, and neither --only nor --quick")
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for. Exit codes: 0 measured, 1 a process broke, 2 wrong arguments."""
    options = parse(words)
    if options.list:
        for name, (title, _) in BENCHMARKS.items():
            print(f"{name:<14} {title}")
        return 0
    chosen = options.only or list(BENCHMARKS)
    begun, load = time.monotonic(), machine.load_average()
    if load is not None and load > BUSY:
        say(f"other programs are busy (load {load:.1f}): the numbers will be about them too")
    if options.long:
        return long_run(options, words, load)
    folder = harness.disk_folder()
    try:
        with harness.running(folder, quick=options.quick) as bench:
            sections = []
            for name in chosen:
                say(f"{name} ...")
                sections.append(BENCHMARKS[name][1](bench))
            versions = {"ibkr-connector": machine.version_of("ibkr-connector"), **bench.versions}
            facts = machine.describe(folder, command(words), versions, load)
            facts["took"] = f"{time.monotonic() - begun:.0f} s"
            facts |= {"not measured": "; ".join(bench.problems)} if bench.problems else {}
    except ChildError as error:
        say(f"benchmarks: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"machine": facts, "sections": [section.to_dict() for section in sections]}, indent=1))
    else:
        print(as_text(sections, facts))
    if options.output or not (options.quick or options.only):
        write_report(options.output or REPORT, as_markdown(sections, facts))
    return 0


def command(words: Sequence[str] | None) -> str:
    """The command as a user would repeat it."""
    return " ".join(["python benchmarks/run.py", *(sys.argv[1:] if words is None else words)])


def long_run(options: argparse.Namespace, words: Sequence[str] | None, load: float | None) -> int:
    """What `--long` asks for."""
    library = next((name for name in machine.LIBRARIES if machine.version_of(name)), "")
    folder = harness.disk_folder()
    try:
        section = pacing.run_long(sys.executable, library, folder, pacing.LONG_S, say)
        versions = {name: machine.version_of(name) for name in ("ibkr-connector", library)}
        facts = machine.describe(folder, command(words), versions, load)
    except ChildError as error:
        say(f"benchmarks: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"machine": facts, "sections": [section.to_dict()]}, indent=1))
    else:
        print(as_text([section], facts))
    write_report(options.output or REPORT, as_markdown([section], facts, level=3), LONG)
    return 0


def write_report(path: Path, body: str, markers: tuple[str, str] = (BEGIN, END)) -> None:
    """Put the tables between the report's markers."""
    path.write_text(between_markers(path.read_text("utf-8"), body, markers), "utf-8")
    say(f"written: {path.name}")


def say(text: str) -> None:
    """Progress goes to standard error: standard output is the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
