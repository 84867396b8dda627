"""A contract's rules and hours out of the Web API's answers, in TWS's words. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ibkr_connector.backends.web import convert
from ibkr_connector.errors import ProtocolError
from ibkr_connector.models.contract import Contract, ContractDetails

ORDER_TYPES = {
    "limit": "LMT",
    "market": "MKT",
    "stop": "STP",
    "stop_limit": "STPLMT",
    "mit": "MIT",
    "lit": "LIT",
    "trailing_stop": "TRAIL",
    "trailing_stop_limit": "TRAILLMT",
    "marketonclose": "MOC",
    "limitonclose": "LOC",
    "midprice": "MIDPX",
    "relative": "REL",
}
"""Words of contract/rules, and what TWS calls the same order type."""
_WITHOUT_LISTING = frozenset({"FUT", "OPT", "FOP"})
_MOST_DAYS = 60


def contract_details(asked: Contract, info: Any, reference: convert.Row, hours: Any) -> ContractDetails | None:
    """info-and-rules, the row of trsrv/secdef and the trading schedule; None when it is not what was asked for.

    Raises: ProtocolError.
    """
    if not isinstance(info, dict):
        raise ProtocolError("the contract's information is no object.")
    rules = info.get("rules")
    rules = rules if isinstance(rules, dict) else {}
    exchanges = tuple(word for word in convert.text(info.get("valid_exchanges")).split(",") if word)
    month = convert.text(info.get("contract_month")) or convert.text(info.get("expiry_full"))
    if asked.exchange and exchanges and asked.exchange not in exchanges and not asked.con_id:
        return None
    if not asked.con_id and len(asked.expiry) == 6 and month and month != asked.expiry:
        return None
    if not asked.con_id and asked.trading_class not in {"", convert.text(info.get("trading_class"))}:
        return None
    contract = _contract(asked, info, reference)
    zone, trading, liquid = session_texts(hours)
    is_stock = contract.sec_type == "STK"
    step = _step(rules)
    return ContractDetails(
        contract=contract,
        long_name=convert.text(info.get("company_name")),
        market_name=contract.trading_class,
        min_tick=_tick(rules),
        multiplier=convert.decimal(info.get("multiplier")) or Decimal(1),
        price_magnifier=convert.integer(rules.get("priceMagnifier")) or 1,
        size_increment=step,
        min_size=step,
        order_types=tuple(ORDER_TYPES.get(word, word.upper()) for word in _words(rules.get("orderTypes"))),
        valid_exchanges=exchanges,
        time_zone_id=zone,
        trading_hours=trading,
        liquid_hours=liquid,
        contract_month=month,
        real_expiration_date=contract.expiry,
        under_con_id=convert.integer(info.get("underlying_con_id")),
        industry=convert.text(info.get("industry")),
        category=convert.text(info.get("category")),
        stock_type=convert.text(reference.get("type")) if is_stock else "",
    )


def _contract(asked: Contract, info: convert.Row, reference: convert.Row) -> Contract:
    held = convert.held_contract(reference)
    kind = convert.text(info.get("instrument_type")) or held.sec_type
    smart = info.get("smart_available") is True
    default = "SMART" if smart else convert.text(info.get("exchange")) or held.exchange
    asked_for = asked.exchange if not asked.con_id or smart or asked.exchange != "SMART" else ""
    return Contract(
        symbol=convert.text(info.get("symbol")) or held.symbol,
        sec_type=kind,
        exchange=asked_for or default,
        currency=convert.text(info.get("currency")) or held.currency,
        con_id=convert.integer(info.get("con_id")) or held.con_id,
        primary_exchange="" if kind in _WITHOUT_LISTING else convert.text(reference.get("listingExchange")),
        expiry=convert.text(info.get("maturity_date")) or held.expiry,
        strike=held.strike,
        right=held.right,
        multiplier=convert.format_number(info.get("multiplier")),
        local_symbol=convert.text(info.get("local_symbol")) or held.local_symbol,
        trading_class=convert.text(info.get("trading_class")),
    )


def _tick(rules: convert.Row) -> Decimal:
    """The tick at the present price; where that is not told, the smallest of the ladder."""
    told = convert.decimal(rules.get("increment"))
    if told is not None and told > 0:
        return told
    ladder = rules.get("incrementRules")
    steps = [convert.decimal(row.get("increment")) for row in ladder if isinstance(row, dict)] if ladder else []
    return min((step for step in steps if step is not None and step > 0), default=Decimal("0.01"))


def _step(rules: convert.Row) -> Decimal:
    """The smallest step of a quantity. `sizeIncrement` is none: it is what the buttons of a screen add."""
    digits = convert.integer(rules.get("fraqInt"))
    return Decimal(1).scaleb(-digits) if _words(rules.get("fraqTypes")) and 0 < digits <= 8 else Decimal(1)


def _words(value: Any) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


# --- hours ------------------------------------------------------------------------------------------------------------


def session_texts(body: Any) -> tuple[str, str, str]:
    """Zone, trading hours and liquid hours as TWS writes them: `20260406:0400-20260406:2000;20260405:CLOSED`.

    Empty texts where the answer tells none: then the exchange's calendar is asked.
    """
    if not isinstance(body, dict) or not isinstance(body.get("schedules"), dict):
        return "", "", ""
    name = convert.text(body.get("exchange_time_zone"))
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "", "", ""
    days = {key: day for key, day in body["schedules"].items() if isinstance(day, dict) and _day(key) is not None}
    if not days or len(days) > _MOST_DAYS:
        return name, "", ""
    whole, liquid = _spans(days, "extended_hours", zone), _spans(days, "liquid_hours", zone)
    opened = {begin.date() for spans in whole.values() for begin, _ in spans}
    return name, _hours(whole, opened), _hours(liquid, opened)


def _day(text: Any) -> date | None:
    try:
        return datetime.strptime(str(text), "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


_Spans = dict[date, list[tuple[datetime, datetime]]]


def _spans(days: dict[str, Any], kind: str, zone: ZoneInfo) -> _Spans:
    """The sessions of one kind by the day they are called by, in local time."""
    spans: _Spans = {}
    for key, day in sorted(days.items()):
        when, found = _day(key), day.get(kind)
        if when is None or not isinstance(found, list):
            continue
        for span in found:
            begin, end = _local(span, "opening", zone), _local(span, "closing", zone)
            if begin is not None and end is not None and begin < end:
                spans.setdefault(when, []).append((begin, end))
    return spans


def _hours(spans: _Spans, opened: set[date]) -> str:
    """As TWS writes them. A day on whose evening the next one's session begins has no entry of its own."""
    if not spans:
        return ""
    first, last = min(spans), max(spans)
    parts = []
    for offset in range((last - first).days + 1):
        when = first + timedelta(days=offset)
        if when in spans:
            parts.append(",".join(f"{begin:%Y%m%d:%H%M}-{end:%Y%m%d:%H%M}" for begin, end in spans[when]))
        elif when not in opened:
            parts.append(f"{when:%Y%m%d}:CLOSED")
    return ";".join(parts)


def _local(span: Any, key: str, zone: ZoneInfo) -> datetime | None:
    seconds = convert.decimal(span.get(key)) if isinstance(span, dict) else None
    if seconds is None or not 0 < seconds < 10**11:
        return None
    return datetime.fromtimestamp(float(seconds), UTC).astimezone(zone)
