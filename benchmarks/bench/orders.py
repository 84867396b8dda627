"""Order to acknowledged: a limit order that rests, one at a time, cancelled again before the next.

Both are looked at from the coroutine that places the order. raw: from `placeOrder` until it runs again, woken by the
library's first `openOrder` or `orderStatus`. connector: from calling `place_limit_order`, on another event loop than
the session's, until it returns. The floor of the connector is what it promises to do on top of a raw order: hop to the
session's thread and back, and one durable commit; both are measured between its orders, in the same process, with the
same pauses.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .harness import SYMBOL, Bench
from .sides import MESSAGES_PER_SECOND, Commands, ConnectorSide, RawSide
from .stats import flat, median, percentile, ratio
from .table import Check, Section, duration, times

if TYPE_CHECKING:
    from ibkr_connector import IBKRConnector
    from ibkr_connector.orders.entries import SendingEntry
    from ibkr_connector.orders.journal import JournalWriter

NAME = "orders"
TITLE = "Order to acknowledged"
TARGET = 1.2
PAUSE = 0.004
"""Seconds before each measurement: keeps an order and its cancel below the pacer's rate, and wakes everything alike."""


# --- sides ------------------------------------------------------------------------------------------------------------


async def timed_raw(
    side: RawSide, count: int, price: float, *, contract: Any = None, pause: float = PAUSE
) -> list[float]:
    """Times of `count` orders, seconds."""
    ib, contract = side.ib, contract or await side.stock(SYMBOL)
    told: dict[int, asyncio.Future[None]] = {}
    loop = asyncio.get_running_loop()

    def seen(trade: Any) -> None:
        waiter = told.get(trade.order.orderId)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    ib.openOrderEvent += seen
    ib.orderStatusEvent += seen
    acks = []
    try:
        for _ in range(count):
            await asyncio.sleep(pause)
            order = side.module.LimitOrder("BUY", 1, price)
            order.orderId = ib.client.getReqId()
            waiter = told[order.orderId] = loop.create_future()
            begun = time.perf_counter()
            trade = ib.placeOrder(contract, order)
            await waiter
            acks.append(time.perf_counter() - begun)
            ib.cancelOrder(order)
            await side.ended(trade)
    finally:
        ib.openOrderEvent -= seen
        ib.orderStatusEvent -= seen
    return acks


async def raw(side: RawSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of `count` orders, seconds."""
    return {"acks": await timed_raw(side, count, price)}


async def timed(side: ConnectorSide, count: int, price: float, of: IBKRConnector | None = None) -> list[float]:
    """Times of `count` orders of the side's connector, or of another one, seconds."""
    made = of or side.connector
    place, cancel = made.place_limit_order, made.cancel_order
    taken = []
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        begun = time.perf_counter()
        order = await place(SYMBOL, 1, "BUY", price)
        taken.append(time.perf_counter() - begun)
        await cancel(order)
    return taken


@dataclass(slots=True)
class _Beside:
    """What the floor is made of, ready to be measured."""

    loop: asyncio.AbstractEventLoop
    """Of a thread that does nothing else."""
    journal: JournalWriter
    entry: SendingEntry

    async def hops(self) -> float:
        """There and back: two hops."""
        begun = time.perf_counter()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_nothing(), self.loop))
        return time.perf_counter() - begun

    async def commit(self) -> float:
        """One order's durable commit; its ref and id are new each time, as the journal demands."""
        from dataclasses import replace

        from ibkr_connector.models.order import new_order_ref

        request = self.entry.request.model_copy(update={"order_ref": new_order_ref()})
        self.entry = replace(self.entry, request=request, order_id=self.entry.order_id + 1)
        begun = time.perf_counter()
        await self.journal.commit_sending([self.entry])
        return time.perf_counter() - begun


