"""Contracts over the Web API: what TWS answers with one message is put together here out of several requests.

A name becomes con_ids by an endpoint of its kind (trsrv/stocks, trsrv/futures, currency pairs, search), trsrv/secdef
says which of them are meant, and each one's rules and hours are asked for: three requests for the usual one.
"""

from __future__ import annotations

from typing import Any

from ibkr_connector.backends.web import convert, details
from ibkr_connector.backends.web.shared import WebRoom
from ibkr_connector.errors import ContractNotFound, InvalidRequest, NotSupportedByBackend, ProtocolError
from ibkr_connector.models.contract import Contract, ContractDetails

SECDEF_AT_ONCE = 200
"""Con_ids in one request to trsrv/secdef (documented)."""
MOST_FITTING = 12
"""Contracts whose rules are asked for; more than these are ambiguous in any case."""
MOST_FOUND = 16
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_OPTIONS = frozenset({"OPT", "FOP"})


class Contracts:
    """Looks contracts up. What was told once is kept in `WebRoom.contracts`, as positions and orders name it."""

    def __init__(self, room: WebRoom) -> None:
        self._room = room
        self._calls = room.calls
        self._clock = room.clock
        self._references: dict[int, convert.Row] = {}

    async def know(self, con_ids: list[int], timeout: float) -> None:
        """Learn the contracts of these con_ids, as far as they are not known: `WebRoom.contracts` has them then."""
        until = self._clock.monotonic() + timeout
        unknown = convert.missing(con_ids, self._references)
        for first in range(0, len(unknown), SECDEF_AT_ONCE):
            chosen = ",".join(str(con_id) for con_id in unknown[first : first + SECDEF_AT_ONCE])
            body = await self._calls.get("trsrv/secdef", {"conids": chosen}, timeout=self._left(until))
            if not isinstance(body, dict):
                raise ProtocolError("the answer to trsrv/secdef is no object.")
            for row in convert.rows(body.get("secdef"), "trsrv/secdef"):
                contract = convert.held_contract(row)
                self._references[contract.con_id] = row
                self._room.contracts.setdefault(contract.con_id, contract)

    async def details(self, asked: Contract, timeout: float) -> list[ContractDetails]:
        """Every contract that fits, at most twelve.

        Raises:
            ContractNotFound: none does.
            NotSupportedByBackend: the Web API cannot look such contracts up by name.
        """
        until = self._clock.monotonic() + timeout
        con_ids = [asked.con_id] if asked.con_id else await self._candidates(asked, timeout)
        await self.know(con_ids, self._left(until))
        fitting = [
            con_id for con_id in con_ids if con_id in self._references and self._fits(asked, self._references[con_id])
        ]
        found = []
        for con_id in fitting[:MOST_FITTING]:
            one = await self._details(asked, con_id, until)
            if one is not None:
                found.append(one)
        if not found:
            raise ContractNotFound(f"the Web API knows no contract {asked.symbol or asked.con_id} like that.", code=200)
        return found

    async def search(self, pattern: str, timeout: float) -> list[Contract]:
        """Contracts whose symbol is, or whose name holds, `pattern`; at most 16."""
        if not pattern.isascii() or not pattern.isprintable():
            raise InvalidRequest(
                f"pattern={pattern!r} is not printable ASCII.", field="pattern", value=pattern, legal="printable ASCII"
            )
        until = self._clock.monotonic() + timeout
        con_ids: list[int] = []
        for by_name in (False, True):
            con_ids += [convert.integer(row.get("conid")) for row in await self._search(pattern, until, name=by_name)]
        chosen = list(dict.fromkeys(con_id for con_id in con_ids if con_id > 0))[:MOST_FOUND]
        await self.know(chosen, self._left(until))
        return [self._room.contracts[con_id] for con_id in chosen if con_id in self._room.contracts]

    # --- names --------------------------------------------------------------------------------------------------------

    async def _candidates(self, asked: Contract, timeout: float) -> list[int]:
        until = self._clock.monotonic() + timeout
        symbol, kind = asked.symbol, asked.sec_type
        if not symbol and asked.local_symbol:
            raise NotSupportedByBackend("the Web API finds no contract by its local symbol alone: name its symbol.")
        if kind == "STK":
            body = await self._calls.get("trsrv/stocks", {"symbols": symbol}, timeout=self._left(until))
            companies = _of(body, symbol)
            rows = [row for company in companies for row in convert.rows(company.get("contracts"), "trsrv/stocks")]
            return [convert.integer(row.get("conid")) for row in rows if _at_home(asked, row)]
        if kind == "FUT":
            body = await self._calls.get("trsrv/futures", {"symbols": symbol}, timeout=self._left(until))
            return [convert.integer(row.get("conid")) for row in _of(body, symbol) if _may_expire(asked, row)]
        if kind == "CASH":
            pair = {"currency": asked.currency}
            body = await self._calls.get("iserver/currency/pairs", pair, timeout=self._left(until))
            wanted = f"{symbol}.{asked.currency}"
            rows = _of(body, asked.currency)
            return [convert.integer(row.get("conid")) for row in rows if row.get("symbol") == wanted]
        if kind in {"IND", "BOND", "CRYPTO", "CFD", "FUND"}:
            found = await self._search(symbol, until, name=False, sec_type=kind)
            return [convert.integer(row.get("conid")) for row in found]
        if kind in _OPTIONS:
            return await self._options(asked, until)
        raise NotSupportedByBackend(f"the Web API cannot look up contracts of the type {kind} by name.")

    async def _search(self, text: str, until: float, *, name: bool, sec_type: str = "") -> list[convert.Row]:
        query: dict[str, Any] = {"symbol": text, "name": name}
        if sec_type:
            query["secType"] = sec_type
        try:
            body = await self._calls.get("iserver/secdef/search", query, timeout=self._left(until))
        except ContractNotFound:
            return []
        return convert.rows(body, "secdef/search")

    async def _options(self, asked: Contract, until: float) -> list[int]:
        """Options are found by their underlying, month, strike and right, all of them."""
        if len(asked.expiry) < 6 or not asked.strike or not asked.right:
            raise NotSupportedByBackend(
                "the Web API looks options up by expiry, strike and right together.",
                remedy="Name expiry, strike and right, or the con_id.",
            )
        found: list[int] = []
        month = f"{_MONTHS[int(asked.expiry[4:6]) - 1]}{asked.expiry[2:4]}"
        for row in await self._search(asked.symbol, until, name=False):
            query = {
                "conid": convert.integer(row.get("conid")),
                "sectype": asked.sec_type,
                "month": month,
                "strike": convert.format_number(asked.strike),
                "right": asked.right,
            }
            try:
                body = await self._calls.get("iserver/secdef/info", query, timeout=self._left(until))
            except ContractNotFound:
                continue
            found += [convert.integer(one.get("conid")) for one in convert.rows(body, "secdef/info")]
        return found

    # --- one contract -------------------------------------------------------------------------------------------------

    @staticmethod
    def _fits(asked: Contract, row: convert.Row) -> bool:
        """Whether a row of trsrv/secdef is what was asked for, as far as it tells."""
        if asked.con_id:
            return True
        expiry = convert.text(row.get("expiry"))
        return (
            convert.text(row.get("currency")) in {"", asked.currency}
            and asked.local_symbol in {"", convert.text(row.get("fullName"))}
            and (not asked.primary_exchange or convert.text(row.get("listingExchange")) == asked.primary_exchange)
            and (len(asked.expiry) != 8 or not expiry or expiry == asked.expiry)
        )

    async def _details(self, asked: Contract, con_id: int, until: float) -> ContractDetails | None:
        path = f"iserver/contract/{con_id}/info-and-rules"
        info = await self._calls.get(path, {"isBuy": True}, timeout=self._left(until))
        hours = await self._calls.get("contract/trading-schedule", {"conid": con_id}, timeout=self._left(until))
        made = details.contract_details(asked, info, self._references[con_id], hours)
        if made is not None:
            held = made.contract
            if held.sec_type == "STK":
                held = convert.at_smart(held)
            self._room.contracts[con_id] = held
        return made

    def _left(self, until: float) -> float:
        return max(until - self._clock.monotonic(), 0.001)


def _of(body: Any, name: str) -> list[convert.Row]:
    """The rows under a name of the trsrv answers: `{"AAPL": [...]}`."""
    if not isinstance(body, dict):
        raise ProtocolError("the answer about contracts is no object.")
    return convert.rows(body.get(name) or [], "contracts")


def _at_home(asked: Contract, row: convert.Row) -> bool:
    """SMART in dollars means the listing in the United States, as it does for TWS."""
    return asked.exchange != "SMART" or (row.get("isUS") is True) == (asked.currency == "USD")


def _may_expire(asked: Contract, row: convert.Row) -> bool:
    """A day fits exactly. A month is the contract's, and it may expire in the one before."""
    told, wanted = convert.text(row.get("expirationDate")), asked.expiry
    if len(wanted) != 6 or len(told) != 8 or not wanted.isdigit() or not told.isdigit():
        return wanted in {"", told} or not told
    months = int(wanted[:4]) * 12 + int(wanted[4:]) - (int(told[:4]) * 12 + int(told[4:6]))
    return months in {0, 1}
