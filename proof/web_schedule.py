"""A schedule over the Web API: the same agents, crashes and limits, and faults that its front knows.

Faults of the socket alone are translated by a table to what goes wrong there in the same place; what it did is kept
in the schedule and shown by the report. Beside them come faults that only the Web API has, and the account's order
presets, which decide what the broker asks back. All of it from the seed, with dice of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import msgspec

from ibkr_connector.paper.faults.catalogue import BOTH_FRONTS, KINDS, TWS
from proof.schedule import Agent, Asking, Crash, Schedule, Step, Trouble

Timed = TypeVar("Timed", Crash, Trouble)
Values = dict[str, str | int | float | None]
KIND_TABLE: dict[str, str] = {
    "split_frames": "websocket_close",
    "reorder_replies": "duplicate_request",
    "missing_end": "missing_end",
    "false_200": "http_error",
    "error": "http_error",
}
"""Kinds that happen on the socket only (of `error`: notices; a lost link is the same on both) -> what it is here."""
REQUEST_TABLE: dict[str, str] = {
    "all_open_orders": "open_orders",
    "completed_orders": "open_orders",
    "account_updates": "ledger",
    "current_time": "auth_status",
    "connect": "auth_status",
    "market_data": "contract_details",
    "open_order": "place_order",
    "order_status": "order_state",
    "exec_details": "executions",
    "commission_report": "positions",
}
"""Requests of the socket -> the request of the Web API that asks for the same; replies -> the request they answer."""
_WRITES = ("place_order", "place_order", "reply", "modify_order", "cancel_order")
_LINK = frozenset({1100, 2110})
_ALL_QUESTIONS = ("o163", "o383", "o451", "o10151", "o10152", "o10331")
_AGAIN_AND_AGAIN = frozenset({"place_order", "modify_order", "cancel_order", "reply"})
"""What may arrive twice without passing a limit of its endpoint."""
_LONG_S = 6.0
_START_S = 10.5
"""A start takes so much longer here: live orders may be asked for every five seconds only."""
DOWN_S = 1.2
"""The shortest pause between a process and the next. Forked, the next would be there at once: its first requests would
be counted together with the last second of a process that nobody remembers."""
_READY_S = 30.0
_FASTEST = 5.0
"""Market seconds per second: with starts as long as these the session would be over too soon."""
_EARLY = 0.25
"""So many of the faults that come at a time come while it connects."""


def over_the_web(schedule: Schedule) -> Schedule:
    """The schedule for a connector with `backend = web`."""
    dice = random.Random(f"web:{schedule.seed}")
    faults: list[Values] = []
    moved: list[str] = []
    for fault in schedule.faults:
        found = _moved(dice, dict(fault))
        faults.append(found)
        if (before := _name(fault)) != (after := _name(found)):
            moved.append(f"{before} -> {after}")
    for fault in faults:
        if isinstance(at := fault.get("at"), int | float) and dice.random() > _EARLY:
            fault["at"] = round(at + _START_S, 3)
    faults += [_own(dice) for _ in range(dice.choices((0, 1, 2), (25, 50, 25))[0])]
    return msgspec.structs.replace(
        schedule,
        backend="web",
        speed=min(schedule.speed, _FASTEST),
        agents=tuple(_patient(agent) for agent in schedule.agents),
        faults=tuple(faults),
        crashes=tuple(_slower(_later(crash) if crash.at == "time" else crash) for crash in schedule.crashes),
        troubles=tuple(_later(trouble) for trouble in schedule.troubles),
        moved=tuple(moved),
        asking=_asking(dice),
    )


def _patient(agent: Agent) -> Agent:
    """Waits for the connection before it orders, as the errors tell callers to: outages last ten seconds and more."""
    if agent.name in {"saver", "leaver"}:
        return agent  # they have a moment to meet
    steps: list[Step] = []
    for step in agent.steps:
        steps += [Step("ready", seconds=_READY_S), step] if step.do in {"place", "bracket"} else [step]
    return msgspec.structs.replace(agent, steps=tuple(steps))


def _slower(crash: Crash) -> Crash:
    """A process takes a while to start: sooner than this no program asks anything again."""
    return msgspec.structs.replace(crash, down=max(crash.down, DOWN_S))


def _later(what: Timed) -> Timed:
    """The same, when the connector has started and agents are at work."""
    return msgspec.structs.replace(what, time=round(what.time + _START_S, 3))


def _name(fault: Values) -> str:
    """A fault as the table shows it: its kind, and what triggers it."""
    kind, code = str(fault["kind"]), fault.get("code")
    on = f" on {fault['on']}" if fault.get("on") else ""
    return f"{kind if code not in _LINK else 'link'}{on}"


def _asking(dice: random.Random) -> Asking:
    """What the broker asks about orders, and what the configuration confirms: one question of some is not on it."""
    always = {"o10331", *dice.sample(("o10151", "o10152", "o10331"), dice.choice((0, 1, 3)))}
    confirm = set(_ALL_QUESTIONS)
    if dice.random() < 0.15:
        confirm.discard(dice.choice(("o10331", "o10151", "o451")))
    return Asking(
        always=tuple(sorted(always)), value=dice.choice((5_000, 15_000, 100_000)), confirm=tuple(sorted(confirm))
    )


# --- the table --------------------------------------------------------------------------------------------------------


def _moved(dice: random.Random, fault: Values) -> Values:
    """The fault as it happens on this front."""
    kind = str(fault["kind"])
    if kind == "error" and fault.get("code") in _LINK:
        pass
    elif kind in KIND_TABLE:
        kind = KIND_TABLE[kind]
        fault = {"kind": kind, **{key: fault[key] for key in ("on", "at", "nth", "times") if key in fault}}
        fault |= _needs(dice, kind, fault)
    on = fault.get("on")
    if isinstance(on, str) and on in REQUEST_TABLE:
        fault["on"] = REQUEST_TABLE[on]
    if kind == "missing_end":
        fault["on"] = "open_orders"
    if kind == "duplicate_request" and fault.get("on") not in _AGAIN_AND_AGAIN:
        fault["on"] = dice.choice(_WRITES)
    return _on_this_front(fault)


def _needs(dice: random.Random, kind: str, fault: Values) -> Values:
    """The keys that another kind needs."""
    if kind == "http_error":
        lasts = {} if fault.get("on") else {"for": round(dice.uniform(0.3, 3), 3)}
        return {"code": dice.choice((500, 503)), **lasts}
    if kind == "missing_end":
        return {"times": dice.choice((1, 2, 3))}
    return {}


def _on_this_front(fault: Values) -> Values:
    """Only our front counts, and is hit: another program may be on the other."""
    kind = KINDS[str(fault["kind"])]
    on = fault.get("on")
    by_fill = on == "fill" or (on is None and kind.default_on == "fill")
    if kind.fronts == BOTH_FRONTS and not by_fill and (on is not None or kind.per_client):
        fault["front"] = "web"
    if kind.fronts == {TWS}:
        raise ValueError(f"{fault['kind']} belongs to the socket, and the table does not translate it")
    return fault


# --- what only this front has -----------------------------------------------------------------------------------------


def _own(dice: random.Random) -> Values:
    make = dice.choice(_OWN)
    fault = make(dice)
    return _on_this_front(fault)


def _nth(dice: random.Random) -> int:
    return 1 + min(int(dice.expovariate(0.7)), 8)


def _moment(dice: random.Random) -> Values:
    """On an order's road, on the way to what is known of it, or at a time."""
    kind = dice.random()
    if kind < 0.5:
        return {"on": dice.choice(_WRITES), "nth": _nth(dice)}
    if kind < 0.75:
        return {
            "on": dice.choice(("open_orders", "executions", "order_state", "auth_status")),
            "nth": dice.choice((1, 2)),
        }
    return {"at": round(dice.uniform(4, 22), 3)}


