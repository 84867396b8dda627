"""The names fault plans give to what goes over the wire: requests, replies, and where the id of each stands."""

from __future__ import annotations

from typing import Final

ANY: Final = "any"
"""Every request."""
CONNECT: Final = "connect"
"""A client that has introduced itself and is about to be greeted."""
FILL: Final = "fill"
"""An execution at the exchange, whether or not its client is connected."""
PLACE: Final = "place_order"
"""An order under an id the gateway has not seen from this client."""
MODIFY: Final = "modify_order"
"""An order under the id of an earlier one."""
WHAT_IF: Final = "what_if"
CANCEL: Final = "cancel_order"
GLOBAL_CANCEL: Final = "global_cancel"
CANCEL_HISTORY: Final = "cancel_history"

REQUEST_NAMES: Final[dict[int, str]] = {
    1: "market_data", 2: "cancel_market_data", 3: PLACE, 4: CANCEL, 5: "open_orders", 6: "account_updates",
    7: "executions", 8: "next_id", 9: "contract_details", 10: "depth", 11: "cancel_depth", 15: "auto_open_orders",
    16: "all_open_orders", 17: "managed_accounts", 20: "history", 25: CANCEL_HISTORY, 49: "current_time",
    50: "real_time_bars", 51: "cancel_real_time_bars", 58: GLOBAL_CANCEL, 59: "market_data_type", 61: "positions",
    62: "account_summary", 63: "cancel_account_summary", 64: "cancel_positions", 71: CONNECT, 74: "positions_multi",
    75: "cancel_positions_multi", 76: "account_updates_multi", 77: "cancel_account_updates_multi",
    78: "option_parameters", 81: "matching_symbols", 83: "smart_components", 87: "head_timestamp", 91: "market_rule",
    92: "pnl", 93: "cancel_pnl", 94: "pnl_single", 95: "cancel_pnl_single", 99: "completed_orders",
}  # fmt: skip
"""Message number -> name. A request that is not listed is called `request_<number>`."""

REPLY_NAMES: Final[dict[int, str]] = {
    1: "tick_price", 2: "tick_size", 3: "order_status", 4: "error", 5: "open_order", 6: "account_value",
    7: "portfolio_value", 8: "account_time", 9: "next_valid_id", 10: "contract_data", 11: "exec_details",
    15: "managed_accounts_reply", 17: "historical_data", 21: "tick_option", 45: "tick_generic", 46: "tick_string",
    49: "current_time_reply", 50: "real_time_bar", 52: "contract_data_end", 53: "open_order_end",
    54: "account_download_end", 55: "executions_end", 57: "snapshot_end", 58: "market_data_type_reply",
    59: "commission_report", 61: "position", 62: "position_end", 63: "account_summary_row", 64: "account_summary_end",
    71: "position_multi", 72: "position_multi_end", 73: "account_update_multi", 74: "account_update_multi_end",
    75: "option_parameter", 76: "option_parameters_end", 79: "symbol_samples", 81: "tick_parameters",
    88: "head_timestamp_reply", 90: "historical_data_update", 93: "market_rule_reply", 94: "pnl_reply",
    95: "pnl_single_reply", 101: "completed_order", 102: "completed_orders_end", 106: "historical_schedule",
}  # fmt: skip
"""Message number -> name. A reply that is not listed is called `reply_<number>`."""

