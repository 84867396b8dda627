"""A gateway with a Web front, and connectors that speak to it: what tests of the web backend share."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_connector.paper import ExchangeBehavior, PaperGateway, WebOptions
from ibkr_connector.resilience import web_rules
from support.connector import ACCOUNT, FAST

WEB_FAST: dict[str, Any] = {**FAST, "backend": "web", "handshake_timeouts": (10.0, 10.0, 10.0)}
"""`FAST`, over the Web API."""


def web_gateway(*, web: WebOptions | None = None, **arguments: Any) -> PaperGateway:
    """A gateway with both fronts on free ports, seeded; without limits unless `web` says so."""
    behavior = ExchangeBehavior(duplicate_status_probability=0.0, filled_before_exec_probability=0.0)
    options = {"seed": 7, "behavior": behavior, "accounts": (ACCOUNT,), **arguments}
    return PaperGateway(tws_port=0, web_port=0, web=web or WebOptions(limits=None), **options)


def web_settings(gateway: PaperGateway, **overrides: Any) -> dict[str, Any]:
    """Arguments of a connector that reaches `gateway` over its Web front; sections are merged."""
    settings: dict[str, Any] = {**WEB_FAST, **overrides}
    settings["orders"] = {**FAST["orders"], **overrides.get("orders", {})}
    settings.setdefault("messages_per_second", 400)
    settings["web"] = {"url": gateway.web.url, **overrides.get("web", {})}
    return settings


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connectors made from now on ask as fast as they like, where the gateway does not limit them either.

    IBKR's own limits make the start of a session take ten seconds; what is tested is what happens.
    """
    fast = dict.fromkeys(web_rules._RATES, (1000, 1.0))
    monkeypatch.setattr(web_rules, "_RATES", fast)
    monkeypatch.setattr(web_rules, "GATEWAY_PER_SECOND", 1_000)
    monkeypatch.setattr(web_rules, "OAUTH_PER_SECOND", 1_000)
