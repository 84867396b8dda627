"""The ways by which the demo reaches its gateway: TWS's protocol, or the Web API, with OAuth 1.0a if asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ibkr_connector.cli.demo.child import GatewayProcess
from ibkr_connector.errors import ConfigurationError, InvalidRequest

CONFIRMED = ("o163", "o354", "o383", "o10331")
"""Order questions the demo answers with yes: price limits, no market data, size limits, stop orders."""
_SIGNED = "Crypto"


class Front(StrEnum):
    """Which face of the gateway is talked to."""

    TWS = "tws"
    WEB = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the gateway is started, and how the connector is told to reach it."""

    front: Front
    oauth: bool = False
    about: str
    options: list[str] = field(default_factory=list)
    """More options of `ibkr-connector paper`."""
    settings: Callable[[GatewayProcess], dict[str, Any]]
    settle_s: float = 10.0
    """How long the last commission may take: over the Web API trades may be asked for every 5 s."""

    @property
    def web(self) -> bool:
        """Whether it is the Web API."""
        return self.front is Front.WEB


def check(front: Front, *, oauth: bool) -> None:
    """Refuse what cannot be played, before anything starts.

    Raises:
        InvalidRequest: OAuth without the Web API.
        ConfigurationError: an extra is missing; the remedy names it.
    """
    if oauth and front is not Front.WEB:
        raise InvalidRequest(
            "--oauth is about the Web API.", field="oauth", value=True, legal="--backend web --oauth", remedy=""
        )
    if front is Front.WEB:
        needed = ("aiohttp", "cryptography", "ibind", *((_SIGNED,) if oauth else ()))
        missing = [name for name in needed if find_spec(name) is None]
        if missing:
            extras = "paper-web,oauth" if oauth else "paper-web"
            raise ConfigurationError(
                f"the demo over the Web API needs {' and '.join(_PACKAGES.get(name, name) for name in missing)}, "
                f"which {'is' if len(missing) == 1 else 'are'} not installed.",
                remedy=f"Install the extra: pip install 'ibkr-connector[{extras}]'.",
                field="backend",
            )


_PACKAGES = {_SIGNED: "pycryptodome"}


def make_way(front: Front, *, oauth: bool, folder: Path, account: str) -> Way:
    """The way that was asked for; with OAuth test keys are written below `folder` (blocks for a moment)."""
    if front is Front.TWS:
        return Way(
            front=front,
            about="IBKR's wire protocol on a TCP socket. The connector talks to it through the unmodified client "
            "library, as it would to TWS.",
            settings=lambda _gateway: {"backend": "tws"},
        )
    if not oauth:
        return Way(
            front=front,
            about="IBKR's Web API as a Client Portal Gateway serves it. The connector talks to it through ibind.",
            options=["--web-port", "0"],
            settings=lambda gateway: _web(gateway, {"enabled": "no"}),
            settle_s=20.0,
        )
    from ibkr_connector.paper.web.oauth import keys

    made, place = keys.register(), folder / "keys"
    keys.write(made, place, "http://127.0.0.1/v1/api/", account)
    parameters = {
        "enabled": "yes",
        "consumer_key": made.server.consumer_key,
        "access_token": made.server.access_token,
        "access_token_secret": made.access_token_secret,
        "dh_prime": made.prime_hex,
        "signature_key_file": place / keys.SIGNATURE_FILE,
        "encryption_key_file": place / keys.ENCRYPTION_FILE,
    }
    return Way(
        front=front,
        oauth=True,
        about="IBKR's Web API as api.ibkr.com serves it: keys were made for this run, every request is signed with "
        "OAuth 1.0a, and the gateway verifies each signature. The connector talks to it through ibind.",
        options=["--web-port", "0", "--oauth", str(place)],
        settings=lambda gateway: _web(gateway, {**parameters, "rest_url": gateway.web_url, "ws_url": None}),
        settle_s=20.0,
    )


def _web(gateway: GatewayProcess, oauth: dict[str, Any]) -> dict[str, Any]:
    return {
        "backend": "web",
        "web": {"url": gateway.web_url, "verify_tls": True, "ca_file": None, "confirm": CONFIRMED},
        "oauth": oauth,
        "sync_timeout": 45.0,
    }
