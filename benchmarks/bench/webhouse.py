"""Starts the gateways and sides of a Web benchmark, and ends them with it.

They are not there all the time as those over TWS are: each benchmark begins with gateways of its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import machine
from .harness import Bench
from .processes import Child
from .table import Section
from .webside import LIBRARY

RAW, CONNECTOR = "raw ibind", "connector on web"
NEEDED = {"ibind": "ibind", "aiohttp": "aiohttp", "cryptography": "cryptography", "Crypto": "pycryptodome"}
"""Module -> what to install."""


@dataclass(slots=True)
class Gateways:
    """The process of the gateways, and where each of them is."""

    child: Child
    urls: list[str]
    oauth: list[str]
    """Files with the keys and the address, as variables; empty without OAuth."""


@dataclass(slots=True)
class WebBench:
    """What a Web benchmark needs."""

    gateways: Gateways
    folder: Path
    sides: dict[str, Child] = field(default_factory=dict)

    def interleave(self, command: str, rounds: int, **args: Any) -> dict[str, list[Any]]:
        """Have every side do `command` once to warm up, then `rounds` times in turn; the answers by side."""
        found: dict[str, list[Any]] = {name: [] for name in self.sides}
        for number in range(rounds + 1):
            for name, child in self.sides.items():
                value = child.ask(command, **args)
                if number:
                    found[name].append(value)
        return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """A side to start: `kind` is raw, connector, or paced (the connector at IBKR's pace)."""

    name: str
    kind: str
    at: tuple[int, ...] = (0,)
    """The gateways it is told of."""
    connects: bool = True
    """Whether it connects to the first of them when it starts."""
    options: dict[str, Any] = field(default_factory=dict)


USUAL = (Wanted(RAW, "raw"), Wanted(CONNECTOR, "connector"))


def missing() -> str:
    """What the Web benchmarks need and is not installed, or nothing."""
    return ", ".join(name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None)


def not_measured(bench: Bench, section: Section) -> bool:
    """Whether something is not installed; the section and the run then say so."""
    if lacks := missing():
        section.notes.append(f"Not measured: {lacks} not installed.")
        problem = f"the Web API was not measured: {lacks} not installed"
        if problem not in bench.problems:
            bench.problems.append(problem)
        return True
    bench.versions.setdefault(LIBRARY, machine.version_of(LIBRARY))
    return False


@contextlib.contextmanager
def running(bench: Bench, name: str, *wanted: Wanted, count: int = 1, oauth: bool = False) -> Iterator[WebBench]:
    """`count` gateways and the sides, connected; all ended afterwards. With `oauth` IBKR's limits hold."""
    folder = bench.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        words = [sys.executable, "-m", "bench.webgateway", str(count)]
        child = Child("the web gateway", [*words, str(folder / "keys")] if oauth else words)
        stack.callback(child.close)
        urls, keys = ([gateway[part] for gateway in child.greeting] for part in ("url", "oauth"))
        made = WebBench(Gateways(child, urls, keys), folder)

        def start(asked: Wanted) -> Child:
            told = {
                "kind": asked.kind,
                "urls": [urls[number] for number in asked.at],
                "connects": asked.connects,
                "oauth": keys[asked.at[0]],
                "folder": str(folder / asked.name.replace(" ", "-")),
                "options": asked.options,
            }
            side = Child(asked.name, [sys.executable, "-m", "bench.webworker", json.dumps(told)])
            stack.callback(side.close)
            return side

        with ThreadPoolExecutor(len(wanted) or 1) as pool:  # at IBKR's pace a start takes ten seconds
            for asked, side in zip(wanted, pool.map(start, wanted), strict=True):
                made.sides[asked.name] = side
        yield made
