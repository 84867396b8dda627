"""Making schedules: which agents, which faults, how many. Every choice comes from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from proof.aimed import Values, again, aimed, cancel
from proof.schedule import Agent, At, Crash, Engine, Schedule, Step, Stop, Trouble
from proof.shorter import shorter

SYMBOLS = ("AAPL", "MSFT", "SPY", "IBM", "BAC")
ACCOUNT = "DU1234567"
LIVE_ACCOUNT = "U7654321"
_DAYS = tuple(datetime(2026, 11, day, 14, 30, tzinfo=UTC) for day in (2, 3, 4, 5, 6, 9, 10, 11, 12, 13))
"""Sessions of New York, at their opening."""
_READS = ("positions", "open_orders", "completed", "executions", "summary", "quote", "time")
_ORDER_REPLIES = ("open_order", "order_status", "exec_details", "commission_report")
_SYNC_REQUESTS = (
    "open_orders", "all_open_orders", "completed_orders", "executions", "positions", "account_updates", "current_time",
    "connect",
)  # fmt: skip


def make_schedule(seed: int, *, engine: Engine = "step") -> Schedule:
    """The schedule of a seed. The sockets engine gets shorter ones: there time is real."""
    dice = random.Random(f"schedule:{engine}:{seed}")
    many = _agents(dice)
    if engine == "sockets":
        many = min(many, 12)
    symbols = tuple(dice.sample(SYMBOLS, dice.choice((1, 2, 3, 3, 4))))
    agents = tuple(_agent(dice, f"a{n}", symbols, many) for n in range(many))
    orders = sum(step.do in ("place", "bracket") for agent in agents for step in agent.steps)
    faults = [_fault(dice, orders, symbols) for _ in range(_how_many(dice))]
    if any(fault["kind"] == "fork_on_modify" for fault in faults):
        agents = (*agents, _changer(dice, symbols))
    live = dice.random() < 0.01
    made = Schedule(
        seed=seed,
        engine=engine,
        start=dice.choice(_DAYS) + timedelta(seconds=dice.choice((60, 1_800, 7_200, 18_000, 23_100))),
        speed=dice.choice((1.0, 1.0, 1.0, 5.0, 20.0)),
        symbols=symbols,
        agents=agents,
        faults=tuple(faults),
        crashes=_crashes(dice, orders),
        troubles=_troubles(dice),
        limits=_limits(dice, many),
        account=LIVE_ACCOUNT if live else ACCOUNT,
    )
    savers = tuple(_saver(dice, trouble, symbols[0]) for trouble in made.troubles)
    whole = msgspec.structs.replace(made, agents=made.agents + savers, stops=_stops(dice, orders))
    if engine == "step":
        return aimed(whole)
    racers = (_racer(dice, symbols[0]),) if dice.random() < 0.3 else ()
    return shorter(msgspec.structs.replace(whole, agents=whole.agents + racers))


def _agents(dice: random.Random) -> int:
    kind = dice.random()
    if kind < 0.30:
        return 1
    if kind < 0.52:
        return 2
    if kind < 0.84:
        return dice.randint(3, 5)
    if kind < 0.97:
        return dice.randint(6, 12)
    return dice.randint(13, 50)


def _how_many(dice: random.Random) -> int:
    return dice.choices((0, 1, 2, 3, 4), (4, 40, 30, 18, 8))[0]


# --- agents ----------------------------------------------------------------------------------------------------------


def _agent(dice: random.Random, name: str, symbols: tuple[str, ...], many: int) -> Agent:
    length = dice.randint(2, 9) if many <= 5 else dice.randint(1, 4)
    steps: list[Step] = []
    refs: list[Step] = []
    while len(steps) < length:
        steps += _steps(dice, f"{name}-{len(refs)}", refs, symbols)
    return Agent(name, round(dice.uniform(0, 3 if many <= 5 else 15), 3), tuple(steps))


def _changer(dice: random.Random, symbols: tuple[str, ...]) -> Agent:
    """One who changes resting orders, so that what is to happen to changes finds some."""
    steps: list[Step] = []
    for number in range(dice.randint(1, 3)):
        ref, symbol = f"c-{number}", dice.choice(symbols)
        action, far = dice.choice(("BUY", "SELL")), dice.choice((10, 40, 150))
        steps += [
            Step("place", ref, symbol, action, 10 * dice.randint(1, 3), "LMT", far),
            Step("wait", seconds=round(dice.uniform(0.01, 0.5), 3)),
            Step("modify", ref=ref, ticks=far + dice.choice((-8, -2, 5))),
        ]
        if dice.random() < 0.5:
            steps.append(Step("cancel", ref=ref, seconds=5.0))
    return Agent("c", round(dice.uniform(0, 2), 3), tuple(steps))


def _steps(dice: random.Random, ref: str, refs: list[Step], symbols: tuple[str, ...]) -> list[Step]:
    kind = dice.random()
    if not refs or kind < 0.36:
        step = _order(dice, ref, symbols)
        refs.append(step)
        return [step, *([_patience(dice, ref)] if dice.random() < 0.3 else [])]
    old = dice.choice(refs[-3:])
    if kind < 0.48:
        return [Step("cancel", ref=old.ref, seconds=dice.choice((3.0, 10.0)))]
    if kind < 0.60:
        quantity = dice.choice((0, 0, old.quantity + 10, max(10, old.quantity - 10)))
        return [Step("modify", ref=old.ref, quantity=quantity, ticks=_distance(dice))]
    if kind < 0.67:
        return [again(old)]
    if kind < 0.80:
        return [Step("wait", seconds=round(dice.choice((0.01, 0.1, 1.0, 5.0, 12.0)) * dice.uniform(0.5, 2), 3))]
    if kind < 0.92:
        return [Step("read", what=dice.choice(_READS), symbol=dice.choice(symbols))]
    if kind < 0.97:
        return [Step("cancel_all", seconds=5.0)]
    word = dice.choice(("kill", "kill", "kill_elsewhere"))
    return [Step(word), Step("wait", seconds=round(dice.uniform(0.2, 4), 3)), Step("resume")]  # type: ignore[arg-type]


def _order(dice: random.Random, ref: str, symbols: tuple[str, ...]) -> Step:
    symbol, action = dice.choice(symbols), dice.choice(("BUY", "BUY", "SELL"))
    quantity = 10 * dice.randint(1, 8)
    if dice.random() < 0.2:
        kind = dice.choice(("MKT", "LMT"))
        return Step(
            "bracket",
            ref,
            symbol,
            action,
            quantity,
            type=kind,
            ticks=dice.choice((4, 15, 60)),
            seconds=_marketable(dice),
        )
    kind = dice.choices(("MKT", "LMT", "STP"), (40, 50, 10))[0]
    ticks = {"MKT": 0, "LMT": _distance(dice), "STP": dice.choice((3, 10, 40))}[kind]
    return Step("place", ref, symbol, action, quantity, type=kind, ticks=ticks)


def _marketable(dice: random.Random) -> float:
    """A bracket's entry, if it is a limit: 1 = through the market, 0 = at it."""
    return float(dice.random() < 0.6)


