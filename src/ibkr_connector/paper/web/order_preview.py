"""What-if orders: the margin before and after, in texts with commas."""

from __future__ import annotations

from decimal import Decimal

from ..exchange.types import MarginPreview, OrderTicket
from .calls import Json
from .figures import money
from .hub import WebHub
from .questions import questions_about


def preview_of(hub: WebHub, ticket: OrderTicket, *, cash: bool) -> Json:
    """The answer to a what-if order. A refusal is in `error`, a question it would raise in `warn`."""
    answer = hub.exchange.preview(ticket)
    if not isinstance(answer, MarginPreview):
        return {"error": answer.text}
    item = ticket.instrument
    asked = questions_about(hub, ticket, cash=cash)
    warn = f"{asked[0].message_id.lstrip('op')}/{asked[0].text}" if asked else None
    price = ticket.limit_price
    quote = hub.exchange.quote(item)
    if price is None and quote is not None:
        price = quote.ask if ticket.action == "BUY" else quote.bid
    value = (price if price is not None else item.reference_price) * ticket.quantity * item.multiplier
    commission = answer.commission or Decimal(0)
    unit = "Shares" if item.sec_type == "STK" else "Contracts" if item.sec_type == "FUT" else item.symbol
    return {
        "amount": {
            "amount": f"{value:,.2f} {item.currency} ({ticket.quantity.normalize():f} {unit})",
            "commission": f"{commission:.2f} {answer.commission_currency}",
            "total": f"{value + commission:,.2f} {item.currency}",
        },
        "equity": _change(answer.equity_before, answer.equity_change, answer.equity_after),
        "initial": _change(answer.init_before, answer.init_change, answer.init_after),
        "maintenance": _change(answer.maint_before, answer.maint_change, answer.maint_after),
        "position": _position(hub, ticket),
        "warn": warn,
        "error": answer.refusal_text or None,
    }


def _change(before: Decimal, change: Decimal, after: Decimal) -> Json:
    return {"current": money(before), "change": money(change), "after": money(after)}


def _position(hub: WebHub, ticket: OrderTicket) -> Json:
    view = hub.exchange.pnl_single(ticket.account, ticket.instrument.con_id)
    held = Decimal(0) if view is None else view.quantity
    change = ticket.quantity if ticket.action == "BUY" else -ticket.quantity
    return _change(held, change, held + change)
