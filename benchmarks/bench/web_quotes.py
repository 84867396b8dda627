"""Snapshot of one contract over the Web API: bid, ask and last, as the caller gets them.

First: nobody has asked for this contract before. raw ibind: `live_marketdata_snapshot` until it has a bid; the first
answer has none, which is what the Web API does. connector: `get_live_quote`, which opens a line over the websocket and
waits until it has told what there is. Again: the next quote of the same contract, at most five seconds old. raw: one
more request. connector: read from its line. Both know the contract's id before.
"""

from __future__ import annotations

import asyncio
import time

from .harness import SYMBOL, Bench
from .sides import Commands
from .stats import flat, percentile, ratio
from .table import Check, Section, duration
from .ticks import SYMBOLS
from .webhouse import CONNECTOR, RAW, USUAL, not_measured, running
from .webside import RawWebSide, WebConnectorSide

NAME = "web-snapshot"
TITLE = "Web API: snapshot of one contract"
TARGET = 1.0
FIELDS = ["31", "84", "85", "86", "88", "7762"]
"""Last, bid, ask size, ask, bid size, volume."""
PAUSE = 0.01


async def raw(side: RawWebSide, first: list[str], count: int) -> dict[str, list[float]]:
    """Times of the first snapshots of `first`, and of `count` more of one contract, seconds."""
    ask = side.client.live_marketdata_snapshot
    firsts, again = [], []
    for symbol in first:
        con_id = str(side.stock(symbol))
        begun = time.perf_counter()
        while "84" not in ask(con_id, FIELDS).data[0]:
            pass
        firsts.append(time.perf_counter() - begun)
    con_id = str(side.stock(SYMBOL))
    ask(con_id, FIELDS)
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        row = ask(con_id, FIELDS).data[0]
        again.append(time.perf_counter() - begun)
        if "84" not in row:
            raise RuntimeError("a snapshot that was asked for before has no bid")
    return {"first": firsts, "again": again}


async def connector(side: WebConnectorSide, first: list[str], count: int) -> dict[str, list[float]]:
    """Times of the first quotes of `first`, and of `count` more of one contract, seconds."""
    made = side.connector
    firsts, again = [], []
    for symbol in first:
        await made.get_contract(symbol)
        begun = time.perf_counter()
        await made.get_live_quote(symbol)
        firsts.append(time.perf_counter() - begun)
    await made.get_live_quote(SYMBOL)
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        quote = await made.get_live_quote(SYMBOL)
        again.append(time.perf_counter() - begun)
        if not quote.bid:
            raise RuntimeError("a quote of an open line has no bid")
    return {"first": firsts, "again": again}


COMMANDS: Commands = {"raw.quotes": raw, "connector.quotes": connector}


def run(bench: Bench) -> Section:
    """Both sides in turn."""
    section = Section(NAME, TITLE, ["side", "again: p50", "p99", "first: p50", "slowest", "quotes"])
    if not_measured(bench, section):
        return section
    rounds, count, each = (2, 20, 2) if bench.quick else (5, 60, 3)
    others = [symbol for symbol in SYMBOLS if symbol != SYMBOL]
    found: dict[str, list[dict[str, list[float]]]] = {RAW: [], CONNECTOR: []}
    with running(bench, NAME, *USUAL) as web:
        for number in range(rounds + 1):
            first = others[number * each : (number + 1) * each]
            for side, child in web.sides.items():
                answer = child.ask("quotes", first=first, count=count)
                if number:
                    found[side].append(answer)
    again = {side: [answer["again"] for answer in answers] for side, answers in found.items()}
    for side, answers in found.items():
        samples, firsts = flat(again[side]), flat([answer["first"] for answer in answers])
        figures = [percentile(samples, 50), percentile(samples, 99), percentile(firsts, 50), max(firsts)]
        section.rows.append([side, *map(duration, figures), str(len(samples))])
    over = ratio(again[CONNECTOR], again[RAW])
    section.checks.append(Check("Web API: snapshot asked for again, over raw ibind", over, "<=", TARGET))
    section.notes.append(
        "The connector's line tells changes by itself, every half second at most: a quote read from it is as old as "
        "the last of them, five seconds at most. ibind's is asked for anew. A first quote waits for the stream's first "
        "frames, up to a quarter of a second longer for those figures of the day that are not in them."
    )
    return section
