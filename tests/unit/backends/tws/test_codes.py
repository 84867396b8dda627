"""The table of codes: complete, consistent with the order side's own table, and careful."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from ibkr_connector import errors
from ibkr_connector.backends.facts import Operation
from ibkr_connector.backends.tws.codes import TABLE, Kind, classify, to_error

EXPECTED = {
    100: errors.PacingError, 101: errors.TooManyMarketDataLines, 102: errors.RequestRejected,
    103: errors.OrderRejected, 104: errors.ModifyRejected, 105: errors.ModifyRejected, 106: errors.OrderRejected,
    107: errors.OrderRejected, 109: errors.OrderRejected, 110: errors.PriceIncrementError,
    135: errors.OrderNotFound, 136: errors.OrderNotCancellable, 161: errors.OrderNotCancellable,
    162: errors.HistoricalDataError, 165: errors.HistoricalDataError, 200: errors.ContractNotFound,
    201: errors.OrderRejected, 202: errors.OrderCancelled, 203: errors.OrderRejected, 300: errors.RequestRejected,
    309: errors.TooManyMarketDataLines, 317: errors.MarketDataLost, 320: errors.RequestRejected,
    321: errors.RequestRejected, 322: errors.RequestRejected, 326: errors.ClientIdInUse, 327: errors.RequestRejected,
    354: errors.MarketDataNotSubscribed, 366: errors.HistoricalDataError, 382: errors.OrderRejected,
    386: errors.RequestRejected, 399: errors.OrderRejected, 404: errors.OrderRejected, 420: errors.MarketDataError,
    430: errors.NoMarketData, 434: errors.OrderRejected, 460: errors.OrderRejected, 501: errors.IBKRConnectionError,
    502: errors.ConnectionRefused, 503: errors.UnsupportedServerVersion, 504: errors.NotConnected,
    506: errors.UnsupportedServerVersion, 507: errors.ConnectionLost, 508: errors.ProtocolError,
    1100: errors.BrokerLinkLost, 1101: errors.BrokerLinkLost, 1102: errors.BrokerLinkLost, 1300: errors.ConnectionLost,
    2100: errors.IBKRError, 2101: errors.IBKRError, 2102: errors.ModifyRejected, 2103: errors.MarketDataLost,
    2104: errors.MarketDataLost, 2105: errors.MarketDataLost, 2106: errors.MarketDataLost,
    2107: errors.MarketDataLost, 2108: errors.MarketDataLost, 2109: errors.OrderRejected, 2110: errors.BrokerLinkLost,
    2119: errors.MarketDataLost, 2157: errors.MarketDataLost, 2158: errors.MarketDataLost,
    10089: errors.MarketDataNotSubscribed, 10090: errors.MarketDataNotSubscribed,
    10091: errors.MarketDataNotSubscribed, 10092: errors.MarketDataError, 10147: errors.OrderNotFound,
    10148: errors.OrderNotCancellable, 10167: errors.MarketDataNotSubscribed, 10168: errors.MarketDataNotSubscribed,
    10182: errors.MarketDataLost, 10187: errors.HistoricalDataError, 10189: errors.MarketDataError,
    10190: errors.TooManyMarketDataLines, 10197: errors.MarketDataLost, 10225: errors.MarketDataLost,
    10276: errors.MarketDataNotSubscribed, 10318: errors.OrderRejected, 10349: errors.OrderRejected,
}  # fmt: skip
"""Every code that a gateway is known to send, and its class."""


@pytest.mark.parametrize(("code", "error"), EXPECTED.items())
def test_every_known_code_has_its_error_class(code: int, error: type[errors.TradingError]) -> None:
    assert code in TABLE, f"{code} is not in the table"
    assert classify(code).error is error
    raised = to_error(code, "what the gateway said")
    assert raised.code == code
    assert "what the gateway said" in str(raised)
    assert raised.remedy


@pytest.mark.shared
def test_no_code_of_the_collected_facts_is_missing(shared_dir: Path) -> None:
    text = (shared_dir / "facts" / "tws.md").read_text(encoding="utf-8")
    section = text[text.index("## 2. ") : text.index("## 3. ")]
    told: set[int] = set()
    for first_column in re.findall(r"^\| ([\d/-]+) \|", section, re.MULTILINE):
        for part in first_column.split("/"):
            low, _, high = part.partition("-")
            told.update(range(int(low), int(high or low) + 1))
    assert len(told) > 60
    assert sorted(told - set(TABLE)) == []


def test_every_row_says_what_it_means_and_where_that_is_from() -> None:
    known = {cls for _, cls in inspect.getmembers(errors, inspect.isclass)}
    for code, row in TABLE.items():
        assert row.code == code
        assert row.meaning, code
        assert row.source, code
        assert row.error in known


def test_codes_that_end_nothing_never_end_a_request_or_an_order() -> None:
    # Both client libraries end live orders on some of these.
    for code in (165, 300, 366, 399, 404, 492, 2100, 2109, 2150, 10090, 10091, 10167, 10349):
        assert not classify(code).ends_request, code


@pytest.mark.parametrize("code", [1100, 1101, 1102, 1300, 2103, 2104, 2105, 2106, 2107, 2108, 2110, 2119, 2157, 2158])
def test_news_of_link_and_farms_ends_no_request(code: int) -> None:
    assert classify(code).kind in (Kind.LINK, Kind.FARM)
    assert not classify(code).ends_request


@pytest.mark.parametrize(
    ("code", "text", "error"),
    [
        (162, "...:HMDS query returned no data: AAPL@SMART Trades", errors.NoMarketData),
        (162, "...:Historical data request pacing violation", errors.PacingError),
        (162, "...:API historical data query cancelled: 5", errors.HistoricalDataError),
        (162, "...:No market data permissions for ISLAND STK", errors.MarketDataNotSubscribed),
        (162, "...:Trading TWS session is connected from a different IP address", errors.MarketDataLost),
        (162, "...:Request Timed Out", errors.HistoricalDataError),
        (200, "The contract description specified for X is ambiguous.", errors.AmbiguousContract),
        (201, "Order rejected - reason:Initial Margin Requirement exceeded", errors.InsufficientFunds),
        (201, "Order rejected - reason:No Trading Permission", errors.OrderRejected),
        (321, "...-'bF' : cause - The API interface is currently in Read-Only mode.", errors.ReadOnlyApi),
        (321, "Error validating request.-'bF' : cause - Invalid order type was entered", errors.RequestRejected),
        (322, "-'b1' : cause - Maximum number of account summary requests exceeded; desubscribe", errors.PacingError),
        (322, "Error processing request.-'bQ' : cause - Duplicate ticker id", errors.RequestRejected),
        (420, "Invalid Real-time Query:Historical data request pacing violation", errors.PacingError),
        (420, "Invalid Real-time Query:No market data permissions for ISLAND STK.", errors.MarketDataNotSubscribed),
    ],
)  # fmt: skip
def test_codes_with_several_meanings_split_by_their_text(code: int, text: str, error: type[Exception]) -> None:
    assert type(to_error(code, text)) is error


def test_a_200_during_an_outage_is_no_proof_that_the_contract_does_not_exist() -> None:
    text = "No security definition has been found for the request"
    assert type(to_error(200, text, link_up=False)) is errors.BrokerLinkLost
    assert type(to_error(200, text, link_up=True)) is errors.ContractNotFound


@pytest.mark.parametrize(
    ("code", "operation", "error"),
    [
        (201, Operation.NEW, errors.OrderRejected),
        (201, Operation.MODIFY, errors.ModifyRejected),
        (201, Operation.CANCEL, errors.OrderNotCancellable),
        (202, Operation.MODIFY, errors.OrderCancelled),
        (321, Operation.NEW, errors.OrderRejected),
        (200, Operation.NEW, errors.OrderRejected),
        (110, Operation.NEW, errors.PriceIncrementError),
        (110, Operation.MODIFY, errors.ModifyRejected),
        (10147, Operation.CANCEL, errors.OrderNotFound),
    ],
)
def test_a_refusal_is_told_as_what_was_refused(code: int, operation: Operation, error: type[Exception]) -> None:
    assert type(to_error(code, "no", operation=operation)) is error


def test_a_read_only_gateway_is_named_whatever_was_asked() -> None:
    text = "cause - The API interface is currently in Read-Only mode."
    for operation in (None, *Operation):
        assert type(to_error(321, text, operation=operation)) is errors.ReadOnlyApi


def test_an_unknown_code_ends_a_request_and_no_order() -> None:
    row = classify(77_777, "something new")
    assert row.ends_request
    assert type(to_error(77_777, "something new", what="bars of X")) is errors.IBKRError
    assert "bars of X: something new." in str(to_error(77_777, "something new", what="bars of X"))
    assert not classify(2188).ends_request
