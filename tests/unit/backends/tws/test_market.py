"""Ticks become whole quotes: one per packet and changed line, with IBKR's "no value" marks taken out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from ibkr_connector.backends.tws.market import Line, LineTable
from ibkr_connector.errors import ConnectionLost, MarketDataLost, TradingError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote

NOW = datetime(2026, 4, 6, 14, 30, tzinfo=UTC)
AAPL = Contract(symbol="AAPL", con_id=265598)


class Desk:
    """A table with one line, and what came out of it."""

    def __init__(self, contract: Contract = AAPL) -> None:
        self.quotes: list[Quote] = []
        self.errors: list[Exception] = []
        self.table = LineTable(lambda: NOW)
        self.line = Line(7, contract, self.quotes.append, self.errors.append)
        self.table.open(self.line)


def test_a_packet_of_many_ticks_makes_one_quote_per_line() -> None:
    desk = Desk()
    desk.table.price_tick(7, 1, 100.25, 300)
    desk.table.size_tick(7, 0, 300)
    desk.table.price_tick(7, 2, 100.26, 200)
    desk.table.price_tick(7, 4, 100.26, 100)
    desk.table.size_tick(7, 8, 1_000)
    assert desk.quotes == []
    desk.table.flush()
    desk.table.flush()
    assert desk.quotes == [
        Quote(
            symbol="AAPL", con_id=265598, bid=100.25, ask=100.26, last=100.26, bid_size=300, ask_size=200,
            last_size=100, volume=1_000, at=NOW,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tick", "delayed", "field"),
    [
        (1, 66, "bid"), (2, 67, "ask"), (4, 68, "last"), (6, 72, "high"), (7, 73, "low"), (9, 75, "close"),
        (14, 76, "open"),
    ],
)  # fmt: skip
def test_every_price_tick_and_its_delayed_twin_reach_their_field(tick: int, delayed: int, field: str) -> None:
    for kind, is_delayed in ((tick, False), (delayed, True)):
        desk = Desk()
        desk.table.price_tick(7, kind, 12.5, 1)
        desk.table.flush()
        assert getattr(desk.quotes[0], field) == 12.5
        assert desk.quotes[0].delayed is is_delayed


@pytest.mark.parametrize(
    ("tick", "delayed", "field"),
    [(0, 69, "bid_size"), (3, 70, "ask_size"), (5, 71, "last_size"), (8, 74, "volume")],
)
def test_every_size_tick_and_its_delayed_twin_reach_their_field(tick: int, delayed: int, field: str) -> None:
    for kind in (tick, delayed):
        desk = Desk()
        desk.table.size_tick(7, kind, 400)
        desk.table.flush()
        assert getattr(desk.quotes[0], field) == 400


@pytest.mark.parametrize("nothing", [-1.0, 0.0])
def test_a_price_that_ibkr_marks_as_absent_is_none(nothing: float) -> None:
    desk = Desk()
    desk.table.price_tick(7, 1, 100.25, 300)
    desk.table.price_tick(7, 1, nothing, 0)
    desk.table.price_tick(7, 9, nothing, 0)
    desk.table.flush()
    assert desk.quotes[0].bid is None
    assert desk.quotes[0].close is None


def test_a_negative_futures_price_is_a_price() -> None:
    desk = Desk(Contract(symbol="CL", sec_type="FUT", con_id=1))
    desk.table.price_tick(7, 1, -37.63, 5)
    desk.table.price_tick(7, 2, -1.0, 5)
    desk.table.price_tick(7, 7, -40.32, 0)
    desk.table.flush()
    assert (desk.quotes[0].bid, desk.quotes[0].ask, desk.quotes[0].low) == (-37.63, -1.0, -40.32)


def test_a_repeated_size_makes_no_quote() -> None:
    desk = Desk()
    desk.table.price_tick(7, 1, 100.25, 300)
    desk.table.flush()
    desk.table.size_tick(7, 0, 300)
    desk.table.flush()
    assert len(desk.quotes) == 1


def test_a_halt_and_its_end_are_told() -> None:
    desk = Desk()
    for value in (2.0, 2.0, 0.0, -1.0):
        desk.table.generic_tick(7, 49, value)
        desk.table.flush()
    assert [quote.halted for quote in desk.quotes] == [True, False]


def test_rt_volume_carries_the_last_trade() -> None:
    desk = Desk()
    desk.table.string_tick(7, 48, "701.28;1;1348075471534;67854;701.46918464;true")
    desk.table.flush()
    desk.table.string_tick(7, 48, ";0;1348075471534;67854;701.46918464;true")
    desk.table.string_tick(7, 45, "1348075471")
    desk.table.flush()
    assert [(quote.last, quote.last_size) for quote in desk.quotes] == [(701.28, 1.0)]


def test_market_data_type_says_whether_a_line_is_delayed() -> None:
    desk = Desk()
    for kind, delayed in ((3, True), (4, True), (1, False), (2, False)):
        desk.table.kind(7, kind)
        assert desk.line.delayed is delayed


def test_ticks_of_unknown_lines_and_types_are_ignored() -> None:
    desk = Desk()
    desk.table.price_tick(8, 1, 1.0, 1)
    desk.table.size_tick(8, 0, 1)
    desk.table.generic_tick(8, 49, 1)
    desk.table.string_tick(8, 48, "1;1;1;1;1;true")
    desk.table.kind(8, 3)
    desk.table.snapshot_end(8)
    desk.table.price_tick(7, 37, 1.0, 1)
    desk.table.size_tick(7, 99, 1)
    desk.table.flush()
    assert desk.quotes == []


def test_a_sink_that_raises_takes_no_quote_from_the_others() -> None:
    desk = Desk()

    def broken(quote: Quote) -> None:
        raise RuntimeError("a bug in the caller")

    desk.table.close(7)
    desk.table.open(Line(8, AAPL, broken, desk.errors.append))
    desk.table.open(desk.line)
    for number in (8, 7):
        desk.table.price_tick(number, 1, 1.5, 1)
    desk.table.flush()
    assert [quote.bid for quote in desk.quotes] == [1.5]


def test_the_owner_of_a_line_hears_of_its_end_once() -> None:
    desk = Desk()
    error = MarketDataLost("gone")
    assert desk.table.fail(7, error)
    assert not desk.table.fail(7, error)
    assert desk.errors == [error]
    assert desk.table.close(7) is None


def test_an_error_handler_that_raises_does_not_stop_the_wire() -> None:
    def broken(error: Exception) -> None:
        raise RuntimeError("a bug in the caller")

    table = LineTable(lambda: NOW)
    table.open(Line(7, AAPL, lambda _quote: None, broken))
    assert table.fail(7, MarketDataLost("gone"))


async def test_a_snapshot_ends_early_when_it_is_whole() -> None:
    desk = Desk()
    line = Line(9, AAPL, None, None)
    line.done = asyncio.get_running_loop().create_future()
    desk.table.open(line)
    for tick in (1, 2, 4):
        desk.table.price_tick(9, tick, 10.0, 1)
        desk.table.flush()
        assert not line.done.done()
    desk.table.price_tick(9, 9, 10.0, 0)
    desk.table.flush()
    assert line.done.done()


async def test_a_snapshot_ends_with_the_gateways_marker_or_with_the_connection() -> None:
    def lost(what: str) -> TradingError:
        return ConnectionLost(what)

    desk = Desk()
    marked, cut, refused = (Line(number, AAPL, None, None) for number in (9, 10, 11))
    for line in (marked, cut, refused):
        line.done = asyncio.get_running_loop().create_future()
        desk.table.open(line)
    desk.table.snapshot_end(9)
    desk.table.fail(11, MarketDataLost("no"))
    desk.table.fail_snapshots(lost)
    assert marked.done is not None
    assert marked.done.done()
    with pytest.raises(ConnectionLost, match="snapshot of AAPL"):
        await cut.done  # type: ignore[misc]
    with pytest.raises(MarketDataLost):
        await refused.done  # type: ignore[misc]
