"""Contracts in the Web API's many forms. Layouts only: every function turns an `Instrument` into JSON."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from .. import sessions
from ..instruments import Instrument
from .calls import Json

SCHEDULE_DAYS: Final = 6
_ORDER_TYPES: Final = {
    "STK": [
        "limit", "market", "stop", "stop_limit", "mit", "lit", "trailing_stop", "trailing_stop_limit",
        "marketonclose", "limitonclose",
    ],
    "FUT": ["limit", "market", "stop", "stop_limit", "mit", "lit", "trailing_stop", "trailing_stop_limit"],
    "CASH": ["limit", "market", "stop", "stop_limit", "trailing_stop", "trailing_stop_limit"],
    "IND": [],
}  # fmt: skip
_OUTSIDE: Final = ["limit", "stop_limit", "lit", "trailing_stop_limit"]


def header(item: Instrument) -> str:
    """`APPLE INC - NASDAQ`."""
    return f"{item.long_name} - {listing(item)}"


def listing(item: Instrument) -> str:
    """The exchange a contract is listed on."""
    return item.primary_exchange or item.exchange


def search_row(item: Instrument, futures: list[Instrument]) -> Json:
    """secdef/search: one underlying, with what is traded on it."""
    own: dict[str, Json] = {"secType": item.sec_type}
    sections: list[Json] = [own]
    if item.sec_type == "IND":
        own["exchange"] = f"{item.exchange};"
    if futures:
        months = ";".join(_month_name(future.contract_month) for future in futures)
        sections.append({"secType": "FUT", "months": months, "exchange": "CME"})
    return {
        "conid": str(item.con_id),
        "companyHeader": header(item),
        "companyName": item.long_name,
        "symbol": item.symbol,
        "description": listing(item),
        "restricted": None,
        "fop": None,
        "opt": None,
        "war": None,
        "sections": sections,
    }


def _month_name(month: str) -> str:
    """202612 -> DEC26."""
    return f"{date(int(month[:4]), int(month[4:]), 1):%b%y}".upper()


def month_matches(item: Instrument, month: str) -> bool:
    """Whether a future expires in a month written DEC26, 202612 or 20261218; an empty text fits all."""
    wanted = month.upper()
    return wanted in {"", _month_name(item.contract_month), item.contract_month, item.expiry}


def definition(item: Instrument) -> Json:
    """secdef/info."""
    return {
        "conid": item.con_id,
        "ticker": item.symbol,
        "symbol": item.symbol,
        "secType": item.sec_type,
        "listingExchange": listing(item),
        "exchange": item.exchange,
        "companyName": item.long_name,
        "currency": item.currency,
        "cusip": None,
        "coupon": "No Coupon",
        "desc1": item.symbol,
        "desc2": _description(item),
        "multiplier": item.multiplier_text or None,
        "tradingClass": item.trading_class,
        "validExchanges": item.valid_exchanges,
        "showPrips": True,
        "priceRendering": None,
        "maturityDate": item.expiry or None,
        "right": "?",
        "strike": 0.0,
    }


def _description(item: Instrument) -> str:
    return f"{_month_name(item.contract_month)} {item.expiry}" if item.contract_month else item.long_name


def info(item: Instrument) -> dict[str, Json]:
    """contract/{conid}/info: snake case."""
    return {
        "cfi_code": "",
        "symbol": item.symbol,
        "cusip": None,
        "expiry_full": item.contract_month or None,
        "con_id": item.con_id,
        "maturity_date": item.expiry or None,
        "industry": item.industry,
        "instrument_type": item.sec_type,
        "has_related_contracts": bool(item.derivative_sec_types),
        "trading_class": item.trading_class,
        "valid_exchanges": item.valid_exchanges,
        "allow_sell_long": False,
        "is_zero_commission_security": False,
        "local_symbol": item.local_symbol,
        "contract_clarification_type": None,
        "classifier": None,
        "currency": item.currency,
        "text": None,
        "underlying_con_id": item.under_con_id,
        "r_t_h": True,
        "multiplier": item.multiplier_text or None,
        "underlying_issuer": None,
        "contract_month": item.contract_month or None,
        "company_name": item.long_name,
        "smart_available": "SMART" in item.valid_exchanges.split(","),
        "exchange": item.exchange,
        "category": item.category,
    }


def rules(
    item: Instrument, price: Decimal | None, ladder: list[tuple[Decimal, Decimal]], accounts: list[str]
) -> dict[str, Json]:
    """contract/rules: how orders in a contract may look."""
    kinds = _ORDER_TYPES.get(item.sec_type, [])
    step = item.min_tick
    shown = None if price is None else float(price)
    return {
        "algoEligible": False,
        "allOrNoneEligible": item.sec_type == "STK",
        "overnightEligible": False,
        "costReport": False,
        "canTradeAcctIds": accounts,
        "error": None,
        "orderTypes": kinds,
        "ibAlgoTypes": [],
        "fraqTypes": ["limit", "market"] if item.sec_type == "STK" else [],
        "forceOrderPreview": False,
        "cqtTypes": ["limit", "market"] if item.sec_type in {"STK", "CASH"} else [],
        "orderDefaults": {"LMT": {"LP": "" if price is None else f"{price:f}"}},
        "orderTypesOutside": [kind for kind in kinds if kind in _OUTSIDE] if item.sec_type == "STK" else [],
        "defaultSize": int(item.suggested_size),
        "cashSize": 0.0,
        "sizeIncrement": int(item.suggested_size),
        "tifTypes": ["IOC/MARKET,LIMIT,a", "GTC/o,a", "GTD/o,a", "DAY/o,a"],
        "tifDefaults": {"TIF": "DAY", "SIZE": f"{item.suggested_size:.2f}"},
        "limitPrice": shown,
        "stopprice": shown,
        "orderOrigination": None,
        "preview": True,
        "displaySize": None,
        "fraqInt": 4 if item.sec_type == "STK" else 0,
        "cashCcy": item.currency,
        "cashQtyIncr": 500,
        "priceMagnifier": None,
        "negativeCapable": False,
        "incrementType": 1,
        "incrementRules": [{"lowerEdge": float(edge), "increment": float(inc)} for edge, inc in ladder],
        "hasSecondary": True,
        "increment": float(step),
        "incrementDigits": max(0, -int(step.normalize().as_tuple().exponent)),
    }


def reference(item: Instrument) -> Json:
    """trsrv/secdef: the back office's row."""
    is_future = item.sec_type == "FUT"
    return {
        "conid": item.con_id,
        "currency": item.currency,
        "time": 1,
        "chineseName": None,
        "allExchanges": item.valid_exchanges,
        "listingExchange": listing(item),
        "countryCode": "US",
        "name": item.long_name,
        "assetClass": item.sec_type,
        "expiry": item.expiry or None,
        "lastTradingDay": item.expiry or None,
        "group": item.category or None,
        "putOrCall": None,
        "sector": item.industry or None,
        "sectorGroup": item.subcategory or None,
        "strike": "0",
        "ticker": item.symbol,
        "undConid": item.under_con_id,
        "multiplier": float(item.multiplier) if is_future else 0.0,
        "type": item.stock_type,
        "hasOptions": "OPT" in item.derivative_sec_types,
        "fullName": item.local_symbol,
        "isUS": item.currency == "USD",
        "isEventContract": False,
    }


