"""IBKR's pacing rules of the Web API as data, and the work they apply to. Pure.

Sources: IBKR Campus, "Web API": 50 requests per second and user name, 10 through a Client Portal Gateway, and the
pacing table of single endpoints; whoever goes over is answered 429 and put into a penalty box for ten minutes. The
times are counted where the requests arrive, so windows are kept a little longer here (`margin`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ibkr_connector.resilience.rules import MESSAGES, Charge, Lane, Rule, SlotRule, WindowRule, Work

GATEWAY_PER_SECOND = 10
OAUTH_PER_SECOND = 50
PENALTY_S = 600.0
"""The penalty box. Other pages of IBKR say fifteen minutes."""
SHORT_S = 5.0
"""The longest window of an endpoint that is asked often: after a first 429 it may have been that one alone."""
AGAIN_S = 60.0
"""Another 429 within this time means the box."""

HISTORY = "web-history"
HISTORY_AT_ONCE = 5
_RATES: dict[str, tuple[int, float]] = {
    "web-snapshot": (10, 1.0),
    "web-scanner-params": (1, 900.0),
    "web-scanner-run": (1, 1.0),
    "web-trades": (1, 5.0),
    "web-orders": (1, 5.0),
    "web-pnl": (1, 5.0),
    "web-accounts": (1, 5.0),
    "web-subaccounts": (1, 5.0),
    "web-performance": (1, 900.0),
    "web-periods": (1, 900.0),
    "web-summary": (1, 900.0),
    "web-transactions": (1, 900.0),
    "web-notices": (1, 1.0),
    "web-tickle": (1, 1.0),
    "web-validate": (1, 60.0),
}
"""Name of the rule -> requests, seconds (the pacing table)."""
_ENDPOINTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"iserver/marketdata/snapshot", "web-snapshot"),
        (r"iserver/marketdata/history|hmds/history", HISTORY),
        (r"(iserver|hmds)/scanner/params", "web-scanner-params"),
        (r"(iserver/scanner|hmds/scanner)(/run)?", "web-scanner-run"),
        (r"iserver/account/trades/?", "web-trades"),
        (r"iserver/account/orders", "web-orders"),
        (r"iserver/account/pnl/partitioned", "web-pnl"),
        (r"portfolio/accounts", "web-accounts"),
        (r"portfolio/subaccounts2?", "web-subaccounts"),
        (r"pa/performance", "web-performance"),
        (r"pa/allperiods", "web-periods"),
        (r"pa/summary", "web-summary"),
        (r"pa/transactions", "web-transactions"),
        (r"fyi/.*", "web-notices"),
        (r"tickle", "web-tickle"),
        (r"sso/validate", "web-validate"),
    )
)
_ONLY_GET = frozenset({"web-orders"})
"""Limited for reading; writing to the same path is another endpoint."""


def web_rules(*, oauth: bool, messages_per_second: int, cancel_reserve: int) -> tuple[Rule, ...]:
    """The rules of a Web API session. The settings can lower the rate, and not raise it above IBKR's."""
    most = min(messages_per_second, OAUTH_PER_SECOND if oauth else GATEWAY_PER_SECOND)
    reserve = min(cancel_reserve, most // 5)
    return (
        WindowRule(MESSAGES, most, 1.0, margin=0.015 if oauth else 0.05, reserve=reserve),
        *(WindowRule(name, limit, window, margin=0.05) for name, (limit, window) in _RATES.items()),
        SlotRule(HISTORY, HISTORY_AT_ONCE),
    )


def request(method: str, path: str, *, caller: str = "") -> Work:
    """One request: what it costs, and whose turn it is."""
    plain = path.strip("/")
    charges = [Charge(MESSAGES)]
    lane = Lane.ACCOUNT
    name = next((name for pattern, name in _ENDPOINTS if pattern.fullmatch(plain)), "")
    if name and (method == "GET" or name not in _ONLY_GET):
        charges.append(Charge(name))
    if method == "DELETE":
        lane = Lane.CANCEL
    elif plain.startswith("iserver/reply/") or (method == "POST" and plain.endswith("/orders")):
        lane = Lane.ORDERS
    elif name == HISTORY:
        lane = Lane.HISTORY
    elif plain.startswith(("iserver/marketdata", "iserver/scanner", "hmds")):
        lane = Lane.MARKET
    return Work(lane, tuple(charges), caller)


def slow_rule(work: Work) -> tuple[str, float] | None:
    """Name and seconds of the window of `work` that outlives a program: five seconds or more. None: it has none."""
    for charge in work.charges:
        limit, window = _RATES.get(charge.rule, (0, 0.0))
        if limit == 1 and window >= SHORT_S:
            return charge.rule, window
    return None


@dataclass(slots=True)
class Penalty:
    """How long nothing may be asked after a 429. `now` is monotonic seconds.

    The first one may be an endpoint's own limit, which somebody else of the user name used up: a short rest. Another
    one soon after means the box, and whoever goes on asking in it is shut out for longer.
    """

    until: float = -math.inf
    last: float = -math.inf
    boxed: bool = False

    def limited(self, now: float) -> float:
        """A 429 came; seconds of rest from now on."""
        if now < self.until:
            return self.until - now  # one of those that were on their way already
        self.boxed = now - self.last <= AGAIN_S + (PENALTY_S if self.boxed else SHORT_S)
        self.until = now + (PENALTY_S if self.boxed else SHORT_S)
        self.last = now
        return self.until - now

    def left(self, now: float) -> float:
        """Seconds of rest that are left; 0 = none."""
        return max(0.0, self.until - now)
