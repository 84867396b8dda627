"""The paper gateway in a process of its own, without latencies and limits, and its tool to flood a client with ticks.

python -m bench.gateway            (run from the folder `benchmarks`; asked by the harness, see `processes`)
python -m bench.gateway strict     the same with IBKR's pacing rules, as the judge of a client that paces itself
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from datetime import datetime
from typing import Any

from ibkr_connector.paper import PaperGateway
from ibkr_connector.paper.exchange.behavior import ExchangeBehavior
from ibkr_connector.paper.instruments import ContractQuery, Instrument
from ibkr_connector.paper.market.base import Bar, BarSize, What
from ibkr_connector.paper.market.synthetic import SyntheticMarket
from ibkr_connector.paper.sessions import previous_session, session_date
from ibkr_connector.paper.tws.framing import encode_frame
from ibkr_connector.paper.tws.options import TwsOptions
from ibkr_connector.paper.tws.pacing import HistoryKey, HistoryPacing, MessageRate

from .processes import serve

SEED = 7
UNSENT_LIMIT = 512 * 1024 * 1024
"""A flood is written at once: its client needs time to read it."""
UNLIMITED = TwsOptions(message_rate_limit=None, history_pacing=False, write_limit=UNSENT_LIMIT)
STRICT = TwsOptions(rate_mode="reject")
"""As IBKR's: what is above the message rate is refused, and the third time the connection ends."""
BID, ASK, LAST, VOLUME, OPEN = 1, 2, 4, 8, 14


class Remembering(SyntheticMarket):
    """The synthetic market, with its bars computed once: what is left of an answer is mostly the client's work."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._answers: dict[tuple[object, ...], list[Bar]] = {}
        self._whole: dict[tuple[object, ...], list[tuple[datetime, datetime, list[Bar]]]] = {}

    def bars(
        self, instrument: Instrument, start: datetime, end: datetime, size: BarSize, what: What, use_rth: bool
    ) -> list[Bar]:
        """See `MarketSource.bars`."""
        for known_start, known_end, bars in self._whole.get((instrument.con_id, size, what, use_rth), ()):
            if known_start <= start and end <= known_end:
                return [bar for bar in bars if start <= bar.start < end]
        key = (instrument.con_id, start, end, size, what, use_rth)
        if key not in self._answers:
            self._answers[key] = super().bars(instrument, start, end, size, what, use_rth)
        return self._answers[key]

    def compute(self, instrument: Instrument, start: datetime, end: datetime, size: BarSize, what: What) -> None:
        """Compute the bars of regular hours now; what is asked of them later is cut out of these."""
        bars = super().bars(instrument, start, end, size, what, True)
        self._whole.setdefault((instrument.con_id, size, what, True), []).append((start, end, bars))


class NotedRate(MessageRate):
    """The message rate rule, with the moment of every message it saw."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.times: list[float] = []

    def reject(self, now: float) -> bool:
        """See `MessageRate.reject`."""
        self.times.append(now)
        return super().reject(now)


