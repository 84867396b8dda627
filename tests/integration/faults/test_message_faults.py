"""Requests and replies that are lost, doubled, mixed up, refused, or never ended."""

from __future__ import annotations

import pytest

from ibkr_connector.paper import PaperGateway

from ..gateway.raw import RawClient
from .kit import (
    OPEN_ORDERS,
    POSITIONS,
    SECONDS,
    TIME,
    ask,
    cancel,
    details,
    ended,
    error_of,
    executions,
    fault,
    history,
    limit,
    market,
    market_data,
    over,
    status_of,
    until,
    works,
)

pytestmark = pytest.mark.protocol


async def test_a_swallowed_request_is_never_seen_and_the_next_one_is(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("swallow_request", on="place_order")
    assert await ask(client, limit(1)) == []
    assert gateway.truth.of("recv_place") == []
    entry = await fault(gateway)
    assert (entry.fields["order_ref"], entry.fields["phase"]) == ("ref-1", "new")
    client.send(*limit(2))
    await until(client, status_of(2, "Submitted"))
    await works(gateway)


async def test_two_faults_for_one_message_take_two_messages(gateway: PaperGateway, client: RawClient) -> None:
    for name in ("first", "second"):
        gateway.inject("swallow_request", on="place_order", name=name)
    assert await ask(client, limit(1), limit(2)) == []
    client.send(*limit(3))
    await until(client, status_of(3, "Submitted"))
    assert [(e.fields["name"], e.fields["order_id"]) for e in gateway.truth.of("fault")] == [
        ("first", 1),
        ("second", 2),
    ]


async def test_a_cancel_or_a_change_can_be_swallowed_and_says_how_far_the_order_was(
    gateway: PaperGateway, client: RawClient
) -> None:
    client.send(*limit(1))
    await until(client, status_of(1, "Submitted"))
    gateway.inject("swallow_request", on="modify_order")
    gateway.inject("swallow_request", on="cancel_order")
    assert await ask(client, limit(1, price="51"), cancel(1)) == []
    assert [(e.fields["request"], e.fields["phase"]) for e in gateway.truth.of("fault")] == [
        ("modify_order", "working"),
        ("cancel_order", "working"),
    ]
    assert gateway.truth.of("recv_modify") == gateway.truth.of("recv_cancel") == []
    client.send(*cancel(1))
    await until(client, status_of(1, "Cancelled"))
    await works(gateway)


async def test_every_request_is_swallowed_for_a_while(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("swallow_request", for_=60, client_id=1)
    client.send(*TIME)
    client.send(*limit(1))
    async with await RawClient.connect(gateway.tws_port, 2) as other:
        assert await ask(other) == []
    for request in ("current_time", "place_order"):
        await gateway.truth.wait_for("fault_hit", timeout=SECONDS, request=request)
    await ended(gateway)
    assert [e.fields["request"] for e in gateway.truth.of("fault_hit")] == ["current_time", "place_order"]
    assert await ask(client) == []
    assert gateway.truth.of("recv_place") == []


async def test_all_replies_about_an_order_are_swallowed_until_the_time_is_over(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("swallow_reply", on="place_order", for_=60)
    assert await ask(client, limit(1)) == []
    await gateway.truth.wait_for("status", timeout=15, order_id=1, status="Submitted")
    # What another request answers is no reply to this one.
    assert [m[0] for m in await ask(client, OPEN_ORDERS)] == ["5", "3", "53"]
    await ended(gateway)
    assert {e.fields["reply"] for e in gateway.truth.of("fault_hit")} == {"open_order", "order_status"}
    client.send(*cancel(1))
    await until(client, status_of(1, "Cancelled"))
    await works(gateway)


async def test_one_named_reply_is_swallowed_when_its_turn_comes(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("swallow_reply", on="exec_details", nth=2)
    for order_id in (1, 2, 3):
        client.send(*market(order_id))
        await until(client, status_of(order_id, "Filled"))
    got = await ask(client, executions(9))
    assert [m[2] for m in got if m[0] == "11" and m[1] == "9"] == ["1", "2", "3"]
    [hit] = gateway.truth.of("fault_hit")
    assert (hit.fields["order_ref"], hit.fields["what"]) == ("ref-2", "swallow")
    assert (await fault(gateway)).fields["phase"] == "filled"


async def test_replies_come_twice_as_often_as_asked(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("duplicate_reply", on="place_order", count=2, reply="order_status")
    client.send(*limit(1))
    await until(client, status_of(1, "Submitted"))
    await over(gateway)
    statuses = [m[2] for m in await ask(client, OPEN_ORDERS, limit(2)) if m[0] == "3" and m[1] == "2"]
    assert len(gateway.truth.of("fault_hit", what="duplicate")) == 2
    assert statuses == sorted(set(statuses))
    await works(gateway)


async def test_two_replies_change_places(gateway: PaperGateway, client: RawClient) -> None:
    assert [m[0] for m in await ask(client, OPEN_ORDERS, POSITIONS)] == ["53", "62"]
    gateway.inject("reorder_replies", on="open_order_end", for_=30)
    assert [m[0] for m in await ask(client, OPEN_ORDERS, POSITIONS)] == ["62", "53"]
    assert [m[0] for m in await ask(client, OPEN_ORDERS, POSITIONS)] == ["53", "62"]


async def test_a_reply_that_waits_for_a_second_one_comes_at_the_end_of_the_time(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("reorder_replies", on="current_time", for_=0.05)
    client.send(*TIME)
    assert (await client.receive())[0] == "49"
    await over(gateway)


async def test_a_rejected_order_is_refused_in_the_plan_s_words_and_in_the_truth(
    gateway: PaperGateway, client: RawClient
) -> None:
    gateway.inject("reject", code=201, text="Order rejected - reason:Margin")
    [message] = await ask(client, limit(1))
    assert message[2:5] == ["1", "201", "Order rejected - reason:Margin"]
    assert [e.fields["order_ref"] for e in gateway.truth.of("recv_place")] == ["ref-1"]
    assert [e.fields["code"] for e in gateway.truth.of("rejected")] == [201]
    client.send(*limit(2))
    await until(client, status_of(2, "Submitted"))
    gateway.inject("reject", on="modify_order")
    [message] = await ask(client, limit(2, price="51"))
    assert message[2:4] == ["2", "201"]
    assert len(gateway.truth.of("recv_modify")) == 1
    assert len(gateway.truth.of("recv_place")) == 2
    await works(gateway)


async def test_any_request_can_be_refused_with_its_own_id(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("reject", on="history", code=162)
    got = await ask(client, history(7))
    assert error_of(162, 7)(got[0])
    client.send(*history(8))
    await until(client, lambda m: m[0] == "17")


@pytest.mark.parametrize(
    ("on", "request_", "end"),
    [
        ("executions", executions(5), "55"),
        ("open_orders", OPEN_ORDERS, "53"),
        ("positions", POSITIONS, "62"),
        ("completed_orders", ["99", "0"], "102"),
        ("contract_details", details(6), "52"),
    ],
)
async def test_the_end_of_a_list_is_missing_once(
    gateway: PaperGateway, client: RawClient, on: str, request_: list[str], end: str
) -> None:
    gateway.inject("missing_end", on=on)
    assert end not in [m[0] for m in await ask(client, request_)]
    assert end in [m[0] for m in await ask(client, request_)]


async def test_a_missing_end_of_any_list_hits_the_first(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("missing_end")
    assert [m[0] for m in await ask(client, OPEN_ORDERS, POSITIONS)] == ["62"]


async def test_a_known_contract_is_denied_once(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("false_200", on="contract_details")
    [message] = await ask(client, details(5))
    assert error_of(200, 5)(message)
    assert [m[0] for m in await ask(client, details(6))] == ["10", "52"]


async def test_contracts_are_denied_for_a_while_and_streams_end(gateway: PaperGateway, client: RawClient) -> None:
    client.send(*market_data(5))
    await until(client, lambda m: m[0] == "1")
    gateway.inject("false_200", for_=60)
    await until(client, error_of(200, 5))
    got = await ask(client, details(6), market_data(7))
    assert [m[2:4] for m in got] == [["6", "200"], ["7", "200"]]
    await ended(gateway)
    assert (await ask(client, details(8)))[-1][0] == "52"
    client.send(*market_data(9))
    await until(client, lambda m: m[0] == "1")


async def test_faults_on_connect_hold_the_greeting_back(gateway: PaperGateway) -> None:
    gateway.inject("swallow_request", on="connect")
    async with await RawClient.open(gateway.tws_port) as client:
        await client.greet(178, 178)
        client.send("71", "2", "1", "")
        assert await ask(client) == []
    gateway.inject("drop_connection", on="connect")
    async with await RawClient.open(gateway.tws_port) as client:
        await client.greet(178, 178)
        client.send("71", "2", "2", "")
        assert await client.closed() == []
    await works(gateway)


async def test_an_unreadable_order_is_still_answered_as_unreadable(gateway: PaperGateway, client: RawClient) -> None:
    gateway.inject("reject")
    gateway.inject("reorder_replies", on="any", nth=50)
    client.send("3", "5", "265598")
    assert error_of(320, 5)(await client.receive())
    client.send("nonsense")
    assert (await client.receive())[3] == "320"
    await works(gateway)
