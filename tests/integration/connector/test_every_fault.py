"""Every kind of fault of the catalogue hits a connector that trades; it ends ready, and journal and truth agree.

What a fault does to one order is tested elsewhere, kind by kind. This is the other question: is there a kind that
leaves something behind?
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import TradingError
from ibkr_connector.orders.journal_read import JournalReader
from ibkr_connector.paper import Fault, PaperGateway
from ibkr_connector.paper.faults.catalogue import KINDS, TWS
from support.connector import ACCOUNT, MakeConnector, arrived, reaches, settled

SECONDS = 30.0
LASTING = 600.0
BOUGHT, RESTING = "bought", "resting"
ORDERS = (BOUGHT, RESTING)


@dataclass(frozen=True)
class Case:
    """Faults, armed before the connector trades; the first is the one in question."""

    faults: tuple[Fault, ...]
    hits: frozenset[str] = frozenset()
    """What the running fault must have done (`what` of its entries in the truth log)."""
    seen: str = ""
    """An entry of the truth log that the fault alone makes."""
    settings: dict[str, Any] = field(default_factory=dict)


def case(kind: str, *beside: Fault, hits: str = "", seen: str = "", **keys: Any) -> Case:
    """It lasts until the test ends it, whatever the machine is busy with."""
    orders = {"settle_link_up": 2.0} if kind == "hold_then_forward" else {}
    lasting = {"for_": LASTING} if "for" in KINDS[kind].options and "code" not in keys else {}
    found = Fault(kind, **{**lasting, **keys})
    settings = {"orders": {"ack_timeout": 1.0, "order_deadline": 3.0, **orders}}
    return Case((found, *beside), frozenset(filter(None, [hits])), seen, settings)


NOTICES = (2103, 2104, 2105, 2106, 2108, 2157, 2158)
CASES: dict[str, Case] = {
    "drop_connection": case("drop_connection", on="place_order"),
    "drop_connection, the answer": case("drop_connection", on="open_order"),
    "half_open": case("half_open", on="place_order", for_=1.0),
    "reset_after_write": case("reset_after_write"),
    "refuse": case("refuse", Fault("drop_connection", on="modify_order"), on="modify_order"),
    "refuse, 326": case(
        "refuse", Fault("drop_connection", on="modify_order"), on="modify_order", code=326, for_=LASTING, hits="refused"
    ),
    "slow": case("slow", delay=0.1),
    "split_frames": case("split_frames"),
    "swallow_request": case("swallow_request", on="place_order", nth=2),
    "swallow_reply": case("swallow_reply", on="place_order", hits="swallow"),
    "duplicate_reply": case("duplicate_reply", on="place_order", count=6, hits="duplicate"),
    "reorder_replies": case("reorder_replies", on="place_order", count=3, hits="reorder"),
    "reject": case("reject", on="place_order", nth=2),
    "reject, a change": case("reject", on="modify_order", code=201),
    "missing_end": case("missing_end", on="positions", hits="swallow"),
    "missing_end, executions": case(
        "missing_end", Fault("drop_connection", on="modify_order"), on="executions", hits="swallow"
    ),
    "false_200": case("false_200", hits="answered with 200"),
    "error 1100": case("error", code=1100, on="place_order", for_=LASTING, seen="withheld"),
    "error 1100, data lost": case("error", code=1100, on="modify_order", for_=LASTING, restore=1101, seen="withheld"),
    "error 2110": case("error", code=2110, on="place_order", for_=LASTING, seen="withheld"),
    "error 10182": case("error", code=10182, on="history"),
    "error 10197": case("error", code=10197, for_=LASTING),
    "error 399": case("error", code=399, text="Order Message: it is watched", on="place_order"),
    **{f"error {code}": case("error", code=code, on="place_order") for code in NOTICES},
    "hold_then_forward": case("hold_then_forward", on="place_order", delay=0.3, seen="forwarded"),
    "farm_down usfarm": case("farm_down", farm="usfarm"),
    "farm_down ushmds": case("farm_down", farm="ushmds", hits="held"),
    "farm_down secdefnj": case("farm_down", farm="secdefnj", hits="not answered"),
    "restart": case("restart", on="modify_order", rollback_ids=3),
    "late_commission": case("late_commission", delay=0.5),
    "execution_correction": case("execution_correction", delay=0.1, ticks=3, seen="correction"),
    "fork_on_modify": case("fork_on_modify", seen="forked"),
    "clock_jump": case("clock_jump", on="place_order", by=45.0),
    "halt": case("halt", symbol="AAPL"),
    "stale": case("stale"),
}


def test_no_kind_of_the_catalogue_is_left_out() -> None:
    tried = {found.kind for one in CASES.values() for found in one.faults}
    assert tried == {kind for kind, one in KINDS.items() if TWS in one.fronts}


async def whatever(work: Awaitable[object]) -> None:
    """What a program does goes wrong in a way it is told of, or goes well."""
    with contextlib.suppress(TradingError):
        await work


async def trade(connector: IBKRConnector) -> None:
    """What a program does while things go wrong. Errors are told, typed; none stops the rest."""
    steps: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: connector.get_contract("MSFT"),
        lambda: connector.place_market_order("AAPL", 10, "BUY", order_ref=BOUGHT),
        lambda: connector.place_limit_order("AAPL", 10, "BUY", 50, order_ref=RESTING),
        lambda: connector.get_historical_data("AAPL", "1 D", "1 hour", timeout=2.0),
        lambda: connector.modify_order(RESTING, limit_price=51),
        lambda: connector.get_positions(refresh=True),
        lambda: connector.get_open_orders(refresh=True),
    )
    for step in steps:
        await whatever(step())


async def ended(connector: IBKRConnector, ref: str) -> None:
    """Lead an order to its end: what was bought is filled, what rests is cancelled, what was never sent is known so."""
    order = await connector.get_order(ref)
    if ref == RESTING and not order.is_done:
        await whatever(order.cancel(SECONDS))  # also ends the doubt about a change that became a second order
    await settled(connector, ref, SECONDS)
    if ref == RESTING and not order.is_done:
        await whatever(order.cancel(SECONDS))
    await order.done(SECONDS)


def truth_of_fills(gateway: PaperGateway) -> dict[str, tuple[Decimal, Decimal]]:
    """What was really traded: quantity and price by execution, corrections in the place of what they correct."""
    found = {e.fields["exec_id"]: (e.fields["quantity"], e.fields["price"]) for e in gateway.truth.of("fill")}
    for e in gateway.truth.of("correction"):
        del found[e.fields["corrects"]]
        found[e.fields["exec_id"]] = (e.fields["quantity"], e.fields["price"])
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("name", CASES)
async def test_connector_that_trades_ends_ready_and_its_journal_is_the_truth(
    gateway: PaperGateway, make: MakeConnector, name: str
) -> None:
    chosen = CASES[name]
    connector = make(gateway.tws_port, request_timeout=2.0, **chosen.settings)
    await connector.connect()
    await connector.get_live_quote("AAPL")
    armed = [gateway.inject(fault) for fault in chosen.faults]
    await trade(connector)
    # It has really happened, and did what it does, at the latest when the connector tries again.
    await gateway.truth.wait_for("fault", timeout=SECONDS, number=armed[0])
    for what in chosen.hits:
        await gateway.truth.wait_for("fault_hit", timeout=SECONDS, number=armed[0], what=what)
    gateway.faults.clear()
    if chosen.seen:
        await gateway.truth.wait_for(chosen.seen, timeout=SECONDS)
    await connector.ready(SECONDS)
    for ref in ORDERS:
        with contextlib.suppress(TradingError):  # one that was refused before it was journaled is nothing to lead on
            await ended(connector, ref)
    for order in [await connector.get_order(ref) for ref in ORDERS if gateway.truth.of("fill", order_ref=ref)]:
        corrected = {e.fields["exec_id"] for e in gateway.truth.of("correction")}
        await reaches(order, lambda seen, ids=corrected: ids <= {f.exec_id for f in seen.fills})  # type: ignore[misc]
    after = await connector.place_limit_order("AAPL", 1, "BUY", 50, order_ref="after")
    assert (await after.cancel(SECONDS)).state == "cancelled"
    assert connector.orders_in_doubt() == []
    assert connector.get_connection_status()["state"] == "ready"
    assert [o.ticket.order_ref for o in gateway.exchange.open_orders(None)] == []
    assert all(arrived(gateway, ref) <= 1 for ref in ORDERS)
    real = truth_of_fills(gateway)
    bought = sum((quantity for quantity, _ in real.values()), Decimal(0))
    assert sum((p.quantity for p in await connector.get_positions(refresh=True)), Decimal(0)) == bought
    await connector.close()
    kept = JournalReader.of(connector.settings.paths.state_dir, ACCOUNT)
    assert {one.exec_id: (one.quantity, one.price) for one in kept.fills()} == real
    assert kept.load() == []
    assert kept.verify().ok
