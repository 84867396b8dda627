"""Orders as clients write them over the Web API, and the tickets they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from ..exchange.orders import LIMITED, STOPS
from ..exchange.types import WEB_CLIENT_ID, OrderTicket, OrderView
from ..instruments import Instrument
from .calls import Call, Fields, Json, WebError, bad_request
from .hub import WebHub

MAX_ORDERS: Final = 50
"""Orders in one request."""
SPREADS: Final = frozenset(
    {28812380, 58666491, 61227069, 61227082, 61227087, 61227077, 61227072, 426116555}
)  # fmt: skip
"""The contract ids that stand for combinations, one per currency."""

_KINDS: Final = {
    "LMT": "LMT", "MKT": "MKT", "STP": "STP", "STOP": "STP", "STOP_LIMIT": "STP LMT", "STP LMT": "STP LMT",
    "STP_LIMIT": "STP LMT", "STOPLIMIT": "STP LMT", "STPLMT": "STP LMT", "TRAIL": "TRAIL", "TRAILLMT": "TRAIL LIMIT",
    "TRAIL LIMIT": "TRAIL LIMIT", "TRAIL LMT": "TRAIL LIMIT", "MIT": "MIT", "LIT": "LIT", "MOC": "MOC",
    "MARKETONCLOSE": "MOC", "LOC": "LOC", "LIMITONCLOSE": "LOC", "MIDPRICE": "MIDPRICE", "REL": "REL", "MOO": "MOO",
    "LOO": "LOO",
}  # fmt: skip
_CONIDEX: Final = re.compile(r"([0-9]{1,10})(?:@([A-Z0-9]{1,16}))?")
_COMBO: Final = re.compile(r"([0-9]{1,10})(?:@[A-Z0-9]{1,16})?;;;.+")
_STEP: Final = Decimal("0.0001")


@dataclass(slots=True)
class Form:
    """One order as it was read."""

    ticket: OrderTicket
    ref: str
    """The client's own id (cOID), empty without one."""
    parent_ref: str = ""
    grouped: bool = False
    """Whether it wants to be in a group of which one cancels the others."""
    cash: bool = False
    """Whether its size was an amount of money."""


def read_form(hub: WebHub, account: str, values: dict[str, Json], order_id: int) -> Form:
    """A new order. WebError where it makes no sense."""
    fields = Fields(values)
    item, exchange = _instrument(hub, fields)
    chosen = hub.account(fields.text("acctId", default=account) or account)
    kind = _kind(fields)
    quantity, cash = _quantity(hub, fields, item)
    tif = fields.text("tif", default="DAY").upper()
    ref = fields.text("cOID")
    ticket = OrderTicket(
        client_id=WEB_CLIENT_ID,
        order_id=order_id,
        instrument=item,
        account=chosen,
        action=_side(fields.text("side")),
        quantity=quantity,
        order_type=kind,
        tif=tif,
        outside_rth=fields.flag("outsideRTH", "outsideRth"),
        order_ref=ref,
        exchange=exchange or fields.text("listingExchange", default="SMART"),
        all_or_none=fields.flag("allOrNone"),
        source="web",
    )
    for name, price in _prices(fields, kind).items():
        setattr(ticket, name, price)
    _refuse_unsupported(fields)
    return Form(ticket, ref, fields.text("parentId"), fields.flag("isSingleGroup"), cash)


