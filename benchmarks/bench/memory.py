"""Resident memory of a process that has just connected and does nothing."""

from __future__ import annotations

import asyncio
import gc

from . import machine
from .harness import Bench
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
    section.notes += [
        "Before connecting: the interpreter and the benchmark itself, no library loaded.",
        "Most of what the connector adds are exchange_calendars and the pandas below it, for the market-hours gate.",
    ]
    return section