REPLY: Final = "reply"
"""The answer to a question about an order, over the Web API."""
WEB_SOCKET: Final = "web_socket"
"""Opening a websocket."""
WEB_REQUESTS: Final = frozenset(
    {
        PLACE, MODIFY, CANCEL, WHAT_IF, "open_orders", "executions", "positions", "history", "pnl", "account_summary",
        "contract_details", "accounts", "alert", "alert_activate", "alert_create", "alert_delete", "alerts",
        "allocation", "auth_status", "bond_filters", "combo_positions", "contract_algos", "contract_rules",
        "currency_pairs", "dynamic_account", "exchange_rate", "fyi", "hmds_history", "hmds_init", "hmds_scanner",
        "ledger", "live_session_token", "logout", "mta_alert", "notification", "order_state", "pa_allperiods",
        "pa_performance", "pa_summary", "pa_transactions", "portfolio_accounts", "portfolio_meta",
        "portfolio_subaccounts", "portfolio_summary", "positions_invalidate", "reauthenticate",
        "regulatory_snapshot", "reply", "scanner_params", "scanner_run", "search_account", "secdef_info",
        "secdef_search", "secdef_strikes", "session_init", "signatures", "snapshot", "suppress", "suppress_reset",
        "switch_account", "tickle", "trading_schedule", "trsrv_all_conids", "trsrv_futures", "trsrv_secdef",
        "trsrv_stocks", "unsubscribe", "unsubscribe_all", "validate", "watchlist", "watchlist_create",
        "watchlist_delete", "watchlists", WEB_SOCKET,
    }
)  # fmt: skip
"""Requests of the Web API. Those that mean the same as one of the socket have its name."""
REQUESTS: Final = frozenset({*REQUEST_NAMES.values(), *WEB_REQUESTS, MODIFY, WHAT_IF, ANY})
REPLIES: Final = frozenset(REPLY_NAMES.values())
ORDER_REQUESTS: Final = frozenset({PLACE, MODIFY, CANCEL})
"""Requests whose id is an order id and that are answered by what happens to the order."""
ORDER_REPLIES: Final = frozenset({"open_order", "order_status", "exec_details", "error"})
ENDS: Final = frozenset(name for name in REPLIES if name.endswith("_end"))
"""Replies that say a list is complete."""
TICKS: Final = frozenset(
    {"tick_price", "tick_size", "tick_option", "tick_generic", "tick_string", "real_time_bar", "pnl_reply"}
)
"""What comes by itself from the market data farm."""
CONTRACT_REQUESTS: Final = frozenset(
    {"market_data", "contract_details", "history", "real_time_bars", "head_timestamp", "option_parameters"}
)
"""Requests that name a contract, which the gateway can fail to know (error 200)."""
HISTORY_REQUESTS: Final = frozenset({"history", "head_timestamp"})
DEFINITION_REQUESTS: Final = frozenset({"contract_details", "matching_symbols", "option_parameters"})
"""Requests that the farm of contract definitions answers."""
SERVER_REQUESTS: Final = HISTORY_REQUESTS | DEFINITION_REQUESTS
"""Requests that a gateway answers with the help of IBKR's servers only."""

_REPLY_ID_AT: Final[dict[int, int]] = {
    1: 2, 2: 2, 3: 1, 4: 2, 5: 1, 11: 2, 17: 1, 21: 1, 45: 2, 46: 2, 50: 2, 52: 2, 55: 2, 57: 2, 58: 2, 63: 2, 64: 2,
    71: 2, 72: 2, 73: 2, 74: 2, 75: 1, 76: 1, 79: 1, 81: 1, 88: 1, 90: 1, 94: 1, 95: 1, 106: 1,
}  # fmt: skip
"""The field with the request id, or the order id of messages about orders."""


def request_name(number: int) -> str:
    """What plans call a request. New and changed orders share a number: `requests` tells them apart."""
    return REQUEST_NAMES.get(number, f"request_{number}")


def reply_name(fields: list[str]) -> str:
    """What plans call a reply."""
    number = int(fields[0])
    return REPLY_NAMES.get(number, f"reply_{number}")


def reply_id(fields: list[str]) -> int | None:
    """The request or order id a reply carries; None if it has none (contract data's place depends on the version)."""
    at = _REPLY_ID_AT.get(int(fields[0]))
    if at is None or at >= len(fields) or not fields[at].lstrip("-").isdecimal():
        return None
    return int(fields[at])
