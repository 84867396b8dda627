"""Resident memory of a process that has just connected and does nothing."""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys

from . import machine
from .harness import Bench
from .processes import HERE, clean_environment
from .sides import Commands, Side
from .table import Section, plain

NAME = "memory"
TITLE = "Memory of an idle, connected process"
SETTLE = 2.0
"""Seconds for what a side still loads in the background."""
_MB = 1024 * 1024


async def resident(side: Side) -> int:
    """Bytes resident now."""
    await asyncio.sleep(SETTLE)
    gc.collect()
    return machine.resident_bytes()


LIBRARIES = "numpy, pandas, exchange_calendars"
ALONE = f"""
import gc
from bench.machine import resident_bytes
before = resident_bytes()
import {LIBRARIES}
gc.collect()
imported = resident_bytes()
exchange_calendars.get_calendar("XNYS", start="2026-11-13", end="2026-11-27")
gc.collect()
print(imported - before, resident_bytes() - imported)
"""


def alone() -> tuple[int, int]:
    """Bytes that the libraries below the market-hours gate take by themselves: imported, and one calendar made."""
    command = [sys.executable, "-W", "ignore", "-c", ALONE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE, env=clean_environment())
    imported, calendar = done.stdout.split()
    return int(imported), int(calendar)


COMMANDS: Commands = {"raw.memory": resident, "connector.memory": resident}


def run(bench: Bench) -> Section:
    """Each side once, before it does anything else."""
    section = Section(NAME, TITLE, ["side", "resident", "of which before connecting", "more than raw"])
    found = {side: child.ask("memory") for side, child in bench.sides.items()}
    more = {connector: found[connector] - found[raw] for _, raw, connector in bench.pairs()}
    for side, used in found.items():
        before = bench.sides[side].greeting["before"]
        extra = f"{plain(more[side] / _MB)} MB" if side in more else ""
        section.rows.append([side, f"{plain(used / _MB)} MB", f"{plain(before / _MB)} MB", extra])
    imported, calendar = alone()
    section.rows.append([f"only import {LIBRARIES}", "", "", f"{plain(imported / _MB)} MB"])
    section.notes.append("Before connecting: the interpreter and the benchmark itself, no library loaded.")
    if more:
        share = 100 * (imported + calendar) / statistics.mean(more.values())
        section.notes.append(
            f"{share:.0f} % of what the connector adds are {LIBRARIES}, for the market-hours gate: a process that "
            f"only imports them grows by {plain(imported / _MB)} MB, and {plain(calendar / _MB)} MB more by a calendar."
        )
    return section
