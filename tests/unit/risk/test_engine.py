from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from ibkr_connector.models import BracketRequest, Contract, OrderRequest
from ibkr_connector.risk import (
    DailyLoss,
    Exposure,
    GateResult,
    InstrumentView,
    PriceView,
    RiskEngine,
    RiskLimits,
    RiskSnapshot,
    TradingControl,
    TradingState,
)
from ibkr_connector.risk.order_check import OrderCheck

D = Decimal
AAPL, MSFT = 265598, 272093
NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
OFF = RiskLimits(
    max_position_size=None,
    max_order_size=None,
    max_order_value=None,
    daily_loss_limit=None,
    check_market_hours=False,
)
LIMITED = replace(OFF, max_position_size=D(100))


def view(position: int = 0, **changes: Any) -> RiskSnapshot:
    return replace(
        RiskSnapshot(
            account="DU1",
            currency="USD",
            now=NOW,
            net_liquidation=D(100_000),
            daily_pnl=D(0),
            positions={AAPL: D(position)},
            instruments={con_id: InstrumentView(con_id=con_id, currency="USD") for con_id in (AAPL, MSFT)},
            prices={con_id: PriceView(bid=D(100), ask=D(100), last=D(100)) for con_id in (AAPL, MSFT)},
            fee_estimate=D(1),
        ),
        **changes,
    )


def order(action: str = "BUY", quantity: float = 10, con_id: int = AAPL, **more: Any) -> OrderRequest:
    return OrderRequest.make(contract=Contract.stock("X").with_con_id(con_id), action=action, quantity=quantity, **more)


def bracket(quantity: float = 10, action: str = "BUY", *, exits: float | None = None, ref: str = "b") -> BracketRequest:
    sign = 1 if action == "BUY" else -1
    other = "SELL" if action == "BUY" else "BUY"
    size = quantity if exits is None else exits
    return BracketRequest(
        entry=order(action, quantity, order_ref=ref, order_type="LMT", limit_price=100),
        take_profit=order(other, size, order_ref=f"{ref}.tp", order_type="LMT", limit_price=100 + 10 * sign),
        stop_loss=order(other, size, order_ref=f"{ref}.sl", order_type="STP", stop_price=100 - 2 * sign),
    )


def gates(decision: Any) -> list[str]:
    return [reason.gate for reason in decision.reasons]


# --- reservations ----------------------------------------------------------------------------------------------------


def test_a_reservation_lives_from_the_check_to_the_end_and_moves_with_fills() -> None:
    engine = RiskEngine(LIMITED)
    request = order("BUY", 100, order_ref="a")
    assert engine.check_and_reserve(request, view()).allowed
    assert engine.reserved_exposure(AAPL) == Exposure(D(100), D(0))
    assert engine.reserved("a") == 100
    held = engine._book.get("a")
    assert held is not None
    assert held.group == ""
    assert not engine.check(order("BUY", 1), view()).allowed
    engine.commit("a", "unknown")
    engine.on_fill("a", D(40), D(60))
    assert not engine.check(order("BUY", 1), view(40)).allowed  # 40 held + 60 open
    engine.on_open("a", D(50))
    assert engine.check(order("BUY", 10), view(40)).allowed
    engine.on_done("a")
    engine.on_done("a")
    assert engine.reserved("a") is None
    assert engine.reserved_exposure(AAPL) == Exposure()
    assert engine.check(order("BUY", 60), view(40)).allowed
    engine.on_fill("unknown", D(1), D(1))


def test_preview_reserves_nothing() -> None:
    engine = RiskEngine(LIMITED)
    for _ in range(3):
        assert engine.check(order("BUY", 100, order_ref="a"), view()).allowed
    assert engine.reserved("a") is None


def test_a_refused_order_reserves_nothing() -> None:
    engine = RiskEngine(LIMITED)
    assert not engine.check_and_reserve(order("BUY", 101, order_ref="a"), view()).allowed
    assert engine.reserved("a") is None


