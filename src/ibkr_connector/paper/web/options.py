"""What can be set about the Web front: how one logs in, what the broker asks back, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .oauth.keys import OAuthSecrets

Entitlement = Literal["live", "delayed", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precautions:
    """When an order is answered by a question, as the order presets of an account decide. None = never asked.

    The limits are those in the texts of real questions.
    """

    price_percent: Decimal | None = Decimal(3)
    """o163: a limit further from the market than this many per cent, to the wrong side."""
    size: Decimal | None = Decimal(500)
    """o383: more shares or contracts than this (currency pairs are not asked)."""
    value: Decimal | None = Decimal(100_000)
    """o451: worth more than this, in the currency of the contract."""
    always: frozenset[str] = field(default_factory=lambda: frozenset({"o10331"}))
    """Message ids that are asked whenever the kind of order gives a reason: o354 (no market data),
    o10151 (market orders), o10152 and o10331 (stop orders), o10164 and o10223 (cash quantity), p12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a client may ask for, as IBKR documents it (the Web API page and its pacing table)."""

    gateway_per_second: int = 10
    """Requests per second through a Client Portal Gateway."""
    oauth_per_second: int = 50
    """Requests per second of a username over OAuth."""
    endpoints: bool = True
    """Whether the limits of single endpoints hold."""
    penalty: float = 600.0
    """Wire seconds in the penalty box after the global limit was passed. 0 = none."""
    concurrent_history: int = 5
    market_lines: int = 100
    """Streaming quotes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """Settings of the Web front. The defaults are a Client Portal Gateway after its login."""

    logged_in: bool = True
    """Whether somebody has logged in when the gateway starts. Without, POST /sso/Login logs in."""
    brokerage: bool = True
    """Whether that login brought a brokerage session with it; else ssodh/init opens one."""
    username: str = "paper01"
    idle_timeout: float = 330.0
    """Wire seconds without a request after which the brokerage session ends (documented: five to six minutes)."""
    sso_life: float = 86_400.0
    """Wire seconds a login lasts at most; it ends at midnight in New York as well."""
    midnight: bool = True
    """Whether logins end at midnight (New York, of real time)."""
    entitlement: Entitlement = "live"
    """The account's market data."""
    precautions: Precautions = field(default_factory=Precautions)
    limits: Limits | None = field(default_factory=Limits)
    """None = no limits at all."""
    oauth: OAuthSecrets | None = None
    """Ask for OAuth 1.0a signatures, verified against these; None = a Client Portal Gateway, which asks for nothing."""
    oauth_strict: bool = False
    """Accept signatures in IBKR's documented form only, and no nonce twice."""
    public_url: str | None = None
    """The base URL clients sign, where it is not the one they reach (a proxy): `https://host/v1/api/`."""
    tls: bool = False
    """Serve https with a certificate made at start."""
    history_latency: float = 0.02
    """Wire seconds a history request takes: as long as that it counts among those at once."""
    stream_life: float = 900.0
    """Wire seconds after which a quote stream ends without a word (reported 10 to 15 minutes)."""
    heartbeat: float = 10.0
    """Wire seconds between heartbeats of a websocket."""
    write_limit: int = 8 * 1024 * 1024
    """Bytes waiting for a websocket that does not read before it is closed."""
