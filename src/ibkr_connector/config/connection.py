"""`[connection]`: which gateway, which account, and how patiently to connect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from ibkr_connector.config.section import Seconds, Section, Setting, Tiers, endpoint

LIVE_PORT = 7496
"""TWS's default API port for live trading; 7497 is the paper port (IB Gateway: 4001 and 4002)."""


class ConnectionSettings(Section):
    """Which gateway, which account, and how patiently to connect."""

    mode: Annotated[
        Literal["paper", "live"],
        Setting("paper or live; live also needs account_id here and allow_live=True in code", env="IBKR_MODE"),
    ] = "paper"
    backend: Annotated[
        Literal["tws", "web"],
        Setting("how to reach IBKR: tws (TWS or IB Gateway) or web (the Web API, see [web])", env="IBKR_BACKEND"),
    ] = "tws"
    tws_library: Annotated[
        Literal["auto", "ib_insync", "ib_async"],
        Setting("client library of the tws backend; auto takes the one installed", env="IBKR_TWS_LIBRARY"),
    ] = "auto"
    read_only: Annotated[bool, Setting("refuse every order, whatever the gateway allows", env="IBKR_READ_ONLY")] = False
    host: Annotated[str, Field(min_length=1, max_length=253), endpoint("host of TWS or IB Gateway", "IBKR_HOST")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int,
        Field(ge=1, le=65_535),
        endpoint("API port: TWS 7497 paper, 7496 live; IB Gateway 4002 paper, 4001 live", "IBKR_PORT"),
    ] = 7497
    client_id: Annotated[
        int,
        Field(ge=0, le=2**31 - 1),
        endpoint("API client id, fixed: orders belong to it; one per program on a gateway", "IBKR_CLIENT_ID"),
    ] = 2
    account_id: Annotated[
        str,
        Field(pattern=r"^[A-Z0-9]{0,20}$", validate_default=True),
        endpoint("account to trade; empty: the gateway's only account (paper)", "IBKR_ACCOUNT_ID"),
    ] = ""
    account_currency: Annotated[
        str, Field(pattern=r"^[A-Z]{3}$"), endpoint("base currency of the account", "IBKR_ACCOUNT_CURRENCY")
    ] = "USD"
    username: Annotated[
        str, Setting("IBKR user name; TWS and IB Gateway hold the login themselves", env="IBKR_USERNAME")
    ] = ""
    password: Annotated[SecretStr, Setting("IBKR password; better in the environment", env="IBKR_PASSWORD")] = (
        SecretStr("")
    )
    market_data: Annotated[
        Literal["live", "frozen", "delayed", "delayed_frozen"],
        Setting(
            "quotes where no live ones are to be had: delayed = 15 minutes old, without a subscription; frozen = the "
            "last before the close",
            env="IBKR_MARKET_DATA",
        ),
    ] = "live"
    handshake_timeouts: Annotated[
        Tiers,
        Setting(
            "time for one connection attempt: normally, after 2 failures, after 5 failures",
            unit="seconds",
            env="IBKR_HANDSHAKE_TIMEOUTS",
        ),
    ] = (8.0, 5.0, 3.0)
    connect_attempts: Annotated[
        tuple[
            Annotated[int, Field(ge=1, le=100)],
            Annotated[int, Field(ge=1, le=100)],
            Annotated[int, Field(ge=1, le=100)],
        ],
        Setting("attempts of one connect(): normally, after 2, after 5 failures", env="IBKR_CONNECT_ATTEMPTS"),
    ] = (3, 2, 1)
    connect_delays: Annotated[
        Tiers,
        Setting(
            "pause between attempts: normally, after 2, after 5 failures", unit="seconds", env="IBKR_CONNECT_DELAYS"
        ),
    ] = (3.0, 2.0, 1.0)
    sync_timeout: Annotated[
        Seconds,
        Setting("time for the start-up sync of account and orders", unit="seconds", env="IBKR_SYNC_TIMEOUT"),
    ] = 30.0
    request_timeout: Annotated[
        Seconds, Setting("time for a read to be answered", unit="seconds", env="IBKR_REQUEST_TIMEOUT")
    ] = 30.0

    @field_validator("handshake_timeouts", "connect_attempts", "connect_delays", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("host")
    @classmethod
    def _plain_host(cls, value: str) -> str:
        if any(mark in value for mark in "\"'/ \t@"):
            raise ValueError("should be a bare host name or address: no quotes, scheme, path or spaces")
        return value

    @field_validator("account_id", "account_currency", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("account_id")
    @classmethod
    def _account_fits_mode(cls, value: str, info: Any) -> str:
        mode = info.data.get("mode")
        if mode == "live" and not value:
            raise ValueError("is needed when mode is live: no live account is touched unless it is named")
        if mode == "paper" and value and not value.startswith("D"):
            raise ValueError("should start with D (DU1234567): mode is paper and this names a live account")
        return value
