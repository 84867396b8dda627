"""One regular session of one-minute bars: 390 of them, asked for by their end.

raw: `reqHistoricalDataAsync` on the library's own loop. connector: `get_historical_data` on the caller's event loop.
Both include the gateway's own work on the answer, which is the same for both.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from .harness import SYMBOL, Bench
from .sides import Commands, ConnectorSide, RawSide
from .stats import flat, median, percentile, ratio
from .table import Check, Section, duration

NAME = "bars"
TITLE = "390 one-minute bars"
TARGET = 1.2
PAUSE = 0.02


async def raw(side: RawSide, count: int, end: str) -> dict[str, list[float]]:
    """Times of `count` requests, seconds."""
    contract, until = await side.stock(SYMBOL), datetime.fromisoformat(end)
    taken, bars = [], []
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        bars = await side.ib.reqHistoricalDataAsync(contract, until, "1 D", "1 min", "TRADES", True)
        taken.append(time.perf_counter() - begun)
    return {"taken": taken, "bars": [float(len(bars))]}


async def connector(side: ConnectorSide, count: int, end: str) -> dict[str, list[float]]:
    """Times of `count` requests, seconds."""
    until, ask = datetime.fromisoformat(end), side.connector.get_historical_data
    taken, bars = [], 0
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        series = await ask(SYMBOL, "1 D", "1 min", end=until, what_to_show="TRADES", use_rth=True)
        taken.append(time.perf_counter() - begun)
        bars = len(series)
    return {"taken": taken, "bars": [float(bars)]}


COMMANDS: Commands = {"raw.bars": raw, "connector.bars": connector}


def run(bench: Bench) -> Section:
    """All sides in turn."""
    rounds, count = (2, 5) if bench.quick else (7, 15)
    end = bench.gateway.ask("market", symbol=SYMBOL)["session"][1]
    found = bench.interleave("bars", rounds, count=count, end=end)
    section = Section(NAME, TITLE, ["side", "p50", "p99", "requests", "bars"])
    taken = {side: [answer["taken"] for answer in answers] for side, answers in found.items()}
    for side, answers in found.items():
        samples = flat(taken[side])
        row = [duration(percentile(samples, 50)), duration(percentile(samples, 99)), str(len(samples))]
        section.rows.append([side, *row, str(int(answers[-1]["bars"][0]))])
    for library, raw_side, connector_side in bench.pairs():
        over = ratio(taken[connector_side], taken[raw_side])
        section.checks.append(Check(f"390 bars on {library}, over raw", over, "<=", TARGET))
        gap = median(taken[connector_side]) - median(taken[raw_side])
        section.notes.append(
            f"{library}: the connector takes {duration(abs(gap))} {'more' if gap > 0 else 'less'} than raw."
        )
    return section
