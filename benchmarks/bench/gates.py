"""The gate chain: check, reserve and release one order, in a connector of its own that has every gate armed.

Measured on the session's loop with the connector's own view of account, quote, hours and positions, made anew for each
order as a real one does; the view's data were fetched before. Beside it the chain of the default settings, each gate
alone (given a check of its own, so that each pays for the shared figures it asks for first: they add up to more than
the chain), and the full road of an order with all gates: from the call to the acknowledgement.
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from .harness import SYMBOL, Bench
from .orders import timed
from .sides import Commands, ConnectorSide
from .stats import median, percentile, ratio
from .table import Section, duration, plain

if TYPE_CHECKING:
    from ibkr_connector import IBKRConnector
    from ibkr_connector.models.order import OrderRequest
    from ibkr_connector.orders.road import Prepared

NAME = "gates"
TITLE = "Gate chain of one order"
AGENT = "momentum-1"
EVERYTHING: dict[str, Any] = {
    "risk_limits": {
        "max_position_value": 5_000_000,
        "max_quote_age": 60.0,
        "price_collar": 0.5,
        "duplicate_window": 0.003,
        "max_orders": 100_000,
        "max_orders_window": 0.01,
        "max_open_orders": 1_000,
        "max_gross_exposure": 50_000_000,
        "max_net_exposure": 50_000_000,
        "drawdown_limit": 500_000,
        "allow_short": False,
        "restricted_symbols": ("GME", "AMC"),
        "buying_power": "value",
        "intraday_margin": "excess",
    },
    "agents": {
        AGENT: {
            "max_order_size": 1_000,
            "max_order_value": 400_000,
            "max_position_size": 5_000,
            "max_position_value": 4_000_000,
            "max_open_orders": 900,
            "max_orders": 90_000,
        }
    },
    "symbols": {SYMBOL: {"max_order_size": 1_000, "max_order_value": 400_000, "max_position_size": 5_000}},
}
"""Every limit set, none in the way. The windows are short: at this speed they hold some dozens of orders, as at 25
orders per second a window of a second does."""


async def open_all(side: ConnectorSide) -> int:
    """Make and connect the connector with everything armed; how many gates it has."""
    made = side.lines["all"] = side.make(side.new_client_id(), "all-gates", **EVERYTHING)
    await made.connect()
    await made.get_live_quote(SYMBOL)
    return len(made._house.engine._gates)


async def close_all(side: ConnectorSide) -> None:
    """Close it."""
    await side.lines.pop("all").close()


async def roads(side: ConnectorSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of `count` whole orders with all gates, seconds."""
    return {"acks": await timed(side, count, price, side.lines["all"])}


async def chain(side: ConnectorSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of `count` orders through the chain with all gates, and with the default ones, seconds."""
    found = {}
    for name, made in (("all", side.lines["all"]), ("default", side.connector)):
        prepared, requests = await _ready(made, count, price)
        found[name] = await made._house.thread.run(_chain(made, prepared, requests))
    return found


async def each(side: ConnectorSide, count: int, price: float) -> dict[str, list[float]]:
    """Times of every gate alone, seconds."""
    made = side.lines["all"]
    prepared, requests = await _ready(made, count, price)
    found: dict[str, list[float]] = await made._house.thread.run(_each(made, prepared, requests))
    return found


async def _ready(made: IBKRConnector, count: int, price: float) -> tuple[Prepared, list[OrderRequest]]:
    """What an order's gates need, and orders that are no repetition of each other."""
    from ibkr_connector.models.order import OrderRequest
    from ibkr_connector.resilience import Deadline

    house = made._house
    contract = (await made.get_contract(SYMBOL)).contract
    prices = itertools.cycle([round(price - 0.01 * step, 2) for step in range(500)])
    requests = [
        OrderRequest.make(
            contract=contract, action="BUY", quantity=1, order_type="LMT", limit_price=next(prices), agent=AGENT
        )
        for _ in range(count)
    ]
    prepared = await house.thread.run(house.feed.prepare(requests[0], Deadline(house.clock, 10)))
    return prepared, requests


async def _chain(made: IBKRConnector, prepared: Prepared, requests: list[OrderRequest]) -> list[float]:
    engine, taken = made._house.engine, []
    for request in requests:
        begun = time.perf_counter()
        decision = engine.check_and_reserve(request, prepared.view())
        engine.release(request.order_ref)
        taken.append(time.perf_counter() - begun)
        decision.require()
    return taken


async def _each(made: IBKRConnector, prepared: Prepared, requests: list[OrderRequest]) -> dict[str, list[float]]:
    from ibkr_connector.risk.legs import Leg

    engine = made._house.engine
    found: dict[str, list[float]] = {gate.name: [] for gate in engine._gates}
    with engine.atomically():
        for request in requests:
            leg, trading = Leg(request, prepared.view()), engine.control.record
            for gate in engine._gates:
                check = engine._check_of(
                    leg, trading, without=frozenset(), recent=engine._recent, filled=request.quantity * 0
                )
                begun = time.perf_counter()
                gate.check(check)
                found[gate.name].append(time.perf_counter() - begun)
    return found


COMMANDS: Commands = {
    "connector.gates_open": open_all,
    "connector.gates_close": close_all,
    "connector.gates_roads": roads,
    "connector.gates_chain": chain,
    "connector.gates_each": each,
}


def run(bench: Bench) -> Section:
    """The connectors in turn; the raw libraries have no gates."""
    rounds, count, orders = (2, 200, 15) if bench.quick else (7, 500, 40)
    price = round(float(bench.gateway.ask("market", symbol=SYMBOL)["bid"]) * 0.95, 2)
    sides = {name: child for name, child in bench.sides.items() if not name.startswith("raw ")}
    armed = {name: child.ask("gates_open") for name, child in sides.items()}
    found: dict[str, dict[str, list[list[float]]]] = {name: {} for name in sides}
    for number in range(rounds + 1):
        for name, child in sides.items():
            answers = {
                **child.ask("gates_chain", count=count, price=price),
                **child.ask("gates_roads", count=orders, price=price),
                **child.ask("gates_each", count=count // 5, price=price),
            }
            for part, samples in answers.items() if number else ():
                found[name].setdefault(part, []).append(samples)
    for child in sides.values():
        child.ask("gates_close")
    section = Section(NAME, TITLE, ["side", "p50", "p99", "share of an order"])
    for name, parts in found.items():
        acks = parts.pop("acks")
        for part, label in (("all", f"all {armed[name]} gates"), ("default", "the default gates")):
            samples = parts.pop(part)
            share = ratio(samples, acks)
            cell = f"{100 * share.value:.1f} % ({100 * share.low:.1f} – {100 * share.high:.1f})"
            section.rows.append([f"{name}, {label}", *_cells(samples), cell])
        section.rows.append([f"{name}, an order's whole road with all gates", *_cells(acks), ""])
    first = next(iter(found.values()), {})
    alone = sorted(((median(samples), gate) for gate, samples in first.items()), reverse=True)
    section.notes.append(
        "Each gate alone, with the figures it asks for first: "
        + ", ".join(f"{gate} {plain(taken * 1e6)} µs" for taken, gate in alone)
        + "."
    )
    section.notes.append("The chain is check, reserve and release; an order asks part of it again before the write.")
    return section


def _cells(rounds: list[list[float]]) -> list[str]:
    samples = [sample for one in rounds for sample in one]
    return [duration(percentile(samples, 50)), duration(percentile(samples, 99))]
