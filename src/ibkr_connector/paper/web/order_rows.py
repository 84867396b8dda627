"""Orders and executions as the Web API shows them: three layouts of the same thing, each with its own types."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from ..exchange.types import Commission, Execution, OrderStatus, OrderTicket, OrderView
from ..instruments import Instrument
from .calls import Json
from .contract_rows import listing

_KIND_NAMES: Final = {
    "MKT": "Market", "LMT": "Limit", "STP": "Stop", "STP LMT": "Stop Limit", "TRAIL": "Trailing Stop",
    "TRAIL LIMIT": "Trailing Stop Limit", "MIT": "Market If Touched", "LIT": "Limit If Touched",
    "MOC": "Market on Close", "LOC": "Limit on Close",
}  # fmt: skip
_ORIGINAL: Final = {
    "MKT": "MARKET", "LMT": "LIMIT", "STP": "STOP", "STP LMT": "STOP_LIMIT", "TRAIL": "TRAILING_STOP",
    "TRAIL LIMIT": "TRAILING_STOP_LIMIT", "MIT": "MIT", "LIT": "LIT", "MOC": "MARKETONCLOSE", "LOC": "LIMITONCLOSE",
}  # fmt: skip
_TIFS: Final = {"DAY": "Day", "GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "GTD": "GTD"}
_COLORS: Final = {
    OrderStatus.FILLED: ("#FFFFFF", "#000000"),
    OrderStatus.CANCELLED: ("#FFFFFF", "#AA0000"),
    OrderStatus.INACTIVE: ("#FFFFFF", "#AA0000"),
    OrderStatus.SUBMITTED: ("#FFFFFF", "#0000CC"),
}
_DESCRIPTIONS: Final = {
    OrderStatus.SUBMITTED: "Order Submitted",
    OrderStatus.PRE_SUBMITTED: "Order Presubmitted",
    OrderStatus.FILLED: "Order Filled",
    OrderStatus.CANCELLED: "Order Cancelled",
    OrderStatus.PENDING_CANCEL: "Order Pending Cancel",
    OrderStatus.INACTIVE: "Order Inactive",
    OrderStatus.PENDING_SUBMIT: "Order Pending Submit",
}


def status_of(view: OrderView) -> str:
    """The status in the Web API's words; API statuses of the socket are unknown here."""
    words = {OrderStatus.API_PENDING: "PendingSubmit", OrderStatus.API_CANCELLED: "Cancelled"}
    return words.get(view.status, view.status.value)


def live_order(view: OrderView, at: datetime) -> dict[str, Json]:
    """A row of iserver/account/orders, and of a `sor` frame."""
    ticket, item = view.ticket, view.ticket.instrument
    background, foreground = _COLORS.get(view.status, ("#FFFFFF", "#0000CC"))
    row: dict[str, Json] = {
        "acct": ticket.account,
        "conidex": str(item.con_id),
        "conid": item.con_id,
        "account": ticket.account,
        "orderId": view.perm_id,
        "cashCcy": item.currency,
        "sizeAndFills": size_and_fills(view),
        "orderDesc": description(view),
        "description1": item.local_symbol if item.sec_type != "STK" else item.symbol,
        "ticker": item.symbol,
        "secType": item.sec_type,
        "listingExchange": listing(item),
        "remainingQuantity": float(view.remaining),
        "filledQuantity": float(view.filled),
        "totalSize": float(ticket.quantity),
        "companyName": item.long_name,
        "status": status_of(view),
        "order_ccp_status": status_of(view),
        "origOrderType": _ORIGINAL.get(ticket.order_type, ticket.order_type),
        "supportsTaxOpt": "1",
        "lastExecutionTime": f"{at.astimezone(UTC):%y%m%d%H%M%S}",
        "orderType": _KIND_NAMES.get(ticket.order_type, ticket.order_type),
        "bgColor": background,
        "fgColor": foreground,
        "isEventTrading": "0",
        "price": _text(ticket.limit_price),
        "timeInForce": "CLOSE" if ticket.tif == "DAY" else ticket.tif,
        "lastExecutionTime_r": int(at.timestamp() * 1000),
        "side": ticket.action,
    }
    if view.filled:
        row["avgPrice"] = _text(view.avg_fill_price)
    if ticket.order_ref:
        row["order_ref"] = ticket.order_ref
    if ticket.order_type in {"STP", "STP LMT", "MIT", "LIT"}:
        row["auxPrice"] = _text(ticket.aux_price)
    stop = ticket.trail_stop_price if ticket.order_type.startswith("TRAIL") else ticket.aux_price
    if ticket.order_type in {"STP", "STP LMT", "TRAIL", "TRAIL LIMIT"} and stop is not None:
        row["stop_price"] = _text(stop)
    if ticket.oca_group:
        row["ocaGroupId"] = ticket.oca_group
    if ticket.outside_rth:
        row["outsideRTH"] = True
    if view.status is OrderStatus.CANCELLED and "System" in view.completed_status:
        row["order_cancellation_by_system_reason"] = view.completed_status
    return row


