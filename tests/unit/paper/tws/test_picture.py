"""Ticks: only what changed, in the gateway's order, with the tick types of live and delayed data."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.instruments import InstrumentBook
from ibkr_connector.paper.tws.layouts_market import Target
from ibkr_connector.paper.tws.picture import Picture, ticks

BOOK = InstrumentBook(lambda: date(2026, 4, 15))
AT = datetime(2026, 4, 15, 17, tzinfo=UTC)
FULL = Picture(
    bid=Decimal("254.19"),
    bid_size=Decimal(300),
    ask=Decimal("254.20"),
    ask_size=Decimal(250),
    last=Decimal("254.2"),
    last_size=Decimal(10),
    last_at=AT,
    open=Decimal(250),
    high=Decimal(255),
    low=Decimal(249),
    close=Decimal(251),
    volume=Decimal(1_234_567),
)


def target(version: int = 178, symbol: str = "AAPL") -> Target:
    [item] = [each for each in BOOK if each.local_symbol == symbol]
    return Target(version, 9, item)


def test_the_first_picture_is_told_whole_with_sizes_after_prices() -> None:
    assert ticks(target(), None, FULL) == [
        ["1", "6", "9", "1", "254.19", "300", "1"],
        ["2", "6", "9", "0", "300"],
        ["1", "6", "9", "2", "254.2", "250", "1"],
        ["2", "6", "9", "3", "250"],
        ["1", "6", "9", "4", "254.2", "10", "0"],
        ["2", "6", "9", "5", "10"],
        ["46", "6", "9", "45", str(int(AT.timestamp()))],
        ["2", "6", "9", "8", "1234567"],
        ["1", "6", "9", "6", "255", "0", "0"],
        ["1", "6", "9", "7", "249", "0", "0"],
        ["1", "6", "9", "9", "251", "0", "0"],
        ["1", "6", "9", "14", "250", "0", "0"],
    ]


def test_nothing_is_said_when_nothing_changed() -> None:
    assert ticks(target(), FULL, replace(FULL)) == []


def test_a_new_size_alone_is_one_tick() -> None:
    assert ticks(target(), FULL, replace(FULL, ask_size=Decimal(260))) == [["2", "6", "9", "3", "260"]]


def test_a_side_that_goes_away_is_minus_one_and_comes_back() -> None:
    gone = replace(FULL, bid=None, bid_size=Decimal(0))
    assert ticks(target(), FULL, gone) == [["1", "6", "9", "1", "-1.0", "0", "1"], ["2", "6", "9", "0", "0"]]
    assert ticks(target(), gone, gone) == []
    assert ticks(target(), gone, FULL)[0] == ["1", "6", "9", "1", "254.19", "300", "1"]


def test_delayed_data_has_its_own_tick_types() -> None:
    kinds = [message[3] for message in ticks(target(), None, FULL, delayed=True)]
    assert kinds == ["66", "69", "67", "70", "68", "71", "88", "74", "72", "73", "75", "76"]


def test_before_version_159_us_stocks_count_in_lots_and_nothing_has_decimals() -> None:
    messages = ticks(target(157), None, replace(FULL, bid_size=Decimal("350.5"), volume=Decimal(99)))
    assert messages[0][5] == "3"
    assert messages[1] == ["2", "6", "9", "0", "3"]
    assert ["2", "6", "9", "8", "0"] in messages
    currency = ticks(target(157, "EUR.USD"), None, replace(FULL, bid_size=Decimal("1500000.5")))
    assert currency[1] == ["2", "6", "9", "0", "1500000"]


sizes = st.integers(0, 3).map(Decimal)
prices = st.one_of(st.none(), st.integers(1, 3).map(Decimal))
pictures = st.builds(
    Picture, bid=prices, bid_size=sizes, ask=prices, ask_size=sizes, last=prices, last_size=sizes, volume=sizes
)


@given(st.lists(pictures, min_size=1, max_size=8))
def test_a_client_that_hears_only_the_changes_knows_the_last_picture(shown: list[Picture]) -> None:
    known: dict[str, str] = {}
    old: Picture | None = None
    for picture in shown:
        for message in ticks(target(), old, picture):
            known[message[3]] = message[4]
        old = picture
    final = shown[-1]
    for kind, price in (("1", final.bid), ("2", final.ask)):
        assert known[kind] == ("-1.0" if price is None else str(price))
    for kind, price, size in (("0", final.bid, final.bid_size), ("3", final.ask, final.ask_size)):
        assert known[kind] == ("0" if price is None else str(size))
    if final.last is not None:
        assert (known["4"], known["5"]) == (str(final.last), str(final.last_size))


@pytest.mark.parametrize("field", ["bid", "ask", "last", "open", "high", "low", "close"])
def test_every_price_is_told_when_it_changes(field: str) -> None:
    changed = replace(FULL, **{field: Decimal("260.01")})  # type: ignore[arg-type]
    assert [message[4] for message in ticks(target(), FULL, changed) if message[0] == "1"] == ["260.01"]
