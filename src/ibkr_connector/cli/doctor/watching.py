"""The checks of `doctor` about metrics, health and alerts."""

from __future__ import annotations

import errno
import ipaddress
import socket
from urllib.parse import urlsplit

from ibkr_connector.alerts.targets import AppriseTarget, WebhookTarget
from ibkr_connector.cli.doctor.checks import Check, fail, ok, warn
from ibkr_connector.config import Settings
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.watch.metrics import prometheus
from ibkr_connector.watch.server import aiohttp_web


def watch_check(settings: Settings) -> Check:
    """Whether metrics and health can be served where the settings say, and who can see them there."""
    name = "metrics and health"
    host, port = settings.watch.http_host, settings.watch.http_port
    if port is None:
        return ok(name, "off ([watch] http_port)")
    try:
        prometheus()
        aiohttp_web()
    except ConfigurationError as error:
        return fail(name, error.message, error.remedy)
    taken = _why_not(host, port)
    if taken is not None and taken.errno == errno.EADDRINUSE:
        return warn(
            name,
            f"{host}:{port} is in use",
            "Nothing to do if that is your running program; else choose another http_port.",
        )
    if taken is not None:
        return fail(name, f"{host}:{port} cannot be listened on: {taken.strerror or taken}", "Correct http_host.")
    if not _is_loopback(host):
        return warn(
            name,
            f"{host}:{port} can be reached from the network, and asks nobody for a password",
            "Use 127.0.0.1, or let nobody but your Prometheus through to it.",
        )
    return ok(name, f"{host}:{port} is free")


def _why_not(host: str, port: int) -> OSError | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def alerts_check(settings: Settings) -> Check:
    """Whether the targets can be used; nothing is sent, and no address is shown."""
    name = "alerts"
    webhook = settings.alerts.webhook.get_secret_value().strip()
    urls = settings.alerts.apprise.get_secret_value().split()
    targets = []
    try:
        if webhook:
            WebhookTarget(webhook)
            targets.append(f"webhook from {settings.alerts.webhook_from}")
        for number, url in enumerate(urls, 1):
            AppriseTarget(url, number)
        if urls:
            targets.append(f"{len(urls)} by apprise from {settings.alerts.apprise_from}")
    except ConfigurationError as error:
        return fail(name, error.message, error.remedy)
    if not targets:
        if settings.mode == "live":
            return warn(name, "nobody is told when something goes wrong", "Set [alerts] webhook or apprise.")
        return ok(name, "none ([alerts] webhook, apprise)")
    shown = ", ".join(targets)
    if webhook and urlsplit(webhook).scheme == "http" and not _is_loopback(urlsplit(webhook).hostname or ""):
        return warn(name, f"{shown}; the webhook is not encrypted", "Use its https:// address.")
    return ok(name, shown)
