"""One cancels all, through real sockets: one group is one decision, one commit and one fate.

The judge is the gateway's truth: what arrived, in which order, and what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ibkr_connector import GroupIncomplete, OcaGroup
from ibkr_connector.backends.base import WireOrder
from ibkr_connector.backends.tws.client import TwsBackend
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import (
    ContractNotFound,
    NotConnected,
    OrderInDoubt,
    OrderNotSent,
    OrderValidationError,
    PriceIncrementError,
    RequestTimeout,
    RiskRejected,
)
from ibkr_connector.events import Event
from ibkr_connector.models import Contract, OcaType, OrderRequest, OrderState
from ibkr_connector.orders.entries import SendingEntry
from ibkr_connector.orders.journal import Journal
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector, arrived, incident, reaches, settled
from support.proxy import PLACE_ORDER, Proxy, is_kind

SECONDS = 20.0
Leg = dict[str, Any]
NO_LIMITS = dict.fromkeys(("max_order_size", "max_order_value", "max_position_size", "daily_loss_limit"))


def buy(price: float, ref: str, *, quantity: int = 10, symbol: str = "AAPL", **more: Any) -> Leg:
    """A leg as a caller writes it."""
    named = {"symbol": symbol, "quantity": quantity, "action": "BUY", "order_type": "LMT", "order_ref": ref}
    return {**named, "price": price, **more}


def sell(price: float, ref: str, *, quantity: int = 10, order_type: str = "LMT") -> Leg:
    """An exit: a target, or with STP a stop."""
    return {**buy(price, ref, quantity=quantity), "action": "SELL", "order_type": order_type}


def frames(gateway: PaperGateway) -> list[dict[str, object]]:
    """The orders as they arrived."""
    return [entry.fields for entry in gateway.truth.of("recv_place")]


def states(group: OcaGroup) -> list[OrderState]:
    """Where the legs stand."""
    return [leg.state for leg in group.legs]


async def marketable(connector: IBKRConnector, symbol: str = "AAPL") -> float:
    """A limit that buys at once."""
    quote = await connector.get_live_quote(symbol)
    assert quote.ask is not None
    return round(quote.ask + 1, 2)


@pytest.fixture
async def through(proxy: Proxy, make: MakeConnector) -> IBKRConnector:
    """A connector whose traffic passes the man in the middle."""
    connector = make(proxy.port)
    await connector.connect()
    await connector.get_live_quote("AAPL")
    return connector


# --- what arrives -----------------------------------------------------------------------------------------------------


async def test_legs_arrive_back_to_back_as_independent_orders_of_one_group(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    msft = OrderRequest.make(
        contract=Contract.stock("MSFT"), action="BUY", quantity=20, order_type="LMT", limit_price=100, order_ref="b"
    )
    group = await connector.place_oca_group([buy(150, "a"), msft, buy(149, "c", quantity=5)], oca_type=2)
    assert (group.name, group.oca_type, group.refs) == ("a.oca", OcaType.REDUCE_WITH_BLOCK, ("a", "b", "c"))
    assert states(group) == [OrderState.WORKING] * 3
    came = frames(gateway)
    assert [frame["order_ref"] for frame in came] == ["a", "b", "c"]
    ids = [int(str(frame["order_id"])) for frame in came]
    assert ids == [ids[0], ids[0] + 1, ids[0] + 2]
    assert {(one["oca_group"], one["oca_type"], one["parent_id"], one["transmit"]) for one in came} == {
        ("a.oca", 2, 0, True)
    }
    shown = await connector.get_open_orders(refresh=True)
    assert {(one.order_ref, one.oca_group, one.oca_type) for one in shown} == {(ref, "a.oca", 2) for ref in "abc"}


async def test_a_group_is_one_durable_commit_under_its_name(
    connector: IBKRConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[list[SendingEntry]] = []
    real = Journal.commit_sending

    async def commit(self: Journal, entries: Sequence[SendingEntry], **how: Any) -> bool:
        commits.append(list(entries))
        return await real(self, entries, **how)

    monkeypatch.setattr(Journal, "commit_sending", commit)
    await connector.place_oca_group([buy(150, "a"), buy(149, "b")], group="morning")
    assert [[(one.request.order_ref, one.group) for one in entries] for entries in commits] == [
        [("a", "morning"), ("b", "morning")]
    ]


async def test_cancel_of_the_group_ends_all_and_says_so(connector: IBKRConnector) -> None:
    group = await connector.place_oca_group([buy(150, "a"), buy(100, "b", symbol="MSFT")])
    with pytest.raises(RequestTimeout):
        await group.done(0.01)
    ended = await group.cancel(SECONDS)
    assert {one.state for one in ended} == {OrderState.CANCELLED}
    assert group.is_done
    assert [one.state for one in await group.done(1)] == [OrderState.CANCELLED] * 2
    assert group.to_dict()["filled"] == []


async def test_blocking_twin_places_waits_and_cancels(connector: IBKRConnector) -> None:
    def trade() -> None:
        group = connector.sync.place_oca_group([buy(150, "a"), buy(149, "b")], 1, "twin")
        assert [leg.state for leg in group.legs] == [OrderState.WORKING] * 2
        assert {one.state for one in group.cancel(SECONDS)} == {OrderState.CANCELLED}
        assert group.done(SECONDS)[0].order_ref == "a"

    await asyncio.to_thread(trade)


# --- fills ------------------------------------------------------------------------------------------------------------


async def test_leg_that_fills_cancels_the_others_and_its_own_state_is_filled(connector: IBKRConnector) -> None:
    group = await connector.place_oca_group([buy(150, "a"), buy(149, "b"), buy(100, "c", symbol="MSFT")])
    await group.legs[1].modify(limit_price=await marketable(connector))
    ended = await group.done(SECONDS)
    assert [one.state for one in ended] == [OrderState.CANCELLED, OrderState.FILLED, OrderState.CANCELLED]
    assert [one.filled for one in ended] == [0, 10, 0]
    assert group.to_dict()["filled"] == ["b"]
    assert connector.risk.status()["open_orders"] == 0  # nothing is held against the limits any more


async def test_group_whose_first_leg_fills_at_once_has_done_its_work(connector: IBKRConnector) -> None:
    """The others come too late: IBKR refuses them, and nobody must hear that the group was refused."""
    group = await connector.place_oca_group([buy(await marketable(connector), "a"), buy(150, "b")])
    ended = await group.done(SECONDS)
    assert ended[0].state is OrderState.FILLED
    assert ended[1].state in (OrderState.CANCELLED, OrderState.REJECTED)
    again = await connector.place_oca_group([buy(float(ended[0].limit_price or 0), "a"), buy(150, "b")])
    assert [leg.order_id for leg in again.legs] == [leg.order_id for leg in group.legs]


@pytest.mark.parametrize("oca_type", [2, 3])
async def test_partial_fill_reduces_the_others_and_is_no_drift(
    make: MakeConnector, gateway: PaperGateway, oca_type: int
) -> None:
    connector = make(gateway.tws_port, risk_limits=NO_LIMITS)
    await connector.connect()
    drifts: list[Event] = []
    connector.on_event(lambda event: drifts.append(event) if getattr(event, "kind", "") == "echo_drift" else None)
    group = await connector.place_oca_group(
        [buy(150, "a", quantity=6_000), buy(149, "b", quantity=3_000)], oca_type=oca_type
    )
    first, second = group.legs
    await first.modify(limit_price=await marketable(connector))
    reduced = await reaches(second, lambda one: one.quantity < 3_000)
    assert reduced.remaining == reduced.quantity
    held = connector._house.engine.reserved("b")
    assert held is not None
    assert held <= reduced.quantity
    await connector.cancel_all_orders()
    ended = await group.done(SECONDS)
    assert ended[0].filled > 0
    assert (ended[1].state, int(ended[1].filled)) == (OrderState.CANCELLED, 0)
    assert drifts == []


async def test_a_contract_nobody_knows_says_in_which_order_of_the_group_it_is(
    make: MakeConnector, gateway: PaperGateway
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    with pytest.raises(ContractNotFound, match=r"^(\[200\] )?orders\[1\]: ") as caught:
        await connector.place_oca_group([buy(150, "a"), buy(149, "b", symbol="NOPE"), buy(148, "c")])
    assert caught.value.context["field"] == "orders[1].symbol"
    assert caught.value.context["order_ref"] == "b"
    assert frames(gateway) == []
    with pytest.raises(ContractNotFound) as alone:
        await connector.place_limit_order("NOPE", 1, "BUY", 10)
    assert "orders[" not in alone.value.message


# --- the limits -------------------------------------------------------------------------------------------------------


async def test_group_that_a_gate_refuses_is_refused_whole_before_anything_is_written(
    make: MakeConnector, gateway: PaperGateway
) -> None:
    connector = make(gateway.tws_port, risk_limits={"max_order_size": 100})
    await connector.connect()
    with pytest.raises(RiskRejected, match="b order_size: ") as caught:
        await connector.place_oca_group([buy(150, "a"), buy(149, "b", quantity=101)])
    assert caught.value.gates == ["order_size"]
    assert frames(gateway) == []
    assert connector.risk.status()["open_orders"] == 0
    await connector.place_oca_group([buy(150, "a"), buy(149, "b", quantity=100)])  # the names are free
    assert [frame["order_ref"] for frame in frames(gateway)] == ["a", "b"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_group_with_block_holds_the_limit_for_its_worst_leg(
    make: MakeConnector, gateway: PaperGateway, *, restarted: bool
) -> None:
    connector = make(gateway.tws_port, risk_limits={"max_position_size": 120})
    await connector.connect()
    group = await connector.place_oca_group([buy(150, "a", quantity=100), buy(149, "b", quantity=60)])
    if restarted:
        await connector.close()
        connector = make(gateway.tws_port, risk_limits={"max_position_size": 120})
        await connector.connect()
    with pytest.raises(RiskRejected, match="open on this side 100"):
        await connector.place_limit_order("AAPL", 21, "BUY", 150)
    await connector.place_limit_order("AAPL", 20, "BUY", 150)
    for ref in group.refs:
        await connector.cancel_order(ref)
    await connector.place_limit_order("AAPL", 100, "BUY", 150)


async def test_group_without_block_can_overfill_and_counts_in_full(make: MakeConnector, gateway: PaperGateway) -> None:
    connector = make(gateway.tws_port, risk_limits={"max_position_size": 150})
    await connector.connect()
    with pytest.raises(RiskRejected, match="b position_limit: the position could reach 160"):
        await connector.place_oca_group([buy(150, "a", quantity=100), buy(149, "b", quantity=60)], oca_type=3)
    assert frames(gateway) == []
    await connector.place_oca_group([buy(150, "a", quantity=100), buy(149, "b", quantity=50)], oca_type=3)
    with pytest.raises(RiskRejected, match="open on this side 150"):
        await connector.place_limit_order("AAPL", 1, "BUY", 150)


async def test_exits_of_a_position_are_a_group_that_only_reduces_it(connector: IBKRConnector) -> None:
    await (await connector.place_market_order("AAPL", 10, "BUY")).filled(SECONDS)
    connector.reduce_only("nothing new")
    exits = [sell(400, "target"), sell(150, "stop", order_type="STP")]
    with pytest.raises(RiskRejected):
        await connector.place_oca_group(exits, oca_type=3)  # both may fill: that would be short
    group = await connector.place_oca_group(exits)
    assert states(group) == [OrderState.WORKING] * 2


async def test_kill_between_commit_and_write_sends_nothing_of_a_group(
    connector: IBKRConnector, gateway: PaperGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def before_the_frame(order: WireOrder) -> None:
        if order.order_ref == "b":
            connector.kill("now")

    at_each_frame(monkeypatch, prepared=before_the_frame)
    with pytest.raises(OrderNotSent):
        await connector.place_oca_group([buy(150, "a"), buy(149, "b")])
    assert frames(gateway) == []
    assert connector.risk.status()["open_orders"] == 0


def at_each_frame(
    monkeypatch: pytest.MonkeyPatch,
    *,
    prepared: Callable[[WireOrder], None] = lambda _: None,
    written: Callable[[WireOrder], None] = lambda _: None,
) -> None:
    """Do something when a frame is encoded, and right before it is written."""
    real = TwsBackend.order_frame

    def frame(self: TwsBackend, order: WireOrder) -> Callable[[], None]:
        prepared(order)
        write = real(self, order)

        def send() -> None:
            written(order)
            write()

        return send

    monkeypatch.setattr(TwsBackend, "order_frame", frame)


# --- names ------------------------------------------------------------------------------------------------------------


async def test_name_of_a_working_group_is_refused_and_free_when_it_has_ended(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    group = await connector.place_oca_group([buy(150, "a"), buy(149, "b")], group="g")
    with pytest.raises(OrderValidationError, match="order a is in it") as caught:
        await connector.place_oca_group([buy(150, "c"), buy(149, "d")], group="g")
    assert (caught.value.context["field"], caught.value.context["value"]) == ("group", "g")
    assert len(frames(gateway)) == 2
    await group.cancel(SECONDS)
    await connector.place_oca_group([buy(150, "c"), buy(149, "d")], group="g")


async def test_two_groups_of_one_name_at_once_are_one_group_and_one_error(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    results = await asyncio.gather(
        connector.place_oca_group([buy(150, "a"), buy(149, "b")], group="g"),
        connector.place_oca_group([buy(150, "c"), buy(149, "d")], group="g"),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in results) == ["OcaGroup", "OrderValidationError"]
    assert len(frames(gateway)) == 2


async def test_same_group_again_is_the_same_orders(connector: IBKRConnector, gateway: PaperGateway) -> None:
    legs = [buy(150, "a"), buy(149, "b")]
    one, two = await asyncio.gather(connector.place_oca_group(legs), connector.place_oca_group(legs))
    again = await connector.place_oca_group(legs)
    assert [leg.order_id for leg in one.legs] == [leg.order_id for leg in two.legs]
    assert [leg.order_id for leg in again.legs] == [leg.order_id for leg in one.legs]
    assert len(frames(gateway)) == 2
    with pytest.raises(OrderValidationError, match="order_ref='b' names another order"):
        await connector.place_oca_group([buy(150, "a"), buy(148, "b")])
    other = "the same orders with another oca_type, name or sequence"
    for repeat in (
        connector.place_oca_group(legs, oca_type=2),
        connector.place_oca_group(legs, group="elsewhere"),
        connector.place_oca_group(legs[::-1]),
    ):
        with pytest.raises(OrderValidationError, match=other):
            await repeat
    with pytest.raises(OrderValidationError, match="names another order"):
        await connector.place_order(**legs[0])


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("group", [None, "mine"])
async def test_group_with_an_order_of_another_group_accuses_that_order(
    connector: IBKRConnector, gateway: PaperGateway, at_once: bool, group: str | None
) -> None:
    first = asyncio.create_task(connector.place_oca_group([buy(150, "x1"), buy(149, "x2")]))
    await (asyncio.sleep(0) if at_once else asyncio.wait([first]))
    for legs in ([buy(150, "x1"), buy(148, "x3")], [buy(148, "x3"), buy(150, "x1")]):
        with pytest.raises(
            OrderValidationError, match=r"order_ref='x1' belongs to another group already: 'x1\.oca'"
        ) as no:
            await connector.place_oca_group(legs, group=group)
        assert no.value.context["value"] == "x1"
    await first
    assert len(frames(gateway)) == 2


# --- when something breaks --------------------------------------------------------------------------------------------


@pytest.fixture
async def unchecked(gateway: PaperGateway, make: MakeConnector) -> IBKRConnector:
    """Leaves prices off the tick to the broker."""
    made = make(gateway.tws_port, risk_limits={"check_ticks": False})
    await made.connect()
    return made


async def test_leg_that_is_refused_while_the_others_work_is_an_incident(unchecked: IBKRConnector) -> None:
    async with incident(unchecked, "oca_incomplete"):
        with pytest.raises(GroupIncomplete, match="order b of the OCA group g does not work") as caught:
            await unchecked.place_oca_group([buy(150, "a"), buy(149.123, "b"), buy(149, "c")], group="g")
    assert caught.value.context["orders"] == {"a": "working", "b": "rejected", "c": "working"}
    assert (await unchecked.get_order("a")).state is OrderState.WORKING
    with pytest.raises(GroupIncomplete):  # a repeat is told the same
        await unchecked.place_oca_group([buy(150, "a"), buy(149.123, "b"), buy(149, "c")], group="g")


async def test_group_that_is_refused_whole_is_rejected(unchecked: IBKRConnector) -> None:
    with pytest.raises(PriceIncrementError):
        await unchecked.place_oca_group([buy(150.123, "a"), buy(149.123, "b")])


def naming(ref: str) -> Callable[[list[str]], bool]:
    """Matches the frame that places the order `ref`."""
    return lambda fields: is_kind(PLACE_ORDER)(fields) and ref in fields


async def test_leg_that_gets_lost_is_in_doubt_alone_and_an_incident_when_it_never_arrived(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_requests = naming("b")
    with pytest.raises(OrderInDoubt, match="order b") as caught:
        await through.place_oca_group([buy(150, "a"), buy(149, "b"), buy(148, "c")])
    assert not isinstance(caught.value, OSError)
    assert [one.order_ref for one in through.orders_in_doubt()] == ["b"]
    with pytest.raises(OrderInDoubt):  # again is not a second one
        await through.place_oca_group([buy(150, "a"), buy(149, "b"), buy(148, "c")])
    async with incident(through, "oca_incomplete"):
        assert (await settled(through, "b")).state is OrderState.NOT_SENT
    assert [arrived(gateway, ref) for ref in "abc"] == [1, 0, 1]
    assert (await through.get_order("a")).state is OrderState.WORKING


async def test_unanswered_group_is_in_doubt_and_found_at_the_broker_as_it_was(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_answers = is_kind("3", "5", "11", "59")
    with pytest.raises(OrderInDoubt):
        await through.place_oca_group([buy(150, "a"), buy(149, "b")])
    proxy.heal()
    assert {(await settled(through, ref)).state for ref in "ab"} == {OrderState.WORKING}
    assert [arrived(gateway, ref) for ref in "ab"] == [1, 1]


@pytest.mark.parametrize(
    ("trouble", "second", "error"),
    [(NotConnected("gone"), "not_sent", GroupIncomplete), (OSError("broken pipe"), "in_doubt", OrderInDoubt)],
    ids=["certainly not", "nobody knows"],
)
async def test_write_that_fails_in_the_middle_sends_no_later_leg_and_forgets_no_earlier_one(
    connector: IBKRConnector,
    gateway: PaperGateway,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception,
    second: str,
    error: type[Exception],
) -> None:
    def fails(order: WireOrder) -> None:
        if order.order_ref == "b":
            raise trouble

    at_each_frame(monkeypatch, written=fails)
    async with incident(connector, "oca_incomplete"):
        with pytest.raises(error):
            await connector.place_oca_group([buy(150, "a"), buy(149, "b"), buy(148, "c")])
    seen = {ref: (await connector.get_order(ref)).state.value for ref in "abc"}
    assert seen == {"a": "working", "b": second, "c": "not_sent"}
    assert [frame["order_ref"] for frame in frames(gateway)] == ["a"]


# --- what makes no group ----------------------------------------------------------------------------------------------

A, B = buy(150, "a"), buy(149, "b")


@pytest.mark.parametrize(
    ("arguments", "field", "legal"),
    [
        ({"orders": [A]}, "orders", "two orders or more"),
        ({"orders": A}, "orders", "a list of 2 to 20 orders"),
        ({"orders": None}, "orders", "a list of 2 to 20 orders"),
        ({"orders": [A] * 21}, "orders", "a list of 2 to 20 orders"),
        ({"orders": [A, "AAPL"]}, "orders[1]", "place_order"),
        ({"orders": [A, {5: 6}]}, "orders[1]", "place_order"),
        ({"orders": [A, {**B, "symbol": None}]}, "orders[1].symbol", "a symbol"),
        ({"orders": [A, {**B, "action": None}]}, "orders[1].action", "BUY, SELL"),
        ({"orders": [A, {**B, "action": "HOLD"}]}, "orders[1].action", "BUY, SELL"),
        ({"orders": [A, {**B, "quantity": 0}]}, "orders[1].quantity", "a number > 0"),
        ({"orders": [A, {**B, "order_type": "MOC"}]}, "orders[1].order_type", "MKT, LMT"),
        ({"orders": [A, {**B, "price": None}]}, "orders[1].limit_price", "limit_price is needed"),
        ({"orders": [A, {**B, "nonsense": 1}]}, "orders[1].nonsense", "contract, action"),
        ({"orders": [A, {**B, "oca_group": "other"}]}, "oca_group", "a.oca, or nothing"),
        ({"orders": [A, {**B, "oca_group": "a.oca", "oca_type": 3}]}, "oca_type", "1, or nothing"),
        ({"orders": [A, {**B, "account": "DU7"}]}, "account", "one account for all"),
        ({"orders": [A, {**B, "order_ref": "a"}]}, "order_ref", "distinct refs"),
        ({"oca_type": 0}, "oca_type", "1 (cancel with block), 2"),
        ({"oca_type": 4}, "oca_type", "1 (cancel with block), 2"),
        ({"oca_type": True}, "oca_type", "1 (cancel with block), 2"),
        ({"oca_type": "1"}, "oca_type", "1 (cancel with block), 2"),
        ({"group": ""}, "group", "1 to 64 printable ASCII characters"),
        ({"group": "a"}, "group", "a name that no order has"),
        ({"group": 7}, "group", "1 to 64 printable ASCII characters"),
    ],
)
async def test_what_is_no_group_names_the_field_and_what_is_legal(
    connector: IBKRConnector, gateway: PaperGateway, arguments: dict[str, Any], field: str, legal: str
) -> None:
    with pytest.raises(OrderValidationError) as caught:
        await connector.place_oca_group(**{"orders": [A, B], **arguments})
    assert caught.value.context["field"] == field
    assert legal in str(caught.value.context["legal"])
    assert frames(gateway) == []
