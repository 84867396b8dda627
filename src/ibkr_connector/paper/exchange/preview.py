"""What-if orders: the margin and commission an order would cost, without placing it."""

from __future__ import annotations

from decimal import Decimal

from . import rules
from .core import Core
from .margin import CENT
from .orders import LIMITED
from .rules import Refusal
from .types import MarginPreview, OrderMessage, OrderTicket


def preview(core: Core, ticket: OrderTicket) -> MarginPreview | OrderMessage:
    """Account totals before and after, base currency, or the gateway's refusal of the ticket.

    A margin too small is not a refusal here: a real gateway sends the numbers and error 201 beside them, and so the
    preview carries both. Margin is reckoned at the market, whatever the limit; commission at the limit if there is one.
    """
    refusal = rules.check(ticket, core.tape(ticket.instrument), core.accounts, core.now)
    if refusal is not None:
        return OrderMessage(client_id=ticket.client_id, order_id=ticket.order_id, code=refusal.code, text=refusal.text)
    account = core.accounts[ticket.account]
    instrument, is_buy = ticket.instrument, ticket.action == "BUY"
    price = core.price(instrument, ticket.limit_price)
    paid = ticket.limit_price if ticket.order_type in LIMITED and ticket.limit_price is not None else price
    commission = core.fees.order_total(
        instrument,
        action=ticket.action,
        quantity=ticket.quantity,
        value=ticket.quantity * paid * instrument.multiplier,
        at=core.now,
    )
    currency = core.fees.currency(instrument)
    before, after = core.margin.change(account, instrument, ticket.quantity if is_buy else -ticket.quantity, price)
    equity = account.net_liquidation()
    cost = _cents(commission * account.rate(currency))
    short = core.margin.shortfall(
        account, instrument, is_buy=is_buy, quantity=ticket.quantity, price=price, now=core.now
    )
    rejection = Refusal(0, "") if short is None else rules.rejected(short.reason(account.base))
    return MarginPreview(
        init_before=_cents(before.initial),
        init_change=_cents(after.initial) - _cents(before.initial),
        init_after=_cents(after.initial),
        maint_before=_cents(before.maintenance),
        maint_change=_cents(after.maintenance) - _cents(before.maintenance),
        maint_after=_cents(after.maintenance),
        equity_before=_cents(equity),
        equity_change=-cost,
        equity_after=_cents(equity) - cost,
        commission=commission,
        min_commission=None,
        max_commission=None,
        commission_currency=currency,
        refusal_code=rejection.code,
        refusal_text=rejection.text,
    )


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT)
