"""A caller that leaves while an order is being placed learns the order's ref, and finds out what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import OrderCancelled, OrderInDoubt, OrderNotFound, OrderNotSent
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.handle import Order
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector
from support.proxy import PLACE_ORDER, Proxy, is_kind

SECONDS = 20.0
ANSWERS_ABOUT_ORDERS = is_kind("3", "5", "11", "59")
INTERRUPTED = Path(__file__).with_name("interrupted.py")


@pytest.fixture
async def through(proxy: Proxy, make: MakeConnector) -> IBKRConnector:
    connector = make(proxy.port, orders={"ack_timeout": 10.0})
    await connector.connect()
    await connector.get_live_quote("AAPL")
    return connector


def notes_of(error: BaseException | None) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


async def test_cancelled_caller_is_told_the_ref_and_finds_the_order(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    placing = asyncio.create_task(through.place_limit_order("AAPL", 10, "BUY", 150))
    written = await gateway.truth.wait_for("recv_place", timeout=SECONDS)
    placing.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await placing
    ref = str(written.fields["order_ref"])
    assert ref in notes_of(caught.value)
    assert "get_order" in notes_of(caught.value)
    assert (await through.get_order(ref)).ref == ref


async def test_caller_whose_time_is_up_finds_the_ref_in_the_cause(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(None) as patience:
            placing = asyncio.ensure_future(through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="late"))
            await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref="late")
            patience.reschedule(0)
            await placing
    assert "late" in notes_of(caught.value.__cause__)


async def test_caller_that_leaves_a_bracket_is_told_all_refs(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    placing = asyncio.create_task(through.place_bracket_order("AAPL", 10, 150, order_ref="three"))
    await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref="three.sl")
    placing.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await placing
    for ref in ("three", "three.tp", "three.sl"):
        assert ref in notes_of(caught.value)


async def test_order_that_is_not_found_after_its_caller_left_is_never_sent(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    """What the note promises, at whatever step of the way the caller leaves."""
    await connector.get_live_quote("AAPL")
    found: dict[str, bool] = {}
    for turns in range(60):
        ref = f"left-{turns}"
        placing = asyncio.create_task(connector.place_limit_order("AAPL", 1, "BUY", 100, order_ref=ref))
        for _ in range(turns):
            await asyncio.sleep(0)
        placing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await placing
        try:
            await connector.get_order(ref)
        except OrderNotFound:
            found[ref] = False
        else:
            found[ref] = True
    await connector.cancel_all_orders(timeout=SECONDS)
    await connector.get_open_orders(refresh=True)
    at_broker = {str(entry.fields["order_ref"]) for entry in gateway.truth.of("recv_place")}
    assert {ref for ref, known in found.items() if not known} & at_broker == set()


async def test_answered_caller_and_refused_caller_get_no_note(connector: IBKRConnector) -> None:
    with pytest.raises(Exception, match="order_size") as caught:
        await connector.place_limit_order("AAPL", 10**9, "BUY", 150)
    assert notes_of(caught.value) == ""


async def test_ctrl_c_in_a_blocking_call_names_the_order(proxy: Proxy, gateway: PaperGateway, tmp_path: Path) -> None:
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(INTERRUPTED), str(proxy.port), str(tmp_path / "state"), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        async with asyncio.timeout(SECONDS * 2):
            written = await gateway.truth.wait_for("recv_place", timeout=SECONDS * 2)
            os.kill(program.pid, signal.SIGINT)
            told = (await program.stdout.read()).decode()
            await program.wait()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert told.startswith("KeyboardInterrupt")
    assert str(written.fields["order_ref"]) in told
    assert "get_order" in told


async def test_waiting_for_an_order_that_never_reached_the_broker_says_so(make: MakeConnector, proxy: Proxy) -> None:
    connector = make(proxy.port)
    await connector.connect()
    proxy.swallow_requests = is_kind(PLACE_ORDER)
    with pytest.raises(OrderInDoubt):
        await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="never")
    order = await connector.get_order("never")
    with pytest.raises(OrderNotSent) as caught:
        await order.filled(SECONDS)
    assert not isinstance(caught.value, OrderCancelled)
    assert caught.value.context["order_ref"] == "never"
    assert "new order_ref" in str(caught.value)
    assert order.state is OrderState.NOT_SENT
    with pytest.raises(OrderNotSent):
        await order.filled(0)


async def test_waiting_for_an_order_that_was_given_up_before_the_write_says_so(
    connector: IBKRConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connector.get_live_quote("AAPL")
    house = connector._house
    handles: list[Order] = []
    adopt = house.manager.desk.adopt

    def adopt_and_break(live: LiveOrder) -> None:
        adopt(live)
        house.session.link.reconciled = False  # what comes in between: the last check before the write refuses it
        handles.append(Order(live, house.manager, house.thread))

    monkeypatch.setattr(house.manager.desk, "adopt", adopt_and_break)
    with pytest.raises(OrderNotSent):
        await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="early")
    with pytest.raises(OrderNotSent) as caught:
        await handles[0].filled(SECONDS)
    assert "may be used again" in str(caught.value)
