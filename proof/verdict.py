"""What the judge says: how often each invariant was put to the test, and what broke it."""

from __future__ import annotations

from dataclasses import dataclass, field

INVARIANTS = {
    "INV-01": "a new-order message is written at most once per ref",
    "INV-02": "a fork is detected, and a cancel reaches all of it",
    "INV-03": "every intent ends, or is listed as in doubt",
    "INV-04": "fills in the journal equal the broker's",
    "INV-05": "position and orders in flight stay within limits",
    "INV-06": "nothing that adds risk is written after a kill, a trip, a lost link",
    "INV-07": "no live account is touched",
    "INV-08": "order ids rise",
    "INV-09": "no pacing rule is broken",
    "INV-10": "no filled parent lacks its stop without an incident",
    "INV-11": "no call outlives its deadline, nothing hangs or leaks",
    "INV-12": "a disk failure refuses what adds risk, and only that",
    "INV-13": "no secret is told",
    "INV-14": "state after a crash equals state without it",
    "INV-15": "the audit trail holds every decision and send",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that broke."""

    invariant: str
    text: str


@dataclass(slots=True)
class Verdict:
    """Of one run."""

    violations: list[Violation] = field(default_factory=list)
    tested: dict[str, int] = field(default_factory=lambda: dict.fromkeys(INVARIANTS, 0))
    """Checks of each invariant that could have failed. 0: the run says nothing about it (vacuous)."""

    def check(self, invariant: str, broken: str | None) -> None:
        """One check that could fail; `broken` says how it did."""
        self.tested[invariant] += 1
        if broken:
            self.violations.append(Violation(invariant, broken))
