"""The library's objects as our models. Its `Any` stops here (and, on the way out, in orders.py).

Floats become Decimals by their shortest text, which is what stood on the wire; IBKR's "not set" values become None.
What cannot be converted raises: the decoder catches it, and it is told as an unreadable message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict

from ibkr_connector.backends.base import WhatIf
from ibkr_connector.backends.facts import CommissionSeen, OrderCompleted, OrderEchoed, OrderStatusSeen
from ibkr_connector.models.account import Execution, PnL, Position
from ibkr_connector.models.contract import Contract, ContractDetails

_BIGGEST_EXACT = 2**53
_SIDES = {"BOT": "BUY", "SLD": "SELL", "BUY": "BUY", "SELL": "SELL"}
_RIGHTS = {"C": "C", "CALL": "C", "P": "P", "PUT": "P"}
_SMART_TYPES = frozenset({"STK", "OPT"})
_LIMIT_TYPES = frozenset({"LMT", "STP LMT", "TRAIL LIMIT", "LOC", "LIT", "REL", "PEG MID"})
_STOP_TYPES = frozenset({"STP", "STP LMT", "MIT", "LIT", "STP PRT"})
_TRAIL_TYPES = frozenset({"TRAIL", "TRAIL LIMIT"})


def decimal(value: Any) -> Decimal | None:
    """A number of the library (float, int, text) exactly as it stood on the wire; None when it is not set."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        number = Decimal(value)
        return number if number.is_finite() and abs(number) < Decimal("1e300") else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if value != value or abs(value) >= 1e300:  # noqa: PLR0124 - NaN
        return None
    if value == int(value) and abs(value) < _BIGGEST_EXACT:
        return Decimal(int(value))
    return Decimal(repr(value))


def decimal_or_zero(value: Any) -> Decimal:
    """The same, with 0 for what is not set."""
    return decimal(value) or Decimal(0)


def _price(value: Any) -> Decimal | None:
    """A price of an echo: 0 means not set, too."""
    return decimal(value) or None


# --- contracts --------------------------------------------------------------------------------------------------------


def contract(raw: Any) -> Contract:
    """A contract as told."""
    return Contract(
        symbol=raw.symbol,
        sec_type=raw.secType,
        exchange=raw.exchange,
        currency=raw.currency,
        con_id=int(raw.conId or 0),
        primary_exchange=raw.primaryExchange,
        expiry=raw.lastTradeDateOrContractMonth,
        strike=float(raw.strike or 0.0),
        right=_RIGHTS.get(raw.right.upper(), ""),
        multiplier=raw.multiplier,
        local_symbol=raw.localSymbol,
        trading_class=raw.tradingClass,
    )


def held_contract(raw: Any, *, listed_at: str = "") -> Contract:
    """A contract of a position or an execution, in the form in which it is traded.

    Those messages put the listing exchange or the venue where the routing belongs; sending that back would route the
    order directly. Stocks and options go to SMART; others keep what is told (futures: often nothing).
    """
    told = contract(raw)
    if told.sec_type not in _SMART_TYPES:
        return told
    return replace(told, exchange="SMART", primary_exchange=told.primary_exchange or listed_at)


def contract_details(raw: Any) -> ContractDetails:
    """The rules of a contract."""
    named = contract(raw.contract)
    return ContractDetails(
        contract=named,
        long_name=raw.longName,
        market_name=raw.marketName,
        min_tick=decimal(raw.minTick) or Decimal("0.01"),
        multiplier=decimal(named.multiplier) or Decimal(1),
        price_magnifier=int(raw.priceMagnifier or 1),
        size_increment=decimal(raw.sizeIncrement) or Decimal(1),
        min_size=decimal(raw.minSize) or Decimal(1),
        order_types=_words(raw.orderTypes),
        valid_exchanges=_words(raw.validExchanges),
        market_rule_ids=tuple(int(word) for word in _words(raw.marketRuleIds)),
        time_zone_id=raw.timeZoneId,
        trading_hours=raw.tradingHours,
        liquid_hours=raw.liquidHours,
        contract_month=raw.contractMonth,
        real_expiration_date=raw.realExpirationDate,
        under_con_id=int(raw.underConId or 0),
        industry=raw.industry,
        category=raw.category,
        stock_type=raw.stockType,
        sec_ids={pair.tag: pair.value for pair in raw.secIdList or ()},
    )


def found_contracts(raw: Iterable[Any]) -> list[Contract]:
    """The answer to a symbol search. It names no exchange: stocks get SMART, others their primary one."""
    found = []
    for description in raw:
        item = description.contract
        routing = "SMART" if item.secType in _SMART_TYPES else item.primaryExchange
        found.append(
            Contract(
                symbol=item.symbol,
                sec_type=item.secType,
                exchange=routing,
                currency=item.currency,
                con_id=int(item.conId or 0),
                primary_exchange=item.primaryExchange,
            )
        )
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


# --- orders -----------------------------------------------------------------------------------------------------------


class _Prices(TypedDict):
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_amount: Decimal | None
    trail_percent: Decimal | None


def _prices(order: Any) -> _Prices:
    """Those that have a meaning for the order type; the others are None (gateways send 0 for them)."""
    kind = order.orderType
    trail_amount = trail_percent = None
    if kind in _TRAIL_TYPES:
        stop_price = _price(order.trailStopPrice)
        trail_percent = _price(order.trailingPercent)
        trail_amount = None if trail_percent is not None else _price(order.auxPrice)
    else:
        stop_price = decimal(order.auxPrice) if kind in _STOP_TYPES else _price(order.auxPrice)
    if kind in ("MKT", "LMT"):
        stop_price = None
    return {
        "limit_price": decimal(order.lmtPrice) if kind in _LIMIT_TYPES else None,
        "stop_price": stop_price,
        "trail_amount": trail_amount,
        "trail_percent": trail_percent,
    }


