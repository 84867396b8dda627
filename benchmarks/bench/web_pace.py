"""Requests per second under the 50 per second that IBKR lets a user name make over OAuth, and who is refused with 429.

Real time: a gateway that limits as IBKR does (50 in any second, then 429 and ten minutes of penalty box) is the judge,
and notes each request when it reads it. raw ibind: a loop that asks and asks, as its README's examples do one after the
other. connector: its own pacer with what it has by default, on its way from the facade to the wire, with always more to
ask than it lets through: reads, which leave ten per second free for cancels; the same with one kept free; and a burst
of cancels, which may use all. Virtual time: the pure pacer with the same rules, one clock that jumps from wake to wake.
Efficiency is the share of the rate that arrived, in whole turns, as for TWS.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from .harness import SYMBOL, Bench
from .pacing import Case, busy, efficiency, violations
from .sides import Commands
from .stats import Ratio
from .table import Check, Section, duration, plain
from .ticks import SYMBOLS
from .webhouse import RAW, Wanted, not_measured, running
from .webside import RawWebSide, WebConnectorSide

NAME = "web-pace"
TITLE = "Web API: requests under 50 per second"
TARGET = 0.98
LIMIT, WINDOW = 50, 1.0
TOO_MANY = 429
DEFAULT, TIGHT = "connector", "connector, cancel_reserve = 1"
SIDES = (
    Wanted(RAW, "raw", (0,)),
    Wanted(DEFAULT, "paced", (1,), options={"risk_limits": {"daily_loss_limit": None}}),
    Wanted(TIGHT, "paced", (2,), options={"pacing": {"cancel_reserve": 1}}),
)
PATIENCE = 120.0
BURST_S = 6.0
"""Of cancels at the full rate: what waits ten seconds for its turn is given up (`[orders] order_deadline`)."""
_TOGETHER = 20
_READERS = 60
"""Tasks that ask without a pause: more than any second lets through."""


# --- sides ------------------------------------------------------------------------------------------------------------


async def raw(side: RawWebSide, seconds: float) -> dict[str, int]:
    """Ask in a loop for so long: how many requests were answered, and how many refused with 429."""
    until, counts = time.monotonic() + seconds, {"answered": 0, "refused": 0}
    broken: Any = side.module.ExternalBrokerError
    while time.monotonic() < until:
        try:
            side.client.search_contract_by_symbol(SYMBOL, name=False)
            counts["answered"] += 1
        except broken as error:
            if error.status_code != TOO_MANY:
                raise
            counts["refused"] += 1
    return counts


async def read(side: WebConnectorSide, seconds: float) -> dict[str, int]:
    """Have readers ask without a pause for so long; how many questions were refused, or ran out of time."""
    from ibkr_connector.errors import PacingError

    failed = 0
    symbols = itertools.cycle(SYMBOLS)

    async def ask(symbol: str) -> None:
        nonlocal failed
        while True:
            try:
                await side.connector.contracts.search(symbol, timeout=PATIENCE)
            except (TimeoutError, PacingError):
                failed += 1
                await asyncio.sleep(0.1)

    readers = [asyncio.create_task(ask(next(symbols))) for _ in range(_READERS)]
    try:
        await asyncio.wait(readers, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for reader in readers:
            if reader.done():
                reader.result()
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return {"failed": failed}


async def rest(side: WebConnectorSide, count: int, price: float) -> int:
    """Have `count` orders rest at the market. A few at a time: what waits too long for its turn is not sent."""
    place, orders = side.connector.place_limit_order, list[Any]()
    while len(orders) < count:
        some = min(_TOGETHER, count - len(orders))
        orders += await asyncio.gather(*(place(SYMBOL, 1, "BUY", price) for _ in range(some)))
    side.lines["orders"] = orders
    return len(orders)


async def cancel(side: WebConnectorSide) -> int:
    """Cancel all of them at once, each by a request of its own."""
    orders = side.lines.pop("orders")
    await asyncio.gather(*(side.connector.cancel_order(order, timeout=PATIENCE) for order in orders))
    return len(orders)


COMMANDS: Commands = {
    "raw.web_pace": raw,
    "connector.web_pace_read": read,
    "connector.web_pace_rest": rest,
    "connector.web_pace_cancel": cancel,
}


# --- virtual time -----------------------------------------------------------------------------------------------------


def cases() -> list[tuple[Case, tuple[Any, ...]]]:
    """What is asked of the pure pacer, and its rules."""
    from ibkr_connector.resilience.web_rules import request, web_rules

    defaults = {"messages_per_second": 50, "cancel_reserve": 10}

    def reads(_: int) -> Any:
        return request("GET", "iserver/secdef/search")

    def cancels(_: int) -> Any:
        return request("DELETE", "iserver/account/DU1/order/1")

    oauth, gateway = web_rules(oauth=True, **defaults), web_rules(oauth=False, **defaults)
    return [
        (Case("reads: 40 of the 50", "messages", 40, WINDOW, reads), oauth),
        (Case("cancels: all 50", "messages", 50, WINDOW, cancels), oauth),
        (Case("through a Client Portal Gateway, cancels: all 10", "messages", 10, WINDOW, cancels), gateway),
    ]


# --- harness ----------------------------------------------------------------------------------------------------------


def run(bench: Bench) -> Section:
    """Raw ibind, the connector's reads and cancels, the pure pacer."""
    header = ["who", "time", "requests", "took", "per second", "of its rate", "violations", "429"]
    section = Section(NAME, TITLE, header)
    if not_measured(bench, section):
        return section
    seconds = 4.0 if bench.quick else 12.0
    shares: list[float] = []
    refusals: list[float] = []
    with running(bench, NAME, *SIDES, count=len(SIDES), oauth=True) as web:
        gateway = web.gateways.child
        told = web.sides[RAW].ask("web_pace", seconds=seconds)
        cells = [f"{told['answered']:,}", duration(seconds), plain(told["answered"] / seconds), "", ""]
        section.rows.append([f"{RAW}, in a loop", "real", *cells, f"{told['refused']:,}"])

        def watch(number: int) -> None:
            time.sleep(1.1 * WINDOW)  # what was asked before is out of the window: a whole one is there to be used
            gateway.ask("count", number=number)

        def judge(label: str, limit: int, most: int | None = None) -> None:
            found = gateway.ask("counted", number=number)
            moments = found["moments"][:most]
            share = efficiency(moments, limit, WINDOW) if len(moments) > limit else 0.0
            broken = violations(moments, LIMIT, WINDOW)
            shares.append(share)
            refusals.append(float(found["refused"]))
            section.rows.append(_row(label, "real", moments, share * limit, share, broken, str(found["refused"])))

        price = round(float(gateway.ask("market", symbol=SYMBOL)["bid"]) * 0.95, 2)
        for number, (name, limit) in enumerate(((DEFAULT, 40), (TIGHT, 49)), start=1):
            watch(number)
            failed = web.sides[name].ask("web_pace_read", seconds=seconds)["failed"]
            judge(f"{name}, reads: {limit} of the 50", limit)
            if failed:
                section.notes.append(f"{name}: {failed} reads were refused, or ran out of time.")
        number, count = 1, int(LIMIT * min(seconds, BURST_S)) + 1
        web.sides[DEFAULT].ask("web_pace_rest", within=PATIENCE, count=count, price=price)
        watch(number)
        web.sides[DEFAULT].ask("web_pace_cancel", within=PATIENCE)
        judge(f"{DEFAULT}, a burst of {count} cancels: all 50", LIMIT, count)
    least = [(min(shares), max(shares))]
    virtual = []
    for case, rules in cases():
        moments = busy(case, rules)
        share = efficiency(moments, case.limit, case.window)
        virtual.append((case.limit, share))
        broken = violations(moments, LIMIT if case.limit > 10 else case.limit, WINDOW)
        row = _row(f"the pacer alone, {case.label}", "virtual", moments, share * case.limit, share, broken, "")
        section.rows.append(row)
    least.append((min(share for limit, share in virtual if limit > 10), max(share for _, share in virtual)))
    for clock, (low, high) in zip(("real", "virtual"), least, strict=True):
        what = f"Web API: requests per second, of the rate each kind may use, least of all, {clock} time"
        section.checks.append(Check(what, Ratio(100 * low, 100 * low, 100 * high), ">=", 100 * TARGET, unit="%"))
    refused = Ratio(sum(refusals), min(refusals), max(refusals))
    section.checks.append(Check("Web API: requests refused with 429, connector", refused, "<=", 0, unit=""))
    section.notes.append(
        "Ten of the 50 per second are kept free for cancels, so reads alone reach 40, and 49 with the least that can "
        "be set; nothing but cancels can use all. The pacer's window is 15 ms longer than IBKR's second, which is what "
        "is missing to 1, and all that may be late on the way; through a Client Portal Gateway (10 per second) it is "
        "50 ms longer, and no target is set there."
    )
    section.notes.append(
        "Violations: requests before which 50 others had been read within a second (of the Client Portal Gateway's: "
        "10). Raw ibind has no pace: after its first 51 requests it is in the penalty box, and what it asks there is "
        "refused for ten minutes."
    )
    return section


def _row(
    label: str, clock: str, moments: list[float], rate: float, share: float, broken: int, refused: str
) -> list[str]:
    took = moments[-1] - moments[0] if moments else 0.0
    cells = [f"{len(moments):,}", duration(took), plain(rate), f"{share:.4f}"]
    return [label, clock, *cells, str(broken), refused]
