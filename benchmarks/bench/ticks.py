"""Ticks per second from a gateway that sends pre-encoded frames as fast as the client reads them.

raw: `pendingTickersEvent` on the library's own loop, every tick of every ticker counted. raw, handed over: the same,
but one row of values per ticker and packet goes to a consumer on another thread, which is what a program has to do that
must not block the library. connector: `stream_quotes` read with `async for` on an event loop of another thread. Time
runs from the gateway's first byte to the moment the consumer sees the mark that the last frame carries.

Equal delivery: both clients read so little at a time that one packet never holds two ticks of a line. Nothing can be
conflated then: on both sides every tick is an item of its own for a consumer on another thread. The consumer is the
same on both sides, too: one task per line, which awaits that line's next item (raw: an `asyncio.Queue` per line).
Beside it stands raw handed over to one plain callback for all lines, which is less than a stream is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from .harness import Bench
from .sides import Commands, ConnectorSide, RawSide
from .stats import median, ratio
from .table import Check, Section, plain, times

NAME = "ticks"
TITLE = "Ticks to a consumer"
TARGET = 0.9
SMALL_READ = 256
"""Bytes: nine ticks or so, of nine of the twenty lines."""
SYMBOLS = (
    "AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META", "JPM", "XOM", "KO", "SPY",
    "QQQ", "IBM", "BAC", "TSLA", "INTC", "CSCO", "WMT", "PEP", "JNJ", "V",
)  # fmt: skip

EQUAL = "every tick an item"
CALLBACK, TASKS = "one callback", "a task per line"
Row = tuple[float, ...]


class Arrival:
    """What a consumer saw, and when it saw the mark."""

    def __init__(self, mark: float) -> None:
        self.mark = mark
        self.seen = 0
        self.at = 0.0
        self.done = threading.Event()

    def end(self) -> None:
        """The mark is here."""
        if not self.done.is_set():
            self.at = time.monotonic()
            self.done.set()


async def _collect(arrival: Arrival) -> dict[str, float]:
    if not await asyncio.to_thread(arrival.done.wait, 45.0):
        raise TimeoutError(f"the mark {arrival.mark} did not arrive; {arrival.seen} items did")
    return {"at": arrival.at, "seen": arrival.seen}


# --- raw --------------------------------------------------------------------------------------------------------------


async def raw_open(side: RawSide, symbols: list[str]) -> None:
    """Subscribe, and wait for a first quote of each."""
    tickers = [side.ib.reqMktData(await side.stock(symbol)) for symbol in symbols]
    for ticker in tickers:
        await side.until(ticker.updateEvent, lambda of: of.bid == of.bid, ticker)  # nan: nothing told yet
    side.lines["tickers"] = tickers


async def raw_close(side: RawSide) -> None:
    """Unsubscribe."""
    for ticker in side.lines.pop("tickers"):
        side.ib.cancelMktData(ticker.contract)


async def raw_packets(side: RawSide, most: int) -> int:
    """Read at most so many bytes at a time; what it was before."""
    transport = side.ib.client.conn.transport
    before, transport.max_size = transport.max_size, most
    return int(before)


async def raw_arm(side: RawSide, mark: float, hand_over: str) -> None:
    """Attach the consumer."""
    arrival = side.lines["arrival"] = Arrival(mark)
    consumer = _handing_over(side, arrival, tasks=hand_over == TASKS) if hand_over else _in_place(arrival)
    side.lines["consumer"] = consumer
    side.ib.pendingTickersEvent += consumer


def _in_place(arrival: Arrival) -> Callable[[Iterable[Any]], None]:
    def consume(tickers: Iterable[Any]) -> None:
        for ticker in tickers:
            arrival.seen += len(ticker.ticks)
            if ticker.open == arrival.mark:
                arrival.end()

    return consume


def _handing_over(side: RawSide, arrival: Arrival, *, tasks: bool) -> Callable[[Iterable[Any]], None]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    side.lines["thread"] = (loop, thread)

    def take(rows: list[Row]) -> None:
        for row in rows:
            arrival.seen += 1
            if row[-1] == arrival.mark:
                arrival.end()

    queues: dict[float, asyncio.Queue[Row]] = {t.contract.conId: asyncio.Queue() for t in side.lines["tickers"]}

    async def read(queue: asyncio.Queue[Row]) -> None:
        while True:
            take([await queue.get()])

    def spread(rows: list[Row]) -> None:
        for row in rows:
            queues[row[0]].put_nowait(row)

    async def begin() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(read(queue)) for queue in queues.values()]

    if tasks:
        side.lines["readers"] = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    receive = spread if tasks else take

    def consume(tickers: Iterable[Any]) -> None:
        rows: list[Row] = [
            (t.contract.conId, t.bid, t.ask, t.last, t.bidSize, t.askSize, t.lastSize, t.volume, t.open)
            for t in tickers
        ]
        loop.call_soon_threadsafe(receive, rows)

    return consume


async def raw_collect(side: RawSide) -> dict[str, float]:
    """Wait for the mark."""
    try:
        return await _collect(side.lines["arrival"])
    finally:
        side.ib.pendingTickersEvent -= side.lines.pop("consumer")
        if "thread" in side.lines:
            loop, thread = side.lines.pop("thread")
            readers = side.lines.pop("readers", ())

            async def end() -> None:
                for reader in readers:
                    reader.cancel()
                await asyncio.gather(*readers, return_exceptions=True)

            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(end(), loop))
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(thread.join)
            loop.close()


# --- connector --------------------------------------------------------------------------------------------------------


async def connector_open(side: ConnectorSide, symbols: list[str]) -> None:
    """Open the streams on this loop and wait for a first quote of each; a task reads each of them."""
    streams = [await side.connector.stream_quotes(symbol).start() for symbol in symbols]
    side.lines["arrival"] = Arrival(float("nan"))
    side.lines["streams"] = streams
    for stream in streams:
        await asyncio.wait_for(anext(stream), 10)
    side.lines["readers"] = [asyncio.create_task(_read(side, stream)) for stream in streams]


async def _read(side: ConnectorSide, stream: Any) -> None:
    async for quote in stream:
        arrival: Arrival = side.lines["arrival"]
        arrival.seen += 1
        if quote.open == arrival.mark:
            arrival.end()


async def connector_close(side: ConnectorSide) -> None:
    """Close the streams; their readers end."""
    for stream in side.lines.pop("streams"):
        await stream.aclose()
    await asyncio.gather(*side.lines.pop("readers"))


async def connector_packets(side: ConnectorSide, most: int) -> int:
    """Read at most so many bytes at a time; what it was before."""
    house: Any = side.connector._house

    async def change() -> int:
        transport = house.session.backend._connection.client.conn.transport
        before, transport.max_size = transport.max_size, most
        return int(before)

    found: int = await house.thread.run(change())
    return found


async def connector_arm(side: ConnectorSide, mark: float, hand_over: str) -> None:
    """Note the mark; the readers are there already."""
    side.lines["arrival"] = Arrival(mark)


async def connector_collect(side: ConnectorSide) -> dict[str, float]:
    """Wait for the mark."""
    found = await _collect(side.lines["arrival"])
    return {**found, "dropped": float(sum(stream.dropped for stream in side.lines["streams"]))}


COMMANDS: Commands = {
    "raw.ticks_open": raw_open,
    "raw.ticks_packets": raw_packets,
    "raw.ticks_arm": raw_arm,
    "raw.ticks_collect": raw_collect,
    "raw.ticks_close": raw_close,
    "connector.ticks_open": connector_open,
    "connector.ticks_packets": connector_packets,
    "connector.ticks_arm": connector_arm,
    "connector.ticks_collect": connector_collect,
    "connector.ticks_close": connector_close,
}


# --- harness ----------------------------------------------------------------------------------------------------------


def run(bench: Bench) -> Section:
    """All sides in turn; the raw sides twice, in place and handed over."""
    rounds, ticks = (2, 20_000) if bench.quick else (7, 100_000)
    raws = [name for name in bench.sides if name.startswith("raw ")]
    sides = [(name, name, "", 0) for name in bench.sides]
    sides += [(f"{name}, handed over", name, CALLBACK, 0) for name in raws]
    sides += [(f"{name}, {EQUAL}", name, TASKS, SMALL_READ) for name in bench.sides]
    sides += [(f"{name}, {EQUAL}, {CALLBACK}", name, CALLBACK, SMALL_READ) for name in raws]
    rates: dict[str, list[list[float]]] = {label: [] for label, *_ in sides}
    seen: dict[str, float] = {}
    for child in bench.sides.values():
        child.ask("ticks_open", symbols=list(SYMBOLS))
    for number in range(rounds + 1):
        for place, (label, name, hand_over, most) in enumerate(sides):
            mark = 1_000 + number * 20 + place + 0.25
            count = ticks if number else ticks // 10
            rate, items = _flood(bench, name, mark, count, hand_over=hand_over, most=most)
            if number:
                rates[label].append([rate])
                seen[label] = items
    for child in bench.sides.values():
        child.ask("ticks_close")
    section = Section(NAME, TITLE, ["side", "ticks per second", "items the consumer got", "ticks sent"])
    for label, found in rates.items():
        section.rows.append([label, plain(median(found)), f"{seen[label]:,.0f}", f"{ticks:,}"])
    for library, raw_side, connector_side in bench.pairs():
        over = ratio(rates[connector_side], rates[raw_side])
        section.checks.append(Check(f"ticks per second on {library}, over raw in its own loop", over, ">=", TARGET))
        equal = ratio(rates[f"{connector_side}, {EQUAL}"], rates[f"{raw_side}, {EQUAL}"])
        section.checks.append(Check(f"ticks per second on {library}, {EQUAL}, over raw", equal, ">=", TARGET))
        beside = ratio(rates[connector_side], rates[f"{raw_side}, handed over"])
        less = ratio(rates[f"{connector_side}, {EQUAL}"], rates[f"{raw_side}, {EQUAL}, {CALLBACK}"])
        section.notes.append(
            f"{library}: over raw handed to another thread {times(beside)} times; with every tick an item over raw "
            f"with {CALLBACK} for all lines {times(less)} times."
        )
    section.notes.append(
        f"{len(SYMBOLS)} lines in turn; each tick one frame: bid, ask or last with its size, or the volume."
    )
    section.notes.append(
        "Every frame is decoded on all sides. Both the raw event and the connector then tell once per line and packet: "
        "raw with a list of the ticks in it, the connector with the line's newest values, which are the items above. "
        "Part of the connector's lead is that it makes no object per tick."
    )
    section.notes.append(
        f"Equal delivery is what the rows '{EQUAL}' compare: both clients read at most {SMALL_READ} bytes at a time, "
        "less than one round of the lines, so that every tick reaches a consumer on another thread as an item of its "
        "own: one task per line, which awaits the line's next item, on both sides. It is slower on both: more reads, "
        "and an object, a hand-over and a wake-up for each tick."
    )
    return section


def _flood(bench: Bench, side: str, mark: float, ticks: int, *, hand_over: str, most: int) -> tuple[float, float]:
    child = bench.sides[side]
    client_id = child.greeting["client_id"]
    bench.gateway.ask("prepare", client_id=client_id, symbols=list(SYMBOLS), ticks=ticks, mark=mark)
    child.ask("ticks_arm", mark=mark, hand_over=hand_over)
    before = child.ask("ticks_packets", most=most) if most else 0
    started = bench.gateway.ask("flood")
    found = child.ask("ticks_collect")
    if most:
        child.ask("ticks_packets", most=before)
    if found.get("dropped"):
        raise RuntimeError(f"{side} dropped {found['dropped']:.0f} quotes: its rate would mean nothing")
    return ticks / (found["at"] - started), found["seen"]