async def connector(side: ConnectorSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of `count` orders, and of the parts of their floor, seconds."""
    place, cancel = side.connector.place_limit_order, side.connector.cancel_order
    await cancel(await place(SYMBOL, 1, "BUY", price))
    thread = threading.Thread(target=_run_loop, args=(loop := asyncio.new_event_loop(),), daemon=True)
    thread.start()
    beside = _Beside(loop, *await asyncio.to_thread(_journal, side))
    acks, hops, commits, syncs = [], [], [], []
    try:
        for _ in range(count):
            await asyncio.sleep(PAUSE)
            begun = time.perf_counter()
            order = await place(SYMBOL, 1, "BUY", price)
            acks.append(time.perf_counter() - begun)
            await cancel(order)
            await asyncio.sleep(PAUSE)
            hops.append(await beside.hops())
            await asyncio.sleep(PAUSE)
            commits.append(await beside.commit())
        syncs = await asyncio.to_thread(_disk, side)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        await asyncio.to_thread(beside.journal.close)
    return {"acks": acks, "hops": hops, "commits": commits, "syncs": syncs}


async def _nothing() -> None:
    """What is hopped for."""


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _journal(side: ConnectorSide) -> tuple[JournalWriter, SendingEntry]:
    """A journal of its own beside the connector's, on the same disk, and a real order's entry to commit."""
    from ibkr_connector.clock import SystemClock
    from ibkr_connector.orders.entries import SendingEntry
    from ibkr_connector.orders.journal import JournalReader, JournalWriter

    folder = side.folder / "main"
    known = JournalReader.of(folder, side.connector.account_id).recent(1)[0]
    entry = SendingEntry(
        request=known.request,
        decision=known.decision,
        account=known.account,
        order_id=known.order_id,
        client_id=known.client_id,
        endpoint=known.endpoint,
        epoch=1,
        sent_at=known.created_at,
    )
    beside = folder / "beside"
    beside.mkdir(exist_ok=True)
    return JournalWriter.open(beside, "DU0000000", SystemClock()), entry


def _disk(side: ConnectorSide, count: int = 40) -> list[float]:
    """What the disk alone takes: 4 KiB overwritten in place and waited for."""
    taken = []
    with (side.folder / "main" / "sync-probe").open("wb") as file:
        file.write(bytes(4096 * count))
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        for _ in range(count):
            time.sleep(PAUSE)
            begun = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            getattr(os, "fdatasync", os.fsync)(file.fileno())
            taken.append(time.perf_counter() - begun)
    return taken


COMMANDS: Commands = {"raw.orders": raw, "connector.orders": connector}


# --- harness ----------------------------------------------------------------------------------------------------------


def run(bench: Bench) -> Section:
    """All sides in turn."""
    rounds, count = (2, 15) if bench.quick else (9, 40)
    price = round(float(bench.gateway.ask("market", symbol=SYMBOL)["bid"]) * 0.95, 2)
    found = bench.interleave("orders", rounds, count=count, price=price)
    section = Section(NAME, TITLE, ["side", "p50", "p99", "orders"])
    for side, answers in found.items():
        acks = flat([answer["acks"] for answer in answers])
        section.rows.append([side, duration(percentile(acks, 50)), duration(percentile(acks, 99)), str(len(acks))])
    for library, raw_side, connector_side in bench.pairs():
        part = {name: [answer[name] for answer in found[connector_side]] for name in found[connector_side][0]}
        raw_acks = [answer["acks"] for answer in found[raw_side]]
        floor = median(raw_acks) + median(part["hops"]) + median(part["commits"])
        label = f"floor for {library}: raw + two hops + commit"
        section.rows.append([label, duration(floor), "", ""])
        over = ratio(part["acks"], raw_acks, part["hops"], part["commits"])
        section.checks.append(Check(f"order to acknowledged on {library}, p50 over its floor", over, "<=", TARGET))
        parts = {name: duration(median(rounds_of)) for name, rounds_of in part.items()}
        section.notes.append(
            f"{library}: two hops {parts['hops']}, one durable commit {parts['commits']} (a bare sync of 4 KiB on that "
            f"disk: {parts['syncs']}), raw order {duration(median(raw_acks))}; the connector's own work comes "
            f"to {duration(median(part['acks']) - floor)} on top, whatever the disk costs. Over raw alone: "
            f"{times(ratio(part['acks'], raw_acks))} times."
        )
    section.notes.append(
        f"A limit order 5 % below the market, one at a time, cancelled before the next; {PAUSE * 1e3:g} ms of pause "
        "before each measurement. The gateway answers at once and has no message rate limit."
    )
    section.notes.append(
        f"The raw libraries' own throttle is off. The connector's pacer is on, at {MESSAGES_PER_SECOND} messages per "
        "second instead of 50, and the orders stay below that; all its risk gates are on."
    )
    return section
