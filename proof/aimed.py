"""What chance alone brings about too rarely: some schedules get an agent, and the fault that is meant for it.

Each has dice of its own, so that what one of them does changes no schedule of the others.
"""

from __future__ import annotations

import random

import msgspec

from proof.schedule import Agent, Schedule, Step, Trouble

Values = dict[str, str | int | float | None]


def aimed(made: Schedule) -> Schedule:
    """The schedule with all of them that its seed wants."""
    for add, name in ((_with_leavers, "leavers"), (_with_changers, "changers"), (_with_resters, "resters")):
        made = add(random.Random(f"{name}:{made.engine}:{made.seed}"), made)
    return made


def again(step: Step) -> Step:
    """The very same order under the same ref."""
    return msgspec.structs.replace(step, do="resend", what=step.do)


def cancel(ref: str) -> Step:
    """The cancel of an order, waited for for ten seconds."""
    return Step("cancel", ref=ref, seconds=10.0)


def _with_changers(dice: random.Random, made: Schedule) -> Schedule:
    """With one who changes an order at once that may have got lost."""
    if dice.random() > 0.08 or made.troubles:
        return made
    order = Step("place", "mind-0", made.symbols[0], "BUY", 20, type="LMT", ticks=60)
    change = Step("modify", ref="mind-0", quantity=30, ticks=50)
    steps = (order, change, Step("wait", seconds=round(dice.uniform(1, 6), 3)), change, cancel("mind-0"))
    lost: Values = {"kind": dice.choice(("swallow_request", "reset_after_write")), "on": "place_order", "nth": 1}
    changer = Agent("changer", 0.0, steps)
    agents = tuple(msgspec.structs.replace(one, start=one.start + 0.3) for one in made.agents)
    return msgspec.structs.replace(made, agents=(changer, *agents), faults=(lost, *made.faults))


def _with_resters(dice: random.Random, made: Schedule) -> Schedule:
    """With one whose resting order outlives a refused change, or a cancel that got lost."""
    if dice.random() > 0.10 or made.troubles or any(agent.name == "changer" for agent in made.agents):
        return made
    order = Step("place", "rest-0", made.symbols[0], "BUY", 20, type="LMT", ticks=dice.choice((200, 300)))
    pause = Step("wait", seconds=round(dice.uniform(0.01, 0.2), 3))
    faults: list[Values]
    if dice.random() < 0.5:
        steps = [order, pause, Step("modify", ref="rest-0", quantity=30, ticks=250), _wait(dice)]
        faults = [{"kind": "reject", "on": "modify_order", "nth": 1}]
    else:
        steps = [order, pause, cancel("rest-0"), _wait(dice)]
        down: Values = {"kind": "refuse", "on": "cancel_order", "nth": 1, "for": round(dice.uniform(0.5, 8), 3)}
        faults = [{"kind": "swallow_request", "on": "cancel_order", "nth": 1}, *([down] if dice.random() < 0.5 else [])]
    agents = tuple(msgspec.structs.replace(one, start=one.start + 0.3) for one in made.agents)
    return msgspec.structs.replace(
        made, agents=(Agent("rester", 0.0, tuple(steps)), *agents), faults=(*faults, *made.faults)
    )


def _wait(dice: random.Random) -> Step:
    return Step("wait", seconds=round(dice.uniform(1, 6), 3))


def _with_leavers(dice: random.Random, made: Schedule) -> Schedule:
    """With one who wants out while the disk is full. Every other time nothing else fails: then refusals are judged."""
    for trouble in made.troubles:
        made = msgspec.structs.replace(made, agents=(*made.agents, _leaver(dice, made.symbols[0], trouble)))
        if dice.random() < 0.5:
            made = msgspec.structs.replace(made, faults=(), crashes=())
    return made


def _leaver(dice: random.Random, symbol: str, trouble: Trouble) -> Agent:
    """One who holds something when the disk fills up, and wants out: within what is held, and beyond it."""
    enter, leave = dice.choice((("BUY", "SELL"), ("BUY", "SELL"), ("SELL", "BUY")))
    sizes = [10 * dice.randint(1, 4) for _ in range(4)]
    early = min(trouble.time, 3.0)

    def out(number: int, kind: str, ticks: int = 0) -> Step:
        return Step("place", f"out-{number}", symbol, leave, sizes[number], type=kind, ticks=ticks)

    ways: list[Step] = [
        out(0, "MKT"),
        out(1, "LMT", dice.choice((-10, 100))),
        out(2, "MKT"),
        Step("place", "in-again", symbol, enter, 10, type="MKT"),
        Step("modify", ref="out-1", quantity=dice.choice((0, 10, 60)), ticks=dice.choice((-10, 50))),
        Step("cancel", ref="out-1", seconds=5.0),
        again(out(0, "MKT")),
        out(3, "STP", 40),
    ]
    dice.shuffle(ways)
    return Agent(
        "leaver",
        round(trouble.time - early, 3),
        (
            Step("place", "hold", symbol, enter, 60, type="MKT"),
            Step("filled", ref="hold", seconds=5.0),
            Step("wait", seconds=round(early * dice.uniform(0.3, 1.1), 3)),
            *ways,
        ),
    )
