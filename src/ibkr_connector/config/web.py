"""`[web]`: where the Web API is, and how to behave towards it."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from ibkr_connector.config.section import Seconds, Section, Setting

_MESSAGE_ID = re.compile(r"[a-z]\d{1,8}")


def is_loopback(host: str) -> bool:
    """Whether a host's name means this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class WebSettings(Section):
    """The Client Portal Gateway (or IBeam, or IBKR's own address with OAuth), for backend = web."""

    url: Annotated[
        str,
        Field(min_length=1, max_length=500),
        Setting("base address of the Web API; http only on this machine", env="IBKR_WEB_URL"),
    ] = "https://127.0.0.1:5000/v1/api/"
    verify_tls: Annotated[
        bool,
        Setting("check the certificate; no is possible for a gateway on this machine only", env="IBKR_WEB_VERIFY_TLS"),
    ] = True
    ca_file: Annotated[
        Path | None, Setting("certificates to trust instead of the usual ones (PEM)", env="IBKR_WEB_CA_FILE")
    ] = None
    compete: Annotated[bool, Setting("take the brokerage session away from another program of the same user name")] = (
        False
    )
    confirm: Annotated[
        tuple[str, ...],
        Setting("order questions that are answered with yes, by message id (o163, o354, ...), with commas between"),
    ] = ()
    suppress: Annotated[
        tuple[str, ...],
        Setting("order questions that IBKR is asked not to ask, by message id, with commas between"),
    ] = ()
    questions: Annotated[int, Field(ge=1, le=20), Setting("questions about one order before it is given up")] = 10
    order_timeout: Annotated[
        Seconds,
        Setting("how long the answer to a written order, change, cancel or reply may take", unit="seconds"),
    ] = 10.0
    watch_every: Annotated[
        Seconds, Setting("how often orders are looked at while one works, whatever the websocket says", unit="seconds")
    ] = 15.0
    tickle_every: Annotated[
        Annotated[float, Field(ge=1, le=240, allow_inf_nan=False)],
        Setting("how often the session is kept alive; it ends after five minutes without", unit="seconds"),
    ] = 60.0
    renew_before: Annotated[
        Seconds, Setting("OAuth: the session token is renewed so long before its end", unit="seconds")
    ] = 1_800.0

    @field_validator("confirm", "suppress", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("confirm", "suppress")
    @classmethod
    def _message_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [one for one in value if _MESSAGE_ID.fullmatch(one) is None]
        if wrong:
            raise ValueError(f"has what is no message id: {', '.join(wrong)}; they look like o163")
        return value

    @field_validator("url")
    @classmethod
    def _whole_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"cannot be read: {error}") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
            raise ValueError("should be an address like https://127.0.0.1:5000/v1/api/")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("should hold neither user, password, query nor fragment")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("should begin with https: without TLS only a gateway on this machine is spoken to")
        return value if value.endswith("/") else value + "/"

    @model_validator(mode="after")
    def _verified(self) -> WebSettings:
        if not self.verify_tls and not is_loopback(urlsplit(self.url).hostname or ""):
            raise ValueError("verify_tls = no is possible for a gateway on this machine only")
        return self
