"""An order POST is written at most once per intent, whatever breaks, and the order ends known to both sides.

Counted where it cannot be argued about: in the gateway's truth log, which has every request of a client before any
fault touches it. Known to both sides: the connector's state of the order agrees with what the exchange holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import OrderError, OrderInDoubt, OrderNotFound, OrderNotSent
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from ibkr_connector.session.webpace import WebPace
from support.connector import reaches, settled

from .conftest import MakeWeb

REF = "one-of-a-kind"
LIVE = {OrderState.WORKING, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL}
PATIENT: dict[str, Any] = {
    "web": {"confirm": "o383, o451, o163", "order_timeout": 1.5, "watch_every": 1.0},
    "risk_limits": {"daily_loss_limit": None, "check_market_hours": False},
    "sync_timeout": 30.0,
}

BEFORE = [
    {"kind": "drop_connection"},
    {"kind": "swallow_request", "for_": 4.0},
    {"kind": "http_error", "code": 401},
    {"kind": "http_error", "code": 410},
    {"kind": "http_error", "code": 429},
    {"kind": "http_error", "code": 500},
    {"kind": "http_error", "code": 503},
    {"kind": "reject", "text": "Order rejected - reason:not today"},
]
AFTER = [
    {"kind": "reset_after_write"},
    {"kind": "swallow_reply", "for_": 4.0},
    {"kind": "http_error_after", "code": 503},
    {"kind": "http_error_after", "code": 500},
    {"kind": "duplicate_request"},
    {"kind": "slow", "delay": 3.0, "for_": 2.0},
]
BESIDE = [
    {"kind": "websocket_close"},
    {"kind": "websocket_silent", "for_": 2.0},
    {"kind": "brokerage_lost"},
    {"kind": "restart", "for_": 0.3},
]


def name(fault: dict[str, Any]) -> str:
    return "-".join(str(value) for key, value in fault.items() if key in {"kind", "code"})


def writes(gateway: PaperGateway, ref: str = REF, request: str = "place_order") -> int:
    """How often a new order of this name was written (or a reply about it), whatever became of it."""
    sent = gateway.truth.of("http", request=request)
    return [ref in list(cast("list[str]", entry.fields["order_refs"])) for entry in sent].count(True)


def held(gateway: PaperGateway, ref: str = REF) -> list[str]:
    """What the exchange holds, or has held, under this name: the state of each order."""
    return [ref for entry in gateway.truth.of("accepted") if entry.fields["order_ref"] == ref]


def inject(gateway: PaperGateway, fault: dict[str, Any], on: str) -> None:
    keys = {key: value for key, value in fault.items() if key != "kind"}
    if fault["kind"] == "restart":
        gateway.inject("restart", on=on, **keys)
    elif fault["kind"] in {"slow", "websocket_close", "websocket_silent", "brokerage_lost"}:
        gateway.inject(fault["kind"], front="web", **keys)
    else:
        gateway.inject(fault["kind"], on=on, front="web", **keys)


async def known_to_both(connector: IBKRConnector, gateway: PaperGateway, ref: str = REF) -> OrderState:
    """Wait until nothing is in doubt; then both sides must tell the same."""
    try:
        order = await connector.get_order(ref)
    except OrderNotFound:  # it was given up before it got a name for ever
        assert (writes(gateway, ref), held(gateway, ref)) == (0, [])
        return OrderState.NOT_SENT
    await reaches(order, lambda one: one.state not in {OrderState.NEW, OrderState.SENDING})
    snapshot = await settled(connector, ref, 60.0)
    assert writes(gateway, ref) <= 1
    at_broker = held(gateway, ref)
    assert len(at_broker) <= 1
    if snapshot.state in LIVE or snapshot.state is OrderState.FILLED:
        assert at_broker == [ref]
        assert snapshot.perm_id
    else:
        assert at_broker == [], snapshot
    return snapshot.state


async def place(connector: IBKRConnector) -> OrderError | None:
    """Place the order, then place it again under the same name; the error of the first try."""
    failure: OrderError | None = None
    try:
        await connector.place_limit_order("AAPL", 1, "BUY", 200.0, order_ref=REF, tif="GTC")
    except OrderError as error:
        failure = error
    if not isinstance(failure, OrderNotSent):
        with contextlib.suppress(OrderError):
            await connector.place_limit_order("AAPL", 1, "BUY", 200.0, order_ref=REF, tif="GTC")
    return failure


@pytest.mark.parametrize("fault", [*BEFORE, *AFTER, *BESIDE], ids=name)
async def test_a_new_order_is_written_once(make_web: MakeWeb, gateway: PaperGateway, fault: dict[str, Any]) -> None:
    connector = make_web(**PATIENT)
    await connector.connect()
    inject(gateway, fault, "place_order")
    failure = await place(connector)
    state = await known_to_both(connector, gateway)
    if fault in AFTER:
        assert state is OrderState.WORKING
    if fault in BEFORE:
        assert failure is not None
        assert state in {OrderState.REJECTED, OrderState.NOT_SENT}
        assert not held(gateway)


@pytest.mark.parametrize("fault", [*BEFORE[:-1], *AFTER], ids=name)
async def test_a_reply_is_written_once_and_its_loss_is_settled(
    make_web: MakeWeb, gateway: PaperGateway, fault: dict[str, Any]
) -> None:
    connector = make_web(**PATIENT)
    await connector.connect()
    inject(gateway, fault, "reply")
    with contextlib.suppress(OrderError):
        await connector.place_limit_order("AAPL", 501, "BUY", 150.0, order_ref=REF, tif="GTC")
    state = await known_to_both(connector, gateway)
    assert writes(gateway, request="reply") <= 1
    if fault in AFTER:
        assert state is OrderState.WORKING


async def test_a_caller_that_leaves_repeats_nothing(make_web: MakeWeb, gateway: PaperGateway) -> None:
    connector = make_web(**PATIENT)
    await connector.connect()
    gateway.inject("swallow_reply", on="place_order", for_=3.0)
    for _ in range(3):
        with contextlib.suppress(TimeoutError, OrderInDoubt):
            await asyncio.wait_for(connector.place_limit_order("AAPL", 1, "BUY", 200.0, order_ref=REF, tif="GTC"), 0.3)
    assert await known_to_both(connector, gateway) is OrderState.WORKING
    assert writes(gateway) == 1


# --- each of them in its turn -----------------------------------------------------------------------------------------


@pytest.fixture
def asked_leave(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every request that waited for its turn, as `method path`, or as the cancel it is."""
    found: list[str] = []
    original, way_out = WebPace.request, WebPace.exit

    def request(self: WebPace, method: str, path: str, timeout: float) -> Any:
        found.append(f"{method} {path}")
        return original(self, method, path, timeout)

    def leave(self: WebPace, *, again: bool = False) -> Any:
        found.append("cancel again" if again else "cancel")
        return way_out(self, again=again)

    monkeypatch.setattr(WebPace, "request", request)
    monkeypatch.setattr(WebPace, "exit", leave)
    return found


