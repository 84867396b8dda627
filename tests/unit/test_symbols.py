"""Names people write mean the contracts they think."""

from __future__ import annotations

import pytest

from ibkr_connector.errors import InvalidRequest
from ibkr_connector.models.contract import Contract
from ibkr_connector.symbols import format_symbol, parse_symbol


@pytest.mark.parametrize(
    ("name", "contract"),
    [
        ("AAPL", Contract.stock("AAPL")),
        (" aapl ", Contract.stock("AAPL")),
        ("BRK B", Contract.stock("BRK B")),
        ("AAPL-STK", Contract.stock("AAPL")),
        ("AAPL-STK-SMART-USD", Contract.stock("AAPL")),
        ("SAP-STK-IBIS-EUR", Contract.stock("SAP", "IBIS", "EUR")),
        ("EUR.USD", Contract.forex("EUR.USD")),
        ("EUR/USD", Contract.forex("EUR.USD")),
        ("EUR.USD-CASH-IDEALPRO", Contract.forex("EUR.USD")),
        ("VIX-IND-CBOE", Contract.index("VIX", "CBOE")),
        ("SPY-CFD-SMART-USD", Contract(symbol="SPY", sec_type="CFD")),
        ("ES-202412-CME", Contract.future("ES", "202412", "CME")),
        ("ES-202412-GLOBEX", Contract.future("ES", "202412", "CME")),
        ("ES-FUT-CME-USD-202412", Contract.future("ES", "202412", "CME")),
        (
            "ES-202412-CME-USD-50",
            Contract(symbol="ES", sec_type="FUT", exchange="CME", expiry="202412", multiplier="50"),
        ),
        (
            "SPY-20241220-SMART-USD-500-C",
            Contract(symbol="SPY", sec_type="OPT", expiry="20241220", strike=500.0, right="C"),
        ),
        (
            "SPY-OPT-SMART-USD-20241220-500.5-PUT-100",
            Contract(symbol="SPY", sec_type="OPT", expiry="20241220", strike=500.5, right="P", multiplier="100"),
        ),
        (
            "ES-202412-CME-USD-4000.0-C",
            Contract(symbol="ES", sec_type="FOP", exchange="CME", expiry="202412", strike=4000.0, right="C"),
        ),
        (
            "ES-FOP-CME-USD-202412-4000-C",
            Contract(symbol="ES", sec_type="FOP", exchange="CME", expiry="202412", strike=4000.0, right="C"),
        ),
    ],
)
def test_name_is_read_and_written_back(name: str, contract: Contract) -> None:
    assert parse_symbol(name) == contract
    assert parse_symbol(format_symbol(contract)) == contract


def test_contract_passes_through() -> None:
    contract = Contract(con_id=265598)
    assert parse_symbol(contract) is contract


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "-",
        "AAPL-",
        "AAPL-XXX",
        "AAPL--SMART",
        "ES-202412",
        "ES-2024-CME",
        "SPY-20241220-SMART-USD-zero-C",
        "SPY-20241220-SMART-USD-500-X",
        "SPY-OPT-SMART-USD-20241220",
        "AAPL-STK-SMART-USD-1",
        "A" * 60,
        "DROP;TABLE",
        "AAPL\n",
        "AA\0PL",
        "ÄPFEL",
        "AAPL-STK-" + "X" * 10_000_000,
        "AAPL-STK-SM\0ART",
        "ES-２０２４１２-CME",
        "SPY-20241220-SMART-USD-5_00-C",
        "SPY-20241220-SMART-USD-１-C",
        "SPY-20241220-SMART-USD-" + "9" * 60 + "-C",
        None,
        5,
        b"AAPL",
        ["AAPL"],
    ],
)
def test_bad_name_says_what_is_legal(name: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_symbol(name)  # type: ignore[arg-type]
    assert caught.value.context["field"] == "symbol"
    assert caught.value.context["legal"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"symbol": 5}, "symbol"),
        ({"symbol": "A\0"}, "symbol"),
        ({"symbol": "A" * 10_000_000}, "symbol"),
        ({"symbol": "A", "exchange": ["SMART"]}, "exchange"),
        ({"symbol": "A", "currency": "é"}, "currency"),
        ({"symbol": "A", "expiry": None}, "expiry"),
        ({"con_id": -1}, "con_id"),
        ({"con_id": True}, "con_id"),
        ({"con_id": "265598"}, "con_id"),
        ({"con_id": 10**400}, "con_id"),
        ({"symbol": "A", "strike": float("nan")}, "strike"),
        ({"symbol": "A", "strike": "5"}, "strike"),
        ({"symbol": "A", "strike": 10**400}, "strike"),
        ({}, "contract"),
    ],
)
def test_a_contract_whose_field_cannot_be_sent_is_refused(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_symbol(Contract(**fields))  # type: ignore[arg-type]
    assert caught.value.context["field"] == named


@pytest.mark.parametrize("pair", ["EUR", "EURUSDX", "", "EU1.USD", None, 5])
def test_what_is_no_currency_pair_is_refused(pair: object) -> None:
    with pytest.raises(InvalidRequest):
        Contract.forex(pair)  # type: ignore[arg-type]
