"""A random walk through everything the exchange can be asked, with its books checked after every step."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ibkr_connector.paper import sessions
from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.orders import AT_CLOSE, Order, Stage
from ibkr_connector.paper.exchange.types import OrderChanged, OrderStatus
from unit.paper.exchange.kit import AAPL, ACCOUNT, MSFT, World

CENT = Decimal("0.01")
FINAL = {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.INACTIVE, OrderStatus.API_CANCELLED}
instruments = st.sampled_from([AAPL, MSFT])
prices = st.integers(9_950, 10_050).map(lambda cents: CENT * cents)
sizes = st.integers(0, 400)
quantities = st.integers(1, 300)
sides = st.sampled_from(["BUY", "SELL"])
behaviors = st.sampled_from(
    [
        ExchangeBehavior.instant(),
        ExchangeBehavior(),
        ExchangeBehavior(ack_latency=(0, 2), fill_latency=(0, 2), cancel_latency=(0, 2), commission_latency=(0, 2)),
    ]
)


class ExchangeMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(behavior=ExchangeBehavior(), cash=Decimal(500_000))
        self.orders: list[tuple[int, int]] = []
        self.brackets: list[tuple[Order, list[Order]]] = []
        self.changed: set[tuple[int, int]] = set()
        self.seen = 0
        self.final: dict[tuple[int, int], OrderStatus] = {}

    @initialize(behavior=behaviors, seed=st.integers(0, 3))
    def begin(self, behavior: ExchangeBehavior, seed: int) -> None:
        self.world = World(behavior=behavior, seed=seed, cash=Decimal(500_000))
        self.seen = 0
        for instrument in (AAPL, MSFT):
            self.world.quote("100.00", "100.05", instrument=instrument)

    # --- the market ---

    @rule(instrument=instruments, bid=prices, spread=st.integers(1, 8), bid_size=sizes, ask_size=sizes)
    def quote(self, instrument: Any, bid: Decimal, spread: int, bid_size: int, ask_size: int) -> None:
        self.world.quote(bid, bid + CENT * spread, bid_size=bid_size, ask_size=ask_size, instrument=instrument)

    @rule(instrument=instruments, price=prices, size=st.integers(1, 400))
    def trade(self, instrument: Any, price: Decimal, size: int) -> None:
        self.world.trade(price, size, instrument=instrument)

    @rule(instrument=instruments, halted=st.booleans())
    def halt(self, instrument: Any, halted: bool) -> None:
        (self.world.exchange.halt if halted else self.world.exchange.resume)(instrument)

    @rule(seconds=st.sampled_from([1, 60, 600]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(outside=st.booleans())
    def wait_for_hours_to_begin_or_end(self, outside: bool) -> None:
        now = self.world.clock.now()
        if sessions.is_open(AAPL, now, outside):
            self.world.at(sessions.next_close(AAPL, now, outside))
        else:
            self.world.at(sessions.next_open(AAPL, now, outside))
            self.quote(AAPL, Decimal("100.00"), 5, 300, 300)
            self.quote(MSFT, Decimal("100.00"), 5, 300, 300)

    # --- requests ---

    def _place(self, client: int, **fields: Any) -> Order | None:
        order_id = self.world.place(client_id=client, run=fields.pop("run", 0.5), **fields)
        self.orders.append((client, order_id))
        return self.world.exchange._core.registry.get(client, order_id)

    @rule(
        client=st.integers(1, 2),
        instrument=instruments,
        action=sides,
        quantity=quantities,
        kind=st.sampled_from(
            ["MKT", "LMT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC", "LOC", "FEELINGS"]
        ),
        limit=prices,
        aux=prices,
        tif=st.sampled_from(["DAY", "GTC", "IOC", "FOK"]),
        outside=st.booleans(),
        group=st.sampled_from(["", "", "A", "B"]),
        oca_type=st.integers(0, 3),
        transmit=st.sampled_from([True, True, True, False]),
        whole=st.sampled_from([False, False, True]),
    )
    def place(self, client: int, kind: str, aux: Decimal, **rest: Any) -> None:
        trailing = kind.startswith("TRAIL")
        self._place(
            client,
            order_type=kind,
            aux=Decimal("0.10") if trailing else aux,
            extras={"limit_price_offset": "0.05"} if trailing else {},
            instrument=rest["instrument"],
            action=rest["action"],
            quantity=rest["quantity"],
            limit=rest["limit"],
            tif=rest["tif"] if kind in {"MKT", "LMT"} else "DAY",
            outside_rth=rest["outside"],
            oca_group=rest["group"],
            oca_type=rest["oca_type"],
            transmit=rest["transmit"],
            all_or_none=rest["whole"],
        )

    @rule(instrument=instruments, action=sides, quantity=quantities, limit=prices, width=st.integers(1, 60))
    def bracket(self, instrument: Any, action: str, quantity: int, limit: Decimal, width: int) -> None:
        exit_side = "SELL" if action == "BUY" else "BUY"
        up, down = limit + CENT * width, limit - CENT * width
        profit, loss = (up, down) if action == "BUY" else (down, up)
        common: dict[str, Any] = {"instrument": instrument, "quantity": quantity, "tif": "GTC"}
        parent = self._place(1, action=action, order_type="LMT", limit=limit, transmit=False, **common)
        if parent is None or parent.stage is Stage.DONE:
            return
        parent_id = parent.ticket.order_id
        take = self._place(
            1, action=exit_side, order_type="LMT", limit=profit, parent_id=parent_id, transmit=False, **common
        )
        stop = self._place(1, action=exit_side, order_type="STP", aux=loss, parent_id=parent_id, **common)
        assert take is not None
        assert stop is not None
        self.brackets.append((parent, [take, stop]))

    @precondition(lambda self: self.orders)
    @rule(pick=st.integers(0, 10**6), quantity=quantities, limit=prices, kind=st.sampled_from(["LMT", "MKT", "STP"]))
    def change(self, pick: int, quantity: int, limit: Decimal, kind: str) -> None:
        client, order_id = self.orders[pick % len(self.orders)]
        order = self.world.exchange._core.registry.get(client, order_id)
        if order is None:
            return
        self.changed.add(order.key)
        old = order.ticket
        self.world.place(
            old.action,
            quantity,
            kind,
            limit,
            limit,
            order_id=order_id,
            client_id=client,
            instrument=old.instrument,
            tif=old.tif,
            run=0.5,
        )

    @precondition(lambda self: self.orders)
    @rule(pick=st.integers(0, 10**6), run=st.sampled_from([0, 0.5]))
    def cancel(self, pick: int, run: float) -> None:
        client, order_id = self.orders[pick % len(self.orders)]
        self.world.cancel(order_id, client_id=client, run=run)

    @rule(client=st.integers(1, 2), really=st.integers(0, 9))
    def cancel_everything(self, client: int, really: int) -> None:
        if really == 0:
            self.world.exchange.global_cancel(client)

    # --- what must always hold ---

    @property
    def _live(self) -> list[Order]:
        return self.world.exchange._core.registry.live()

    @invariant()
    def money_adds_up(self) -> None:
        account = self.world.exchange._core.accounts[ACCOUNT]
        gained = account.net_liquidation() - account.spec.initial_cash
        assert abs(gained - account.realized_in() - account.unrealized_in()) < Decimal("1e-9")

    @invariant()
    def working_quantities_are_those_of_the_live_orders(self) -> None:
        account = self.world.exchange._core.accounts[ACCOUNT]
        for instrument in (AAPL, MSFT):
            for index, side in enumerate(("BUY", "SELL")):
                expected = sum(
                    order.remaining
                    for order in self._live
                    if order.stage not in {Stage.HELD, Stage.SENT}
                    and order.parent is None
                    and (order.ticket.instrument, order.ticket.action) == (instrument, side)
                )
                assert account.working(instrument)[index] == expected

    @invariant()
    def every_working_order_is_in_the_book_exactly_once(self) -> None:
        for instrument in (AAPL, MSFT):
            book = self.world.exchange._life.book(instrument)
            places = [
                *book._stops.values(),
                *book._waiting.values(),
                *(entry[2] for entry in book._bids),
                *(entry[2] for entry in book._asks),
            ]
            assert all(order.stage is Stage.WORKING for order in places)
            assert len({id(order) for order in places}) == len(places)
            working = [
                order
                for order in self._live
                if order.stage is Stage.WORKING
                and order.ticket.instrument == instrument
                and order.ticket.order_type not in AT_CLOSE
            ]
            assert {id(o) for o in working} == {id(o) for o in places if o.ticket.order_type not in AT_CLOSE}
            assert book._bids == sorted(book._bids, key=lambda entry: entry[:2])
            assert book._asks == sorted(book._asks, key=lambda entry: entry[:2])

    @invariant()
    def children_never_do_more_than_their_parent(self) -> None:
        for parent, children in self.brackets:
            if not self.changed & {order.key for order in (parent, *children)}:
                assert sum(child.filled for child in children) <= parent.filled

    @invariant()
    def nobody_fills_more_than_was_asked(self) -> None:
        for order in self._live:
            assert 0 <= order.filled < order.ticket.quantity

    @invariant()
    def a_final_status_is_final(self) -> None:
        events = self.world.events[self.seen :]
        self.seen = len(self.world.events)
        for event in events:
            if isinstance(event, OrderChanged) and event.status:
                view = event.order
                key = (view.ticket.client_id, view.ticket.order_id)
                assert self.final.get(key, view.status) == view.status
                if view.status in FINAL:
                    self.final[key] = view.status

    @invariant()
    def every_order_that_ended_was_said_to_have_ended(self) -> None:
        if self.world.exchange.next_event_at() == self.world.clock.now():
            return
        for order in self.world.exchange._core.registry.completed:
            assert self.final[order.key] == order.status


ExchangeMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestWholeExchange = ExchangeMachine.TestCase
