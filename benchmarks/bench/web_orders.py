"""Order round trip over the Web API: POST to acknowledged, a limit order that rests, cancelled again before the next.

raw ibind: `place_order`, until it returns what the POST was answered. connector: from calling `place_limit_order`, on
another event loop than the session's, until it returns. The floor of the connector is a raw order, one durable commit,
and the hops that ibind makes necessary: to the session's thread, from there to the thread that may block, and both
back. They are measured between its orders, in the same process, with the same pauses.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from . import orders
from .harness import SYMBOL, Bench
from .orders import PAUSE
from .sides import MESSAGES_PER_SECOND, Commands
from .stats import flat, median, percentile, ratio
from .table import Check, Section, duration, times
from .webhouse import CONNECTOR, RAW, USUAL, not_measured, running
from .webside import RawWebSide, WebConnectorSide

NAME = "web-orders"
TITLE = "Web API: order to acknowledged"
TARGET = 1.2


async def raw(side: RawWebSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of `count` orders, seconds."""
    con_id, acks = side.stock(SYMBOL), []
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        order = side.limit(con_id, price)
        begun = time.perf_counter()
        told = side.client.place_order(order, {}).data
        acks.append(time.perf_counter() - begun)
        side.client.cancel_order(told["order_id"])
    return {"acks": acks}


async def connector(side: WebConnectorSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of `count` orders, and of the parts of their floor, seconds."""
    found = await orders.connector(side, count, price)
    return {**found, "hops": await four_hops(count)}


async def four_hops(count: int) -> list[float]:
    """Times to another event loop's thread, on to one that works for it, and back the same way, seconds."""
    loop, taken = asyncio.new_event_loop(), []
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    with ThreadPoolExecutor(1) as worker:
        worker.submit(time.perf_counter).result()  # its thread is there from now on

        async def there() -> None:
            await loop.run_in_executor(worker, time.perf_counter)

        for _ in range(count):
            await asyncio.sleep(PAUSE)
            begun = time.perf_counter()
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), loop))
            taken.append(time.perf_counter() - begun)
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()
    return taken


COMMANDS: Commands = {"raw.web_orders": raw, "connector.web_orders": connector}


def run(bench: Bench) -> Section:
    """Both sides in turn."""
    section = Section(NAME, TITLE, ["side", "p50", "p99", "orders"])
    if not_measured(bench, section):
        return section
    rounds, count = (2, 15) if bench.quick else (7, 40)
    with running(bench, NAME, *USUAL) as web:
        price = round(float(web.gateways.child.ask("market", symbol=SYMBOL)["bid"]) * 0.95, 2)
        found = web.interleave("web_orders", rounds, count=count, price=price)
        written = web.gateways.child.ask("written")
    acks = {side: [answer["acks"] for answer in answers] for side, answers in found.items()}
    for side, samples in acks.items():
        taken = flat(samples)
        section.rows.append([side, duration(percentile(taken, 50)), duration(percentile(taken, 99)), str(len(taken))])
    part = {name: [answer[name] for answer in found[CONNECTOR]] for name in ("hops", "commits", "syncs")}
    floor = median(acks[RAW]) + median(part["hops"]) + median(part["commits"])
    section.rows.append(["floor: raw + four hops + commit", duration(floor), "", ""])
    over = ratio(acks[CONNECTOR], acks[RAW], part["hops"], part["commits"])
    section.checks.append(Check("Web API: order to acknowledged, p50 over its floor", over, "<=", TARGET))
    parts = {name: duration(median(rounds_of)) for name, rounds_of in part.items()}
    section.notes.append(
        f"Four hops {parts['hops']}, one durable commit {parts['commits']} (a bare sync of 4 KiB on that disk: "
        f"{parts['syncs']}), raw order {duration(median(acks[RAW]))}; the connector's own work comes to "
        f"{duration(median(acks[CONNECTOR]) - floor)} on top. Over raw alone: "
        f"{times(ratio(acks[CONNECTOR], acks[RAW]))} times."
    )
    section.notes.append(
        f"A limit order 5 % below the market, with a cOID; the answer waits for the exchange's first word. "
        f"{written['posts']:,} POSTs at the gateway, {written['orders']:,} orders. IBKR's limits are off at the "
        f"gateway; the connector's pacer is on, at {MESSAGES_PER_SECOND} requests per second, and so are all its gates."
    )
    return section
