"""Where alerts go: a webhook (standard library alone), or what apprise reaches (extra `alerts`).

A target blocks as long as it must: it is called on its own listener's thread. Its address is a secret; what goes wrong
is told without it.
"""

from __future__ import annotations

import http.client
import importlib
import json
import ssl
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from ibkr_connector.alerts.alert import Alert
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.events import Severity
from ibkr_connector.logs import install_redaction, register_secret
from ibkr_connector.secrets import Secret

TIMEOUT_S = 5.0
_LARGEST_ANSWER = 65_536


class SendFailed(Exception):
    """An alert did not get through. `again`: another try may help. The text names no address."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


class AlertTarget(Protocol):
    """Something that tells people."""

    @property
    def name(self) -> str:
        """For logs and metrics; holds no secret."""
        ...

    def send(self, alert: Alert, source: str) -> None:
        """Tell, now, blocking. `source` names the program and its mode. Raises `SendFailed`."""
        ...


class WebhookTarget:
    """POSTs the alert as JSON. `text` and `content` hold it as one line: Slack shows the one, Discord the other."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        parts = _parts(url)
        if parts is None:
            raise ConfigurationError(
                "alerts.webhook is not a web address.",
                remedy="Write the whole URL, beginning with https://.",
                field="alerts.webhook",
            )
        self._url = Secret(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if len(path) > 1:
            register_secret(path)  # for most services the path is the password
        if parts.password:
            register_secret(parts.password)

    def send(self, alert: Alert, source: str) -> None:
        """See `AlertTarget.send`."""
        line = one_line(alert, source)
        body = json.dumps({**alert.to_dict(), "source": source, "text": line, "content": line, "detail": alert.text})
        parts = urlsplit(self._url.reveal())
        connection = _connection(parts.scheme, parts.hostname or "", parts.port)
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"Content-Type": "application/json", "User-Agent": "ibkr-connector", "Connection": "close"}
            connection.request("POST", path, body.encode(), headers)
            answer = connection.getresponse()
            answer.read(_LARGEST_ANSWER)
            status = answer.status
        except (OSError, http.client.HTTPException) as error:
            raise SendFailed(f"{type(error).__name__} while posting", again=True) from None
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise SendFailed(f"the webhook answered {status}", again=status in (408, 425, 429) or status >= 500)


def _parts(url: str) -> SplitResult | None:
    """The address taken apart; None when it is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


class AppriseTarget:
    """Hands the alert to apprise, which knows how to reach a hundred services; one target per URL, so that one that is
    down delays and repeats nothing at the others.
    """

    def __init__(self, url: str, number: int) -> None:
        library = _apprise()
        install_redaction("apprise")
        register_secret(url)
        self.name = f"apprise-{number}"
        # The service itself, not an `Apprise` of one: that would send from thread pools which live with the process.
        self._service: Any = library.Apprise.instantiate(url)
        if not self._service:
            raise ConfigurationError(
                f"apprise does not understand URL {number} of alerts.apprise.",
                remedy="Check its form on apprise's page of services.",
                field="alerts.apprise",
            )
        kind = library.NotifyType
        self._kinds = {Severity.INFO: kind.INFO, Severity.WARNING: kind.WARNING, Severity.CRITICAL: kind.FAILURE}

    def send(self, alert: Alert, source: str) -> None:
        """See `AlertTarget.send`."""
        try:
            sent = self._service.notify(
                title=f"{source}: {alert.title}", body=_body(alert), notify_type=self._kinds[alert.severity]
            )
        except Exception as error:  # noqa: BLE001 - a service's plugin may raise anything; its text may hold the URL
            raise SendFailed(f"{type(error).__name__} in apprise", again=True) from None
        if not sent:
            raise SendFailed("apprise could not reach the service", again=True)


def _apprise() -> Any:
    try:
        return importlib.import_module("apprise")
    except ImportError:
        raise ConfigurationError(
            "alerts.apprise is set, but the apprise library is not installed.",
            remedy='Install the extra: pip install "ibkr-connector[alerts]", or use alerts.webhook, which needs none.',
            field="alerts.apprise",
        ) from None


def one_line(alert: Alert, source: str) -> str:
    """The alert in a line."""
    return f"[{alert.severity.value.upper()}] {source}: {alert.title}: {_body(alert)}"


def _body(alert: Alert) -> str:
    notes = []
    if alert.repeats:
        notes.append(f"{alert.repeats} more of the same before")
    if alert.held_back:
        notes.append(f"{alert.held_back} other alerts were held back")
    return alert.text + (f" ({'; '.join(notes)})" if notes else "")
