"""INV-12 at the socket: a journal that cannot be written refuses orders that increase risk, and only those."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import JournalError, JournalUnwritable, OrderValidationError, RiskRejected
from ibkr_connector.events import Event, Incident, Severity
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.journal import Journal, JournalReader
from ibkr_connector.orders.road import NOT_JOURNALED
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, arrived
from support.outages import KINDS, Outage, outage_of

SECONDS = 40.0
pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def disk(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    """The disk under the state directory."""
    with outage_of(kind, tmp_path, monkeypatch) as outage:
        yield outage


@pytest.fixture
async def holder(disk: Outage, gateway: PaperGateway, make: MakeConnector) -> AsyncIterator[IBKRConnector]:
    """Long 100 AAPL; the disk works still."""
    connector = make(gateway.tws_port, risk_limits={"daily_loss_limit": None})
    await connector.connect()
    await (await connector.place_market_order("AAPL", 100, "BUY", order_ref="in")).filled(30)
    yield connector
    await connector.close()  # before the disk goes away under it


def told_by(connector: IBKRConnector, kind: str) -> asyncio.Queue[Incident]:
    """Incidents of this kind, from now on."""
    told: asyncio.Queue[Incident] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen(event: Event) -> None:
        if isinstance(event, Incident) and event.kind == kind:
            loop.call_soon_threadsafe(told.put_nowait, event)

    connector.on_event(listen)
    return told


def journal_of(connector: IBKRConnector) -> Journal:
    journal = connector.orders._manager.desk.journal
    assert journal is not None
    return journal


async def on_the_disk(connector: IBKRConnector) -> Journal:
    """Wait until the disk has everything."""
    journal = journal_of(connector)
    async with asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(JournalError):
                await connector.orders._thread.run(journal.flush())
                return journal


def placed(gateway: PaperGateway) -> list[Any]:
    return [entry.fields["order_ref"] for entry in gateway.truth.of("recv_place")]


async def test_only_what_brings_the_position_nearer_to_zero_goes_out(
    disk: Outage, holder: IBKRConnector, gateway: PaperGateway
) -> None:
    told = told_by(holder, NOT_JOURNALED)
    disk.begin()
    with pytest.raises(JournalUnwritable):
        await holder.place_market_order("AAPL", 1, "BUY", order_ref="more")
    with pytest.raises(JournalUnwritable):
        await holder.place_market_order("MSFT", 1, "SELL", order_ref="other")
    out = await holder.place_market_order("AAPL", 60, "SELL", order_ref="out")
    await out.filled(30)
    with pytest.raises(JournalUnwritable):  # 40 are left
        await holder.place_market_order("AAPL", 60, "SELL", order_ref="across")
    rest = await holder.place_limit_order("AAPL", 30, "SELL", 5000, order_ref="rest")
    with pytest.raises(JournalUnwritable):  # together with what works it would go to -10
        await holder.place_limit_order("AAPL", 20, "SELL", 5000, order_ref="together")
    assert (await rest.modify(quantity=40)).quantity == 40
    with pytest.raises(JournalUnwritable):
        await rest.modify(quantity=41)
    with pytest.raises(JournalUnwritable):
        await holder.place_bracket_order(
            "AAPL", 10, 100, action="SELL", take_profit_price=1, stop_loss_price=5000, order_ref="group"
        )
    assert (await rest.cancel()).state is OrderState.CANCELLED
    assert placed(gateway) == ["in", "out", "rest"]
    for ref in ("out", "rest", "rest"):  # the last one is the change
        one = await asyncio.wait_for(told.get(), SECONDS)
        assert (one.severity, one.context["order_ref"]) == (Severity.CRITICAL, ref)
    assert holder.get_connection_status()["journal_writable"] is False


async def test_when_the_disk_is_back_the_journal_and_the_audit_trail_are_complete(
    disk: Outage, holder: IBKRConnector, gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    """INV-15, INV-14: what was sent meanwhile is there, in order, and a crash afterwards changes nothing."""
    if not disk.ends:
        pytest.skip("this disk does not come back while the program runs")
    disk.begin()
    await (await holder.place_market_order("AAPL", 60, "SELL", order_ref="out")).filled(30)
    rest = await holder.place_limit_order("AAPL", 30, "SELL", 5000, order_ref="rest")
    await rest.modify(limit_price=4999)
    with pytest.raises(JournalUnwritable):
        await holder.place_market_order("AAPL", 1, "BUY", order_ref="more")
    disk.end()
    journal = await on_the_disk(holder)
    assert holder.get_connection_status()["journal_writable"] is True
    assert (await holder.place_limit_order("AAPL", 1, "BUY", 1, order_ref="more")).state is OrderState.WORKING
    await on_the_disk(holder)
    before = {ref: (await holder.get_order(ref)).snapshot for ref in ("in", "out", "rest", "more")}
    assert journal.verify().ok
    lines = JournalReader.of(disk.state_dir, ACCOUNT)
    assert [line.kind for line in lines.audit_of("out")][:3] == ["decision", "sending", NOT_JOURNALED]
    kinds = [line.kind for line in lines.audit_of("rest")]
    assert kinds.index("sending") < kinds.index("modify_sending")
    crashed = disk.image(tmp_path / "crashed")
    await holder.close()
    again = make(gateway.tws_port, state_dir=crashed)
    await again.connect()
    for ref, was in before.items():
        found = (await again.get_order(ref)).snapshot
        assert (found.state, found.filled, found.order_id, found.perm_id, found.limit_price) == (
            was.state,
            was.filled,
            was.order_id,
            was.perm_id,
            was.limit_price,
        )
    assert again.orders_in_doubt() == []


async def test_after_a_crash_before_the_disk_is_back_the_same_ref_is_not_sent_again(
    disk: Outage, holder: IBKRConnector, gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    """INV-01 by the broker's records; no journal knows these: filled, working, and cancelled with nothing filled."""
    disk.begin()
    await (await holder.place_market_order("AAPL", 60, "SELL", order_ref="out")).filled(30)
    await holder.place_limit_order("AAPL", 30, "SELL", 5000, order_ref="rest")
    await (await holder.place_limit_order("AAPL", 5, "SELL", 5000, order_ref="gone")).cancel()
    crashed = disk.image(tmp_path / "crashed")
    await holder.close()
    disk.end()
    again = make(gateway.tws_port, state_dir=crashed, risk_limits={"daily_loss_limit": None})
    await again.connect()
    for quantity, kind, ref in ((60, "MKT", "out"), (30, "LMT", "rest"), (5, "LMT", "gone")):
        with pytest.raises(OrderValidationError, match="name of an order"):
            if kind == "MKT":
                await again.place_market_order("AAPL", quantity, "SELL", order_ref=ref)
            else:
                await again.place_limit_order("AAPL", quantity, "SELL", 5000, order_ref=ref)
        assert arrived(gateway, ref) == 1
    (position,) = await again.get_positions()
    assert position.quantity == 40
    # The one that works is counted: with it, 20 more would cross zero.
    again.reduce_only("to see what counts")
    with pytest.raises(RiskRejected):
        await again.place_limit_order("AAPL", 20, "SELL", 5000)


async def test_kill_and_flatten_end_flat(disk: Outage, holder: IBKRConnector, gateway: PaperGateway) -> None:
    await (await holder.place_market_order("MSFT", 50, "SELL", order_ref="short")).filled(30)
    await holder.place_limit_order("AAPL", 10, "BUY", 1, order_ref="working")
    disk.begin()
    with contextlib.suppress(JournalUnwritable):
        holder.kill("the disk is dying")
    report = await holder.flatten("and so are we", timeout=60)
    assert report.flat
    held: dict[str, Decimal] = {}
    for fill in gateway.truth.of("fill"):
        signed = Decimal(str(fill.fields["quantity"])) * (1 if fill.fields["side"] == "BOT" else -1)
        held[str(fill.fields["con_id"])] = held.get(str(fill.fields["con_id"]), Decimal(0)) + signed
    assert set(held.values()) == {Decimal(0)}
    assert holder.risk.killed
    with pytest.raises(RiskRejected):
        await holder.place_limit_order("AAPL", 1, "BUY", 1)
