"""What is refused, with which code, and who owns which order id."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.exchange.ids import ExecIds, OrderIds, PermIds
from ibkr_connector.paper.instruments import Instrument
from unit.paper.exchange.kit import AAPL, ACCOUNT, ES, EURUSD, MSFT, World, d


@pytest.fixture
def world() -> World:
    made = World()
    made.quote("100.00", "100.02")
    return made


def variant(**changes: object) -> Instrument:
    return Instrument(**{**{name: getattr(AAPL, name) for name in AAPL.__slots__}, **changes})


INDEX = variant(con_id=416904, symbol="SPX", sec_type="IND")
BULK = variant(con_id=77, symbol="BULK", min_size=Decimal(10))
REFUSALS = [
    ({"order_type": "FEELINGS", "limit": "10"}, 321, "cause - Invalid order type was entered"),
    ({"order_type": "PEG MID", "limit": "10"}, 387, "Unsupported order type"),
    ({"order_type": "MKT", "quantity": 0}, 434, "The order size cannot be zero."),
    ({"order_type": "MKT", "quantity": "-5"}, 434, "cannot be zero"),
    ({"order_type": "MKT", "quantity": "1.5"}, 10318, "doesn't support fractional quantity trading"),
    ({"order_type": "MKT", "quantity": "NaN"}, 321, "quantity"),
    ({"order_type": "LMT"}, 321, "limit price"),
    ({"order_type": "LMT", "limit": "0"}, 321, "limit price"),
    ({"order_type": "LMT", "limit": "Infinity"}, 321, "limit price"),
    ({"order_type": "LMT", "limit": "10.005"}, 110, "does not conform to the minimum price variation"),
    ({"order_type": "STP", "aux": "99.999"}, 110, "minimum price variation"),
    ({"order_type": "STP"}, 321, "stop price"),
    ({"order_type": "STP LMT", "limit": "10"}, 321, "stop price"),
    ({"order_type": "TRAIL"}, 321, "trailing amount or a trailing percentage"),
    ({"order_type": "TRAIL", "aux": "1", "percent": "2"}, 321, "trailing amount or a trailing percentage"),
    ({"order_type": "TRAIL", "percent": "100"}, 321, "trailing percentage"),
    ({"order_type": "TRAIL", "aux": "1", "trail_stop": "99.005"}, 110, "minimum price variation"),
    ({"order_type": "TRAIL LIMIT", "aux": "1"}, 321, "limit price offset"),
    ({"order_type": "MKT", "tif": "SOMETIMES"}, 321, "time in force"),
    ({"order_type": "MOC", "tif": "GTC"}, 113, "DAY for MOC and LOC"),
    ({"order_type": "STP", "aux": "99", "tif": "IOC"}, 111, "incompatible"),
    ({"order_type": "LMT", "limit": "10", "tif": "GTD"}, 334, "Invalid Good Till Date order"),
    ({"order_type": "LMT", "limit": "10", "tif": "GTD", "good_till": "tomorrow"}, 343, "time-zone entered is invalid"),
    ({"order_type": "LMT", "limit": "10", "tif": "GTD", "good_till": "20260312 09:00:00"}, 201, "passed"),
    ({"order_type": "LMT", "limit": "10", "tif": "GTD", "good_till": "20261399 09:00:00"}, 343, "time-zone"),
    (
        {"order_type": "LMT", "limit": "10", "tif": "GTD", "good_till": "20260320 09:00:00 Mars/Olympus"},
        343,
        "time-zone",
    ),
    ({"order_type": "TRAIL", "aux": "1", "trail_stop": "-3"}, 321, "trailing stop price"),
    ({"order_type": "MKT", "instrument": INDEX}, 201, "No Trading Permission"),
    ({"order_type": "MKT", "instrument": BULK, "quantity": 5}, 388, "Order size 5 is smaller than the minimum"),
    ({"order_type": "MKT", "account": "U0000000"}, 321, "Invalid account code 'U0000000'"),
    ({"order_type": "LMT", "limit": "10", "parent_id": 77}, 135, "Can't find order with ID =77"),
]


@pytest.mark.parametrize(("fields", "code", "text"), REFUSALS)
def test_a_bad_ticket_is_refused_and_never_shown(world: World, fields: dict[str, Any], code: int, text: str) -> None:
    given = {"quantity": 1, **fields}
    order = world.place("BUY", **given)
    assert world.lines(order) == [f"error {code}"]
    assert text in world.messages()[0].text
    assert world.truth.of("rejected", order_id=order, code=code)
    assert world.exchange.completed_orders() == []


def test_an_unknown_side_is_refused(world: World) -> None:
    order = world.place("HOLD", 1)
    assert world.lines(order) == ["error 321"]


def test_words_are_read_in_any_case_and_an_empty_tif_means_day(world: World) -> None:
    order = world.place("buy", 1, "lmt", "10", tif="")
    ticket = world.last(order).ticket
    assert (ticket.action, ticket.order_type, ticket.tif) == ("BUY", "LMT", "DAY")


def test_the_only_account_is_filled_in_and_with_several_it_must_be_named() -> None:
    one = World()
    one.quote("100.00", "100.02")
    assert one.last(one.place("BUY", 1, "LMT", "10", account="")).ticket.account == ACCOUNT
    two = World(accounts=("DU1", "DU2"))
    two.quote("100.00", "100.02")
    order = two.place("BUY", 1, "LMT", "10", account="")
    assert two.lines(order) == ["error 435"]


def test_the_price_increment_of_a_future_is_its_own(world: World) -> None:
    world.quote("6000.00", "6000.25", instrument=ES)
    assert world.lines(world.place("BUY", 1, "LMT", "5900.10", instrument=ES)) == ["error 110"]
    assert world.status(world.place("BUY", 1, "LMT", "5900.25", instrument=ES)) == "Submitted"
    assert world.lines(world.place("BUY", 1, "LMT", "1.08003", instrument=EURUSD)) == ["error 110"]


# --- ids ------------------------------------------------------------------------------------------------------------


def test_ids_rise_per_client_and_outlive_everything(world: World) -> None:
    assert world.exchange.next_order_id(1) == 1
    world.place("BUY", 1, "LMT", "10", order_id=40)
    assert world.exchange.next_order_id(1) == 41
    assert world.exchange.next_order_id(2) == 1


@pytest.mark.parametrize("reused", [7, 6, 1, 0, -3])
def test_an_id_not_above_the_mark_is_a_duplicate(world: World, reused: int) -> None:
    order = world.place("BUY", 1, "LMT", "10", order_id=7)
    world.cancel(order)
    before = len(world.exchange.open_orders(None))
    world.place("BUY", 1, "LMT", "10", order_id=reused)
    assert [m.text for m in world.messages(103)] == ["Duplicate order id"]
    assert len(world.exchange.open_orders(None)) == before


def test_a_refused_order_uses_up_its_id(world: World) -> None:
    order = world.place("BUY", 1, "FEELINGS")
    world.place("BUY", 1, "LMT", "10", order_id=order)
    assert world.messages(103)


def test_perm_ids_rise_and_stay(world: World) -> None:
    orders = [world.place("BUY", 1, "LMT", "10") for _ in range(3)]
    perms = [world.last(order).perm_id for order in orders]
    assert perms == sorted(set(perms))
    world.place("BUY", 1, "LMT", "11", order_id=orders[0])
    assert world.last(orders[0]).perm_id == perms[0]


def test_the_order_ref_is_on_every_message_about_the_order(world: World) -> None:
    order = world.place("BUY", 5, order_ref="ref-1")
    assert world.last(order).ticket.order_ref == "ref-1"
    assert [e.order_ref for e in world.fills()] == ["ref-1"]
    assert {entry.fields["order_ref"] for entry in world.truth.entries if "order_ref" in entry.fields} == {"ref-1"}


def test_id_makers() -> None:
    import random

    ids = OrderIds()
    assert ids.take(1, 5)
    assert not ids.take(1, 5)
    assert ids.take(2, 5)
    perms = PermIds(10)
    assert (perms.take(), perms.take()) == (10, 11)
    execs = ExecIds(random.Random(1))
    first, second = execs.take(0xE0D5), execs.take(0xE0D5)
    assert first.startswith("0000e0d5.")
    assert first < second


# --- cancels --------------------------------------------------------------------------------------------------------


def test_cancelling_an_unknown_order_is_10147(world: World) -> None:
    world.cancel(141)
    assert [m.text for m in world.messages(10147)] == ["OrderId 141 that needs to be cancelled is not found."]


def test_cancelling_a_finished_order_is_10148_with_its_state(world: World) -> None:
    filled = world.place("BUY", 1)
    cancelled = world.place("BUY", 1, "LMT", "10")
    world.cancel(cancelled)
    world.cancel(filled)
    world.cancel(cancelled)
    assert [m.text for m in world.messages(10148)] == [
        f"OrderId {filled} that needs to be cancelled cannot be cancelled, state: Filled.",
        f"OrderId {cancelled} that needs to be cancelled cannot be cancelled, state: Cancelled.",
    ]


def test_a_second_cancel_while_the_first_is_under_way_is_10148(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10")
    world.cancel(order, run=0)
    world.cancel(order)
    assert [m.text for m in world.messages(10148)] == [
        f"OrderId {order} that needs to be cancelled cannot be cancelled, state: PendingCancel."
    ]
    assert world.status(order) == "Cancelled"


def test_a_cancel_overtaken_by_the_fill_is_161() -> None:
    world = World(behavior=ExchangeBehavior(cancel_latency=(5.0, 5.0), duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 1, "LMT", "99.00")
    world.cancel(order)
    assert world.status(order) == "PendingCancel"
    world.trade("98.00", 10)
    world.run(6)
    assert world.status(order) == "Filled"
    perm = world.last(order).perm_id
    assert [m.text for m in world.messages(161)] == [
        f"Cancel attempted when order is not in a cancellable state.  Order permId ={perm}"
    ]
    assert not world.messages(202)


def test_a_partial_fill_during_a_cancel_keeps_it_pending() -> None:
    world = World(behavior=ExchangeBehavior(cancel_latency=(5.0, 5.0), duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 10, "LMT", "99.00")
    world.cancel(order)
    world.trade("98.00", 4)
    assert (world.status(order), world.last(order).filled) == ("PendingCancel", d(4))
    world.run(6)
    assert (world.status(order), world.last(order).filled) == ("Cancelled", d(4))


def test_an_order_cancelled_before_its_first_echo_is_only_ever_cancelled() -> None:
    world = World(behavior=ExchangeBehavior(ack_latency=(1.0, 1.0), duplicate_status_probability=0.0))
    world.quote("100.00", "100.02")
    order = world.place("BUY", 1, run=0)
    world.cancel(order, run=10)
    assert world.fills() == []
    assert world.lines(order)[-2:] == ["Cancelled", "error 202"]


def test_another_client_cancels_only_through_the_all_orders_scope(world: World) -> None:
    order = world.place("BUY", 1, "LMT", "10", tif="GTC")
    world.exchange.cancel(2, order)
    world.run()
    assert world.messages(10147)[0].client_id == 2
    world.exchange.cancel(2, order, any_client=True)
    world.run()
    assert world.status(order) == "Cancelled"
    assert world.last(order).cancelled_by == 2
    assert [(m.client_id, m.order_id) for m in world.messages(202)] == [(2, order)]


def test_a_global_cancel_reaches_every_client(world: World) -> None:
    world.place("BUY", 1, "LMT", "10", client_id=1)
    world.place("BUY", 1, "LMT", "10", client_id=2, instrument=MSFT)
    pending = world.place("BUY", 1, "LMT", "10", client_id=3)
    held = world.place("BUY", 1, "LMT", "10", client_id=9, transmit=False)
    not_mine = world.place("BUY", 1, "LMT", "10", client_id=8, transmit=False)
    world.cancel(pending, client_id=3, run=0)
    world.exchange.global_cancel(9)
    world.run()
    assert world.exchange.open_orders(None) == []
    assert sorted((m.client_id, m.order_id) for m in world.messages(202)) == [(1, 1), (2, 1), (3, 1)]
    assert [m.client_id for m in world.messages(161)] == [3]
    assert world.status(held, 9) == "ApiCancelled"
    assert world.lines(not_mine, 8) == []


# --- queries --------------------------------------------------------------------------------------------------------


def test_open_orders_of_one_client_or_of_all(world: World) -> None:
    world.place("BUY", 1, "LMT", "10", client_id=1)
    world.place("BUY", 2, "LMT", "10", client_id=2)
    assert [v.ticket.client_id for v in world.exchange.open_orders(2)] == [2]
    assert [v.ticket.client_id for v in world.exchange.open_orders(None)] == [1, 2]


def test_executions_are_filtered_by_every_criterion(world: World) -> None:
    world.quote("200.00", "200.02", instrument=MSFT)
    world.place("BUY", 1, client_id=1)
    world.place("SELL", 2, client_id=2, instrument=MSFT)
    middle = world.clock.now()
    world.place("SELL", 3, client_id=1)
    ex = world.exchange

    def shares(**criteria: object) -> list[int]:
        return [int(e.shares) for e, _ in ex.executions(**criteria)]  # type: ignore[arg-type]

    assert shares() == [1, 2, 3]
    assert shares(client_id=1) == [1, 3]
    assert shares(symbol="MSFT") == [2]
    assert shares(side="SELL") == shares(side="SLD") == [2, 3]
    assert shares(side="buy") == [1]
    assert shares(since=middle) == [3]
    assert shares(account="DU1") == []
    assert shares(sec_type="FUT") == []
    assert all(commission is not None for _, commission in ex.executions())


def test_executions_and_completed_orders_are_those_of_the_day(world: World) -> None:
    world.place("BUY", 1)
    world.at(world.new_york(12, 23, 59))
    assert len(world.exchange.executions()) == len(world.exchange.completed_orders()) == 1
    world.at(world.new_york(13, 0, 1))
    assert world.exchange.executions() == []
    assert world.exchange.completed_orders() == []


def test_completed_orders_say_how_they_ended(world: World) -> None:
    world.place("BUY", 5)
    cancelled = world.place("BUY", 1, "LMT", "10")
    world.cancel(cancelled)
    world.place("BUY", 1, "LMT", "10")
    world.at(world.new_york(12, 16, 1))
    said = [(v.status.value, v.completed_status) for v in world.exchange.completed_orders(True)]
    assert said == [
        ("Filled", "Filled Size: 5"),
        ("Cancelled", "Cancelled by Trader"),
        ("Cancelled", "Cancelled by System:\n"),
    ]
    assert all(v.completed_at is not None for v in world.exchange.completed_orders())


def test_an_exchange_without_accounts_or_with_two_of_one_name_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one account"):
        World(accounts=())
    with pytest.raises(ValueError, match="same name"):
        World(accounts=("DU1", "DU1"))


def test_what_if_orders_are_not_placed(world: World) -> None:
    with pytest.raises(ValueError, match="preview"):
        world.exchange.place(world.ticket("BUY", 1, what_if=True))
    assert world.market.events(AAPL, world.start) is not None
    assert d(1) == 1
