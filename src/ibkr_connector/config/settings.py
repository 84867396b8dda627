"""The settings, one frozen section per room: what exists, its type, bounds, unit and default.

A room is given its own section, never the whole configuration. How values are found (arguments, environment, file)
is the business of `load`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field as dataclass_field, fields
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, field_validator, model_validator

from ibkr_connector.config.gateway import GatewaySettings
from ibkr_connector.config.origin import DEFAULT, Origin
from ibkr_connector.config.risk import AgentLimits, RiskSettings, SymbolLimits
from ibkr_connector.config.section import Seconds, Section, Setting, Tiers, endpoint

APP_NAME = "ibkr-connector"
MASK = "********"
LIVE_PORT = 7496
"""TWS's default API port for live trading; 7497 is the paper port (IB Gateway: 4001 and 4002)."""


class ConnectionSettings(Section):
    """Which gateway, which account, and how patiently to connect."""

    mode: Annotated[
        Literal["paper", "live"],
        Setting("paper or live; live also needs account_id here and allow_live=True in code", env="IBKR_MODE"),
    ] = "paper"
    backend: Annotated[Literal["tws"], Setting("how to reach IBKR: tws (TWS or IB Gateway)", env="IBKR_BACKEND")] = (
        "tws"
    )
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


class PathSettings(Section):
    """Where files live. Relative paths in a settings file start at that file's folder."""

    state_dir: Annotated[
        Path,
        Setting("order journal, id marks and audit trail; ~ and $VARIABLES are expanded", env="IBKR_STATE_DIR"),
    ] = Field(default_factory=lambda: _default_state_dir())
    keep_orders: Annotated[
        int,
        Field(ge=0, le=36_500),
        Setting("how long the journal keeps ended orders; 0 = for ever; the audit trail stays", unit="days"),
    ] = 400
    audit_file: Annotated[
        Path | None,
        Setting("file to which the audit trail is appended as JSON lines, mode 0600; none = not exported"),
    ] = None


class OrderSettings(Section):
    """Patience with orders."""

    order_deadline: Annotated[
        Seconds, Setting("an order not written by then is given up, and not sent", unit="seconds")
    ] = 10.0
    ack_timeout: Annotated[Seconds, Setting("a written order not answered by then is in doubt", unit="seconds")] = 5.0
    settle_interval: Annotated[
        Seconds, Setting("pause between the two rounds that prove an order absent", unit="seconds")
    ] = 10.0
    settle_link_up: Annotated[
        Seconds, Setting("the broker link must be up this long before absence counts", unit="seconds")
    ] = 30.0
    order_ttl: Annotated[
        Annotated[float, Field(ge=5, le=31_536_000, allow_inf_nan=False)] | None,
        Setting(
            "orders that add risk and can rest are ended by the broker after this time (sent as GTD), whether or not "
            "the program still lives",
            unit="seconds of market time",
        ),
    ] = None


class PacingSettings(Section):
    """How fast messages may go out, and how many quotes may come in."""

    messages_per_second: Annotated[
        int,
        Field(ge=1, le=500),
        Setting("IBKR's limit: market data lines / 2, so 50 with the usual 100 lines", unit="messages per second"),
    ] = 50
    cancel_reserve: Annotated[
        int, Field(ge=1, le=100), Setting("kept free of them for cancels and the kill", unit="messages per second")
    ] = 10
    market_data_lines: Annotated[
        int,
        Field(ge=1, le=10_000),
        Setting("contracts quoted at a time: 100 unless the account has more (error 101 beyond)"),
    ] = 100

    @model_validator(mode="after")
    def _reserve_fits(self) -> PacingSettings:
        if self.cancel_reserve >= self.messages_per_second:
            raise ValueError("cancel_reserve should be smaller than messages_per_second")
        return self


