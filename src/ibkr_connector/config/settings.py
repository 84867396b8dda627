"""The whole configuration: all sections, where each value came from, and how it is listed.

A section is one room's, with type, bounds, unit and default of each setting: the larger ones have files of their own. A
room is given its own section, never the whole. How values are found (arguments, environment, file) is the business of
`load`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field as dataclass_field, fields
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, SecretStr

from ibkr_connector.config.connection import LIVE_PORT, ConnectionSettings
from ibkr_connector.config.gateway import GatewaySettings
from ibkr_connector.config.oauth import OAuthSettings
from ibkr_connector.config.origin import DEFAULT, Origin
from ibkr_connector.config.resilience import BreakerSettings, PacingSettings
from ibkr_connector.config.risk import AgentLimits, RiskSettings, SymbolLimits
from ibkr_connector.config.secretspec import SecretSpec
from ibkr_connector.config.section import Seconds, Section, Setting
from ibkr_connector.config.watch import AlertSettings, WatchSettings
from ibkr_connector.config.web import WebSettings

__all__ = [
    "APP_NAME",
    "LIVE_PORT",
    "MASK",
    "SECTIONS",
    "AgentLimits",
    "AlertSettings",
    "BreakerSettings",
    "ConnectionSettings",
    "FieldSpec",
    "GatewaySettings",
    "OAuthSettings",
    "OrderSettings",
    "PacingSettings",
    "PathSettings",
    "RiskSettings",
    "SettingRow",
    "Settings",
    "SymbolLimits",
    "TimeSettings",
    "WatchSettings",
    "WebSettings",
    "field_specs",
    "show",
]

APP_NAME = "ibkr-connector"
MASK = "********"


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


class TimeSettings(Section):
    """Time of the market, where a paper gateway runs it faster than the wall clock."""

    time_scale: Annotated[
        float,
        Field(gt=0, le=100_000, allow_inf_nan=False),
        Setting("speed of market time; paper only", unit="market seconds per second"),
    ] = 1.0


def _default_state_dir() -> Path:
    from platformdirs import user_state_path

    return user_state_path(APP_NAME, appauthor=False)


SECTIONS: Mapping[str, type[Section]] = {
    "connection": ConnectionSettings,
    "web": WebSettings,
    "oauth": OAuthSettings,
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
                secret=isinstance(field.annotation, type) and issubclass(field.annotation, SecretStr),
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
    web: WebSettings = dataclass_field(default_factory=WebSettings)
    oauth: OAuthSettings = dataclass_field(default_factory=OAuthSettings)
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
    """A value as the settings file would write it; a secret as a mask, or as where it is kept."""
    if isinstance(value, SecretSpec) and value.reference is not None:
        return str(value.reference)
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