class NotedHistory(HistoryPacing):
    """The history rules, with every request they saw: moment, contract, and which of the different ones it was."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float, int, int]] = []
        self.refused = 0
        self._names: dict[HistoryKey, int] = {}

    def admits(self, key: HistoryKey, now: float) -> bool:
        """See `HistoryPacing.admits`."""
        self.asked.append((now, key.con_id, self._names.setdefault(key, len(self._names))))
        admitted = super().admits(key, now)
        self.refused += not admitted
        return admitted


class Tools:
    """What the harness can ask of the gateway."""

    def __init__(self, gateway: PaperGateway, market: Remembering) -> None:
        self._gateway = gateway
        self._market = market
        self._flood = b""
        self._client = 0
        self._history = NotedHistory()
        self._rate = NotedRate(1)

    async def handle(self, command: str, args: dict[str, Any]) -> Any:
        """Do one command."""
        return getattr(self, f"do_{command}")(**args)

    def do_market(self, symbol: str) -> dict[str, Any]:
        """Bid and ask, and the bounds of the last whole session, as ISO times."""
        item = self._instrument(symbol)
        quote = self._gateway.exchange.quote(item)
        if quote is None or quote.bid is None or quote.ask is None:
            raise ValueError(f"no quote of {symbol}: the market is closed")
        start, end = self._session(item)
        return {
            "bid": str(quote.bid),
            "ask": str(quote.ask),
            "con_id": item.con_id,
            "session": [start.isoformat(), end.isoformat()],
        }

    def do_prepare(self, client_id: int, symbols: list[str], ticks: int, mark: float) -> dict[str, int]:
        """Encode `ticks` frames for the open lines of a client, round robin; the last one carries the price `mark`."""
        self._client = client_id
        lines = [self._request_id(client_id, self._instrument(symbol)) for symbol in symbols]
        rng = random.Random(SEED)
        frames = [encode_frame(_tick(lines[i % len(lines)], i // len(lines), rng)) for i in range(ticks - 1)]
        frames.append(encode_frame(["1", "6", str(lines[0]), str(OPEN), f"{mark}", "0", "1"]))
        self._flood = b"".join(frames)
        return {"frames": len(frames), "bytes": len(self._flood)}

    def do_flood(self) -> float:
        """Write what was prepared; the monotonic time of the first byte."""
        started = time.monotonic()
        self._gateway.flood(self._client, self._flood)
        return started

    def do_inject(self, kind: str, keys: dict[str, Any]) -> int:
        """Arm a fault; its number."""
        return self._gateway.inject(kind, **keys)

    def do_clear_faults(self) -> None:
        """End and disarm every fault."""
        self._gateway.faults.clear()

    def do_drop(self, client_id: int) -> float:
        """Cut a client's connection; the wall-clock time right before, seconds."""
        before = time.time()
        self._gateway.drop(client_id)
        return before

    def do_watch(self, client_id: int, symbols: list[str]) -> None:
        """Note every message and history request of a client from now on, and what its rules say to each.

        The bars of the last session are computed before: the gateway takes the moment at which it gets to a request for
        its arrival, and must not be busy with the one before.
        """
        for item in map(self._instrument, symbols):
            self._market.compute(item, *self._session(item), 30, "TRADES")
        server: Any = self._gateway.server
        self._history = server._hub.history = NotedHistory()
        self._rate = server.session(client_id).link._rate = NotedRate(STRICT.message_rate_limit or 0)

    def do_judgement(self) -> dict[str, Any]:
        """What `do_watch` noted."""
        return {
            "messages": self._rate.times,
            "breaches": self._rate.breaches,
            "history": self._history.asked,
            "refused": self._history.refused,
        }

    def _instrument(self, symbol: str) -> Instrument:
        book = self._gateway.server._hub.instruments
        query = ContractQuery(symbol=symbol, sec_type="STK", currency="USD", exchange="SMART")
        return book.resolve(query)[0]

    def _session(self, item: Instrument) -> tuple[datetime, datetime]:
        """Bounds of the last whole session."""
        return previous_session(item, session_date(item, self._gateway.clock.now())).bounds(use_rth=True)

    def _request_id(self, client_id: int, item: Instrument) -> int:
        for feed in self._gateway.server._hub.feeds.get(item.con_id, ()):
            if feed._session.client_id == client_id:
                return feed._target.request_id
        raise ValueError(f"client {client_id} has no market data line of {item.symbol}")


def _tick(request_id: int, number: int, rng: random.Random) -> list[str]:
    """One tick of the mix bid, ask, last, volume. No value repeats: nothing can be skipped as old news."""
    kind = (BID, ASK, LAST, VOLUME)[number % 4]
    if kind == VOLUME:
        return ["2", "6", str(request_id), str(VOLUME), str(1_000_000 + number)]
    price = 100 + (number % 1000) * 0.01 + rng.randrange(3) * 10
    size = 100 + number % 900
    return ["1", "6", str(request_id), str(kind), f"{price:.2f}", str(size), "1"]


async def main(options: TwsOptions) -> None:
    """Run until the harness ends."""
    market = Remembering(SEED)
    async with PaperGateway(market=market, seed=SEED, options=options, behavior=ExchangeBehavior.instant()) as gateway:
        await serve({"port": gateway.tws_port}, Tools(gateway, market).handle)


if __name__ == "__main__":
    asyncio.run(main(STRICT if "strict" in sys.argv[1:] else UNLIMITED))
