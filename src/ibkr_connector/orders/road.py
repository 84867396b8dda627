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
from ibkr_connector.errors import CircuitOpen, OrderError, OrderNotSent, TradingError
from ibkr_connector.models.contract import ContractDetails
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.desk import OrderDesk
from ibkr_connector.orders.journal import JournalWriter
from ibkr_connector.orders.replies import ReplyDesk
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

_PATIENCE_S = 2.0
"""How long an order waits for the disk. A commit takes milliseconds, a disk that is busy with something else some
tenths of a second; one that takes longer fails, and whoever stands behind in the lane must not wait for it too."""
_PATIENCE_SHARE = 0.25
"""The part of what is left of the deadline that goes to the disk at most; the rest is for the write."""
_FAILING_S = 0.2
"""The same for a disk that failed or hung the last time: ten orders of a flatten pass within two seconds."""
NOT_JOURNALED = "order_not_journaled"
NOT_PAST_BREAKER = "orders are held back, and it does not only reduce the position any more"


@contextlib.contextmanager
def nothing_sent(order_ref: str) -> Iterator[None]:
    """Whatever fails in here failed before the write: an `OSError` becomes `OrderNotSent`."""
    try:
        yield
    except OrderError:
        raise
    except OSError as error:
        failure: Exception = error
        text, remedy, held = f"{type(error).__name__}: {error}", None, False
        if isinstance(failure, TradingError):
            text, remedy = failure.message, failure.remedy
            held = isinstance(failure, CircuitOpen) and not failure.retryable
        again = False if held else None  # a breaker held open by hand: trying again does not help
        raise OrderNotSent(f"not sent: {text}", remedy=remedy, retryable=again, order_ref=order_ref) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRoad:
    """What both ways use. Used on the session loop."""

    session: Session
    desk: OrderDesk
    lane: OrderLane
    replies: ReplyDesk
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

    def patience(self, deadline: Deadline) -> float:
        """Seconds to wait for the disk."""
        most = _PATIENCE_S if self.journal.writable else _FAILING_S
        return min(most, deadline.remaining() * _PATIENCE_SHARE)

    def only_reduces(self, request: OrderRequest, view: RiskView) -> bool:
        """Whether it may go out although the journal cannot be written (INV-12), or the orders breaker is open.

        It can only reduce the position.

        A member of an OCA group may not: what it would cancel protects something.
        """
        return not request.oca_group and self.risk.only_reduces(request, view)

    def tell_not_journaled(self, order_ref: str, what: str) -> None:
        """It was written to the broker, and is in memory alone."""
        text = (
            f"{what} {order_ref} reduces the position and was sent although the journal cannot be written. It is kept "
            "in memory and journaled when the disk is back; if this program ends before that, only the broker knows it."
        )
        self.session.incident(NOT_JOURNALED, text, about=order_ref, order_ref=order_ref)
        self.journal.audit(NOT_JOURNALED, {"what": what}, ref=order_ref)

    async def durably(self, commit: Awaitable[bool], told: Callable[[], None]) -> bool:
        """Wait for a commit, then call `told`: also for a caller that is cancelled while the disk is at work.

        Returns what the commit says: whether it is on the disk, or was kept in memory.
        """
        committing = asyncio.ensure_future(commit)
        try:
            durable = await asyncio.shield(committing)
        except asyncio.CancelledError:
            # The disk may have it a moment later: only what the journal says tells whether it was given up.
            await asyncio.wait([committing])
            if committing.exception() is None:
                told()
            raise
        told()
        return durable
