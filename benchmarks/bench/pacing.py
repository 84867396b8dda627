"""Pacing efficiency: how much of a rule's rate the pacer really uses, and whether it ever breaks the rule.

In virtual time: the pure pacer with the default rules, always more work waiting than a rule lets through, one clock
that jumps from wake to wake; each unit's moment goes into a list. The judge is naive: it knows nothing but that list
and the rule as IBKR states it, without the pacer's margin. Efficiency is rule window over the time the pacer needed per
window's worth of units. In real time (`--long`): ten minutes through the gateway with its own strict pacing on; there
the judge is the gateway, and the moments are those at which it read each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .harness import SYMBOL, Bench
from .sides import Commands, ConnectorSide
from .stats import Ratio
from .table import Check, Section, duration

if TYPE_CHECKING:
    from ibkr_connector.resilience import Work

NAME = "pacing"
TITLE = "Pacing efficiency, virtual time"
LONG_TITLE = "Pacing efficiency, ten real minutes"
TARGET = 0.98
TURNS = 100
"""Windows a rule is kept busy for."""
LONG_S = 606.0
"""Ten minutes, and the second or two in which the next window of the longest rule begins."""
OTHER = "MSFT"
_LATER_S = 200.0
"""When ten requests more come: the ten identical ones, 15 seconds apart, have had their share of the 60 by then."""


# --- the naive judge --------------------------------------------------------------------------------------------------


def violations(moments: Sequence[float], limit: int, window: float) -> int:
    """How often `limit` more units had gone within `window` seconds before a unit. `moments` as they were written."""
    return sum(
        sum(earlier > moment - window for earlier in moments[max(place - limit - 1, 0) : place]) >= limit
        for place, moment in enumerate(moments)
    )


def efficiency(moments: Sequence[float], limit: int, window: float) -> float:
    """Units that went over those the rule would have let go: in whole turns of `limit` units each.

    Raises ValueError when there was no whole turn.
    """
    turns = (len(moments) - 1) // limit
    if turns < 1:
        raise ValueError(f"{len(moments)} units are no whole turn of {limit}")
    return turns * window / (moments[turns * limit] - moments[0])


# --- virtual time -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A rule kept busy by one kind of work."""

    label: str
    rule: str
    limit: int
    window: float
    work: Callable[[int], Work]
    """The n-th piece of work."""
    units: int = 1


def cases() -> list[Case]:
    """Every rule with a rate."""
    from ibkr_connector.resilience.rules import Lane, history, message

    def bars(number: int, kind: str = "TRADES", contracts: int = 1, same: bool = False) -> Work:
        contract = str(number % contracts)
        identity = "same" if same else str(number)
        return history(contract=contract, exchange="SMART", what_to_show=kind, identity=identity, bar_seconds=1)

    return [
        Case("messages, cancels: 50 in 1 s", "messages", 50, 1.0, lambda _: message(Lane.CANCEL)),
        Case("messages, all but cancels: 40 in 1 s", "messages", 40, 1.0, lambda _: message(Lane.ORDERS)),
        Case("history: 60 in 10 min", "history-long", 60, 600.0, lambda number: bars(number, contracts=97)),
        Case(
            "history, BID_ASK counts twice: 60 in 10 min",
            "history-long",
            60,
            600.0,
            lambda number: bars(number, "BID_ASK", 97),
            units=2,
        ),
        Case("history, one contract: not 6 in 2 s", "history-burst", 5, 2.0, bars),
        Case("history, identical: not within 15 s", "history-identical", 1, 15.0, lambda _: bars(0, same=True)),
    ]


def busy(case: Case, rules: Iterable[Any] | None = None) -> list[float]:
    """The moments at which the pacer let units go, with always more work waiting than the rule lets through.

    `rules` None = those of a TWS connection.
    """
    from ibkr_connector.resilience import Pacer
    from ibkr_connector.resilience.rules import default_rules

    pacer, now, waiting = Pacer(_apart(case, default_rules() if rules is None else rules)), 0.0, 0
    moments: list[float] = []
    number, wanted = 0, case.limit * TURNS + case.units
    while len(moments) < wanted:
        granted = []
        while waiting < 2 * case.limit:
            ticket = pacer.submit(now, case.work(number))
            number += 1
            if ticket.grant is None:
                waiting += 1
            else:
                granted.append(ticket.grant)
        for ticket in pacer.poll(now):
            waiting -= 1
            if ticket.grant is not None:
                granted.append(ticket.grant)
        for grant in granted:
            pacer.sent(grant, now)
            pacer.done(grant, now)
            moments += [now] * case.units
        if not granted:
            now = pacer.next_wake(now)
            if now == math.inf:
                raise RuntimeError(f"{case.label}: the pacer never wakes again")
    return moments


def _apart(case: Case, rules: Iterable[Any]) -> list[Any]:
    """The rules, with those out of the way that would keep this one from its rate: each is judged at its own."""
    from ibkr_connector.resilience.rules import HISTORY_LONG, WindowRule

    if case.rule in {HISTORY_LONG, "messages"}:
        return list(rules)
    return [
        WindowRule(rule.name, 1_000_000, rule.window, rule.margin) if rule.name == HISTORY_LONG else rule
        for rule in rules
    ]


