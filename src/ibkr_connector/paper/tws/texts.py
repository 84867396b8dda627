"""Error codes with the words real gateways use for them (logs and captures; the manual where it is the only source).

The quoted marker inside errors 321 and 322 is an obfuscated class name that differs from build to build.
"""

from __future__ import annotations

import re
from typing import Final

Error = tuple[int, str]

FARM_NOTICES: Final[tuple[Error, ...]] = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefnj"),
)

TOO_MANY_TICKERS: Final = (101, "Max number of tickers has been reached.")
NO_DEFINITION: Final = (200, "No security definition has been found for the request")
ALREADY_CONNECTED: Final = (501, "Already connected.")
NOT_CONNECTED: Final = (504, "Not connected")
ID_IN_USE: Final = (326, "Unable to connect as the client id is already in use. Retry with a unique client id.")
NOT_CLIENT_ZERO: Final = (
    327,
    "Only API connections with clientId set to 0 can set the auto bind TWS orders property.",
)
NO_MARKET_DATA: Final = (354, "Requested market data is not subscribed.")
SUBSCRIPTION_NEEDED: Final = (
    10089,
    (
        "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog "
        "for more details."
    ),
)
DELAYED_SHOWN: Final = (10167, "Requested market data is not subscribed. Displaying delayed market data.")
NO_DEPTH: Final = (10092, "Deep market data is not supported for this combination of security type/exchange")
NEWS_NOT_ALLOWED: Final = (10276, "News feed is not allowed.")
NO_FUNDAMENTALS: Final = (
    430,
    "We are sorry, but fundamentals data for the security specified is not available.",
)
_DATE_FORMS: Final = (
    "The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx where yyyymmdd "
    "and xx/xxxx are optional. E.g.: 20031126 15:59:00 US/Eastern  Note that there is a space between the date and "
    "time, and between the time and time-zone.  If no date is specified, current date is assumed. If no time-zone is "
    "specified, local time-zone is assumed(deprecated).  You can also provide yyyymmddd-hh:mm:ss time is in UTC. Note "
    "that there is a dash between the date and time in UTC notation."
)
INVALID_DATE: Final = (10314, f"End Date/Time: {_DATE_FORMS}")
_IMPLIED_ZONE: Final = (
    "Warning: You submitted request with date-time attributes without explicit time zone. Please switch to use "
    "yyyymmdd-hh:mm:ss in UTC or use instrument time zone, like US/Eastern. Implied time zone functionality will be "
    "removed in the next API release"
)
IMPLIED_ZONE: Final = (2174, _IMPLIED_ZONE)
NO_TICK_BY_TICK: Final = (10189, "Failed to request tick-by-tick data:No market data permissions for this request")
NO_HISTORICAL_TICKS: Final = (10187, "Failed to request historical ticks:No market data permissions for this request")


def unsupported_version(low: int, high: int, oldest: int, newest: int) -> Error:
    """Error 506, with what would work."""
    return (
        506,
        (
            f"Unsupported version. The client speaks server versions {low} to {high}, this gateway one of "
            f"{oldest} to {newest}."
        ),
    )


def too_many_clients(limit: int) -> Error:
    """Beyond the 32 clients of a TWS. IBKR documents the limit, not the code; the words are ours."""
    return (326, f"Unable to connect as the maximum of {limit} API clients is connected already.")


def unreadable(cause: str) -> Error:
    """Error 320: the message could not be parsed."""
    return (320, f"Error reading request. Unable to parse data: {cause}.")


def invalid(cause: str, marker: str = "bQ") -> Error:
    """Error 321: the request was read and makes no sense."""
    return (321, f"Error validating request.-'{marker}' : cause - {cause}")


def unprocessable(cause: str, marker: str = "bQ") -> Error:
    """Error 322: the request makes sense and cannot be served now."""
    return (322, f"Error processing request.-'{marker}' : cause - {cause}")


READ_ONLY: Final = invalid("The API interface is currently in Read-Only mode.", "bF")
SUMMARIES_EXCEEDED: Final = unprocessable(
    "Maximum number of account summary requests exceeded; desubscribe to previous request first", "b1"
)
DUPLICATE_TICKER: Final = unprocessable("Duplicate ticker id")
DUPLICATE_REQUEST: Final = unprocessable("Duplicate request id", "b1")
DUPLICATE_HISTORY: Final = unprocessable("Duplicate ticker ID for API historical data query", "bM")
TOO_MANY_QUERIES: Final = unprocessable("Only 50 simultaneous API historical data requests allowed.", "bM")
NOT_AN_ADVISOR: Final = invalid("FA data operations ignored for non FA customers.", "b9")


def unknown_ticker(request_id: int) -> Error:
    """Error 300: cancelling market data that is not there."""
    return (300, f"Can't find EId with tickerId:{request_id}")


def unknown_depth(request_id: int) -> Error:
    """Error 310: cancelling market depth that is not there."""
    return (310, f"Can't find the subscribed market depth with tickerId:{request_id}")


def unknown_history(request_id: int) -> Error:
    """Error 366: cancelling history that is not there."""
    return (366, f"No historical data query found for ticker id:{request_id}")


def history_service(cause: str) -> Error:
    """Error 162: what the historical data service said."""
    return (162, f"Historical Market Data Service error message:{cause}")


def real_time_query(cause: str) -> Error:
    """Error 420: what the service said about real-time bars."""
    return (420, f"Invalid Real-time Query:{cause}")


def ambiguous(symbol: str) -> Error:
    """Error 200 for a contract that several instruments match."""
    return (200, f"The contract description specified for {symbol} is ambiguous.")


def rate_exceeded(limit: int, received: int, breaches: int) -> Error:
    """Error 100 of a gateway that rejects messages above its rate."""
    return (
        100,
        f"Max rate of messages per second has been exceeded:max={limit} rec={received} ({breaches})",
    )


def order_rejected(reason: str) -> Error:
    """Error 201."""
    return (201, f"Order rejected - reason:{reason}")


PACING_VIOLATION: Final = "Historical data request pacing violation"
LEGAL_GENERIC_TICKS: Final = (
    "100(Option Volume),101(Option Open Interest),105(Average Opt Volume),106(impvolat),165(Misc. Stats),"
    "221/220(Creditman Mark Price),225(Auction),232/221(Pl Price),233(RTVolume),236(inventory),258/47(Fundamentals),"
    "292(Wide_news),293(TradeCount),294(TradeRate),295(VolumeRate),318(LastRTHTrade),375(RTTrdVolume),411(rthistvol),"
    "456/59(IBDividends),460(Bond Factor Multiplier),577(EtfNavLast),586(IPOHLDPRC),587(Pl Price Delayed),"
    "588(Futures Open Interest),595(Short-Term Volume X Mins),614(EtfNavMisc),619(Creditman Slow Mark Price),"
    "623(EtfFrozenNavLast)"
)
GENERIC_TICKS: Final = frozenset(int(text) for text in re.findall(r"(\d+)[/(]", LEGAL_GENERIC_TICKS)) | {104, 162, 256}
"""Generic tick numbers a market data request may name (and three older ones that are still taken)."""


def invalid_generic_ticks(wrong: str, sec_type: str) -> Error:
    """Error 321 for a list that names a generic tick nobody knows."""
    return invalid(f"Incorrect generic tick list of {wrong}.  Legal ones for ({sec_type}) are: {LEGAL_GENERIC_TICKS}")
