"""Profit and loss of an account, or of one position, told about once a second (wire time) while it changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ..exchange.types import PositionView
from ..instruments import Instrument
from . import layouts_account, texts
from .fields import Cursor
from .routes import Refusal, Route, Routes

if TYPE_CHECKING:
    from .session import Session

INTERVAL: Final = 1.0
"""Wire seconds between two looks at the accounts."""
_ZERO: Final = Decimal(0)


@dataclass(slots=True)
class _Subscription:
    account: str
    instrument: Instrument | None = None
    """None = the whole account."""
    sent: list[str] = field(default_factory=list)


class PnlDesk:
    """The profit and loss subscriptions of one client."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._accounts: dict[int, _Subscription] = {}
        self._positions: dict[int, _Subscription] = {}
        self._timer: asyncio.TimerHandle | None = None

    def routes(self) -> Routes:
        """The requests answered here."""
        return {
            92: Route(self._request, 1),
            93: Route(self._cancel, 1),
            94: Route(self._request_single, 1),
            95: Route(self._cancel_single, 1),
        }

    def close(self) -> None:
        """End every subscription."""
        self._accounts.clear()
        self._positions.clear()
        self._arrange_timer()

    def _request(self, cursor: Cursor) -> None:
        request_id = cursor.request_id()
        account = cursor.text("account")
        cursor.skip("modelCode")
        cursor.end()
        if request_id in self._accounts:
            raise Refusal(request_id, texts.DUPLICATE_REQUEST)
        self._accounts[request_id] = _Subscription(self._session.hub.account(account, request_id))
        self._tell()

    def _cancel(self, cursor: Cursor) -> None:
        self._accounts.pop(cursor.request_id(), None)
        cursor.end()
        self._arrange_timer()

    def _request_single(self, cursor: Cursor) -> None:
        request_id = cursor.request_id()
        account = cursor.text("account")
        cursor.skip("modelCode")
        con_id = cursor.integer("conid")
        cursor.end()
        hub = self._session.hub
        if request_id in self._positions:
            raise Refusal(request_id, texts.DUPLICATE_REQUEST)
        instrument = hub.instruments.by_con_id(con_id)
        if instrument is None:
            raise Refusal(request_id, texts.NO_DEFINITION)
        self._positions[request_id] = _Subscription(hub.account(account, request_id), instrument)
        self._tell()

    def _cancel_single(self, cursor: Cursor) -> None:
        self._positions.pop(cursor.request_id(), None)
        cursor.end()
        self._arrange_timer()

    def _tell(self) -> None:
        """Send what differs from the last time."""
        self._stop_timer()
        session, exchange = self._session, self._session.hub.exchange
        for request_id, each in self._accounts.items():
            self._send(each, layouts_account.pnl(request_id, exchange.pnl(each.account)))
        for request_id, each in self._positions.items():
            if each.instrument is not None:
                view = exchange.pnl_single(each.account, each.instrument.con_id) or flat(each.account, each.instrument)
                self._send(each, layouts_account.pnl_single(session.version, request_id, view))
        self._arrange_timer()

    def _send(self, subscription: _Subscription, fields: list[str]) -> None:
        if fields != subscription.sent:
            subscription.sent = fields
            self._session.send(fields)

    def _arrange_timer(self) -> None:
        wanted = bool(self._accounts or self._positions)
        if not wanted:
            self._stop_timer()
        elif self._timer is None:
            self._timer = self._session.hub.loop.call_later(INTERVAL, self._tell)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def flat(account: str, instrument: Instrument) -> PositionView:
    """No position."""
    return PositionView(
        account=account,
        instrument=instrument,
        quantity=_ZERO,
        avg_cost=_ZERO,
        market_price=_ZERO,
        market_value=_ZERO,
        unrealized_pnl=_ZERO,
        realized_pnl=_ZERO,
        daily_pnl=_ZERO,
    )
