"""Contracts: search, definitions, strikes, rules, currency pairs, and the back office's reference data (trsrv)."""

from __future__ import annotations

from typing import Final

from ..instruments import ContractQuery, Instrument
from . import contract_rows as rows
from .calls import Call, Endpoint, Fields, Json, WebError, bad_request
from .hub import WebHub

MAX_SECDEF: Final = 200
MAX_SYMBOLS: Final = 100


class ContractsDesk:
    """Answers about contracts."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        info = "iserver/contract/{conid}"
        return [
            Endpoint("GET POST", "iserver/secdef/search", "secdef_search", self._search),
            Endpoint("GET", "iserver/secdef/info", "secdef_info", self._definition),
            Endpoint("GET", "iserver/secdef/strikes", "secdef_strikes", self._strikes),
            Endpoint("GET", "iserver/secdef/bond-filters", "bond_filters", self._bonds),
            Endpoint("GET", f"{info}/info", "contract_details", self._info),
            Endpoint("GET", f"{info}/info-and-rules", "contract_details", self._info_and_rules),
            Endpoint("GET", f"{info}/algos", "contract_algos", self._algos),
            Endpoint("POST", "iserver/contract/rules", "contract_rules", self._rules),
            Endpoint("GET", "iserver/currency/pairs", "currency_pairs", self._pairs),
            Endpoint("GET", "iserver/exchangerate", "exchange_rate", self._rate),
            Endpoint("GET", "trsrv/secdef", "trsrv_secdef", self._references, "login"),
            Endpoint("GET", "trsrv/stocks", "trsrv_stocks", self._stocks, "login"),
            Endpoint("GET", "trsrv/futures", "trsrv_futures", self._futures, "login"),
            Endpoint("GET", "trsrv/all-conids", "trsrv_all_conids", self._all_conids, "login"),
            Endpoint("GET", "trsrv/secdef/schedule", "trading_schedule", self._venue_schedule, "login"),
            Endpoint("GET", "contract/trading-schedule", "trading_schedule", self._schedule, "login"),
        ]

    # --- search ------------------------------------------------------------------------------------------------------

    def _search(self, call: Call) -> Json:
        values = Fields(call.object() if call.body is not None else dict(call.query))
        symbol = values.text("symbol").strip()
        if not symbol:
            raise bad_request("symbol is missing")
        wanted = values.text("secType").upper()
        found = self._hub.instruments.search(symbol)
        if not values.flag("name"):
            # A symbol is meant exactly: ES is the index, not everything that begins with it.
            found = [item for item in found if item.symbol.upper() == symbol.upper()]
        found = [item for item in found if item.sec_type in {"STK", "IND"}]
        futures = self._listed_futures(symbol)
        if futures and not any(item.sec_type == "IND" for item in found):
            found.append(self._underlying(futures[0]))
        if wanted:
            found = [item for item in found if item.sec_type == wanted or (wanted == "FUT" and item.sec_type == "IND")]
        self._hub.searched.add(symbol.upper())
        if not found:
            raise WebError(500, "No symbol found", {"error": "No symbol found"})
        return [rows.search_row(item, futures if item.sec_type == "IND" else []) for item in found]

    def _listed_futures(self, symbol: str) -> list[Instrument]:
        return self._hub.instruments.resolve(ContractQuery(symbol=symbol.upper(), sec_type="FUT"))

    def _underlying(self, future: Instrument) -> Instrument:
        """What a future is on, where the gateway does not list that itself."""
        known = self._hub.instruments.by_con_id(future.under_con_id)
        if known is not None:
            return known
        return Instrument(
            con_id=future.under_con_id,
            symbol=future.under_symbol,
            sec_type=future.under_sec_type,
            currency=future.currency,
            exchange=future.exchange,
            primary_exchange=future.exchange,
            local_symbol=future.under_symbol,
            trading_class=future.under_symbol,
            long_name=future.long_name,
            market_name=future.market_name,
            min_tick=future.min_tick,
        )

    def _definition(self, call: Call) -> Json:
        con_id = call.integer("conid")
        sec_type = (call.text("secType", "") or call.text("sectype", "")).upper()
        item = self._hub.instruments.by_con_id(con_id)
        if sec_type in {"OPT", "FOP", "WAR"}:
            raise WebError(500, "No contracts retrieved", {"error": "No contracts retrieved for the given parameters"})
        if sec_type == "FUT" and (item is None or item.sec_type != "FUT"):
            month = call.text("month", "")
            listed = [f for f in self._hub.instruments if f.sec_type == "FUT" and f.under_con_id == con_id]
            found = [future for future in listed if rows.month_matches(future, month)]
            if found:
                return [rows.definition(future) for future in found]
        if item is None:
            raise bad_request("conid is not valid")
        return [rows.definition(item)]

    def _strikes(self, call: Call) -> Json:
        # Options are not listed here: the answer of a real gateway that was not asked to search before.
        call.integer("conid")
        return {"call": [], "put": []}

    def _bonds(self, call: Call) -> Json:
        options = [{"value": "USD"}]
        return {"bondFilters": [{"displayText": "Currency", "columnId": 5, "options": options}]}

    # --- details -----------------------------------------------------------------------------------------------------

    def _item(self, call: Call) -> Instrument:
        return self._hub.instrument(call.integer("conid"))

    def _info(self, call: Call) -> Json:
        return rows.info(self._item(call))

    def _info_and_rules(self, call: Call) -> Json:
        item = self._item(call)
        return {**rows.info(item), "rules": self._rules_of(item)}

    def _algos(self, call: Call) -> Json:
        self._item(call)
        return {"algos": []}

    def _rules(self, call: Call) -> Json:
        con_id = Fields(call.object()).integer("conid")
        if con_id is None:
            raise bad_request("conid is missing")
        return self._rules_of(self._hub.instrument(con_id))

    def _rules_of(self, item: Instrument) -> dict[str, Json]:
        trade = self._hub.exchange.last_trade(item)
        first = item.market_rule_ids.split(",")[0]
        ladder = self._hub.instruments.price_increments(int(first)) if first else []
        price = None if trade is None else trade.price
        return rows.rules(item, price, ladder, self._hub.exchange.accounts)

    # --- currencies --------------------------------------------------------------------------------------------------

    def _listed_pairs(self) -> list[Instrument]:
        return [item for item in self._hub.instruments if item.sec_type == "CASH"]

    def _pairs(self, call: Call) -> Json:
        currency = call.text("currency").upper()
        found = [
            {
                "symbol": item.local_symbol,
                "conid": item.con_id,
                "ccyPair": item.currency if item.symbol == currency else item.symbol,
            }
            for item in self._listed_pairs()
            if currency in {item.symbol, item.currency}
        ]
        return {currency: found}

    def _rate(self, call: Call) -> Json:
        source, target = call.text("source").upper(), call.text("target").upper()
        if source == target:
            return {"rate": 1.0}
        for item in self._listed_pairs():
            if {item.symbol, item.currency} == {source, target}:
                quote = self._hub.exchange.quote(item)
                price = item.reference_price
                if quote is not None and quote.bid is not None and quote.ask is not None:
                    price = (quote.bid + quote.ask) / 2
                return {"rate": round(float(price if item.symbol == source else 1 / price), 8)}
        raise bad_request("currency pair is not valid")

    # --- trsrv -------------------------------------------------------------------------------------------------------

    def _references(self, call: Call) -> Json:
        found = [self._hub.instruments.by_con_id(con_id) for con_id in call.conids(limit=MAX_SECDEF)]
        return {"secdef": [rows.reference(item) for item in found if item is not None]}

    def _symbols(self, call: Call) -> list[str]:
        symbols = [part.strip().upper() for part in call.text("symbols").split(",") if part.strip()]
        if not symbols or len(symbols) > MAX_SYMBOLS:
            raise bad_request("symbols must name 1 to 100")
        return symbols

    def _stocks(self, call: Call) -> Json:
        resolve = self._hub.instruments.resolve
        return {
            symbol: [rows.stock(item) for item in resolve(ContractQuery(symbol=symbol, sec_type="STK"))]
            for symbol in self._symbols(call)
        }

    def _futures(self, call: Call) -> Json:
        return {symbol: [rows.future(item) for item in self._listed_futures(symbol)] for symbol in self._symbols(call)}

    def _all_conids(self, call: Call) -> Json:
        exchange = call.text("exchange").upper()
        return [
            {"ticker": item.symbol, "conid": item.con_id, "exchange": item.trading_class}
            for item in self._hub.instruments
            if item.sec_type == "STK" and exchange in {item.primary_exchange, item.trading_class, item.exchange}
        ]

    def _schedule(self, call: Call) -> Json:
        return rows.schedule(self._item(call), self._hub.clock.now().date())

    def _venue_schedule(self, call: Call) -> Json:
        query = ContractQuery(symbol=call.text("symbol").upper(), sec_type=call.text("assetClass").upper())
        today = self._hub.clock.now().date()
        return [rows.venue_schedule(item, today) for item in self._hub.instruments.resolve(query)[:5]]