def test_an_order_given_up_before_the_commit_is_released_and_after_it_never() -> None:
    engine = RiskEngine(LIMITED)
    engine.check_and_reserve(order("BUY", 100, order_ref="a"), view())
    engine.release("a", "unknown")
    assert engine.reserved("a") is None
    engine.check_and_reserve(order("BUY", 50, order_ref="b"), view())
    engine.check_and_reserve(order("BUY", 50, order_ref="c"), view())
    engine.commit("c")
    with pytest.raises(RuntimeError, match="order c may be at the broker"):
        engine.release("b", "c")
    assert engine.reserved_exposure(AAPL).buys == 100
    assert engine.reserved_exposure(AAPL, without=["b"]).buys == 50


def test_the_same_ref_never_counts_twice() -> None:
    engine = RiskEngine(LIMITED)
    engine.check_and_reserve(order("BUY", 10, order_ref="a"), view())
    again = engine.check_and_reserve(order("BUY", 10, order_ref="a"), view())
    assert gates(again) == ["order"]
    assert "order_ref is in use" in again.reasons[0].message


def test_an_order_for_nothing_known_or_another_account_is_refused() -> None:
    engine = RiskEngine(OFF)
    unqualified = OrderRequest.make(contract=Contract.stock("X"), action="BUY", quantity=1)
    assert "no con_id" in engine.check_and_reserve(unqualified, view()).reasons[0].message
    assert "not DU1" in engine.check_and_reserve(order(account="DU2"), view()).reasons[0].message
    assert engine.check_and_reserve(order(account="DU1"), view()).allowed


def test_an_order_that_turns_out_to_live_counts_again() -> None:
    engine = RiskEngine(LIMITED)
    engine.check_and_reserve(order("BUY", 100, order_ref="a"), view())
    engine.on_done("a")
    engine.on_revived("a", D(70))
    assert engine.reserved_exposure(AAPL).buys == 70
    engine.on_revived("a", D(60))
    assert engine.reserved_exposure(AAPL).buys == 60
    engine.on_revived("never heard of", D(1))
    assert len(engine._book) == 1


def test_ended_orders_are_not_remembered_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibkr_connector.risk.reservation._REMEMBERED", 2)
    engine = RiskEngine(OFF)
    for ref in ("a", "b", "c"):
        engine.check_and_reserve(order(order_ref=ref), view())
        engine.on_done(ref)
    for ref in ("a", "b", "c"):
        engine.on_revived(ref, D(1))
    assert [engine.reserved(ref) for ref in ("a", "b", "c")] == [None, D(1), D(1)]


def test_orders_of_others_and_of_the_time_before_count_without_being_asked() -> None:
    engine = RiskEngine(LIMITED)
    engine.adopt("perm/1", con_id=AAPL, sign=1, quantity=D(90), open_quantity=D(80), loss=D(45))
    assert engine.reserved_exposure(AAPL).buys == 80
    assert engine.in_flight_loss == 40
    assert not engine.check(order("BUY", 21), view()).allowed
    engine.adopt("perm/1", con_id=AAPL, sign=1, quantity=D(90), open_quantity=D(-1))
    assert engine.reserved_exposure(AAPL).buys == 0
    with pytest.raises(RuntimeError, match="may be at the broker"):
        engine.release("perm/1")
    engine.adopt("perm/2", con_id=AAPL, sign=-1, quantity=D(0), open_quantity=D(0))
    assert engine.in_flight_loss == 0


def test_reserving_what_is_reserved_is_a_bug_that_shows() -> None:
    engine = RiskEngine(OFF)
    engine.check_and_reserve(order(order_ref="a"), view())
    known = engine._book.get("a")
    assert known is not None
    with pytest.raises(ValueError, match="a is reserved already"):
        engine._book.add(known)
    assert list(engine._book.contracts()) == [AAPL]


# --- brackets --------------------------------------------------------------------------------------------------------


def test_a_bracket_is_one_reservation_of_its_worst_leg() -> None:
    engine = RiskEngine(LIMITED)
    decision = engine.check_and_reserve_bracket(bracket(100), view())
    assert decision.allowed
    assert {result.order_ref for result in decision.results} == {"b", "b.tp", "b.sl"}
    assert engine.reserved_exposure(AAPL) == Exposure(D(100), D(0))
    engine.on_fill("b", D(60), D(40))
    assert engine.reserved_exposure(AAPL) == Exposure(D(40), D(60))  # exits give back what came in, once
    engine.on_fill("b", D(100), D(0))
    engine.on_done("b")
    assert engine.reserved_exposure(AAPL) == Exposure(D(0), D(100))
    engine.on_fill("b.tp", D(30), D(70))
    assert engine.reserved_exposure(AAPL) == Exposure(D(0), D(70))
    engine.on_open("b.sl", D(5))
    assert engine.reserved_exposure(AAPL) == Exposure(D(0), D(70))  # the larger of the two exits
    engine.on_done("b.sl")
    assert engine.reserved_exposure(AAPL) == Exposure(D(0), D(70))
    engine.on_fill("b.tp", D(100), D(0))
    engine.on_done("b.tp")
    assert engine.reserved_exposure(AAPL) == Exposure()
    assert engine._book._groups == {}