@pytest.mark.parametrize("confirm", ["o10331", ""], ids=["yes", "no"])
async def test_a_reply_takes_its_turn_like_every_request(
    make_web: MakeWeb, gateway: PaperGateway, asked_leave: list[str], confirm: str
) -> None:
    """Ten requests a second, and the penalty box behind them: chained questions are requests too."""
    made = make_web(web={"confirm": confirm}, risk_limits={"daily_loss_limit": None, "check_market_hours": False})
    await made.connect()
    with contextlib.suppress(OrderError):
        await made.place_stop_order("AAPL", 10, "SELL", 200)
    replies = [str(entry.fields["path"]) for entry in gateway.truth.of("http", request="reply")]
    assert replies
    assert [f"POST {path.removeprefix('/v1/api/')}" in asked_leave for path in replies] == [True] * len(replies)


async def test_a_cancel_that_is_written_again_takes_its_turn(
    make_web: MakeWeb, gateway: PaperGateway, asked_leave: list[str]
) -> None:
    made = make_web(risk_limits={"daily_loss_limit": None, "check_market_hours": False})
    await made.connect()
    order = await made.place_limit_order("AAPL", 10, "BUY", 200)
    gateway.inject("http_error", on="cancel_order", times=2, code=503)
    await order.cancel(timeout=20.0)
    written = len(gateway.truth.of("http", request="cancel_order"))
    assert written == 3
    assert [one for one in asked_leave if one.startswith("cancel")] == ["cancel", "cancel again", "cancel again"]
