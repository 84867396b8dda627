"""What an import costs: seconds inside a fresh interpreter, its own start not counted."""

from __future__ import annotations

import subprocess
import sys

from .harness import Bench
from .processes import clean_environment
from .stats import Ratio, median
from .table import Check, Section, duration

NAME = "import"
TITLE = "Import"
CASES = (
    ("import ibkr_connector", 0.05, sys.executable),
    ("from ibkr_connector import get_ibkr_connector", 0.15, sys.executable),
    ("from ibkr_connector import get_ibkr_connector; get_ibkr_connector()", 0.0, sys.executable),
)
PROBE = "import time; begun = time.perf_counter()\n{code}\nprint(time.perf_counter() - begun)"
RAW = "import asyncio; asyncio.set_event_loop(asyncio.new_event_loop())\nimport {library}"


def seconds(python: str, code: str) -> float:
    """One import in a fresh interpreter."""
    command = [python, "-W", "ignore", "-c", PROBE.format(code=code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    return float(done.stdout)


def run(bench: Bench) -> Section:
    """All imports in turn."""
    rounds = 3 if bench.quick else 11
    cases = [(code, python, limit) for code, limit, python in CASES]
    cases += [(RAW.format(library=library), python, 0.0) for library, python in bench.libraries.items()]
    found: dict[str, list[list[float]]] = {code: [] for code, _, _ in cases}
    for number in range(rounds + 1):
        for code, python, _ in cases:
            taken = seconds(python, code)
            if number:
                found[code].append([taken])
    section = Section(NAME, TITLE, ["code", "median", "fastest", "slowest"])
    for code, _, limit in cases:
        label = code.rpartition("\n")[2]
        middle, low, high = median(found[code]), min(found[code])[0], max(found[code])[0]
        section.rows.append([label, duration(middle), duration(low), duration(high)])
        if limit:
            section.checks.append(Check(label, Ratio(middle, low, high), "<=", limit, unit="s"))
    return section
