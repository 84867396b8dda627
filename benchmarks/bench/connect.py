"""Connect: from nothing to ready, libraries already imported.

raw: `IB().connectAsync` with its own start-up requests. connector: `connect()` of a new connector: thread, journal,
handshake, and the paced start-up sync of orders, executions, account and positions. The journal was begun by an earlier
connector; the very first connect, which makes the file durably, is told apart.
"""

from __future__ import annotations

import time

from .harness import Bench
from .sides import Commands, ConnectorSide, RawSide
from .stats import flat, median, ratio
from .table import Section, duration, times

NAME = "connect"
TITLE = "Connect to ready"


async def raw(side: RawSide, count: int) -> dict[str, list[float]]:
    """Times of `count` connections, seconds."""
    taken = []
    for _ in range(count):
        client_id = side.new_client_id()
        begun = time.perf_counter()
        ib = await side.connect(client_id)
        taken.append(time.perf_counter() - begun)
        ib.disconnect()
    return {"taken": taken}


async def connector(side: ConnectorSide, count: int) -> dict[str, list[float]]:
    """Times of `count` connections, and of as many first ones, seconds."""
    first: list[float] = []
    again: list[float] = []
    for _ in range(count):
        client_id = side.new_client_id()
        for taken in (first, again):
            begun = time.perf_counter()
            made = side.make(client_id, f"connect-{client_id}")
            await made.connect()
            taken.append(time.perf_counter() - begun)
            await made.close()
    return {"taken": again, "first": first}


COMMANDS: Commands = {"raw.connect": raw, "connector.connect": connector}


def run(bench: Bench) -> Section:
    """All sides in turn."""
    rounds, count = (1, 2) if bench.quick else (5, 4)
    found = bench.interleave("connect", rounds, count=count)
    section = Section(NAME, TITLE, ["side", "median", "fastest", "slowest"])
    taken = {side: [answer["taken"] for answer in answers] for side, answers in found.items()}
    for side, samples in taken.items():
        spread = flat(samples)
        section.rows.append([side, duration(median(samples)), duration(min(spread)), duration(max(spread))])
    for library, raw_side, connector_side in bench.pairs():
        over = ratio(taken[connector_side], taken[raw_side])
        first = median([answer["first"] for answer in found[connector_side]])
        section.notes.append(
            f"{library}: the connector over raw {times(over)} times; its very first connect {duration(first)}."
        )
    section.notes.append("The connector also opens its order journal and asks for completed orders and executions.")
    return section
