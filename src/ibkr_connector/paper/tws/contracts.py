"""Contracts as clients write them in requests: twelve fields, and the legs of a combination."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from .fields import Cursor


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a combination (BAG). The last four fields exist in orders only."""

    con_id: int
    ratio: int
    action: str
    exchange: str
    open_close: str = "0"
    short_sale_slot: str = "0"
    designated_location: str = ""
    exempt_code: str = "-1"


@dataclass(slots=True)
class WireContract:
    """What a client knows about the instrument it means: anything from a conId to a symbol."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""
    """lastTradeDateOrContractMonth: YYYYMM or YYYYMMDD."""
    strike: Decimal = Decimal(0)
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    include_expired: bool = False
    sec_id_type: str = ""
    sec_id: str = ""
    issuer_id: str = ""
    legs: list[Leg] = field(default_factory=list)

    @property
    def is_combo(self) -> bool:
        """Whether this is a combination of other contracts."""
        return self.sec_type == "BAG"


def read_contract(cursor: Cursor, *, primary_exchange: bool = True) -> WireContract:
    """Read the twelve contract fields (eleven for the few requests that have no primary exchange)."""
    contract = WireContract(
        con_id=cursor.integer("conId", empty=0),
        symbol=cursor.text("symbol"),
        sec_type=cursor.text("secType"),
        expiry=cursor.text("lastTradeDateOrContractMonth"),
        strike=cursor.decimal("strike") or Decimal(0),
        right=cursor.text("right"),
        multiplier=cursor.text("multiplier"),
        exchange=cursor.text("exchange"),
    )
    if primary_exchange:
        contract.primary_exchange = cursor.text("primaryExchange")
    contract.currency = cursor.text("currency")
    contract.local_symbol = cursor.text("localSymbol")
    contract.trading_class = cursor.text("tradingClass")
    return contract


def read_legs(cursor: Cursor) -> list[Leg]:
    """The legs of a BAG in market and historical data requests: four fields each."""
    return [
        Leg(
            con_id=cursor.integer("leg conId"),
            ratio=cursor.integer("leg ratio"),
            action=cursor.text("leg action"),
            exchange=cursor.text("leg exchange"),
        )
        for _ in range(cursor.count("number of legs", 4))
    ]


def read_order_legs(cursor: Cursor) -> list[Leg]:
    """The legs of a BAG order: eight fields each."""
    return [
        Leg(
            con_id=cursor.integer("leg conId"),
            ratio=cursor.integer("leg ratio"),
            action=cursor.text("leg action"),
            exchange=cursor.text("leg exchange"),
            open_close=str(cursor.integer("leg openClose", empty=0)),
            short_sale_slot=str(cursor.integer("leg shortSaleSlot", empty=0)),
            designated_location=cursor.text("leg designatedLocation"),
            exempt_code=str(cursor.integer("leg exemptCode", empty=-1)),
        )
        for _ in range(cursor.count("number of legs", 8))
    ]
