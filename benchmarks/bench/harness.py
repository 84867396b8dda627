"""Starts gateway and sides, and has them take turns: A B A B, so that a slow minute of the machine is slow for all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import machine
from .processes import Child, ChildError

ASYNC_PYTHON = "IBKR_BENCH_IB_ASYNC_PYTHON"
SYMBOL = "AAPL"


@dataclass(slots=True)
class Bench:
    """What a benchmark needs."""

    gateway: Child
    sides: dict[str, Child]
    """`raw ib_insync`, `connector on ib_insync`, and the same with ib_async."""
    libraries: dict[str, str]
    """Library -> the interpreter it is installed in."""
    quick: bool
    versions: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    folder: Path = field(default_factory=Path)
    """On the disk: for what a benchmark writes itself."""

    def pairs(self) -> Iterator[tuple[str, str, str]]:
        """Library, name of its raw side, name of the connector over it; where both are there."""
        for library in self.libraries:
            raw, connector = f"raw {library}", f"connector on {library}"
            if raw in self.sides and connector in self.sides:
                yield library, raw, connector

    def interleave(self, command: str, rounds: int, **args: Any) -> dict[str, list[Any]]:
        """Have every side do `command` once to warm up, then `rounds` times in turn; the answers by side."""
        found: dict[str, list[Any]] = {name: [] for name in self.sides}
        for number in range(rounds + 1):
            for name, child in self.sides.items():
                value = child.ask(command, **args)
                if number:
                    found[name].append(value)
        return found


def libraries() -> tuple[dict[str, str], list[str]]:
    """The interpreters to use: this one for the library installed here, another for ib_async; and what is missing."""
    found, problems = {}, []
    for name in machine.LIBRARIES:
        if machine.version_of(name):
            found[name] = sys.executable
    if "ib_async" not in found:
        other = os.environ.get(ASYNC_PYTHON, "")
        if other and shutil.which(other):
            found["ib_async"] = str(Path(other).absolute())
        else:
            problems.append(f"ib_async was not measured: {ASYNC_PYTHON} names no interpreter (`./dev bench` sets it)")
    if "ib_insync" not in found:
        problems.append("ib_insync was not measured: it is not installed in this environment")
    return found, problems


def disk_folder() -> Path:
    """Where the journals lie while a benchmark runs: a folder of the temporary directory, unless that is in memory."""
    usual = Path(tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix="ibkr-bench-", dir=Path.cwd() if machine.in_memory(usual) else usual))


@contextlib.contextmanager
def running(folder: Path, *, quick: bool) -> Iterator[Bench]:
    """Gateway and sides, connected; all ended afterwards."""
    found, problems = libraries()
    with contextlib.ExitStack() as stack:
        gateway = Child("the gateway", [sys.executable, "-m", "bench.gateway"])
        stack.callback(gateway.close)
        bench = Bench(gateway, {}, found, quick, problems=problems, folder=folder)
        for number, (library, python) in enumerate(found.items(), start=1):
            for kind, name in (("raw", f"raw {library}"), ("connector", f"connector on {library}")):
                client_id = number * 10 + (kind == "connector")
                port = str(gateway.greeting["port"])
                place = str(folder / f"{kind}-{library}")
                command = [python, "-m", "bench.worker", kind, library, port, str(client_id), place]
                try:
                    child = Child(name, command)
                except ChildError as error:
                    problems.append(f"{name} was not measured: {error}")
                    continue
                stack.callback(child.close)
                bench.sides[name] = child
                bench.versions[library] = child.greeting["library"]
        if not bench.sides:
            raise ChildError("nothing can be measured: " + "; ".join(problems))
        yield bench
