"""Market data over the websocket: quotes (smd), bars (smh) and the price ladder (sbd)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from ..exchange.types import ExchangeEvent, QuoteChanged, TradePrinted
from ..instruments import Instrument
from .calls import Json, WebError
from .quote_fields import DEFAULT_FIELDS, values
from .quotes_desk import SERVER_ID
from .stream import Stream

if TYPE_CHECKING:
    from .history_desk import HistoryDesk
    from .socket import Socket

QUOTE_INTERVAL: Final = 0.5
"""Wire seconds between two frames of a contract."""
BAR_INTERVAL: Final = 5.0
LADDER_INTERVAL: Final = 0.5
LADDER_LEVELS: Final = 5


class _Watcher(Stream):
    """Hears the market of one contract, and looks again no more often than an interval allows."""

    interval = QUOTE_INTERVAL

    def __init__(self, socket: Socket, item: Instrument) -> None:
        super().__init__(socket)
        self.item = item
        self._soon = False

    def open(self) -> None:
        """Begin, with the present picture."""
        self.hub.exchange.watch(self.item)
        self.hub.wake()
        self.show()

    def close(self) -> None:
        """End."""
        super().close()
        self.hub.exchange.unwatch(self.item)

    def on_event(self, event: ExchangeEvent) -> None:
        """A quote or a print of the contract."""
        if isinstance(event, QuoteChanged | TradePrinted) and event.instrument == self.item and not self._soon:
            self._soon = True
            self.later("show", self.interval, self._due)

    def _due(self) -> None:
        self._soon = False
        if self.is_live:
            self.show()

    def show(self) -> None:
        """Send what has changed."""
        raise TypeError(f"{type(self).__name__} does not say what it shows")


class QuoteStream(_Watcher):
    """smd: fields that changed, and one day nothing more, without a word."""

    def __init__(self, socket: Socket, item: Instrument, target: str, fields: list[str]) -> None:
        super().__init__(socket, item)
        self._topic = f"smd+{target}"
        self._target = target
        self._fields = fields or list(DEFAULT_FIELDS)
        self._shown: dict[str, Json] = {}
        self._ended = False

    def open(self) -> None:
        """Begin; it ends by itself after the stream's life."""
        self.hub.primed.add(self.item.con_id)
        super().open()
        self.later("end", self.hub.options.stream_life, self._expire)

    def _expire(self) -> None:
        self._ended = True
        self.hub.truth.record("stream_ended", con_id=self.item.con_id)

    def show(self) -> None:
        """The fields that are not as they were."""
        if self._ended:
            return
        found = values(self.hub, self.item, self._fields)
        changed = {name: value for name, value in found.items() if self._shown.get(name) != value}
        if not changed and self._shown:
            return
        head: dict[str, Json] = {
            "server_id": SERVER_ID,
            "conidEx": self._target,
            "conid": self.item.con_id,
            "_updated": self.hub.market_ms(),
            "6119": SERVER_ID,
        }
        self._shown = found
        self.socket.send({**head, **changed, "topic": self._topic})


class LadderStream(_Watcher):
    """sbd: a few levels, best in the middle; the row with the last price has the focus."""

    interval = LADDER_INTERVAL

    def __init__(self, socket: Socket, item: Instrument, account: str, exchange: str) -> None:
        super().__init__(socket, item)
        self._topic = f"sbd+{account}+{item.con_id}" + (f"+{exchange}" if exchange else "")
        self._shown: list[Json] = []

    def show(self) -> None:
        """All rows, when one of them changed."""
        rows = self._rows()
        if rows != self._shown:
            self._shown = rows
            self.socket.send({"topic": self._topic, "data": rows})

    def _rows(self) -> list[Json]:
        quote = self.hub.exchange.quote(self.item)
        if quote is None:
            return []
        tick, levels = self.item.min_tick, range(LADDER_LEVELS)
        last = self.hub.exchange.last_trade(self.item)
        found: list[tuple[Decimal, str, Decimal]] = []
        if quote.ask is not None:
            found += [(quote.ask + tick * level, "ask", quote.ask_size) for level in reversed(levels)]
        if quote.bid is not None:
            found += [(quote.bid - tick * level, "bid", quote.bid_size) for level in levels]
        return [
            {
                "row": number,
                "focus": int(last is not None and last.price == price),
                "price": f"{price:f}",
                side: f"{size.normalize():f}",
            }
            for number, (price, side, size) in enumerate(found)
        ]


class HistoryStream(Stream):
    """smh: the bars once, and from then on those that changed."""

    def __init__(
        self, socket: Socket, item: Instrument, target: str, options: dict[str, Json], desk: HistoryDesk
    ) -> None:
        super().__init__(socket)
        self.server_id = ""
        self._item = item
        self._topic = f"smh+{target}"
        self._options = options
        self._desk = desk
        self._last: Json = None

    def open(self) -> None:
        """Send the bars. WebError where the options make no sense."""
        body = self._bars()
        self.server_id = str(body["serverId"])
        self._last = body["data"][-1]
        self.socket.send({**body, "topic": self._topic})
        self.later("look", BAR_INTERVAL, self._look)

    def _bars(self) -> dict[str, Json]:
        def text(name: str, default: str) -> str:
            return str(self._options.get(name, default))[:16]

        outside = self._options.get("outside_rth", self._options.get("outsideRth", False))
        return self._desk.answer(
            self._item,
            period=text("period", "1d"),
            bar=text("bar", "1min"),
            outside_rth=str(outside).lower() == "true",
            source=text("source", "").lower(),
        )

    def _look(self) -> None:
        self.later("look", BAR_INTERVAL, self._look)
        if not self.is_live:
            return
        try:
            body = self._bars()
        except WebError:
            return  # no bars any more: the period is over
        fresh = [bar for bar in body["data"] if bar["t"] >= self._last["t"]]
        if fresh and fresh != [self._last]:
            self._last = fresh[-1]
            self.socket.send({"topic": self._topic, "serverId": self.server_id, "data": fresh})