def _lost_answer(dice: random.Random) -> Values:
    kind = dice.choice(("swallow_reply", "reset_after_write", "swallow_request"))
    lasting: Values = {} if kind == "reset_after_write" else {"for": round(dice.uniform(0.5, 12), 3)}
    return {"kind": kind, "on": dice.choice(_WRITES), "nth": _nth(dice), **lasting}


def _status(dice: random.Random) -> Values:
    code = dice.choice((400, 401, 410, 429, 500, 503))
    return {
        "kind": "http_error",
        "on": dice.choice((*_WRITES, "open_orders", "order_state")),
        "nth": _nth(dice),
        "code": code,
    }


def _outage(dice: random.Random) -> Values:
    return {
        "kind": "http_error",
        "at": round(dice.uniform(4, 22), 3),
        "for": round(dice.uniform(0.5, _LONG_S), 3),
        "code": dice.choice((500, 503)),
    }


def _status_after(dice: random.Random) -> Values:
    return {"kind": "http_error_after", "on": dice.choice(_WRITES), "nth": _nth(dice), "code": dice.choice((500, 503))}


def _twice(dice: random.Random) -> Values:
    return {"kind": "duplicate_request", "on": dice.choice(_WRITES), "nth": _nth(dice), "times": dice.choice((1, 2))}


def _rival(dice: random.Random) -> Values:
    return {"kind": "competing_login", **_moment(dice), "for": round(dice.uniform(1, _LONG_S), 3)}


def _plain(kind: str) -> Callable[[random.Random], Values]:
    def make(dice: random.Random) -> Values:
        return {"kind": kind, **_moment(dice)}

    return make


def _silent(dice: random.Random) -> Values:
    return {"kind": "websocket_silent", **_moment(dice), "for": round(dice.uniform(5, 40), 3)}


def _unfinished(dice: random.Random) -> Values:
    return {"kind": "missing_end", "on": "open_orders", "nth": _nth(dice), "times": dice.choice((1, 2, 4))}


_OWN: tuple[Callable[[random.Random], Values], ...] = (
    _lost_answer,
    _lost_answer,
    _status,
    _status,
    _outage,
    _status_after,
    _twice,
    _rival,
    _plain("brokerage_lost"),
    _plain("session_expired"),
    _silent,
    _plain("websocket_close"),
    _unfinished,
)
