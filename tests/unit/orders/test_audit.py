"""The audit trail's chain: what it finds, and what it needs the noted head for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.orders.audit import GENESIS, link, verify_chain
from ibkr_connector.orders.entries import AuditEntry


def chain(count: int) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    prev = GENESIS
    for seq in range(1, count + 1):
        digest = link(seq, f"t{seq}", "kind", f"ref{seq}", "{}", prev)
        entries.append(
            AuditEntry(seq=seq, at=f"t{seq}", kind="kind", ref=f"ref{seq}", data="{}", prev=prev, hash=digest)
        )
        prev = digest
    return entries


def test_an_untouched_chain_verifies_and_tells_its_head() -> None:
    entries = chain(5)
    report = verify_chain(entries, expected_head=entries[-1].hash)
    assert (report.ok, report.entries, report.head, report.problems) == (True, 5, entries[-1].hash, ())
    assert report.to_dict() == {"ok": True, "entries": 5, "head": entries[-1].hash, "problems": []}
    assert verify_chain([], expected_head=None).head == GENESIS


@given(count=st.integers(1, 6), data=st.data(), field=st.sampled_from(["at", "kind", "ref", "data", "prev", "hash"]))
def test_a_changed_line_is_found(count: int, data: st.DataObject, field: str) -> None:
    entries = chain(count)
    number = data.draw(st.integers(0, count - 1))
    forged: dict[str, Any] = {field: "0" * 64 if field in ("prev", "hash") else "forged"}
    entries[number] = replace(entries[number], **forged)
    if entries == chain(count):  # the first line's prev is zeros
        return
    report = verify_chain(entries, expected_head=chain(count)[-1].hash)
    assert not report.ok
    assert report.entries <= number + 1


@given(count=st.integers(2, 6), data=st.data())
def test_a_dropped_or_moved_line_is_found(count: int, data: st.DataObject) -> None:
    entries = chain(count)
    number = data.draw(st.integers(0, count - 1))
    taken = entries.pop(number)
    assert not verify_chain(entries, expected_head=chain(count)[-1].hash).ok
    entries.insert((number + 1) % count, taken)
    assert not verify_chain(entries, expected_head=chain(count)[-1].hash).ok


def test_a_line_rewritten_with_a_fitting_hash_breaks_the_next_one() -> None:
    entries = chain(3)
    digest = link(2, "t2", "kind", "other", "{}", entries[0].hash)
    entries[1] = replace(entries[1], ref="other", hash=digest)
    report = verify_chain(entries, expected_head=entries[-1].hash)
    assert report.problems == ("line 3 does not follow the line before it",)


def test_lines_cut_off_at_the_end_are_found_by_the_noted_head() -> None:
    entries = chain(3)
    report = verify_chain(entries[:2], expected_head=entries[-1].hash)
    assert (report.ok, report.entries) == (False, 2)
    assert "lines at the end are missing" in report.problems[0]
    assert verify_chain(entries[:2], expected_head=None).ok


def test_fields_cannot_bleed_into_each_other() -> None:
    assert link(1, "ab", "c", "", "", GENESIS) != link(1, "a", "bc", "", "", GENESIS)


@pytest.mark.parametrize("seq", [0, 3])
def test_a_missing_line_is_named(seq: int) -> None:
    entries = [replace(entry, seq=seq) if entry.seq == 2 else entry for entry in chain(2)]
    assert "line 2 is missing" in verify_chain(entries, expected_head=None).problems[0]


def test_a_line_reads_as_plain_values() -> None:
    (entry,) = chain(1)
    assert entry.to_dict() == {
        "seq": 1,
        "at": "t1",
        "broker_at": None,
        "kind": "kind",
        "order_ref": "ref1",
        "data": "{}",
        "prev": GENESIS,
        "hash": entry.hash,
    }
