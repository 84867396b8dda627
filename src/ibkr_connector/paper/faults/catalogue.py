"""The fault catalogue: every kind of fault, what it does, what it takes and what can trigger it.

`docs/IMPLEMENTATION/faults.md` names the incident each was taken from; a test keeps both lists alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .messages import FILL, MODIFY, PLACE

REQUEST: Final = "request"
REPLY: Final = "reply"
EXECUTION: Final = "execution"
TWS: Final = "tws"
WEB: Final = "web"
BOTH_FRONTS: Final = frozenset({TWS, WEB})
Value = float | int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way in which gateways fail."""

    what: str
    options: Mapping[str, Value] = field(default_factory=dict)
    """Key -> default. Every key a plan may give besides the trigger; None = may be left out."""
    required: frozenset[str] = frozenset()
    on: frozenset[str] = frozenset({REQUEST})
    """Which moments can trigger it: requests, replies, executions. Time always can."""
    default_on: str | None = None
    """The moment that triggers it when the plan names neither `on` nor `at`."""
    only_on: frozenset[str] = frozenset()
    """The only moments that make sense, when there are such."""
    timed: bool = True
    """Whether it can happen at a time, without a message that triggers it."""
    per_client: bool = True
    """Whether it hits connections, so that `client_id` can choose one."""
    fronts: frozenset[str] = BOTH_FRONTS
    """Whose messages can trigger it, and whose clients it hits."""


_BOTH: Final = frozenset({REQUEST, REPLY})
_TWS_ONLY: Final = frozenset({TWS})
_WEB_ONLY: Final = frozenset({WEB})

KINDS: Final[dict[str, Kind]] = {
    # --- the connection
    "drop_connection": Kind(
        what="the connection ends; a request that triggers it is lost, a reply is not sent", on=_BOTH
    ),
    "half_open": Kind(
        what="nothing is read or written any more, the client id stays taken; reset after `for`",
        options={"for": 30.0},
        on=_BOTH,
    ),
    "reset_after_write": Kind(
        what="the request is taken and carried out, then the connection is reset before a word of it is answered",
        default_on=PLACE,
        timed=False,
    ),
    "refuse": Kind(
        what="the port is closed; or, with `code`, clients are refused with this error",
        options={"for": 10.0, "code": None, "text": None},
        on=_BOTH,
    ),
    "slow": Kind(what="every reply comes `delay` later", options={"for": 5.0, "delay": 1.0}, on=_BOTH),
    "split_frames": Kind(
        what="frames arrive in up to `pieces` pieces, cut anywhere",
        options={"for": 5.0, "pieces": 8},
        on=_BOTH,
        fronts=_TWS_ONLY,
    ),
    # --- requests and replies
    "swallow_request": Kind(
        what="the request is never seen; without `on` every one during `for`", options={"for": 5.0}
    ),
    "swallow_reply": Kind(
        what="replies are not sent: those to the request, or those named by `on` or `reply`",
        options={"for": 10.0, "count": None, "reply": None},
        on=_BOTH,
    ),
    "duplicate_reply": Kind(
        what="replies are sent twice; of the Web front `count` frames of each websocket",
        options={"for": 10.0, "count": 1, "reply": None},
        on=_BOTH,
    ),
    "reorder_replies": Kind(
        what="`count` replies are held and sent in reverse order, at the latest after `for`",
        options={"for": 1.0, "count": 2, "reply": None},
        on=_BOTH,
        fronts=_TWS_ONLY,
    ),
    "reject": Kind(
        what="the request is refused with an error and goes no further",
        options={"code": 201, "text": None},
        default_on=PLACE,
        timed=False,
    ),
    "missing_end": Kind(
        what="the marker that ends a list is not sent; of the Web front: live orders are no snapshot, and empty",
        options={"for": 10.0, "count": 1},
    ),
    "false_200": Kind(
        what="known contracts are answered with error 200; without `on` for `for`, streams included",
        options={"for": 5.0},
        fronts=_TWS_ONLY,
    ),
    # --- the Web front
    "http_error": Kind(
        what="requests are answered with the status `code` and not carried out; without `on` every one during `for`",
        options={"for": 5.0, "code": 503, "text": None},
        fronts=_WEB_ONLY,
    ),
    "duplicate_request": Kind(
        what="the request arrives twice; the answer to the second is the one that is seen",
        timed=False,
        fronts=_WEB_ONLY,
    ),
    "http_error_after": Kind(
        what="the request is carried out, and then answered with the status `code`",
        options={"code": 503, "text": None},
        default_on=PLACE,
        timed=False,
        fronts=_WEB_ONLY,
    ),
    "competing_login": Kind(
        what="another program of the username takes the brokerage session; it leaves after `for`",
        options={"for": None},
        fronts=_WEB_ONLY,
        per_client=False,
    ),
    "brokerage_lost": Kind(
        what="the brokerage session is gone ('no bridge') until it is opened again", fronts=_WEB_ONLY, per_client=False
    ),
    "session_expired": Kind(
        what="the login (over OAuth: the live session token) is worth nothing any more: 401",
        fronts=_WEB_ONLY,
        per_client=False,
    ),
    "websocket_silent": Kind(
        what="open websockets say and hear nothing any more, heartbeats included, for `for`",
        options={"for": 60.0},
        fronts=_WEB_ONLY,
        per_client=False,
    ),
    "websocket_close": Kind(what="websockets are closed", fronts=_WEB_ONLY, per_client=False),
    # --- the broker behind the gateway
    "error": Kind(
        what="an error or notice; 1100 and 2110 cut the link to the broker until `for` has passed or 1101/1102 comes",
        options={"code": None, "text": None, "for": None, "restore": 1102},
        required=frozenset({"code"}),
        on=_BOTH,
    ),
    "hold_then_forward": Kind(
        what="the link is cut for `for`; what was ordered meanwhile reaches the broker `delay` after it is back",
        options={"for": 30.0, "delay": 120.0, "restore": 1102},
        on=_BOTH,
        per_client=False,
    ),
    "farm_down": Kind(
        what="a data farm breaks for `for`: usfarm, ushmds or secdefnj",
        options={"for": 30.0, "farm": "usfarm"},
        on=_BOTH,
        per_client=False,
    ),
    "restart": Kind(
        what="the gateway ends every connection and is down for `for`; next order ids fall back by `rollback_ids`",
        options={"for": 10.0, "rollback_ids": 0},
        on=_BOTH,
        per_client=False,
    ),
    # --- orders and executions
    "late_commission": Kind(
        what="the commission report comes `delay` later",
        options={"delay": 30.0},
        on=frozenset({EXECUTION}),
        default_on=FILL,
        timed=False,
    ),
    "execution_correction": Kind(
        what="`delay` after the fill its price is corrected by `ticks`, under the execution id ending .02",
        options={"delay": 1.0, "ticks": 1},
        on=frozenset({EXECUTION}),
        default_on=FILL,
        timed=False,
    ),
    "fork_on_modify": Kind(
        what="a change becomes a second live order with a permId of its own; the first works on as it was",
        default_on=MODIFY,
        only_on=frozenset({MODIFY}),
        timed=False,
    ),
    # --- market and time
    "clock_jump": Kind(
        what="market time, which the gateway tells clients, jumps forward `by` seconds",
        options={"by": None},
        required=frozenset({"by"}),
        on=_BOTH,
        per_client=False,
    ),
    "halt": Kind(
        what="trading in `symbol` is halted for `for`",
        options={"for": 60.0, "symbol": None},
        required=frozenset({"symbol"}),
        on=_BOTH,
        per_client=False,
    ),
    "stale": Kind(
        what="quotes of `symbol` (or of everything) stop, without a word; the market goes on",
        options={"for": 30.0, "symbol": None},
        on=_BOTH,
        per_client=False,
    ),
}

