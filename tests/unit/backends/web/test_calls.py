"""Requests of the web backend: written once, or said to be unwritten; bounded; orders apart from reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import requests

from ibkr_connector.backends.web.calls import LATE_S, WebCalls
from ibkr_connector.backends.web.options import WebEndpoint
from ibkr_connector.backends.web.wire import ExactSession
from ibkr_connector.clock import system_clock
from ibkr_connector.errors import (
    AuthenticationError,
    BrokerLinkLost,
    ConnectionLost,
    ConnectionRefused,
    IBKRConnectionError,
    NotConnected,
    OrderInDoubt,
    Outcome,
    PacingError,
    ProtocolError,
    RequestRejected,
    RequestTimeout,
    TradingError,
)
from ibkr_connector.resilience import WindowRule
from ibkr_connector.resilience.web_rules import web_rules

from .conftest import Server, reply

SECONDS = 20.0
ORDERS = "iserver/account/DU1/orders"


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def cut(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def half(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (hang, "silence"),
        (cut, "the connection ends"),
        (half, "half an answer"),
        (reply("{}", "503 Service Unavailable"), "5xx"),
        (reply("<html>", "200 OK"), "no JSON"),
        (reply("[" * 40_000, "200 OK"), "a bomb"),
        (reply('"' + "x" * 60_000 + '"'), "too long an answer"),
        (reply("{}", "307 Temporary Redirect", "Location: /v1/api/elsewhere"), "a redirect"),
        (b"nonsense\r\n\r\n", "no HTTP"),
    ],
)
async def test_an_order_that_may_have_arrived_is_in_doubt_and_written_once(
    server: Server, calls: WebCalls, answer: object, name: str
) -> None:
    server.answer = answer  # type: ignore[assignment]
    with pytest.raises(OrderInDoubt) as told:
        await asyncio.wait_for(calls.order("POST", ORDERS, {"orders": []}, timeout=0.5), SECONDS)
    assert told.value.outcome is Outcome.UNKNOWN, name
    assert server.seen == [f"POST /v1/api/{ORDERS}"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("401 Unauthorized", '{"error": "not authenticated"}', AuthenticationError),
        ("410 Gone", '{"error": "gone"}', AuthenticationError),
        ("400 Bad Request", '{"error": "Bad Request: no bridge", "statusCode": 400}', BrokerLinkLost),
        ("429 Too Many Requests", '{"error": "Too Many Requests"}', PacingError),
        ("400 Bad Request", '{"error": "conid is missing"}', RequestRejected),
    ],
)
async def test_a_refusal_is_one_for_orders_too(
    server: Server, calls: WebCalls, status: str, body: str, error: type[TradingError]
) -> None:
    server.answer = reply(body, status)
    with pytest.raises(error) as told:
        await calls.order("POST", ORDERS, {}, timeout=5.0)
    assert told.value.outcome in {Outcome.NOT_SENT, Outcome.REJECTED}
    assert len(server.seen) == 1


async def test_where_nobody_listens_nothing_was_sent() -> None:
    calls = WebCalls(WebEndpoint(url="http://127.0.0.1:1/v1/api/"), clock=system_clock)
    calls.open()
    for ask in (calls.order("POST", ORDERS, {}, timeout=5.0), calls.get("tickle", timeout=5.0)):
        with pytest.raises(ConnectionRefused) as told:
            await ask
        assert told.value.outcome is Outcome.NOT_SENT
    await calls.close()


async def test_an_error_with_status_200_is_raised_for_reads_and_returned_for_orders(
    server: Server, calls: WebCalls
) -> None:
    server.answer = reply('{"error": "Local order ID=1 is already registered."}')
    with pytest.raises(RequestRejected, match="already registered"):
        await calls.post("iserver/account/DU1/orders/whatif", {}, timeout=5.0)
    assert await calls.order("POST", ORDERS, {}, timeout=5.0) == {"error": "Local order ID=1 is already registered."}


@pytest.mark.parametrize(
    ("answer", "error"), [(hang, RequestTimeout), (cut, ConnectionLost), (half, IBKRConnectionError)]
)
async def test_a_read_is_asked_once(server: Server, calls: WebCalls, answer: object, error: type[Exception]) -> None:
    server.answer = answer  # type: ignore[assignment]
    with pytest.raises(error):
        await asyncio.wait_for(calls.get("portfolio/accounts", timeout=0.5), SECONDS)
    assert len(server.seen) == 1


async def test_an_answer_without_end_is_given_up(server: Server, calls: WebCalls) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    server.answer = drip
    with pytest.raises((RequestTimeout, ProtocolError)):
        await asyncio.wait_for(calls.get("portfolio/accounts", timeout=0.3), SECONDS)


async def test_reads_that_hang_delay_no_order_and_an_order_that_hangs_delays_no_cancel(
    server: Server, calls: WebCalls
) -> None:
    async def some(writer: asyncio.StreamWriter) -> None:
        if server.seen[-1].startswith("DELETE"):
            writer.write(reply('{"msg": "Request was submitted"}'))
            await writer.drain()
        else:
            await asyncio.Event().wait()

    server.answer = some
    reads = [asyncio.create_task(calls.get(f"portfolio/{number}/ledger", timeout=3.0)) for number in range(20)]
    order = calls.begin("POST", ORDERS, {}, timeout=3.0)
    async with asyncio.timeout(SECONDS):
        while f"POST /v1/api/{ORDERS}" not in server.seen:
            server.came.clear()
            await server.came.wait()
        assert await calls.order("DELETE", "iserver/account/DU1/order/7", timeout=2.0)
    done = await asyncio.gather(*reads, order, return_exceptions=True)
    assert all(isinstance(error, RequestTimeout | IBKRConnectionError) for error in done[:-1])
    assert isinstance(done[-1], OrderInDoubt)


async def test_orders_leave_in_the_order_they_were_handed_over(server: Server, calls: WebCalls) -> None:
    tasks = [calls.begin("POST", f"iserver/account/DU{number}/orders", {}, timeout=5.0) for number in range(30)]
    await asyncio.gather(*tasks)
    assert server.seen == [f"POST /v1/api/iserver/account/DU{number}/orders" for number in range(30)]


async def test_an_order_whose_turn_never_came_was_not_sent(server: Server, calls: WebCalls) -> None:
    server.answer = hang
    first = calls.begin("POST", "iserver/account/DU1/orders", {}, timeout=3.0)
    second = calls.begin("POST", "iserver/account/DU2/orders", {}, timeout=0.2)
    with pytest.raises(IBKRConnectionError) as told:
        await asyncio.wait_for(second, SECONDS)
    assert told.value.outcome is Outcome.NOT_SENT
    with pytest.raises(OrderInDoubt):
        await asyncio.wait_for(first, SECONDS)
    assert server.seen == ["POST /v1/api/iserver/account/DU1/orders"]


async def test_a_cancelled_wait_takes_no_order_back(server: Server, calls: WebCalls) -> None:
    async def later(writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(reply("[]"))
        await writer.drain()

    go_on = asyncio.Event()
    server.answer = later
    waiting = calls.begin("POST", ORDERS, {}, timeout=5.0)
    async with asyncio.timeout(SECONDS):
        await server.came.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    server.answer = reply('{"msg": "x"}')
    assert await calls.order("POST", ORDERS, {}, timeout=5.0) == {"msg": "x"}
    assert len(server.seen) == 2


async def test_trouble_and_dates_are_told(server: Server, calls: WebCalls) -> None:
    heard: list[TradingError] = []
    calls.on_trouble = heard.append
    server.answer = reply("{}", "200 OK", "Date: Fri, 20 Nov 2026 15:00:00 GMT")
    await calls.get("tickle", timeout=5.0)
    assert calls.date is not None
    assert calls.date.isoformat() == "2026-11-20T15:00:00+00:00"
    server.answer = reply('{"error": "x"}', "401 Unauthorized")
    with pytest.raises(AuthenticationError):
        await calls.get("tickle", timeout=5.0)
    assert [type(error) for error in heard] == [AuthenticationError]


def test_a_netrc_does_not_lend_its_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session = ExactSession(system_clock.monotonic, proxies_from_environment=True)
    prepared = session.prepare_request(requests.Request("GET", "https://example.org/v1/api/tickle"))
    assert "Authorization" not in prepared.headers
    session.close()


async def test_what_ibind_logs_of_a_request_is_printed_nowhere(
    calls: WebCalls, capfd: pytest.CaptureFixture[str]
) -> None:
    """A logger without handlers writes to stderr (`logging.lastResort`): requests hold orders and account numbers."""
    for client in (calls._reader, calls._orderer):
        client._logger.error("DU1234567")
    assert capfd.readouterr() == ("", "")


async def test_after_the_end_nothing_is_asked(server: Server, calls: WebCalls) -> None:
    await calls.close()
    await calls.close()
    with pytest.raises(NotConnected):
        await calls.get("tickle", timeout=1.0)
    with pytest.raises(NotConnected):
        calls.begin("POST", ORDERS, {}, timeout=1.0)
    assert server.seen == []


async def test_what_has_not_begun_at_the_end_is_never_sent(server: Server, calls: WebCalls) -> None:
    server.answer = hang
    first = calls.begin("POST", "iserver/account/DU1/orders", {}, timeout=3.0)
    second = calls.begin("POST", "iserver/account/DU2/orders", {}, timeout=3.0)
    async with asyncio.timeout(SECONDS):
        await server.came.wait()
    await asyncio.wait_for(calls.close(), 3.5)
    with pytest.raises(OrderInDoubt):
        await first
    with pytest.raises(IBKRConnectionError) as told:
        await second
    assert told.value.outcome is Outcome.NOT_SENT
    assert server.seen == ["POST /v1/api/iserver/account/DU1/orders"]


async def test_the_end_is_bounded_while_a_request_hangs(server: Server, calls: WebCalls) -> None:
    server.answer = hang
    hanging = asyncio.create_task(calls.get("tickle", timeout=4.0))
    async with asyncio.timeout(SECONDS):
        await server.came.wait()
    await asyncio.wait_for(calls.close(), 3.5)
    with pytest.raises(TradingError):
        await hanging


@pytest.mark.parametrize("oauth", [True, False], ids=["oauth", "gateway"])
def test_what_leaves_late_and_is_counted_as_punctual_is_within_the_margin_of_every_rule(oauth: bool) -> None:
    # A burst of cancels leaves one after the other: what is counted earlier than it was written lets the next second's
    # join its end, and IBKR answers 429 and ten minutes of penalty box.
    rules = web_rules(oauth=oauth, messages_per_second=50, cancel_reserve=10)
    assert all(rule.margin > LATE_S for rule in rules if isinstance(rule, WindowRule))
