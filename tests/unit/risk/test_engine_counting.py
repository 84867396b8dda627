"""What the engine holds against whom, and that it does so under its lock: found by changing it line by line."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.models import Contract, OrderRequest
from ibkr_connector.risk import (
    DailyLoss,
    Exposure,
    InstrumentView,
    PriceView,
    RiskEngine,
    RiskLimits,
    RiskSnapshot,
    TradingControl,
    TradingState,
)
from ibkr_connector.risk.limits import SubLimits
from support.guarded import guard

D = Decimal
AAPL, MSFT = 265598, 272093
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
OFF = RiskLimits(
    max_position_size=None, max_order_size=None, max_order_value=None, daily_loss_limit=None, check_market_hours=False
)


def view(**changes: Any) -> RiskSnapshot:
    base = RiskSnapshot(
        account="DU1",
        currency="USD",
        now=NOW,
        net_liquidation=D(100_000),
        daily_pnl=D(0),
        positions={AAPL: D(0)},
        instruments={con_id: InstrumentView(con_id=con_id, currency="USD") for con_id in (AAPL, MSFT)},
        prices={con_id: PriceView(bid=D(100), ask=D(100), last=D(100)) for con_id in (AAPL, MSFT)},
        fee_estimate=D(1),
    )
    return replace(base, **changes)


def order(action: str = "BUY", quantity: float = 10, con_id: int = AAPL, **more: Any) -> OrderRequest:
    return OrderRequest.make(contract=Contract.stock("X").with_con_id(con_id), action=action, quantity=quantity, **more)


def place(engine: RiskEngine, ref: str, *, at: float = 0.0, **more: Any) -> bool:
    return engine.check_and_reserve(order(order_ref=ref, **more), view(monotonic=at)).allowed


def test_nothing_is_touched_without_the_lock() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(1_000), duplicate_window=1.0))
    guard(engine, engine._lock, ("_book", "_agents", "_recent", "_forked"), written=("_day", "control"))
    day, write = engine._day, engine._lock._is_owned  # type: ignore[attr-defined]
    told: list[bool] = []

    class Watched(DailyLoss):
        def latch(self, *, tripped: bool) -> bool:
            told.append(write())
            return super().latch(tripped=tripped)

        def observe(self, *args: Any) -> None:
            told.append(write())
            super().observe(*args)

        def adjust(self, amount: Decimal) -> None:
            told.append(write())
            super().adjust(amount)

        def figures(self, *args: Any) -> Any:
            told.append(write())
            return super().figures(*args)

    assert day is not None
    engine.attach(TradingControl(), Watched())
    assert place(engine, "a", agent="one")
    assert engine.recheck(order(order_ref="a", agent="one"), view()).allowed
    assert engine.check_and_reserve_change(order("BUY", 12, order_ref="a"), view()).allowed
    assert not engine.only_reduces(order(order_ref="a", agent="one"), view())
    engine.commit("a")
    engine.on_fill("a", D(4), D(8))
    engine.on_open("a", D(6))
    engine.on_done("a")
    engine.on_revived("a", D(6))
    engine.on_done("a")
    engine.adopt("b", con_id=AAPL, sign=1, quantity=D(1), open_quantity=D(1))
    engine.release("unknown")
    engine.on_forked("b", AAPL)
    engine.start_agents({("one", AAPL): D(3)})
    assert engine.agent_position("One", AAPL) == 3
    assert engine.reserved("b") == 1
    assert engine.reserved_exposure(AAPL) == Exposure(D(1), D(0))
    assert engine.in_flight_loss == 0
    assert engine.status()["open_orders"] == 1
    engine.adjust_baseline(D(10))
    assert engine.day_figures(view()).loss is not None
    assert not engine.observe(view())
    assert engine.observe(view(daily_pnl=D(-2_000)))
    assert engine.resume("go on", NOW)
    assert all(told)
    assert len(told) > 8


def test_the_order_rate_of_one_agent_counts_though_another_has_none() -> None:
    agents = {"fast": SubLimits(max_orders=1), "slow": SubLimits(max_order_size=D(50))}
    engine = RiskEngine(replace(OFF, agents=agents, max_orders_window=10.0))
    assert place(engine, "a", agent="fast")
    assert not place(engine, "b", agent="fast", at=9.0)
    assert place(engine, "c", agent="fast", at=10.0)


def test_orders_are_remembered_as_long_as_a_rule_looks_back_and_no_longer() -> None:
    engine = RiskEngine(replace(OFF, duplicate_window=0.25))
    assert place(engine, "a")
    assert place(engine, "b", at=0.25)
    assert len(engine._recent) == 1
    none = RiskEngine(replace(OFF, duplicate_window=None))
    assert place(none, "a")
    assert place(none, "b")
    assert len(none._recent) == 0


def test_a_preview_counts_for_no_order_rate_and_is_no_duplicate_of_itself() -> None:
    engine = RiskEngine(replace(OFF, max_orders=1, max_orders_window=10.0, duplicate_window=5.0))
    for _ in range(3):
        assert engine.check(order(order_ref="a"), view()).allowed
    assert place(engine, "a")
    assert not engine.check(order(order_ref="b"), view()).allowed
    assert not place(engine, "b")


def test_a_single_order_is_not_rechecked_without_the_other_single_orders() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)))
    assert place(engine, "a")
    engine.adopt("other", con_id=MSFT, sign=1, quantity=D(10), open_quantity=D(10), loss=D(500))
    decision = engine.recheck(order(order_ref="a"), view())
    assert [reason.gate for reason in decision.reasons] == ["daily_loss"]


def test_a_repeated_yes_says_nothing_of_what_was_seen_and_a_no_everything() -> None:
    engine = RiskEngine(OFF)
    assert place(engine, "a")
    assert engine.recheck(order(order_ref="a"), view()).inputs == ()
    engine.kill("operator", NOW)
    assert dict(engine.recheck(order(order_ref="a"), view()).inputs)["trading_state"] == "halted"


def test_fills_of_an_ended_order_move_its_agents_position_once_each() -> None:
    engine = RiskEngine(replace(OFF, agents={"one": SubLimits(max_position_size=D(100))}))
    assert place(engine, "a", agent="One")
    engine.on_fill("a", D(2), D(8))
    engine.on_done("a")
    for filled in (4, 4, 6):
        engine.on_fill("a", D(filled), D(0))
        assert engine.agent_position("one", AAPL) == filled


def test_what_a_change_ties_up_is_the_larger_of_both_versions() -> None:
    limits = replace(OFF, max_gross_exposure=D(1_000_000))
    engine = RiskEngine(limits)
    request = order("BUY", 10, order_ref="a", order_type="LMT", limit_price=50)
    assert engine.check_and_reserve(request, view()).allowed
    dear = request.model_copy(update={"limit_price": D(90)})
    assert engine.check_and_reserve_change(dear, view()).allowed
    cheap = request.model_copy(update={"limit_price": D(40)})
    assert engine.check_and_reserve_change(cheap, view()).allowed
    held = engine._book.get("a")
    assert held is not None
    assert held.unit_value is not None
    assert held.unit_value >= 90


def test_reducing_does_not_lift_a_kill_unless_it_is_said() -> None:
    engine = RiskEngine(OFF)
    engine.kill("operator", NOW)
    engine.reduce("shrink", NOW)
    assert engine.trading.state.value == "halted"
    engine.reduce("shrink", NOW + timedelta(seconds=1), from_halted=True)
    assert engine.trading.state.value == "reducing"


def test_only_a_kill_is_carried_over_to_the_stored_state() -> None:
    engine = RiskEngine(OFF)
    engine.reduce("here", NOW)
    fresh = TradingControl()
    engine.attach(fresh, DailyLoss())
    assert fresh.record.state is TradingState.ACTIVE


@pytest.mark.parametrize("filled", [0, 3])
def test_an_order_that_revives_is_counted_with_what_it_can_still_fill(filled: int) -> None:
    engine = RiskEngine(replace(OFF, max_position_size=D(20)))
    assert place(engine, "a")
    engine.on_fill("a", D(filled), D(10 - filled))
    engine.on_done("a")
    engine.on_revived("a", D(10 - filled))
    assert engine.reserved("a") == 10 - filled
    engine.on_revived("a", D(5))
    assert engine.reserved("a") == 5
    engine.on_revived("unknown", D(5))
    assert engine.reserved("unknown") is None


def test_why_no_order_may_add_risk_is_told_in_words() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)))
    assert engine.why_no_risk == ""
    assert not engine.observe(view())
    assert engine.why_no_risk == ""
    assert engine.observe(view(daily_pnl=D(-501)))
    assert engine.why_no_risk == "the daily loss limit was passed"
    engine.reduce("shrink", NOW)
    assert engine.why_no_risk == "trading is reducing only (shrink)"
    engine.kill("operator", NOW)
    assert engine.why_no_risk == "trading is halted (operator)"
    other = RiskEngine(OFF)
    assert other.why_no_risk == ""
    other.reduce("", NOW)
    assert other.why_no_risk == "trading is reducing only"


def test_a_changed_order_is_not_held_against_itself_but_against_another_agent() -> None:
    one = SubLimits(max_open_orders=1)
    engine = RiskEngine(replace(OFF, agents={"one": one, "two": one}))
    assert place(engine, "a", agent="one")
    assert place(engine, "b", agent="two")
    assert engine.check_and_reserve_change(order("BUY", 12, order_ref="a", agent="one"), view()).allowed
    assert not engine.check_and_reserve_change(order("BUY", 12, order_ref="a", agent="two"), view()).allowed
    assert not place(engine, "c", agent="one")
