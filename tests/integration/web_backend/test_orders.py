"""Orders over the Web API, from placing to the end: answers, questions, groups, changes, cancels, restarts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import (
    CancelInDoubt,
    NotSupportedByBackend,
    OrderConfirmationRequired,
    OrderError,
    OrderNotCancellable,
    OrderRejected,
)
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway, WebOptions
from ibkr_connector.paper.web.options import Precautions
from support.connector import reaches

from .conftest import MakeWeb

SETTINGS: dict[str, Any] = {
    "web": {"confirm": "o383, o10331", "order_timeout": 3.0, "watch_every": 1.0},
    "risk_limits": {"daily_loss_limit": None, "check_market_hours": False},
    "sync_timeout": 30.0,
}


@pytest.fixture
async def web(make_web: MakeWeb) -> IBKRConnector:
    made = make_web(**SETTINGS)
    await made.connect()
    return made


def kinds(gateway: PaperGateway, kind: str) -> list[Any]:
    return [dict(entry.fields) for entry in gateway.truth.of(kind)]


# --- the life of one order --------------------------------------------------------------------------------------------


async def test_a_market_order_is_filled_and_paid_for(web: IBKRConnector, gateway: PaperGateway) -> None:
    order = await web.place_market_order("AAPL", 10, "BUY")
    await order.filled(timeout=20.0)
    async with asyncio.timeout(20.0):
        while order.snapshot.commission is None:  # noqa: ASYNC110 - updates end with the order, costs come later
            await asyncio.sleep(0.02)
    done = order.snapshot
    assert (done.state, done.filled, done.order_type) == (OrderState.FILLED, Decimal(10), "MKT")
    [fill] = kinds(gateway, "fill")
    assert [one.exec_id for one in done.fills] == [fill["exec_id"]]
    assert done.avg_fill_price == Decimal(str(fill["price"]))


async def test_a_limit_order_rests_is_echoed_and_cancelled(web: IBKRConnector, gateway: PaperGateway) -> None:
    order = await web.place_limit_order("AAPL", 5, "BUY", 200.5, tif="GTC", outside_rth=True)
    shown = await reaches(order, lambda one: one.broker_status == "Submitted")
    assert (shown.state, shown.limit_price, shown.tif, shown.outside_rth) == (
        OrderState.WORKING,
        Decimal("200.5"),
        "GTC",
        True,
    )
    assert shown.perm_id == int(kinds(gateway, "accepted")[0]["perm_id"])
    ended = await order.cancel(timeout=20.0)
    assert ended.state is OrderState.CANCELLED
    assert (await order.cancel()).state is OrderState.CANCELLED
    assert len(gateway.truth.of("http", request="cancel_order")) == 1


async def test_a_list_that_a_change_has_overtaken_is_no_drift(
    web: IBKRConnector, gateway: PaperGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows the version before: taken for the broker's present one, the order would be cancelled as another."""
    order = await web.place_limit_order("AAPL", 10, "BUY", 200)
    await reaches(order, lambda one: one.broker_status == "Submitted")
    backend: Any = web._house.session.backend
    calls, real = backend._room.calls, backend._room.calls.get
    asked, go_on = threading.Event(), threading.Event()

    async def late(path: str, params: Any = None, *, timeout: float) -> Any:
        answer = await real(path, params, timeout=timeout)
        if path == "iserver/account/orders" and not go_on.is_set():
            asked.set()
            await asyncio.to_thread(go_on.wait, 20.0)
        return answer

    monkeypatch.setattr(calls, "get", late)
    looking = asyncio.create_task(web.get_open_orders(refresh=True))
    assert await asyncio.to_thread(asked.wait, 20.0)
    changed = await order.modify(quantity=5)
    assert changed.quantity == 5
    go_on.set()
    (found,) = await looking
    assert (found.state, found.quantity) == (OrderState.WORKING, Decimal(5))
    assert not gateway.truth.of("http", request="cancel_order")