def stock(item: Instrument) -> Json:
    """trsrv/stocks: one company."""
    contract = {"conid": item.con_id, "exchange": listing(item), "isUS": True}
    return {"name": item.long_name, "chineseName": None, "assetClass": "STK", "contracts": [contract]}


def future(item: Instrument) -> Json:
    """trsrv/futures: one expiry, its dates as numbers."""
    last = int(item.expiry)
    return {
        "symbol": item.symbol,
        "conid": item.con_id,
        "underlyingConid": item.under_con_id,
        "expirationDate": last,
        "ltd": last,
        "shortFuturesCutOff": last,
        "longFuturesCutOff": last,
    }


def schedule(item: Instrument, today: date) -> Json:
    """contract/trading-schedule: sessions by their date, times in seconds since 1970."""
    days: dict[str, Json] = {}
    for offset in range(SCHEDULE_DAYS):
        session = sessions.session_of(item, today + timedelta(days=offset))
        if session is not None:
            liquid, whole = session.bounds(use_rth=True), session.bounds(use_rth=False)
            days[f"{session.day:%Y%m%d}"] = {
                "liquid_hours": [{"opening": int(liquid[0].timestamp()), "closing": int(liquid[1].timestamp())}],
                "extended_hours": [
                    {
                        "cancel_daily_orders": True,
                        "opening": int(whole[0].timestamp()),
                        "closing": int(whole[1].timestamp()),
                    }
                ],
            }
    return {"exchange_time_zone": item.tz_id, "schedules": days}


def venue_schedule(item: Instrument, today: date) -> Json:
    """trsrv/secdef/schedule: one venue, local times of day as texts."""
    zone = ZoneInfo(item.tz_id)
    rows: list[Json] = []
    for offset in range(SCHEDULE_DAYS):
        day = today + timedelta(days=offset)
        session = sessions.session_of(item, day)
        row: dict[str, Json] = {
            "clearingCycleEndTime": "0000",
            "tradingScheduleDate": f"{day:%Y%m%d}",
            "sessions": [],
            "tradingtimes": [],
        }
        if session is not None:
            begin, end = (moment.astimezone(zone) for moment in session.bounds(use_rth=False))
            opens, closes = (moment.astimezone(zone) for moment in session.bounds(use_rth=True))
            row["clearingCycleEndTime"] = f"{end:%H%M}"
            row["sessions"] = [{"openingTime": f"{opens:%H%M}", "closingTime": f"{closes:%H%M}", "prop": "LIQUID"}]
            row["tradingtimes"] = [
                {"openingTime": f"{begin:%H%M}", "closingTime": f"{end:%H%M}", "cancelDayOrders": "Y"}
            ]
        rows.append(row)
    return {
        "id": f"p{item.con_id}",
        "tradeVenueId": "v1",
        "exchange": listing(item),
        "description": listing(item),
        "timezone": item.tz_id,
        "schedules": rows,
    }
