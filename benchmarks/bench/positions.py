"""Positions: a list of what the account holds, as the caller gets it.

raw: `ib.positions()`, a copy of the library's own table on its own thread. connector: `await get_positions()` on the
caller's event loop; the floor is the raw call plus one hop to the session's thread and back. Asking the broker anew
(`reqPositionsAsync`, `get_positions(refresh=True)`) is shown beside it.
"""

from __future__ import annotations

import asyncio
import threading
import time

from .harness import Bench
from .sides import Commands, ConnectorSide, RawSide
from .stats import median, ratio
from .table import Check, Section, duration, times

NAME = "positions"
TITLE = "Positions"
HELD = ("MSFT", "NVDA", "AMZN", "GOOGL", "META", "JPM", "XOM", "KO", "SPY", "QQQ")
TARGET = 1.0


async def buy(side: RawSide, symbols: list[str]) -> int:
    """Make the account hold something; how many positions it has then."""
    for symbol in symbols:
        trade = side.ib.placeOrder(await side.stock(symbol), side.module.MarketOrder("BUY", 1))
        await side.ended(trade)
    return len(await side.ib.reqPositionsAsync())


async def raw(side: RawSide, count: int, asked: int) -> dict[str, list[float]]:
    """Times of the library's calls, seconds."""
    reads, refreshes = [], []
    for _ in range(count):
        begun = time.perf_counter()
        side.ib.positions()
        reads.append(time.perf_counter() - begun)
    for _ in range(asked):
        await asyncio.sleep(0.004)
        begun = time.perf_counter()
        await side.ib.reqPositionsAsync()
        refreshes.append(time.perf_counter() - begun)
    return {"reads": reads, "refreshes": refreshes, "held": [float(len(side.ib.positions()))]}


async def connector(side: ConnectorSide, count: int, asked: int) -> dict[str, list[float]]:
    """Times of the connector's calls, and of a hop, seconds."""
    reads, refreshes, hops = [], [], []
    ask = side.connector.get_positions
    for _ in range(count):
        begun = time.perf_counter()
        await ask()
        reads.append(time.perf_counter() - begun)
    for _ in range(asked):
        await asyncio.sleep(0.004)
        begun = time.perf_counter()
        await ask(refresh=True)
        refreshes.append(time.perf_counter() - begun)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    for _ in range(count):
        begun = time.perf_counter()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_nothing(), loop))
        hops.append(time.perf_counter() - begun)
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()
    return {"reads": reads, "refreshes": refreshes, "hops": hops, "held": [float(len(await ask()))]}


async def _nothing() -> None:
    """What is hopped for."""


COMMANDS: Commands = {"raw.buy": buy, "raw.positions": raw, "connector.positions": connector}


def run(bench: Bench) -> Section:
    """All sides in turn."""
    rounds, count = (2, 50) if bench.quick else (5, 200)
    buyer = next(child for name, child in bench.sides.items() if name.startswith("raw "))
    buyer.ask("buy", symbols=list(HELD))
    found = bench.interleave("positions", rounds, count=count, asked=count // 10)
    section = Section(NAME, TITLE, ["side", "read", "asked anew", "positions"])
    for side, answers in found.items():
        cells = [duration(median([answer[name] for answer in answers])) for name in ("reads", "refreshes")]
        section.rows.append([side, *cells, str(int(answers[-1]["held"][0]))])
    for library, raw_side, connector_side in bench.pairs():
        raw_reads = [answer["reads"] for answer in found[raw_side]]
        reads = [answer["reads"] for answer in found[connector_side]]
        hops = [answer["hops"] for answer in found[connector_side]]
        what = f"positions on {library}, over ib.positions() plus one hop"
        section.checks.append(Check(what, ratio(reads, raw_reads, hops), "<=", TARGET))
        anew = ratio(
            [answer["refreshes"] for answer in found[connector_side]],
            [answer["refreshes"] for answer in found[raw_side]],
        )
        section.notes.append(
            f"{library}: one hop {duration(median(hops))}; the read over ib.positions() alone "
            f"{times(ratio(reads, raw_reads))} times, asked anew {times(anew)} times."
        )
    section.notes.append(
        "The connector's read takes its live snapshot without a hop, after checking that the link is up and reconciled."
    )
    return section
