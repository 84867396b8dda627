"""Session messages: errors and notices, accounts and ids at start, time, and the small answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from . import versions
from .wire import epoch, number

Fields = list[str]

_NO_SCANS = (
    '<?xml version="1.0" encoding="UTF-8"?><ScanParameterResponse><InstrumentList varName="instrumentList"/>'
    '<LocationTree varName="locationTree"/><ScanTypeList varName="scanTypeList"/></ScanParameterResponse>'
)

SYSTEM = -1
"""The id of messages that belong to no request."""


def error(version: int, request_id: int, code: int, text: str, advanced_json: str = "") -> Fields:
    """Message 4, error. ibapi 9.81 drops the message if the JSON field, which came with 166, is there."""
    fields = ["4", "2", str(request_id), str(code), text]
    return [*fields, advanced_json] if version >= versions.ADVANCED_ORDER_REJECT else fields


def managed_accounts(accounts: Sequence[str]) -> Fields:
    """Message 15, managedAccounts."""
    return ["15", "1", ",".join(accounts)]


def next_valid_id(order_id: int) -> Fields:
    """Message 9, nextValidId."""
    return ["9", "1", str(order_id)]


def current_time(at: datetime) -> Fields:
    """Message 49, currentTime: market time, whole seconds."""
    return ["49", "1", epoch(at)]


def news_providers(providers: Sequence[tuple[str, str]]) -> Fields:
    """Message 85, newsProviders."""
    return ["85", str(len(providers)), *(text for provider in providers for text in provider)]


def user_info(request_id: int, white_branding_id: str = "") -> Fields:
    """Message 107, userInfo."""
    return ["107", str(request_id), white_branding_id]


def market_rule(rule_id: int, increments: Iterable[tuple[Decimal, Decimal]]) -> Fields:
    """Message 93, marketRule: price increments, each from its low edge upwards."""
    steps = list(increments)
    return ["93", str(rule_id), str(len(steps)), *(number(value) for step in steps for value in step)]


def soft_dollar_tiers(request_id: int) -> Fields:
    """Message 77, softDollarTiers: none."""
    return ["77", str(request_id), "0"]


def family_codes(accounts: Sequence[str]) -> Fields:
    """Message 78, familyCodes: every account, in no family."""
    return ["78", str(len(accounts)), *(text for account in accounts for text in (account, ""))]


def display_group_list(request_id: int) -> Fields:
    """Message 67, displayGroupList: the seven colour groups every TWS has."""
    return ["67", "1", str(request_id), "1|2|3|4|5|6|7"]


def display_group_updated(request_id: int, contract_info: str) -> Fields:
    """Message 68, displayGroupUpdated."""
    return ["68", "1", str(request_id), contract_info]


def scanner_parameters() -> Fields:
    """Message 19, scannerParameters: a valid document that offers no scans."""
    return ["19", "1", _NO_SCANS]


def depth_exchanges() -> Fields:
    """Message 80, mktDepthExchanges: none, the gateway has no books."""
    return ["80", "0"]


def smart_components(request_id: int, components: Sequence[tuple[int, str, str]]) -> Fields:
    """Message 82, smartComponents: bit number, exchange and its letter."""
    rows = [text for bit, exchange, letter in components for text in (str(bit), exchange, letter)]
    return ["82", str(request_id), str(len(components)), *rows]
