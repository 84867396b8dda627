"""Cancel to cancelled while nothing can be read: every worker thread hangs, every history request is unanswered.

connector: from calling `cancel_order`, on another event loop than the session's, until it returns the terminal state.
Blocked means: all threads of the session's executor wait for a lock, all 50 requests for bars that IBKR takes at a time
are with a gateway that does not answer, and more wait behind them. The raw library has neither; its time from
`cancelOrder` to the terminal status stands beside it for scale.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from .crowd import ends
from .harness import SYMBOL, Bench
from .orders import PAUSE
from .sides import Commands, ConnectorSide, RawSide
from .stats import flat, percentile, tail_ratio
from .table import Check, Section, duration

NAME = "blocked"
TITLE = "Cancel to cancelled with all read workers blocked"
TARGET = 2.0
OPEN = 50
"""History requests IBKR takes at a time."""
BEHIND = 20


async def raw(side: RawSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of `count` cancels, seconds."""
    contract, taken = await side.stock(SYMBOL), []
    for _ in range(count):
        order = side.module.LimitOrder("BUY", 1, price)
        trade = side.ib.placeOrder(contract, order)
        await side.until(trade.statusEvent, lambda told: told.orderStatus.status == "Submitted", trade)
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        side.ib.cancelOrder(order)
        await side.ended(trade)
        taken.append(time.perf_counter() - begun)
    return {"cancels": taken}


async def connector(side: ConnectorSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of `count` cancels, seconds."""
    place, cancel = side.connector.place_limit_order, side.connector.cancel_order
    taken = []
    for _ in range(count):
        order = await place(SYMBOL, 1, "BUY", price)
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        await cancel(order)
        taken.append(time.perf_counter() - begun)
    return {"cancels": taken}


async def block(side: ConnectorSide, end: str) -> dict[str, int]:
    """Block everything that reads; how many threads and requests hang then."""
    loop = side.connector._house.thread.loop
    released = side.lines["released"] = threading.Event()
    executor: Any = loop._default_executor  # type: ignore[attr-defined]
    workers: int = executor._max_workers
    busy = threading.Barrier(workers + 1)

    def hang() -> None:
        busy.wait(10)
        released.wait(120)

    side.lines["hanging"] = [executor.submit(hang) for _ in range(workers)]
    await asyncio.to_thread(busy.wait, 10)
    ask = side.connector.get_historical_data
    side.lines["asked"] = [
        asyncio.create_task(ask(SYMBOL, "1 D", "1 min", end=until, what_to_show="TRADES", timeout=120.0))
        for until in ends(end, OPEN + BEHIND)
    ]
    await side.until_paced(lambda now: now.used.get("history-open") == OPEN and now.pending["history"] == BEHIND)
    return {"workers": workers, "requests": OPEN}


async def release(side: ConnectorSide) -> None:
    """End it."""
    asked = side.lines.pop("asked")
    still = sum(not task.done() for task in asked)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    side.lines.pop("released").set()
    for hanging in side.lines.pop("hanging"):
        await asyncio.wrap_future(hanging)
    await side.until_paced(lambda now: not now.used.get("history-open") and now.pending["history"] == 0)
    if still != OPEN + BEHIND:
        raise RuntimeError(f"{OPEN + BEHIND - still} history requests were answered: nothing was blocked")


COMMANDS: Commands = {
    "raw.cancels": raw,
    "connector.cancels": connector,
    "connector.block": block,
    "connector.release": release,
}


def run(bench: Bench) -> Section:
    """All sides in turn; each connector idle, then blocked."""
    rounds, count = (2, 20) if bench.quick else (7, 40)
    market = bench.gateway.ask("market", symbol=SYMBOL)
    args = {"count": count, "price": round(float(market["bid"]) * 0.95, 2)}
    idle: dict[str, list[list[float]]] = {name: [] for name in bench.sides}
    blocked: dict[str, list[list[float]]] = {}
    hung: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, child in bench.sides.items():
            found = child.ask("cancels", **args)["cancels"]
            if number:
                idle[name].append(found)
            if name.startswith("raw "):
                continue
            keys = {"on": "history", "times": 1_000_000, "client_id": child.greeting["client_id"]}
            bench.gateway.ask("inject", kind="swallow_request", keys=keys)
            hung = child.ask("block", end=market["session"][1])
            found = child.ask("cancels", **args)["cancels"]
            child.ask("release")
            bench.gateway.ask("clear_faults")
            if number:
                blocked.setdefault(name, []).append(found)
    section = Section(NAME, TITLE, ["side", "p50", "p99", "cancels"])
    for name, samples in idle.items():
        section.rows.append(_row(name, samples))
        if name in blocked:
            section.rows.append(_row(f"{name}, blocked", blocked[name]))
    for library, _, name in bench.pairs():
        what = f"cancel with all read workers blocked on {library}, p99 over idle p99"
        section.checks.append(Check(what, tail_ratio(blocked[name], idle[name]), "<=", TARGET))
    section.notes.append(
        f"Blocked: all {hung.get('workers', 0)} threads of the session's executor, all {OPEN} history requests under "
        f"way, {BEHIND} more waiting."
    )
    return section


def _row(label: str, rounds: list[list[float]]) -> list[str]:
    samples = flat(rounds)
    return [label, duration(percentile(samples, 50)), duration(percentile(samples, 99)), str(len(samples))]
