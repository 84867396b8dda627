"""Two clocks in the audit trail: this machine's on every line, and the broker's beside it, never in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.orders.changes import CancelSent, encode_change
from ibkr_connector.orders.entries import AuditEntry
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.journal_file import JournalFile
from ibkr_connector.orders.journal_read import FILE_NAME, JournalReader
from unit.orders.kit import ACCOUNT, NOW, REF, changing, sending, sent

MACHINE = NOW + timedelta(days=300)
"""A gateway that replays an earlier day: its time is not ours."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path, ACCOUNT, ManualClock(MACHINE), threaded=False)
    yield opened
    opened.close()


def lines(tmp_path: Path) -> list[AuditEntry]:
    return list(JournalReader.of(tmp_path, ACCOUNT).audit())


async def test_every_line_has_this_machines_time_and_the_brokers_beside_it(journal: Journal, tmp_path: Path) -> None:
    await journal.commit_sending([sending()])
    await journal.commit_change(changing(sent()))
    journal.record(REF, CancelSent(at=NOW + timedelta(seconds=5), epoch=1))
    journal.record_all(REF, [CancelSent(at=NOW + timedelta(seconds=6), epoch=1)])
    await journal.commit(REF, [CancelSent(at=NOW + timedelta(seconds=7), epoch=1)])
    journal.audit("trading_state", {"at": "a word of its own"})
    found = lines(tmp_path)
    assert {line.at for line in found} == {MACHINE.isoformat()}
    later = [(NOW + timedelta(seconds=seconds)).isoformat() for seconds in (5, 6, 7)]
    assert [(line.kind, line.broker_at) for line in found] == [
        ("decision", None),
        ("sending", NOW.isoformat()),
        ("decision", None),
        ("modify_sending", NOW.isoformat()),
        *[("cancel_sent", at) for at in later],
        ("trading_state", None),
    ]
    assert [line.to_dict()["broker_at"] for line in found] == [line.broker_at for line in found]
    assert all(line.has_machine_time for line in found)
    assert [change.at for change in journal.load()[0].changes][-1] == NOW + timedelta(seconds=7)
    assert JournalReader.of(tmp_path, ACCOUNT).verify().ok


def old_line(tmp_path: Path) -> None:
    """What programs before this rule wrote of a change: the broker's time in the column of the machine's."""
    (tmp_path / ACCOUNT).mkdir(parents=True)
    file = JournalFile(tmp_path / ACCOUNT / FILE_NAME)
    change = CancelSent(at=NOW, epoch=1)
    file.begin(durable=True)
    file.put_audit("cancel_sent", "old.1", encode_change(change), change.at)
    file.put_audit("sending", "old.1", '{"request":"{}"}', MACHINE)
    file.commit()
    file.close()


async def test_a_trail_of_an_earlier_program_goes_on_unbroken_and_its_lines_say_whose_time_they_have(
    tmp_path: Path,
) -> None:
    old_line(tmp_path)
    head = JournalReader.of(tmp_path, ACCOUNT).verify().head
    journal = Journal.open(tmp_path, ACCOUNT, ManualClock(MACHINE), threaded=False)
    journal.record(REF, CancelSent(at=NOW, epoch=1))
    journal.close()
    assert JournalReader.of(tmp_path, ACCOUNT).verify(head).ok
    old, sent, new = lines(tmp_path)
    assert (old.at, old.broker_at, old.has_machine_time) == (NOW.isoformat(), NOW.isoformat(), False)
    assert (sent.broker_at, sent.has_machine_time) == (None, True)
    assert (new.at, new.broker_at, new.has_machine_time) == (MACHINE.isoformat(), NOW.isoformat(), True)
    assert json.loads(new.data)["epoch"] == 1


@pytest.mark.parametrize("data", ["no JSON", "[1]", '{"broker_at": 5}', "{}"])
def test_a_line_whose_data_was_changed_can_still_be_shown(data: str) -> None:
    line = AuditEntry(seq=1, at="t", kind="cancel_sent", ref=REF, data=data, prev="p", hash="h")
    assert (line.broker_at, line.to_dict()["at"]) == (None, "t")
