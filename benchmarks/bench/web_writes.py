"""Order POSTs written at the gateway for one order, under faults of the Web API: counted in the gateway's truth log.

One call for one order each, and nobody who tries again. raw ibind: `place_order` with its defaults (ten seconds for an
answer, three more tries), once with a cOID and once without, which ibind and IBKR both leave to the program. connector:
`place_limit_order`, then waiting until nothing about the order is in doubt. Each of them has a gateway of its own, and
what is counted is what that gateway read: POSTs of new orders, whatever became of them, and orders the exchange took.
Nothing is timed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from .harness import SYMBOL, Bench
from .sides import Commands
from .stats import Ratio
from .table import Check, Section
from .webhouse import CONNECTOR, RAW, Wanted, WebBench, not_measured, running
from .webside import RawWebSide, WebConnectorSide

NAME = "web-faults"
TITLE = "Web API: order POSTs under faults"
TARGET = 1
NAMELESS = f"{RAW}, no cOID"
PATIENCE_S = 10.0
"""ibind's default timeout, and the connector's (`[web] order_timeout`). A quick run has less of both."""
QUICK_PATIENCE_S = 2.0
AGAIN = 4
"""Requests of one call at most, as ibind's defaults are: a fault that lasts meets all of them."""
SETTLED_S = 90.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong. `keys` as in a fault plan; times of it in `patience` are multiples of the timeout."""

    label: str
    kind: str
    keys: dict[str, Any] = field(default_factory=dict)
    patience: dict[str, float] = field(default_factory=dict)
    hangs: bool = False
    """ibind waits for all its tries."""

    def plan(self, timeout: float) -> dict[str, Any]:
        """What the gateway is told."""
        return {**self.keys, "front": "web", **{name: times * timeout for name, times in self.patience.items()}}


ORDER = {"on": "place_order"}
FAULTS = (
    Fault("slow answers", "slow", {}, {"delay": 1.2, "for_": 4.0}, hangs=True),
    Fault("carried out, reply lost", "swallow_reply", {**ORDER, "times": AGAIN}, {"for_": 4.5}, hangs=True),
    Fault("connection dropped before it was read", "drop_connection", {**ORDER, "times": AGAIN}),
    Fault("carried out, connection reset", "reset_after_write", {**ORDER, "times": AGAIN}),
    Fault("503, not carried out", "http_error", {**ORDER, "code": 503}),
    Fault("carried out, then 503", "http_error_after", {**ORDER, "code": 503}),
    Fault("websocket gone", "websocket_close"),
)
_SIDES = (RAW, NAMELESS, CONNECTOR)


def gateway_of(side: str, fault: int) -> int:
    """The number of the gateway that one side meets one fault at."""
    return _SIDES.index(side) * len(FAULTS) + fault


# --- sides ------------------------------------------------------------------------------------------------------------


async def raw_open(side: RawWebSide, numbers: list[int]) -> None:
    """A client for each of the gateways."""
    side.clients = {number: side.make(side.urls[number]) for number in numbers}


async def raw_place(side: RawWebSide, number: int, con_id: int, price: float, named: bool) -> str:
    """One order; what ibind made of it."""
    order = side.limit(con_id, price, named=named)
    try:
        await asyncio.to_thread(side.clients[number].place_order, order, {})
    except Exception as error:  # noqa: BLE001 - what it is, is what is asked for
        return type(error).__name__
    return "placed"


async def connector_open(side: WebConnectorSide, numbers: list[int]) -> None:
    """A connector for each of the gateways. It knows the contract and its quote: what is slow or lost is the order."""
    made = side.lines["made"] = {number: side.make(number, f"case-{number}") for number in numbers}

    async def begin(connector: Any) -> None:
        await connector.connect()
        await connector.get_live_quote(SYMBOL)

    await asyncio.gather(*(begin(connector) for connector in made.values()))


async def connector_place(side: WebConnectorSide, price: float) -> dict[str, str]:
    """One order with each of them, at the same time; what it is in the end, by the gateway's number."""
    made = side.lines["made"]
    found = await asyncio.gather(*(_place(connector, price) for connector in made.values()))
    return {str(number): state for number, state in zip(made, found, strict=True)}


async def _place(connector: Any, price: float) -> str:
    from ibkr_connector.errors import OrderNotFound, TradingError

    ref, until = "one-of-a-kind", time.monotonic() + SETTLED_S
    with contextlib.suppress(TradingError):  # what it said at first is not what it is in the end
        await connector.place_limit_order(SYMBOL, 1, "BUY", price, order_ref=ref, tif="GTC")
    while time.monotonic() < until:
        if all(doubtful.order_ref != ref for doubtful in connector.orders_in_doubt()):
            try:
                return str((await connector.get_order(ref)).snapshot.state.value)
            except OrderNotFound:
                return "not sent"
        await asyncio.sleep(0.1)
    return "in doubt"


async def connector_close(side: WebConnectorSide) -> None:
    """Close them all."""
    from ibkr_connector.errors import TradingError

    for connector in side.lines.pop("made").values():
        with contextlib.suppress(TradingError):
            await connector.close()


COMMANDS: Commands = {
    "raw.web_faults_open": raw_open,
    "raw.web_faults_place": raw_place,
    "connector.web_faults_open": connector_open,
    "connector.web_faults_place": connector_place,
    "connector.web_faults_close": connector_close,
}


# --- harness ----------------------------------------------------------------------------------------------------------