def read_change(hub: WebHub, view: OrderView, values: dict[str, Json]) -> OrderTicket:
    """The ticket of a changed order: what the body does not say stays as it was."""
    fields, old = Fields(values), view.ticket
    if fields.integer("conid") not in {None, old.instrument.con_id}:
        raise bad_request("conid does not match the order")
    if fields.text("side") and _side(fields.text("side")) != old.action:
        raise bad_request("side does not match the order")
    account = fields.text("acctId")
    if account and account != old.account:
        raise bad_request("acctId does not match the order")
    kind = _kind(fields) if fields.text("orderType") else old.order_type
    quantity = fields.decimal("quantity")
    ticket = replace(
        old,
        quantity=old.quantity if quantity is None else quantity,
        order_type=kind,
        tif=fields.text("tif", default=old.tif).upper(),
        outside_rth=fields.flag("outsideRTH", "outsideRth") if "outsideRTH" in values else old.outside_rth,
        source="web",
        transmit=True,
    )
    for name, value in _prices(fields, kind).items():
        if value is not None:
            setattr(ticket, name, value)
    if kind not in LIMITED:
        ticket.limit_price = None
    if kind not in STOPS:
        ticket.aux_price = None
    return ticket


def _instrument(hub: WebHub, fields: Fields) -> tuple[Instrument, str]:
    conidex = fields.text("conidex")
    if _COMBO.fullmatch(conidex):
        raise WebError(200, "", {"error": "Combination orders are not supported by this gateway."})
    if conidex:
        match = _CONIDEX.fullmatch(conidex)
        if match is None:
            raise bad_request("conidex is not valid")
        return hub.instrument(int(match[1])), match[2] or ""
    con_id = fields.integer("conid")
    if con_id is None:
        raise bad_request("conid is missing")
    return hub.instrument(con_id), ""


def _kind(fields: Fields) -> str:
    text = fields.text("orderType").upper()
    kind = _KINDS.get(text)
    if kind is None:
        # A real server fails on words it does not know (LIMIT instead of LMT).
        raise WebError(500, f"Invalid order type: {text}")
    return kind


def _side(text: str) -> str:
    side = text.upper()
    if side not in {"BUY", "SELL"}:
        raise bad_request("side must be BUY or SELL")
    return side


def _quantity(hub: WebHub, fields: Fields, item: Instrument) -> tuple[Decimal, bool]:
    quantity = fields.decimal("quantity")
    cash = fields.decimal("cashQty") or fields.decimal("fxQty")
    if cash is None:
        if quantity is None:
            raise bad_request("quantity is missing")
        return quantity, False
    if quantity:
        raise bad_request("quantity and cashQty exclude each other")
    quote = hub.exchange.quote(item)
    price = item.reference_price if quote is None or quote.ask is None else quote.ask
    step = max(item.size_increment, _STEP)
    size = cash / price / item.multiplier
    return size - size % step, True


def _prices(fields: Fields, kind: str) -> dict[str, Decimal | None]:
    """`price` is the limit, or the stop of orders that have no limit; `auxPrice` the stop of those that have one."""
    price, aux = fields.decimal("price"), fields.decimal("auxPrice")
    if kind in {"STP", "MIT"}:
        return {"aux_price": price if price is not None else aux}
    if kind in {"STP LMT", "LIT"}:
        return {"limit_price": price, "aux_price": aux}
    if kind in {"TRAIL", "TRAIL LIMIT"}:
        amount = fields.decimal("trailingAmt")
        by_percent = fields.text("trailingType", default="amt") == "%"
        found = {"trailing_percent" if by_percent else "aux_price": amount}
        if kind == "TRAIL LIMIT":
            return {**found, "limit_price": price, "trail_stop_price": aux}
        return {**found, "trail_stop_price": price}
    return {"limit_price": price} if kind in {"LMT", "LOC"} else {}


def _refuse_unsupported(fields: Fields) -> None:
    """What this exchange cannot hold is refused: taking the order without it would be worse."""
    strategy = fields.text("strategy")
    if strategy:
        raise WebError(200, "", {"error": f"Algo {strategy} is not supported by this gateway."})


def order_refs(call: Call) -> list[str]:
    """The cOIDs in a request for new orders, whatever shape it has."""
    orders = call.body.get("orders") if isinstance(call.body, dict) else None
    if not isinstance(orders, list):
        return []
    return [str(each.get("cOID", ""))[:512] for each in orders[:50] if isinstance(each, dict)]
