"""`connector.contracts`: find and qualify contracts."""

from __future__ import annotations

from ibkr_connector.contracts.lookup import ContractBook
from ibkr_connector.models.arguments import seconds, text
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.symbols import parse_symbol

_LONGEST_PATTERN = 100


class ContractsApi:
    """Contracts and their rules."""

    def __init__(self, thread: SessionThread, book: ContractBook, timeout: float) -> None:
        self._thread = thread
        self._book = book
        self._timeout = timeout

    async def get(self, symbol: str | Contract, *, timeout: float | None = None) -> ContractDetails:
        """The one contract that `symbol` means, with tick, multiplier and hours.

        Raises:
            InvalidRequest: the name cannot be read.
            ContractNotFound: IBKR knows no such contract.
            AmbiguousContract: several fit; `context['candidates']` lists them.
        """
        contract, timeout = parse_symbol(symbol), seconds(timeout)
        return await self._thread.run(self._book.details(contract, self._timeout if timeout is None else timeout))

    async def search(self, pattern: str, *, timeout: float | None = None) -> list[Contract]:
        """At most 16 contracts whose symbol or name starts with `pattern`."""
        pattern, timeout = text(pattern, "pattern", most=_LONGEST_PATTERN), seconds(timeout)
        return await self._thread.run(self._book.search(pattern, self._timeout if timeout is None else timeout))
