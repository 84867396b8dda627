"""The journal: what is in it, what it refuses, and how it behaves when the disk does not."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.backends.base import OrderReply
from ibkr_connector.backends.facts import Operation
from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import (
    JournalCorrupt,
    JournalError,
    JournalFromFuture,
    JournalInUse,
    JournalUnwritable,
    OrderValidationError,
)
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import journal_queue, steps
from ibkr_connector.orders.changes import Change, CommissionAdded
from ibkr_connector.orders.entries import SendingEntry
from ibkr_connector.orders.journal import FILE_NAME, THREAD_NAME, Journal, JournalReader
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.recover import recover
from unit.orders.kit import (
    ACCOUNT,
    CLIENT_ID,
    ENDPOINT,
    NOW,
    ORDER_ID,
    REF,
    UP,
    changing,
    commission,
    d,
    echo,
    fill,
    request,
    sending,
    sent,
    status,
)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def opened(state_dir: Path) -> Iterator[Journal]:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    yield journal
    journal.close()


@contextlib.asynccontextmanager
async def journal_in(state_dir: Path, **options: Any) -> AsyncIterator[Journal]:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW), **options)
    try:
        yield journal
    finally:
        journal.close()


def writable(journal: Journal) -> bool:
    return journal.writable


def put(journal: Journal, record: OrderRecord, *facts: Any) -> None:
    for fact in facts:
        for change in apply(record, fact, UP):
            journal.record(record.ref, change)


def sql(state_dir: Path, statement: str, *values: object) -> list[Any]:
    connection = sqlite3.connect(state_dir / ACCOUNT / FILE_NAME, isolation_level=None)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


# --- what is in it ----------------------------------------------------------------------------------------------------


async def test_one_commit_holds_intent_decision_sending_and_the_id_mark(opened: Journal) -> None:
    entry = sending(
        decision={"allowed": True, "gates": ["hours"], "value": d("1.5"), "at": NOW}, group="G", parent_ref="P"
    )
    await opened.commit_sending([entry])
    (order,) = opened.load()
    assert order.request == entry.request
    assert order.decision == {"allowed": True, "gates": ["hours"], "value": "1.5", "at": "2026-03-12T15:00:00Z"}
    assert (order.ref, order.account, order.order_id, order.client_id) == (REF, ACCOUNT, ORDER_ID, CLIENT_ID)
    assert (order.endpoint, order.group, order.parent_ref, order.ended) == (ENDPOINT, "G", "P", None)
    assert (order.created_at, order.updated_at) == (NOW, NOW)
    record, changes = recover(order, UP)
    assert record.state is OrderState.IN_DOUBT
    assert len(changes) == 1
    assert opened.high_water(CLIENT_ID) == ORDER_ID


async def test_every_kind_of_request_comes_back_as_it_was(opened: Journal) -> None:
    requests = [
        request(order_ref="A", order_type="TRAIL", limit_price=None, trail_percent="1.5", agent="x", outside_rth=True),
        request(order_ref="B", order_type="STP LMT", stop_price=9, tif="GTD", good_till=NOW + timedelta(days=3)),
        request(order_ref="C", account=ACCOUNT, oca_group="G", reference_price="3.25", quantity="0.5"),
    ]
    await opened.commit_sending([sending(order_id=n, request=one) for n, one in enumerate(requests, 1)])
    assert [order.request for order in opened.load()] == requests


async def test_what_happens_to_an_order_is_read_back_as_it_happened(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    put(opened, record, echo(), status("Submitted"), fill(40), commission(), fill(40, "e1.02", price=9))
    put(opened, record, commission("e1.02", "2"), fill(60, "e2.01"))
    await opened.flush()
    (order,) = opened.load()
    rebuilt, changes = recover(order, UP)
    assert (changes, rebuilt.state, rebuilt.fills) == ([], OrderState.FILLED, record.fills)
    assert order.ended is OrderState.FILLED
    fills = {one.exec_id: one for one in opened.fills()}
    assert set(fills) == {"e1.02", "e2.01"}
    assert fills == {one.exec_id: one for one in record.fills.values()}
    assert [one.exec_id for one in opened.fills(NOW + timedelta(seconds=2))] == []


async def test_the_commission_of_an_unknown_execution_is_kept_as_an_event(opened: Journal) -> None:
    record = sent()
    put(opened, record, fill(40), commission())
    opened.record("elsewhere", apply(record, commission("e1.01", "3"), UP)[0])
    await opened.flush()
    assert [one.commission for one in opened.fills()] == [d(3)]
    (other,) = apply(record, commission("e1.01", "4"), UP)
    assert isinstance(other, CommissionAdded)
    other = replace(other, exec_id="unknown")
    opened.record("elsewhere", other)
    await opened.flush()
    assert [one.commission for one in opened.fills()] == [d(3)]


async def test_open_orders_are_loaded_always_and_ended_ones_while_they_are_young(state_dir: Path) -> None:
    clock = ManualClock(NOW)
    journal = Journal.open(state_dir, ACCOUNT, clock)
    await journal.commit_sending([sending("OPEN", 1), sending("DONE", 2)])
    for change in steps.not_sent(sent(request(order_ref="DONE")), "no slot", UP):
        journal.record("DONE", change)
    await journal.flush()
    assert {order.ref for order in journal.load()} == {"OPEN", "DONE"}
    clock.advance(9 * 86400)
    assert [order.ref for order in journal.load()] == ["OPEN"]
    assert {order.ref for order in journal.load(NOW)} == {"OPEN", "DONE"}
    assert [order.ref for order in JournalReader(state_dir / ACCOUNT / FILE_NAME).load()] == ["OPEN"]
    assert {order.ref for order in journal.recent(5)} == {"OPEN", "DONE"}
    assert len(journal.recent(1)) == 1
    found = journal.find("DONE")
    assert found is not None
    assert found.ended is OrderState.NOT_SENT
    assert journal.find("NEVER") is None
    journal.close()


async def test_small_values_and_id_marks_outlive_the_program_and_marks_never_fall(state_dir: Path) -> None:
    async with journal_in(state_dir) as journal:
        journal.put_meta("baseline", {"day": "2026-03-12", "net_liq": "1000.50"})
        journal.put_meta("flag", [1, 2])
        journal.raise_high_water(ENDPOINT, CLIENT_ID, 50)
        journal.raise_high_water(ENDPOINT, CLIENT_ID, 40)
        journal.raise_high_water("other:1", CLIENT_ID, 7)
        assert journal.high_water(CLIENT_ID) == 50
        journal.raise_high_water("other:1", CLIENT_ID + 1, 70)  # another gateway may be this one under a new name
        assert journal.high_water(CLIENT_ID + 1) == 70
    async with journal_in(state_dir) as journal:
        assert journal.meta("baseline") == {"day": "2026-03-12", "net_liq": "1000.50"}
        assert (journal.meta("flag"), journal.meta("none"), journal.meta("none", 3)) == ([1, 2], None, 3)
        assert journal.high_water(CLIENT_ID) == 50
        assert journal.high_water(99) == 0
        await journal.commit_sending([sending("LOW", 5)])
        assert journal.high_water(CLIENT_ID) == 50


async def test_what_is_kept_in_memory_is_what_was_written(opened: Journal) -> None:
    opened.put_meta("behind", (1, 2))
    assert opened.meta("behind") == [1, 2]
    assert opened.meta("nothing", 7) == 7
    opened.raise_high_water(ENDPOINT, 77, 1)
    assert opened.high_water(77) == 1
    await opened.flush()
    assert opened._reader.meta() == {"behind": [1, 2]}
    assert opened._reader.marks()[ENDPOINT, 77] == 1


async def test_changes_that_belong_together_are_kept_and_agents_have_what_their_orders_filled(opened: Journal) -> None:
    await opened.commit_sending([replace(sending(), request=request(agent="Momentum-1"))])
    record = sent()
    changes: list[Change] = []
    for fact in (echo(), fill(40)):
        changes += apply(record, fact, UP)
    opened.record_all(REF, changes)
    await opened.flush()
    found = opened.find(REF)
    assert found is not None
    assert list(found.changes[1:]) == changes
    assert opened.agent_positions() == {("momentum-1", request().contract.con_id): d(40)}


async def test_what_was_sent_lately_is_told_by_the_machines_clock_oldest_first(state_dir: Path) -> None:
    clock = ManualClock(NOW)
    journal = Journal.open(state_dir, ACCOUNT, clock, threaded=False)
    for number in range(3):
        await journal.commit_sending([sending(f"r{number}", order_id=number + 1)])
        clock.advance(10.0)
    assert [request.order_ref for _, request in journal.sent_since(NOW + timedelta(seconds=10))] == ["r1", "r2"]
    assert journal.sent_since(NOW + timedelta(seconds=20)) == [
        (NOW + timedelta(seconds=20), sending("r2", order_id=3).request)
    ]
    journal.close()
    sql(state_dir, "UPDATE audit SET data = '{}' WHERE ref = 'r2' AND kind = 'sending'")
    with pytest.raises(JournalCorrupt, match="audit trail"):
        JournalReader.of(state_dir, ACCOUNT).sent_since(NOW)


async def test_how_long_a_transaction_took_is_told(state_dir: Path) -> None:
    clock = ManualClock(NOW)
    journal = Journal.open(state_dir, ACCOUNT, clock, threaded=False)
    told: list[float] = []
    synced: list[str] = []
    journal.on_written(told.append)
    journal.on_durable(lambda: synced.append("all"))
    real = journal._file.commit

    def slow() -> None:
        clock.advance(0.25)
        real()

    journal._file.commit = slow  # type: ignore[method-assign]
    journal.put_meta("key", 1)
    assert told == [pytest.approx(0.25)]
    assert synced == []
    await journal.flush()
    assert synced == ["all"]
    journal.close()


async def test_a_closed_journal_leaves_nothing_for_the_programs_end(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[object] = []
    real = atexit.unregister

    def unregister(what: Any) -> None:
        gone.append(what)
        real(what)

    monkeypatch.setattr(atexit, "unregister", unregister)
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    journal.close()
    assert gone == [journal._at_exit]


async def test_a_change_is_committed_with_both_versions(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    put(opened, record, echo())
    await opened.commit_change(changing(record, quantity=d(150)))
    (order,) = opened.load()
    rebuilt, _ = recover(order, UP)
    assert rebuilt.in_doubt
    assert Operation.MODIFY in rebuilt.doubts
    assert [one.quantity for one in rebuilt.versions()] == [d(100), d(150)]
    (line,) = [one for one in opened._reader.audit() if one.kind == "modify_sending"]
    assert '"quantity":"100"' in line.data
    assert '"quantity":"150"' in line.data


async def test_a_reply_is_on_the_disk_before_it_is_written(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    reply = OrderReply(
        order_ids=(5,), operation=Operation.NEW, message_ids=("o163",), text="Are you sure?", confirmed=True
    )
    assert await opened.commit_reply({REF: steps.reply_sending(record, reply, UP)}) is True
    assert [line.kind for line in opened._reader.audit()][-1] == "reply_sending"


async def test_a_resolution_is_on_the_disk_before_it_counts(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    doubt = steps.enter_doubt(record, Operation.NEW, "silence", UP)
    await opened.commit(REF, [*doubt, *steps.resolve(record, OrderState.FILLED, evidence="x", operator="jo", ctx=UP)])
    found = opened.find(REF)
    assert found is not None
    assert found.ended is OrderState.FILLED


async def test_a_revived_order_is_open_again(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    changes: list[Change] = steps.enter_doubt(record, Operation.NEW, "x", UP)
    changes += steps.settle_absent(record, Operation.NEW, "x", UP)
    changes += apply(record, echo(), UP)
    await opened.commit(REF, changes)
    found = opened.find(REF)
    assert found is not None
    assert found.ended is None
    with pytest.raises(OrderValidationError, match=r"sent before \(open\); it is never sent again"):
        await opened.commit_sending([sending(order_id=12)])


async def test_what_the_broker_counts_as_gained_is_kept_with_the_fill(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    put(opened, record, echo(), fill(40), replace(commission(), realized_pnl=d("12.5")))
    await opened.flush()
    assert [(one.commission, one.realized_pnl) for one in opened.fills()] == [(d("1.00"), d("12.5"))]


async def test_the_trail_is_read_in_parts(opened: Journal) -> None:
    for number in range(5):
        opened.audit("kind", {"number": number})
    await opened.flush()
    assert [line.seq for line in opened.audit_lines(0)] == [1, 2, 3, 4, 5]
    assert [line.seq for line in opened.audit_lines(1, limit=2)] == [2, 3]
    assert opened.audit_lines(5) == []


def test_the_times_of_the_writer_are_those_that_are_promised() -> None:
    assert (journal_queue._GATHER, journal_queue._SYNC_AFTER, journal_queue._RETRY_AFTER) == (0.002, 0.25, 0.5)


async def test_the_close_tells_the_head_of_the_trail_once(state_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    journal.audit("kind", {})
    with caplog.at_level(logging.INFO, "ibkr_connector.orders.journal"):
        for _ in range(2):
            journal.close()
            told = [one.getMessage() for one in caplog.records]
            assert told == [f"the audit trail ends line=1 head={journal.head[1]}"]


# --- a ref is sent once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["open", "filled", "never_arrived"])
async def test_a_ref_that_was_sent_is_never_sent_again(opened: Journal, how: str) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    if how == "filled":
        put(opened, record, fill(100))
    elif how == "never_arrived":
        for change in [
            *steps.enter_doubt(record, Operation.NEW, "x", UP),
            *steps.settle_absent(record, Operation.NEW, "x", UP),
        ]:
            opened.record(REF, change)
    with pytest.raises(OrderValidationError, match="never sent again") as caught:
        await opened.commit_sending([sending("FRESH", 12), sending(order_id=13)])
    assert caught.value.context["field"] == "order_ref"
    assert opened.find("FRESH") is None
    assert writable(opened)
    assert opened.verify().ok


async def test_a_ref_given_up_before_the_write_can_be_sent(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    opened.not_sent(REF, "no slot")
    await opened.commit_sending([sending(order_id=12, request=request(quantity=7))])
    (order,) = opened.load()
    record, _ = recover(order, UP)
    assert (order.order_id, order.ended, order.request.quantity) == (12, None, d(7))
    assert (record.state, record.order_id) == (OrderState.IN_DOUBT, 12)
    with pytest.raises(OrderValidationError):
        await opened.commit_sending([sending(order_id=13)])


async def test_of_two_commits_of_one_ref_one_wins(opened: Journal) -> None:
    results = await asyncio.gather(
        *(opened.commit_sending([sending(order_id=n)]) for n in range(1, 9)), return_exceptions=True
    )
    assert [result for result in results if result is True] == [True]
    assert all(isinstance(result, OrderValidationError) for result in results if result is not True)
    assert sql(opened._reader.path.parents[1], "SELECT count(*) FROM orders") == [(1,)]


# --- many at once -----------------------------------------------------------------------------------------------------


async def test_commits_that_wait_together_share_a_transaction(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0
    real = opened._file.commit

    def counted() -> None:
        nonlocal commits
        commits += 1
        real()

    monkeypatch.setattr(opened._file, "commit", counted)
    await asyncio.gather(*(opened.commit_sending([sending(f"R{n}", n)]) for n in range(1, 201)))
    assert commits < 100
    assert len(opened.load()) == 200


def test_fifty_writers_in_threads_with_loops_of_their_own_lose_nothing(opened: Journal) -> None:
    def write(writer: int) -> None:
        async def work() -> None:
            for number in range(4):
                order_id = writer * 4 + number + 1
                await opened.commit_sending([sending(f"R{order_id}", order_id)])
                opened.not_sent(f"R{order_id}", "no slot")

        asyncio.run(work())

    threads = [threading.Thread(target=write, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    opened.close()
    orders = JournalReader(opened._reader.path).load(datetime(2000, 1, 1, tzinfo=UTC))
    assert sorted(order.order_id for order in orders) == list(range(1, 201))
    assert all(order.ended is OrderState.NOT_SENT for order in orders)
    assert opened.high_water(CLIENT_ID) == 200
    assert opened.verify().ok


async def test_a_journal_can_be_read_while_it_is_written(opened: Journal, state_dir: Path) -> None:
    reader = JournalReader.of(state_dir, ACCOUNT)
    for number in range(1, 30):
        await opened.commit_sending([sending(f"R{number}", number)])
        assert len(await asyncio.to_thread(reader.load)) == number
        assert reader.verify().ok


async def test_on_the_callers_thread_it_works_without_one(state_dir: Path) -> None:
    async with journal_in(state_dir, threaded=False) as journal:
        assert THREAD_NAME not in [thread.name for thread in threading.enumerate()]
        await journal.commit_sending([sending()])
        put(journal, sent(), echo(), fill(100))
        assert journal.load()[0].ended is OrderState.FILLED
        with pytest.raises(OrderValidationError):
            await journal.commit_sending([sending()])
    async with journal_in(state_dir) as journal:
        assert journal.load()[0].ended is OrderState.FILLED


# --- the audit trail --------------------------------------------------------------------------------------------------


async def test_every_decision_and_send_has_its_line(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    opened.audit("risk_refused", {"gates": ["hours"]}, ref="REFUSED")
    put(opened, record, echo(), status("Submitted"))
    await opened.commit_change(changing(record, quantity=d(150)))
    for change in steps.cancel_sent(record, UP):
        opened.record(REF, change)
    await opened.flush()
    lines = [(line.kind, line.ref) for line in opened._reader.audit()]
    assert lines == [
        ("decision", REF),
        ("sending", REF),
        ("risk_refused", "REFUSED"),
        ("decision", REF),
        ("modify_sending", REF),
        ("cancel_sent", REF),
    ]
    report = opened.verify()
    assert (report.ok, report.entries, (6, report.head)) == (True, 6, opened.head)
    assert opened._reader.head() == opened.head
    assert [line.seq for line in opened._reader.audit(after=4)] == [5, 6]


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE audit SET data = replace(data, 'DU9', 'DU8') WHERE kind = 'sending'", "changed"),
        ("DELETE FROM audit WHERE seq = 1", "line 1 is missing"),
        ("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)", "lines at the end are missing"),
        ("DELETE FROM audit", "lines at the end are missing"),
        ("INSERT INTO audit SELECT 99, at, kind, ref, data, prev, hash FROM audit WHERE seq = 1", "line 5 is missing"),
        ("UPDATE orders SET ref = 'OTHER' WHERE ref = 'REF1'", "orders without a line for their sending: OTHER"),
    ],
)
async def test_tampering_is_found_also_after_the_journal_was_used_again(
    state_dir: Path, statement: str, word: str
) -> None:
    async with journal_in(state_dir) as journal:
        await journal.commit_sending([sending(), sending("REF2", 12)])
        assert journal.verify().ok
    sql(state_dir, statement)
    async with journal_in(state_dir) as journal:
        report = journal.verify()
        assert not report.ok
        assert word in "; ".join(report.problems)
        if "99" in statement:
            return
        await journal.commit_sending([sending("REF3", 13)])
        assert not journal.verify().ok


async def test_the_chain_goes_on_over_restarts(state_dir: Path) -> None:
    heads = []
    for number in range(1, 4):
        async with journal_in(state_dir) as journal:
            await journal.commit_sending([sending(f"R{number}", number)])
            heads.append(journal.head)
    assert [seq for seq, _ in heads] == [2, 4, 6]
    assert JournalReader.of(state_dir, ACCOUNT).verify().ok


# --- one holder, other versions, damage -------------------------------------------------------------------------------


def test_a_second_opening_is_refused_and_a_failed_one_gives_the_lock_back(state_dir: Path) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock())
    with pytest.raises(JournalInUse):
        Journal.open(state_dir, ACCOUNT, ManualClock())
    other = Journal.open(state_dir, "DU2", ManualClock())
    other.close()
    journal.close()
    sql(state_dir, "PRAGMA user_version = 99")
    for _ in range(2):
        with pytest.raises(JournalFromFuture, match="format 99"):
            Journal.open(state_dir, ACCOUNT, ManualClock())


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("DROP TABLE meta", "no such table"),
        ("DROP TABLE id_marks", "no such table"),
        ("INSERT INTO meta VALUES ('audit.head', '5')", "head of the audit trail"),
        ("INSERT INTO meta VALUES ('audit.head', 'x')", "head of the audit trail"),
        ("INSERT INTO meta VALUES ('user.key', 'x')", "cannot be read"),
    ],
)
def test_a_journal_without_what_must_be_in_it_is_corrupt(state_dir: Path, statement: str, word: str) -> None:
    Journal.open(state_dir, ACCOUNT, ManualClock()).close()
    sql(state_dir, statement)
    for _ in range(2):  # and the lock is given back
        with pytest.raises(JournalCorrupt, match=word):
            Journal.open(state_dir, ACCOUNT, ManualClock())


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE orders SET request = '{}'", "load"),
        ("UPDATE orders SET created_at = 'yesterday'", "load"),
        ("UPDATE orders SET ended = 'sideways'", "load"),
        ("UPDATE events SET kind = 'nonsense'", "load"),
        ("UPDATE fills SET data = '{}'", "fills"),
        ("DROP TABLE fills", "fills"),
    ],
)
async def test_content_that_cannot_be_read_is_corrupt_and_named(state_dir: Path, statement: str, read: str) -> None:
    async with journal_in(state_dir) as journal:
        await journal.commit_sending([sending()])
        put(journal, sent(), fill(1))
        await journal.flush()
        sql(state_dir, statement)
        with pytest.raises(JournalCorrupt):
            getattr(journal, read)(NOW - timedelta(days=1))


def test_a_reader_of_no_journal_says_so_and_makes_none(state_dir: Path) -> None:
    with pytest.raises(JournalError, match="no journal"):
        JournalReader.of(state_dir, ACCOUNT)
    assert not (state_dir / ACCOUNT / FILE_NAME).exists()


# --- trouble ----------------------------------------------------------------------------------------------------------


class Disk:
    """Lets the writing side fail as long as it is told to."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broken = True
        self.attempts = threading.Semaphore(0)
        real = journal._file.begin

        def begin(*, durable: bool) -> None:
            self.attempts.release()
            if self.broken:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
                raise error
            real(durable=durable)

        monkeypatch.setattr(journal._file, "begin", begin)

    def wait_for_attempts(self, count: int) -> None:
        for _ in range(count):
            assert self.attempts.acquire(timeout=10)


