"""One order before the gates: the request, what they may look at, and the figures that several of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from ibkr_connector.models.order import OrderRequest, OrderType
from ibkr_connector.risk.agents import AgentShare
from ibkr_connector.risk.daily_loss import DayFigures
from ibkr_connector.risk.decision import DataMissing
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.reservation import Exposure, OpenContract
from ibkr_connector.risk.state import TradingRecord
from ibkr_connector.risk.view import InstrumentView, PriceView, RiskView

_ONE = Decimal(1)
_BY_MARGIN = frozenset({"FUT", "FOP", "BAG", "CFD"})


class Role(StrEnum):
    """What an order is in its group."""

    SINGLE = "single"
    ENTRY = "entry"
    EXIT = "exit"


class PriceSource(StrEnum):
    """Where the price came from that an order is judged by, best first."""

    LIVE = "live quote"
    DELAYED = "delayed quote"
    ORDER = "the order's own price"
    REFERENCE = "the caller's reference price"


@dataclass(frozen=True, slots=True)
class RecentOrder:
    """An order that passed lately: for the gates on rate and repetition."""

    at: float
    """Monotonic seconds."""
    shape: tuple[object, ...]
    agent: str = ""
    """Lower case."""


def shape_of(request: OrderRequest) -> tuple[object, ...]:
    """What makes two orders the same to a human eye."""
    return (
        request.contract.con_id,
        request.action,
        request.quantity,
        request.order_type,
        request.limit_price,
        request.stop_price,
        request.trail_amount,
        request.trail_percent,
        request.agent,
    )


@dataclass(frozen=True, slots=True)
class Others:
    """What the account's other orders have under way. The last two are looked up when a gate asks."""

    in_flight_loss: Decimal
    open_orders: int
    forked: tuple[str, ...] = ()
    agent: Callable[[], AgentShare] = AgentShare
    open_contracts: Callable[[], Mapping[int, OpenContract]] = dict


class _Unread:
    """Not looked up yet (None is an answer)."""


_UNREAD = _Unread()


