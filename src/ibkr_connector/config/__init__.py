"""The configuration: `load_settings()` finds it, `Settings` holds it, each room is handed its own section."""

from __future__ import annotations

from .load import CONFIG_NAME, CONFIG_VARIABLE, find_config, load_settings
from .origin import Origin, OriginKind
from .risk import AgentLimits, RiskLimits, SymbolLimits
from .settings import (
    BreakerSettings,
    ConnectionSettings,
    OrderSettings,
    PacingSettings,
    PathSettings,
    SettingRow,
    Settings,
    TimeSettings,
)
from .template import template_text, write_template

__all__ = [
    "CONFIG_NAME",
    "CONFIG_VARIABLE",
    "AgentLimits",
    "BreakerSettings",
    "ConnectionSettings",
    "OrderSettings",
    "Origin",
    "OriginKind",
    "PacingSettings",
    "PathSettings",
    "RiskLimits",
    "SettingRow",
    "Settings",
    "SymbolLimits",
    "TimeSettings",
    "find_config",
    "load_settings",
    "template_text",
    "write_template",
]