class BreakerSettings(Section):
    """When to stop trying, and for how long."""

    failures: Annotated[int, Field(ge=1, le=1_000), Setting("failures in a row that open the breaker")] = 3
    cooldown: Annotated[Seconds, Setting("how long it stays open the first time", unit="seconds")] = 30.0
    max_cooldown: Annotated[Seconds, Setting("what the growing cool-down never exceeds", unit="seconds")] = 300.0
    half_open_trials: Annotated[int, Field(ge=1, le=100), Setting("trial calls let through afterwards")] = 1
    failure_rate: Annotated[
        float, Field(gt=0, le=1, allow_inf_nan=False), Setting("share of failures that opens it as well")
    ] = 0.5
    minimum_sample: Annotated[int, Field(ge=1, le=100_000), Setting("calls needed before that share counts")] = 20
    slow_after: Annotated[
        Seconds | None, Setting("an answer that takes longer is slow; none: none is", unit="seconds")
    ] = None
    slow_rate: Annotated[
        float, Field(gt=0, le=1, allow_inf_nan=False), Setting("share of slow answers that opens it as well")
    ] = 0.8
    action: Annotated[
        Literal["protect", "watch", "off"],
        Setting("protect; watch: count and refuse nothing; off: neither. An operator can open it in any case"),
    ] = "protect"

    @model_validator(mode="after")
    def _cooldowns_ordered(self) -> BreakerSettings:
        if self.max_cooldown < self.cooldown:
            raise ValueError("max_cooldown should not be smaller than cooldown")
        return self


class TimeSettings(Section):
    """Time of the market, where a paper gateway runs it faster than the wall clock."""

    time_scale: Annotated[
        float,
        Field(gt=0, le=100_000, allow_inf_nan=False),
        Setting("speed of market time; paper only", unit="market seconds per second"),
    ] = 1.0


class WatchSettings(Section):
    """Metrics and health over HTTP, for Prometheus and orchestrators. Needs the extra `metrics`."""

    http_port: Annotated[
        Annotated[int, Field(ge=0, le=65_535)] | None,
        Setting("port for /metrics, /livez and /readyz; none = no server; 0 = any free port"),
    ] = None
    http_host: Annotated[
        str,
        Field(min_length=1, max_length=253),
        Setting("address to listen on; anything but loopback shows the figures to the network"),
    ] = "127.0.0.1"


_AlertFrom = Literal["info", "warning", "critical"]


class AlertSettings(Section):
    """Who is told when something is wrong. Each target has its own least severity."""

    webhook: Annotated[SecretStr, Setting("URL that gets alerts as JSON by POST; Slack and Discord understand it")] = (
        SecretStr("")
    )
    webhook_from: Annotated[_AlertFrom, Setting("least severity for the webhook")] = "warning"
    apprise: Annotated[
        SecretStr,
        Setting("apprise URLs, separated by spaces: mail, Telegram and a hundred more; needs the extra alerts"),
    ] = SecretStr("")
    apprise_from: Annotated[_AlertFrom, Setting("least severity for the apprise URLs")] = "critical"
    repeat_after: Annotated[
        float,
        Field(ge=0, le=86_400, allow_inf_nan=False),
        Setting("the same alert is not sent again before; the next one tells how often it came", unit="seconds"),
    ] = 300.0
    per_minute: Annotated[
        int,
        Field(ge=1, le=1_000),
        Setting("most alerts to one target; critical ones have as many beside them", unit="alerts per minute"),
    ] = 10
    margin_cushion: Annotated[
        Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False)] | None,
        Setting("alert when excess liquidity falls below this share of net liquidation"),
    ] = Decimal("0.1")
    position_change: Annotated[
        Annotated[Decimal, Field(gt=0, le=1_000, allow_inf_nan=False)] | None,
        Setting("alert when one position changes by this share of net liquidation within a minute"),
    ] = Decimal("0.25")


def _default_state_dir() -> Path:
    from platformdirs import user_state_path

    return user_state_path(APP_NAME, appauthor=False)


