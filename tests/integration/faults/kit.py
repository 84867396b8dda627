"""What the tests of faults share: orders by hand, requests by hand, and a look at whether the gateway works on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ibkr_connector.paper import PaperGateway, TruthEntry

from ..gateway.raw import RawClient, place_order

SECONDS = 15.0
Message = list[str]


def limit(order_id: int, *, price: str = "50", quantity: int = 10, **fields: object) -> Message:
    """A buy far below the market: it rests."""
    return place_order(
        order_id,
        **{
            "symbol": "AAPL",
            "action": "BUY",
            "quantity": quantity,
            "orderType": "LMT",
            "lmtPrice": price,
            "orderRef": f"ref-{order_id}",
            **fields,
        },
    )


def market(order_id: int, *, quantity: int = 10, **fields: object) -> Message:
    """A buy that fills."""
    return limit(order_id, price="", quantity=quantity, **{"orderType": "MKT", **fields})


def cancel(order_id: int) -> Message:
    return ["4", "1", str(order_id), ""]


def contract(symbol: str = "AAPL") -> Message:
    return ["0", symbol, "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]


def market_data(request_id: int) -> Message:
    return ["1", "11", str(request_id), *contract(), "0", "", "0", "0", ""]


def details(request_id: int, symbol: str = "AAPL") -> Message:
    return ["9", "8", str(request_id), *contract(symbol), "0", "", "", ""]


def history(request_id: int, *, keep: bool = False) -> Message:
    return ["20", str(request_id), *contract(), "0", "", "1 hour", "1 D", "1", "TRADES", "1", str(int(keep)), ""]


def cancel_history(request_id: int) -> Message:
    return ["25", "1", str(request_id)]


def head_timestamp(request_id: int) -> Message:
    return ["87", str(request_id), *contract(), "0", "1", "TRADES", "1"]


def small_bars(request_id: int, duration: str) -> Message:
    return ["20", str(request_id), *contract(), "0", "", "30 secs", duration, "1", "TRADES", "1", "0", ""]


def executions(request_id: int) -> Message:
    return ["7", "3", str(request_id), "0", "", "", "", "", "", ""]


OPEN_ORDERS = ["5", "1"]
ALL_OPEN_ORDERS = ["16", "1"]
POSITIONS = ["61", "1"]
TIME = ["49", "1"]
Fits = Callable[[Message], bool]


def status_of(order_id: int, status: str) -> Fits:
    return lambda m: m[:3] == ["3", str(order_id), status]


def error_of(code: int, request_id: int = -1) -> Fits:
    return lambda m: m[0] == "4" and m[2:4] == [str(request_id), str(code)]


async def until(client: RawClient, fits: Fits) -> list[Message]:
    """Messages up to and including the first that fits."""
    got = [await client.receive()]
    while not fits(got[-1]):
        got.append(await client.receive())
    return got


async def ask(client: RawClient, *requests: Message) -> list[Message]:
    """Send requests, and one for the time behind them: everything that comes until that is answered."""
    for request in requests:
        client.send(*request)
    client.send(*TIME)
    return (await client.receive_until("49"))[:-1]


async def works(gateway: PaperGateway, client_id: int = 99) -> None:
    """A fresh client can trade: what a fault leaves behind is a gateway that works."""
    async with await connected(gateway, client_id) as client:
        client.send("8", "1", "1")
        order_id = int((await client.receive_until("9"))[-1][2])
        client.send(*limit(order_id))
        await until(client, status_of(order_id, "Submitted"))
        client.send(*cancel(order_id))
        await until(client, status_of(order_id, "Cancelled"))


async def fault(gateway: PaperGateway, **match: Any) -> TruthEntry:
    """The entry of a fault that has happened or is about to."""
    return await gateway.truth.wait_for("fault", timeout=SECONDS, **match)


async def over(gateway: PaperGateway, **match: Any) -> TruthEntry:
    """The entry of the end of a fault."""
    return await gateway.truth.wait_for("fault_end", timeout=SECONDS, **match)


async def ended(gateway: PaperGateway, **match: Any) -> TruthEntry:
    """End now what lasts, as if its time were over: no test waits for a window, none is surprised by its end."""
    gateway.faults.clear()
    return await over(gateway, **match)


async def connected(gateway: PaperGateway, client_id: int = 1) -> RawClient:
    """A started client. It tries again while its id is still taken by its predecessor or the port is closed."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                client = await RawClient.open(gateway.tws_port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
                continue
            try:
                await client.greet(178, 178)
                client.send("71", "2", str(client_id), "")
                if (await client.receive())[0] == "15":
                    await client.receive_until("9")
                    for _ in range(3):
                        await client.receive()
                    return client
            except EOFError:
                pass
            await client.close()