def run(bench: Bench) -> Section:
    """Every rule, in virtual time: there is nothing to interleave."""
    section = Section(NAME, TITLE, ["rule", "efficiency", "violations", "units", "virtual time"])
    rows = []
    for case in cases():
        moments = busy(case)
        share, broken = efficiency(moments, case.limit, case.window), violations(moments, case.limit, case.window)
        rows.append((case.label, share, broken, moments))
    _add(section, rows)
    section.notes.append(
        "Work is always waiting; ten messages per second are kept free for cancels. The rule's window is what IBKR "
        "states; the pacer keeps a margin, which is what is missing to 1. The two rules within the 60 in ten minutes "
        "are judged without it: each at its own rate."
    )
    return section


def _add(section: Section, rows: Sequence[tuple[str, float, int, Sequence[float]]]) -> None:
    """Label, efficiency, violations and moments of each rule; the targets are about the worst of them."""
    for label, share, broken, moments in rows:
        took = duration(moments[-1] - moments[0])
        section.rows.append([label, f"{share:.4f}", str(broken), f"{len(moments):,}", took])
    shares, breaches = [row[1] for row in rows], [float(row[2]) for row in rows]
    worst = f"{section.title}, least of all rules"
    section.checks.append(
        Check(worst, Ratio(100 * min(shares), 100 * min(shares), 100 * max(shares)), ">=", 100 * TARGET, unit="%")
    )
    counted = Ratio(sum(breaches), min(breaches), max(breaches))
    section.checks.append(Check(f"{section.title}, violations", counted, "<=", 0, unit=""))


# --- real time --------------------------------------------------------------------------------------------------------


async def begin(side: ConnectorSide, end: str) -> None:
    """Keep every rule busy from now on: the time asked without a pause, and more bars than ten minutes let through."""
    asked: list[asyncio.Task[Any]] = []
    last = datetime.fromisoformat(end)

    async def messages() -> None:
        while True:
            await side.connector.get_server_time()

    def bars(symbol: str, number: int) -> None:
        until = last - timedelta(minutes=number)
        ask = side.connector.get_historical_data
        asked.append(asyncio.create_task(ask(symbol, "1800 S", "30 secs", end=until, timeout=4 * LONG_S)))

    async def more() -> None:
        await asyncio.sleep(_LATER_S)
        for number in range(50, 60):
            bars(SYMBOL, number)

    for _ in range(10):
        bars(OTHER, 0)
    for number in range(50):
        bars(SYMBOL, number)
    side.lines["asked"] = asked
    side.lines["busy"] = [asyncio.create_task(work()) for work in (messages, more)]


async def finish(side: ConnectorSide) -> dict[str, int]:
    """Stop; how many requests for bars were answered, and how many requests of either kind failed."""
    asked, tasks = side.lines.pop("asked"), side.lines.pop("busy")
    for task in (*asked, *tasks):
        task.cancel()
    ended = await asyncio.gather(*asked, *tasks, return_exceptions=True)
    failed = sum(isinstance(error, Exception) for error in ended)
    return {"answered": sum(not isinstance(found, BaseException) for found in ended[: len(asked)]), "failed": failed}


COMMANDS: Commands = {"connector.pacing_begin": begin, "connector.pacing_finish": finish}


def judged(found: dict[str, Any]) -> list[tuple[str, list[float], int, float]]:
    """Label, moments, limit and window of each rule, from what the gateway noted."""
    history = found["history"]
    long = [moment for moment, _, _ in history]
    contracts = [con_id for _, con_id, _ in history]
    one = max(set(contracts), key=contracts.count)
    names = [name for _, _, name in history]
    same = max(set(names), key=names.count)
    first = [moment for moment, con_id, _ in history if con_id == one and moment - long[0] < 600]
    return [
        ("messages, all but cancels: 40 in 1 s", found["messages"], 40, 1.0),
        ("history: 60 in 10 min", long, 60, 600.0),
        ("history, one contract: not 6 in 2 s", first, 5, 2.0),
        ("history, identical: not within 15 s", [m for m, _, name in history if name == same], 1, 15.0),
    ]


def run_long(python: str, library: str, folder: Path, seconds: float, tell: Callable[[str], None]) -> Section:
    """Ten minutes with a gateway that paces, and a connector with the settings it has by default."""
    from .processes import Child

    with contextlib.ExitStack() as stack:
        gateway = Child("the gateway", [python, "-m", "bench.gateway", "strict"])
        stack.callback(gateway.close)
        words = [python, "-m", "bench.worker", "paced", library, str(gateway.greeting["port"]), "1", str(folder)]
        side = Child(f"connector on {library}", words)
        stack.callback(side.close)
        end = gateway.ask("market", symbol=SYMBOL)["session"][1]
        gateway.ask("watch", client_id=1, symbols=[SYMBOL, OTHER])
        side.ask("pacing_begin", end=end)
        began = time.monotonic()
        while (left := seconds - (time.monotonic() - began)) > 0:
            time.sleep(min(left, 60.0))
            tell(f"pacing: {time.monotonic() - began:.0f} of {seconds:.0f} s")
        found = gateway.ask("judgement")
        answers = side.ask("pacing_finish")
    section = Section(NAME, LONG_TITLE, ["rule", "efficiency", "violations", "units", "time"])
    rows = []
    for label, moments, limit, window in judged(found):
        most = 50 if limit == 40 else limit  # the ten kept for cancels are the pacer's own idea
        rows.append((label, efficiency(moments, limit, window), violations(moments, most, window), moments))
    _add(section, rows)
    section.notes.append(
        f"The gateway's own count: {found['breaches']} breaches of 50 messages per second, {found['refused']} history "
        f"requests refused. {len(found['messages']):,} messages read, {answers['answered']} requests for bars "
        f"answered, {answers['failed']} failed."
    )
    return section
