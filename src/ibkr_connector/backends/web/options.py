"""What a Web backend is made with: where the API is, and how to behave towards it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

OAuthSource = Callable[[], Any]
"""Makes ibind's `OAuth1aConfig`, out of the settings and the secrets; called in a worker thread, once per login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTimes:
    """How patient streams are. Seconds."""

    opening: float = 10.0
    """From the first byte of the websocket until the session stands."""
    silence: float = 25.0
    """Without any frame: heartbeats come every 10 s."""
    retry_first: float = 1.0
    retry_most: float = 60.0
    confirm: float = 3.0
    """For the first frame of a subscription that is always answered."""
    line_life: float = 540.0
    """A quote stream is asked for again at this age: IBKR ends it without a word after 10 to 15 minutes."""
    line_quiet: float = 30.0
    """Without a frame of a line it is asked for again; if that brings nothing new, later and later."""
    line_quiet_most: float = 300.0
    line_whole: float = 3.0
    """After asking: the fields that were not told again by then have no value any more."""
    positions_every: float = 60.0
    """Positions have no stream; they are read this often, and after fills."""
    positions_after_fill: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebEndpoint:
    """Where the Web API is, and how to behave towards it. Times in seconds."""

    url: str
    """The API's base, with its slash at the end: `https://127.0.0.1:5000/v1/api/`."""
    ws_url: str = ""
    """The websocket's address where it is not the API's own."""
    verify_tls: bool = True
    ca_file: str = ""
    """Certificates to trust instead of the usual ones."""
    mode: Literal["paper", "live"] = "paper"
    account: str = ""
    """The account that was chosen in the settings; empty: the login's only one."""
    compete: bool = False
    """Take the brokerage session away from another program of the same user name."""
    confirm: tuple[str, ...] = ()
    """Message ids of order questions that are answered with yes."""
    suppress: tuple[str, ...] = ()
    """Message ids that the broker is asked not to ask about, in every brokerage session."""
    questions: int = 10
    """Questions about one order, one after the other, before it is given up."""
    order_timeout: float = 10.0
    """How long the answer to a written order, change, cancel or reply is waited for."""
    watch_every: float = 15.0
    """How often orders are looked at while one of ours works, whatever the websocket says."""
    tickle_every: float = 60.0
    renew_before: float = 1_800.0
    """A live session token is renewed so long before its end."""
    read_workers: int = 6
    answer_limit: int = 32 * 1024 * 1024
    """Bytes of one answer; a longer one is refused."""
    streams: StreamTimes = field(default_factory=StreamTimes)

    @property
    def host(self) -> str:
        """The host's name, for texts and for the journal."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def socket_url(self) -> str:
        """The websocket's address: the one that was named, or the API's own."""
        if self.ws_url:
            return self.ws_url
        parts = urlsplit(self.url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/ws"
