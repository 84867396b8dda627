"""The minimums of the proof: a run in which a fault hit nothing must not pass for one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ibkr_connector.paper.faults.catalogue import KINDS, TWS
from proof import report
from proof.tally import Tally
from proof.verdict import INVARIANTS

RECORD = Path(__file__).parents[3] / "docs" / "RELIABILITY.md"
WHOLE, PAIRS = report.needed_hits()
KINDS_HERE = sorted(kind for kind, one in KINDS.items() if TWS in one.fronts)


def good(schedules: int) -> Tally:
    """A run that met everything."""
    phases = ("new", "sent", "acknowledged", "working", "modifying", "cancelling", "filled")
    return Tally(
        schedules=schedules,
        asked=schedules,
        accepted=schedules,
        doubts=schedules,
        settled=schedules,
        races=schedules,
        crashes=2 * schedules,
        told=dict.fromkeys(INVARIANTS, schedules),
        hits={kind: dict.fromkeys({*phases, *PAIRS.get(kind, ())}, 1) for kind in {*KINDS_HERE, *PAIRS}},
    )


@pytest.mark.parametrize("schedules", [200, 2_000, WHOLE])
def test_a_run_that_met_everything_misses_nothing(schedules: int) -> None:
    assert report.shortfalls(good(schedules), first=0) == []


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_ci_s_seeds_must_hit_with_every_kind_of_fault(kind: str) -> None:
    run = good(report.QUICK)
    run.hits[kind] = {}
    assert report.shortfalls(run, first=0) == [f"fault {kind} never hit"]
    # Of other seeds, and of real time, nobody knows whether so few of them hit with everything.
    assert report.shortfalls(run, first=5_000) == []
    assert report.shortfalls(run) == []


@pytest.mark.parametrize(("kind", "phase"), [(kind, phase) for kind, phases in PAIRS.items() for phase in phases])
def test_a_whole_run_must_hit_orders_in_every_declared_phase_with_each_fault(kind: str, phase: str) -> None:
    run = good(WHOLE)
    del run.hits[kind][phase]
    run.hits[kind]["no order"] = 1
    missed = f"fault {kind} never hit: {phase} (proof/needed_hits.toml)"
    assert report.shortfalls(run, first=70_000) == [missed]
    assert f"MINIMUM MISSED  {missed}" in report.text(run, 1.0, first=70_000)
    run.schedules = WHOLE - 1
    assert report.shortfalls(run, first=70_000) == []


def test_the_declared_pairs_are_those_the_recorded_run_hit_twenty_times() -> None:
    table = RECORD.read_text("utf-8").partition("fault x order phase (how often it really hit)\n")[2]
    recorded: dict[str, list[str]] = {}
    for line in table.partition("\n\n")[0].splitlines():
        kind, phases = line.split(maxsplit=1)
        found = re.findall(r"([a-z_ ]+?) (\d+)(?:, |$)", phases)
        recorded[kind] = [name for name, count in found if int(count) >= 20 and name != "no order"]
    assert recorded == PAIRS
    assert set(PAIRS) >= set(KINDS_HERE)


def test_a_list_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "needed_hits.toml"
    path.write_text("version = 2\nschedules = 1\n[pairs]\n", "utf-8")
    with pytest.raises(ValueError, match="version 2"):
        report.needed_hits(path)