FARMS: Final[dict[str, tuple[int, str, int, str]]] = {
    "usfarm": (
        2103,
        "Market data farm connection is broken:usfarm",
        2104,
        "Market data farm connection is OK:usfarm",
    ),
    "ushmds": (2105, "HMDS data farm connection is broken:ushmds", 2106, "HMDS data farm connection is OK:ushmds"),
    "secdefnj": (
        2157,
        "Sec-def data farm connection is broken:secdefnj",
        2158,
        "Sec-def data farm connection is OK:secdefnj",
    ),
}
"""Farm -> the notices of its break and of its return, as real gateways write them."""

LINK_LOST: Final = frozenset({1100, 2110})
LINK_BACK: Final = frozenset({1101, 1102})
ERROR_TEXTS: Final[dict[int, str]] = {
    162: "Historical Market Data Service error message:Historical data request pacing violation",
    165: "Historical Market Data Service query message:HMDS server disconnect occurred.  Attempting reconnection...",
    200: "No security definition has been found for the request",
    201: "Order rejected - reason:We are unable to accept your order at this time.",
    326: "Unable to connect as the client id is already in use. Retry with a unique client id.",
    354: "Requested market data is not subscribed.",
    1100: "Connectivity between IBKR and Trader Workstation has been lost.",
    1101: "Connectivity between IBKR and Trader Workstation has been restored - data lost.",
    1102: (
        "Connectivity between IBKR and Trader Workstation has been restored - data maintained. All data farms are "
        "connected: usfarm; ushmds; secdefnj."
    ),
    2107: "HMDS data farm connection is inactive but should be available upon demand.ushmds",
    2108: "Market data farm connection is inactive but should be available upon demand.usfarm",
    2109: (
        "Order Event Warning: Attribute 'Outside Regular Trading Hours' is ignored based on the order type and "
        "destination. PlaceOrder is now being processed."
    ),
    2110: "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
    10182: "Failed to request live updates (disconnected).",
    10197: "No market data during competing live session",
    **{code: text for broken, words, back, fine in FARMS.values() for code, text in ((broken, words), (back, fine))},
}
"""The words of errors a plan names by their code alone."""
