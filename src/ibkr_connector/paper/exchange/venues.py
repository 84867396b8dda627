"""Where executions happen: the names a SMART order's fills carry, and the routes orders take."""

from __future__ import annotations

import random

from ..instruments import Instrument
from .orders import Route

US_STOCK_VENUES = ("ISLAND", "ARCA", "IEX", "BATS", "NYSE", "NASDAQ", "DRCTEDGE", "EDGEA", "BYX", "MEMX")
STOCK_ROUTES = (Route(0x0000E0D5, direct=False), Route(0x0000DC8F, direct=True), Route(0x00025B45, direct=True))
"""Session numbers and first statuses as captured for AAPL and MSFT on a paper account."""
FUTURE_ROUTE = Route(0x0000E1A7, direct=False)
CURRENCY_ROUTE = Route(0x00014160, direct=False)


class Venues:
    """Chooses routes and venues, seeded."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names: dict[int, tuple[str, ...]] = {}

    def route(self, instrument: Instrument) -> Route:
        """A route for a new order."""
        match instrument.sec_type:
            case "FUT":
                return FUTURE_ROUTE
            case "CASH":
                return CURRENCY_ROUTE
            case _:
                return self._rng.choice(STOCK_ROUTES)

    def venue(self, instrument: Instrument, destination: str) -> str:
        """The venue of one fill: the destination itself, or for SMART one of the stock's exchanges."""
        if destination and destination != "SMART":
            return destination
        if instrument.sec_type != "STK":
            return instrument.exchange
        names = self._names.get(instrument.con_id)
        if names is None:
            listed = set(instrument.valid_exchanges.split(","))
            names = tuple(name for name in US_STOCK_VENUES if name in listed) or US_STOCK_VENUES[:3]
            self._names[instrument.con_id] = names
        return self._rng.choice(names)
