"""What the exchange's rooms share: time, randomness, books of account, the registry and the reporter."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ..instruments import Instrument
from .accounts import Account
from .behavior import ExchangeBehavior, Latency
from .charges import DOLLAR, HouseFees
from .ids import ExecIds, OrderIds, PermIds
from .link import BrokerLink
from .margin import Margin, MarginRules
from .ports import Clock, Contracts, Disturbance, Fees, MarketFeed, Truth
from .prices import Marks
from .registry import Registry
from .reports import Reporter
from .tape import Feed, Tape
from .timers import Timeline
from .types import AccountSpec
from .venues import Venues


class Core:
    """The shared state. `now` is the market time of the event being processed, never later than the clock's."""

    def __init__(
        self,
        *,
        clock: Clock,
        market: MarketFeed,
        contracts: Contracts,
        accounts: Sequence[AccountSpec],
        truth: Truth,
        seed: int,
        fees: Fees | None,
        behavior: ExchangeBehavior,
        margin_rules: MarginRules,
    ) -> None:
        self.clock = clock
        self.market = market
        self.behavior = behavior
        self.now: datetime = clock.now()
        self.timeline = Timeline()
        self.link = BrokerLink()
        self.disturbance: Disturbance | None = None
        self.feed = Feed(market, contracts)
        self.marks = Marks(self.feed, contracts, lambda: self.now)
        self.fees: Fees = fees if fees is not None else HouseFees(lambda currency: self.marks.rate(currency, DOLLAR))
        self.margin = Margin(margin_rules)
        self.accounts = {spec.name: Account(spec, self.marks) for spec in accounts}
        self.registry = Registry()
        self.order_ids = OrderIds()
        self.perm_ids = PermIds()
        # Each use of chance has its own stream: one more venue choice must not change every later latency.
        self.exec_ids = ExecIds(random.Random(f"{seed}:executions"))
        self.venues = Venues(random.Random(f"{seed}:venues"))
        self.chance = random.Random(f"{seed}:chance")
        self._latencies = random.Random(f"{seed}:latencies")
        self._lanes: dict[int, datetime] = {}
        self.report = Reporter(truth, behavior, random.Random(f"{seed}:duplicates"), lambda: self.now)

    def after(self, latency: Latency) -> datetime:
        """The market time at which something that takes this long in wire time is done."""
        low, high = latency
        if high <= 0:
            return self.now
        seconds = self._latencies.uniform(low, high) * self.clock.speed
        return self.now + timedelta(seconds=seconds)

    def in_lane(self, client_id: int, latency: Latency) -> datetime:
        """The same for a client's request: never before that of its earlier requests, which travel the same socket."""
        due = max(self.after(latency), self._lanes.get(client_id, self.now))
        self._lanes[client_id] = due
        return due

    def tape(self, instrument: Instrument) -> Tape:
        """The tape of an instrument."""
        return self.feed.tape(instrument)

    def price(self, instrument: Instrument, fallback: Decimal | None = None) -> Decimal:
        """A price to reckon with: the mark, or else what the order says, or else the instrument's usual price."""
        mark = self.marks.mark(instrument)
        if mark is not None:
            return mark
        return fallback if fallback is not None else instrument.reference_price

    def mind(self, instrument: Instrument) -> None:
        """Follow an instrument if somebody watches it, orders work in it or an account holds it; else stop."""
        tape = self.feed.tape(instrument)
        needed = (
            tape.watchers > 0
            or self.registry.has_live(instrument.con_id)
            or any(account.held(instrument) for account in self.accounts.values())
        )
        if needed:
            self.feed.follow(tape, self.now)
        elif tape.followed:
            self.feed.unfollow(tape)
