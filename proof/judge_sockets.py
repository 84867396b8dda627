"""What only several processes can show: one journal has one holder at a time."""

from __future__ import annotations

from proof.evidence import Evidence
from proof.verdict import Verdict


def one_holder(evidence: Evidence, verdict: Verdict) -> None:
    """INV-01: no second program gets the journal while a connected one has it: with it, it could send a ref again."""
    held = False
    for note in evidence.history.of("ready", "crashed", "stranger"):
        if note.kind != "stranger":
            held = note.kind == "ready"
        elif note.data["what"] == "refused":
            verdict.check("INV-01", None)
        elif note.data["what"] == "holds":
            verdict.check("INV-01", "another program opened the journal of a connected one" if held else None)
