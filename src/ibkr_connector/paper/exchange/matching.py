"""Matching against the market's quotes and prints, without flattering.

* A market order takes the far side of the quote in force when it arrives or of a later one, as much as is displayed;
  beyond that it walks: each further tick is assumed to show the same size again, ten levels deep, then it waits for
  the next quote. What we took of a quote is gone for our other orders.
* A limit order takes the far side up to its limit and then rests. It fills, at its limit, when a trade prints through
  it, when prints at its price have consumed the size that was displayed before it, or when the far side itself comes
  to it: never more than was printed or displayed.
* Nothing matches in a halt, outside the order's hours, or against a quote left over from an earlier session.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from ..market.base import Quote, Trade
from . import stops
from .orders import Order, Stage
from .tape import Tape
from .types import ZERO

DEPTH_LEVELS = 10
"""How many price levels an order may walk through in one quote."""
ADDED, REMOVED = 1, 2
"""Execution.liquidity."""

FillCall = Callable[[Order, Decimal, Decimal, int], None]
"""(order, quantity, price, liquidity): book the fill; it may finish this order and others."""
OrderCall = Callable[[Order], None]
_Resting = list[tuple[Decimal, int, Order]]


class Book:
    """The working orders of one instrument."""

    __slots__ = ("_asks", "_bids", "_fill", "_phase", "_stops", "_trigger", "_waiting", "tape")

    def __init__(self, tape: Tape, fill: FillCall, trigger: OrderCall) -> None:
        self.tape = tape
        self._fill = fill
        self._trigger = trigger
        self._stops: dict[int, Order] = {}
        self._waiting: dict[int, Order] = {}
        """Orders that still want the far side: market orders, and limit orders that found no market yet."""
        self._bids: _Resting = []
        """Resting buys, best (highest) first: keys are negated prices."""
        self._asks: _Resting = []
        self._phase: tuple[datetime, bool] | None = None

    # --- coming and going ---

    def add_stop(self, order: Order, at: datetime) -> None:
        """A stop starts to wait for its trigger; a market that is already through triggers it at once."""
        price = stops.reference(order, self.tape, at)
        stops.arm(order, self.tape, price)
        self._stops[order.sequence] = order
        if price is not None and not self.tape.halted and stops.is_triggered(order, price):
            self._pull_trigger(order)

    def arrive(self, order: Order, at: datetime) -> None:
        """An order meets the market: it takes what it may of the far side, then waits or rests."""
        tape = self.tape
        self._enter_phase(at)
        quote = tape.usable_quote(at) if tape.is_open(at, order.extended) else None
        if quote is None:
            self._waiting[order.sequence] = order
            return
        self._take(order, quote)
        if order.stage is not Stage.WORKING:
            return
        limit = order.limit
        far = self._far_side(order, quote)[0]
        # What remains of an order that could still trade against the far side goes on taking; it does not rest.
        if limit is None or (far is not None and (limit >= far if order.is_buy else limit <= far)):
            self._waiting[order.sequence] = order
        else:
            self._rest(order, limit, quote)

    def available(self, order: Order, at: datetime) -> Decimal:
        """How much of the order the quote in force could fill at once."""
        tape = self.tape
        quote = tape.usable_quote(at) if tape.is_open(at, order.extended) else None
        if quote is None:
            return ZERO
        far, size, taken = self._far_side(order, quote)
        if far is None or size <= 0:
            return ZERO
        levels, limit = DEPTH_LEVELS, order.limit
        if limit is not None:
            room = int((limit - far if order.is_buy else far - limit) // tape.tick(far))
            levels = min(max(room + 1, 0), DEPTH_LEVELS)
        return max(ZERO, size * levels - taken)

    def remove(self, order: Order) -> None:
        """Take an order out, wherever it is."""
        self._stops.pop(order.sequence, None)
        self._waiting.pop(order.sequence, None)
        if order.rest_key is not None:
            side = self._bids if order.is_buy else self._asks
            del side[bisect_left(side, order.rest_key)]
            order.rest_key = None

    # --- the market moves ---

    def on_quote(self, quote: Quote, at: datetime) -> None:
        """A new quote is in force (the tape knows it already)."""
        regular = self._enter_phase(at)
        if regular is None:
            return
        if self._stops and stops.uses_quotes(self.tape):
            for order in tuple(self._stops.values()):
                price = stops.quoted_reference(order, quote)
                if price is not None:
                    self._look_at_stop(order, price, regular)
        for order in tuple(self._waiting.values()):
            if order.sequence in self._waiting and (regular or order.extended):
                del self._waiting[order.sequence]
                self.arrive(order, at)
        self._cross(quote, regular)
        self._note_queues(quote)

    def on_trade(self, trade: Trade, at: datetime) -> None:
        """A trade was printed (the tape knows it already)."""
        regular = self._enter_phase(at)
        if regular is None:
            return
        left = trade.size
        if left > 0:
            left = self._print_side(self._bids, trade.price, left, regular, buys=True)
            self._print_side(self._asks, trade.price, left, regular, buys=False)
        if self._stops and not stops.uses_quotes(self.tape):
            for order in tuple(self._stops.values()):
                self._look_at_stop(order, trade.price, regular)

    # --- inside ---

    def _enter_phase(self, at: datetime) -> bool | None:
        """Whether these are regular hours; None when nothing may match.

        When hours begin, the orders that rested through the break meet the market anew: an overnight gap fills them
        at the market, not at their limit.
        """
        tape = self.tape
        session = tape.session_at(at)
        if session is None or tape.halted:
            return None
        regular = session.rth_start <= at < session.rth_end
        phase = (session.start, regular)
        if phase != self._phase:
            before, self._phase = self._phase, phase
            if before is not None:
                new_session = before[0] != session.start
                for side in (self._bids, self._asks):
                    for _, _, order in tuple(side):
                        if new_session if order.extended else regular:
                            self.remove(order)
                            self._waiting[order.sequence] = order
        return regular

    def _far_side(self, order: Order, quote: Quote) -> tuple[Decimal | None, Decimal, Decimal]:
        if order.is_buy:
            return quote.ask, quote.ask_size, self.tape.ask_taken
        return quote.bid, quote.bid_size, self.tape.bid_taken

    def _note_taken(self, order: Order, quantity: Decimal) -> None:
        if order.is_buy:
            self.tape.ask_taken += quantity
        else:
            self.tape.bid_taken += quantity

    def _take(self, order: Order, quote: Quote) -> None:
        tape, buying, limit = self.tape, order.is_buy, order.limit
        far, size, _ = self._far_side(order, quote)
        if far is None or size <= 0:
            return
        want = order.workable
        if order.ticket.all_or_none and self.available(order, quote.at) < want:
            return
        tick = tape.tick(far)
        while want > 0:
            # Read again each time: a fill can wake an order that takes from the same quote.
            taken = self._far_side(order, quote)[2]
            level = int(taken // size)
            if level >= DEPTH_LEVELS:
                return
            price = far + tick * level if buying else far - tick * level
            if price <= 0:
                return
            if limit is not None and (price > limit if buying else price < limit):
                return
            quantity = min(size * (level + 1) - taken, want)
            self._note_taken(order, quantity)
            self._fill(order, quantity, price, REMOVED)
            if order.stage is not Stage.WORKING:
                return
            want = min(want - quantity, order.workable)

    def _rest(self, order: Order, limit: Decimal, quote: Quote) -> None:
        key = (-limit, order.sequence) if order.is_buy else (limit, order.sequence)
        order.rest_key = key
        insort(self._bids if order.is_buy else self._asks, (*key, order))
        order.ahead = None
        self._note_queue(order, limit, quote)

    @staticmethod
    def _note_queue(order: Order, limit: Decimal, quote: Quote) -> None:
        """What stands before the order: nothing inside the spread, the displayed size when it joins the best price."""
        best, size = (quote.bid, quote.bid_size) if order.is_buy else (quote.ask, quote.ask_size)
        if best is None or (limit > best if order.is_buy else limit < best):
            order.ahead = ZERO
        elif limit == best and order.ahead is None:
            order.ahead = size

    def _note_queues(self, quote: Quote) -> None:
        for negated, _, order in self._bids:
            if quote.bid is not None and -negated < quote.bid:
                break
            self._note_queue(order, -negated, quote)
        for limit, _, order in self._asks:
            if quote.ask is not None and limit > quote.ask:
                break
            self._note_queue(order, limit, quote)

    def _cross(self, quote: Quote, regular: bool) -> None:
        """The far side has come to resting orders: they trade at their own limits, for no more than is displayed."""
        if quote.ask is not None:
            for order in self._reached(self._bids, -quote.ask):
                self._cross_one(order, quote, regular)
        if quote.bid is not None:
            for order in self._reached(self._asks, quote.bid):
                self._cross_one(order, quote, regular)

    def _cross_one(self, order: Order, quote: Quote, regular: bool) -> None:
        _, size, taken = self._far_side(order, quote)
        quantity = min(order.workable, size - taken)
        limit = order.limit
        if limit is None or not self._may_fill(order, quantity, regular):
            return
        self._note_taken(order, quantity)
        self._fill(order, quantity, limit, ADDED)

    @staticmethod
    def _reached(side: _Resting, bound: Decimal) -> list[Order]:
        """The resting orders with a key up to `bound`, best first."""
        reached = []
        for key, _, order in side:
            if key > bound:
                break
            reached.append(order)
        return reached

    @staticmethod
    def _may_fill(order: Order, quantity: Decimal, regular: bool) -> bool:
        if quantity <= 0 or order.stage is not Stage.WORKING or order.rest_key is None:
            return False
        if not (regular or order.extended):
            return False
        return not (order.ticket.all_or_none and quantity < order.workable)

    def _print_side(self, side: _Resting, price: Decimal, left: Decimal, regular: bool, *, buys: bool) -> Decimal:
        """Fill resting orders from one print; returns what is left of it for others."""
        at_price: list[Order] = []
        for order in self._reached(side, -price if buys else price):
            limit = order.limit
            if limit is None:
                continue
            if limit == price:
                at_price.append(order)
                continue
            quantity = min(order.workable, left)
            if self._may_fill(order, quantity, regular):
                left -= quantity
                self._fill(order, quantity, limit, ADDED)
        volume, used = left, ZERO
        for order in at_price:
            ahead = order.ahead
            if ahead is None or not (regular or order.extended):
                continue
            quantity = min(max(volume - ahead - used, ZERO), order.workable)
            order.ahead = max(ahead - volume, ZERO)
            if self._may_fill(order, quantity, regular):
                used += quantity
                self._fill(order, quantity, price, ADDED)
        return left - used

    def _look_at_stop(self, order: Order, price: Decimal, regular: bool) -> None:
        if order.sequence not in self._stops or not (regular or order.extended):
            return
        stops.trail(order, price, self.tape)
        if stops.is_triggered(order, price):
            self._pull_trigger(order)

    def _pull_trigger(self, order: Order) -> None:
        del self._stops[order.sequence]
        self._trigger(order)