def test_a_short_bracket_is_the_same_on_the_other_side() -> None:
    engine = RiskEngine(LIMITED)
    assert engine.check_and_reserve_bracket(bracket(100, "SELL"), view()).allowed
    engine.on_fill("b", D(100), D(0))
    assert engine.reserved_exposure(AAPL) == Exposure(D(100), D(0))


def test_a_bracket_beyond_a_limit_reserves_nothing_of_any_leg() -> None:
    engine = RiskEngine(LIMITED)
    decision = engine.check_and_reserve_bracket(bracket(101), view())
    assert [(reason.gate, reason.order_ref) for reason in decision.reasons] == [("position_limit", "b")]
    assert len(engine._book) == 0


def test_exits_larger_than_their_entry_or_elsewhere_are_refused() -> None:
    engine = RiskEngine(OFF)
    decision = engine.check_and_reserve_bracket(bracket(10, exits=11), view())
    assert [reason.order_ref for reason in decision.reasons] == ["b.tp", "b.sl"]
    whole = bracket(10)
    elsewhere = replace(whole, stop_loss=order("SELL", 10, MSFT, order_type="STP", stop_price=98))
    assert not engine.check_and_reserve_bracket(elsewhere, view()).allowed
    twins = replace(whole, stop_loss=order("SELL", 10, order_ref="b.tp", order_type="STP", stop_price=98))
    assert "share one order_ref" in engine.check_and_reserve_bracket(twins, view()).reasons[0].message


def test_a_brackets_risk_is_the_way_to_its_stop() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)))
    decision = engine.check_and_reserve_bracket(bracket(200), view())
    loss = next(result for result in decision.results if result.gate == "daily_loss")
    assert loss.value == 1 + 200 * 2
    assert engine.in_flight_loss == 1 + 400 + 1 + 1  # the exits cost their fees
    assert not engine.check_and_reserve_bracket(bracket(100, ref="c"), view()).allowed
    futures = {AAPL: InstrumentView(con_id=AAPL, currency="USD", multiplier=D(5))}
    decision = RiskEngine(replace(OFF, daily_loss_limit=D(500))).check_and_reserve_bracket(
        bracket(20), view(instruments=futures)
    )
    assert next(result for result in decision.results if result.gate == "daily_loss").value == 1 + 20 * 2 * 5


def test_gates_on_exits_are_asked_where_they_make_sense() -> None:
    hours = replace(OFF, check_market_hours=True, max_position_value=D(1_000), max_position_size=D(10))
    engine = RiskEngine(replace(hours, daily_loss_limit=D(500)))
    decision = engine.check_and_reserve_bracket(bracket(10), view())
    assert [(reason.gate, reason.order_ref) for reason in decision.reasons] == [("market_hours", "b")]


def test_exits_whose_entry_is_unknown_here_count_as_they_are() -> None:
    engine = RiskEngine(OFF)
    for ref in ("old.tp", "old.sl"):
        engine.adopt(ref, con_id=AAPL, sign=-1, quantity=D(10), open_quantity=D(10), group="old")
    assert engine.reserved_exposure(AAPL) == Exposure(D(0), D(10))
    engine.adopt("old", con_id=AAPL, sign=1, quantity=D(10), open_quantity=D(6), filled=D(4), group="old")
    assert engine.reserved_exposure(AAPL) == Exposure(D(6), D(4))


# --- changes ---------------------------------------------------------------------------------------------------------