async def test_a_cancel_that_comes_too_late_says_so(web: IBKRConnector) -> None:
    order = await web.place_market_order("AAPL", 10, "BUY")
    await order.filled(timeout=20.0)
    assert (await order.cancel()).state is OrderState.FILLED


async def test_a_lost_cancel_is_written_again_until_it_is_answered(web: IBKRConnector, gateway: PaperGateway) -> None:
    order = await web.place_limit_order("AAPL", 5, "BUY", 200.5, tif="GTC")
    gateway.inject("drop_connection", on="cancel_order", times=2)
    assert (await order.cancel(timeout=20.0)).state is OrderState.CANCELLED


async def test_a_refused_order_is_a_rejection_with_the_brokers_words(web: IBKRConnector, gateway: PaperGateway) -> None:
    gateway.inject("reject", on="place_order", text="Order rejected - reason:not today")
    with pytest.raises(OrderRejected, match="not today"):
        await web.place_limit_order("AAPL", 5, "BUY", 200.5)
    assert not web.orders_in_doubt()


@pytest.mark.parametrize(("status", "remedy"), [(401, "Log in"), (410, "Log in"), (429, "IBKR's limit")])
async def test_a_request_that_is_refused_says_that_nothing_is_wrong_with_the_order(
    make_web: MakeWeb, gateway: PaperGateway, status: int, remedy: str
) -> None:
    connector = make_web()
    await connector.connect()
    gateway.inject("http_error", on="place_order", code=status)
    with pytest.raises(OrderRejected, match=remedy) as caught:
        await connector.place_limit_order("AAPL", 5, "BUY", 200)
    assert "Correct what" not in str(caught.value)
    assert (await connector.get_order(caught.value.context["order_ref"])).snapshot.state is OrderState.REJECTED


@pytest.mark.parametrize("tif", ["GTD", "FOK"])
async def test_a_word_the_web_api_has_not_is_refused_before_anything_is_sent(
    web: IBKRConnector, gateway: PaperGateway, tif: str
) -> None:
    from datetime import UTC, datetime, timedelta

    good_till = datetime.now(UTC) + timedelta(days=300) if tif == "GTD" else None
    with pytest.raises(NotSupportedByBackend, match=tif):
        await web.place_limit_order("AAPL", 5, "BUY", 200.5, tif=tif, good_till=good_till)
    assert not gateway.truth.of("http", request="place_order")


# --- questions --------------------------------------------------------------------------------------------------------


async def test_a_question_of_the_list_is_confirmed_and_journaled(web: IBKRConnector, gateway: PaperGateway) -> None:
    order = await web.place_limit_order("AAPL", 501, "BUY", 150.0)
    assert order.state is OrderState.WORKING
    assert [one["confirmed"] for one in kinds(gateway, "recv_reply")] == [True]
    assert [one["message_id"] for one in kinds(gateway, "question")] == ["o383"]


async def test_a_question_that_is_not_on_the_list_is_declined_and_told(
    web: IBKRConnector, gateway: PaperGateway
) -> None:
    with pytest.raises(OrderConfirmationRequired, match=r"o163.*Percentage constraint") as caught:
        await web.place_limit_order("AAPL", 1, "BUY", 260.0, order_ref="asked")
    assert "[web]" in caught.value.remedy
    assert [one["confirmed"] for one in kinds(gateway, "recv_reply")] == [False]
    assert len(gateway.truth.of("declined")) == 1
    assert not gateway.truth.of("accepted")
    with pytest.raises(OrderConfirmationRequired):  # the same name again: the same answer, and nothing is written
        await web.place_limit_order("AAPL", 1, "BUY", 260.0, order_ref="asked")
    assert len(gateway.truth.of("http", request="place_order")) == 1
    assert not web.orders_in_doubt()


async def test_chained_questions_are_answered_until_one_is_not_on_the_list(
    web: IBKRConnector, gateway: PaperGateway
) -> None:
    with pytest.raises(OrderConfirmationRequired, match="o451"):
        await web.place_limit_order("AAPL", 501, "BUY", 230.0)
    assert [one["confirmed"] for one in kinds(gateway, "recv_reply")] == [True, False]
    assert not gateway.truth.of("accepted")


