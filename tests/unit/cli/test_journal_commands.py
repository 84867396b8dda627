"""`orders doubt` and `audit verify` read what the journal holds: also beside the program that writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.backends.base import Operation as ChangeOperation
from ibkr_connector.clock import SystemClock
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.changes import EnteredDoubt
from ibkr_connector.orders.entries import SendingEntry
from ibkr_connector.orders.journal import Journal

Run = Callable[..., Any]
ACCOUNT = "DU1234567"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Any]:
    opened = Journal.open(tmp_path / "state", ACCOUNT, SystemClock(), threaded=False)
    yield opened
    opened.close()


async def send(journal: Any, ref: str, order_id: int) -> None:
    request = OrderRequest.make(
        contract=Contract.stock("AAPL"), quantity=Decimal(100), action="BUY", order_ref=ref, account=ACCOUNT
    )
    entry = SendingEntry(
        request=request,
        decision={},
        account=ACCOUNT,
        order_id=order_id,
        client_id=2,
        endpoint="x:1",
        epoch=1,
        sent_at=SystemClock().now(),
    )
    await journal.commit_sending([entry])


async def test_an_order_in_doubt_is_listed_while_its_program_holds_the_journal(run: Run, journal: Any) -> None:
    await send(journal, "clear.1", 11)
    await send(journal, "doubt.1", 12)
    journal.record(
        "doubt.1", EnteredDoubt(at=SystemClock().now(), operation=ChangeOperation.NEW, why="no answer in 5 s")
    )
    ran = run("orders", "doubt", "--json")
    assert ran.code == 0
    assert [order["order_ref"] for order in ran.document] == ["doubt.1"]
    assert "doubt.1" in run("orders", "doubt", "--account", ACCOUNT).out


async def test_an_audit_trail_that_was_changed_is_code_1(run: Run, journal: Any, tmp_path: Path) -> None:
    await send(journal, "first.1", 11)
    good = run("audit", "verify", "--json")
    assert good.code == 0
    assert good.document[0]["ok"]
    assert good.document[0]["entries"] >= 1
    with sqlite3.connect(tmp_path / "state" / ACCOUNT / "journal.sqlite3") as database:
        database.execute("UPDATE audit SET ref = 'other.1'")
    database.close()
    bad = run("audit", "verify")
    assert bad.code == 1
    assert "BROKEN" in bad.out
