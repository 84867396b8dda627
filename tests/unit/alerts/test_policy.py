"""Alerts: what is sent now, what is held back, and what is said about it later."""

from __future__ import annotations

from datetime import UTC, datetime

from ibkr_connector.alerts.alert import Alert, alert_of
from ibkr_connector.alerts.policy import AlertPolicy
from ibkr_connector.events import BrokerLinkChanged, Incident, LinkChanged, OrderUpdated, Severity
from ibkr_connector.secrets import Secret

AT = datetime(2026, 1, 5, tzinfo=UTC)


def alert(kind: str = "order_rejected", about: str = "", severity: Severity = Severity.WARNING) -> Alert:
    return Alert(kind=kind, severity=severity, text="text", at=AT, about=about)


def policy(least: Severity = Severity.WARNING, repeat_after: float = 300.0, per_minute: int = 3) -> AlertPolicy:
    return AlertPolicy(least=least, repeat_after=repeat_after, per_minute=per_minute)


def test_the_same_alert_is_sent_once_and_the_next_one_says_how_often_it_was_held_back() -> None:
    gate = policy()
    assert gate.admit(alert(about="a"), 0.0) is not None
    assert [gate.admit(alert(about="a"), at) for at in (1.0, 100.0, 299.9)] == [None, None, None]
    again = gate.admit(alert(about="a"), 300.0)
    assert again is not None
    assert (again.repeats, again.held_back) == (3, 0)
    assert gate.admit(alert(about="b"), 300.0) is not None


def test_a_flood_is_cut_off_and_counted_in_the_next_alert() -> None:
    gate = policy(per_minute=3)
    sent = [gate.admit(alert(about=str(number)), float(number)) for number in range(10)]
    assert [one is not None for one in sent] == [True] * 3 + [False] * 7
    later = gate.admit(alert(about="later"), 61.0)
    assert later is not None
    assert later.held_back == 7


def test_warnings_leave_room_for_critical_alerts() -> None:
    gate = policy(per_minute=1)
    assert gate.admit(alert(about="1"), 0.0) is not None
    assert gate.admit(alert(about="2"), 0.0) is None
    assert gate.admit(alert("killed", severity=Severity.CRITICAL), 0.0) is not None


def test_a_target_hears_nothing_below_its_severity() -> None:
    gate = policy(least=Severity.CRITICAL)
    assert gate.admit(alert(severity=Severity.WARNING), 0.0) is None
    assert gate.admit(alert(severity=Severity.INFO), 0.0) is None
    assert gate.admit(alert(severity=Severity.CRITICAL), 0.0) is not None


def test_an_alert_that_did_not_get_through_is_no_repeat() -> None:
    gate = policy()
    first = gate.admit(alert(), 0.0)
    assert first is not None
    gate.failed(first)
    assert gate.admit(alert(), 1.0) is not None


def test_a_policy_forgets_the_oldest_beyond_its_bound() -> None:
    gate = policy(per_minute=100_000)
    for number in range(5_000):
        gate.admit(alert(about=str(number)), 0.0)
    assert gate.admit(alert(about="0"), 1.0) is not None
    assert gate.admit(alert(about="4999"), 1.0) is None


def link(previous: str, state: str) -> LinkChanged:
    return LinkChanged(at=AT, previous=previous, state=state, reason="why")


def test_a_lost_connection_is_critical_and_its_return_is_told() -> None:
    lost, back = alert_of(link("ready", "reconnecting")), alert_of(link("syncing", "ready"))
    assert lost is not None
    assert back is not None
    assert (lost.kind, lost.severity) == ("connection_lost", Severity.CRITICAL)
    assert (back.kind, back.severity) == ("connection_up", Severity.INFO)
    assert alert_of(link("ready", "closed")) is None
    assert alert_of(link("reconnecting", "connecting")) is None


def test_a_lost_broker_link_is_told_and_a_data_farm_is_not() -> None:
    def news(what: str, *, up: bool) -> Alert | None:
        return alert_of(BrokerLinkChanged(at=AT, what=what, up=up, code=1100, text="lost"))

    lost = news("broker", up=False)
    assert lost is not None
    assert (lost.kind, lost.severity) == ("broker_link_lost", Severity.CRITICAL)
    assert news("usfarm", up=False) is None
    assert alert_of(OrderUpdated(at=AT, order_ref="a", what="status")) is None


def test_an_alert_holds_no_secret_and_is_not_endless() -> None:
    Secret("hunter2-of-the-alert")
    told = alert_of(
        Incident(
            at=AT,
            severity=Severity.CRITICAL,
            kind="unexpected_exception",
            text="login with hunter2-of-the-alert failed " + "x" * 5_000,
            context={"order_ref": "hunter2-of-the-alert", "password": "abc", "number": 5},
        )
    )
    assert told is not None
    assert "hunter2" not in str(told.to_dict())
    assert (told.context["password"], told.context["number"]) == ("[redacted]", 5)
    assert len(told.text) == 2_000
    assert told.title == "Unexpected exception"
    assert alert("some_new_kind").title == "Some new kind"
