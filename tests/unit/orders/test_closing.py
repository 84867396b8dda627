"""Which open orders can add to a position: what `close(open_orders="cancel_increasing")` cancels."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, strategies as st

from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import Action, OrderSnapshot, OrderState
from ibkr_connector.orders.closing import increasing

AAPL = Contract(symbol="AAPL", con_id=1)
D = Decimal


def order(ref: str, action: str, quantity: int, order_type: str = "LMT", **more: Any) -> OrderSnapshot:
    more = {"order_id": int.from_bytes(ref.encode()[:4]), **more}
    return OrderSnapshot(
        order_ref=ref,
        state=OrderState.WORKING,
        contract=more.pop("contract", AAPL),
        action=Action(action),
        quantity=D(quantity),
        order_type=order_type,
        account="DU1",
        **more,
    )


def cancelled(held: int, *orders: OrderSnapshot) -> set[str]:
    return {one.order_ref for one in increasing(orders, lambda con_id, sign: D(held) if con_id == 1 else D(0))}


def test_flat_every_order_adds() -> None:
    assert cancelled(0, order("a", "BUY", 1), order("b", "SELL", 1)) == {"a", "b"}


def test_long_a_buy_adds_and_a_sell_of_no_more_protects() -> None:
    assert cancelled(100, order("a", "BUY", 1), order("b", "SELL", 100, "STP")) == {"a"}
    assert cancelled(-100, order("a", "BUY", 100), order("b", "SELL", 1)) == {"b"}


def test_a_sell_of_more_than_is_held_would_turn_the_position() -> None:
    assert cancelled(100, order("a", "SELL", 101)) == {"a"}


def test_stops_are_kept_before_targets_when_both_cannot_be() -> None:
    assert cancelled(100, order("a", "SELL", 60), order("b", "SELL", 60, "TRAIL")) == {"a"}


def test_of_a_target_and_a_stop_only_one_fills() -> None:
    legs = (order("tp", "SELL", 100, parent_ref="entry"), order("sl", "SELL", 100, "STP", parent_ref="entry"))
    assert cancelled(100, *legs) == set()
    oca = (order("x", "SELL", 100, oca_group="g"), order("y", "SELL", 100, oca_group="g"))
    assert cancelled(100, *oca) == set()
    assert cancelled(99, *legs) == {"tp", "sl"}


def test_exits_of_an_open_entry_go_with_it() -> None:
    entry = order("entry", "BUY", 100, filled=D(40))
    legs = (order("tp", "SELL", 100, parent_ref="entry"), order("sl", "SELL", 100, "STP", parent_ref="entry"))
    assert cancelled(40, entry, *legs) == {"entry"}


def test_another_program_s_orders_are_counted_and_left_alone() -> None:
    assert cancelled(100, order("theirs", "SELL", 60, ours=False), order("mine", "SELL", 60, "STP")) == {"mine"}
    assert cancelled(0, order("theirs", "BUY", 60, ours=False)) == set()


def test_what_is_filled_counts_no_more() -> None:
    assert cancelled(50, order("a", "SELL", 100, filled=D(50))) == set()


def test_another_contract_is_judged_by_its_own_position() -> None:
    other = Contract(symbol="MSFT", con_id=2)
    assert cancelled(100, order("a", "SELL", 1, contract=other)) == {"a"}


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]),
        st.integers(1, 50),
        st.sampled_from(["LMT", "STP"]),
        st.booleans(),
        st.sampled_from(["", "g", "h"]),
    ),
    max_size=8,
)


@given(st.integers(-60, 60), ORDERS)
def test_what_is_kept_cannot_add_whatever_fills(held: int, drawn: list[tuple[str, int, str, bool, str]]) -> None:
    orders = [
        order(f"r{number}", action, quantity, kind, ours=ours, oca_group=group)
        for number, (action, quantity, kind, ours, group) in enumerate(drawn)
    ]
    gone = cancelled(held, *orders)
    kept = [one for one in orders if one.order_ref not in gone]
    assert gone <= {one.order_ref for one in orders if one.ours}
    for sign in (1, -1):
        side = [one for one in kept if one.action.sign == sign]
        if not any(one.ours for one in side):
            continue
        groups: dict[str, Decimal] = {}
        for one in side:
            name = one.oca_group or one.order_ref
            groups[name] = max(groups.get(name, D(0)), one.remaining)
        assert sum(groups.values()) <= max(0, -held * sign)