async def test_orders_at_once_do_not_make_each_others_questions_unanswerable(
    web: IBKRConnector, gateway: PaperGateway
) -> None:
    placed = await asyncio.gather(*(web.place_limit_order("AAPL", 501, "BUY", 150.0 + step) for step in range(4)))
    assert [order.state for order in placed] == [OrderState.WORKING] * 4
    assert not gateway.truth.of("question_lost")
    assert len(gateway.truth.of("http", request="place_order")) == 4


async def test_a_kill_between_question_and_answer_stops_the_yes(web: IBKRConnector, gateway: PaperGateway) -> None:
    gateway.inject("slow", front="web", delay=0.4, for_=5.0)
    placing = asyncio.ensure_future(web.place_limit_order("AAPL", 501, "BUY", 150.0))
    await gateway.truth.wait_for("question", timeout=20)
    web.kill("enough")
    with pytest.raises(OrderError):
        await placing
    assert True not in [one["confirmed"] for one in kinds(gateway, "recv_reply")]
    assert not gateway.truth.of("accepted")


@pytest.mark.parametrize(
    "web_options", [WebOptions(limits=None, precautions=Precautions(always=frozenset({"o354"})))], ids=["o354"]
)
async def test_suppressed_questions_are_not_asked(make_web: MakeWeb, gateway: PaperGateway) -> None:
    connector = make_web(**{**SETTINGS, "web": {**SETTINGS["web"], "suppress": "o354"}})
    await connector.connect()
    await connector.place_limit_order("AAPL", 1, "BUY", 200.0)
    assert not gateway.truth.of("question")


# --- groups, changes, everything at once ------------------------------------------------------------------------------


async def test_a_bracket_is_one_request_and_its_exits_live_with_the_entry(
    web: IBKRConnector, gateway: PaperGateway
) -> None:
    bracket = await web.place_bracket_order("AAPL", 10, 200.0, take_profit_price=260.0, stop_loss_price=190.0)
    assert len(gateway.truth.of("http", request="place_order")) == 1
    assert [order.state for order in (bracket.entry, bracket.take_profit, bracket.stop_loss)] == [
        OrderState.WORKING
    ] * 3
    await bracket.entry.cancel(timeout=20.0)
    for exit_order in (bracket.take_profit, bracket.stop_loss):
        assert (await reaches(exit_order, lambda one: one.state.is_done)).state is OrderState.CANCELLED


async def test_an_oca_group_is_one_request_and_a_fill_cancels_the_other(
    web: IBKRConnector, gateway: PaperGateway
) -> None:
    leg = {"symbol": "AAPL", "quantity": 5, "action": "BUY", "order_type": "LMT"}
    group = await web.place_oca_group([{**leg, "price": 200}, {**leg, "price": 201}], group="either")
    assert len(gateway.truth.of("http", request="place_order")) == 1
    assert [order.state for order in group.legs] == [OrderState.WORKING] * 2
    assert len({one["perm_id"] for one in kinds(gateway, "accepted")}) == 2
    for order in group.legs:
        await order.cancel(timeout=20.0)


async def test_a_change_is_written_acknowledged_and_seen(web: IBKRConnector, gateway: PaperGateway) -> None:
    order = await web.place_limit_order("AAPL", 5, "BUY", 200.0, tif="GTC")
    await reaches(order, lambda one: one.broker_status == "Submitted")
    changed = await order.modify(quantity=7, limit_price=201)
    assert (changed.quantity, changed.limit_price, changed.state) == (Decimal(7), Decimal(201), OrderState.WORKING)
    assert len(gateway.truth.of("http", request="modify_order")) == 1
    assert not web.orders_in_doubt()


async def test_a_change_whose_answer_is_lost_is_settled_by_what_the_broker_shows(
    web: IBKRConnector, gateway: PaperGateway
) -> None:
    order = await web.place_limit_order("AAPL", 5, "BUY", 200.0, tif="GTC")
    await reaches(order, lambda one: one.broker_status == "Submitted")
    gateway.inject("reset_after_write", on="modify_order")
    with contextlib.suppress(OrderError):  # the websocket may tell of it before the loss is noticed
        await order.modify(limit_price=201)
    changed = await reaches(order, lambda one: one.limit_price == Decimal(201))
    assert changed.state is OrderState.WORKING
    assert len(gateway.truth.of("http", request="modify_order")) == 1


