"""A bare TWS client for tests: frames in, frames out, no library's opinion between."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterable, Sequence
from typing import Self

SECONDS = 15.0


class RawClient:
    """Speaks the wire protocol by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.version = 0
        self.executions: dict[str, str] = {}
        """Execution id -> order id, for tests that follow orders."""

    @classmethod
    async def open(cls, port: int) -> Self:
        """A connection that has said nothing yet."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(reader, writer)

    @classmethod
    async def connect(cls, port: int, client_id: int, version: int = 178, options: str = "") -> Self:
        """A started client, its greeting messages read."""
        client = await cls.open(port)
        await client.greet(version, version, options)
        client.send("71", "2", str(client_id), "")
        for kind in ("15", "9", "4", "4", "4"):
            message = await client.receive()
            assert message[0] == kind, message
        return client

    async def greet(self, low: int, high: int, options: str = "") -> list[str]:
        """Announce versions and return the answer."""
        text = f"v{low}..{high}" + (f" {options}" if options else "")
        self.write(b"API\0" + struct.pack(">I", len(text)) + text.encode())
        answer = await self.receive()
        if len(answer) == 2:
            self.version = int(answer[0])
        return answer

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def send(self, *fields: str) -> None:
        """Send one message."""
        self.write(pack(fields))

    async def receive(self) -> list[str]:
        """The next message. EOFError when the gateway has closed."""
        try:
            async with asyncio.timeout(SECONDS):
                (length,) = struct.unpack(">I", await self._reader.readexactly(4))
                payload = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise EOFError from error
        assert payload.endswith(b"\0")
        return payload[:-1].decode("ascii").split("\0")

    async def receive_until(self, *kinds: str) -> list[list[str]]:
        """Messages up to and including the first of one of these kinds."""
        messages = [await self.receive()]
        while messages[-1][0] not in kinds:
            messages.append(await self.receive())
        return messages

    async def closed(self) -> list[list[str]]:
        """Everything that still comes until the gateway closes the connection."""
        messages = []
        while True:
            try:
                messages.append(await self.receive())
            except EOFError:
                return messages

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # the gateway was quicker
            await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def pack(fields: Sequence[str] | Iterable[str]) -> bytes:
    """One message with its length."""
    payload = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


# placeOrder as a client of server version 178 writes an order without any of the optional blocks.
_ORDER_178 = (
    "orderId= conId=0 symbol= secType=STK expiry= strike=0.0 right= multiplier= exchange=SMART "
    "primaryExchange= currency=USD localSymbol= tradingClass= secIdType= secId= action= quantity= "
    "orderType= lmtPrice= auxPrice= tif=DAY ocaGroup= account= openClose= origin=0 orderRef= transmit=1 "
    "parentId=0 blockOrder=0 sweepToFill=0 displaySize=0 triggerMethod=0 outsideRth=0 hidden=0 "
    "sharesAllocation= discretionaryAmt=0.0 goodAfterTime= goodTillDate= faGroup= faMethod= faPercentage= "
    "modelCode= shortSaleSlot=0 designatedLocation= exemptCode=-1 ocaType=0 rule80A= settlingFirm= "
    "allOrNone=0 minQty= percentOffset= eTradeOnly=0 firmQuoteOnly=0 nbboPriceCap= auctionStrategy=0 "
    "startingPrice= stockRefPrice= delta= stockRangeLower= stockRangeUpper= "
    "overridePercentageConstraints=0 volatility= volatilityType= deltaNeutralOrderType= "
    "deltaNeutralAuxPrice= continuousUpdate=0 referencePriceType= trailStopPrice= trailingPercent= "
    "scaleInitLevelSize= scaleSubsLevelSize= scalePriceIncrement= scaleTable= activeStartTime= "
    "activeStopTime= hedgeType= optOutSmartRouting=0 clearingAccount= clearingIntent= notHeld=0 "
    "deltaNeutralContract=0 algoStrategy= algoId= whatIf=0 orderMiscOptions= solicited=0 randomizeSize=0 "
    "randomizePrice=0 nConditions=0 adjustedOrderType= triggerPrice= lmtPriceOffset= adjustedStopPrice= "
    "adjustedStopLimitPrice= adjustedTrailingAmount= adjustableTrailingUnit=0 extOperator= "
    "softDollarTierName= softDollarTierValue= cashQty= mifid2DecisionMaker= mifid2DecisionAlgo= "
    "mifid2ExecutionTrader= mifid2ExecutionAlgo= dontUseAutoPriceForHedge=0 isOmsContainer=0 "
    "discretionaryUpToLimitPrice=0 usePriceMgmtAlgo=0 duration= postToAts= autoCancelParent=0 "
    "advancedErrorOverride= manualOrderTime="
)


def place_order(order_id: int, **fields: object) -> list[str]:
    """A placeOrder message for server version 178; fields by IBKR's names."""
    values = dict(pair.split("=", 1) for pair in _ORDER_178.split())
    unknown = fields.keys() - values.keys()
    assert not unknown, unknown
    values |= {name: str(value) for name, value in fields.items()} | {"orderId": str(order_id)}
    return ["3", *values.values()]