def order_status(view: OrderView, at: datetime, request_id: int) -> dict[str, Json]:
    """iserver/account/order/status: snake case, numbers as texts."""
    ticket, item = view.ticket, view.ticket.instrument
    background, foreground = _COLORS.get(view.status, ("#FFFFFF", "#0000CC"))
    done = view.status.is_done
    shown = description(view)
    row: dict[str, Json] = {
        "sub_type": None,
        "request_id": str(request_id),
        "server_id": "0",
        "order_id": view.perm_id,
        "conidex": str(item.con_id),
        "conid": item.con_id,
        "symbol": item.symbol,
        "side": ticket.action,
        "contract_description_1": item.local_symbol,
        "listing_exchange": listing(item),
        "option_acct": "c",
        "company_name": item.long_name,
        "is_event_trading": "0",
        "size": _number(view.remaining),
        "total_size": _number(ticket.quantity),
        "total_cash_size": "0.0",
        "currency": item.currency,
        "account": ticket.account,
        "order_desc": shown,
        "order_type": _ORIGINAL.get(ticket.order_type, ticket.order_type),
        "cum_fill": _number(view.filled),
        "filled_quantity": _number(view.filled),
        "remaining_quantity": _number(view.remaining),
        "avg_fill_price": _text(view.avg_fill_price) or "0.0",
        "last_fill_price": _text(view.last_fill_price) or "0.0",
        "fill_price": _text(view.last_fill_price) or "0.0",
        "price": _text(ticket.limit_price) or "0.0",
        "order_status": status_of(view),
        "order_ccp_status": {"Submitted": "1", "Filled": "2", "Cancelled": "4"}.get(status_of(view), "0"),
        "order_status_description": _DESCRIPTIONS.get(view.status, status_of(view)),
        "tif": ticket.tif,
        "bg_color": background,
        "fg_color": foreground,
        "bgColor": background,
        "fgColor": foreground,
        "order_not_editable": done,
        "editable_fields": "" if done else "\x1e",
        "cannot_cancel_order": done,
        "outside_rth": ticket.outside_rth,
        "all_or_none": ticket.all_or_none,
        "deactivate_order": False,
        "use_price_mgmt_algo": False,
        "sec_type": item.sec_type,
        "available_chart_periods": "#R|1",
        "order_description": shown,
        "order_description_with_contract": f"{shown} {item.local_symbol}",
        "clearing_id": "IB",
        "clearing_name": "IB",
        "alert_active": 0,
        "child_order_type": "0",
        "order_clearing_account": ticket.account,
        "size_and_fills": f"{_plain(view.filled)}/{_plain(ticket.quantity)}",
        "exit_strategy_display_price": _text(ticket.limit_price) or "0.0",
        "exit_strategy_chart_description": "" if done else shown,
        "exit_strategy_tool_availability": "0" if done else "1",
        "allowed_duplicate_opposite": True,
        "order_time": f"{at.astimezone(UTC):%y%m%d%H%M%S}",
    }
    if view.filled:
        row["average_price"] = _text(view.avg_fill_price)
    if ticket.order_ref:
        row["order_ref"] = ticket.order_ref
    return row


