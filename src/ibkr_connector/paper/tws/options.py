"""What can be set about the TWS front: the switches of a real gateway's configuration screen, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RateMode = Literal["delay", "reject"]
Entitlement = Literal["live", "delayed", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwsOptions:
    """Settings of the TWS front. The defaults are those of a real gateway with 100 market data lines."""

    message_rate_limit: int | None = 50
    """Messages per second a connection may send: half the market data lines. None = no limit (benchmarks)."""
    rate_mode: RateMode = "delay"
    """Above the limit: `delay` reads more slowly; `reject` answers error 100, and disconnects at the third breach."""
    history_pacing: bool = True
    """Enforce the pacing rules of historical data for bars of 30 seconds and less (error 162)."""
    entitlement: Entitlement = "live"
    """The account's market data: `live`, `delayed` (15 minutes, where the client asked for delayed data), `none`."""
    read_only: bool = False
    """The API setting `Read-Only API`: orders are refused with error 321."""
    max_clients: int = 32
    """Clients at once, as in TWS."""
    max_lines: int = 100
    """Streaming market data requests at once, over all clients (error 101)."""
    tick_interval: float | None = None
    """Wire seconds between updates of one ticker; None = as IBKR: 0.25 for stocks and futures, 0.005 for currencies."""
    write_limit: int = 16 * 1024 * 1024
    """Bytes waiting for a client that does not read before it is dropped."""
    handshake_timeout: float = 30.0
    """Wire seconds a peer has to say what it is."""
