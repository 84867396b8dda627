"""The Web front put together: its desks, its sockets and its server, over the gateway's one exchange."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..exchange.types import ExchangeEvent, OrderMessage
from . import BASE
from .accounts_desk import AccountsDesk
from .calls import Call, Endpoint, Json
from .contracts_desk import ContractsDesk
from .history_desk import HistoryDesk
from .hub import WebHub
from .notices_desk import NoticesDesk
from .oauth.verify import Verifier
from .order_forms import order_refs
from .order_watch import WARNINGS, OrderWatch
from .orders_desk import OrdersDesk
from .performance_desk import PerformanceDesk
from .portfolio_desk import PortfolioDesk
from .questions import QuestionBook
from .quotes_desk import QuotesDesk
from .scanner_desk import ScannerDesk
from .server import WebServer, shown_host
from .session import Change, LoginSession
from .session_desk import SessionDesk
from .socket import Socket, SocketFloor
from .tls import make_context
from .topics import Topics
from .watchlists_desk import WatchlistsDesk

if TYPE_CHECKING:
    from ..clock import MarketClock
    from ..exchange.book import Exchange
    from ..instruments import InstrumentBook
    from ..market.base import MarketSource
    from ..truth import TruthLog
    from .options import WebOptions


class WebFront:
    """The Client Portal Web API of a gateway."""

    def __init__(
        self,
        *,
        clock: MarketClock,
        exchange: Exchange,
        market: MarketSource,
        instruments: InstrumentBook,
        truth: TruthLog,
        options: WebOptions,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[], None],
        hides: Callable[[ExchangeEvent], bool],
        seed: int,
    ) -> None:
        rng = random.Random(f"{seed}:web")
        self.session = LoginSession(clock, options, rng)
        self.hub = hub = WebHub(
            clock=clock,
            exchange=exchange,
            market=market,
            instruments=instruments,
            truth=truth,
            options=options,
            loop=loop,
            wake=wake,
            hides=hides,
            session=self.session,
            rng=rng,
            refs_of=self._refs_of,
            selected=exchange.accounts[0],
        )
        self._watch = OrderWatch(loop)
        self._questions = questions = QuestionBook(hub)
        accounts, history = AccountsDesk(hub), HistoryDesk(hub)
        self._orders = OrdersDesk(hub, questions, self._watch)
        self.verifier = None if options.oauth is None else Verifier(hub, options.oauth)

        def make_topics(socket: Socket) -> Topics:
            return Topics(socket, self._orders, history)

        self.sockets = SocketFloor(hub, accounts, make_topics)
        self._notices = NoticesDesk(hub)
        self.endpoints = endpoints = [
            *SessionDesk(hub, questions).endpoints(),
            *accounts.endpoints(),
            # Before the portfolio: its paths with an account would take theirs.
            *PortfolioDesk(hub).endpoints(),
            *ContractsDesk(hub).endpoints(),
            *QuotesDesk(hub).endpoints(),
            *history.endpoints(),
            *self._orders.endpoints(),
            *ScannerDesk(hub).endpoints(),
            *WatchlistsDesk(hub).endpoints(),
            *PerformanceDesk(hub).endpoints(),
            *self._notices.endpoints(),
        ]
        if self.verifier is not None:
            endpoints.append(
                Endpoint("POST", "oauth/live_session_token", "live_session_token", self._issue_token, "nothing")
            )
        self.server = WebServer(hub, endpoints, self.sockets, self.verifier)
        self._unlisten: list[Callable[[], None]] = []

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self.server.port

    @property
    def url(self) -> str:
        """The base URL, as clients need it."""
        options = self.hub.options
        if options.public_url is not None:
            return f"{options.public_url.rstrip('/')}/"
        return f"{'https' if options.tls else 'http'}://{shown_host(self.server.host)}:{self.port}{BASE}/"

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the port cannot be had."""
        tls = make_context(host) if self.hub.options.tls else None
        self._unlisten.append(self.hub.exchange.listen(self._on_event))
        self._unlisten.append(self.session.listen(self._on_session))
        await self.server.start(host, port, tls)

    async def close(self) -> None:
        """End everything."""
        while self._unlisten:
            self._unlisten.pop()()
        await self.server.close()

    def _refs_of(self, call: Call) -> list[str]:
        if call.name == "reply":
            return self._questions.refs(call.path.get("reply", ""))
        number = call.path.get("order", "")
        if number.isdecimal() and len(number) < 19:
            view = self.hub.exchange.order_by_perm_id(int(number))
            return [] if view is None else [view.ticket.order_ref]
        return order_refs(call)

    def _issue_token(self, call: Call) -> Json:
        assert self.verifier is not None  # noqa: S101 - the endpoint exists with it only
        return self.verifier.issue(call.authorization)

    def _on_event(self, event: ExchangeEvent) -> None:
        if self.hub.hides(event):
            return
        self._watch.on_event(event)
        self.sockets.on_event(event)
        if isinstance(event, OrderMessage) and event.client_id < 0 and event.code in WARNINGS:
            self.notify("Order Message", event.text)

    def _on_session(self, change: Change) -> None:
        if change.get("authenticated"):
            self._orders.new_session()

    def forget(self) -> None:
        """A restart: what was asked before is not known any more."""
        self.hub.accounts_asked = self.hub.portfolio_asked = False
        self.hub.primed.clear()
        self.hub.searched.clear()
        self._questions.reset()
        self._orders.new_session()

    # --- what the broker says by itself ------------------------------------------------------------------------------

    def notify(self, title: str, text: str) -> None:
        """Send a notification (`ntf`) to every websocket."""
        self.sockets.broadcast(
            {"topic": "ntf", "args": [{"id": self.hub.new_id(), "title": title, "text": text, "url": ""}]}
        )

    def bulletin(self, text: str) -> None:
        """Send a bulletin (`blt`) to every websocket."""
        self.sockets.broadcast({"topic": "blt", "args": {"id": self.hub.new_id(), "message": text}})