def trade(execution: Execution, commission: Commission | None, submitter: str) -> dict[str, Json]:
    """A row of iserver/account/trades, and of a `str` frame."""
    item = execution.instrument
    bought = execution.side == "BOT"
    value = execution.shares * execution.price * item.multiplier
    words = "Bought" if bought else "Sold"
    row: dict[str, Json] = {
        "execution_id": execution.exec_id,
        "symbol": item.symbol,
        "supports_tax_opt": "1",
        "side": "B" if bought else "S",
        "order_description": f"{words} {_plain(execution.shares)} @ {_text(execution.price)} on {execution.venue}",
        "trade_time": f"{execution.at.astimezone(UTC):%Y%m%d-%H:%M:%S}",
        "trade_time_r": int(execution.at.timestamp() * 1000),
        "size": float(execution.shares),
        "price": _text(execution.price),
        "submitter": submitter,
        "exchange": execution.venue,
        "net_amount": round(float(value), 2),
        "account": execution.account,
        "accountCode": execution.account,
        "account_allocation_name": execution.account,
        "company_name": item.long_name,
        "contract_description_1": item.local_symbol,
        "sec_type": item.sec_type,
        "listing_exchange": listing(item),
        "conid": item.con_id,
        "conidEx": str(item.con_id),
        "clearing_id": "IB",
        "clearing_name": "IB",
        "liquidation_trade": "0",
        "is_event_trading": "0",
        "order_id": execution.perm_id,
    }
    if execution.order_ref:
        row["order_ref"] = execution.order_ref
    if commission is not None:
        row["commission"] = f"{commission.amount:.2f}"
    return row


def submitted(view: OrderView, parent_perm_id: int | None = None) -> dict[str, Json]:
    """The answer to an order that was taken: its id as a text."""
    row: dict[str, Json] = {"order_id": str(view.perm_id)}
    if view.ticket.order_ref and view.ticket.source == "web":
        row["local_order_id"] = view.ticket.order_ref
    row |= {"order_status": status_of(view), "encrypt_message": "1"}
    if parent_perm_id is not None:
        row["parent_order_id"] = str(parent_perm_id)
    if view.ticket.oca_group:
        row["oca_group_id"] = view.ticket.oca_group
    return row


def description(view: OrderView) -> str:
    """`Bought 1 SPY Market, Day`, `Buy 5 AAPL Limit 150.00, GTC`."""
    ticket = view.ticket
    verbs = {"BUY": ("Buy", "Bought"), "SELL": ("Sell", "Sold")}[ticket.action]
    done = view.status is OrderStatus.FILLED
    kind = _KIND_NAMES.get(ticket.order_type, ticket.order_type)
    price = _price_words(ticket)
    return (
        f"{verbs[done]} {_plain(ticket.quantity)} {_short(ticket.instrument)} {kind}{price}, "
        f"{_TIFS.get(ticket.tif, ticket.tif)}"
    )


def _price_words(ticket: OrderTicket) -> str:
    if ticket.limit_price is not None and ticket.order_type in {"LMT", "LOC"}:
        return f" {_text(ticket.limit_price)}"
    if ticket.order_type in {"STP", "MIT"} and ticket.aux_price is not None:
        return f" {_text(ticket.aux_price)}"
    return ""


def size_and_fills(view: OrderView) -> str:
    """`0/1` while something is missing, `1` afterwards."""
    if view.status is OrderStatus.FILLED:
        return _plain(view.ticket.quantity)
    return f"{_plain(view.filled)}/{_plain(view.ticket.quantity)}"


def _short(item: Instrument) -> str:
    return item.symbol if item.sec_type == "STK" else item.local_symbol


def _plain(value: Decimal) -> str:
    """Without superfluous zeros: 1, 0.5."""
    return f"{value.normalize():f}"


def _number(value: Decimal) -> str:
    """As a Java double: 1.0, 0.5."""
    return repr(float(value))


def _text(value: Decimal | None) -> str:
    """A price as text, at least two decimals; empty where there is none."""
    if value is None or not value:
        return ""
    plain = value.normalize()
    digits = -int(plain.as_tuple().exponent)
    return f"{value:.{min(max(digits, 2), 8)}f}"
