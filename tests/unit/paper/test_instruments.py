"""The instruments: real identifiers, and how a client's partial contract finds them."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.paper.instruments import (
    MAX_MATCHES,
    ContractQuery,
    Instrument,
    InstrumentBook,
    canonical_exchange,
)


@pytest.fixture
def book() -> InstrumentBook:
    return InstrumentBook(lambda: date(2026, 11, 20))


def stock(symbol: str, **fields: str) -> ContractQuery:
    return ContractQuery(**({"symbol": symbol, "sec_type": "STK", "currency": "USD", "exchange": "SMART"} | fields))  # type: ignore[arg-type]


def names(found: list[Instrument]) -> list[str]:
    return [item.local_symbol for item in found]


@pytest.mark.parametrize(
    ("symbol", "con_id"),
    [
        ("AAPL", 265598),
        ("MSFT", 272093),
        ("SPY", 756733),
        ("QQQ", 320227571),
        ("IWM", 9579970),
        ("IBM", 8314),
        ("BAC", 10098),
        ("AIG", 61319701),
        ("GOOG", 208813720),
        ("GOOGL", 208813719),
        ("AMZN", 3691937),
        ("NVDA", 4815747),
        ("TSLA", 76792991),
        ("META", 107113386),
    ],
)
def test_stocks_have_their_real_con_ids(book: InstrumentBook, symbol: str, con_id: int) -> None:
    (found,) = book.resolve(stock(symbol))
    assert found.con_id == con_id
    assert book.by_con_id(con_id) == found


@pytest.mark.parametrize(
    ("pair", "con_id"),
    [("EUR.USD", 12087792), ("GBP.USD", 12087797), ("USD.JPY", 15016059), ("AUD.USD", 14433401), ("USD.CAD", 15016062)],
)
def test_pairs_have_their_real_con_ids(book: InstrumentBook, pair: str, con_id: int) -> None:
    symbol, currency = pair.split(".")
    query = ContractQuery(symbol=symbol, sec_type="CASH", currency=currency, exchange="IDEALPRO")
    (found,) = book.resolve(query)
    assert (found.con_id, found.local_symbol) == (con_id, pair)


def test_there_is_enough_to_trade(book: InstrumentBook) -> None:
    kinds = [item.sec_type for item in book]
    assert kinds.count("STK") >= 40
    assert kinds.count("CASH") >= 7
    assert kinds.count("FUT") == 5
    ids = [item.con_id for item in book]
    assert len(ids) == len(set(ids))


def test_every_isin_has_its_check_digit(book: InstrumentBook) -> None:
    for item in book:
        if not item.isin:
            continue
        digits = "".join(str(int(character, 36)) for character in item.isin)
        doubled = [int(d) * (2 if place % 2 else 1) for place, d in enumerate(reversed(digits))]
        assert sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0, item


def test_every_instrument_is_complete(book: InstrumentBook) -> None:
    for item in book:
        rules = item.market_rule_ids.split(",")
        assert len(rules) == len(item.valid_exchanges.split(",")), item
        assert item.exchange in item.valid_exchanges.split(","), item
        increments = book.price_increments(int(rules[0]))
        assert increments[0] == (Decimal(0), item.min_tick), item
        assert item.reference_price % item.min_tick == 0, item
        assert item.long_name
        assert item.market_name


@pytest.mark.shared
def test_apple_is_described_as_a_real_gateway_does(book: InstrumentBook, shared_dir: Path) -> None:
    captured = json.loads((shared_dir / "fixtures/tws/captured_messages_sv200.json").read_text(encoding="utf-8"))
    fields = captured["messages"]["ContractDetails"]
    (apple,) = book.resolve(stock("AAPL"))
    ours = [
        apple.symbol,
        apple.sec_type,
        apple.exchange,
        apple.currency,
        apple.local_symbol,
        apple.market_name,
        apple.trading_class,
        str(apple.con_id),
        str(apple.min_tick),
        apple.long_name,
        apple.primary_exchange,
        apple.industry,
        apple.category,
        apple.subcategory,
        apple.tz_id,
        apple.isin,
        str(apple.agg_group),
        apple.stock_type,
        str(apple.min_size),
        str(apple.size_increment),
        str(apple.suggested_size),
    ]
    missing = [value for value in ours if value not in fields]
    assert missing == []
    real_types = set(next(f for f in fields if "STPLMT" in f).split(","))
    real_exchanges = set(next(f for f in fields if f.startswith("SMART,")).split(","))
    assert set(apple.order_types.split(",")) <= real_types | {"ALLOC", "SCALE"}
    assert set(apple.valid_exchanges.split(",")) <= real_exchanges


def test_con_id_decides_alone(book: InstrumentBook) -> None:
    assert names(book.resolve(ContractQuery(con_id=756733))) == ["SPY"]
    assert names(book.resolve(ContractQuery(con_id=756733, symbol="WRONG", exchange="ARCA"))) == ["SPY"]
    assert book.resolve(ContractQuery(con_id=756733, exchange="IDEALPRO")) == []
    assert book.resolve(ContractQuery(con_id=1)) == []


@pytest.mark.parametrize("exchange", ["SMART", "NASDAQ", "ISLAND", "NYSE", "ARCA", ""])
def test_stock_is_found_on_any_exchange_it_trades_on(book: InstrumentBook, exchange: str) -> None:
    assert names(book.resolve(stock("AAPL", exchange=exchange))) == ["AAPL"]


@pytest.mark.parametrize(
    "query",
    [
        stock("NOSUCH"),
        stock("AAPL", exchange="IDEALPRO"),
        stock("AAPL", exchange="NOWHERE"),
        stock("AAPL", currency="EUR"),
        stock("AAPL", primary_exchange="NYSE"),
        stock("AAPL", sec_type="OPT"),
        stock("AAPL", sec_type=""),
        stock("AAPL", local_symbol="MSFT"),
        ContractQuery(sec_type="STK", currency="USD"),
        ContractQuery(symbol="EUR", sec_type="CASH", currency="USD", exchange="SMART"),
        ContractQuery(symbol="EUR", sec_type="CASH", currency="XXX", exchange="IDEALPRO"),
        ContractQuery(symbol="ES", sec_type="FUT", exchange="GLOBEX"),
        ContractQuery(symbol="NQ", sec_type="FUT", exchange="CME"),
        ContractQuery(symbol="ES", sec_type="FUT", exchange="CME", expiry="202611"),
        ContractQuery(symbol="ES", sec_type="FUT", exchange="CME", expiry="203512"),
        ContractQuery(symbol="ES", sec_type="FUT", exchange="CME", expiry="202612", multiplier="5"),
        ContractQuery(sec_id_type="CUSIP", sec_id="037833100"),
        ContractQuery(sec_id_type="ISIN", sec_id="US0000000000"),
    ],
)
def test_what_does_not_exist_resolves_to_nothing(book: InstrumentBook, query: ContractQuery) -> None:
    assert book.resolve(query) == []


def test_isin_finds_the_stock(book: InstrumentBook) -> None:
    assert names(book.resolve(ContractQuery(sec_id_type="ISIN", sec_id="US0378331005", exchange="SMART"))) == ["AAPL"]


def test_future_without_expiry_is_ambiguous_and_with_expiry_is_one(book: InstrumentBook) -> None:
    query = ContractQuery(symbol="ES", sec_type="FUT", exchange="CME", currency="USD")
    assert names(book.resolve(query)) == ["ESZ6", "ESH7", "ESM7", "ESU7", "ESZ7"]
    for found in (
        ContractQuery(symbol="ES", sec_type="FUT", exchange="CME", expiry="202612"),
        ContractQuery(symbol="ES", sec_type="FUT", exchange="CME", expiry="20261218", multiplier="50"),
        ContractQuery(local_symbol="ESZ6", sec_type="FUT", exchange="CME"),
    ):
        assert [item.con_id for item in book.resolve(found)] == [515416632]


def test_expired_futures_are_found_only_when_asked_for(book: InstrumentBook) -> None:
    query = {"symbol": "ES", "sec_type": "FUT", "exchange": "CME", "expiry": "202509"}
    assert book.resolve(ContractQuery(**query)) == []  # type: ignore[arg-type]
    (found,) = book.resolve(ContractQuery(include_expired=True, **query))  # type: ignore[arg-type]
    assert (found.con_id, found.expiry) == (637533641, "20250919")
    assert book.by_con_id(637533641) == found
    everything = book.resolve(ContractQuery(symbol="ES", sec_type="FUT", include_expired=True))
    assert names(everything)[:2] == ["ESZ4", "ESH5"]
    assert len(everything) == 13


def test_futures_roll_with_the_market_date() -> None:
    today = date(2026, 12, 18)
    book = InstrumentBook(lambda: today)
    query = ContractQuery(symbol="ES", sec_type="FUT")
    assert names(book.resolve(query))[0] == "ESZ6"
    today = date(2026, 12, 19)
    assert names(book.resolve(query))[0] == "ESH7"


@pytest.mark.parametrize(
    ("month", "expiry"),
    [("202606", "20260618"), ("202609", "20260918"), ("201312", "20131220"), ("202803", "20280317")],
)
def test_futures_expire_on_the_third_friday_or_before_a_holiday(month: str, expiry: str) -> None:
    book = InstrumentBook(lambda: date(int(month[:4]), int(month[4:]), 1))
    (found,) = book.resolve(ContractQuery(symbol="ES", sec_type="FUT", expiry=month))
    assert found.expiry == expiry
    assert found.last_trade_date_time == f"{expiry} 08:30:00 US/Central"


def test_unknown_futures_get_reserved_ids_that_lead_back_to_them(book: InstrumentBook) -> None:
    (found,) = book.resolve(ContractQuery(symbol="ES", sec_type="FUT", expiry="202703"))
    assert found.con_id == 2_100_202_703
    assert book.by_con_id(found.con_id) == found
    assert book.by_con_id(2_100_202_609) is None  # that month has its real id
    assert book.by_con_id(2_100_202_701) is None  # no quarter


def test_search_puts_the_exact_symbol_first_and_finds_names(book: InstrumentBook) -> None:
    assert names(book.search("c"))[0] == "C"
    assert "AAPL" in names(book.search("apple"))
    assert names(book.search("EUR"))[0].startswith("EUR")
    assert book.search("  ") == []
    assert book.search("zzzz") == []
    assert len(book.search("a")) == MAX_MATCHES


def test_an_unknown_rule_has_no_increments(book: InstrumentBook) -> None:
    assert book.price_increments(1) == []
    assert book.price_increments(239) == [(Decimal(0), Decimal("0.00005"))]


def test_instruments_are_equal_by_con_id(book: InstrumentBook) -> None:
    spy, again = book.by_con_id(756733), InstrumentBook(lambda: date(2013, 10, 7)).by_con_id(756733)
    assert spy == again
    assert hash(spy) == hash(again)
    assert spy != book.by_con_id(8314)
    assert repr(spy) == "<Instrument 756733 SPY STK SMART USD>"


def test_the_old_name_of_nasdaq_is_understood() -> None:
    assert canonical_exchange("island") == "NASDAQ"
