"""One client that has started: its desks, and the way of a request to the one that answers it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final, Protocol

from . import layouts_system, texts
from .fields import Cursor, FieldError
from .framing import encode_frame
from .hub import Hub
from .requests_account import AccountDesk
from .requests_bars import BarDesk
from .requests_contracts import ContractDesk
from .requests_misc import MiscDesk
from .requests_orders import OrderDesk
from .requests_pnl import PnlDesk
from .requests_ticks import TickDesk
from .routes import Refusal, Route
from .texts import Error

UNREADABLE_LIMIT: Final = 20
"""Unreadable requests in a row after which the peer evidently speaks something else and is dropped."""

_ID = re.compile(r"-?[0-9]{1,10}")


class Link(Protocol):
    """The connection a session writes to."""

    def write(self, data: bytes) -> None:
        """Send bytes; a peer that does not read them is dropped."""

    def drop(self, reason: str) -> None:
        """Close the connection."""


class Session:
    """A started client: everything the gateway knows about it dies with the connection, except its orders."""

    def __init__(self, hub: Hub, link: Link, client_id: int, version: int) -> None:
        self.hub = hub
        self.link = link
        self.client_id = client_id
        self.version = version
        self.messages = 0
        self.arrived = 0.0
        """Wire time at which the request that is being answered arrived; a fault may have held it since."""
        self._unreadable = 0
        self.accounts = AccountDesk(self)
        self.orders = OrderDesk(self)
        self.contracts = ContractDesk(self)
        self.ticks = TickDesk(self)
        self.bars = BarDesk(self)
        self.pnl = PnlDesk(self)
        self.misc = MiscDesk(self)
        self._desks = (self.accounts, self.orders, self.contracts, self.ticks, self.bars, self.pnl, self.misc)
        self._routes: dict[int, Route] = dict(chain.from_iterable(desk.routes().items() for desk in self._desks))

    def greet(self) -> None:
        """What a gateway says once a client has started: accounts, the next order id, the state of the farms."""
        self.send(layouts_system.managed_accounts(self.hub.exchange.accounts))
        self.orders.give_next_id()
        for notice in texts.FARM_NOTICES:
            self.error(layouts_system.SYSTEM, notice)

    def send(self, fields: list[str]) -> None:
        """Send one message, unless a fault is in its way."""
        taps = self.hub.taps
        if taps is not None:
            taps.reply(self, fields)
        else:
            self.transmit(fields)

    def transmit(self, fields: Iterable[str]) -> None:
        """Send one message, whatever faults there are."""
        self.link.write(encode_frame(fields))

    def error(self, request_id: int, error: Error, advanced_json: str = "") -> None:
        """Send an error or a notice."""
        code, text = error
        self.send(layouts_system.error(self.version, request_id, code, text, advanced_json))

    def handle(self, fields: Sequence[str], arrived: float) -> None:
        """Take one request, which arrived at wire time `arrived`."""
        self.messages += 1
        taps = self.hub.taps
        if taps is not None:
            taps.request(self, fields, partial(self.answer, fields, arrived))
        else:
            self.answer(fields, arrived)

    def answer(self, fields: Sequence[str], arrived: float) -> None:
        """Answer one request. Every request is answered as IBKR documents it, at least with an error."""
        self.arrived = arrived
        kind = fields[0]
        route = self._routes.get(int(kind)) if _ID.fullmatch(kind) else None
        if route is None:
            self._unreadable_request(-1, f"there is no request {kind[:16]!r}")
            return
        # What the market did until now happened before this request.
        self.hub.exchange.advance()
        try:
            route.handle(Cursor(fields, 1))
        except FieldError as error:
            self._unreadable_request(_id_at(fields, route.id_at), str(error))
        except Refusal as refusal:
            self._unreadable = 0
            self.error(refusal.request_id, refusal.error)
        else:
            self._unreadable = 0

    def id_of(self, fields: Sequence[str]) -> int | None:
        """The request or order id a request carries; None if it has none or cannot be read."""
        route = self._routes.get(int(fields[0])) if _ID.fullmatch(fields[0]) else None
        if route is None or route.id_at is None:
            return None
        found = _id_at(fields, route.id_at)
        return None if found == layouts_system.SYSTEM else found

    def refuse(self, fields: Sequence[str], error: Error) -> None:
        """Answer a request with an error and nothing else, as if the gateway itself had found the reason."""
        if fields[0] == "3":
            self.orders.refuse(Cursor(fields, 1), error)
            return
        request_id = self.id_of(fields)
        self.error(layouts_system.SYSTEM if request_id is None else request_id, error)

    def close(self) -> None:
        """End every subscription. Orders live on."""
        for desk in self._desks:
            desk.close()

    def _unreadable_request(self, request_id: int, cause: str) -> None:
        self.error(request_id, texts.unreadable(cause))
        self._unreadable += 1
        if self._unreadable >= UNREADABLE_LIMIT:
            self.link.drop(f"{UNREADABLE_LIMIT} unreadable requests in a row, the last because {cause}")


def _id_at(fields: Sequence[str], index: int | None) -> int:
    if index is None or index >= len(fields) or not _ID.fullmatch(fields[index]):
        return layouts_system.SYSTEM
    return int(fields[index])
