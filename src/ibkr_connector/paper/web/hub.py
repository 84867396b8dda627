"""What the desks of the Web front share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..exchange.types import ZERO, QuoteChanged
from ..instruments import Instrument
from .calls import Call, Json, WebError, bad_request

if TYPE_CHECKING:
    from ..clock import MarketClock
    from ..exchange.book import Exchange
    from ..exchange.types import ExchangeEvent
    from ..faults.web_gate import WebGate
    from ..instruments import InstrumentBook
    from ..market.base import MarketSource
    from ..truth import TruthLog
    from .options import WebOptions
    from .session import LoginSession


@dataclass(slots=True, eq=False)
class WebHub:
    """Shared by every desk and socket. Everything here is used on the gateway's event loop only."""

    clock: MarketClock
    exchange: Exchange
    market: MarketSource
    instruments: InstrumentBook
    truth: TruthLog
    options: WebOptions
    loop: asyncio.AbstractEventLoop
    wake: Callable[[], None]
    """Call after anything that may have given the exchange something earlier to do."""
    hides: Callable[[ExchangeEvent], bool]
    """Whether a fault keeps an event of the exchange from everybody."""
    session: LoginSession
    rng: random.Random
    """For ids that need not be anything in particular."""
    refs_of: Callable[[Call], list[str]]
    """The cOIDs a request is about, as far as it can be told without carrying it out."""
    selected: str
    """The account orders and reports are about when nothing else is said."""
    primed: set[int] = field(default_factory=set)
    """Contracts a snapshot has been asked for: the first time brings no values."""
    accounts_asked: bool = False
    """Whether iserver/accounts was called in this brokerage session."""
    portfolio_asked: bool = False
    """Whether portfolio/accounts was called since the login."""
    pictures: dict[int, dict[str, Json]] = field(default_factory=dict)
    """What was last shown of a contract: what is shown while its quotes stand still."""
    searched: set[str] = field(default_factory=set)
    """Symbols secdef/search was called for."""
    gate: WebGate | None = None
    """Where faults take hold; None while there are none."""

    def account(self, name: str) -> str:
        """One of the gateway's accounts, by its name; 400 for another."""
        if name not in self.exchange.accounts:
            raise WebError(400, "accountId is not valid", {"error": "accountId is not valid", "statusCode": 400})
        return name

    def instrument(self, con_id: int) -> Instrument:
        """A contract by its id; 400 for an unknown one."""
        found = self.instruments.by_con_id(con_id)
        if found is None:
            raise bad_request("conid is not valid")
        return found

    def is_muted(self, item: Instrument) -> bool:
        """Whether a fault keeps the market of a contract from everybody."""
        return self.hides(
            QuoteChanged(instrument=item, at=self.clock.now(), bid=None, ask=None, bid_size=ZERO, ask_size=ZERO)
        )

    def new_id(self) -> str:
        """A random id in the shape of a uuid."""
        text = f"{self.rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def epoch_ms(self) -> int:
        """Real time, milliseconds since 1970: what heartbeats and tokens carry."""
        return int(self.clock.wall().timestamp() * 1000)

    def market_ms(self) -> int:
        """Market time, milliseconds since 1970: what quotes, orders and bars carry."""
        return int(self.clock.now().timestamp() * 1000)
