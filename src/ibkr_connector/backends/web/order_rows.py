"""Rows of orders and trades in the Web API's three layouts, as facts.

What a layout does not tell (a trailing amount, the parent of a bracket's exits, an OCA group under the name we gave
it) is taken from the version of the order that the broker accepted last; of a stranger's order it stays untold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.facts import OrderCompleted, OrderEchoed, OrderStatusSeen
from ibkr_connector.backends.web.convert import decimal, integer, moment, text
from ibkr_connector.backends.web.order_book import NOBODY, Known, Version
from ibkr_connector.models.account import Execution
from ibkr_connector.models.contract import Contract

Row = Mapping[str, Any]
_ZERO = Decimal(0)
_KINDS = {
    "market": "MKT", "limit": "LMT", "stop": "STP", "stop limit": "STP LMT", "stop_limit": "STP LMT",
    "trailing stop": "TRAIL", "trailing_stop": "TRAIL", "mkt": "MKT", "lmt": "LMT", "stp": "STP", "trail": "TRAIL",
    "stop_loss": "STP",
}  # fmt: skip
"""Words for order types, live orders' and order status'."""
_TIFS = {"CLOSE": "DAY"}
"""`CLOSE` is what live orders call an order of the day (recorded)."""
_STATUSES = {"PreCancelled": "PendingCancel", "Canceled": "Cancelled", "WarnState": "PendingSubmit"}
FINAL = frozenset({"Filled", "Cancelled"})
"""Statuses of orders that are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An order as a row tells it; None = not told."""

    perm_id: int
    ref: str
    account: str
    con_id: int
    symbol: str
    sec_type: str
    currency: str
    side: str
    status: str
    quantity: Decimal
    filled: Decimal
    remaining: Decimal
    avg_price: Decimal
    kind: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    tif: str
    outside_rth: bool
    grouped: bool
    reason: str
    at: str

    @property
    def version(self) -> Version:
        """What a change may change of it."""
        return (self.quantity, self.limit_price, self.stop_price)


def live_row(row: Row) -> Told | None:
    """A row of iserver/account/orders, or of a whole `sor` frame; None for what is no order."""
    perm_id, status = integer(row.get("orderId")), _status(row.get("status"))
    quantity = decimal(row.get("totalSize"))
    if not perm_id or not status or quantity is None:
        return None
    filled = decimal(row.get("filledQuantity")) or _ZERO
    remaining = decimal(row.get("remainingQuantity"))
    stop = decimal(row.get("stop_price")) or decimal(row.get("auxPrice"))
    return Told(
        perm_id=perm_id,
        ref=text(row.get("order_ref")),
        account=text(row.get("acct")) or text(row.get("account")),
        con_id=integer(row.get("conid")),
        symbol=text(row.get("ticker")),
        sec_type=text(row.get("secType")),
        currency=text(row.get("cashCcy")),
        side=_side(row.get("side")),
        status=status,
        quantity=quantity,
        filled=filled,
        remaining=max(quantity - filled, _ZERO) if remaining is None else remaining,
        avg_price=decimal(row.get("avgPrice")) or _ZERO,
        kind=_kind(row.get("origOrderType")) or _kind(row.get("orderType")),
        limit_price=decimal(row.get("price")) or None,
        stop_price=stop or None,
        tif=_tif(row.get("timeInForce")),
        outside_rth=row.get("outsideRTH") is True or row.get("outsideRTH") in ("true", "1", 1),
        grouped=bool(text(row.get("ocaGroupId"))),
        reason=text(row.get("order_cancellation_by_system_reason")),
        at=text(row.get("lastExecutionTime")),
    )


def status_row(row: Row, known: Known) -> Told | None:
    """The answer to iserver/account/order/status about an order of ours: it tells neither ref nor account surely."""
    perm_id, status = integer(row.get("order_id")), _status(row.get("order_status"))
    quantity = decimal(row.get("total_size"))
    if not perm_id or not status or quantity is None:
        return None
    filled = decimal(row.get("cum_fill"))
    filled = decimal(row.get("filled_quantity")) if filled is None else filled
    kind = _kind(row.get("order_type"))
    price = decimal(row.get("price")) or None
    return Told(
        perm_id=perm_id,
        ref=text(row.get("order_ref")) or known.order.order_ref,
        account=text(row.get("account")) or known.order.account,
        con_id=integer(row.get("conid")),
        symbol=text(row.get("symbol")),
        sec_type=text(row.get("sec_type")),
        currency=text(row.get("currency")),
        side=_side(row.get("side")),
        status=status,
        quantity=quantity,
        filled=filled or _ZERO,
        remaining=decimal(row.get("remaining_quantity")) or _ZERO,
        avg_price=decimal(row.get("avg_fill_price")) or _ZERO,
        kind=kind,
        limit_price=price if kind in {"LMT", "STP LMT"} else None,
        stop_price=decimal(row.get("stop_price")) or decimal(row.get("aux_price")) or None,
        tif=_tif(row.get("tif")),
        outside_rth=row.get("outside_rth") is True,
        grouped=False,
        reason="",
        at=text(row.get("order_time")),
    )


def _side(value: Any) -> str:
    return "BUY" if text(value).upper().startswith("B") else "SELL"


def _status(value: Any) -> str:
    word = text(value)
    return _STATUSES.get(word, word)


def _kind(value: Any) -> str:
    word = text(value)
    return _KINDS.get(word.lower(), word)


def _tif(value: Any) -> str:
    word = text(value).upper()
    return _TIFS.get(word, word)


# --- facts ------------------------------------------------------------------------------------------------------------


def _contract(told: Told, known: Known | None, contracts: Mapping[int, Contract]) -> Contract:
    if known is not None and known.order.contract.con_id == told.con_id:
        return known.order.contract
    found = contracts.get(told.con_id)
    if found is not None:
        return found
    return Contract(symbol=told.symbol, sec_type=told.sec_type, exchange="", currency=told.currency, con_id=told.con_id)


def echoed(told: Told, known: Known | None, *, client_id: int, contracts: Mapping[int, Contract]) -> OrderEchoed:
    """The order as the broker holds it."""
    sent = None if known is None else known.order
    kind = told.kind or (sent.order_type if sent is not None else "")
    return OrderEchoed(
        order_id=0 if sent is None else sent.order_id,
        client_id=NOBODY if sent is None else client_id,
        perm_id=told.perm_id,
        order_ref=told.ref,
        account=told.account,
        contract=_contract(told, known, contracts),
        action=told.side,
        quantity=told.quantity,
        order_type=kind,
        limit_price=told.limit_price if kind in {"LMT", "STP LMT"} else None,
        stop_price=_stop(told, known, kind),
        trail_amount=sent.trail_amount if sent is not None and kind == "TRAIL" else None,
        trail_percent=sent.trail_percent if sent is not None and kind == "TRAIL" else None,
        tif=told.tif or (sent.tif if sent is not None else "DAY"),
        outside_rth=told.outside_rth,
        parent_id=0 if sent is None else sent.parent_id,
        oca_group=sent.oca_group if sent is not None else "",
        status=told.status,
        reject_reason=told.reason if told.status == "Inactive" else "",
    )


def _stop(told: Told, known: Known | None, kind: str) -> Decimal | None:
    if kind not in {"STP", "STP LMT"}:
        return None
    if told.stop_price is not None or known is None:
        return told.stop_price
    return known.order.stop_price


def status_seen(told: Told, known: Known | None, *, client_id: int) -> OrderStatusSeen:
    """Its status and counts."""
    return OrderStatusSeen(
        order_id=0 if known is None else known.order.order_id,
        client_id=NOBODY if known is None else client_id,
        perm_id=told.perm_id,
        status=told.status,
        filled=told.filled,
        remaining=told.remaining,
        avg_fill_price=told.avg_price,
        parent_id=0 if known is None else known.order.parent_id,
    )


def completed(told: Told, known: Known | None, contracts: Mapping[int, Contract]) -> OrderCompleted:
    """An order that is over."""
    sent = None if known is None else known.order
    return OrderCompleted(
        perm_id=told.perm_id,
        order_ref=told.ref,
        account=told.account,
        contract=_contract(told, known, contracts),
        action=told.side,
        quantity=told.quantity,
        filled=told.filled,
        order_type=told.kind,
        status=told.status,
        limit_price=told.limit_price,
        stop_price=_stop(told, known, told.kind),
        trail_amount=None if sent is None else sent.trail_amount,
        trail_percent=None if sent is None else sent.trail_percent,
        tif=told.tif or "DAY",
        outside_rth=told.outside_rth,
        oca_group=sent.oca_group if sent is not None else "",
        completed_status=told.reason,
        completed_time=told.at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """An execution as a row tells it."""

    exec_id: str
    at: datetime
    account: str
    con_id: int
    symbol: str
    sec_type: str
    side: str
    quantity: Decimal
    price: Decimal
    perm_id: int
    ref: str
    venue: str
    commission: Decimal | None


def trade_row(row: Row, account: str) -> Trade | None:
    """A row of iserver/account/trades, or of an `str` frame; None for what cannot be one."""
    quantity, price = decimal(row.get("size")), decimal(row.get("price"))
    at = moment(row.get("trade_time_r")) or _trade_time(row.get("trade_time"))
    exec_id = text(row.get("execution_id"))
    if not exec_id or quantity is None or price is None or at is None:
        return None
    return Trade(
        exec_id=exec_id,
        at=at,
        account=text(row.get("accountCode")) or text(row.get("account")) or account,
        con_id=integer(row.get("conid")),
        symbol=text(row.get("symbol")),
        sec_type=text(row.get("sec_type")),
        side=_side(row.get("side")),
        quantity=abs(quantity),
        price=price,
        perm_id=integer(row.get("order_id")),
        ref=text(row.get("order_ref")),
        venue=text(row.get("exchange")),
        commission=decimal(row.get("commission")),
    )


def _trade_time(value: Any) -> datetime | None:
    try:
        return datetime.strptime(text(value), "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def execution(
    trade: Trade,
    known: Known | None,
    *,
    client_id: int,
    contracts: Mapping[int, Contract],
    before: Decimal = _ZERO,
    before_value: Decimal = _ZERO,
) -> Execution:
    """The execution; `before` and `before_value` are size and value of the earlier ones of the same order."""
    if known is not None and known.order.contract.con_id == trade.con_id:
        contract = known.order.contract
    else:
        plain = Contract(symbol=trade.symbol, sec_type=trade.sec_type, exchange="", currency="", con_id=trade.con_id)
        contract = contracts.get(trade.con_id, plain)
    total = before + trade.quantity
    value = before_value + trade.quantity * trade.price
    return Execution(
        exec_id=trade.exec_id,
        at=trade.at,
        account=trade.account,
        contract=contract,
        side=trade.side,
        quantity=trade.quantity,
        price=trade.price,
        order_id=0 if known is None else known.order.order_id,
        client_id=NOBODY if known is None else client_id,
        perm_id=trade.perm_id or (known.perm_id if known is not None else 0),
        order_ref=trade.ref,
        cum_quantity=total,
        avg_price=value / total if total else trade.price,
        venue=trade.venue,
        commission=trade.commission,
        commission_currency=contract.currency if trade.commission is not None else "",
    )
