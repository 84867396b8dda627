"""The truth log: what is written, who is woken, and that the file is private and complete."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.paper.exchange.types import OrderStatus
from ibkr_connector.paper.truth import EPOCH, TruthLog

NOON = datetime(2026, 3, 12, 16, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return NOON

    def wire(self) -> float:
        return 12.5


def test_entries_are_numbered_and_stamped_with_both_times() -> None:
    log = TruthLog(clock=Clock())
    first = log.record("fill", price=Decimal("1.5"))
    second = log.record("fill", at=EPOCH)
    assert (first.seq, first.at, first.wire, first.kind) == (1, NOON, 12.5, "fill")
    assert (second.seq, second.at) == (2, EPOCH)
    assert list(log.entries) == [first, second]


def test_without_a_clock_entries_have_no_time_until_one_is_given() -> None:
    log = TruthLog()
    assert (log.record("a").at, log.entries[0].wire) == (EPOCH, 0.0)
    log.use_clock(Clock())
    assert log.record("b").at == NOON


def test_entries_are_found_by_kind_and_fields() -> None:
    log = TruthLog()
    log.record("fill", order_id=1, client_id=1)
    log.record("fill", order_id=2, client_id=1)
    log.record("status", order_id=1)
    assert [e.seq for e in log.of("fill")] == [1, 2]
    assert [e.seq for e in log.of("fill", order_id=2, client_id=1)] == [2]
    assert log.of("fill", order_id=3) == log.of("fill", venue=None) == []


def test_the_file_holds_every_entry_as_soon_as_it_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with TruthLog(path, clock=Clock()) as log:
        log.record("fill", price=Decimal("1E+2"), status=OrderStatus.FILLED, until=NOON, day=NOON.date(), who={"a"})
        line = json.loads(path.read_text())
        assert line == {
            "seq": 1,
            "at": "2026-03-12T16:00:00+00:00",
            "wire": 12.5,
            "kind": "fill",
            "price": "100",
            "status": "Filled",
            "until": "2026-03-12T16:00:00+00:00",
            "day": "2026-03-12",
            "who": "{'a'}",
        }
        log.record("fill", text="line\nbreak")
    assert len(path.read_text().splitlines()) == 2
    log.close()
    log.record("after", close=True)
    assert len(log.entries) == 3


@pytest.mark.skipif(os.name != "posix", reason="file modes and links of POSIX systems")
def test_the_file_is_private_and_links_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text('{"seq":1}\n')
    path.chmod(0o644)
    with TruthLog(path) as log:
        log.record("connect")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().splitlines()) == 2, "an older log is continued, never lost"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError):
        TruthLog(link)


async def test_waiting_finds_what_is_already_there_and_what_comes() -> None:
    log = TruthLog()
    log.record("fill", order_id=1)
    assert (await log.wait_for("fill", timeout=5, order_id=1)).seq == 1
    waiting = asyncio.create_task(log.wait_for("fill", timeout=5, order_id=2))
    await asyncio.sleep(0)
    log.record("fill", order_id=3)
    log.record("status", order_id=2)
    assert not waiting.done()
    log.record("fill", order_id=2)
    assert (await waiting).seq == 4


async def test_waiting_since_an_entry_ignores_it_and_everything_before() -> None:
    log = TruthLog()
    last = log.record("fill", order_id=1)
    waiting = asyncio.create_task(log.wait_for("fill", timeout=5, since=last.seq, order_id=1))
    await asyncio.sleep(0)
    assert not waiting.done()
    log.record("fill", order_id=1)
    assert (await waiting).seq == 2


async def test_a_wait_that_is_not_answered_says_what_it_waited_for() -> None:
    log = TruthLog()
    log.record("status")
    with pytest.raises(TimeoutError, match=r"no 'fill' entry with \{'order_id': 7\} came within 0.01 s.*1 entries"):
        await log.wait_for("fill", timeout=0.01, order_id=7)
    log.record("fill", order_id=7)
    assert (await log.wait_for("fill", timeout=5)).seq == 2


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    log = TruthLog()
    waiting = asyncio.create_task(log.wait_for("fill", timeout=5))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert log._waiters == {}
    log.record("fill")


async def test_several_waiters_are_all_woken() -> None:
    log = TruthLog()
    waits = [asyncio.create_task(log.wait_for("fill", timeout=5)) for _ in range(3)]
    await asyncio.sleep(0)
    log.record("fill")
    assert [entry.seq for entry in await asyncio.gather(*waits)] == [1, 1, 1]


async def test_an_entry_recorded_on_another_thread_wakes_the_waiter() -> None:
    log = TruthLog()
    waiting = asyncio.create_task(log.wait_for("fill", timeout=5))
    await asyncio.sleep(0)
    thread = threading.Thread(target=log.record, args=("fill",))
    thread.start()
    assert (await waiting).seq == 1
    thread.join()


def test_recording_from_many_threads_numbers_every_entry_once(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with TruthLog(path) as log:
        threads = [threading.Thread(target=lambda: [log.record("a") for _ in range(200)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [e.seq for e in log.entries] == list(range(1, 801))
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == list(range(1, 801))
    assert "800 entries" in repr(log)
