"""What the broker asks back before it takes an order: which questions, the ones nobody wants to hear, the one open.

Only one question is open at a time: another order makes the answer to it impossible, as in real life.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from ..exchange.types import OrderTicket
from .calls import Json
from .hub import WebHub

_ASK = "\nAre you sure you want to submit this order?"
MISSING_DATA = (
    "You are submitting an order without market data. We strongly recommend against this as it may result in "
    f"erroneous and unexpected trades.{_ASK}"
)
STOP_RISKS = (
    "You are about to submit a stop order. Please be aware of the various stop order types available and the risks "
    f"associated with each one.{_ASK}"
)
STOP_CONFIRMATION = (
    "<h4>Confirm Stop Order</h4>A Stop Order - i.e. a Stop (Market) Order - is an instruction to buy or sell at the "
    'market price once your trigger ("stop") price is reached. Please note that a Stop Order is not guaranteed a '
    "specific execution price."
)
MARKET_CONFIRMATION = (
    "<h4>Confirm Market Order</h4>A Market Order is an instruction to trade your order at any available price. It is "
    "not guaranteed a specific execution price."
)
CASH_QUANTITY = (
    "Traders are responsible for understanding cash quantity details, which are provided on a best efforts basis only."
)
CASH_ORDER = (
    "<h4>Cash Quantity Order Confirmation</h4>Orders that express size using a monetary value (cash quantity) are "
    "provided on a non-guaranteed basis."
)
PRICE_MANAGEMENT = (
    "If your order is not immediately executable, our systems may, depending on market conditions, reject your order "
    "if its limit price is more than the allowed amount away from the reference price at that time."
    "\nUse the Price Management Algo?"
)


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to confirm."""

    message_id: str
    text: str


@dataclass(slots=True)
class Pending:
    """An order, or several that belong together, with what is still to be asked."""

    questions: list[Question]
    submit: Callable[[], Awaitable[Json]]
    refs: list[str]
    """The cOIDs, for the truth log."""
    asked: list[str] = field(default_factory=list)


class QuestionBook:
    """The suppressed questions, and the open one."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._suppressed: set[str] = set()
        self._open: tuple[str, Pending] | None = None

    @property
    def suppressed(self) -> frozenset[str]:
        """Message ids that are not asked."""
        return frozenset(self._suppressed)

    def suppress(self, message_ids: Iterable[str]) -> None:
        """Do not ask these any more in this session."""
        self._suppressed |= set(message_ids)

    def reset(self) -> None:
        """Ask everything again."""
        self._suppressed.clear()
        self._open = None

    def forget(self) -> None:
        """Another order came: what was asked before cannot be answered any more."""
        if self._open is not None:
            reply_id, pending = self._open
            self._hub.truth.record("question_lost", reply_id=reply_id, order_refs=pending.refs)
            self._open = None

    def refs(self, reply_id: str) -> list[str]:
        """The cOIDs an answer would be about; none unless the question is open."""
        return list(self._open[1].refs) if self._open is not None and self._open[0] == reply_id else []

    def take(self, reply_id: str) -> Pending | None:
        """The open question of this id; it is not open any more."""
        if self._open is None or self._open[0] != reply_id:
            return None
        pending, self._open = self._open[1], None
        return pending

    async def go_on(self, pending: Pending) -> Json:
        """Ask the next question, or submit."""
        while pending.questions and pending.questions[0].message_id in self._suppressed:
            pending.questions.pop(0)
        if not pending.questions:
            return await pending.submit()
        question = pending.questions.pop(0)
        pending.asked.append(question.message_id)
        reply_id = self._hub.new_id()
        self._open = (reply_id, pending)
        self._hub.truth.record(
            "question", reply_id=reply_id, message_id=question.message_id, order_refs=list(pending.refs)
        )
        return [
            {
                "id": reply_id,
                "message": [question.text],
                "isSuppressed": False,
                "messageIds": [question.message_id],
                "messageOptions": ["Yes", "No"],
            }
        ]


def questions_about(hub: WebHub, ticket: OrderTicket, *, cash: bool) -> list[Question]:
    """What the account's precautions ask about an order, in a fixed order."""
    rules, item = hub.options.precautions, ticket.instrument
    kind, always = ticket.order_type, rules.always
    name = _name(ticket)
    found: list[Question] = []
    if "o354" in always or hub.options.entitlement == "none":
        found.append(Question("o354", MISSING_DATA))
    limit, quote = ticket.limit_price, hub.exchange.quote(item)
    if rules.price_percent is not None and kind == "LMT" and limit is not None and quote is not None:
        is_buy = ticket.action == "BUY"
        market = quote.ask if is_buy else quote.bid
        worse = market is not None and market > 0 and (limit - market) * (1 if is_buy else -1) > 0
        if market is not None and worse and abs(limit - market) / market * 100 > rules.price_percent:
            text = f'The following order "{name} @ {limit:f}" price exceeds \nthe Percentage constraint of '
            found.append(Question("o163", f"{text}{rules.price_percent:f}%.{_ASK}"))
    if rules.size is not None and item.sec_type != "CASH" and ticket.quantity > rules.size:
        text = f'The following order "{name}" size exceeds the Size Limit of {rules.size:,f}.{_ASK}'
        found.append(Question("o383", text))
    value = _value(hub, ticket)
    if rules.value is not None and item.sec_type != "CASH" and value > rules.value:
        text = (
            f'The following order "{name}" value estimate of {value:,.2f} {item.currency} exceeds \n'
            f"the Total Value Limit of {rules.value:,f} USD.{_ASK}"
        )
        found.append(Question("o451", text))
    if kind == "MKT" and "o10151" in always:
        found.append(Question("o10151", MARKET_CONFIRMATION))
    if kind in {"STP", "TRAIL"} and "o10152" in always:
        found.append(Question("o10152", STOP_CONFIRMATION))
    if kind in {"STP", "STP LMT", "TRAIL", "TRAIL LIMIT"} and "o10331" in always:
        found.append(Question("o10331", STOP_RISKS))
    if cash:
        found += [Question(i, t) for i, t in (("o10164", CASH_QUANTITY), ("o10223", CASH_ORDER)) if i in always]
    if kind == "LMT" and "p12" in always:
        found.append(Question("p12", PRICE_MANAGEMENT))
    return found


def _name(ticket: OrderTicket) -> str:
    """`BUY 5 AAPL NASDAQ.NMS`."""
    item = ticket.instrument
    where = f" {item.primary_exchange}.{item.trading_class}" if item.sec_type == "STK" else ""
    return f"{ticket.action} {ticket.quantity:f} {item.local_symbol}{where}"


def _value(hub: WebHub, ticket: OrderTicket) -> Decimal:
    quote = hub.exchange.quote(ticket.instrument)
    price = ticket.limit_price
    if price is None and quote is not None:
        price = quote.ask if ticket.action == "BUY" else quote.bid
    if price is None:
        price = ticket.instrument.reference_price
    return ticket.quantity * price * ticket.instrument.multiplier
