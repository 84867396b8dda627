"""`connector.contracts`: find and qualify contracts."""

from __future__ import annotations

from ibkr_connector.contracts.lookup import ContractBook
from ibkr_connector.errors import InvalidRequest
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.symbols import parse_symbol


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
        contract = parse_symbol(symbol)
        return await self._thread.run(self._book.details(contract, timeout or self._timeout))

    async def search(self, pattern: str, *, timeout: float | None = None) -> list[Contract]:
        """At most 16 contracts whose symbol or name starts with `pattern`."""
        given: object = pattern
        if not isinstance(given, str) or not given.strip():
            raise InvalidRequest("pattern must not be empty.", field="pattern", value=repr(pattern), legal="some text")
        return await self._thread.run(self._book.search(pattern.strip(), timeout or self._timeout))
