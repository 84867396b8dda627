"""INV-05: |position + in flight| stays within the limit at every step, against a naive book and under 32 threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ibkr_connector.models import BracketRequest, Contract, OrderRequest
from ibkr_connector.risk import InstrumentView, PriceView, RiskEngine, RiskLimits, RiskSnapshot

LIMIT = 20
IDS = (1, 2)
LIMITS = RiskLimits(
    max_position_size=Decimal(LIMIT),
    max_order_size=None,
    max_order_value=None,
    daily_loss_limit=None,
    check_market_hours=False,
)
BASE = RiskSnapshot(
    account="DU1",
    currency="USD",
    now=datetime(2026, 11, 20, 15, 0, tzinfo=UTC),
    instruments={con_id: InstrumentView(con_id=con_id, currency="USD") for con_id in IDS},
    prices={con_id: PriceView(bid=Decimal(9), ask=Decimal(10)) for con_id in IDS},
    fee_estimate=Decimal(1),
)


def order(con_id: int, sign: int, quantity: int, ref: str, **prices: int) -> OrderRequest:
    kind = "STP" if "stop_price" in prices else "LMT" if "limit_price" in prices else "MKT"
    return OrderRequest.make(
        contract=Contract.stock("X").with_con_id(con_id),
        action="BUY" if sign > 0 else "SELL",
        quantity=quantity,
        order_ref=ref,
        order_type=kind,
        **prices,
    )


@dataclass
class Live:
    """An order as the naive book keeps it."""

    ref: str
    con_id: int
    sign: int
    quantity: int
    filled: int = 0
    held: int = 0
    """max(old, new) while a change is open."""
    entry: Live | None = None
    exits: list[Live] = field(default_factory=list)
    committed: bool = False

    @property
    def open(self) -> int:
        return max(self.quantity, self.held) - self.filled


class RiskMachine(RuleBasedStateMachine):
    @initialize(start=st.integers(-LIMIT, LIMIT))
    def begin(self, start: int) -> None:
        self.engine = RiskEngine(LIMITS)
        self.positions = {1: start, 2: 0}
        self.live: dict[str, Live] = {}
        self.number = 0

    def view(self) -> RiskSnapshot:
        return replace(BASE, positions={key: Decimal(value) for key, value in self.positions.items()})

    def ref(self) -> str:
        self.number += 1
        return f"r{self.number}"

    def reach(self, con_id: int, sign: int, without: str = "") -> int:
        """The farthest position on a side if everything fills as unluckily as the broker's rules allow."""
        reach = self.positions[con_id]
        seen: set[str] = set()
        for live in self.live.values():
            if live.con_id != con_id or live.sign != sign or live.ref == without:
                continue
            if live.entry is None:
                reach += sign * live.open
            elif live.entry.ref not in seen:
                seen.add(live.entry.ref)
                siblings = [leg for leg in live.entry.exits if leg.ref in self.live]
                brought = live.entry.filled - sum(leg.filled for leg in live.entry.exits)
                reach += sign * min(max(leg.open for leg in siblings if leg.ref != without), max(brought, 0))
        return reach

    @rule(con_id=st.sampled_from(IDS), sign=st.sampled_from((1, -1)), quantity=st.integers(1, 2 * LIMIT))
    def place(self, con_id: int, sign: int, quantity: int) -> None:
        expected = sign * (self.reach(con_id, sign) + sign * quantity) <= LIMIT
        ref = self.ref()
        decision = self.engine.check_and_reserve(order(con_id, sign, quantity, ref), self.view())
        assert decision.allowed is expected
        if decision.allowed:
            self.live[ref] = Live(ref, con_id, sign, quantity)

    @rule(con_id=st.sampled_from(IDS), sign=st.sampled_from((1, -1)), quantity=st.integers(1, LIMIT))
    def place_bracket(self, con_id: int, sign: int, quantity: int) -> None:
        expected = sign * (self.reach(con_id, sign) + sign * quantity) <= LIMIT
        ref = self.ref()
        whole = BracketRequest(
            entry=order(con_id, sign, quantity, ref, limit_price=100),
            take_profit=order(con_id, -sign, quantity, f"{ref}.tp", limit_price=100 + 5 * sign),
            stop_loss=order(con_id, -sign, quantity, f"{ref}.sl", stop_price=100 - 5 * sign),
        )
        decision = self.engine.check_and_reserve_bracket(whole, self.view())
        assert decision.allowed is expected
        if decision.allowed:
            entry = Live(ref, con_id, sign, quantity)
            entry.exits = [Live(f"{ref}.{leg}", con_id, -sign, quantity, entry=entry) for leg in ("tp", "sl")]
            self.live |= {live.ref: live for live in (entry, *entry.exits)}

    @precondition(lambda self: self.live)
    @rule(data=st.data(), quantity=st.integers(1, 2 * LIMIT))
    def change(self, data: st.DataObject, quantity: int) -> None:
        live = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        if live.entry is not None or live.exits or quantity <= live.filled:
            return
        expected = live.sign * self.reach(live.con_id, live.sign, live.ref) + quantity - live.filled <= LIMIT
        request = order(live.con_id, live.sign, quantity, live.ref)
        assert self.engine.check_and_reserve_change(request, self.view()).allowed is expected
        if expected:
            live.held = max(live.held, live.quantity, quantity)
            live.quantity = quantity

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def settle_change(self, data: st.DataObject) -> None:
        live = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        live.quantity = max(live.quantity, live.filled)
        live.held = 0
        self.engine.on_open(live.ref, Decimal(live.open))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def commit_or_release(self, data: st.DataObject) -> None:
        live = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        if live.entry is not None or live.exits or live.filled:
            return
        if data.draw(st.booleans()):
            self.engine.commit(live.ref)
            live.committed = True
        elif live.committed:
            with pytest.raises(RuntimeError):
                self.engine.release(live.ref)
        else:
            self.engine.release(live.ref)
            del self.live[live.ref]

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        live = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        most = live.open
        if live.entry is not None:
            most = min(most, live.entry.filled - sum(leg.filled for leg in live.entry.exits))
        if most < 1:
            return
        quantity = data.draw(st.integers(1, most))
        live.filled += quantity
        live.committed = True
        self.engine.commit(live.ref)
        with self.engine.atomically():
            self.positions[live.con_id] += live.sign * quantity
            self.engine.on_fill(live.ref, Decimal(live.filled), Decimal(live.open))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        live = self.live.pop(data.draw(st.sampled_from(sorted(self.live))))
        self.engine.on_done(live.ref)

    @invariant()
    def nothing_can_pass_the_limit(self) -> None:
        if not hasattr(self, "engine"):
            return
        for con_id in IDS:
            exposure = self.engine.reserved_exposure(con_id)
            position = self.positions[con_id]
            assert position + exposure.buys == self.reach(con_id, 1) <= LIMIT
            assert position - exposure.sells == self.reach(con_id, -1) >= -LIMIT
        assert set(self.engine._book.refs()) == set(self.live)


