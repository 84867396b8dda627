"""Bugs that are planted one at a time: the proof must catch each of them, or it proves nothing.

Each is what somebody has shipped, or would find reasonable. They are patches of the connector's own classes, made here
and nowhere in the product; a run with one of them is judged like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from ibkr_connector.backends.facts import Operation, OrderNotice
from ibkr_connector.backends.ids import Ids
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import (
    manager as manager_module,
    modifier as modifier_module,
    modify as modify_module,
    recover as recover_module,
    steps,
)
from ibkr_connector.orders.canceller import OrderCanceller
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.lifecycle import _Message
from ibkr_connector.orders.record import OrderRecord
from ibkr_connector.orders.road import OrderRoad
from ibkr_connector.orders.sender import OrderSender
from ibkr_connector.orders.step import Step
from ibkr_connector.portfolio.positions import PositionBook
from proof.ground import InlineBus, StepJournal

Patch = Callable[[contextlib.ExitStack], None]
_CANARIES: dict[str, Canary] = {}


@dataclass(frozen=True, slots=True)
class Canary:
    """One planted bug."""

    name: str
    what: str
    plant: Patch


def canary(plant: Patch) -> Patch:
    """Keep a bug under the name of its function; its docstring says what it does."""
    name = plant.__name__
    _CANARIES[name] = Canary(name, (plant.__doc__ or "").rstrip("."), plant)
    return plant


def all_canaries() -> dict[str, Canary]:
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
    stack.enter_context(patch.object(owner, name, function))


# --- sending ----------------------------------------------------------------------------------------------------------


@canary
def resend_on_timeout(stack: contextlib.ExitStack) -> None:
    """An order without an answer is sent again."""
    original = OrderSender._doubt

    def doubt(self: OrderSender, legs: Sequence[Any], why: str) -> None:
        original(self, legs, why)
        for leg in legs:
            if leg.wire is not None and self._session.link.broker_link:
                number = self._session.backend.take_id()
                with contextlib.suppress(Exception):
                    self._session.backend.order_frame(replace(leg.wire, order_id=number))()

    _put(stack, OrderSender, "_doubt", doubt)


@canary
def commit_after_write(stack: contextlib.ExitStack) -> None:
    """The journal is written behind the order."""
    original = StepJournal.commit_sending

    async def commit(self: StepJournal, entries: Sequence[Any], **how: Any) -> bool:
        async def later() -> None:
            await asyncio.sleep(0.01)
            await original(self, entries, **how)

        self.disk.late = asyncio.ensure_future(later())  # type: ignore[attr-defined]
        return True

    _put(stack, StepJournal, "commit_sending", commit)


@canary
def no_sending(stack: contextlib.ExitStack) -> None:
    """After a crash an order that was being sent counts as not sent."""
    original = recover_module.recover

    def recover(order: Any, ctx: Any) -> Any:
        record, changes = original(order, ctx)
        if Operation.NEW in record.doubts and not record.acknowledged:
            changes += steps.not_sent(record, "never sent", ctx)
        return record, changes

    _put(stack, manager_module, "recover", recover)


@canary
def id_rollback(stack: contextlib.ExitStack) -> None:
    """The gateway's nextValidId is believed."""
    told: set[int] = set()

    def new_connection(self: Ids) -> None:
        told.discard(id(self))
        self._next = 1

    def allow_from(self: Ids, first: int) -> None:
        if id(self) not in told:  # the first is nextValidId; what the journal remembers comes after it
            told.add(id(self))
            self._next = first

    _put(stack, Ids, "new_connection", new_connection)
    _put(stack, Ids, "allow_from", allow_from)
    _put(stack, Ids, "saw_order", lambda self, order_id: self.orders.add(order_id))


# --- limits -----------------------------------------------------------------------------------------------------------


@canary
def released_on_timeout(stack: contextlib.ExitStack) -> None:
    """A timeout gives the reservation back."""
    original = OrderSender._doubt

    def doubt(self: OrderSender, legs: Sequence[Any], why: str) -> None:
        original(self, legs, why)
        for leg in legs:
            if leg.live.record.in_doubt:
                self._risk.on_done(leg.live.ref)

    _put(stack, OrderSender, "_doubt", doubt)