SECTIONS: Mapping[str, type[Section]] = {
    "connection": ConnectionSettings,
    "gateway": GatewaySettings,
    "paths": PathSettings,
    "orders": OrderSettings,
    "risk_limits": RiskSettings,
    "pacing": PacingSettings,
    "breaker": BreakerSettings,
    "time": TimeSettings,
    "watch": WatchSettings,
    "alerts": AlertSettings,
}


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One setting as the loader and the listing see it."""

    section: str
    key: str
    info: Setting
    secret: bool
    optional: bool

    @property
    def path(self) -> str:
        """`section.key`, as programs find it in `Settings`."""
        return f"{self.section}.{self.key}"

    def header(self, mode: str) -> str:
        """The section of the file that it stands in: the endpoint has one for paper and one for live."""
        return ("live_trading" if mode == "live" else "paper_trading") if self.info.endpoint else self.section

    def name(self, mode: str) -> str:
        """`section.key` as a file has it: the name used in errors and listings."""
        return f"{self.header(mode)}.{self.key}"

    @property
    def env(self) -> str:
        """The environment variable that sets it; empty where only the file may."""
        return "" if self.info.file_only else self.info.env or f"IBKR_{self.section}_{self.key}".upper()


def field_specs() -> Iterator[FieldSpec]:
    """Every setting there is, in the order of the template."""
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            yield FieldSpec(
                section,
                key,
                next(item for item in field.metadata if isinstance(item, Setting)),
                secret=field.annotation is SecretStr,
                optional=type(None) in get_args(field.annotation),
            )


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of `ibkr-connector config show`; secrets are masked already."""

    section: str
    key: str
    value: str
    origin: str
    unit: str
    env: str
    help: str

    def to_dict(self) -> dict[str, str]:
        """The row as plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration with the origin of every value. Rooms are handed one section each."""

    connection: ConnectionSettings = dataclass_field(default_factory=ConnectionSettings)
    gateway: GatewaySettings = dataclass_field(default_factory=GatewaySettings)
    paths: PathSettings = dataclass_field(default_factory=PathSettings)
    orders: OrderSettings = dataclass_field(default_factory=OrderSettings)
    risk_limits: RiskSettings = dataclass_field(default_factory=RiskSettings)
    pacing: PacingSettings = dataclass_field(default_factory=PacingSettings)
    breaker: BreakerSettings = dataclass_field(default_factory=BreakerSettings)
    time: TimeSettings = dataclass_field(default_factory=TimeSettings)
    agents: Mapping[str, AgentLimits] = dataclass_field(default_factory=dict)
    """`[agent.NAME]`: limits of one of the program's agents, by its name in lower case."""
    symbols: Mapping[str, SymbolLimits] = dataclass_field(default_factory=dict)
    """`[symbol.NAME]`: limits of one symbol, in lower case."""
    watch: WatchSettings = dataclass_field(default_factory=WatchSettings)
    alerts: AlertSettings = dataclass_field(default_factory=AlertSettings)
    origins: Mapping[str, Origin] = dataclass_field(default_factory=dict, repr=False, compare=False)
    """`section.key` -> where its value came from; what is missing here is a default."""
    notes: tuple[str, ...] = dataclass_field(default=(), compare=False)
    """What the user should know and the loader could not refuse: deprecated keys, likely typing errors."""
    source: Path | None = dataclass_field(default=None, compare=False)
    """The settings file that was read, if any."""

    @property
    def mode(self) -> Literal["paper", "live"]:
        """`paper` unless the configuration says `live`."""
        return self.connection.mode

    def value(self, spec: FieldSpec) -> object:
        """The value of one setting, secrets still wrapped."""
        return getattr(getattr(self, spec.section), spec.key)

    def origin_of(self, path: str) -> Origin:
        """Where the value of `section.key` came from."""
        return self.origins.get(path, DEFAULT)

    def describe(self) -> list[SettingRow]:
        """Every setting with its value and origin, secrets masked."""
        return [
            SettingRow(
                section=spec.header(self.mode),
                key=spec.key,
                value=show(self.value(spec)),
                origin=self.origin_of(spec.path).of(spec.name(self.mode)),
                unit=spec.info.unit,
                env=spec.env,
                help=spec.info.help,
            )
            for spec in field_specs()
        ] + [
            SettingRow(
                section=f"{kind}.{name}",
                key=key,
                value=show(getattr(section, key)),
                origin=str(self.origin_of(f"{kind}.{name}.{key}")),
                unit="",
                env="",
                help="",
            )
            for kind, found in (("agent", self.agents), ("symbol", self.symbols))
            for name, section in found.items()
            for key in sorted(section.model_fields_set)
        ]

    def differences(self, other: Settings) -> tuple[str, ...]:
        """The `section.key` names whose values differ: what a second connector of one profile may not change."""
        named = (("agent", self.agents, other.agents), ("symbol", self.symbols, other.symbols))
        subs = [
            f"{kind}.{name}"
            for kind, mine, theirs in named
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
        return (*(spec.name(self.mode) for spec in field_specs() if self.value(spec) != other.value(spec)), *subs)


def show(value: object) -> str:
    """A value as the settings file would write it; a secret as a mask."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(show(part) for part in value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value)
