"""What can be traded: a `Contract` names it, `ContractDetails` tells its rules."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from ibkr_connector.models.arguments import wrong

_PAIR = re.compile(r"[A-Z]{6}")


class SecType(StrEnum):
    """IBKR's security types that the connector accepts."""

    STOCK = "STK"
    FOREX = "CASH"
    FUTURE = "FUT"
    OPTION = "OPT"
    FUTURE_OPTION = "FOP"
    INDEX = "IND"
    CFD = "CFD"
    BOND = "BOND"
    FUND = "FUND"
    CRYPTO = "CRYPTO"
    COMBO = "BAG"
    CONTINUOUS_FUTURE = "CONTFUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One tradable thing, as IBKR names it. `con_id` alone is enough when it is known (0 = not known)."""

    symbol: str = ""
    sec_type: str = "STK"
    exchange: str = "SMART"
    currency: str = "USD"
    con_id: int = 0
    primary_exchange: str = ""
    expiry: str = ""
    """`YYYYMM` or `YYYYMMDD` (lastTradeDateOrContractMonth)."""
    strike: float = 0.0
    right: str = ""
    multiplier: str = ""
    local_symbol: str = ""
    trading_class: str = ""

    @classmethod
    def stock(cls, symbol: str, exchange: str = "SMART", currency: str = "USD", primary_exchange: str = "") -> Contract:
        """A stock or ETF."""
        return cls(
            symbol=symbol, sec_type="STK", exchange=exchange, currency=currency, primary_exchange=primary_exchange
        )

    @classmethod
    def forex(cls, pair: str, exchange: str = "IDEALPRO") -> Contract:
        """A currency pair: `EUR.USD`, `EUR/USD` or `EURUSD`. Raises `InvalidRequest`."""
        given: object = pair
        letters = given.replace(".", "").replace("/", "").upper() if isinstance(given, str) else ""
        if _PAIR.fullmatch(letters) is None:
            raise wrong("pair", pair, "two currencies of three letters: EUR.USD", why="is not a currency pair")
        return cls(symbol=letters[:3], sec_type="CASH", exchange=exchange, currency=letters[3:])

    @classmethod
    def future(cls, symbol: str, expiry: str, exchange: str, currency: str = "USD") -> Contract:
        """A future; `expiry` is `YYYYMM` or `YYYYMMDD`."""
        return cls(symbol=symbol, sec_type="FUT", exchange=exchange, currency=currency, expiry=expiry)

    @classmethod
    def index(cls, symbol: str, exchange: str, currency: str = "USD") -> Contract:
        """An index: data only, it cannot be traded."""
        return cls(symbol=symbol, sec_type="IND", exchange=exchange, currency=currency)

    @property
    def key(self) -> str:
        """A short stable name for logs, limits and caches: `265598` or `AAPL-STK-SMART-USD`."""
        return str(self.con_id) if self.con_id else f"{self.symbol}-{self.sec_type}-{self.exchange}-{self.currency}"

    def with_con_id(self, con_id: int) -> Contract:
        """The same contract, qualified."""
        return replace(self, con_id=con_id)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractDetails:
    """The rules of one contract: tick, multiplier, hours. Prices in the contract's currency."""

    contract: Contract
    long_name: str = ""
    market_name: str = ""
    min_tick: Decimal = Decimal("0.01")
    multiplier: Decimal = Decimal(1)
    price_magnifier: int = 1
    size_increment: Decimal = Decimal(1)
    min_size: Decimal = Decimal(1)
    order_types: tuple[str, ...] = ()
    valid_exchanges: tuple[str, ...] = ()
    market_rule_ids: tuple[int, ...] = ()
    time_zone_id: str = ""
    trading_hours: str = ""
    """IBKR's text: `20260406:0400-20260406:2000;20260405:CLOSED`, in `time_zone_id`."""
    liquid_hours: str = ""
    contract_month: str = ""
    real_expiration_date: str = ""
    under_con_id: int = 0
    industry: str = ""
    category: str = ""
    stock_type: str = ""
    sec_ids: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; Decimals as text."""
        data = asdict(self)
        for key in ("min_tick", "multiplier", "size_increment", "min_size"):
            data[key] = str(data[key])
        return data