class OrderCheck:
    """What a gate is given. Figures are computed when first asked for; `DataMissing` says what is not known."""

    __slots__ = (
        "_agent",
        "_instrument",
        "_loss",
        "_mark",
        "_open_contracts",
        "_position",
        "_price",
        "_quote",
        "_unit",
        "day",
        "exposure",
        "filled",
        "forked",
        "in_flight_loss",
        "limits",
        "open_orders",
        "recent",
        "request",
        "role",
        "stop_price",
        "trading",
        "view",
    )

    def __init__(
        self,
        request: OrderRequest,
        view: RiskView,
        limits: RiskLimits,
        *,
        trading: TradingRecord,
        day: DayFigures,
        exposure: Exposure,
        others: Others,
        recent: Sequence[RecentOrder] = (),
        role: Role = Role.SINGLE,
        stop_price: Decimal | None = None,
        filled: Decimal,
    ) -> None:
        self.request = request
        self.view = view
        self.limits = limits
        self.trading = trading
        self.day = day
        self.exposure = exposure
        """Of all other orders in this contract."""
        self.in_flight_loss = others.in_flight_loss
        """Of all other orders of the account, base currency."""
        self.open_orders = others.open_orders
        """Other orders that can still fill."""
        self.forked = others.forked
        """Refs of live orders in this contract of which the broker made several."""
        self.recent = recent
        self.role = role
        self.stop_price = stop_price
        """The group's protecting stop, for an entry that has one."""
        self.filled = filled
        """What of the order is filled already, when it is a change."""
        self._agent = others.agent
        self._open_contracts = others.open_contracts
        self._instrument: InstrumentView | None = None
        self._position: Decimal | None = None
        self._loss: Decimal | None = None
        self._quote: PriceView | _Unread | None = _UNREAD
        self._price: tuple[Decimal, PriceSource] | None = None
        self._mark: Decimal | None = None
        self._unit: Decimal | None = None

    # --- quantities ---------------------------------------------------------------------------------------------------

    @property
    def con_id(self) -> int:
        """The contract's id."""
        return self.request.contract.con_id

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return self.request.action.sign

    @property
    def quantity(self) -> Decimal:
        """What the order can still fill."""
        return max(self.request.quantity - self.filled, Decimal(0))

    @property
    def position(self) -> Decimal:
        """The position to assume on this side."""
        if self._position is None:
            self._position = self.view.position(self.con_id, self.sign)
            if self._position is None:
                raise DataMissing("the position", "Wait until the account is synchronised, then try again.")
        return self._position

    @property
    def reach(self) -> Decimal:
        """The position if everything open on this side fills, and this order too (signed)."""
        return self.position + self.sign * (self.exposure.side(self.sign) + self.quantity)

    @property
    def reduces(self) -> bool:
        """Whether it can only bring the position nearer to zero, never across, whatever else fills on its side."""
        position = self.position
        if self.sign > 0:
            return position < 0 and self.reach <= 0
        return position > 0 and self.reach >= 0

    # --- prices and money ---------------------------------------------------------------------------------------------

    @property
    def instrument(self) -> InstrumentView:
        """The contract's rules."""
        if self._instrument is None:
            self._instrument = self.view.instrument(self.con_id)
            if self._instrument is None:
                raise DataMissing("the contract's rules", "Look the contract up first (`get_contract`).")
        return self._instrument

    @property
    def quote(self) -> PriceView | None:
        """The newest quote, if there is one: the same for all gates that judge this order."""
        if isinstance(self._quote, _Unread):
            self._quote = self.view.price(self.con_id)
        return self._quote

    @property
    def price(self) -> tuple[Decimal, PriceSource]:
        """The price this order may come to per unit, at worst for its size in money, and where it is from.

        A buy never costs more than its limit. Everything else is taken at the market's price on its side, or the
        order's own where that is higher.
        """
        if self._price is None:
            self._price = self._worst_price()
        return self._price

    def _worst_price(self) -> tuple[Decimal, PriceSource]:
        request, market = self.request, self._market(self.sign)
        own = request.limit_price if request.limit_price is not None else request.stop_price
        if market is not None:
            quote = self.quote
            source = PriceSource.DELAYED if quote is not None and quote.delayed else PriceSource.LIVE
            if request.limit_price is not None and self.sign > 0:
                return request.limit_price, source
            return (market if own is None else max(market, own, key=abs)), source
        if own is not None:
            return own, PriceSource.ORDER
        if request.reference_price is not None:
            return request.reference_price, PriceSource.REFERENCE
        raise DataMissing(
            "a price", "Subscribe to market data for it, use a limit order, or give the order a reference_price."
        )

    def _market(self, sign: int) -> Decimal | None:
        """The quote's price on one side: the ask for a buy, the bid for a sell, else the last; None when not known."""
        quote = self.quote
        if quote is None:
            return None
        first, second = (quote.ask, quote.bid) if sign > 0 else (quote.bid, quote.ask)
        signed = self.instrument.signed_price
        for value in (first, quote.last, second):
            if value is not None and value.is_finite() and (signed or value > 0):
                return value
        return None

    @property
    def mark(self) -> Decimal:
        """The price a position is valued at: the market's, else the order's."""
        if self._mark is None:
            market = self._market(self.sign)
            self._mark = self.price[0] if market is None else market
        return self._mark

    @property
    def unit(self) -> Decimal:
        """Base currency per unit of quantity and point of price: multiplier times exchange rate."""
        if self._unit is None:
            instrument = self.instrument
            rate = _ONE if instrument.currency == self.view.currency else self.view.fx(instrument.currency)
            if rate is None or rate <= 0:
                raise DataMissing(
                    f"the exchange rate {instrument.currency}/{self.view.currency}",
                    "Wait for the account values; the broker tells rates of currencies the account has a balance in.",
                )
            if instrument.multiplier <= 0 or instrument.price_magnifier <= 0:
                raise DataMissing("the contract's multiplier", "Look the contract up again (`get_contract`).")
            self._unit = instrument.multiplier * rate / instrument.price_magnifier
        return self._unit

    @property
    def value(self) -> Decimal:
        """What the open quantity comes to, base currency."""
        return self.quantity * abs(self.price[0]) * self.unit

    @property
    def loss(self) -> Decimal:
        """What the order may cost while in flight, base currency: fees, and slippage or the way to its stop.

        An order that only reduces, and an exit of a group, costs its fees.
        """
        if self._loss is None:
            self._loss = self._loss_in_flight()
        return self._loss

    def _loss_in_flight(self) -> Decimal:
        price, source = self.price
        fee = self.view.fee(self.con_id, self.quantity, price)
        if fee is None:
            raise DataMissing("the fees", "Update the library: there is no fee schedule for this contract.")
        if self.role is Role.EXIT or self.reduces:
            return fee
        if self.stop_price is not None:
            return fee + self.quantity * abs(price - self.stop_price) * self.unit
        return fee + self.value * self.collar(self.limits.in_flight_collar, source)

    def collar(self, width: Decimal, source: PriceSource) -> Decimal:
        """`width`, wider when the price is not a live one."""
        return width if source is PriceSource.LIVE else width * self.limits.delayed_collar_factor

    @property
    def margin(self) -> Decimal:
        """What the order ties up, base currency: by the broker's preview, else its whole value."""
        told = self.view.margin(self.request.order_ref)
        if told is not None:
            share = self.quantity / self.request.quantity if self.request.quantity else _ONE
            return max(told, Decimal(0)) * share
        if self.request.contract.sec_type in _BY_MARGIN:
            raise DataMissing(
                f"the margin of a {self.request.contract.sec_type}",
                "Set buying_power = what_if in [risk_limits]: a future's value says little about its margin.",
            )
        return self.value

    # --- what belongs to others too -----------------------------------------------------------------------------------

    @property
    def agent(self) -> AgentShare:
        """The part of the agent that asked: what its own orders filled in this contract, and have open."""
        return self._agent()

    @property
    def open_contracts(self) -> Mapping[int, OpenContract]:
        """What all other orders of the account have open, by contract."""
        return self._open_contracts()

    def unit_value_of(self, con_id: int, judged: Decimal | None = None) -> Decimal:
        """What one unit of a contract is worth, base currency; `judged`: as an order in it was judged."""
        if con_id == self.con_id:
            return abs(self.mark) * self.unit
        value = self.view.unit_value(con_id)
        value = judged if value is None else value
        if value is None:
            raise DataMissing(
                f"the value of contract {con_id}, which the account holds or has orders in",
                "Subscribe to market data for it, or wait for the account's figures.",
            )
        return value

    @property
    def is_market(self) -> bool:
        """Whether it has no price of its own that protects it."""
        return self.request.order_type in {OrderType.MARKET, OrderType.STOP, OrderType.TRAILING_STOP}
