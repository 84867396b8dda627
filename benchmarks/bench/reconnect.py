"""Dropped socket to reconciled: the gateway cuts the connection, five orders work meanwhile.

connector: until its link is READY again and everything is reconciled, by its own events; default back-off settings.
Most of it is the back-off, which is there on purpose (half a second to a second before the first try); what is left
is work. raw: the library does not reconnect by itself; the program that is measured does so at once when it is told
(`disconnectedEvent`), with `connectAsync`, which asks for orders, executions, account and positions, and then asks for
all open orders.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

from .harness import SYMBOL, Bench
from .sides import HOST, Commands, ConnectorSide, RawSide
from .stats import flat, median, percentile, ratio
from .table import Section, duration, times

if TYPE_CHECKING:
    from ibkr_connector.events import Event

NAME = "reconnect"
TITLE = "Dropped socket to reconciled"
WORKING = 5
PARTS = ("noticed", "back-off", "connect", "sync")
_STATES = {"reconnecting": "back-off", "circuit_open": "back-off", "connecting": "connect", "syncing": "sync"}


def parts(dropped: float, changes: list[tuple[float, str]]) -> dict[str, float]:
    """How the time from `dropped` to the last change was spent; seconds.

    changes: moment and new state of the link, in order, the last of them `ready`. Raises ValueError when it is not.
    """
    if not changes or changes[-1][1] != "ready":
        raise ValueError(f"the link is not ready: {changes}")
    spent = dict.fromkeys(PARTS, 0.0)
    spent["noticed"] = changes[0][0] - dropped
    for (at, state), (until, _) in itertools.pairwise(changes):
        spent[_STATES[state]] += until - at
    return spent


# --- raw --------------------------------------------------------------------------------------------------------------


async def raw_arm(side: RawSide, price: float) -> None:
    """Have orders work, and a program that reconnects when it is told."""
    ib, contract, loop = side.ib, await side.stock(SYMBOL), asyncio.get_running_loop()
    if "working" not in side.lines:
        side.lines["working"] = [
            ib.placeOrder(contract, side.module.LimitOrder("BUY", 1, price)) for _ in range(WORKING)
        ]
        for trade in side.lines["working"]:
            await side.until(trade.statusEvent, lambda told: told.orderStatus.status == "Submitted", trade)
    done: asyncio.Future[list[float]] = loop.create_future()
    side.lines["done"] = done

    async def again(noticed: float) -> None:
        try:
            await ib.connectAsync(HOST, side.port, clientId=side.client_id)
            await ib.reqAllOpenOrdersAsync()
        except Exception as error:  # noqa: BLE001 - told by who waits
            done.set_exception(error)
        else:
            done.set_result([noticed, time.time()])

    def lost() -> None:
        ib.disconnectedEvent -= lost
        side.lines["again"] = loop.create_task(again(time.time()))

    ib.disconnectedEvent += lost


async def raw_collect(side: RawSide) -> list[float]:
    """When it was noticed, and when everything was known again."""
    found: list[float] = await asyncio.wait_for(side.lines.pop("done"), 20)
    await side.lines.pop("again")
    return found


async def raw_end(side: RawSide) -> None:
    """Cancel what works."""
    side.lines.pop("working")
    trades = [trade for trade in side.ib.openTrades() if trade.order.clientId == side.client_id]
    for trade in trades:
        side.ib.cancelOrder(trade.order)
    for trade in trades:
        await side.ended(trade)


# --- connector --------------------------------------------------------------------------------------------------------


async def connector_arm(side: ConnectorSide, price: float) -> None:
    """Have orders work, and listen."""
    from ibkr_connector.events import LinkChanged

    if "working" not in side.lines:
        place = side.connector.place_limit_order
        side.lines["working"] = [await place(SYMBOL, 1, "BUY", price) for _ in range(WORKING)]
    changes: list[tuple[float, str]] = []
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def seen(event: Event) -> None:
        if isinstance(event, LinkChanged):
            changes.append((event.at.timestamp(), event.state))
            if event.state == "ready":
                loop.call_soon_threadsafe(done.set)

    side.lines["changes"], side.lines["done"] = changes, done
    side.lines["stop"] = side.connector.on_event(seen)


async def connector_collect(side: ConnectorSide) -> list[tuple[float, str]]:
    """The states the link went through, and when."""
    await asyncio.wait_for(side.lines.pop("done").wait(), 30)
    side.lines.pop("stop")()
    await side.connector.ready(10)
    found: list[tuple[float, str]] = side.lines.pop("changes")
    return found


async def connector_end(side: ConnectorSide) -> None:
    """Cancel what works."""
    for order in side.lines.pop("working"):
        await side.connector.cancel_order(order)


COMMANDS: Commands = {
    "raw.reconnect_arm": raw_arm,
    "raw.reconnect_collect": raw_collect,
    "raw.reconnect_end": raw_end,
    "connector.reconnect_arm": connector_arm,
    "connector.reconnect_collect": connector_collect,
    "connector.reconnect_end": connector_end,
}


# --- harness ----------------------------------------------------------------------------------------------------------


def run(bench: Bench) -> Section:
    """All sides in turn."""
    rounds = 2 if bench.quick else 9
    price = round(float(bench.gateway.ask("market", symbol=SYMBOL)["bid"]) * 0.95, 2)
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in bench.sides}
    for number in range(rounds + 1):
        for name, child in bench.sides.items():
            child.ask("reconnect_arm", price=price)
            dropped = bench.gateway.ask("drop", client_id=child.greeting["client_id"])
            found = child.ask("reconnect_collect")
            if number:
                spent[name].append(_raw_parts(dropped, found) if name.startswith("raw ") else parts(dropped, found))
    for child in bench.sides.values():
        child.ask("reconnect_end")
    section = Section(NAME, TITLE, ["side", "all", *PARTS, "slowest without back-off"])
    for name, rows in spent.items():
        work = [_work(row) for row in rows]
        cells = [duration(median([[row[part]] for row in rows])) for part in PARTS]
        if name.startswith("raw "):
            cells[1:] = ["none", duration(median([[row["connect"]] for row in rows])), "in it"]
        whole = median([[sum(row.values())] for row in rows])
        section.rows.append([name, duration(whole), *cells, duration(percentile(work, 100))])
    for library, raw_side, connector_side in bench.pairs():
        mine, theirs = ([[_work(row)] for row in spent[side]] for side in (connector_side, raw_side))
        section.notes.append(
            f"{library}: without the back-off {duration(median(mine))}, over raw {times(ratio(mine, theirs))} times."
        )
    backoffs = flat([[row["back-off"]] for name, rows in spent.items() if not name.startswith("raw ") for row in rows])
    if backoffs:
        section.notes.append(
            f"The connector's back-off is drawn anew each time ({duration(min(backoffs))} – {duration(max(backoffs))} "
            f"here) and doubles with every failed try. {WORKING} orders of each side work meanwhile."
        )
    return section


def _raw_parts(dropped: float, found: list[float]) -> dict[str, Any]:
    noticed, known = found
    return {"noticed": noticed - dropped, "back-off": 0.0, "connect": known - noticed, "sync": 0.0}


def _work(spent: dict[str, float]) -> float:
    return sum(spent.values()) - spent["back-off"]
