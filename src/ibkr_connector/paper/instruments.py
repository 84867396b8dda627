"""The securities the gateway knows, and how a client's partial contract finds them.

Facts (conIds, names, exchanges, price increments) are IBKR's own and live in `data/instruments.json`; futures are
generated from the date. An unknown contract resolves to nothing, which the front answers with error 200.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal

from .instrument_facts import QUARTER_CODES, es_future, facts_file, load_listed, load_rules
from .instrument_types import ContractQuery, Instrument

__all__ = ["MAX_MATCHES", "ContractQuery", "Instrument", "InstrumentBook", "canonical_exchange"]

MAX_MATCHES = 16
"""reqMatchingSymbols answers with at most 16 contracts (IBKR's API reference)."""
LISTED_QUARTERS = 5
"""Quarterly futures listed at any time."""
SYNTHETIC_FUTURE_BASE = 2_100_000_000
"""conId of a future whose real conId is not known here: this base + YYYYMM. IBKR has assigned nothing that high."""

_EXCHANGE_ALIASES = {"ISLAND": "NASDAQ", "BEST": "SMART"}


class InstrumentBook:
    """Every instrument of the gateway, found by conId, by description or by a search text.

    `today` tells the market date, which decides the futures that are listed (and which have expired).
    """

    def __init__(self, today: Callable[[], date]) -> None:
        self._today = today
        self._listed = load_listed()
        self._by_id = {instrument.con_id: instrument for instrument in self._listed}
        self._rules = load_rules()
        self._es_ids = {int(month): int(con_id) for month, con_id in facts_file()["es_con_ids"].items()}
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
        if not (199_000 < month < 210_000 and month % 100 in QUARTER_CODES):
            return None
        return es_future(month, con_id)

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
        if wanted.isdecimal() and len(wanted) == 6 and int(wanted[4:]) in QUARTER_CODES:
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
        return es_future(month, self._es_ids.get(month, SYNTHETIC_FUTURE_BASE + month))


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
