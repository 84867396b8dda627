"""Disks that stall and journals that disappear, seen by a caller: what is refused, what still works."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector import store
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import JournalCorrupt, JournalFromFuture, JournalUnwritable, NotConnected, OrderNotSent
from ibkr_connector.events import Event, Incident
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.journal_file import JournalFile
from ibkr_connector.paper import PaperGateway
from ibkr_connector.session import lane
from support.connector import ACCOUNT, MakeConnector

SECONDS = 40.0
RULE = 50


async def test_deleted_journal_refuses_orders_and_lets_everybody_out(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    """INV-12: an order committed into a deleted file would be forgotten with the process, and could be sent twice."""
    connector = make(gateway.tws_port)
    await connector.connect()
    told: list[str] = []
    first = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(event: Event) -> None:
        if isinstance(event, Incident) and event.kind == "journal_unwritable":
            told.append(event.text)
            loop.call_soon_threadsafe(first.set)

    connector.on_event(listen)
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
    for file in list((tmp_path / "state" / ACCOUNT).glob("journal*")):
        file.unlink()
    for ref in ("after", "again"):
        with pytest.raises(JournalUnwritable, match="deleted, moved or replaced") as caught:
            await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref=ref)
        assert "Put the file back" in caught.value.remedy
    arrived = [entry.fields.get("order_ref") for entry in gateway.truth.of("recv_place")]
    assert arrived == [order.ref]
    assert connector.get_connection_status()["journal_writable"] is False
    assert (await order.cancel()).state.is_done
    assert await connector.get_positions() == []
    await asyncio.wait_for(first.wait(), SECONDS)
    assert len(told) == 1


async def test_orders_held_up_by_a_slow_disk_do_not_leave_in_one_burst(
    connector: IBKRConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INV-09: leave to send that was given before a stall must not add to leave given after it."""
    await connector.get_live_quote("AAPL")
    stall = threading.Event()
    begin, write = JournalFile.begin, lane._write_all

    def slow(file: JournalFile, *, durable: bool) -> None:
        if durable and not stall.is_set():
            stall.set()
            threading.Event().wait(1.5)  # the disk
        begin(file, durable=durable)

    times: list[float] = []

    def stamped(frames: Any) -> lane.LaneOutcome:
        outcome = write(frames)
        times.append(time.monotonic())
        return outcome

    monkeypatch.setattr(JournalFile, "begin", slow)
    monkeypatch.setattr(lane, "_write_all", stamped)
    count = 90
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(connector.place_limit_order("AAPL", 1, "BUY", 1) for _ in range(count)))
    assert stall.is_set()
    assert len(times) == count
    assert max(sum(1 for other in times if at <= other < at + 1.0) for at in times) <= RULE


async def test_ended_orders_are_forgotten_at_the_connect_after_they_grew_old(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    ended = await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="ended")
    await ended.cancel()
    await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="open")
    await connector.close()
    path = tmp_path / "state" / ACCOUNT / "journal.sqlite3"

    def refs() -> set[str]:
        reading = sqlite3.connect(path)
        try:
            return {row[0] for row in reading.execute("SELECT ref FROM orders")}
        finally:
            reading.close()

    young = make(gateway.tws_port)
    await young.connect()
    assert refs() == {"ended", "open"}
    await young.close()
    writing = sqlite3.connect(path)
    with writing:
        writing.execute("UPDATE orders SET updated_at = '2020-01-01T00:00:00+00:00'")
    writing.close()
    for days, left in ((0, {"ended", "open"}), (400, {"open"})):
        later = make(gateway.tws_port, keep_orders=days)
        await later.connect()
        assert refs() == left
        await later.close()


# --- journals that cannot be used -------------------------------------------------------------------------------------


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"no database at all, but as long as its header would be" * 2)
    for more in path.parent.glob("journal.sqlite3-*"):
        more.unlink()


def _from_the_future(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


def _half_migrated(path: Path) -> None:
    """Version 1 with a table of version 2 in it: what a migration without a transaction would leave."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 1")
    database.close()


UNUSABLE = {
    "damaged": (_damage, JournalCorrupt),
    "from the future": (_from_the_future, JournalFromFuture),
    "half migrated": (_half_migrated, JournalCorrupt),
}


@pytest.mark.parametrize("what", UNUSABLE)
async def test_journal_that_cannot_be_used_stops_new_orders_with_its_reason_and_lets_everybody_out(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, what: str
) -> None:
    """INV-12, INV-01: it is left as it is, nothing is sent past it, and the account can be cleared without it."""
    spoil, error = UNUSABLE[what]
    first = make(gateway.tws_port)
    await first.connect()
    await first.place_limit_order("AAPL", 1, "BUY", 1, order_ref="left")
    await first.close()
    path = tmp_path / "state" / ACCOUNT / "journal.sqlite3"
    spoil(path)
    before = path.read_bytes()
    connector = make(gateway.tws_port)
    with pytest.raises(error) as caught:
        await connector.connect()
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    with pytest.raises((OrderNotSent, NotConnected)):
        await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="after")
    assert path.read_bytes() == before
    assert [entry.fields["order_ref"] for entry in gateway.truth.of("recv_place")] == ["left"]
    out = make(gateway.tws_port, read_only=True)
    await out.connect()
    (ended,) = await out.cancel_all_orders("account")
    assert ended.state.is_done


async def test_journal_locked_by_another_program_s_transaction_refuses_orders_until_it_is_free(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person with the sqlite3 shell open: orders are refused, cancels go on, and what was recorded is not lost."""
    real = store.connect

    def impatient(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
        made = real(path, read_only=read_only)
        made.execute("PRAGMA busy_timeout = 50")
        return made

    monkeypatch.setattr(store, "connect", impatient)
    connector = make(gateway.tws_port)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="before")
    other = sqlite3.connect(tmp_path / "state" / ACCOUNT / "journal.sqlite3", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnwritable, match="locked"):
            await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="during")
        assert (await order.cancel()).state.is_done
        other.execute("ROLLBACK")
    finally:
        other.close()
    await connector.close()
    again = make(gateway.tws_port)
    await again.connect()
    assert (await again.get_order("before")).state is OrderState.CANCELLED
    assert (await again.place_limit_order("AAPL", 1, "BUY", 1, order_ref="during")).state is OrderState.WORKING
    assert [entry.fields["order_ref"] for entry in gateway.truth.of("recv_place")] == ["before", "during"]
