"""What a websocket can subscribe to: from a request's text to a subscription, and back out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..exchange.types import ExchangeEvent
from .account_streams import LedgerStream, PnlStream, SummaryStream
from .calls import bad_request
from .order_streams import OrderStream, TradeStream
from .quote_fields import MAX_FIELDS
from .quote_streams import HistoryStream, LadderStream, QuoteStream
from .socket import parse_options
from .stream import Stream

if TYPE_CHECKING:
    from .history_desk import HistoryDesk
    from .orders_desk import OrdersDesk
    from .socket import Socket

MAX_HISTORY: Final = 5
NEEDS_BROKERAGE: Final = frozenset({"smd", "smh", "sbd", "sor", "str"})
"""Topics that need the brokerage session; without it they are ignored, as real servers do."""


class Topics:
    """The subscriptions of one websocket, by topic and what they are about."""

    def __init__(self, socket: Socket, orders: OrdersDesk, history: HistoryDesk) -> None:
        self._socket = socket
        self._hub = socket.hub
        self._orders = orders
        self._history = history
        self._streams: dict[tuple[str, str], Stream] = {}
        self._begin: dict[str, Callable[[str], None]] = {
            "smd": self._quotes,
            "smh": self._bars,
            "sbd": self._ladder,
            "sor": self._live_orders,
            "str": self._trades,
            "spl": self._pnl,
            "ssd": self._summary,
            "sld": self._ledger,
        }
        self._end: dict[str, Callable[[str], None]] = {
            "umd": lambda rest: self._stop("smd", rest.partition("+")[0].partition("@")[0]),
            "umh": self._end_bars,
            "ubd": self._end_ladder,
            "uor": lambda _: self._stop("sor", ""),
            "utr": lambda _: self._stop("str", ""),
            "upl": lambda _: self._stop("spl", ""),
            "usd": self._end_summary,
            "uld": self._end_ledger,
        }

    def handle(self, topic: str, rest: str) -> bool:
        """Take a request; whether the topic exists."""
        begin = self._begin.get(topic)
        if begin is not None:
            self._hub.session.look()
            if topic not in NEEDS_BROKERAGE or self._hub.session.authenticated:
                begin(rest)
            return True
        end = self._end.get(topic)
        if end is not None:
            end(rest)
        return end is not None

    def on_event(self, event: ExchangeEvent) -> None:
        """The exchange said something."""
        for stream in tuple(self._streams.values()):
            stream.on_event(event)

    def close(self) -> None:
        """End everything."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def count(self, topic: str) -> int:
        """Subscriptions of a kind."""
        return sum(1 for kind, _ in self._streams if kind == topic)

    # --- beginning ---------------------------------------------------------------------------------------------------

    def _start(self, topic: str, about: str, stream: Stream) -> None:
        self._stop(topic, about)
        self._streams[topic, about] = stream
        stream.open()

    def _quotes(self, rest: str) -> None:
        target, _, options = rest.partition("+")
        con_id = _con_id(target)
        lines = 100 if self._hub.options.limits is None else self._hub.options.limits.market_lines
        if ("smd", str(con_id)) not in self._streams and self.count("smd") >= lines:
            return  # no line is left: nothing comes, and nothing is said
        item = self._hub.instruments.by_con_id(con_id)
        if item is None:
            raise bad_request("conid is not valid")
        fields = parse_options(options).get("fields", [])
        if not isinstance(fields, list):
            raise bad_request("fields must be a list")
        names = [str(name)[:6] for name in fields[:MAX_FIELDS]]
        self._start("smd", str(con_id), QuoteStream(self._socket, item, target, names))

    def _bars(self, rest: str) -> None:
        target, _, options = rest.partition("+")
        con_id = _con_id(target)
        limit = MAX_HISTORY if self._hub.options.limits is None else self._hub.options.limits.concurrent_history
        if ("smh", str(con_id)) not in self._streams and self.count("smh") >= limit:
            raise bad_request(f"at most {limit} historical data subscriptions")
        item, options_read = self._hub.instrument(con_id), parse_options(options)
        self._start("smh", str(con_id), HistoryStream(self._socket, item, target, options_read, self._history))

    def _ladder(self, rest: str) -> None:
        account, _, target = rest.partition("+")
        con_id, _, exchange = target.partition("+")
        self._hub.account(account)
        item = self._hub.instrument(_con_id(con_id))
        # One ladder per account: a second one takes the first one's place.
        self._start("sbd", account, LadderStream(self._socket, item, account, exchange))

    def _live_orders(self, rest: str) -> None:
        wanted = parse_options(rest).get("filters", [])
        names = frozenset(str(name).lower() for name in wanted[:20]) if isinstance(wanted, list) else frozenset()
        self._start("sor", "", OrderStream(self._socket, self._orders, names))

    def _trades(self, rest: str) -> None:
        options = parse_options(rest)
        only_new = bool(options.get("realtimeUpdatesOnly", options.get("realtime_updates_only", False)))
        days = options.get("days", 1)
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 7:
            raise bad_request("days must be 1 to 7")
        self._start("str", "", TradeStream(self._socket, self._orders, days, only_new=only_new))

    def _pnl(self, rest: str) -> None:
        self._start("spl", "", PnlStream(self._socket))

    def _summary(self, rest: str) -> None:
        account, _, options = rest.partition("+")
        found = parse_options(options)
        self._start("ssd", account, SummaryStream(self._socket, self._hub.account(account), found))

    def _ledger(self, rest: str) -> None:
        account, _, options = rest.partition("+")
        found = parse_options(options)
        self._start("sld", account, LedgerStream(self._socket, self._hub.account(account), found))

    # --- ending ------------------------------------------------------------------------------------------------------

    def _stop(self, topic: str, about: str) -> None:
        stream = self._streams.pop((topic, about), None)
        if stream is not None:
            stream.close()

    def _end_bars(self, rest: str) -> None:
        server_id = rest.partition("+")[0]
        for (topic, about), stream in tuple(self._streams.items()):
            if isinstance(stream, HistoryStream) and server_id in {stream.server_id, about}:
                self._stop(topic, about)
                self._socket.send({"message": f"Unsubscribed {server_id}"})

    def _end_ladder(self, rest: str) -> None:
        self._stop("sbd", rest.partition("+")[0])

    def _end_summary(self, rest: str) -> None:
        self._stop("ssd", rest.partition("+")[0])
        self._socket.send({"result": "unsubscribed from summary"})

    def _end_ledger(self, rest: str) -> None:
        self._stop("sld", rest.partition("+")[0])
        self._socket.send({"result": "unsubscribed from ledger"})


def _con_id(text: str) -> int:
    number = text.partition("@")[0]
    if not (number.isascii() and number.isdigit() and len(number) <= 10):
        raise bad_request("conid is not valid")
    return int(number)