def groups() -> list[list[int]]:
    """Faults by the process that meets them: a call of ibind holds a lock of its whole process until it has ended."""
    quick = [number for number, fault in enumerate(FAULTS) if not fault.hangs]
    return [*([number] for number, fault in enumerate(FAULTS) if fault.hangs), quick]


def wanted(timeout: float) -> tuple[list[Wanted], dict[str, tuple[str, list[int]]]]:
    """The sides, and of the raw ones which kind they are and which faults they meet."""
    every = tuple(range(len(_SIDES) * len(FAULTS)))
    sides = [Wanted(CONNECTOR, "connector", every, connects=False, options={"order_timeout": timeout})]
    raws: dict[str, tuple[str, list[int]]] = {}
    options = {} if timeout == PATIENCE_S else {"timeout": timeout}
    for kind in (RAW, NAMELESS):
        for number, faults in enumerate(groups()):
            name = f"{kind} ({number})"
            raws[name] = (kind, faults)
            sides.append(Wanted(name, "raw", every, connects=False, options=options))
    return sides, raws


def run(bench: Bench) -> Section:
    """All sides at the same time: it is waiting they do."""
    header = ["fault"]
    header += [f"{side}: {what}" for side in _SIDES for what in ("POSTs", "orders")]
    section = Section(NAME, TITLE, [*header, "connector: in the end"])
    if not_measured(bench, section):
        return section
    timeout = QUICK_PATIENCE_S if bench.quick else PATIENCE_S
    sides, raws = wanted(timeout)
    with running(bench, NAME, *sides, count=len(_SIDES) * len(FAULTS)) as web:
        said, ended = _meet(web, raws, timeout)
        written = [web.gateways.child.ask("written", number=number) for number in range(len(web.gateways.urls))]
    most = {side: [written[gateway_of(side, number)] for number in range(len(FAULTS))] for side in _SIDES}
    for number, fault in enumerate(FAULTS):
        counts = [str(most[side][number][what]) for side in _SIDES for what in ("posts", "orders")]
        section.rows.append([fault.label, *counts, ended[number]])
    for what, label in (("posts", "POSTs of one order"), ("orders", "orders at the exchange for one")):
        found = [float(count[what]) for count in most[CONNECTOR]]
        ratio = Ratio(max(found), min(found), max(found))
        section.checks.append(Check(f"Web API: {label} under faults, connector, most", ratio, "<=", TARGET, unit=""))
    in_doubt = float(sum(state == "in doubt" for state in ended))
    doubt = Ratio(in_doubt, in_doubt, in_doubt)
    section.checks.append(Check("Web API: orders left in doubt after a fault, connector", doubt, "<=", 0, unit=""))
    worst = {side: max(count["posts"] for count in most[side]) for side in (RAW, NAMELESS)}
    section.notes.append(
        f"Raw ibind writes one order up to {worst[RAW]} times (without a cOID {worst[NAMELESS]}). With a cOID IBKR "
        "refuses what it knows already; without one each of them is an order. What place_order told the program: "
        + "; ".join(f"{fault.label}: {said[number]}" for number, fault in enumerate(FAULTS))
        + "."
    )
    usual = "" if timeout == PATIENCE_S else f", instead of the {PATIENCE_S:g} s both have by default"
    section.notes.append(
        f"Timeout {timeout:g} s on both sides{usual}; ibind's three more tries are its default. The faults meet the "
        f"first {AGAIN} POSTs, slow answers last four timeouts. In the end: what the connector says once nothing is in "
        "doubt, which is what the exchange holds. No POST: without its websocket the connector sends nothing, and says "
        "so, until it is there again."
    )
    return section


def _meet(web: WebBench, raws: dict[str, tuple[str, list[int]]], timeout: float) -> tuple[dict[int, str], list[str]]:
    """Everybody meets the faults. What ibind (with a cOID) told the program, and what the connector's orders became."""
    gateway, lock = web.gateways.child, threading.Lock()
    market = gateway.ask("market", symbol=SYMBOL)
    price, said = round(float(market["bid"]) * 0.95, 2), {}

    def arm(side: str, number: int) -> None:
        with lock:
            fault = FAULTS[number]
            gateway.ask("inject", number=gateway_of(side, number), kind=fault.kind, keys=fault.plan(timeout))

    def of_ibind(name: str) -> None:
        kind, faults = raws[name]
        child = web.sides[name]
        child.ask("web_faults_open", numbers=[gateway_of(kind, number) for number in faults])
        for number in faults:
            arm(kind, number)
            told = child.ask(
                "web_faults_place",
                within=AGAIN * timeout + 60,
                number=gateway_of(kind, number),
                con_id=market["con_id"],
                price=price,
                named=kind == RAW,
            )
            if kind == RAW:
                said[number] = told

    def of_ours() -> list[str]:
        child = web.sides[CONNECTOR]
        numbers = [gateway_of(CONNECTOR, number) for number in range(len(FAULTS))]
        child.ask("web_faults_open", numbers=numbers)
        for number in range(len(FAULTS)):
            arm(CONNECTOR, number)
        states = child.ask("web_faults_place", within=SETTLED_S + 60, price=price)
        child.ask("web_faults_close")
        return [states[str(number)] for number in numbers]

    with ThreadPoolExecutor(len(raws) + 1) as pool:
        ours = pool.submit(of_ours)
        list(pool.map(of_ibind, raws))
        return said, ours.result()