def order_echo(order_id: int, raw_contract: Any, order: Any, state: Any) -> OrderEchoed:
    """`openOrder`."""
    return OrderEchoed(
        order_id=order_id,
        client_id=order.clientId,
        perm_id=order.permId,
        order_ref=order.orderRef,
        account=order.account,
        contract=contract(raw_contract),
        action=order.action,
        quantity=decimal_or_zero(order.totalQuantity),
        order_type=order.orderType,
        **_prices(order),
        tif=order.tif,
        outside_rth=order.outsideRth,
        parent_id=order.parentId,
        oca_group=order.ocaGroup,
        status=state.status,
        warning=state.warningText,
        what_if=order.whatIf,
    )


def order_status(  # noqa: PLR0917 - the message's own fields
    order_id: int,
    status: str,
    filled: float,
    remaining: float,
    avg_fill_price: float,
    perm_id: int,
    parent_id: int,
    client_id: int,
    why_held: str,
) -> OrderStatusSeen:
    """`orderStatus`."""
    return OrderStatusSeen(
        order_id=order_id,
        client_id=client_id,
        perm_id=perm_id,
        status=status,
        filled=decimal_or_zero(filled),
        remaining=decimal_or_zero(remaining),
        avg_fill_price=decimal_or_zero(avg_fill_price),
        parent_id=parent_id,
        why_held=why_held,
    )


def completed_order(raw_contract: Any, order: Any, state: Any) -> OrderCompleted:
    """`completedOrder`."""
    return OrderCompleted(
        perm_id=order.permId,
        order_ref=order.orderRef,
        account=order.account,
        contract=contract(raw_contract),
        action=order.action,
        quantity=decimal_or_zero(order.totalQuantity),
        filled=decimal_or_zero(order.filledQuantity),
        order_type=order.orderType,
        **_prices(order),
        tif=order.tif,
        outside_rth=order.outsideRth,
        oca_group=order.ocaGroup,
        status=state.status,
        completed_status=state.completedStatus,
        completed_time=state.completedTime,
    )


def execution(raw_contract: Any, raw: Any) -> Execution:
    """`execDetails`. The library has made the time aware; it is told in UTC here."""
    return Execution(
        exec_id=raw.execId,
        at=raw.time.astimezone(UTC),
        account=raw.acctNumber,
        contract=held_contract(raw_contract),
        side=_SIDES.get(raw.side, raw.side),
        quantity=decimal_or_zero(raw.shares),
        price=decimal_or_zero(raw.price),
        order_id=raw.orderId,
        client_id=raw.clientId,
        perm_id=raw.permId,
        order_ref=raw.orderRef,
        cum_quantity=decimal_or_zero(raw.cumQty),
        avg_price=decimal_or_zero(raw.avgPrice),
        venue=raw.exchange,
        liquidity=raw.lastLiquidity,
    )


def commission(raw: Any) -> CommissionSeen | None:
    """`commissionReport`; None when it does not tell the commission yet."""
    amount = decimal(raw.commission)
    if amount is None:
        return None
    return CommissionSeen(
        exec_id=raw.execId, commission=amount, currency=raw.currency, realized_pnl=decimal(raw.realizedPNL)
    )


def what_if(state: Any) -> WhatIf:
    """The margins of a what-if answer."""
    return WhatIf(
        init_margin_before=decimal(state.initMarginBefore),
        init_margin_after=decimal(state.initMarginAfter),
        init_margin_change=decimal(state.initMarginChange),
        maint_margin_before=decimal(state.maintMarginBefore),
        maint_margin_after=decimal(state.maintMarginAfter),
        maint_margin_change=decimal(state.maintMarginChange),
        equity_before=decimal(state.equityWithLoanBefore),
        equity_after=decimal(state.equityWithLoanAfter),
        commission=decimal(state.commission),
        min_commission=decimal(state.minCommission),
        max_commission=decimal(state.maxCommission),
        commission_currency=state.commissionCurrency,
        warning=state.warningText,
    )


# --- accounts ---------------------------------------------------------------------------------------------------------


def position(account: str, raw_contract: Any, quantity: float, avg_cost: float, at: datetime) -> Position:
    """`position`: what is held, without market values."""
    return Position(
        account=account,
        contract=held_contract(raw_contract, listed_at=raw_contract.exchange),
        quantity=decimal_or_zero(quantity),
        avg_cost=decimal_or_zero(avg_cost),
        as_of=at,
    )


def portfolio_item(  # noqa: PLR0917 - the message's own fields
    raw_contract: Any,
    quantity: float,
    price: float,
    value: float,
    avg_cost: float,
    unrealized: float,
    realized: float,
    account: str,
    at: datetime,
) -> Position:
    """`updatePortfolio`: a position with its market values."""
    return Position(
        account=account,
        contract=held_contract(raw_contract),
        quantity=decimal_or_zero(quantity),
        avg_cost=decimal_or_zero(avg_cost),
        market_price=decimal(price),
        market_value=decimal(value),
        unrealized_pnl=decimal(unrealized),
        realized_pnl=decimal(realized),
        as_of=at,
    )


def pnl(account: str, daily: float, unrealized: float, realized: float, at: datetime) -> PnL:
    """`pnl`: the account's profit and loss; what IBKR has not computed yet is None."""
    return PnL(
        account=account, daily=decimal(daily), unrealized=decimal(unrealized), realized=decimal(realized), as_of=at
    )