def test_a_change_holds_the_larger_of_both_versions_until_it_is_settled() -> None:
    engine = RiskEngine(LIMITED)
    engine.check_and_reserve(order("BUY", 50, order_ref="a"), view())
    engine.on_fill("a", D(20), D(30))
    assert engine.check_and_reserve_change(order("BUY", 80, order_ref="a"), view(20)).allowed
    assert engine.reserved("a") == 60
    assert engine.check_and_reserve_change(order("BUY", 40, order_ref="a"), view(20)).allowed
    assert engine.reserved("a") == 60
    engine.on_open("a", D(20))
    assert engine.reserved("a") == 20
    refused = engine.check_and_reserve_change(order("BUY", 101, order_ref="a"), view(20))
    assert gates(refused) == ["position_limit"]
    assert engine.reserved("a") == 20
    assert engine.check_and_reserve_change(order("BUY", 100, order_ref="a"), view(20)).allowed


def test_what_a_change_may_cost_is_the_larger_of_both_versions_too() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500), max_open_orders=1))
    engine.check_and_reserve(order("BUY", 100, order_ref="a"), view())
    assert engine.in_flight_loss == 1 + 50
    assert engine.check_and_reserve_change(order("BUY", 200, order_ref="a"), view()).allowed
    assert engine.in_flight_loss == 1 + 100
    engine.on_open("a", D(100))
    assert engine.in_flight_loss == D("50.5")
    assert engine.check_and_reserve_change(order("BUY", 50, order_ref="a"), view()).allowed
    assert engine.in_flight_loss == D("50.5")
    assert not engine.check_and_reserve_change(order("BUY", 1_000, order_ref="a"), view()).allowed
    assert engine.in_flight_loss == D("50.5")


def test_a_change_below_what_is_filled_leaves_nothing_to_fill() -> None:
    engine = RiskEngine(LIMITED)
    engine.check_and_reserve(order("BUY", 50, order_ref="a"), view())
    engine.on_fill("a", D(20), D(30))
    decision = engine.check_and_reserve_change(order("BUY", 5, order_ref="a"), view(20))
    assert dict(decision.inputs)["value"] == "0 USD"


def test_a_change_of_something_else_is_refused() -> None:
    engine = RiskEngine(LIMITED)
    engine.check_and_reserve(order("BUY", 50, order_ref="a"), view())
    for request in (order("SELL", 50, order_ref="a"), order("BUY", 50, MSFT, order_ref="a"), order(order_ref="b")):
        decision = engine.check_and_reserve_change(request, view())
        assert not decision.allowed
        assert gates(decision) == ["order"]


def test_a_change_of_an_exit_stays_an_exit() -> None:
    engine = RiskEngine(replace(LIMITED, daily_loss_limit=D(500)))
    engine.check_and_reserve_bracket(bracket(100), view())
    engine.on_fill("b", D(100), D(0))
    moved = order("SELL", 100, order_ref="b.sl", order_type="STP", stop_price=99)
    assert engine.check_and_reserve_change(moved, view(100)).allowed
    assert engine.reserved_exposure(AAPL) == Exposure(D(0), D(100))


# --- orders that the broker multiplied --------------------------------------------------------------------------------


def test_a_forked_order_blocks_new_risk_in_its_contract_until_it_has_ended() -> None:
    engine = RiskEngine(OFF)
    assert engine.check_and_reserve(order("BUY", 10, order_ref="twice"), view(100)).allowed
    other = order("BUY", 1, order_ref="other")
    assert engine.check_and_reserve(other, view(100)).allowed
    engine.on_forked("twice", AAPL)
    assert gates(engine.check(order("BUY", 1), view(100))) == ["forked_order"]
    assert gates(engine.recheck(other, view(100))) == ["forked_order"]
    assert engine.check(order("SELL", 100), view(100)).allowed
    assert gates(engine.check(order("SELL", 101), view(100))) == ["forked_order"]
    assert engine.check(order("BUY", 1, con_id=MSFT), view(100)).allowed
    engine.on_done("twice")
    assert engine.check(order("BUY", 1), view(100)).allowed


# --- right before the write ------------------------------------------------------------------------------------------


def test_a_kill_between_check_and_write_is_seen() -> None:
    engine = RiskEngine(LIMITED)
    request = order("BUY", 100, order_ref="a")
    assert engine.check_and_reserve(request, view()).allowed
    assert engine.recheck(request, view()).allowed
    engine.kill("operator", NOW)
    decision = engine.recheck(request, view())
    assert gates(decision) == ["trading_state"]
    assert decision.reasons[0].message == "trading is halted (operator)"


