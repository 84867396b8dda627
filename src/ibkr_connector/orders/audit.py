"""The audit trail's hash chain: a line that is changed, dropped, inserted or moved breaks every line after it.

The chain proves order and completeness against accidents and against edits by someone who does not recompute it; the
head hash, noted elsewhere, is what makes a recomputed chain visible: the log tells it at start and stop (INFO), the
commands that trade on stderr, the connection status at any moment, and `audit_file` with every line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from ibkr_connector.orders.entries import AuditEntry, AuditReport

GENESIS = "0" * 64
"""What the first line has before it."""


def link(seq: int, at: str, kind: str, ref: str, data: str, prev: str) -> str:
    """The hash of one line: SHA-256 over all its fields and the hash before it (as a JSON list, so none can bleed)."""
    return hashlib.sha256(msgspec.json.encode([seq, at, kind, ref, data, prev])).hexdigest()


def verify_chain(
    entries: Iterable[AuditEntry], *, expected_head: str | None, known_head: str | None = None
) -> AuditReport:
    """Walk the chain from its first line. `expected_head` is the head noted beside it (None = none was noted).

    `known_head` is one that was noted elsewhere, at any time: the chain must have gone through it. It alone finds a
    trail that was cut or written anew with everything that belongs to it.

    Stops at the first break: what follows a break proves nothing.
    """
    prev, good = GENESIS, 0
    met = known_head in (None, GENESIS)
    for entry in entries:
        problem = _problem(entry, good + 1, prev)
        if problem:
            return AuditReport(ok=False, entries=good, head=prev, problems=(problem,))
        prev, good = entry.hash, good + 1
        met = met or prev == known_head
    if expected_head is not None and expected_head != prev:
        problem = f"the trail ends after line {good}, but a later head was noted: lines at the end are missing"
        return AuditReport(ok=False, entries=good, head=prev, problems=(problem,))
    if not met:
        problem = (
            f"none of the {good} lines has the known head {known_head}: the trail was cut before it, or written anew"
        )
        return AuditReport(ok=False, entries=good, head=prev, problems=(problem,))
    return AuditReport(ok=True, entries=good, head=prev)


def _problem(entry: AuditEntry, expected_seq: int, prev: str) -> str:
    if entry.seq != expected_seq:
        return f"line {expected_seq} is missing (line {entry.seq} follows)"
    if entry.prev != prev:
        return f"line {entry.seq} does not follow the line before it"
    if link(entry.seq, entry.at, entry.kind, entry.ref, entry.data, entry.prev) != entry.hash:
        return f"line {entry.seq} ({entry.kind} {entry.ref}, {entry.at}) was changed"
    return ""