def _distance(dice: random.Random) -> int:
    return dice.choice((-10, -3, 0, 1, 2, 5, 20, 100))


def _patience(dice: random.Random, ref: str) -> Step:
    return Step("filled", ref=ref, seconds=dice.choice((1.0, 5.0, 15.0)))


# --- faults ----------------------------------------------------------------------------------------------------------


def _nth(dice: random.Random, orders: int) -> int:
    """Early ones more often, and none that can hardly come."""
    return 1 + min(int(dice.expovariate(0.7)), max(0, orders - 1))


def _fault(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    make = dice.choice(tuple(_FAULTS.values()))
    return make(dice, orders, symbols)


def _moment(dice: random.Random, orders: int) -> Values:
    """When a fault that can come at any message or time comes: mostly somewhere on an order's road."""
    kind = dice.random()
    if kind < 0.24:
        return {"on": "place_order", "nth": _nth(dice, orders)}
    if kind < 0.34:
        return {"on": "cancel_order", "nth": _nth(dice, 3)}
    if kind < 0.44:
        return {"on": "modify_order", "nth": _nth(dice, 3)}
    if kind < 0.68:
        return {"on": dice.choice(_ORDER_REPLIES), "nth": _nth(dice, 2 * orders)}
    if kind < 0.82:
        return {"on": dice.choice(_SYNC_REQUESTS), "nth": dice.choice((1, 1, 2, 3))}
    return {"at": round(dice.uniform(0.05, 30), 3)}


def _request(dice: random.Random, orders: int) -> Values:
    kind = dice.random()
    if kind < 0.5:
        return {"on": "place_order", "nth": _nth(dice, orders)}
    if kind < 0.67:
        return {"on": "cancel_order", "nth": _nth(dice, 3)}
    if kind < 0.84:
        return {"on": "modify_order", "nth": _nth(dice, 3)}
    return {"on": dice.choice(_SYNC_REQUESTS[:5]), "nth": dice.choice((1, 1, 2))}


def _lasting(kind: str, low: float, high: float, **more: str | float) -> Callable[..., Values]:
    def make(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
        return {"kind": kind, **_moment(dice, orders), "for": round(dice.uniform(low, high), 3), **more}

    return make


def _plain(kind: str, **more: str | float) -> Callable[..., Values]:
    def make(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
        return {"kind": kind, **_moment(dice, orders), **more}

    return make


def _on_request(kind: str, low: float = 0.0, high: float = 0.0) -> Callable[..., Values]:
    def make(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
        lasting: Values = {"for": round(dice.uniform(low, high), 3)} if high else {}
        return {"kind": kind, **_request(dice, orders), **lasting}

    return make


def _reset(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    return {"kind": "reset_after_write", **_request(dice, orders), "times": dice.choice((1, 1, 2))}


def _swallow_reply(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    base: Values = {"kind": "swallow_reply", "for": round(dice.uniform(0.5, 12), 3)}
    if dice.random() < 0.5:
        return {**base, **_request(dice, orders)}
    return {**base, "on": dice.choice(_ORDER_REPLIES), "nth": _nth(dice, 2 * orders), "count": dice.randint(1, 3)}


def _disorder(kind: str) -> Callable[..., Values]:
    def make(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
        nth, count = _nth(dice, 2 * orders), dice.randint(2, 5)
        return {"kind": kind, "on": dice.choice(_ORDER_REPLIES), "nth": nth, "count": count, "for": 3.0}

    return make


def _refusal(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    moments: tuple[Values, ...] = (
        {"on": "place_order", "nth": _nth(dice, orders)},
        {"on": "modify_order", "nth": 1},
        {"on": "cancel_order", "nth": 1, "code": 161, "text": "refused"},
    )
    return {"kind": "reject", **dice.choice(moments)}


def _missing_end(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    on = dice.choice(("open_orders", "all_open_orders", "completed_orders", "executions", "positions"))
    return {"kind": "missing_end", "on": on, "nth": dice.choice((1, 1, 2, 3)), "for": 20.0}


def _false_200(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    if dice.random() < 0.5:
        return {"kind": "false_200", "at": round(dice.uniform(0.05, 20), 3), "for": round(dice.uniform(0.5, 6), 3)}
    return {"kind": "false_200", "on": dice.choice(("contract_details", "market_data")), "nth": dice.choice((1, 2))}


def _link(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    code, restore = dice.choice((1100, 1100, 2110)), dice.choice((1101, 1102))
    down = round(dice.uniform(0.5, 25), 3)
    return {"kind": "error", "code": code, "restore": restore, **_moment(dice, orders), "for": down}


def _notice(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    return {"kind": "error", "code": dice.choice((2103, 2109, 10197, 354)), **_moment(dice, orders)}


def _hold(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    return {
        "kind": "hold_then_forward",
        **_moment(dice, orders),
        "for": round(dice.uniform(0.5, 15), 3),
        "delay": round(dice.choice((2, 20, 90)) * dice.uniform(0.5, 1.5), 3),
        "restore": dice.choice((1101, 1102)),
    }


def _restart(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    down = round(dice.uniform(0.2, 12), 3)
    return {"kind": "restart", **_moment(dice, orders), "for": down, "rollback_ids": dice.choice((0, 1, 2, 5))}


def _farm(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    farm = dice.choice(("usfarm", "secdefnj"))
    return {"kind": "farm_down", "farm": farm, **_moment(dice, orders), "for": round(dice.uniform(1, 15), 3)}


def _correction(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    delay = round(dice.uniform(0.01, 8), 3)
    ticks, times = dice.choice((-3, -1, 2)), dice.choice((1, 1, 2))
    return {"kind": "execution_correction", "nth": _nth(dice, orders), "delay": delay, "ticks": ticks, "times": times}


def _late(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    return {"kind": "late_commission", "nth": _nth(dice, orders), "delay": round(dice.uniform(0.1, 30), 3), "times": 2}


def _fork(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    return {"kind": "fork_on_modify", "nth": dice.choice((1, 1, 2))}


def _jump(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
    return {"kind": "clock_jump", **_moment(dice, orders), "by": dice.choice((5.0, 45.0, 600.0, 3_600.0))}


def _symbol(kind: str) -> Callable[..., Values]:
    def make(dice: random.Random, orders: int, symbols: tuple[str, ...]) -> Values:
        last = round(dice.uniform(1, 20), 3)
        return {"kind": kind, **_moment(dice, orders), "symbol": dice.choice(symbols), "for": last}

    return make


_FAULTS: dict[str, Callable[[random.Random, int, tuple[str, ...]], Values]] = {
    "drop_connection": _plain("drop_connection"),
    "half_open": _lasting("half_open", 1, 25),
    "reset_after_write": _reset,
    "refuse": _lasting("refuse", 0.5, 8),
    "slow": _lasting("slow", 1, 10, delay=1.5),
    "split_frames": _lasting("split_frames", 2, 20, pieces=8),
    "swallow_request": _on_request("swallow_request"),
    "swallow_reply": _swallow_reply,
    "duplicate_reply": _disorder("duplicate_reply"),
    "reorder_replies": _disorder("reorder_replies"),
    "reject": _refusal,
    "missing_end": _missing_end,
    "false_200": _false_200,
    "link": _link,
    "notice": _notice,
    "hold_then_forward": _hold,
    "farm_down": _farm,
    "restart": _restart,
    "late_commission": _late,
    "execution_correction": _correction,
    "fork_on_modify": _fork,
    "clock_jump": _jump,
    "halt": _symbol("halt"),
    "stale": _symbol("stale"),
}


# --- crashes, troubles, limits ---------------------------------------------------------------------------------------


def _crashes(dice: random.Random, orders: int) -> tuple[Crash, ...]:
    found = []
    for _ in range(dice.choices((0, 1, 2), (70, 24, 6))[0]):
        at: At = dice.choice(("time", "before_commit", "after_commit", "after_write", "connecting"))
        found.append(
            Crash(
                at=at,
                time=round(dice.uniform(0.05, 20), 3) if at == "time" else 0.0,
                nth=_nth(dice, orders) if at != "connecting" else dice.choice((1, 2, 2)),
                down=round(dice.choice((0.01, 1, 8)) * dice.uniform(0.5, 2), 3),
            )
        )
    return tuple(found)


def _troubles(dice: random.Random) -> tuple[Trouble, ...]:
    if dice.random() > 0.08:
        return ()
    return (Trouble("disk_full", round(dice.uniform(0.05, 12), 3), round(dice.uniform(0.3, 8), 3)),)


def _saver(dice: random.Random, trouble: Trouble, symbol: str) -> Agent:
    """Whoever has to get out while the disk is full: an order that rests, and its cancel in the middle of it."""
    order = Step("place", "saver-0", symbol, "BUY", 10, type="LMT", ticks=200)
    begin = max(0.0, trouble.time - 3.0)
    moment = trouble.time + dice.uniform(0.1, 0.9) * trouble.seconds
    return Agent("saver", round(begin, 3), (order, Step("wait", seconds=round(moment - begin, 3)), cancel("saver-0")))


def _racer(dice: random.Random, symbol: str) -> Agent:
    """Cancels orders that may fill at any moment: in real time a cancel rarely meets its fill by chance."""
    steps: list[Step] = []
    for number in range(6):
        ref, action = f"racer-{number}", ("BUY", "SELL")[number % 2]
        steps += [Step("place", ref, symbol, action, 10, type="LMT"), cancel(ref)]
    return Agent("racer", round(dice.uniform(0, 4), 3), tuple(steps))


def _stops(dice: random.Random, orders: int) -> tuple[Stop, ...]:
    if dice.random() > 0.10:
        return ()
    at: At = dice.choice(("before_commit", "after_commit"))
    return (Stop(at, _nth(dice, orders), round(dice.uniform(0.2, 5), 3), elsewhere=dice.random() < 0.3),)


def _limits(dice: random.Random, many: int) -> dict[str, int | float]:
    size = dice.choice((200, 400, 900)) * max(1, many // 4)
    found: dict[str, int | float] = {
        "max_position_size": size,
        "max_order_size": 200,
        "daily_loss_limit": dice.choice((100_000, 100_000, 100_000, 100_000, 150)),
    }
    if dice.random() < 0.2:
        found["max_open_orders"] = max(3, 2 * many)
    return found
