"""Order to acknowledged while 500 requests for historical bars wait, beside the same with nothing waiting.

connector: they wait in its pacer under IBKR's history rules (bars of 30 seconds: five in two seconds, 60 in ten
minutes), and orders pass them. raw: the library queues what is above its throttle of 45 messages per second, and has
one queue: the order is written behind all of them. With the throttle off they are all written at once, and the order's
answer waits until the gateway has answered them; one that paces, as IBKR's does, would refuse most.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from .harness import SYMBOL, Bench
from .orders import timed, timed_raw
from .sides import Commands, ConnectorSide, RawSide
from .stats import flat, median, percentile, tail_ratio
from .table import Check, Section, duration

NAME = "crowd"
TITLE = "Order to acknowledged behind 500 history requests"
TARGET = 2.0
CROWD = 500
THROTTLE = 45
"""Messages per second of the libraries' own throttle, on by default."""
_PATIENCE = 3 * 3600.0
"""Seconds a waiting request is ready to wait: 500 of them take an hour and a half."""


def ends(last: str, count: int) -> list[datetime]:
    """A different end for each request, a minute apart: none is the repetition of another."""
    return [datetime.fromisoformat(last) - timedelta(minutes=number) for number in range(count)]


async def raw(side: RawSide, count: int, price: float, end: str) -> dict[str, list[float]]:
    """Times of `count` orders with nothing waiting, seconds."""
    return {"idle": await timed_raw(side, count, price)}


async def raw_behind(side: RawSide, price: float, end: str, throttle: int) -> list[float]:
    """The time of one order right after the crowd; `throttle` 0 = off."""
    contract = await side.stock(SYMBOL)
    client = side.ib.client
    before, client.MaxRequests = client.MaxRequests, throttle
    try:
        asked = [
            asyncio.ensure_future(side.ib.reqHistoricalDataAsync(contract, until, "1800 S", "30 secs", "TRADES", True))
            for until in ends(end, CROWD)
        ]
        await asyncio.sleep(0)  # every one of them has called the library now
        taken = await timed_raw(side, 1, price, contract=contract, pause=0.0)
        await asyncio.wait_for(asyncio.gather(*asked), 40)
    finally:
        client.MaxRequests = before
    return taken


async def connector(side: ConnectorSide, count: int, price: float, end: str) -> dict[str, list[float]]:
    """Times of `count` orders with nothing waiting, and of as many behind the crowd, seconds."""
    idle = await timed(side, count, price)
    ask = side.connector.get_historical_data
    asked: list[asyncio.Task[Any]] = [
        asyncio.create_task(
            ask(SYMBOL, "1800 S", "30 secs", end=until, what_to_show="TRADES", use_rth=True, timeout=_PATIENCE)
        )
        for until in ends(end, CROWD)
    ]
    try:
        await side.until_paced(lambda now: now.submitted > 0 and now.pending["history"] >= CROWD - 70)
        waiting = [side.pacer().pending["history"]]
        behind = await timed(side, count, price)
        waiting.append(side.pacer().pending["history"])
    finally:
        for task in asked:
            task.cancel()
        ended = await asyncio.gather(*asked, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error
    await side.until_paced(lambda now: now.pending["history"] == 0)
    return {"idle": idle, "behind": behind, "waiting": [float(number) for number in waiting]}


COMMANDS: Commands = {"raw.crowd": raw, "raw.crowd_behind": raw_behind, "connector.crowd": connector}


def run(bench: Bench) -> Section:
    """All sides in turn."""
    rounds, count = (2, 20) if bench.quick else (9, 50)
    market = bench.gateway.ask("market", symbol=SYMBOL)
    price, end = round(float(market["bid"]) * 0.95, 2), market["session"][1]
    found = bench.interleave(NAME, rounds, count=count, price=price, end=end)
    section = Section(NAME, TITLE, ["side", "nothing waits: p50", "p99", "500 wait: p50", "p99", "orders"])
    for library, raw_side, connector_side in bench.pairs():
        section.rows.append([raw_side, *_cells([answer["idle"] for answer in found[raw_side]]), "", "", ""])
        for throttle, label in ((THROTTLE, f"throttle on ({THROTTLE}/s, as it is used)"), (0, "throttle off")):
            taken = [
                bench.sides[raw_side].ask("crowd_behind", price=price, end=end, throttle=throttle)
                for _ in range(1 if bench.quick else 3)
            ]
            section.rows.append([f"{raw_side}, {label}", "", "", duration(median(taken)), "", str(len(taken))])
        idle, behind = ([answer[part] for answer in found[connector_side]] for part in ("idle", "behind"))
        section.rows.append([connector_side, *_cells(idle), *_cells(behind), str(len(flat(behind)))])
        what = f"order behind {CROWD} history requests on {library}, p99 over idle p99"
        section.checks.append(Check(what, tail_ratio(behind, idle), "<=", TARGET))
        waited = min(flat([answer["waiting"] for answer in found[connector_side]]))
        section.notes.append(
            f"{library}: at least {waited:.0f} of them waited while the connector's orders were timed."
        )
    section.notes.append(
        "The libraries have one queue: an order is written behind every request before it. Requests for bars of 30 "
        "seconds; the gateway of this run does not pace, the connector does."
    )
    return section


def _cells(rounds: list[list[float]]) -> list[str]:
    samples = flat(rounds)
    return [duration(percentile(samples, 50)), duration(percentile(samples, 99))]
