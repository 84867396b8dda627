"""The reads of `Backend` that are not about orders. Each has one timeout, its own; none is asked twice."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ibkr_connector.backends.base import HistoryRequest
from ibkr_connector.backends.facts import AccountValueSeen
from ibkr_connector.backends.web import convert, history
from ibkr_connector.backends.web.contracts import Contracts
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import InvalidRequest, NotSupportedByBackend, ProtocolError
from ibkr_connector.models.account import Position
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.models.market import Bar


class Reads:
    """Time, portfolio, contracts, history."""

    def __init__(self, room: WebRoom) -> None:
        self._room = room
        self._calls = room.calls
        self._clock = room.clock
        self._contracts = Contracts(room)

    async def server_time(self, timeout: float) -> datetime:
        """IBKR's clock (UTC, whole seconds): the Date header of an answer, for the Web API has no request for it."""
        self._room.require()
        await self._calls.post("iserver/auth/status", timeout=timeout)
        if self._calls.date is None:
            raise ProtocolError("the answers of the Web API carry no Date header.")
        return self._calls.date

    async def positions(self, timeout: float) -> list[Position]:
        """All positions of all accounts of the login, as they are now (portfolio2, which keeps no pages)."""
        self._room.require()
        until = self._clock.monotonic() + timeout
        found: list[tuple[str, convert.Row]] = []
        for account in self._room.accounts:
            body = await self._calls.get(f"portfolio2/{path_part(account)}/positions", timeout=self._left(until))
            found += [(account, row) for row in convert.rows(body, "positions")]
        await self.know((convert.integer(row.get("conid")) for _, row in found), self._left(until))
        now, known = self._clock.now(), self._room.contracts
        made = []
        for account, row in found:
            contract = known.get(convert.integer(row.get("conid")))
            if contract is None or convert.decimal(row.get("position")) is None:
                raise ProtocolError("a position's contract or size is not told; the rest would be a wrong list.")
            made.append(convert.position(account, row, contract, now))
        return made

    async def know(self, con_ids: Iterable[int], timeout: float) -> None:
        """Learn the contracts of these con_ids, as far as they are not known: `WebRoom.contracts` has them then."""
        await self._contracts.know(list(con_ids), timeout)

    async def account_values(self, account: str, timeout: float) -> list[AccountValueSeen]:
        """Every figure of `account`, under TWS's keys: the summary, and the ledger of each currency."""
        self._room.require()
        until = self._clock.monotonic() + timeout
        name = path_part(account)
        summary = await self._calls.get(f"portfolio/{name}/summary", timeout=self._left(until))
        ledger = await self._calls.get(f"portfolio/{name}/ledger", timeout=self._left(until))
        return convert.summary_values(account, summary) + convert.ledger_values(account, ledger)

    async def contract_details(self, contract: Contract, timeout: float) -> list[ContractDetails]:
        """Every contract that fits; see `Contracts.details`."""
        self._room.require()
        return await self._contracts.details(contract, timeout)

    async def search_contracts(self, pattern: str, timeout: float) -> list[Contract]:
        """Contracts whose symbol is, or whose name holds, `pattern`; at most 16."""
        self._room.require()
        return await self._contracts.search(pattern, timeout)

    async def historical_bars(self, request: HistoryRequest, timeout: float) -> list[Bar]:
        """Bars, oldest first; see `history.fetch`. The contract's con_id must be known."""
        self._room.require()
        until = self._clock.monotonic() + timeout
        if not request.contract.con_id:
            raise InvalidRequest(
                "the contract has no con_id.", field="contract", value=request.contract.symbol, legal="a qualified one"
            )

        async def ask(parameters: dict[str, Any]) -> Any:
            return await self._calls.get("iserver/marketdata/history", parameters, timeout=self._left(until))

        return await history.fetch(request, request.contract.con_id, ask)

    async def head_timestamp(self, contract: Contract, what_to_show: str, timeout: float, *, use_rth: bool) -> datetime:
        """The Web API does not tell where data begin. Raises `NotSupportedByBackend`."""
        raise NotSupportedByBackend("the Web API does not tell the earliest data there are.")

    def _left(self, until: float) -> float:
        return max(until - self._clock.monotonic(), 0.001)


def path_part(name: str) -> str:
    """An account's name as a part of a path. Raises `InvalidRequest` for what is none."""
    if not name.isascii() or not name.isalnum():
        raise InvalidRequest(f"account={name!r} is no account.", field="account", value=name, legal="DU1234567")
    return name
