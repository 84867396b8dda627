"""Qualify contracts: ask IBKR once per name, let concurrent callers share the answer, refuse ambiguity."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from ibkr_connector.contracts.cache import DetailsCache
from ibkr_connector.errors import (
    AmbiguousContract,
    BrokerLinkLost,
    ContractNotFound,
    PacingTimeout,
    RequestTimeout,
    TradingError,
)
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.resilience import Deadline
from ibkr_connector.session.session import Session
from ibkr_connector.symbols import format_symbol, parse_symbol

_SHOWN_CANDIDATES = 5


class ContractBook:
    """Contract details of this session, by name and by con_id. Used on the session loop."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cache = DetailsCache()
        self._flights: dict[Contract, asyncio.Task[ContractDetails]] = {}

    def known(self, contract: Contract) -> ContractDetails | None:
        """What is cached of `contract`, without asking."""
        return self._cache.get(contract, self._session.clock.monotonic())

    def known_ever(self, contract: Contract) -> ContractDetails | None:
        """The same, also when it is so old that it would be asked for again."""
        return self._cache.get(contract, -math.inf)

    async def details(self, name: str | Contract, timeout: float) -> ContractDetails:
        """The one contract that `name` means, with its rules.

        Raises:
            InvalidRequest: the name cannot be read.
            ContractNotFound: IBKR knows no such contract (200), or answers without one (no code).
            BrokerLinkLost: it answers without one while it has no link to IBKR.
            AmbiguousContract: several fit; `context['candidates']` lists them.
            RequestTimeout: not within `timeout` seconds; what others wait for goes on.
        """
        contract = parse_symbol(name)
        cached = self.known(contract)
        if cached is not None:
            return cached
        deadline = Deadline(self._session.clock, timeout)
        while True:
            flight = self._flights.get(contract)
            begun = flight is None or flight.done()
            if flight is None or flight.done():
                # The patience of the one who came first must not be the others' too.
                patience = max(timeout, self._session.settings.request_timeout)
                flight = asyncio.create_task(self._fetch(contract, patience), name=f"details {contract.key}")
                self._flights[contract] = flight
                flight.add_done_callback(lambda task: self._landed(contract, task))
            try:
                return await self._session.clock.wait_for(asyncio.shield(flight), deadline.remaining())
            except (TimeoutError, PacingTimeout) as error:
                if not begun and flight.done() and not deadline.expired:
                    continue  # the time of the one who began it was up, ours is not
                if isinstance(error, TradingError):
                    raise
                what = f"contract details of {format_symbol(contract)}"
                raise RequestTimeout(f"no answer in {timeout:g} s to: {what}.", what=what, timeout=timeout) from None

    def _landed(self, contract: Contract, task: asyncio.Task[ContractDetails]) -> None:
        if self._flights.get(contract) is task:
            del self._flights[contract]
        if not task.cancelled():
            task.exception()  # whoever still waits gets it too

    async def _fetch(self, contract: Contract, timeout: float) -> ContractDetails:
        found = await self.candidates(contract, timeout)
        if not found and not self._session.link.broker_link:
            raise BrokerLinkLost(f"the gateway has no link to IBKR and told nothing about {format_symbol(contract)}.")
        best = _choose(contract, found)
        self._cache.put(contract, best, self._session.clock.monotonic())
        return best

    async def candidates(self, contract: Contract, timeout: float) -> list[ContractDetails]:
        """Every contract that fits, as IBKR lists them."""
        return await self._session.read(
            f"contract details of {format_symbol(contract)}",
            lambda left: self._session.backend.contract_details(contract, left),
            timeout=timeout,
            op="contract_details",
        )

    async def search(self, pattern: str, timeout: float) -> list[Contract]:
        """Contracts whose symbol or name starts with `pattern` (at most 16)."""
        return await self._session.read(
            f"contracts like {pattern!r}",
            lambda left: self._session.backend.search_contracts(pattern, left),
            timeout=timeout,
            op="contract_search",
        )


def _choose(asked: Contract, found: list[ContractDetails]) -> ContractDetails:
    name = format_symbol(asked)
    if not found:
        # No error 200: the gateway ended its answer without having listed anything.
        raise ContractNotFound(f"the answer about {name} lists no contract.", symbol=asked.symbol)
    by_id = {details.contract.con_id: details for details in found}
    if len(by_id) > 1:
        shown = [
            f"{d.contract.local_symbol or d.contract.symbol} {d.contract.sec_type} "
            f"{d.contract.primary_exchange or d.contract.exchange} {d.contract.currency} "
            f"{d.contract.expiry} (con_id {d.contract.con_id})"
            for d in list(by_id.values())[:_SHOWN_CANDIDATES]
        ]
        raise AmbiguousContract(
            f"{len(by_id)} contracts fit {name}: {'; '.join(shown)}.", symbol=asked.symbol, candidates=shown
        )
    only = found[0]
    if asked.exchange and only.contract.exchange != asked.exchange:
        return replace(only, contract=replace(only.contract, exchange=asked.exchange))
    return only