TestRiskModel = RiskMachine.TestCase


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Broker(RiskSnapshot):
    """A view whose position is the account's, now; read and changed under the engine's lock."""

    def position(self, con_id: int, sign: int) -> Decimal | None:
        return _POSITIONS[con_id]


_POSITIONS: dict[int, Decimal] = {}


@pytest.mark.usefixtures("eager_threads")
def test_32_threads_against_one_limit_never_pass_it() -> None:
    _POSITIONS.update({con_id: Decimal(0) for con_id in IDS})
    engine = RiskEngine(LIMITS)
    view = Broker(**{name: getattr(BASE, name) for name in RiskSnapshot.__slots__})
    broken: list[str] = []
    placed: list[int] = []
    start = threading.Barrier(32)

    def look() -> None:
        with engine.atomically():
            for con_id in IDS:
                exposure = engine.reserved_exposure(con_id)
                high, low = _POSITIONS[con_id] + exposure.buys, _POSITIONS[con_id] - exposure.sells
                if high > LIMIT or low < -LIMIT:
                    broken.append(f"{con_id}: {low}..{high}")

    def work(seed: int) -> None:
        rng = Random(seed)
        start.wait()
        count = 0
        for step in range(60):
            con_id, sign, quantity = rng.choice(IDS), rng.choice((1, -1)), rng.randint(1, 12)
            ref = f"{seed}-{step}"
            if not engine.check_and_reserve(order(con_id, sign, quantity, ref), view).allowed:
                continue
            count += 1
            look()
            engine.commit(ref)
            filled = rng.randint(0, quantity)
            for done in range(1, filled + 1):
                with engine.atomically():
                    _POSITIONS[con_id] += sign
                    engine.on_fill(ref, Decimal(done), Decimal(quantity - done))
            look()
            engine.on_done(ref)
        placed.append(count)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert broken == []
    assert len(engine._book) == 0
    assert len(placed) == 32
    assert sum(placed) > 32, "a limit that refuses everything proves nothing"
