"""Positions over the Web API: a list of what the account holds, as the caller gets it.

raw ibind: `positions2`, one request (portfolio2, without the pages and the cache of the older one). connector: `await
get_positions()` reads its live snapshot on the caller's event loop; asked anew (`refresh=True`) it makes the same
request.
"""

from __future__ import annotations

import asyncio
import time

from .harness import Bench
from .positions import HELD
from .sides import Commands
from .stats import flat, percentile, ratio
from .table import Check, Section, duration, times
from .webhouse import CONNECTOR, RAW, USUAL, not_measured, running
from .webside import ACCOUNT, RawWebSide, WebConnectorSide

NAME = "web-positions"
TITLE = "Web API: positions"
TARGET = 1.0
PAUSE = 0.01


async def buy(side: RawWebSide, symbols: list[str]) -> int:
    """Make the account hold something; how many positions it has then."""
    for symbol in symbols:
        order = side.module.OrderRequest(
            conid=side.stock(symbol), side="BUY", quantity=1, order_type="MKT", acct_id=ACCOUNT, tif="DAY", coid=symbol
        )
        side.client.place_order(order, {})
    return len(side.client.positions2().data)


async def raw(side: RawWebSide, count: int) -> dict[str, list[float]]:
    """Times of ibind's calls, seconds."""
    taken, held = [], 0
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        held = len(side.client.positions2().data)
        taken.append(time.perf_counter() - begun)
    return {"reads": taken, "anew": taken, "held": [float(held)]}


async def connector(side: WebConnectorSide, count: int) -> dict[str, list[float]]:
    """Times of the connector's calls, seconds."""
    ask = side.connector.get_positions
    reads, anew, held = [], [], 0
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        await ask()
        reads.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        held = len(await ask(refresh=True))
        anew.append(time.perf_counter() - begun)
    return {"reads": reads, "anew": anew, "held": [float(held)]}


COMMANDS: Commands = {"raw.web_buy": buy, "raw.web_positions": raw, "connector.web_positions": connector}


def run(bench: Bench) -> Section:
    """Both sides in turn."""
    section = Section(NAME, TITLE, ["side", "read: p50", "p99", "asked anew: p50", "p99", "positions"])
    if not_measured(bench, section):
        return section
    rounds, count = (2, 20) if bench.quick else (5, 60)
    with running(bench, NAME, *USUAL) as web:
        web.sides[RAW].ask("web_buy", symbols=list(HELD))
        found = web.interleave("web_positions", rounds, count=count)
    part = {
        side: {name: [answer[name] for answer in answers] for name in ("reads", "anew")}
        for side, answers in found.items()
    }
    for side, answers in found.items():
        figures = [percentile(flat(part[side][name]), percent) for name in ("reads", "anew") for percent in (50, 99)]
        cells = list(map(duration, figures))
        if side == RAW:
            cells[:2] = ["a request", ""]
        section.rows.append([side, *cells, str(int(answers[-1]["held"][0]))])
    over = ratio(part[CONNECTOR]["reads"], part[RAW]["reads"])
    section.checks.append(Check("Web API: positions, over raw ibind", over, "<=", TARGET))
    anew = ratio(part[CONNECTOR]["anew"], part[RAW]["anew"])
    section.notes.append(
        f"Asked anew over raw {times(anew)} times. The connector's read takes its live snapshot, which the websocket "
        "and its orders keep true, after checking that the link is up and reconciled; ibind keeps none."
    )
    return section
