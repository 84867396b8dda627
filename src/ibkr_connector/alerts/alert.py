"""Which events are worth an alert, and what it says. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ibkr_connector.events import BrokerLinkChanged, Event, Incident, LinkChanged, Severity
from ibkr_connector.logs import redact, redact_value

_RANK = {Severity.INFO: 0, Severity.WARNING: 1, Severity.CRITICAL: 2}
_LOST = ("reconnecting", "circuit_open")
_LONGEST = 2_000
"""Characters of a text: chat services refuse longer ones."""

TITLES = {
    "connection_lost": "Connection to IBKR lost",
    "connection_up": "Connection to IBKR is up",
    "broker_link_lost": "The gateway lost its link to IBKR",
    "broker_link_restored": "The gateway has its link to IBKR again",
    "breaker_open": "Circuit breaker open",
    "order_rejected": "Order rejected by the broker",
    "order_in_doubt": "Order in doubt",
    "order_forked": "The broker made two orders of one",
    "order_revived": "An order that had ended is alive",
    "echo_drift": "The broker holds another order than was sent",
    "bracket_incomplete": "A bracket has lost an exit",
    "executions_missing": "Executions are missing",
    "needs_operator": "An order needs your word",
    "incomplete_evidence": "The broker's answer was incomplete",
    "killed": "Trading was stopped",
    "reducing": "Only reducing orders are let through",
    "resumed": "Trading was resumed",
    "flatten_incomplete": "Not every position could be closed",
    "daily_loss": "Daily loss limit passed",
    "margin_low": "Margin is short",
    "position_change": "Large position change",
    "credential_use": "The IBKR login was used",
    "journal_unwritable": "The order journal cannot be written",
    "order_not_journaled": "An order was sent without the journal",
    "gateway_restarted": "The gateway was restarted",
    "gateway_restart_failed": "The gateway could not be restarted",
    "pacing_not_kept": "History pacing is not kept over restarts",
    "reconnect_refused": "Reconnecting was refused",
    "unexpected_exception": "Unexpected exception",
    "watch_unavailable": "Metrics and health are not served",
}


def reaches(severity: Severity, least: Severity) -> bool:
    """Whether `severity` is at least `least`."""
    return _RANK[severity] >= _RANK[least]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What a person is told. Texts hold no secrets."""

    kind: str
    severity: Severity
    text: str
    at: datetime
    about: str = ""
    """What tells two alerts of one kind apart: an order's ref, a breaker's name."""
    context: dict[str, Any] = field(default_factory=dict)
    repeats: int = 0
    """How often the same was held back since it was last sent."""
    held_back: int = 0
    """How many other alerts the rate limit has held back since the last one that was sent."""

    @property
    def title(self) -> str:
        """A short headline."""
        return TITLES.get(self.kind, self.kind.replace("_", " ").capitalize())

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "severity": self.severity.value,
            "title": self.title,
            "text": self.text,
            "at": self.at.isoformat(),
            "about": self.about,
            "context": self.context,
            "repeats": self.repeats,
            "held_back": self.held_back,
        }


def alert_of(event: Event) -> Alert | None:
    """The alert that an event means; None for what is no news to a person."""
    if isinstance(event, LinkChanged):
        return _link_alert(event)
    if isinstance(event, BrokerLinkChanged):
        if event.what != "broker":
            return None  # a data farm: daily noise, and the quote gate's affair
        kind = "broker_link_restored" if event.up else "broker_link_lost"
        severity = Severity.INFO if event.up else Severity.CRITICAL
        return _alert(kind, severity, f"code {event.code}: {event.text}", event)
    if isinstance(event, Incident):
        about = str(event.context.get("order_ref") or event.context.get("about") or "")
        return _alert(event.kind, event.severity, event.text, event, about=about, context=event.context)
    return None


def _link_alert(event: LinkChanged) -> Alert | None:
    change = f"{event.previous} → {event.state}" + (f": {event.reason}" if event.reason else "")
    if event.previous in ("ready", "syncing") and event.state in _LOST:
        return _alert("connection_lost", Severity.CRITICAL, change, event)
    if event.state == "ready":
        return _alert("connection_up", Severity.INFO, change, event)
    return None


def _alert(
    kind: str,
    severity: Severity,
    text: str,
    event: Event,
    *,
    about: str = "",
    context: dict[str, Any] | None = None,
) -> Alert:
    clean = {key: redact_value(key, value) for key, value in (context or {}).items()}
    return Alert(
        kind=kind, severity=severity, text=redact(text)[:_LONGEST], at=event.at, about=redact(about), context=clean
    )


def with_counts(alert: Alert, *, repeats: int, held_back: int) -> Alert:
    """The same alert with what was held back before it."""
    return replace(alert, repeats=repeats, held_back=held_back)
