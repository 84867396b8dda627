"""What is forgotten so that the journal does not grow for ever, and what never is."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import journal_file, steps
from ibkr_connector.orders.journal import FILE_NAME, Journal, JournalReader
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.record import Context
from unit.orders.kit import ACCOUNT, CLIENT_ID, NOW, UP, echo, fill, request, sending, sent, status

LATER = NOW + timedelta(days=500)
AGO = LATER - timedelta(days=400)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


def reopen(state_dir: Path, before: datetime | None = AGO) -> Journal:
    return Journal.open(state_dir, ACCOUNT, ManualClock(LATER), forget_before=before)


def rows(state_dir: Path, table: str) -> int:
    connection = sqlite3.connect(state_dir / ACCOUNT / FILE_NAME)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


async def end(journal: Journal, ref: str, number: int, ctx: Context = UP) -> None:
    """An order that was sent, and filled."""
    await journal.commit_sending([sending(ref, number)])
    record = sent(request(order_ref=ref), order_id=number)
    facts = (
        echo(record, order_ref=ref, order_id=number, perm_id=number),
        fill(100, f"{ref}.01", order_ref=ref, order_id=number, perm_id=number),
        status("Filled", 100, 0, order_id=number, perm_id=number),
    )
    for fact in facts:
        for change in apply(record, fact, ctx):
            journal.record(ref, change)
    assert record.state is OrderState.FILLED
    await journal.flush()


async def filled_long_ago(state_dir: Path, *refs: str) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    for number, ref in enumerate(refs, 1):
        await end(journal, ref, number)
    journal.close()


async def test_old_orders_go_and_their_refs_stay_used(state_dir: Path) -> None:
    """INV-01: sent once, for ever, also when nothing else is known of it any more."""
    await filled_long_ago(state_dir, "OLD", "OLD2")
    journal = reopen(state_dir)
    assert journal.find("OLD") is None
    assert (rows(state_dir, "orders"), rows(state_dir, "events"), rows(state_dir, "fills")) == (0, 0, 0)
    with pytest.raises(OrderValidationError, match="sent before \\(filled\\)"):
        await journal.commit_sending([sending("OLD", 9)])
    assert journal.high_water(CLIENT_ID) >= 2
    await journal.commit_sending([sending("NEW", 10)])
    journal.close()


async def test_audit_trail_stays_whole_and_tells_of_it(state_dir: Path) -> None:
    """INV-15."""
    await filled_long_ago(state_dir, "OLD")
    before = list(JournalReader.of(state_dir, ACCOUNT).audit())
    journal = reopen(state_dir)
    lines = list(JournalReader.of(state_dir, ACCOUNT).audit())
    assert lines[: len(before)] == before
    assert [line.kind for line in lines[len(before) :]] == ["orders_forgotten"]
    assert journal.verify().ok
    assert journal.head[0] == len(lines)
    journal.close()
    reopen(state_dir).close()
    assert len(list(JournalReader.of(state_dir, ACCOUNT).audit())) == len(lines)  # nothing forgotten, nothing told


async def test_open_and_young_orders_are_kept(state_dir: Path) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    await journal.commit_sending([sending("OPEN", 1)])
    await end(journal, "OLD", 2)
    journal.close()
    kept = reopen(state_dir, before=NOW - timedelta(days=1))
    assert {order.ref for order in kept.recent()} == {"OPEN", "OLD"}
    kept.close()
    journal = reopen(state_dir)
    assert [order.ref for order in journal.recent()] == ["OPEN"]
    found = journal.find("OPEN")
    assert found is not None
    assert found.changes
    journal.close()


async def test_ref_that_was_never_written_is_free_again(state_dir: Path) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    await journal.commit_sending([sending("UNSENT", 1)])
    for change in steps.not_sent(sent(request(order_ref="UNSENT")), "no slot", UP):
        journal.record("UNSENT", change)
    journal.close()
    journal = reopen(state_dir)
    assert rows(state_dir, "orders") == 0
    await journal.commit_sending([sending("UNSENT", 2)])
    journal.close()


async def test_nothing_is_forgotten_unless_asked(state_dir: Path) -> None:
    await filled_long_ago(state_dir, "OLD")
    journal = reopen(state_dir, before=None)
    assert journal.find("OLD") is not None
    journal.close()


async def test_opening_stays_short(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "_FORGET_MOST", 2)
    await filled_long_ago(state_dir, "A", "B", "C")
    for left in (1, 0):
        reopen(state_dir).close()
        assert rows(state_dir, "orders") == left
    assert JournalReader.of(state_dir, ACCOUNT).verify().ok


async def test_forgetting_that_fails_leaves_everything_as_it_was(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled_long_ago(state_dir, "OLD")

    def fails(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    closed: list[bool] = []
    close = journal_file.JournalFile.close

    def closing(file: journal_file.JournalFile) -> None:
        closed.append(True)
        close(file)

    with monkeypatch.context() as patch:
        patch.setattr(journal_file.JournalFile, "put_audit", fails)
        patch.setattr(journal_file.JournalFile, "close", closing)
        with pytest.raises(Exception, match="disk I/O error"):
            reopen(state_dir)
    assert closed
    assert (rows(state_dir, "orders"), rows(state_dir, "spent_refs")) == (1, 0)
    reopen(state_dir).close()  # the lock was given back
    assert rows(state_dir, "spent_refs") == 1