async def test_everything_is_cancelled_own_and_others(web: IBKRConnector, gateway: PaperGateway) -> None:
    for price in (200.0, 201.0):
        await web.place_limit_order("AAPL", 5, "BUY", price, tif="GTC")
    ended = await web.cancel_all_orders(scope="account", timeout=30.0)
    assert {one.state for one in ended} == {OrderState.CANCELLED}
    assert not web.orders_in_doubt()
    assert gateway.truth.of("http", request="cancel_order")


async def test_a_preview_tells_margin_and_commission(web: IBKRConnector, gateway: PaperGateway) -> None:
    told = await web.preview_order("AAPL", 10, "LMT", "BUY", 200)
    assert told.init_margin_change
    assert told.commission is not None
    assert told.commission_currency == "USD"
    assert not gateway.truth.of("recv_place")


# --- a new run --------------------------------------------------------------------------------------------------------


async def test_the_next_run_finds_the_orders_of_the_last_one_and_changes_and_cancels_them(
    make_web: MakeWeb, gateway: PaperGateway
) -> None:
    first = make_web(**SETTINGS)
    await first.connect()
    await first.place_limit_order("AAPL", 5, "BUY", 200.0, tif="GTC", order_ref="kept")
    filled = await first.place_market_order("AAPL", 3, "BUY", order_ref="filled-later")
    await first.close()
    second = make_web(**SETTINGS)
    await second.connect()
    order = await second.get_order("kept")
    assert (order.state, order.snapshot.ours) == (OrderState.WORKING, True)
    again = await second.get_order(filled.ref)
    await again.filled(timeout=20.0)
    changed = await order.modify(limit_price=202)
    assert changed.limit_price == Decimal(202)
    assert (await order.cancel(timeout=20.0)).state is OrderState.CANCELLED
    assert len(gateway.truth.of("http", request="place_order")) == 2


async def test_orders_of_other_programs_are_counted_and_left_alone(
    web: IBKRConnector, make_web: MakeWeb, gateway: PaperGateway, tmp_path: Any
) -> None:
    other = make_web(**SETTINGS, client_id=9, state_dir=tmp_path / "other")
    await other.connect()
    theirs = await other.place_limit_order("AAPL", 5, "BUY", 200.0, tif="GTC")
    shown = [one for one in await web.get_open_orders(refresh=True) if one.perm_id == theirs.snapshot.perm_id]
    assert [(one.ours, one.quantity, one.limit_price) for one in shown] == [(False, Decimal(5), Decimal(200))]
    with pytest.raises((OrderNotCancellable, CancelInDoubt)):
        await web.cancel_order(shown[0].order_ref)
    assert theirs.state is OrderState.WORKING


async def test_a_fork_made_of_a_change_is_found_counted_and_cancelled_with_the_first(
    web: IBKRConnector, gateway: PaperGateway
) -> None:
    order = await web.place_limit_order("AAPL", 5, "BUY", 200.0, tif="GTC")
    await reaches(order, lambda one: one.broker_status == "Submitted")
    gateway.inject("fork_on_modify", front="web")
    with contextlib.suppress(OrderError):
        await order.modify(limit_price=201)
    await gateway.truth.wait_for("forked", timeout=20)
    async with asyncio.timeout(20.0):
        while not web.orders._manager.desk.table.by_ref(order.ref).record.is_forked:  # type: ignore[union-attr]
            await web.get_open_orders(refresh=True)
            await asyncio.sleep(0.05)
    with contextlib.suppress(CancelInDoubt):
        await order.cancel(timeout=20.0)
    async with asyncio.timeout(20.0):
        while [one for one in gateway.exchange.open_orders(None) if one.ticket.order_ref == order.ref]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
