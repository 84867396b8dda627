"""What a run over the Web API left behind, under the names the judge knows: one rule for both backends.

On the wire there are no numbers of ours. An order that was written is found by its cOID (our ref) among the numbers
that were committed before; a change and a cancel by the permId, which the truth names. In the truth orders of the Web
API have the exchange's own numbers; they get the connector's. A request that the gateway got twice although it was
written once (`duplicate_request`, counted by its `http` entries) is one order; what was written twice stays two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ibkr_connector.paper.exchange.types import WEB_CLIENT_ID
from ibkr_connector.paper.truth import TruthEntry, TruthLog
from proof.evidence import Evidence
from proof.history import Note

_SECOND = 1_000_000
"""Numbers of orders that were written a second time begin here; those of orders nobody committed are negative."""
_DROPPED = "not_ours_to_judge"
"""Entries that say nothing about an order of ours, and lack the fields of those that do."""


class Names:
    """Which number of ours an order had at a moment."""

    def __init__(self, notes: list[Note]) -> None:
        self._committed: dict[str, list[tuple[float, int]]] = {}
        self._unknown: dict[str, int] = {}
        for note in notes:
            if note.kind == "committing":
                for ref, number in note.data["ids"].items():
                    self._committed.setdefault(ref, []).append((note.at, int(number)))

    def of(self, ref: str, at: float) -> int:
        """The number that was committed last before `at`; a negative one where none was."""
        found = [number for when, number in self._committed.get(ref, ()) if when <= at]
        if found:
            return found[-1]
        return self._unknown.setdefault(ref, -1 - len(self._unknown))


def translate(evidence: Evidence) -> None:
    """Give everything the judge's names. Only what is written over the Web API, and what the exchange made of it."""
    names = Names(evidence.history.notes)
    client_id = evidence.schedule.client_id
    entries = list(evidence.truth.entries) if evidence.truth is not None else []
    refs = {
        int(str(entry.fields["perm_id"])): str(entry.fields["order_ref"])
        for entry in entries
        if entry.fields.get("client_id") == WEB_CLIENT_ID
        and entry.fields.get("perm_id")
        and "order_ref" in entry.fields
    }
    notes: list[Note] = []
    for note in evidence.history.notes:
        notes += _wire(note, names, refs, client_id) if note.kind == "http" else [note]
    evidence.history.notes[:] = notes
    if evidence.truth is not None:
        evidence.truth = _truth(entries, names, client_id)


def _wire(note: Note, names: Names, refs: Mapping[int, str], client_id: int) -> list[Note]:
    data = note.data
    message = data["message"]

    def wire(name: str, number: int = 0) -> Note:
        return Note(note.at, "wire", {"message": name, "order_id": number, "client_id": client_id})

    if message == "place":
        return [note, *(wire("place", names.of(ref, note.at)) for ref in data["refs"])]
    if message in {"modify", "cancel"}:
        ref = refs.get(int(data["perm_id"]), f"permId {data['perm_id']}")
        return [note, wire("place" if message == "modify" else "cancel", names.of(ref, note.at))]
    return [note, wire("global_cancel")] if message == "global_cancel" else [note]


def _truth(entries: list[TruthEntry], names: Names, client_id: int) -> TruthLog:
    truth = TruthLog()
    numbers: dict[int, int] = {}
    first: dict[str, int] = {}
    written: Counter[str] = Counter()
    received: Counter[str] = Counter()
    for entry in entries:
        kind, fields = entry.kind, dict(entry.fields)
        if kind == "http" and fields["request"] == "place_order":
            written.update(str(ref) for ref in _listed(fields["order_refs"]))
        if kind in {"fault", "fault_hit"}:
            pass
        elif fields.get("client_id") == WEB_CLIENT_ID and "order_id" in fields:
            theirs = int(str(fields["order_id"]))
            if kind == "recv_place":
                ref = str(fields["order_ref"])
                received[ref] += 1
                ours = names.of(ref, entry.wire)
                if received[ref] > max(1, written[ref]):
                    kind, ours = _DROPPED, first[ref]  # the gateway got it twice, and it was written once
                elif first.get(ref) == ours:
                    ours = _SECOND + theirs
                numbers[theirs] = first[ref] = ours
                fields["parent_id"] = _parent(ref, names, entry.wire)
                fields["asked"] = True
            fields["client_id"], fields["order_id"] = client_id, numbers.get(theirs, _SECOND + theirs)
        elif kind in {"recv_place", "recv_modify", "recv_cancel", "rejected"} and "order_id" not in fields:
            kind = _DROPPED
        elif kind in {"declined", "question_lost"}:
            fields |= {
                "client_id": client_id,
                "numbers": [first[ref] for ref in _listed(fields["order_refs"]) if ref in first],
            }
        truth._entries.append(TruthEntry(entry.seq, entry.at, entry.wire, kind, fields))
    return truth


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _parent(ref: str, names: Names, at: float) -> int:
    """The entry of a bracket's exit, by the names that brackets give."""
    base, dot, exit_ = ref.rpartition(".")
    return names.of(base, at) if dot and exit_ in {"tp", "sl"} else 0
