"""The reads of `Backend` that are not about orders. Each has one timeout, its own; none is asked twice."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ibkr_connector.backends.base import AccountValueSeen, HistoryRequest
from ibkr_connector.backends.web import convert
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import InvalidRequest, NotSupportedByBackend, ProtocolError
from ibkr_connector.models.account import Position
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.models.market import Bar

_MISSING = "this read over the Web API is not built into this version."
SECDEF_AT_ONCE = 200
"""Con_ids in one request to trsrv/secdef (documented)."""


class Reads:
    """Time, portfolio, contracts, history."""

    def __init__(self, room: WebRoom) -> None:
        self._room = room
        self._calls = room.calls
        self._clock = room.clock

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
        until = self._clock.monotonic() + timeout
        unknown = convert.missing(con_ids, self._room.contracts)
        for first in range(0, len(unknown), SECDEF_AT_ONCE):
            chosen = ",".join(str(con_id) for con_id in unknown[first : first + SECDEF_AT_ONCE])
            body = await self._calls.get("trsrv/secdef", {"conids": chosen}, timeout=self._left(until))
            if not isinstance(body, dict):
                raise ProtocolError("the answer to trsrv/secdef is no object.")
            for row in convert.rows(body.get("secdef"), "trsrv/secdef"):
                contract = convert.held_contract(row)
                self._room.contracts[contract.con_id] = contract

    async def account_values(self, account: str, timeout: float) -> list[AccountValueSeen]:
        """Every figure of `account`, under TWS's keys: the summary, and the ledger of each currency."""
        self._room.require()
        until = self._clock.monotonic() + timeout
        name = path_part(account)
        summary = await self._calls.get(f"portfolio/{name}/summary", timeout=self._left(until))
        ledger = await self._calls.get(f"portfolio/{name}/ledger", timeout=self._left(until))
        return convert.summary_values(account, summary) + convert.ledger_values(account, ledger)

    async def contract_details(self, contract: Contract, timeout: float) -> list[ContractDetails]:
        """See `Backend.contract_details`."""
        raise NotSupportedByBackend(_MISSING)

    async def search_contracts(self, pattern: str, timeout: float) -> list[Contract]:
        """See `Backend.search_contracts`."""
        raise NotSupportedByBackend(_MISSING)

    async def historical_bars(self, request: HistoryRequest, timeout: float) -> list[Bar]:
        """See `Backend.historical_bars`."""
        raise NotSupportedByBackend(_MISSING)

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
