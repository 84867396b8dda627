"""Long historical queries are made in pieces: the pieces give what one question gives, and others get their turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ibkr_connector.paper.instruments import Instrument, InstrumentBook
from ibkr_connector.paper.market import parse_market
from ibkr_connector.paper.market.base import Bar, BarSize
from ibkr_connector.paper.tws.history_job import HistoryJob, pieces

BOOK = InstrumentBook(lambda: date(2026, 4, 15))
END = datetime(2026, 4, 15, 17, 3, 20, tzinfo=UTC)


def item(symbol: str) -> Instrument:
    return next(each for each in BOOK if each.local_symbol == symbol)


@pytest.mark.parametrize("use_rth", [True, False])
@pytest.mark.parametrize(
    ("size", "back"),
    [
        (5, timedelta(minutes=70)),
        (30, timedelta(hours=4)),
        (60, timedelta(days=4)),
        (3600, timedelta(days=20)),
        (28800, timedelta(days=20)),
        ("day", timedelta(days=800)),
        ("week", timedelta(days=400)),
        ("month", timedelta(days=400)),
    ],
)
@pytest.mark.parametrize(("symbol", "what"), [("AAPL", "TRADES"), ("ESM6", "TRADES"), ("EUR.USD", "MIDPOINT")])
def test_pieces_put_together_are_what_one_question_gives(
    symbol: str, what: Any, size: BarSize, back: timedelta, use_rth: bool
) -> None:
    market, instrument = parse_market("synthetic", seed=3), item(symbol)
    start = END - back
    whole = market.bars(instrument, start, END, size, what, use_rth)
    parts = [bar for low, high in pieces(instrument, start, END, size) for bar in
             market.bars(instrument, low, high, size, what, use_rth)]  # fmt: skip
    assert parts == whole
    assert whole


class Loop:
    """A clock that passes a second with every look, and one pending call."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pending: list[Callable[[], None]] = []

    def time(self) -> float:
        self.now += 1.0
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.pending.append(callback)
        loop = self

        class Handle:
            def cancel(self) -> None:
                loop.pending.remove(callback)

        return Handle()


class Hub:
    def __init__(self) -> None:
        self.loop = Loop()
        self.market = parse_market("synthetic", seed=3)


def job(hub: Hub, done: Callable[[list[Bar]], None]) -> HistoryJob:
    span = (END - timedelta(days=7), END)
    return HistoryJob(hub, item("AAPL"), span, 3600, "TRADES", use_rth=True, done=done)  # type: ignore[arg-type]


def test_a_slow_query_yields_after_every_slice_and_ends_whole() -> None:
    hub, answers = Hub(), list[list[Bar]]()
    job(hub, answers.append).run()
    turns = 0
    while hub.loop.pending:
        assert not answers
        turns += 1
        hub.loop.pending.pop()()
    assert turns >= 4
    assert answers == [hub.market.bars(item("AAPL"), END - timedelta(days=7), END, 3600, "TRADES", use_rth=True)]


def test_a_cancelled_query_never_answers() -> None:
    hub, answers = Hub(), list[list[Bar]]()
    query = job(hub, answers.append)
    query.run()
    assert hub.loop.pending
    query.cancel()
    assert not hub.loop.pending
    assert not answers
