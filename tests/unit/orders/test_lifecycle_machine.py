"""An order's life under random broker behaviour, repeated and reordered messages, outages and crashes.

The model is a broker that never lies: what it says may come twice, late or in another order, but it happened. Whatever
the schedule: the filled quantity is the sum of the executions delivered, an order is taken for done only when it is
over at the broker, the changes rebuild the record, and a crash followed by asking the broker ends where no crash would
have.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ibkr_connector.backends.facts import BrokerFact, ExecutionSeen, Operation, OrderNotice
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import Change, decode_change, encode_change
from ibkr_connector.orders.entries import JournalOrder
from ibkr_connector.orders.evolve import evolve
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.record import Context, OrderRecord
from ibkr_connector.orders.recover import recover
from unit.orders.kit import (
    ACCOUNT,
    CLIENT_ID,
    ORDER_ID,
    PERM,
    UP,
    commission,
    completed,
    echo,
    fill,
    journal_order,
    notice,
    request,
    status,
)

QUANTITY = 100


@dataclass
class BrokerOrder:
    """One order as it really is."""

    perm_id: int
    quantity: Decimal
    filled: Decimal = Decimal(0)
    over: str = ""

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def word(self) -> str:
        return self.over or "Submitted"


@dataclass
class Broker:
    """The truth, and what is still on the wire."""

    orders: list[BrokerOrder] = field(default_factory=list)
    executions: dict[str, Execution] = field(default_factory=dict)
    wire: deque[BrokerFact] = field(default_factory=deque)

    def say(self, *facts: BrokerFact) -> None:
        self.wire.extend(facts)

    def echo_of(self, order: BrokerOrder, word: str = "") -> BrokerFact:
        return echo(status=word or order.word, perm_id=order.perm_id, quantity=order.quantity)

    def status_of(self, order: BrokerOrder, word: str = "") -> BrokerFact:
        return status(word or order.word, order.filled, order.remaining, perm_id=order.perm_id)

    def records(self) -> list[BrokerFact]:
        """The answers to open orders, completed orders and executions."""
        facts: list[BrokerFact] = []
        for order in self.orders:
            if order.over:
                facts.append(completed(order.over, order.filled, perm_id=order.perm_id, quantity=order.quantity))
            else:
                facts += [self.echo_of(order), self.status_of(order)]
        return facts + [ExecutionSeen(execution=one, replayed=True) for one in self.executions.values()]


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker()
        self.record = steps.new_record(request(), account=ACCOUNT)
        self.shadow = steps.new_record(request(), account=ACCOUNT)
        self.history: list[Change] = []
        self.delivered: list[BrokerFact] = []
        self.seen: dict[str, Execution] = {}
        self.rejected = False
        self.up = True
        self.epoch = 1

    # --- what happens ---

    @property
    def ctx(self) -> Context:
        return replace(UP, link_up=self.up, epoch=self.epoch)

    def take(self, changes: list[Change]) -> list[Change]:
        self.history += changes
        for change in changes:
            evolve(self.shadow, reread(change))
        return changes

    @initialize()
    def send(self) -> None:
        self.take(steps.committed(self.record, order_id=ORDER_ID, client_id=CLIENT_ID, ctx=self.ctx))

    @precondition(lambda self: not self.broker.orders and not self.rejected)
    @rule(refuse=st.booleans(), inactive=st.booleans())
    def arrive(self, refuse: bool, inactive: bool) -> None:
        if refuse:
            self.rejected = True
            self.broker.say(notice(201, "margin"))
            if inactive:
                self.broker.say(status("Inactive", perm_id=PERM))
            return
        order = BrokerOrder(PERM, Decimal(QUANTITY))
        self.broker.orders.append(order)
        for word in ("PreSubmitted", "Submitted"):
            self.broker.say(self.broker.echo_of(order, word), self.broker.status_of(order, word))

    @property
    def working(self) -> list[BrokerOrder]:
        return [order for order in self.broker.orders if not order.over]

    @precondition(lambda self: self.working)
    @rule(data=st.data(), status_first=st.booleans())
    def fill(self, data: st.DataObject, status_first: bool) -> None:
        order = data.draw(st.sampled_from(self.working))
        quantity = Decimal(data.draw(st.integers(1, int(order.remaining))))
        order.filled += quantity
        if order.remaining == 0:
            order.over = "Filled"
        number = len(self.broker.executions) + 1
        fact = fill(quantity, f"x{number}.01", perm_id=order.perm_id, cum_quantity=order.filled)
        self.broker.executions[fact.execution.base_id] = fact.execution
        news = [fact, self.broker.status_of(order)]
        self.broker.say(*(reversed(news) if status_first else news))
        self.broker.say(commission(fact.execution.exec_id, "1"))

    @precondition(lambda self: self.broker.executions)
    @rule(data=st.data(), price=st.integers(1, 50))
    def correct(self, data: st.DataObject, price: int) -> None:
        known = self.broker.executions[data.draw(st.sampled_from(sorted(self.broker.executions)))]
        revision = int(known.exec_id.rpartition(".")[2]) + 1
        new = replace(known, exec_id=f"{known.base_id}.{revision:02}", price=Decimal(price))
        self.broker.executions[new.base_id] = new
        self.broker.say(ExecutionSeen(execution=new))

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def broker_cancels(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(self.working)))

    def end(self, order: BrokerOrder) -> None:
        order.over = "Cancelled"
        self.broker.say(self.broker.status_of(order))
        if len(self.broker.orders) == 1:
            self.broker.say(notice(202, "Order Canceled - reason:"))

    @precondition(lambda self: self.record.ended is None)
    @rule(answer=st.sampled_from(["honour", "refuse", "silence"]))
    def cancel(self, answer: str) -> None:
        self.take(steps.cancel_sent(self.record, self.ctx))
        if answer == "honour":
            for order in self.working:
                self.broker.say(self.broker.status_of(order, "PendingCancel"))
                self.end(order)
        elif answer == "refuse" and self.broker.orders:
            self.broker.say(notice(10148, "can not be cancelled, state: Filled."))

    @precondition(
        lambda self: self.record.echoed_epoch == self.epoch and not self.record.outstanding and not self.record.in_doubt
    )
    @rule(quantity=st.integers(1, 200), answer=st.sampled_from(["honour", "refuse", "silence", "lose", "fork"]))
    def modify(self, quantity: int, answer: str) -> None:
        if self.record.ended is not None or self.record.is_forked or quantity <= self.record.filled:
            return
        new = replace(self.record.terms, quantity=Decimal(quantity))
        self.take(steps.modify_sent(self.record, new, self.ctx))
        order = self.broker.orders[0]
        possible = not order.over and quantity > order.filled
        if answer == "honour" and possible:
            order.quantity = Decimal(quantity)
            self.broker.say(self.broker.echo_of(order), self.broker.status_of(order))
        elif answer == "lose" and possible:
            order.quantity = Decimal(quantity)
        elif answer == "fork" and possible:
            other = BrokerOrder(PERM + 1, Decimal(quantity))
            self.broker.orders.append(other)
            self.broker.say(self.broker.echo_of(other), self.broker.status_of(other))
        elif answer != "silence":
            self.broker.say(notice(201, "no change"))

    # --- the wire ---

    def deliver(self, fact: BrokerFact) -> list[Change]:
        was_done = self.record.is_done
        changes = self.take(apply(self.record, fact, self.ctx))
        self.delivered.append(fact)
        if isinstance(fact, ExecutionSeen):
            known = self.seen.get(fact.execution.base_id)
            if known is None or fact.execution.exec_id > known.exec_id:
                self.seen[fact.execution.base_id] = fact.execution
        if was_done and not self.record.is_done:
            assert "revived" in [change.kind for change in changes]
        if not isinstance(fact, OrderNotice):  # an error is told once: repeated it would answer another operation
            assert apply(self.record, fact, self.ctx) == [], f"{fact} is not idempotent"
        return changes

    @precondition(lambda self: self.broker.wire)
    @rule(count=st.integers(1, 6))
    def messages(self, count: int) -> None:
        for _ in range(min(count, len(self.broker.wire))):
            self.deliver(self.broker.wire.popleft())

    @precondition(lambda self: len(self.broker.wire) > 1)
    @rule()
    def swap(self) -> None:
        first, second = self.broker.wire.popleft(), self.broker.wire.popleft()
        self.broker.wire.extendleft([first, second])

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        old = data.draw(st.sampled_from(self.delivered))
        if not isinstance(old, OrderNotice):
            self.deliver(old)

    @rule()
    def outage(self) -> None:
        self.up = not self.up
        if not self.up:
            self.take(steps.link_lost(self.record, "1100", self.ctx))

    @rule()
    def reconnect(self) -> None:
        """What was on the wire is lost; the broker is asked."""
        self.take(steps.link_lost(self.record, "socket closed", self.ctx))
        self.broker.wire.clear()
        self.up, self.epoch = True, self.epoch + 1
        for fact in self.broker.records():
            self.deliver(fact)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """The newest changes were not written (the commits of SENDING and MODIFY were); the broker is asked."""
        durable = max(
            number for number, change in enumerate(self.history) if change.kind in ("committed", "modify_sent")
        )
        kept = data.draw(st.integers(durable + 1, len(self.history)))
        history = self.history[:kept]
        undisturbed = self.record
        steps.link_lost(undisturbed, "socket closed", self.ctx)
        recovered, changes = recover(journaled(history), self.ctx)
        history += changes
        self.broker.wire.clear()
        self.up, self.epoch = True, self.epoch + 1
        for fact in self.broker.records():
            apply(undisturbed, fact, self.ctx)
            history += apply(recovered, fact, self.ctx)
        self.same(recovered, undisturbed)
        self.record, self.history, self.shadow = recovered, history, fold(history)
        self.seen = dict(self.broker.executions)
        self.delivered.clear()

    def same(self, recovered: OrderRecord, undisturbed: OrderRecord) -> None:
        """INV-14. An answer that was heard before the crash and not written is still awaited: that may differ."""
        assert recovered.fills.keys() == undisturbed.fills.keys()
        assert recovered.filled == undisturbed.filled
        assert recovered.avg_fill_price == undisturbed.avg_fill_price
        assert recovered.open_quantity >= undisturbed.open_quantity
        if self.broker.orders:
            assert recovered.perm_ids == undisturbed.perm_ids
            assert recovered.is_done == undisturbed.is_done
            if recovered.is_done:
                assert recovered.state is undisturbed.state
            elif not recovered.in_doubt:
                assert recovered.terms == undisturbed.terms
        if not recovered.is_done:  # that a cancel was sent may be forgotten: it can be sent again
            assert recovered.doubts.keys() >= undisturbed.doubts.keys() - {Operation.CANCEL}

    # --- what must hold ---

    @invariant()
    def filled_is_the_sum_of_the_executions(self) -> None:
        assert self.record.fills.keys() == self.seen.keys()
        assert self.record.filled == sum((one.quantity for one in self.seen.values()), Decimal(0))
        for base_id, one in self.seen.items():
            assert (self.record.fills[base_id].exec_id, self.record.fills[base_id].price) == (one.exec_id, one.price)

    @invariant()
    def done_means_over_at_the_broker(self) -> None:
        if self.record.is_done:
            known = [order for order in self.broker.orders if order.perm_id in self.record.perm_ids]
            assert all(order.over for order in known)

    @invariant()
    def nothing_that_can_fill_is_left_out(self) -> None:
        known = [
            order for order in self.broker.orders if order.perm_id in self.record.perm_ids or order.perm_id == PERM
        ]
        can_fill = sum((order.remaining for order in known if not order.over), Decimal(0))
        assert self.record.open_quantity >= can_fill

    @invariant()
    def the_changes_rebuild_the_record(self) -> None:
        # Connections of an ended process mean nothing: recovery forgets their numbers, the changes keep them.
        self.shadow.sent_epochs, self.shadow.echoed_epoch = dict(self.record.sent_epochs), self.record.echoed_epoch
        assert self.shadow == self.record

    def teardown(self) -> None:
        while self.broker.wire:
            self.deliver(self.broker.wire.popleft())
        if not self.up:
            self.outage()
        for fact in self.broker.records():
            self.deliver(fact)
        if not self.broker.orders:
            assert not self.record.is_done or self.rejected
            return
        if self.working:
            assert not self.record.is_done
        else:
            assert self.record.is_done
            assert not self.record.in_doubt
            whole = self.record.filled >= self.record.terms.quantity
            filled = whole or all(order.over == "Filled" for order in self.broker.orders)
            assert self.record.state is (OrderState.FILLED if filled else OrderState.CANCELLED)


def reread(change: Change) -> Change:
    """The change after a round through the disk."""
    return decode_change(change.kind, encode_change(change))


def journaled(history: list[Change]) -> JournalOrder:
    """What the journal gives back of these changes."""
    return journal_order(changes=tuple(reread(change) for change in history), group="", parent_ref="")


def fold(history: list[Change]) -> OrderRecord:
    """The record from the changes alone, as they come back from the disk."""
    record = steps.new_record(request(), account=ACCOUNT)
    for change in history:
        evolve(record, reread(change))
    return record


TestLife = Life.TestCase
TestLife.settings = settings(stateful_step_count=30)
