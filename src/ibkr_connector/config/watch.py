"""`[watch]` and `[alerts]`: who may look, and who is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from ibkr_connector.config.section import Section, Setting


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
