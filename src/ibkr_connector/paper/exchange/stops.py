"""When stops trigger, and where trailing stops are.

Stocks and futures trigger on the last trade; currencies have no trades and use IBKR's bid/ask method: a buy stop
triggers on the bid, a sell stop on the ask (TWS user guide, "Modify the stop trigger method").
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from ..market.base import Quote
from .orders import TOUCHED, TRAILING, Order
from .rules import limit_offset
from .tape import Tape

HUNDRED = Decimal(100)


def uses_quotes(tape: Tape) -> bool:
    """Whether stops of this instrument follow bid and ask instead of trades."""
    return tape.instrument.sec_type == "CASH"


def quoted_reference(order: Order, quote: Quote) -> Decimal | None:
    """The price a currency stop looks at."""
    return quote.bid if order.is_buy else quote.ask


def reference(order: Order, tape: Tape, at: datetime) -> Decimal | None:
    """The price a stop looks at now; None when there was none yet in the hours the order works in."""
    session = tape.session_at(at)
    if session is None:
        return None
    since = session.start if order.extended else session.rth_start
    if uses_quotes(tape):
        quote = tape.quote
        return quoted_reference(order, quote) if quote is not None and quote.at >= since else None
    trade = tape.trade
    return trade.price if trade is not None and trade.at >= since else None


def arm(order: Order, tape: Tape, price: Decimal | None) -> None:
    """Set the trigger of a stop that starts to work: its own, or the trailing distance from the price now."""
    ticket = order.ticket
    if ticket.order_type not in TRAILING:
        order.stop_price = ticket.aux_price
        return
    order.stop_price = ticket.trail_stop_price
    if ticket.order_type == "TRAIL LIMIT":
        order.limit_offset = _offset(order)
    if price is not None:
        trail(order, price, tape)


def trail(order: Order, price: Decimal, tape: Tape) -> bool:
    """Let a trailing stop follow a price that moved in the order's favour. True when the stop moved.

    The stop never moves back. It is rounded to the tick away from the market, so it never triggers early.
    """
    if order.ticket.order_type not in TRAILING:
        return False
    distance = _distance(order, price)
    if order.is_buy:
        stop = _to_tick(price + distance, tape, ROUND_CEILING)
        moved = order.stop_price is None or stop < order.stop_price
    else:
        stop = _to_tick(price - distance, tape, ROUND_FLOOR)
        moved = order.stop_price is None or stop > order.stop_price
    if moved:
        order.stop_price = stop
    return moved


def is_triggered(order: Order, price: Decimal) -> bool:
    """Whether a price triggers the order: through the stop, or (MIT, LIT) at or better than the touch price."""
    stop = order.stop_price
    if stop is None:
        return False
    rising = order.is_buy != (order.ticket.order_type in TOUCHED)
    return price >= stop if rising else price <= stop


def limit_after_trigger(order: Order) -> Decimal | None:
    """The limit a triggered TRAIL LIMIT works at: the offset from where its stop had got to."""
    if order.ticket.order_type != "TRAIL LIMIT" or order.stop_price is None:
        return order.ticket.limit_price
    offset = order.limit_offset
    return order.stop_price + offset if order.is_buy else order.stop_price - offset


def _distance(order: Order, price: Decimal) -> Decimal:
    ticket = order.ticket
    if ticket.aux_price is not None and ticket.aux_price > 0:
        return ticket.aux_price
    percent = ticket.trailing_percent
    return price * percent / HUNDRED if percent is not None else Decimal(0)


def _offset(order: Order) -> Decimal:
    given = limit_offset(order.ticket)
    if given is not None:
        return given
    stop, limit = order.ticket.trail_stop_price, order.ticket.limit_price
    if stop is None or limit is None:  # refused by the rules before it gets here
        return Decimal(0)
    return limit - stop if order.is_buy else stop - limit


def _to_tick(price: Decimal, tape: Tape, rounding: str) -> Decimal:
    tick = tape.tick(price)
    return (price / tick).to_integral_value(rounding) * tick
