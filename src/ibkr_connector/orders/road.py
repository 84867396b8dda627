"""What the ways of a new order and of a change to the broker have in common.

Both prepare, are judged, wait for a slot, commit, are checked again and are written. Up to the write every failure
means that nothing was sent, and none of them is an `OSError` when it reaches the caller: a retry decorator around an
order would send it again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from ibkr_connector.backends.base import WireOrder
from ibkr_connector.clock import Clock
from ibkr_connector.config.settings import OrderSettings
from ibkr_connector.errors import OrderError, OrderNotSent, TradingError
from ibkr_connector.models.contract import ContractDetails
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.desk import OrderDesk
from ibkr_connector.orders.journal import JournalWriter
from ibkr_connector.resilience import Deadline
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.view import RiskView
from ibkr_connector.session.lane import OrderLane
from ibkr_connector.session.session import Session


@dataclass(slots=True)
class Prepared:
    """What was fetched for the gates; `view` is built when they decide, from what is known at that moment."""

    details: ContractDetails
    view: Callable[[], RiskView]


Prefetch = Callable[[OrderRequest, Deadline], Awaitable[Prepared]]


@contextlib.contextmanager
def nothing_sent(order_ref: str) -> Iterator[None]:
    """Whatever fails in here failed before the write: an `OSError` becomes `OrderNotSent`."""
    try:
        yield
    except OrderError:
        raise
    except OSError as error:
        failure: Exception = error
        text, remedy = f"{type(error).__name__}: {error}", None
        if isinstance(failure, TradingError):
            text, remedy = failure.message, failure.remedy
        raise OrderNotSent(f"not sent: {text}", remedy=remedy, order_ref=order_ref) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRoad:
    """What both ways use. Used on the session loop."""

    session: Session
    desk: OrderDesk
    lane: OrderLane
    risk: RiskEngine
    prefetch: Prefetch
    settings: OrderSettings
    clock: Clock
    endpoint: str
    """`host:port` of the gateway, as the journal names it."""
    on_doubt: Callable[[], None]
    """Something is in doubt: have the broker asked."""

    @property
    def journal(self) -> JournalWriter:
        """The journal of the account. Raises: OrderNotSent before it is open."""
        if self.desk.journal is None:
            raise OrderNotSent("the order journal is not open: there is no synchronised connection.")
        return self.desk.journal

    def obstacle(self, epoch: int, deadline: Deadline) -> str:
        """What has come in between since connection `epoch` was chosen, the gates apart; empty = nothing."""
        link = self.session.link
        if link.why_no_orders:
            return link.why_no_orders
        if link.epoch != epoch:
            return "the connection was made again meanwhile"
        return "the order's deadline has passed" if deadline.expired else ""

    def refusal(self, request: OrderRequest, view: RiskView) -> str:
        """What the gates say right before the write; empty = nothing."""
        decision = self.risk.recheck(request, view)
        return "; ".join(f"{reason.gate}: {reason.message}" for reason in decision.reasons)

    def frame(self, wire: WireOrder) -> Callable[[], None]:
        """What writes it. Encoded before anything is committed: what cannot be written must not become a doubt."""
        return self.session.backend.order_frame(wire)

    async def durably(self, commit: Awaitable[None], told: Callable[[], None]) -> None:
        """Wait for a commit, then call `told`: also for a caller that is cancelled while the disk is at work."""
        committing = asyncio.ensure_future(commit)
        try:
            await asyncio.shield(committing)
        except asyncio.CancelledError:
            # The disk may have it a moment later: only what the journal says tells whether it was given up.
            await asyncio.wait([committing])
            if committing.exception() is None:
                told()
            raise
        told()
