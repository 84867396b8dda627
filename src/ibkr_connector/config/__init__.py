"""The configuration: `load_settings()` finds it, `Settings` holds it, each room is handed its own section."""

from __future__ import annotations

from ibkr_connector.config.load import CONFIG_NAME, CONFIG_VARIABLE, find_config, load_settings
from ibkr_connector.config.oauth import OAuthSettings
from ibkr_connector.config.origin import Origin, OriginKind
from ibkr_connector.config.risk import AgentLimits, RiskSettings, SymbolLimits
from ibkr_connector.config.settings import (
    BreakerSettings,
    ConnectionSettings,
    OrderSettings,
    PacingSettings,
    PathSettings,
    SettingRow,
    Settings,
    TimeSettings,
)
from ibkr_connector.config.template import template_text, write_template

__all__ = [
    "CONFIG_NAME",
    "CONFIG_VARIABLE",
    "AgentLimits",
    "BreakerSettings",
    "ConnectionSettings",
    "OAuthSettings",
    "OrderSettings",
    "Origin",
    "OriginKind",
    "PacingSettings",
    "PathSettings",
    "RiskSettings",
    "SettingRow",
    "Settings",
    "SymbolLimits",
    "TimeSettings",
    "find_config",
    "load_settings",
    "template_text",
    "write_template",
]
