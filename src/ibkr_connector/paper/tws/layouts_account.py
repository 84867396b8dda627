"""What the gateway says about accounts: values, portfolio, positions, summaries, profit and loss."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from ..exchange.types import AccountValue, PnlView, PositionView
from ..instruments import Instrument
from . import versions
from .wire import HOME_ZONE, double, money, number

Fields = list[str]

_FUTURES: Final = frozenset({"FUT", "FOP"})


def account_value(row: AccountValue, account: str) -> Fields:
    """Message 6, updateAccountValue."""
    return ["6", "2", row.key, row.value, row.currency, account]


def portfolio_value(position: PositionView) -> Fields:
    """Message 7, updatePortfolio. Strike and right are both `0` for stocks, as in real messages."""
    item = position.instrument
    return [
        "7",
        "8",
        str(item.con_id),
        item.symbol,
        item.sec_type,
        item.expiry,
        number(item.strike),
        item.right or "0",
        item.multiplier_text,
        _listing(item),
        item.currency,
        item.local_symbol,
        item.trading_class,
        number(position.quantity),
        number(position.market_price),
        money(position.market_value),
        number(position.avg_cost),
        money(position.unrealized_pnl),
        money(position.realized_pnl),
        position.account,
    ]


def account_time(at: datetime) -> Fields:
    """Message 8, updateAccountTime: the gateway's local hour and minute."""
    return ["8", "1", f"{at.astimezone(HOME_ZONE):%H:%M}"]


def account_download_end(account: str) -> Fields:
    """Message 54, accountDownloadEnd."""
    return ["54", "1", account]


def account_update_multi(request_id: int, row: AccountValue, account: str, model: str) -> Fields:
    """Message 73, accountUpdateMulti."""
    return ["73", "1", str(request_id), account, model, row.key, row.value, row.currency]


def account_update_multi_end(request_id: int) -> Fields:
    """Message 74, accountUpdateMultiEnd."""
    return ["74", "1", str(request_id)]


def position(view: PositionView) -> Fields:
    """Message 61, position: exactly sixteen fields."""
    return ["61", "3", view.account, *_position_contract(view), number(view.quantity), number(view.avg_cost)]


def position_end() -> Fields:
    """Message 62, positionEnd."""
    return ["62", "1"]


def position_multi(request_id: int, view: PositionView, model: str) -> Fields:
    """Message 71, positionMulti: exactly eighteen fields."""
    head = ["71", "1", str(request_id), view.account]
    return [*head, *_position_contract(view), number(view.quantity), number(view.avg_cost), model]


def position_multi_end(request_id: int) -> Fields:
    """Message 72, positionMultiEnd."""
    return ["72", "1", str(request_id)]


def account_summary(request_id: int, account: str, row: AccountValue) -> Fields:
    """Message 63, accountSummary."""
    return ["63", "1", str(request_id), account, row.key, row.value, row.currency]


def account_summary_end(request_id: int) -> Fields:
    """Message 64, accountSummaryEnd."""
    return ["64", "1", str(request_id)]


def pnl(request_id: int, view: PnlView) -> Fields:
    """Message 94, pnl, base currency of the account."""
    return ["94", str(request_id), number(view.daily), number(view.unrealized), number(view.realized)]


def pnl_single(version: int, request_id: int, view: PositionView) -> Fields:
    """Message 95, pnlSingle. ibapi 9.81 reads the position as int."""
    quantity = view.quantity if version >= versions.SIZE_RULES else view.quantity // Decimal(1)
    return [
        "95",
        str(request_id),
        number(quantity),
        number(view.daily_pnl),
        number(view.unrealized_pnl),
        number(view.realized_pnl),
        number(view.market_value),
    ]


def _position_contract(view: PositionView) -> Fields:
    item = view.instrument
    return [
        str(item.con_id),
        item.symbol,
        item.sec_type,
        item.expiry,
        double(item.strike),
        item.right,
        item.multiplier_text,
        _listing(item),
        item.currency,
        item.local_symbol,
        item.trading_class,
    ]


def _listing(item: Instrument) -> str:
    """The exchange field of positions: where a stock is listed; empty for futures."""
    return "" if item.sec_type in _FUTURES else item.primary_exchange or item.exchange