def test_the_recheck_does_not_hold_an_order_against_itself_or_its_group() -> None:
    limits = replace(OFF, daily_loss_limit=D(500))
    engine = RiskEngine(limits)
    whole = bracket(240)
    assert engine.check_and_reserve_bracket(whole, view()).allowed  # 481 + 2 of 500
    for leg in whole.legs:
        assert engine.recheck(leg, view()).allowed
    assert engine.recheck(whole.entry, view(daily_pnl=D(-19))).allowed
    assert gates(engine.recheck(whole.entry, view(daily_pnl=D(-20)))) == ["daily_loss"]
    engine.adopt("other", con_id=MSFT, sign=1, quantity=D(10), open_quantity=D(10), loss=D(20))
    assert gates(engine.recheck(whole.entry, view())) == ["daily_loss"]  # the others' stays
    engine.on_done("other")
    engine.reduce("shrink", NOW)
    assert gates(engine.recheck(whole.entry, view())) == ["trading_state"]
    close = order("SELL", 50, order_ref="close")
    assert engine.check_and_reserve(close, view(50)).allowed
    assert engine.recheck(close, view(50)).allowed
    assert engine.recheck(order("SELL", 1, order_ref="foreign"), view(51)).allowed  # not reserved here at all


def test_a_loss_seen_first_by_the_recheck_trips_the_day() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)))
    request = order(order_ref="a")
    assert engine.check_and_reserve(request, view()).allowed
    assert not engine.recheck(request, view(daily_pnl=D(-501))).allowed
    assert not engine.recheck(request, view()).allowed


# --- trading state ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "open_sells", "action", "quantity", "passes"),
    [
        (100, 0, "SELL", 100, True),
        (100, 0, "SELL", 101, False),
        (100, 60, "SELL", 40, True),
        (100, 60, "SELL", 41, False),
        (1, 0, "SELL", 1, True),
        (-1, 0, "BUY", 1, True),
        (-1, 0, "BUY", 2, False),
        (100, 0, "BUY", 1, False),
        (0, 0, "SELL", 1, False),
        (0, 0, "BUY", 1, False),
        (-100, 0, "BUY", 100, True),
        (-100, 0, "BUY", 101, False),
        (-100, 0, "SELL", 1, False),
    ],
)
def test_reducing_never_crosses_zero_whatever_else_fills(
    position: int, open_sells: int, action: str, quantity: int, passes: bool
) -> None:
    engine = RiskEngine(OFF)
    engine.adopt("working", con_id=AAPL, sign=-1, quantity=D(open_sells), open_quantity=D(open_sells))
    engine.reduce("reducing", NOW)
    assert engine.check(order(action, quantity), view(position)).allowed is passes


def test_a_bracket_does_not_pass_while_reducing() -> None:
    engine = RiskEngine(OFF)
    engine.reduce("x", NOW)
    assert not engine.check_and_reserve_bracket(bracket(10, "SELL"), view(100)).allowed


def test_halted_refuses_everything_even_what_reduces_until_resumed() -> None:
    engine = RiskEngine(OFF)
    engine.kill("", NOW)
    assert gates(engine.check(order("SELL", 1), view(100))) == ["trading_state"]
    assert engine.trading.state is TradingState.HALTED
    assert engine.resume("checked", NOW)
    assert engine.check(order("SELL", 1), view(100)).allowed


def test_a_kill_does_not_wait_for_a_check_under_way() -> None:
    engine = RiskEngine(OFF)
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with engine.atomically():
            inside.set()
            assert go_on.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(10)
    engine.kill("now", NOW)
    assert engine.trading.state is TradingState.HALTED
    go_on.set()
    holder.join(10)


def test_a_kill_before_the_account_is_known_stays_a_kill() -> None:
    engine = RiskEngine(OFF)
    engine.kill("early", NOW)
    stored = TradingControl()
    engine.attach(stored, DailyLoss())
    assert engine.trading.state is TradingState.HALTED
    assert stored.record.reason == "early"