@canary
def position_twice(stack: contextlib.ExitStack) -> None:
    """Executions that a snapshot of the positions holds are counted on top of it."""
    original = PositionBook.install

    def install(self: PositionBook, positions: Any, mark: int) -> bool:
        since = dict(self._since)
        taken = original(self, positions, mark)
        if taken:
            self._since = since
        return taken

    _put(stack, PositionBook, "install", install)


@canary
def kill_before_commit(stack: contextlib.ExitStack) -> None:
    """Kill and limits are checked before the commit only."""
    _put(stack, OrderRoad, "refusal", lambda *_: "")


# --- the broker's word ------------------------------------------------------------------------------------------------


@canary
def modify_after_restart(stack: contextlib.ExitStack) -> None:
    """An order is changed although this connection has not seen it."""
    original = modify_module.check_modify

    def check(record: OrderRecord, epoch: int, *, link_up: bool = True) -> OrderTerms:
        if record.ended is not None:
            return original(record, epoch, link_up=link_up)
        return record.echo or record.terms

    _put(stack, modify_module, "check_modify", check)
    _put(stack, modifier_module, "check_modify", check)


@canary
def correction_added(stack: contextlib.ExitStack) -> None:
    """A correction is added to the execution it corrects."""
    _put(stack, Execution, "base_id", property(lambda self: self.exec_id))


@canary
def error_201_ends(stack: contextlib.ExitStack) -> None:
    """Error 201 ends whatever order it names."""
    original = _Message.notice

    def notice(self: _Message, fact: OrderNotice) -> None:
        branches = list(self.record.branches.values())
        if fact.code == 201 and self.record.ended is None and len(branches) == 1:
            self.end_told(branches[0], OrderState.REJECTED, fact.code, fact.text)
            self.conclude()
            return
        original(self, fact)

    _put(stack, _Message, "notice", notice)


@canary
def silence_is_absence(stack: contextlib.ExitStack) -> None:
    """An order without an answer counts as never sent."""
    original = OrderSender._doubt

    def doubt(self: OrderSender, legs: Sequence[Any], why: str) -> None:
        original(self, legs, why)
        for leg in legs:
            if leg.live.record.in_doubt:
                evidence = "no answer"
                changes = steps.settle_absent(leg.live.record, Operation.NEW, evidence, self._desk.context())
                self._desk.tell(leg.live, changes)

    _put(stack, OrderSender, "_doubt", doubt)


@canary
def fork_unseen(stack: contextlib.ExitStack) -> None:
    """A second order that the broker made of one is overlooked."""
    original = Step.branch

    def branch(self: Step, fact: Any) -> Any:
        known = self.record.branches
        if known and fact.perm_id and fact.perm_id not in known and self.record.perm_ids:
            return None
        return original(self, fact)

    _put(stack, Step, "branch", branch)


# --- getting out ------------------------------------------------------------------------------------------------------


@canary
def cancel_behind_disk(stack: contextlib.ExitStack) -> None:
    """A cancel waits for the journal."""
    original = OrderCanceller._write

    async def write(self: OrderCanceller, live: Any) -> bool:
        journal = self._desk.journal
        if journal is not None:
            await journal.flush()
        return await original(self, live)

    _put(stack, OrderCanceller, "_write", write)


@canary
def anything_without_journal(stack: contextlib.ExitStack) -> None:
    """Orders that add risk go out although the journal cannot be written."""
    _put(stack, OrderRoad, "only_reduces", lambda *_: True)


@canary
def nothing_without_journal(stack: contextlib.ExitStack) -> None:
    """No order goes out while the journal cannot be written, not even one that only reduces."""
    _put(stack, OrderRoad, "only_reduces", lambda *_: False)


@canary
def cancel_once(stack: contextlib.ExitStack) -> None:
    """A cancel that got lost in an outage is not sent again."""
    _put(stack, OrderCanceller, "resend", lambda *_: None)
    _put(stack, OrderCanceller, "_on_changes", lambda *_: None)


@canary
def listener_in_the_way(stack: contextlib.ExitStack) -> None:
    """A listener that raises stands in the way of the order."""

    def publish(self: InlineBus, event: Any) -> None:
        for listener in tuple(self._told):
            listener(event)
        raise RuntimeError("a listener failed")

    _put(stack, InlineBus, "publish", publish)
