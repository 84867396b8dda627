"""What all sessions of the TWS front share: the exchange, the market, the clock, options and the list of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..instruments import ContractQuery, Instrument
from . import texts
from .contracts import WireContract
from .options import TwsOptions
from .pacing import HistoryPacing
from .routes import Refusal

if TYPE_CHECKING:
    from ..clock import MarketClock
    from ..exchange.book import Exchange
    from ..instruments import InstrumentBook
    from ..market.base import MarketSource
    from ..truth import TruthLog
    from .session import Session
    from .taps import Taps
    from .ticks import TickFeed


@dataclass(slots=True, eq=False)
class Hub:
    """Shared by every session. Everything here is used on the gateway's event loop only."""

    clock: MarketClock
    exchange: Exchange
    market: MarketSource
    instruments: InstrumentBook
    truth: TruthLog
    options: TwsOptions
    loop: asyncio.AbstractEventLoop
    wake: Callable[[], None]
    """Call after anything that may have given the exchange something earlier to do."""
    sessions: dict[int, Session] = field(default_factory=dict)
    """Clients that have started, by client id."""
    feeds: dict[int, set[TickFeed]] = field(default_factory=dict)
    """Streaming market data requests by conId."""
    defined: set[int] = field(default_factory=set)
    """conIds that requests of clients were about: the gateway knows their details without its servers."""
    history: HistoryPacing = field(default_factory=HistoryPacing)
    taps: Taps | None = None
    """Where faults take hold; None while there are none."""

    @property
    def lines(self) -> int:
        """Market data lines in use."""
        return sum(len(feeds) for feeds in self.feeds.values())

    def resolve(self, contract: WireContract) -> list[Instrument]:
        """Every instrument a client's contract can mean; combinations of contracts mean none."""
        if contract.is_combo:
            return []
        return self.instruments.resolve(
            ContractQuery(
                con_id=contract.con_id,
                symbol=contract.symbol,
                sec_type=contract.sec_type,
                expiry=contract.expiry,
                strike=contract.strike,
                right="" if contract.right in {"0", "?"} else contract.right,
                multiplier=contract.multiplier,
                exchange=contract.exchange,
                primary_exchange=contract.primary_exchange,
                currency=contract.currency,
                local_symbol=contract.local_symbol,
                trading_class=contract.trading_class,
                include_expired=contract.include_expired,
                sec_id_type=contract.sec_id_type,
                sec_id=contract.sec_id,
            )
        )

    def instrument(self, contract: WireContract, request_id: int) -> Instrument:
        """The one instrument a client's contract means; else a Refusal with error 200."""
        found = self.resolve(contract)
        if not found:
            raise Refusal(request_id, texts.NO_DEFINITION)
        if len(found) > 1:
            raise Refusal(request_id, texts.ambiguous(contract.symbol))
        self.learn(found)
        return found[0]

    def learn(self, found: list[Instrument]) -> None:
        """The servers have told what these are; nothing is learnt while they cannot be reached."""
        if not self.exchange.mishaps.is_cut:
            self.defined.update(item.con_id for item in found)

    def account(self, account: str, request_id: int) -> str:
        """The account a request is about: an empty one is the only one there is; else a Refusal with error 321."""
        accounts = self.exchange.accounts
        if not account and len(accounts) == 1:
            return accounts[0]
        if account not in accounts:
            raise Refusal(request_id, texts.invalid(f"Invalid account code '{account}'.", "b1"))
        return account
