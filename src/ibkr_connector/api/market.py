"""`connector.market`: quotes, once or as a stream."""

from __future__ import annotations

from msgspec.structs import replace

from ibkr_connector.api.stale import UNAVAILABLE, oldest
from ibkr_connector.contracts.lookup import ContractBook
from ibkr_connector.models.arguments import needed_seconds, whole
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote
from ibkr_connector.session.mailbox import Mailbox
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.streams.hub import QuoteHub
from ibkr_connector.streams.quotes import QuoteStream
from ibkr_connector.symbols import parse_symbol

_QUOTE_TIMEOUT_S = 11.0
"""TWS answers a snapshot within 11 s (IBKR, "Market Data Snapshots")."""
_QUOTE_MAX_AGE_S = 5.0
_LARGEST_BUFFER = 10_000_000


class MarketApi:
    """Live market data."""

    def __init__(self, thread: SessionThread, book: ContractBook, hub: QuoteHub, timeout: float) -> None:
        self._thread = thread
        self._book = book
        self._hub = hub
        self._timeout = timeout

    async def quote(
        self,
        symbol: str | Contract,
        *,
        max_age: float = _QUOTE_MAX_AGE_S,
        timeout: float = _QUOTE_TIMEOUT_S,
        allow_stale: bool | float = False,
    ) -> Quote:
        """A quote at most `max_age` seconds old; waits up to `timeout` seconds for one. `Quote.age` tells its age.

        With `allow_stale` the last quote seen stands in when no newer one can be had (no connection, no answer):
        `True` takes any, a number the greatest age in seconds. Such a quote says `stale`. Orders never use one.

        Raises:
            NoMarketData: nothing came. MarketDataNotSubscribed: the account may not see it.
            ContractNotFound, AmbiguousContract, InvalidRequest: the symbol.
        """
        max_age, timeout = needed_seconds(max_age, "max_age", above_zero=True), needed_seconds(timeout)
        contract, limit = parse_symbol(symbol), oldest(allow_stale)
        return await self._thread.run(self._quote(contract, max_age, timeout, limit))

    async def _quote(self, contract: Contract, max_age: float, timeout: float, limit: float | None) -> Quote:
        known = self._book.known_ever(contract)  # before it is asked for: what is too old is forgotten then
        try:
            details = await self._book.details(contract, min(self._timeout, timeout))
            quote = await self._hub.quote(details.contract, max_age=max_age, timeout=timeout, whole=True)
        except UNAVAILABLE:
            found = None if known is None else self._hub.remembered(known.contract.con_id)
            if limit is None or found is None or found[1] > limit:
                raise
            return replace(found[0], age=found[1], stale=True)
        seen = self._hub.remembered(details.contract.con_id)
        return quote if seen is None else replace(quote, age=seen[1])

    def stream(self, symbol: str | Contract, *, buffer: int = 10_000) -> QuoteStream:
        """A stream of quotes; open it with `async with`. `buffer` bounds what a slow reader may lag behind."""
        buffer = whole(buffer, "buffer", least=1, most=_LARGEST_BUFFER)
        contract = parse_symbol(symbol)

        async def attach(box: Mailbox[Quote]) -> Contract:
            return await self._thread.run(self._attach(contract, box))

        async def detach(qualified: Contract, box: Mailbox[Quote]) -> None:
            await self._thread.run(self._detach(qualified, box))

        return QuoteStream(attach, detach, buffer)

    async def _attach(self, contract: Contract, box: Mailbox[Quote]) -> Contract:
        details = await self._book.details(contract, self._timeout)
        await self._hub.attach(details.contract, box, self._timeout)
        return details.contract

    async def _detach(self, contract: Contract, box: Mailbox[Quote]) -> None:
        self._hub.detach(contract, box)