def test_what_was_stored_of_the_account_is_taken_over() -> None:
    engine = RiskEngine(OFF)
    stored = TradingControl()
    stored.reduce("yesterday", NOW)
    day = DailyLoss()
    day.observe(NOW, D(100_000), D(0))
    engine.attach(stored, day)
    assert engine.trading.reason == "yesterday"
    assert engine.status()["daily_loss_baseline"] == "100000"
    killed = TradingControl()
    killed.kill("stored", NOW)
    engine.kill("here", NOW)
    engine.attach(killed, day)
    assert engine.trading.reason == "stored"


def test_a_kill_while_another_control_is_attached_reaches_the_new_one() -> None:
    engine = RiskEngine(OFF)
    fresh = TradingControl()

    class Swapping(TradingControl):
        def kill(self, reason: str, at: datetime, **more: Any) -> None:
            engine.attach(fresh, DailyLoss())
            super().kill(reason, at, **more)

    engine.control = Swapping()
    engine.kill("now", NOW)
    assert fresh.record.reason == "now"


def test_a_kill_that_the_old_control_cannot_save_reaches_the_new_one_and_one_the_present_cannot_save_is_told() -> None:
    engine = RiskEngine(OFF)
    fresh = TradingControl()

    def full(_: object) -> None:
        raise OSError("disk full")

    class Swapping(TradingControl):
        def kill(self, reason: str, at: datetime, **more: Any) -> None:
            engine.attach(fresh, DailyLoss())
            super().kill(reason, at, **more)

    engine.control = Swapping(save=full)
    engine.kill("now", NOW)
    assert fresh.record.reason == "now"
    engine.control = TradingControl(save=full)
    with pytest.raises(OSError, match="disk full"):
        engine.kill("again", NOW)
    assert engine.trading.state is TradingState.HALTED


# --- the day's loss --------------------------------------------------------------------------------------------------


class Disk:
    def __init__(self) -> None:
        self.record: Mapping[str, Any] | None = None
        self.broken = False

    def load(self) -> Mapping[str, Any] | None:
        return self.record

    def save(self, record: Mapping[str, Any]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.record = record


def test_passing_the_limit_is_told_once_and_ends_with_the_day_or_a_resume() -> None:
    disk = Disk()
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)), day=DailyLoss(disk.load, disk.save))
    assert not engine.observe(view())
    lost = view(net_liquidation=D(99_499))
    assert engine.observe(lost)
    assert not engine.observe(lost)
    assert engine.day_figures(lost).loss == 501
    assert engine.status()["daily_loss_tripped"] is True
    assert disk.record is not None
    assert disk.record["tripped"] is True
    tomorrow = view(net_liquidation=D(99_499), now=NOW + timedelta(days=1))
    assert engine.check(order(), tomorrow).allowed
    assert engine.observe(view(net_liquidation=D(98_000), now=NOW + timedelta(days=1)))
    assert engine.resume("accepted", NOW + timedelta(days=1))
    assert engine.status()["daily_loss_tripped"] is False
    assert disk.record["tripped"] is False


def test_a_disk_that_fails_does_not_disturb_the_accounts_figures() -> None:
    disk = Disk()
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)), day=DailyLoss(disk.load, disk.save))
    disk.broken = True
    assert engine.observe(view(daily_pnl=D(-501)))
    assert "disk full" in engine.status()["problem"]
    assert engine.check(order(), view()).reasons[0].gate == "daily_loss"
    disk.broken = False
    engine.observe(view())
    assert engine.status()["problem"] == ""
    assert disk.record is not None


def test_a_deposit_hides_no_loss() -> None:
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)))
    engine.observe(view())
    engine.adjust_baseline(D(10_000))
    assert engine.observe(view(net_liquidation=D(109_000)))


def test_a_kill_during_a_resume_keeps_the_trip() -> None:
    control = TradingControl()
    engine = RiskEngine(replace(OFF, daily_loss_limit=D(500)), control=control)
    engine.observe(view(daily_pnl=D(-501)))

    class Slow:
        def save(self, record: Mapping[str, Any]) -> None:
            if record["state"] == "active":
                control._save = None
                control.kill("meanwhile", NOW)

    control._save = Slow().save
    assert not engine.resume("too early", NOW)
    assert engine.status()["daily_loss_tripped"] is True


# --- the engine itself -----------------------------------------------------------------------------------------------


class Broken:
    name: ClassVar[str] = "broken"
    again: ClassVar[bool] = False

    def check(self, order: OrderCheck) -> GateResult:
        raise ZeroDivisionError("oops")


