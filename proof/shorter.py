"""Schedules for real time: the same agents, faults and crashes, with less waiting between them."""

from __future__ import annotations

import msgspec

from proof.schedule import Agent, Crash, Schedule, Step

_MOST = {"wait": 10.0, "filled": 10.0}
_PACE = 0.6
"""Times of the plan are brought nearer to its beginning by this factor."""
_BRIEFER = 0.4
"""What lasts lasts so much shorter."""
_SILENT_S = 12.0
"""A silent link stays long enough to be noticed."""


def shorter(schedule: Schedule) -> Schedule:
    """The schedule, for an engine in which every second is one."""
    return msgspec.structs.replace(
        schedule,
        agents=tuple(_agent(agent) for agent in schedule.agents),
        faults=tuple(_fault(fault) for fault in schedule.faults),
        crashes=tuple(_crash(crash) for crash in schedule.crashes),
    )


def _agent(agent: Agent) -> Agent:
    if agent.name == "saver":
        return agent  # it has a moment to meet
    steps = tuple(_step(step) for step in agent.steps)
    return msgspec.structs.replace(agent, start=round(agent.start * _PACE, 3), steps=steps)


def _step(step: Step) -> Step:
    return msgspec.structs.replace(step, seconds=min(step.seconds, _MOST.get(step.do, step.seconds)))


def _fault(fault: dict[str, str | int | float | None]) -> dict[str, str | int | float | None]:
    found = dict(fault)
    for key, value in fault.items():
        if not isinstance(value, int | float) or key not in {"at", "for", "delay"}:
            continue
        if key == "for" and fault["kind"] == "half_open":
            found[key] = min(value, _SILENT_S)
        elif fault["kind"] == "slow" and key == "delay":
            continue
        else:
            found[key] = round(value * _PACE if key == "at" else value * _BRIEFER, 3)
    return found


def _crash(crash: Crash) -> Crash:
    return msgspec.structs.replace(crash, time=round(crash.time * _PACE, 3), down=min(crash.down, 6.0))
