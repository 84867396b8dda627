"""`[oauth]`: headless login to IBKR's Web API with OAuth 1.0a.

Every key has two variables: ours (`IBKR_OAUTH_…`) and the one that ibind reads (`IBIND_OAUTH1A_…`). Where both are set
they must agree: which of two logins was meant is not guessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ibkr_connector.config.secretspec import SecretSpec, parse_reference
from ibkr_connector.config.section import Seconds, Section, Setting
from ibkr_connector.config.web import is_loopback

_NOTHING = SecretSpec("")
_SECRETS = ("consumer_key", "access_token", "access_token_secret", "dh_prime", "signature_key", "encryption_key")


def _key(text: str, name: str) -> Setting:
    return Setting(text, env=f"IBKR_OAUTH_{name}", also=f"IBIND_OAUTH1A_{name}")


class OAuthSettings(Section):
    """Who the program is to IBKR. Secrets may be given as they are, or as where they are kept (`vault:…`)."""

    enabled: Annotated[
        Literal["auto", "yes", "no"],
        Setting(
            "sign in with OAuth; auto: when there is a consumer key", env="IBKR_OAUTH_ENABLED", also="IBIND_USE_OAUTH"
        ),
    ] = "auto"
    consumer_key: Annotated[
        SecretSpec, _key("consumer key of the self-service portal, nine letters", "CONSUMER_KEY")
    ] = _NOTHING
    access_token: Annotated[SecretSpec, _key("access token of the portal", "ACCESS_TOKEN")] = _NOTHING
    access_token_secret: Annotated[
        SecretSpec, _key("its secret, encrypted as the portal shows it (base64)", "ACCESS_TOKEN_SECRET")
    ] = _NOTHING
    dh_prime: Annotated[
        SecretSpec, _key("Diffie-Hellman prime in hexadecimal digits, or the text of dhparam.pem", "DH_PRIME")
    ] = _NOTHING
    dh_generator: Annotated[int, Field(ge=2, le=1_000), _key("Diffie-Hellman generator", "DH_GENERATOR")] = 2
    signature_key_file: Annotated[
        Path | None, _key("file of the private signature key (PEM), readable by its owner alone", "SIGNATURE_KEY_FP")
    ] = None
    signature_key: Annotated[
        SecretSpec, _key("the signature key itself, or where it is kept, instead of a file", "SIGNATURE_KEY")
    ] = _NOTHING
    encryption_key_file: Annotated[
        Path | None, _key("file of the private encryption key (PEM), readable by its owner alone", "ENCRYPTION_KEY_FP")
    ] = None
    encryption_key: Annotated[
        SecretSpec, _key("the encryption key itself, or where it is kept, instead of a file", "ENCRYPTION_KEY")
    ] = _NOTHING
    realm: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$"),
        _key("limited_poa; test_realm for the consumer key TESTCONS", "REALM"),
    ] = "limited_poa"
    rest_url: Annotated[
        str,
        Field(min_length=1, max_length=500),
        _key("base address of the Web API; http only on this machine", "REST_URL"),
    ] = "https://api.ibkr.com/v1/api/"
    ws_url: Annotated[
        Annotated[str, Field(min_length=1, max_length=500)] | None,
        _key("address of the websocket; none: that of rest_url with ws at its end", "WS_URL"),
    ] = None
    live_session_token_endpoint: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_./-]{1,200}$"),
        _key("path of the request for a session token", "LIVE_SESSION_TOKEN_ENDPOINT"),
    ] = "oauth/live_session_token"  # noqa: S105 - a path
    secret_timeout: Annotated[Seconds, Setting("time for one question to Vault or to the keyring", unit="seconds")] = (
        15.0
    )

    @field_validator("enabled", mode="before")
    @classmethod
    def _yes_or_no(cls, value: object) -> object:
        """Ibind's variable says True or False."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        words = {"true": "yes", "1": "yes", "on": "yes", "false": "no", "0": "no", "off": "no"}
        return words.get(value.lower(), value.lower()) if isinstance(value, str) else value

    @field_validator(*_SECRETS, mode="before")
    @classmethod
    def _well_formed(cls, value: object) -> object:
        if isinstance(value, str):
            value = value.strip()
            parse_reference(value)
        return value

    @field_validator("rest_url")
    @classmethod
    def _whole_address(cls, value: str) -> str:
        return _address(value, ("https", "http"), "https://api.ibkr.com/v1/api/").rstrip("/") + "/"

    @field_validator("ws_url")
    @classmethod
    def _whole_socket_address(cls, value: str | None) -> str | None:
        return value if value is None else _address(value, ("wss", "ws"), "wss://api.ibkr.com/v1/api/ws")

    @property
    def in_use(self) -> bool:
        """Whether requests are signed."""
        return self.enabled == "yes" or (self.enabled == "auto" and bool(self.consumer_key.get_secret_value()))

    @property
    def socket_url(self) -> str:
        """The websocket's address."""
        if self.ws_url is not None:
            return self.ws_url
        return self.rest_url.replace("http", "ws", 1) + "ws"


def _address(value: str, schemes: tuple[str, str], example: str) -> str:
    """An address with TLS, or without on this machine. Raises ValueError, without the text: it may hold a password."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("cannot be read as an address") from None
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise ValueError(f"should be an address like {example}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("should hold neither user, password, query nor fragment")
    if parts.scheme == schemes[1] and not is_loopback(parts.hostname):
        raise ValueError(f"should begin with {schemes[0]}: without TLS only this machine is spoken to")
    return value
