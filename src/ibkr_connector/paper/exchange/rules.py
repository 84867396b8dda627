"""What a gateway refuses before an order leaves it, with IBKR's codes and words.

Everything here is a question about one ticket: no state, no time but the one passed in. Texts marked (unverified) are
ours: the code is IBKR's, but no captured wording was at hand.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..instruments import Instrument
from .orders import AT_CLOSE, IMMEDIATE, LIMITED, STOPS, TRAILING
from .tape import Tape
from .types import OrderTicket

SUPPORTED = frozenset({"MKT", "LMT"}) | STOPS | AT_CLOSE
KNOWN_TO_IBKR = frozenset(
    {
        "AUC", "BOX TOP", "LMT + MKT", "LOO", "MIDPRICE", "MKT PRT", "MOO", "MTL", "PASSV REL", "PEG BENCH", "PEG BEST",
        "PEG MID", "PEG MKT", "PEG PRIM", "PEG STK", "PEGBENCH", "QUOTE", "REL", "REL + LMT", "REL + MKT", "RPI",
        "SNAP MID", "SNAP MKT", "SNAP PRIM", "STP PRT", "TRAIL LIT", "TRAIL MIT", "VOL",
    }
)  # fmt: skip
"""Order types a real gateway takes and this one cannot match: refused with 387. Everything else is 321."""
TIFS = frozenset({"DAY", "GTC", "GTD"}) | IMMEDIATE
STOCK_TYPES_OUTSIDE_RTH = frozenset({"LMT", "STP LMT", "TRAIL LIMIT", "LIT"})
"""Order types of stocks that may work outside regular hours; for others 2109 and the flag is dropped."""

VALIDATION = "Error validating request.-'bF' : cause - "
"""The quoted word is an obfuscated class name that changes with each build of the real gateway."""
IGNORED_OUTSIDE_RTH = (
    "Order Event Warning: Attribute 'Outside Regular Trading Hours' is ignored based on the order type and "
    "destination. PlaceOrder is now being processed."
)
_DATE = re.compile(r"(\d{8})(?:(-|\s+)(\d{2}:\d{2}:\d{2})(?:\s+(\S+))?)?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: IBKR's code and text."""

    code: int
    text: str


def invalid(cause: str) -> Refusal:
    """Error 321 with its usual wrapping."""
    return Refusal(321, VALIDATION + cause)


def rejected(reason: str) -> Refusal:
    """Error 201: refused by the broker, not by the gateway."""
    return Refusal(201, f"Order rejected - reason:{reason}")


DUPLICATE_ID = Refusal(103, "Duplicate order id")
ALREADY_FILLED = Refusal(104, "Can't modify a filled order.")
NOT_THE_SAME = Refusal(105, "Order being modified does not match original order.")
OFF_TICK = Refusal(110, "The price does not conform to the minimum price variation for this contract.")
STILL_PROCESSING = Refusal(2102, "Unable to modify this order as it is still being processed.")


def check(ticket: OrderTicket, tape: Tape, accounts: Collection[str], now: datetime) -> Refusal | None:
    """The first reason to refuse this ticket, new or changed; None when the gateway would pass it on."""
    instrument = ticket.instrument
    if ticket.account not in accounts:
        if not ticket.account:
            return Refusal(435, "You must specify an account.")
        return invalid(f"Invalid account code '{ticket.account}'.")
    if ticket.action not in {"BUY", "SELL"}:
        return invalid("Invalid side field was entered")
    if ticket.order_type not in SUPPORTED:
        if ticket.order_type in KNOWN_TO_IBKR:
            return Refusal(387, "Unsupported order type for this exchange and security type.")
        return invalid("Invalid order type was entered")
    if instrument.sec_type == "IND":
        return rejected("No Trading Permission")
    return (
        _check_quantity(ticket.quantity, instrument)
        or _check_tif(ticket, now)
        or _check_prices(ticket)
        or _check_ticks(ticket, tape)
    )


def check_change(old: OrderTicket, new: OrderTicket) -> Refusal | None:
    """What a change may not touch: the side, the contract, the account. Prices, size, type and TIF may change.

    (A captured LMT -> MKT change of a real gateway fills: the type is not part of what must match.)
    """
    same = old.action == new.action and old.account == new.account and old.instrument == new.instrument
    return None if same else NOT_THE_SAME


def drops_outside_rth(ticket: OrderTicket) -> bool:
    """Whether the gateway ignores the order's outsideRth flag (warning 2109)."""
    if not ticket.outside_rth:
        return False
    return ticket.instrument.sec_type != "STK" or ticket.order_type not in STOCK_TYPES_OUTSIDE_RTH


