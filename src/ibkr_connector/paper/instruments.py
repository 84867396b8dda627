"""The securities the gateway knows: their contract details, and how a client's partial contract finds them.

Facts (conIds, names, exchanges, price increments) are IBKR's own and live in `data/instruments.json`; futures are
generated from the date. An unknown contract resolves to nothing, which the front answers with error 200.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Any

from . import sessions

ZERO = Decimal(0)
ONE = Decimal(1)

MAX_MATCHES = 16
"""reqMatchingSymbols answers with at most 16 contracts (IBKR's API reference)."""
LISTED_QUARTERS = 5
"""Quarterly futures listed at any time."""
SYNTHETIC_FUTURE_BASE = 2_100_000_000
"""conId of a future whose real conId is not known here: this base + YYYYMM. IBKR has assigned nothing that high."""

_QUARTER_CODES = {3: "H", 6: "M", 9: "U", 12: "Z"}
_ES_UNDERLYING = 11_004_968
_EXCHANGE_ALIASES = {"ISLAND": "NASDAQ", "BEST": "SMART"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instrument:
    """One tradable contract (or index) with everything contractDetails says about it. Equal by conId."""

    con_id: int
    symbol: str
    sec_type: str
    """STK, CASH, FUT or IND."""
    currency: str
    exchange: str
    """Where IBKR sends it by default: SMART, IDEALPRO, CME, CBOE."""
    primary_exchange: str = ""
    local_symbol: str
    trading_class: str
    long_name: str
    market_name: str
    min_tick: Decimal
    multiplier: Decimal = ONE
    """What one unit of price is worth per contract; 1 for stocks."""
    multiplier_text: str = ""
    """The multiplier as on the wire: empty for stocks."""
    strike: Decimal = ZERO
    right: str = ""
    expiry: str = ""
    """YYYYMMDD of the last trading day, or empty."""
    contract_month: str = ""
    """YYYYMM, or empty."""
    last_trade_date_time: str = ""
    """The date field of contractDetails: `20251219 08:30:00 US/Central`."""
    tz_id: str = "US/Eastern"
    calendar: str = "XNYS"
    """XNYS, FX or CME: see sessions."""
    size_increment: Decimal = ONE
    min_size: Decimal = ONE
    suggested_size: Decimal = ONE
    order_types: str = ""
    valid_exchanges: str = ""
    market_rule_ids: str = ""
    """One rule per valid exchange, comma separated."""
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    stock_type: str = ""
    isin: str = ""
    under_con_id: int = 0
    under_symbol: str = ""
    under_sec_type: str = ""
    price_magnifier: int = 1
    agg_group: int = 1
    md_size_multiplier: int = 1
    derivative_sec_types: tuple[str, ...] = ()
    shortable: bool = True
    reference_price: Decimal = Decimal(100)
    """Where the invented market starts from (2026 prices, rounded)."""
    annual_volatility: float = 0.25
    typical_spread_ticks: int = 1
    average_daily_volume: int = 1_000_000
    """Shares or contracts on a usual day; 0 for indices."""
    market_correlation: float = 0.0
    """Correlation of the invented market with the market as a whole."""

    def __hash__(self) -> int:
        return self.con_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instrument) and other.con_id == self.con_id

    def __repr__(self) -> str:
        return f"<Instrument {self.con_id} {self.local_symbol} {self.sec_type} {self.exchange} {self.currency}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractQuery:
    """A contract as a client describes it; empty fields are open."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""
    """YYYYMM or YYYYMMDD."""
    strike: Decimal = ZERO
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


class InstrumentBook:
    """Every instrument of the gateway, found by conId, by description or by a search text.

    `today` tells the market date, which decides the futures that are listed (and which have expired).
    """

    def __init__(self, today: Callable[[], date]) -> None:
        self._today = today
        self._listed = _load_listed()
        self._by_id = {instrument.con_id: instrument for instrument in self._listed}
        self._rules = _load_rules()
        self._es_ids = {int(month): int(con_id) for month, con_id in _facts()["es_con_ids"].items()}
        self._es_months = {con_id: month for month, con_id in self._es_ids.items()}

    def __iter__(self) -> Iterator[Instrument]:
        """Everything tradable today."""
        yield from self._listed
        yield from self._live_futures()

    def by_con_id(self, con_id: int) -> Instrument | None:
        """The instrument with this conId, expired futures included; None if there is none."""
        known = self._by_id.get(con_id)
        if known is not None:
            return known
        month = self._es_months.get(con_id, con_id - SYNTHETIC_FUTURE_BASE)
        if month in self._es_ids and con_id != self._es_ids[month]:
            return None
        if not (199_000 < month < 210_000 and month % 100 in _QUARTER_CODES):
            return None
        return _es_future(month, con_id)

    def resolve(self, query: ContractQuery) -> list[Instrument]:
        """Every instrument a description fits: none is IBKR's error 200, several an ambiguous contract.

        A conId decides alone. Stocks need symbol (or local symbol), and accept SMART or any exchange they trade
        on; currency pairs trade on IDEALPRO only; futures without an expiry match every listed month, and expired
        ones only with `include_expired`.
        """
        if query.con_id:
            instrument = self.by_con_id(query.con_id)
            if instrument is None or not _exchange_fits(instrument, query.exchange):
                return []
            return [instrument]
        if query.sec_id_type:
            if query.sec_id_type.upper() != "ISIN" or not query.sec_id:
                return []
            return [i for i in self._listed if i.isin == query.sec_id.upper() and _fits(i, query, by_isin=True)]
        if not (query.symbol or query.local_symbol):
            return []
        if query.sec_type.upper() == "FUT":
            return [i for i in self._futures_for(query) if _fits(i, query) and _future_fits(i, query)]
        return [i for i in self._listed if _fits(i, query)]

    def search(self, pattern: str) -> list[Instrument]:
        """Instruments whose symbol begins with the text or whose name contains it, best first, at most 16."""
        text = pattern.strip().upper()
        if not text:
            return []
        found: list[tuple[int, str, int, Instrument]] = []
        for instrument in self._listed:
            if text in {instrument.symbol, instrument.local_symbol}:
                rank = 0
            elif instrument.symbol.startswith(text) or instrument.local_symbol.startswith(text):
                rank = 1
            elif text in instrument.long_name.upper():
                rank = 2
            else:
                continue
            found.append((rank, instrument.symbol, instrument.con_id, instrument))
        return [match[-1] for match in sorted(found, key=lambda match: match[:3])][:MAX_MATCHES]

    def price_increments(self, rule_id: int) -> list[tuple[Decimal, Decimal]]:
        """The price ladder of a market rule as (low edge, increment); empty for an unknown rule."""
        return list(self._rules.get(rule_id, ()))

    def _live_futures(self) -> list[Instrument]:
        today = self._today()
        return [future for future in self._quarters(today, LISTED_QUARTERS + 1) if future.expiry >= f"{today:%Y%m%d}"][
            :LISTED_QUARTERS
        ]

    def _futures_for(self, query: ContractQuery) -> list[Instrument]:
        if query.symbol.upper() not in {"", "ES"}:
            return []
        today = self._today()
        live = self._live_futures()
        if not query.include_expired:
            return live
        two_years_ago = today - timedelta(days=730)
        wanted = query.expiry[:6]
        if wanted.isdecimal() and len(wanted) == 6 and int(wanted[4:]) in _QUARTER_CODES:
            return [self._es(int(wanted))]
        past = [f for f in self._quarters(two_years_ago, 8) if f.expiry < f"{today:%Y%m%d}"]
        return past + live

    def _quarters(self, start: date, count: int) -> list[Instrument]:
        year, month = start.year, (start.month + 2) // 3 * 3
        months: list[int] = []
        while len(months) < count:
            months.append(year * 100 + month)
            year, month = (year + 1, 3) if month == 12 else (year, month + 3)
        return [self._es(m) for m in months]

    def _es(self, month: int) -> Instrument:
        return _es_future(month, self._es_ids.get(month, SYNTHETIC_FUTURE_BASE + month))


# --- matching --------------------------------------------------------------------------------------------------------


def canonical_exchange(exchange: str) -> str:
    """IBKR's present name of an exchange (NASDAQ was ISLAND until 2023)."""
    name = exchange.upper()
    return _EXCHANGE_ALIASES.get(name, name)


def _exchange_fits(instrument: Instrument, exchange: str) -> bool:
    return not exchange or canonical_exchange(exchange) in instrument.valid_exchanges.split(",")


def _fits(instrument: Instrument, query: ContractQuery, *, by_isin: bool = False) -> bool:
    wanted = (
        ("sec_type", query.sec_type or (instrument.sec_type if by_isin else "")),
        ("symbol", query.symbol or instrument.symbol),
        ("local_symbol", query.local_symbol or instrument.local_symbol),
        ("currency", query.currency or instrument.currency),
        ("trading_class", query.trading_class or instrument.trading_class),
    )
    if any(getattr(instrument, name).upper() != value.upper() for name, value in wanted):
        return False
    if query.primary_exchange and canonical_exchange(query.primary_exchange) != instrument.primary_exchange:
        return False
    return _exchange_fits(instrument, query.exchange)


def _future_fits(instrument: Instrument, query: ContractQuery) -> bool:
    if query.multiplier and query.multiplier != instrument.multiplier_text:
        return False
    if not query.expiry:
        return True
    if len(query.expiry) == 6:
        return query.expiry == instrument.contract_month
    return query.expiry == instrument.expiry


# --- building from the facts -----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _facts() -> dict[str, Any]:
    text = (resources.files(__package__) / "data" / "instruments.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def _load_rules() -> dict[int, list[tuple[Decimal, Decimal]]]:
    return {
        int(rule): [(Decimal(edge), Decimal(step)) for edge, step in steps]
        for rule, steps in _facts()["market_rules"].items()
    }


@lru_cache(maxsize=1)
def _load_listed() -> tuple[Instrument, ...]:
    facts = _facts()
    stocks = [_stock(row, "COMMON") for row in facts["stocks"]]
    funds = [_stock(row, "ETF") for row in facts["etfs"]]
    pairs = [_pair(row) for row in facts["forex"]]
    indices = [_index(row) for row in facts["indices"]]
    return (*stocks, *funds, *pairs, *indices)


def _stock(row: list[Any], stock_type: str) -> Instrument:
    con_id, symbol, name, primary, isin, industry, category, subcategory, price, volatility, spread, volume = row
    trading_class = "NMS" if primary == "NASDAQ" else symbol
    exchanges = _facts()["valid_exchanges"]["STK"]
    return Instrument(
        con_id=con_id,
        symbol=symbol,
        sec_type="STK",
        currency="USD",
        exchange="SMART",
        primary_exchange=primary,
        local_symbol=symbol,
        trading_class=trading_class,
        long_name=name,
        market_name=trading_class,
        min_tick=Decimal("0.01"),
        size_increment=Decimal("0.0001"),
        min_size=Decimal("0.0001"),
        suggested_size=Decimal(100),
        order_types=_facts()["order_types"]["STK"],
        valid_exchanges=exchanges,
        market_rule_ids=_rule_for_each("26", exchanges),
        industry=industry,
        category=category,
        subcategory=subcategory,
        stock_type=stock_type,
        isin=isin,
        derivative_sec_types=("CFD", "OPT", "IOPT", "WAR", "BAG"),
        reference_price=Decimal(price),
        annual_volatility=volatility,
        typical_spread_ticks=spread,
        average_daily_volume=volume,
        market_correlation=_facts()["etf_market_correlation"].get(symbol, 0.55),
    )


def _pair(row: list[Any]) -> Instrument:
    con_id, symbol, currency, name, min_tick, rule, price, volatility, spread = row
    pair = f"{symbol}.{currency}"
    return Instrument(
        con_id=con_id,
        symbol=symbol,
        sec_type="CASH",
        currency=currency,
        exchange="IDEALPRO",
        primary_exchange="IDEALPRO",
        local_symbol=pair,
        trading_class=pair,
        long_name=name,
        market_name=pair,
        min_tick=Decimal(min_tick),
        calendar="FX",
        order_types=_facts()["order_types"]["CASH"],
        valid_exchanges=_facts()["valid_exchanges"]["CASH"],
        market_rule_ids=rule,
        agg_group=4,
        reference_price=Decimal(price),
        annual_volatility=volatility,
        typical_spread_ticks=spread,
        average_daily_volume=0,
    )


def _index(row: list[Any]) -> Instrument:
    con_id, symbol, name, exchange, min_tick, price, volatility, correlation = row
    return Instrument(
        con_id=con_id,
        symbol=symbol,
        sec_type="IND",
        currency="USD",
        exchange=exchange,
        primary_exchange=exchange,
        local_symbol=symbol,
        trading_class=symbol,
        long_name=name,
        market_name=symbol,
        min_tick=Decimal(min_tick),
        tz_id="US/Central",
        valid_exchanges=_facts()["valid_exchanges"]["IND"],
        market_rule_ids="26",
        shortable=False,
        derivative_sec_types=("OPT", "FUT"),
        reference_price=Decimal(price),
        annual_volatility=volatility,
        average_daily_volume=0,
        market_correlation=float(correlation),
    )


@lru_cache(maxsize=512)
def _es_future(month: int, con_id: int) -> Instrument:
    """The E-mini S&P 500 future of a month (YYYYMM). Expires on the third Friday, or the session before a holiday."""
    year, quarter = divmod(month, 100)
    first = date(year, quarter, 1)
    third_friday = first + timedelta(days=(4 - first.weekday()) % 7 + 14)
    expiry = sessions.last_session_on_or_before("XNYS", third_friday)
    exchanges = _facts()["valid_exchanges"]["FUT"]
    return Instrument(
        con_id=con_id,
        symbol="ES",
        sec_type="FUT",
        currency="USD",
        exchange="CME",
        local_symbol=f"ES{_QUARTER_CODES[quarter]}{year % 10}",
        trading_class="ES",
        long_name="E-mini S&P 500",
        market_name="ES",
        min_tick=Decimal("0.25"),
        multiplier=Decimal(50),
        multiplier_text="50",
        expiry=f"{expiry:%Y%m%d}",
        contract_month=str(month),
        last_trade_date_time=f"{expiry:%Y%m%d} 08:30:00 US/Central",
        tz_id="US/Central",
        calendar="CME",
        order_types=_facts()["order_types"]["FUT"],
        valid_exchanges=exchanges,
        market_rule_ids=_rule_for_each("67", exchanges),
        under_con_id=_ES_UNDERLYING,
        under_symbol="ES",
        under_sec_type="IND",
        agg_group=2147483647,
        reference_price=Decimal(7000),
        annual_volatility=0.16,
        average_daily_volume=1_500_000,
        market_correlation=0.995,
    )


def _rule_for_each(rule: str, exchanges: str) -> str:
    return ",".join([rule] * len(exchanges.split(",")))
