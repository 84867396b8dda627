"""What the exchange needs from the rest of the gateway, as narrow protocols: clock, prices, contracts, fees, log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from ..instruments import ContractQuery, Instrument
from ..market.base import Bar, BarSize, MarketEvent, Quote, Trade, What
from .types import Execution


class Clock(Protocol):
    """Market time and wire time (see `paper.clock`)."""

    @property
    def speed(self) -> float:
        """Market seconds per wire second."""

    def now(self) -> datetime:
        """Market time, aware UTC."""

    def wire(self) -> float:
        """Wire time, seconds."""


class MarketFeed(Protocol):
    """The part of a `MarketSource` the exchange uses."""

    def events(self, instrument: Instrument, start: datetime) -> Iterator[MarketEvent]:
        """Quotes and trades with `at >= start`, in time order."""

    def quote_at(self, instrument: Instrument, at: datetime) -> Quote | None:
        """The quote in force at `at`."""

    def last_trade_at(self, instrument: Instrument, at: datetime) -> Trade | None:
        """The last print at or before `at`."""

    def bars(
        self, instrument: Instrument, start: datetime, end: datetime, size: BarSize, what: What, use_rth: bool
    ) -> list[Bar]:
        """Bars overlapping `[start, end)` that know nothing later than `end`."""


class Contracts(Protocol):
    """The part of an `InstrumentBook` the exchange uses."""

    def resolve(self, query: ContractQuery) -> list[Instrument]:
        """The instruments a partial contract can mean."""

    def price_increments(self, rule_id: int) -> list[tuple[Decimal, Decimal]]:
        """A market rule: (lowest price, increment) pairs, rising."""


class Fees(Protocol):
    """What an order costs so far. Commissions have a minimum per order, so the exchange charges differences."""

    def order_total(
        self, instrument: Instrument, *, action: str, quantity: Decimal, value: Decimal, at: datetime
    ) -> Decimal:
        """Commission of one order that has executed `quantity` for `value` (price x quantity x multiplier)."""

    def currency(self, instrument: Instrument) -> str:
        """The currency the commission is charged in."""


class Disturbance(Protocol):
    """Accidents somebody has asked for (see `paper.faults`)."""

    def commission_delay(self, execution: Execution) -> float:
        """An execution has been reported: wire seconds by which its commission report comes later."""

    def forks(self, client_id: int, order_id: int) -> bool:
        """Whether this change of an order becomes a second order instead."""


class Truth(Protocol):
    """The log of what really happened (see `paper.truth`)."""

    def record(self, kind: str, /, *, at: datetime | None = None, **fields: object) -> object:
        """Write one entry, stamped with this market time and the current wire time."""