def held_until(ticket: OrderTicket, opens: datetime) -> str:
    """The text of warning 399 for an order that came while its market was closed."""
    instrument = ticket.instrument
    if instrument.sec_type == "STK":
        name = f"{instrument.symbol} {instrument.primary_exchange}.{instrument.trading_class}"
    elif instrument.sec_type == "CASH":
        name = f"{instrument.symbol}.{instrument.currency}"
    else:
        name = instrument.local_symbol
    local = opens.astimezone(ZoneInfo(instrument.tz_id))
    return (
        f"Order Message:\n{ticket.action} {ticket.quantity:f} {name}\nWarning: Your order will not be placed at the "
        f"exchange until {local:%Y-%m-%d %H:%M:%S} {instrument.tz_id}."
    )


def limit_offset(ticket: OrderTicket) -> Decimal | None:
    """TRAIL LIMIT's limit price offset: the wire's `lmtPriceOffset`, kept among the ticket's extras."""
    text = ticket.extras.get("limit_price_offset", "")
    try:
        value = Decimal(text) if text else None
    except InvalidOperation:
        return None
    return value if value is None or value.is_finite() else None


def good_till(ticket: OrderTicket) -> datetime | None:
    """The end of a GTD order, UTC; None when the text is none of IBKR's formats.

    `yyyymmdd`, `yyyymmdd hh:mm:ss [zone]` (the instrument's own zone by default) or `yyyymmdd-hh:mm:ss` (UTC).
    """
    match = _DATE.fullmatch(ticket.good_till.strip())
    if match is None:
        return None
    day, separator, clock, zone = match.groups()
    try:
        date = datetime.strptime(day, "%Y%m%d").date()  # noqa: DTZ007 - a date; the zone is added below
        at = time.fromisoformat(clock) if clock else time(23, 59, 59)
        where = UTC if separator == "-" else ZoneInfo(zone or ticket.instrument.tz_id)
    except (ValueError, ZoneInfoNotFoundError):
        return None
    return datetime.combine(date, at, where).astimezone(UTC)


def _check_quantity(quantity: Decimal, instrument: Instrument) -> Refusal | None:
    if not quantity.is_finite():
        return invalid("Invalid quantity was entered")
    if quantity <= 0:
        return Refusal(434, "The order size cannot be zero.")
    if quantity % instrument.size_increment:
        return Refusal(10318, "This order doesn't support fractional quantity trading")
    if quantity < instrument.min_size:
        return Refusal(
            388, f"Order size {quantity} is smaller than the minimum required size of {instrument.min_size}."
        )
    return None


def _check_tif(ticket: OrderTicket, now: datetime) -> Refusal | None:
    if ticket.tif not in TIFS:
        return invalid("Invalid time in force was entered")
    if ticket.order_type in AT_CLOSE and ticket.tif != "DAY":
        return Refusal(113, "The Tif option should be set to DAY for MOC and LOC orders.")
    if ticket.tif in IMMEDIATE and ticket.order_type not in {"MKT", "LMT"}:
        return Refusal(111, "The TIF (Tif type) and the order type are incompatible.")
    if ticket.tif == "GTD":
        if not ticket.good_till:
            return Refusal(334, "Invalid Good Till Date order")
        until = good_till(ticket)
        if until is None:
            return Refusal(
                343,
                "The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx "
                "where yyyymmdd and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern",
            )
        if until <= now:
            return rejected("The good till date of the order has passed.")  # (unverified)
    return None


def _positive(price: Decimal | None) -> bool:
    return price is not None and price.is_finite() and price > 0


def _check_prices(ticket: OrderTicket) -> Refusal | None:
    kind = ticket.order_type
    if kind in TRAILING:
        if _positive(ticket.aux_price) == _positive(ticket.trailing_percent):
            return invalid("Either a trailing amount or a trailing percentage is needed")  # (unverified)
        if ticket.trailing_percent is not None and ticket.trailing_percent >= 100:
            return invalid("Invalid trailing percentage was entered")  # (unverified)
        if ticket.trail_stop_price is not None and not _positive(ticket.trail_stop_price):
            return invalid("Invalid trailing stop price was entered")  # (unverified)
    elif kind in STOPS and not _positive(ticket.aux_price):
        return invalid("Invalid stop price was entered")  # (unverified)
    if kind == "TRAIL LIMIT":
        offset = limit_offset(ticket)
        by_limit = _positive(ticket.limit_price) and _positive(ticket.trail_stop_price)
        if offset is None and not by_limit:
            return invalid("Either a limit price offset or a limit price and a trailing stop price is needed")
    elif kind in LIMITED and not _positive(ticket.limit_price):
        return invalid("Invalid limit price was entered")  # (unverified)
    return None


def _check_ticks(ticket: OrderTicket, tape: Tape) -> Refusal | None:
    prices: list[Decimal | None] = []
    if ticket.order_type in LIMITED:
        prices.append(ticket.limit_price)
    if ticket.order_type in STOPS:
        prices.append(ticket.trail_stop_price if ticket.order_type in TRAILING else ticket.aux_price)
    for price in prices:
        if price is not None and price % tape.tick(price):
            return OFF_TICK
    return None
