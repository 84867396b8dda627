"""Schedules: the same seed gives the same one, everything in it makes sense, and it survives its JSON."""

from __future__ import annotations

import logging

import pytest

from ibkr_connector.paper.faults.catalogue import KINDS, TWS
from proof.schedule import VERSION, Schedule, from_json, make_schedule, to_json
from proof.stepped import run_schedule
from proof.tally import tally


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("ibkr_connector").setLevel(logging.CRITICAL + 1)


def made(count: int) -> list[Schedule]:
    return [make_schedule(seed) for seed in range(count)]


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert made(20) == made(20)
    assert make_schedule(1) != make_schedule(2)


def test_a_schedule_survives_its_json() -> None:
    for schedule in made(200):
        assert from_json(to_json(schedule)) == schedule


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="no schedule"):
        from_json(b'{"seed": 1}')
    with pytest.raises(ValueError, match="version 99"):
        from_json(to_json(make_schedule(1)).replace(b'"version":%d' % VERSION, b'"version":99'))


def test_every_plan_can_be_armed_and_every_kind_of_fault_comes() -> None:
    kinds = {fault.kind for schedule in made(400) for fault in schedule.plan()}
    assert kinds == {name for name, kind in KINDS.items() if TWS in kind.fronts}
    for seed in range(100):
        assert make_schedule(seed, engine="sockets").plan() is not None


def test_one_agent_and_fifty_come() -> None:
    counts = {len(schedule.agents) for schedule in made(1_500)}
    assert min(counts) == 1
    assert max(counts) > 40


@pytest.mark.parametrize("seed", [3, 9, 21])
def test_a_run_can_be_replayed_exactly(seed: int) -> None:
    def once() -> tuple[list[object], list[object], list[str]]:
        evidence = run_schedule(make_schedule(seed))
        assert evidence.truth is not None
        truth: list[object] = [entry.to_dict() for entry in evidence.truth.entries]
        return truth, [*evidence.history.notes], [repr(line) for line in evidence.audit]

    first, second = once(), once()
    assert len(first[0]) > 5
    assert first == second


def test_the_connector_passes_a_few_schedules() -> None:
    for seed in range(12):
        assert tally(run_schedule(make_schedule(seed))).violations == []
