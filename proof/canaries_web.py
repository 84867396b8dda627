"""Bugs over the Web API, planted one at a time in the connector's process; each with the schedule that should show it.

What `canaries` is for the stepped engine. Real time is dear, so nothing is left to chance here: every bug meets the
fault that it is a bug about, in a schedule of one agent. Runs of the same schedules without a bug must break nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ibkr_connector.backends.facts import Operation
from ibkr_connector.backends.web import questions as questions_module
from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.backends.web.order_answers import Unclear
from ibkr_connector.backends.web.orders import WebOrders
from ibkr_connector.backends.web.pace import Unpaced
from ibkr_connector.backends.web.questions import Questions
from ibkr_connector.backends.web.records import Records
from ibkr_connector.errors import OrderInDoubt, TradingError
from ibkr_connector.session.webpace import WebPace
from proof.hunt import Catch
from proof.judge import judge
from proof.schedule import Agent, Asking, Crash, Schedule, Step

Plant = Callable[[contextlib.ExitStack], None]
Values = dict[str, str | int | float | None]
TRIES = 3
"""Runs of its schedule within which a bug must be caught."""
_QUESTIONS = ("o10151", "o10152", "o10331", "o163", "o383", "o451")


@dataclass(frozen=True, slots=True)
class WebCanary:
    """One planted bug, and the schedule it is hunted with."""

    name: str
    what: str
    plant: Plant
    schedule: Schedule


_CANARIES: dict[str, WebCanary] = {}


def _canary(
    *steps: Step,
    faults: tuple[Values, ...],
    crashes: tuple[Crash, ...] = (),
    confirm: tuple[str, ...] = _QUESTIONS,
    value: int = 100_000,
) -> Callable[[Plant], Plant]:
    """Keep a bug under the name of its function; its docstring says what it does."""
    made = Schedule(
        seed=1,
        engine="sockets",
        start=datetime(2026, 11, 3, 15, 30, tzinfo=UTC),
        speed=1.0,
        symbols=("AAPL",),
        agents=(Agent("a0", 0.0, steps),),
        faults=tuple({**fault, "front": "web"} for fault in faults),
        crashes=crashes,
        limits={"max_position_size": 500, "max_order_size": 200, "daily_loss_limit": 100_000},
        backend="web",
        asking=Asking(always=("o10151", "o10331"), confirm=confirm, value=value),
    )

    def keep(plant: Plant) -> Plant:
        name = plant.__name__
        _CANARIES[name] = WebCanary(name, (plant.__doc__ or "").rstrip("."), plant, made)
        return plant

    return keep


def all_web_canaries() -> dict[str, WebCanary]:
    """By name."""
    return dict(_CANARIES)


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """Run with a bug; an empty name runs without. Raises KeyError for a bug that does not exist."""
    with contextlib.ExitStack() as stack:
        if name:
            _CANARIES[name].plant(stack)
        yield


def _put(stack: contextlib.ExitStack, owner: Any, name: str, function: Any) -> None:
    stack.enter_context(patch.object(owner, name, function, create=not hasattr(owner, name)))


_REST = Step("place", "rest", "AAPL", "BUY", 10, "LMT", 300)
_MARKET = Step("place", "market", "AAPL", "BUY", 10, "MKT")


@_canary(_REST, faults=({"kind": "reset_after_write", "on": "place_order", "nth": 1},))
def second_post(stack: contextlib.ExitStack) -> None:
    """An order whose answer got lost is sent by a second POST."""
    original = WebOrders._see_through

    async def see_through(self: WebOrders, post: asyncio.Task[Any], orders: list[Any], operation: Operation) -> None:
        try:
            await post
        except OrderInDoubt:
            body = {"orders": [self._body(order, orders) for order in orders]}
            post = self._room.calls.begin("POST", f"iserver/account/{orders[0].account}/orders", body, timeout=5.0)
        except TradingError:
            pass
        await original(self, post, orders, operation)

    _put(stack, WebOrders, "_see_through", see_through)


@_canary(_MARKET, faults=({"kind": "reset_after_write", "on": "reply", "nth": 1},))
def second_reply(stack: contextlib.ExitStack) -> None:
    """A question whose answer got lost is answered again."""
    original = Questions._write

    async def write(self: Questions, *about: Any, confirmed: bool) -> Any:
        answer = await original(self, *about, confirmed=confirmed)
        return await original(self, *about, confirmed=confirmed) if isinstance(answer, Unclear) else answer

    _put(stack, Questions, "_write", write)


@_canary(
    _REST,
    Step("wait", seconds=90.0),
    faults=({"kind": "missing_end", "on": "open_orders", "nth": 1, "times": 10},),
    crashes=(Crash("after_write", nth=1, down=1.2),),
)
def list_without_snapshot(stack: contextlib.ExitStack) -> None:
    """A list of live orders without snapshot: true counts as evidence of absence, and nobody listens to sor."""
    original = WebCalls.get

    async def get(self: WebCalls, path: str, params: dict[str, Any] | None = None, *, timeout: float) -> Any:
        body = await original(self, path, params, timeout=timeout)
        return {**body, "snapshot": True} if path == "iserver/account/orders" and isinstance(body, dict) else body

    _put(stack, WebCalls, "get", get)
    _put(stack, Records, "on_orders", lambda *_: None)  # the second line of defence: it tells every order there is


@_canary(_MARKET, faults=(), confirm=("o163",))
def yes_to_everything(stack: contextlib.ExitStack) -> None:
    """Every question is confirmed, whatever the configuration says."""

    class Everything:
        def __init__(self, _: Sequence[str]) -> None:
            pass

        def issuperset(self, _: Sequence[str]) -> bool:
            return True

    _put(stack, questions_module, "frozenset", Everything)


@_canary(_MARKET, faults=())
def reply_unjournaled(stack: contextlib.ExitStack) -> None:
    """A question is confirmed without a line in the journal."""

    async def leave(*_: Any) -> str:
        return ""

    original = Questions.settle

    async def settle(self: Questions, *about: Any) -> Any:
        self.leave = leave
        return await original(self, *about)

    _put(stack, Questions, "settle", settle)


@_canary(*(Step("bracket", f"b{number}", "AAPL", "BUY", 10, "MKT", 500) for number in range(6)), faults=(), value=100)
def reply_out_of_turn(stack: contextlib.ExitStack) -> None:
    """Replies to questions are not counted among the requests of a second."""
    original = WebPace.request

    def request(self: WebPace, method: str, path: str, timeout: float) -> Any:
        if path.startswith("iserver/reply/"):
            return Unpaced().request(method, path, timeout)
        return original(self, method, path, timeout)

    _put(stack, WebPace, "request", request)


# --- the hunt ---------------------------------------------------------------------------------------------------------


def hunt_on_web(names: Sequence[str], *, library: str, at_once: int) -> list[Catch]:
    """All of them (or those that are named), several at a time; in their order."""
    with ThreadPoolExecutor(at_once, thread_name_prefix="hunt") as pool:
        return list(pool.map(lambda name: _hunt(name, library), names or _CANARIES))


def _hunt(name: str, library: str) -> Catch:
    from proof.sockets import run_schedule

    for number in range(TRIES):
        folder = Path(tempfile.mkdtemp(prefix="ibkr-proof-"))
        try:
            found = judge(run_schedule(_CANARIES[name].schedule, folder, library=library, canary=name)).violations
        finally:
            shutil.rmtree(folder)
        if found:
            return Catch(name, number + 1, number, found[0].invariant, found[0].text)
    return Catch(name, TRIES)


def clean(name: str, library: str = "auto") -> list[str]:
    """What the schedule of a bug breaks without the bug: nothing, or its catch would mean nothing."""
    from proof.sockets import run_schedule

    with tempfile.TemporaryDirectory(prefix="ibkr-proof-") as folder:
        verdict = judge(run_schedule(_CANARIES[name].schedule, Path(folder), library=library))
    return [f"{one.invariant} {one.text}" for one in verdict.violations]


def text(catches: Sequence[Catch]) -> str:
    """For people."""
    width = max(len(one.canary) for one in catches)
    lines = []
    for one in catches:
        how = f"caught by run {one.schedules}, {one.invariant}" if one.seed is not None else "GOT AWAY"
        lines.append(f"  {one.canary:<{width}}  {how:<28}  {_CANARIES[one.canary].what}")
    caught = sum(one.seed is not None for one in catches)
    return "\n".join([f"{caught} of {len(catches)} planted bugs were caught over the Web API", *lines])
