"""Requests about contracts: details, matching symbols, option chains, market rules, smart components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from . import layouts_contracts, layouts_system, texts, versions
from .contracts import WireContract, read_contract
from .fields import Cursor, FieldError
from .routes import Refusal, Route, Routes

if TYPE_CHECKING:
    from .session import Session

BBO_EXCHANGE: Final = "9c0001"
"""The code tickReqParams names; reqSmartComponents turns it into exchanges."""
SMART_COMPONENTS: Final = (
    (0, "AMEX", "A"), (1, "BYX", "Y"), (2, "NASDAQ", "Q"), (3, "NYSE", "N"), (4, "ARCA", "P"), (5, "BATS", "Z"),
    (6, "IEX", "V"), (7, "EDGEA", "J"), (8, "DRCTEDGE", "K"), (9, "CHX", "M"), (10, "MEMX", "U"),
)  # fmt: skip
MAX_SAMPLES: Final = 16
"""IBKR returns at most sixteen matching symbols."""


class ContractDesk:
    """Answers questions about contracts. Keeps nothing of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def routes(self) -> Routes:
        """The requests answered here."""
        return {
            9: Route(self._contract_details, 2),
            78: Route(self._option_parameters, 1),
            81: Route(self._matching_symbols, 1),
            83: Route(self._smart_components, 1),
            91: Route(self._market_rule),
        }

    def close(self) -> None:
        """Nothing to end."""

    def _contract_details(self, cursor: Cursor) -> None:
        session = self._session
        request_id, contract = self._read_details(cursor)
        found = session.hub.resolve(contract)
        if not found:
            raise Refusal(request_id, texts.NO_DEFINITION)
        session.hub.learn(found)
        now = session.hub.clock.now()
        for item in found:
            exchange = contract.exchange or item.exchange
            session.send(layouts_contracts.contract_details(session.version, request_id, item, exchange, now))
        session.send(layouts_contracts.contract_details_end(request_id))

    def is_known(self, fields: Sequence[str]) -> bool:
        """Whether a request for details needs no server: it cannot be read, or was answered before."""
        try:
            _, contract = self._read_details(Cursor(fields, 1))
        except FieldError:
            return True
        found = self._session.hub.resolve(contract)
        return bool(found) and all(item.con_id in self._session.hub.defined for item in found)

    def _read_details(self, cursor: Cursor) -> tuple[int, WireContract]:
        cursor.skip("version")
        request_id = cursor.request_id()
        contract = read_contract(cursor)
        contract.include_expired = cursor.flag("includeExpired")
        contract.sec_id_type = cursor.text("secIdType")
        contract.sec_id = cursor.text("secId")
        if self._session.version >= versions.BOND_ISSUER:
            contract.issuer_id = cursor.text("issuerId")
        cursor.end()
        return request_id, contract

    def _matching_symbols(self, cursor: Cursor) -> None:
        request_id = cursor.request_id()
        pattern = cursor.text("pattern")
        cursor.end()
        found = self._session.hub.instruments.search(pattern)[:MAX_SAMPLES]
        self._session.send(layouts_contracts.symbol_samples(self._session.version, request_id, found))

    def _option_parameters(self, cursor: Cursor) -> None:
        request_id = cursor.request_id()
        cursor.skip("underlyingSymbol")
        exchange = cursor.text("futFopExchange")
        sec_type = cursor.text("underlyingSecType")
        con_id = cursor.integer("underlyingConId")
        cursor.end()
        if sec_type not in {"FUT", "STK", "IND", "CASH"}:
            raise Refusal(request_id, texts.invalid(f"Invalid security type - {sec_type}", "cp"))
        if sec_type == "FUT" and not exchange:
            raise Refusal(request_id, texts.invalid("Exchange must be specified for futures", "cp"))
        if con_id <= 0:
            raise Refusal(request_id, texts.invalid("Invalid contract id", "cp"))
        # This gateway lists no options: the chain of every underlying is empty.
        self._session.send(layouts_contracts.option_parameters_end(request_id))

    def _smart_components(self, cursor: Cursor) -> None:
        request_id = cursor.request_id()
        code = cursor.text("bboExchange")
        cursor.end()
        known = SMART_COMPONENTS if code == BBO_EXCHANGE else ()
        self._session.send(layouts_system.smart_components(request_id, known))

    def _market_rule(self, cursor: Cursor) -> None:
        rule_id = cursor.integer("marketRuleId")
        cursor.end()
        increments = self._session.hub.instruments.price_increments(rule_id)
        if not increments:
            raise Refusal(layouts_system.SYSTEM, texts.invalid(f"Invalid market rule id {rule_id}", "b1"))
        self._session.send(layouts_system.market_rule(rule_id, increments))