async def test_trouble_is_told_once_commits_fail_and_records_wait_for_the_disk(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened.commit_sending([sending()])
    record = sent()
    told: list[JournalError] = []
    opened.on_trouble(told.append)
    disk = Disk(opened, monkeypatch)
    put(opened, record, echo(), fill(40))
    with pytest.raises(JournalUnwritable, match="disk is full"):
        await opened.commit_sending([sending("SECOND", 12)])
    assert not writable(opened)
    put(opened, record, fill(60, "e2.01"))
    await asyncio.to_thread(disk.wait_for_attempts, 4)  # it tries again by itself, without new work
    assert [type(error) for error in told] == [JournalUnwritable]
    disk.broken = False
    await opened.flush()
    assert writable(opened)
    assert opened.find("SECOND") is None
    found = opened.find(REF)
    assert found is not None
    assert recover(found, UP)[0].fills == record.fills
    await opened.commit_sending([sending("SECOND", 12)])
    assert opened.verify().ok


async def test_it_recovers_by_itself_without_any_traffic(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(opened, monkeypatch)
    with pytest.raises(JournalUnwritable):
        await opened.commit_sending([sending()])
    back = threading.Event()
    real = opened._file.commit

    def committed() -> None:
        real()
        back.set()

    monkeypatch.setattr(opened._file, "commit", committed)
    disk.broken = False
    assert await asyncio.to_thread(back.wait, 10)
    await opened.flush()
    assert writable(opened)


async def test_a_raising_listener_for_trouble_does_not_stop_the_journal(
    opened: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def angry(error: JournalError) -> None:
        raise RuntimeError

    opened.on_trouble(angry)
    disk = Disk(opened, monkeypatch)
    with pytest.raises(JournalUnwritable):
        await opened.commit_sending([sending()])
    disk.broken = False
    await opened.commit_sending([sending()])
    assert "the listener for journal trouble raised" in caplog.text


@pytest.mark.parametrize(("count", "lost"), [(3, 0), (4, 1), (5, 2)])
async def test_what_does_not_fit_into_memory_while_the_disk_fails_goes_oldest_first(
    opened: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int, lost: int
) -> None:
    monkeypatch.setattr(journal_queue, "_BACKLOG", 3)
    disk = Disk(opened, monkeypatch)
    for number in range(count):
        opened.put_meta(f"key{number}", number)
    with pytest.raises(JournalUnwritable):
        await opened.flush()
    disk.broken = False
    await opened.flush()
    assert sorted(opened._reader.meta()) == [f"key{number}" for number in range(lost, count)]
    assert ("records in memory had to go" in caplog.text) is (lost > 0)


async def test_what_waited_for_the_disk_is_written_once(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(opened, monkeypatch)
    opened.audit("kind", {})
    with pytest.raises(JournalUnwritable):
        await opened.flush()
    disk.broken = False
    for _ in range(3):
        await opened.flush()
    assert [line.kind for line in opened.audit_lines(0)] == ["kind"]


async def test_who_waits_goes_at_once_and_the_rest_gathers(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_queue, "_GATHER", 30.0)
    begun: list[bool] = []
    real = opened._file.begin

    def begin(*, durable: bool) -> None:
        begun.append(durable)
        real(durable=durable)

    monkeypatch.setattr(opened._file, "begin", begin)
    await asyncio.wait_for(opened.flush(), 10.0)
    assert begun == [True]
    opened.put_meta("key", 1)
    async with asyncio.timeout(10.0):
        while not opened._queue._queue.empty():  # noqa: ASYNC110 - the writer has taken it
            await asyncio.sleep(0.001)
    await asyncio.wait_for(opened.flush(), 10.0)
    assert begun == [True, True]


async def test_an_idle_sync_changes_something_or_it_would_not_wait_for_the_disk(state_dir: Path) -> None:
    async with journal_in(state_dir, threaded=False) as journal:
        journal.put_meta("key", 1)
        assert sql(state_dir, "SELECT value FROM meta WHERE key = 'synced'") == []
        journal._queue._work([])
        assert sql(state_dir, "SELECT value FROM meta WHERE key = 'synced'") == [("1",)]
        journal.put_meta("key", 2)
        assert sql(state_dir, "SELECT value FROM meta WHERE key = 'synced'") == [("1",)]


async def test_changes_of_which_one_cannot_be_written_are_all_left_out(opened: Journal) -> None:
    await opened.commit_sending([sending()])
    good = steps.cancel_sent(sent(), UP)
    broken = replace(good[0], at=None)  # type: ignore[arg-type]
    before = sql(opened._reader.path.parents[1], "SELECT count(*) FROM events")
    with pytest.raises(JournalError, match="could not keep this"):
        await opened.commit(REF, [*good, broken])
    assert sql(opened._reader.path.parents[1], "SELECT count(*) FROM events") == before
    assert opened.verify().ok


async def test_closing_while_the_disk_fails_says_what_is_lost(
    opened: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Disk(opened, monkeypatch)
    opened.put_meta("key", 1)
    opened.close()
    assert "closed with records it could not write records=1" in caplog.text


async def test_a_record_that_cannot_be_written_does_not_hold_up_the_others(
    opened: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    await opened.commit_sending([sending()])
    head = opened.head
    broken = replace(steps.cancel_sent(sent(), UP)[0], at=None)  # type: ignore[arg-type]
    opened.record(REF, broken)
    record = sent()
    put(opened, record, fill(100))
    await opened.flush()
    assert "could not be written and is left out" in caplog.text
    assert writable(opened)
    assert opened.load()[0].ended is OrderState.FILLED
    assert opened.head == head
    with pytest.raises(JournalError, match="could not keep this"):
        await opened.commit(REF, [broken])
    assert opened.verify().ok


async def test_damage_found_while_writing_is_trouble_not_a_bad_record(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(opened._file, "put_sending", damaged)
        with pytest.raises(JournalCorrupt):
            await opened.commit_sending([sending()])
        assert not writable(opened)
    await opened.commit_sending([sending()])


async def test_a_disk_that_fails_in_the_middle_of_a_transaction_takes_nothing_else_along(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        opened._file._connection.execute("ROLLBACK")  # what SQLite does by itself when it cannot go on
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE"
        raise error

    opened.put_meta("before", 1)
    with monkeypatch.context() as patch:
        patch.setattr(opened._file, "put_sending", fails)
        with pytest.raises(JournalUnwritable, match="disk I/O error"):
            await opened.commit_sending([sending()])
    await opened.flush()
    assert opened._reader.meta() == {"before": 1}
    assert opened.find(REF) is None


# --- waiting and ending -----------------------------------------------------------------------------------------------


async def test_a_caller_that_left_before_the_commit_was_never_committed(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = threading.Event()
    entered = threading.Event()
    real = opened._file.begin

    def slow(*, durable: bool) -> None:
        entered.set()
        assert hold.wait(10)
        real(durable=durable)

    with monkeypatch.context() as patch:
        patch.setattr(opened._file, "begin", slow)
        opened.put_meta("busy", 1)
        assert await asyncio.to_thread(entered.wait, 10)
        task = asyncio.create_task(opened.commit_sending([sending()]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        hold.set()
    await opened.flush()
    assert opened.find(REF) is None


def test_a_loop_that_is_gone_when_the_commit_is_done_harms_nobody(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = threading.Event()
    real = opened._file.begin

    def slow(*, durable: bool) -> None:
        assert hold.wait(10)
        real(durable=durable)

    loop = asyncio.new_event_loop()
    with monkeypatch.context() as patch:
        patch.setattr(opened._file, "begin", slow)
        work = opened.commit_sending([sending()])
        task = loop.create_task(work)
        loop.call_soon(loop.stop)
        loop.run_forever()
        opened.not_sent(REF, "the loop is gone")
        # The loop goes away with a task that waits: what asyncio says about that is not our subject.
        loop.set_exception_handler(lambda *_: None)
        loop.close()
        hold.set()
        asyncio.run(opened.flush())
    with contextlib.suppress(RuntimeError):
        task.get_coro().close()
    del task, work
    gc.collect()
    found = opened.find(REF)
    assert found is not None
    assert found.ended is OrderState.NOT_SENT


async def test_after_the_close_commits_are_refused_and_records_are_reported(
    state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock())
    journal.close()
    journal.close()
    assert not writable(journal)
    with pytest.raises(JournalUnwritable, match="closed"):
        await journal.commit_sending([sending()])
    journal.put_meta("key", 1)
    assert "after the journal was closed" in caplog.text
    Journal.open(state_dir, ACCOUNT, ManualClock()).close()


def test_nothing_can_come_behind_the_end_mark(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who queued a commit there would wait for ever: what is handed over and the end mark share one lock."""
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW), threaded=False)
    writer, locked = journal._queue, list[bool]()
    work = writer._work

    class Marks:
        def put(self, _: None) -> None:
            locked.append(writer._closing.locked())

    def watched(items: list[journal_queue.Item]) -> None:
        locked.append(writer._closing.locked())
        work(items)

    monkeypatch.setattr(writer, "_work", watched)
    monkeypatch.setattr(writer, "_queue", Marks())
    journal.audit("kind", {})
    assert locked == [True]
    monkeypatch.setattr(writer, "_work", work)
    journal.close()
    assert locked == [True, True]


async def test_the_close_writes_what_is_queued(state_dir: Path) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    await journal.commit_sending([sending()])
    for number in range(500):
        journal.put_meta(f"key{number}", number)
    journal.close()
    assert len(JournalReader.of(state_dir, ACCOUNT).meta()) == 500


def test_a_disk_that_hangs_does_not_hang_the_close(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW))
    hold = threading.Event()
    real = journal._file.begin

    def slow(*, durable: bool) -> None:
        assert hold.wait(20)
        real(durable=durable)

    monkeypatch.setattr(journal._file, "begin", slow)
    journal.put_meta("key", 1)
    with caplog.at_level(logging.INFO, "ibkr_connector.orders.journal"):
        journal.close(timeout=0.05)
    assert "did not finish writing" in caplog.text
    assert "the audit trail ends" not in caplog.text
    hold.set()
    assert journal._queue.thread is not None
    journal._queue.thread.join(10)
    assert not journal._queue.thread.is_alive()


async def test_closing_on_its_own_thread_does_not_wait_for_itself(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()

    def close(error: JournalError) -> None:
        opened.close()
        closed.set()

    opened.on_trouble(close)
    Disk(opened, monkeypatch)
    opened.put_meta("key", 1)
    assert await asyncio.to_thread(closed.wait, 10)
    assert opened._queue.thread is not None
    await asyncio.to_thread(opened._queue.thread.join, 10)
    assert not opened._queue.thread.is_alive()


async def test_what_was_written_behind_is_synced_and_the_log_is_shortened_when_nothing_happens(
    opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_queue, "_CHECKPOINT_AFTER", 3)
    shortened = threading.Event()
    real = opened._file.checkpoint

    def checkpoint() -> None:
        real()
        shortened.set()

    monkeypatch.setattr(opened._file, "checkpoint", checkpoint)
    durable: list[bool] = []
    begin = opened._file.begin

    def watched(**values: bool) -> None:
        durable.append(values["durable"])
        begin(**values)

    monkeypatch.setattr(opened._file, "begin", watched)
    for number in range(3):
        opened.put_meta("key", number)
        await opened.flush()
    opened.put_meta("key", 9)
    assert await asyncio.to_thread(shortened.wait, 10)
    assert durable[-2:] == [False, True]


async def test_a_failed_checkpoint_is_no_trouble(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_queue, "_CHECKPOINT_AFTER", 1)
    tried = threading.Event()

    def busy() -> None:
        tried.set()
        raise sqlite3.OperationalError

    monkeypatch.setattr(opened._file, "checkpoint", busy)
    opened.put_meta("key", 9)
    assert await asyncio.to_thread(tried.wait, 10)
    await opened.flush()
    assert writable(opened)


def test_a_journal_nobody_holds_any_more_is_not_kept_for_the_programs_end(state_dir: Path) -> None:
    journal = Journal.open(state_dir, ACCOUNT, ManualClock(NOW), threaded=False)
    at_exit = journal._at_exit
    at_exit()
    assert not writable(journal)
    del journal
    gc.collect()
    at_exit()


async def test_the_writer_is_a_daemon_with_a_name(opened: Journal) -> None:
    (thread,) = [one for one in threading.enumerate() if one.name == THREAD_NAME]
    assert thread.daemon


async def test_state_files_are_private(opened: Journal, state_dir: Path) -> None:
    await opened.commit_sending([sending()])
    assert {one.name for one in (state_dir / ACCOUNT).iterdir()} >= {FILE_NAME, "journal.lock"}
    assert {one.stat().st_mode & 0o077 for one in (state_dir / ACCOUNT).iterdir()} == {0}


def test_an_entry_is_a_value() -> None:
    assert isinstance(sending(), SendingEntry)
    assert sending("A") == replace(sending("B"), request=request(order_ref="A"))
    logging.getLogger("ibkr_connector.orders.journal").debug("no handler is needed")
