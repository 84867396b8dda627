"""The state of the connection: one table of legal transitions, and beside it three independent flags. Pure.

`broker_link` (does the gateway reach IBKR: 1100, 1101, 1102, 2110), `farms` (which data farms are up: 2103 is daily
noise) and `reconciled` (do we know what the broker knows). Orders need READY, the broker link and the reconciliation;
farms only matter to the age of quotes. A fresh socket does not prove the broker link: it counts as up from the
handshake on unless the gateway says otherwise, and `broker_link_since` says since when.

Source of the codes: IBKR, "TWS API: System Message Codes"; texts in docs/IMPLEMENTATION/errors.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class LinkState(StrEnum):
    """Where the connection stands."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    SYNCING = "syncing"
    READY = "ready"
    RECONNECTING = "reconnecting"
    CIRCUIT_OPEN = "circuit_open"
    CLOSED = "closed"


_S = LinkState
LEGAL: dict[LinkState, frozenset[LinkState]] = {
    _S.DISCONNECTED: frozenset({_S.CONNECTING, _S.CIRCUIT_OPEN, _S.CLOSED}),
    _S.CONNECTING: frozenset({_S.SYNCING, _S.DISCONNECTED, _S.RECONNECTING, _S.CIRCUIT_OPEN, _S.CLOSED}),
    _S.SYNCING: frozenset({_S.READY, _S.RECONNECTING, _S.DISCONNECTED, _S.CLOSED}),
    _S.READY: frozenset({_S.SYNCING, _S.RECONNECTING, _S.DISCONNECTED, _S.CLOSED}),
    _S.RECONNECTING: frozenset({_S.CONNECTING, _S.CIRCUIT_OPEN, _S.DISCONNECTED, _S.CLOSED}),
    _S.CIRCUIT_OPEN: frozenset({_S.CONNECTING, _S.RECONNECTING, _S.DISCONNECTED, _S.CLOSED}),
    _S.CLOSED: frozenset(),
}

_WORDS = 300
"""Characters of the gateway's words that are passed on."""
_LINK_DOWN = frozenset({1100, 2110})
_LINK_UP = frozenset({1101, 1102})
_FARM_DOWN = frozenset({2103, 2105, 2157})
_FARM_UP = frozenset({2104, 2106, 2158})
_FARM_IDLE = frozenset({2107, 2108})
"""Inactive but available on demand: as good as up."""
_FARM_KINDS = {
    **dict.fromkeys((2103, 2104, 2108), "market_data"),
    **dict.fromkeys((2105, 2106, 2107), "history"),
    **dict.fromkeys((2157, 2158), "contracts"),
}


class IllegalTransition(RuntimeError):
    """Our own bug: a transition that the table does not know."""


@dataclass(frozen=True, slots=True)
class LinkNews:
    """What a system message changed."""

    what: str
    """`broker` or a farm's name."""
    up: bool
    data_lost: bool = False
    """1101: subscriptions are gone and must be made again."""


@dataclass(slots=True)
class Link:
    """The machine. `now` is monotonic seconds everywhere."""

    state: LinkState = LinkState.DISCONNECTED
    epoch: int = 0
    """Counts connections; what was sent in an older epoch is not outstanding in this one."""
    broker_link: bool = False
    broker_link_since: float = 0.0
    broker_link_why: str = ""
    """The notice that took the link: its code, and the gateway's words, such as who took the session."""
    reconciled: bool = False
    farms: dict[str, bool] = field(default_factory=dict)
    farm_kinds: dict[str, str] = field(default_factory=dict)
    """What each farm serves: `market_data`, `history` or `contracts`."""
    last_reason: str = ""
    held: str = ""
    """Why no order that adds risk may be written although the link is fine (the connector is closing); empty: none."""

    def move(self, state: LinkState, reason: str = "") -> LinkState:
        """Go to `state` and return the previous one. Raises `IllegalTransition`."""
        previous = self.state
        if state is not previous and state not in LEGAL[previous]:
            raise IllegalTransition(f"{previous} -> {state} ({reason})")
        self.state = state
        self.last_reason = reason
        if state is not LinkState.READY:
            self.reconciled = False
        return previous

    def socket_up(self, now: float) -> None:
        """A handshake was finished: a new epoch begins."""
        self.epoch += 1
        self.farms = {}
        self.reconciled = False
        self.broker_link = True
        self.broker_link_since = now

    def socket_down(self) -> None:
        """The transport ended: nothing is known about the broker any more."""
        self.broker_link = False
        self.reconciled = False
        self.farms = {}
        self.farm_kinds = {}

    def on_notice(self, code: int, text: str, now: float) -> LinkNews | None:
        """Take in a system message; what it changed, or None."""
        if code in _LINK_DOWN:
            changed, self.broker_link = self.broker_link, False
            words = text.strip().removesuffix(".")[:_WORDS]
            self.broker_link_why = f"({code}): {words}" if words else f"({code})"
            self.reconciled = False
            return LinkNews("broker", up=False) if changed else None
        if code in _LINK_UP:
            if not self.broker_link:
                self.broker_link_since = now
            self.broker_link = True
            return LinkNews("broker", up=True, data_lost=code == 1101)
        if code in _FARM_DOWN or code in _FARM_UP or code in _FARM_IDLE:
            up = code not in _FARM_DOWN
            farm = _farm_name(text)
            self.farm_kinds[farm] = _FARM_KINDS[code]
            changed = self.farms.get(farm) is not up
            self.farms[farm] = up
            return LinkNews(farm, up=up) if changed else None
        return None

    @property
    def why_no_orders(self) -> str:
        """Why an order that adds risk cannot be written now; empty when it can. The first of `order_checks`."""
        return next((why for _, why in self.order_checks() if why), "")

    def order_checks(self) -> tuple[tuple[str, str], ...]:
        """What an order needs of the link: each condition's name, and what is wrong with it (empty: nothing)."""
        ready = self.state is LinkState.READY
        reason = f" ({self.last_reason})" if self.last_reason else ""
        no_link = (
            f"the gateway has lost its link to IBKR {self.broker_link_why}".rstrip()
            if ready
            else "nobody tells whether IBKR is reached"
        )
        return (
            ("connection", "" if ready else f"the connection is {self.state.value}{reason}"),
            ("broker_link", "" if self.broker_link else no_link),
            ("reconciled", "" if self.reconciled else "orders are not reconciled with the broker yet"),
            ("open", self.held),
        )


def _farm_name(text: str) -> str:
    """`Market data farm connection is OK:usfarm` -> `usfarm`; 2107 and 2108 put a dot instead of a colon."""
    for mark in (":", "demand."):
        if mark in text:
            return text.rpartition(mark)[2].strip() or "unknown"
    return "unknown"