def test_a_gate_that_fails_refuses(caplog: pytest.LogCaptureFixture) -> None:
    engine = RiskEngine(OFF, gates=[Broken()])
    decision = engine.check_and_reserve(order(), view())
    assert not decision.allowed
    assert decision.reasons[0].message == "the gate itself failed (ZeroDivisionError: oops)"
    assert "a gate failed; the order is refused gate=broken" in caplog.text


def test_a_view_that_fails_in_the_middle_of_a_group_leaves_no_half_reservation() -> None:
    class Flaky(RiskSnapshot):
        def fee(self, con_id: int, quantity: Decimal, price: Decimal) -> Decimal | None:
            if price == 110:
                raise RuntimeError("lost")
            return D(1)

    good = view()
    flaky = Flaky(**{name: getattr(good, name) for name in RiskSnapshot.__slots__})
    engine = RiskEngine(OFF)
    with pytest.raises(RuntimeError, match="lost"):
        engine.check_and_reserve_bracket(bracket(10), flaky)
    assert len(engine._book) == 0


def test_without_the_data_for_its_loss_an_order_is_reserved_when_no_gate_minds() -> None:
    engine = RiskEngine(OFF)
    assert engine.check_and_reserve(order(order_ref="a"), view(prices={})).allowed
    assert engine.in_flight_loss == 0


def test_decisions_tell_what_they_were_judged_on() -> None:
    engine = RiskEngine(RiskLimits(check_market_hours=False))
    engine.check_and_reserve(order("SELL", 5), view(7))
    decision = engine.check(order("BUY", 10), view(7))
    assert dict(decision.inputs) == {
        "trading_state": "active",
        "open_buys": "0",
        "open_sells": "5",
        "in_flight_loss": "1",
        "daily_loss": "0",
        "position": "7",
        "price": "100 (live quote)",
        "value": "1000 USD",
    }
    assert json.dumps(decision.to_dict())
    assert {result.order_ref for result in decision.results} == {""}


def test_the_status_is_plain_and_says_how_things_stand() -> None:
    engine = RiskEngine(RiskLimits())
    before = engine.status()
    assert (before["since"], before["daily_loss_baseline"], before["daily_loss_baseline_source"]) == (
        None,
        None,
        "unknown",
    )
    engine.check_and_reserve(order(), view())
    engine.kill("x", NOW)
    engine.observe(view(daily_pnl=D(-5)))
    status = engine.status()
    assert json.dumps(status)
    assert status["trading_state"] == "halted"
    assert status["since"] == NOW.isoformat()
    assert status["gates"] == [
        "trading_state",
        "forked_order",
        "tick",
        "market_hours",
        "halted",
        "order_size",
        "order_value",
        "position_limit",
        "daily_loss",
    ]
    assert (status["daily_loss_baseline"], status["daily_loss_baseline_source"]) == ("100000", "broker")


@pytest.mark.parametrize(
    ("position", "action", "quantity", "reduces"),
    [
        (100, "SELL", 60, True),
        (100, "SELL", 70, True),
        (100, "SELL", 71, False),
        (100, "BUY", 1, False),
        (0, "SELL", 1, False),
        (-100, "BUY", 100, True),
        (-100, "BUY", 101, False),
        (-100, "SELL", 1, False),
    ],
)
def test_what_only_reduces_is_judged_with_everything_that_may_be_at_the_broker(
    position: int, action: str, quantity: int, reduces: bool
) -> None:
    engine = RiskEngine(OFF)
    working, waiting = order("SELL", 30), order("SELL", 50)
    for one in (working, waiting):  # the second one is not sent yet: what is asked about goes first
        assert engine.check_and_reserve(one, view(position)).allowed
    engine.commit(working.order_ref)
    asked = order(action, quantity)
    assert engine.check_and_reserve(asked, view(position)).allowed
    assert engine.only_reduces(asked, view(position)) is reduces


def test_without_a_position_nothing_is_known_to_reduce() -> None:
    engine = RiskEngine(OFF)
    assert not engine.only_reduces(order("SELL", 1), Unknown(view()))


class Unknown:
    """A view before the positions have come."""

    def __init__(self, known: RiskSnapshot) -> None:
        self._known = known

    def position(self, con_id: int, sign: int) -> Decimal | None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._known, name)
