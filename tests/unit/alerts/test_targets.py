"""Targets against a local receiver: what is posted, what is tried again, and that no address leaks."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from ibkr_connector.alerts.alert import Alert
from ibkr_connector.alerts.room import Alerts
from ibkr_connector.alerts.targets import AppriseTarget, SendFailed, WebhookTarget
from ibkr_connector.clock import system_clock
from ibkr_connector.config.settings import AlertSettings
from ibkr_connector.errors import ConfigurationError
from ibkr_connector.events import EventBus, Incident, Severity
from ibkr_connector.meters import Meters
from support.receiver import Receiver

AT = datetime(2026, 1, 5, tzinfo=UTC)
ALERT = Alert(kind="order_in_doubt", severity=Severity.CRITICAL, text="order X: no answer", at=AT, about="X", repeats=2)


def incident(number: int, severity: Severity = Severity.CRITICAL) -> Incident:
    return Incident(at=AT, severity=severity, kind="echo_drift", text="t", context={"order_ref": str(number)})


def room(meters: Meters, **settings: Any) -> Alerts:
    return Alerts(AlertSettings(**settings), source="test (paper)", clock=system_clock, meters=meters)


def test_a_webhook_gets_the_alert_as_json_that_chat_services_understand() -> None:
    with Receiver() as receiver:
        WebhookTarget(receiver.url).send(ALERT, "main (paper)")
    (post,) = receiver.posts
    assert receiver.paths == ["/services/T0SECRET/hook-secret-path"]
    assert (post["kind"], post["severity"], post["about"], post["source"]) == (
        "order_in_doubt",
        "critical",
        "X",
        "main (paper)",
    )
    assert post["text"] == post["content"]
    assert "main (paper): Order in doubt: order X: no answer (2 more of the same before)" in post["text"]


@pytest.mark.parametrize(("status", "again"), [(404, False), (302, False), (429, True), (503, True)])
def test_a_refused_alert_is_tried_again_only_where_that_may_help(status: int, again: bool) -> None:
    with Receiver() as receiver:
        receiver.status = status
        with pytest.raises(SendFailed, match=str(status)) as caught:
            WebhookTarget(receiver.url).send(ALERT, "x")
    assert caught.value.again is again


def test_what_goes_wrong_is_told_without_the_address(caplog: pytest.LogCaptureFixture) -> None:
    with Receiver() as receiver:
        url = receiver.url
    target = WebhookTarget(url)  # nobody listens there any more
    with pytest.raises(SendFailed) as caught:
        target.send(ALERT, "x")
    logging.getLogger("ibkr_connector.test").error("POST %s failed, path /services/T0SECRET/hook-secret-path", url)
    assert "SECRET" not in f"{caught.value!r} {target!r} {vars(target)}"
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    "url", ["hooks.example.org/x", "ftp://example.org/x", "https:///x", "https://a.example:port/x"]
)
def test_an_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WebhookTarget(url)
    assert url not in str(caught.value)


def test_apprise_reaches_a_service() -> None:
    pytest.importorskip("apprise", reason="the extra alerts is not installed")
    with Receiver() as receiver:
        AppriseTarget(f"json://127.0.0.1:{receiver.port}/secret-of-apprise", 1).send(ALERT, "main (paper)")
    (post,) = receiver.posts
    assert post["title"] == "main (paper): Order in doubt"
    assert post["type"] == "failure"
    assert "no answer" in post["message"]


def test_apprise_that_cannot_reach_its_service_says_so_without_the_url(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("apprise", reason="the extra alerts is not installed")
    with Receiver() as receiver:
        url = f"json://127.0.0.1:{receiver.port}/secret-of-apprise"
    with pytest.raises(SendFailed, match="could not reach"):
        AppriseTarget(url, 1).send(ALERT, "x")
    assert "secret-of-apprise" not in caplog.text


def test_a_wrong_apprise_url_is_refused_by_its_number() -> None:
    pytest.importorskip("apprise", reason="the extra alerts is not installed")
    with pytest.raises(ConfigurationError, match="URL 2") as caught:
        room(Meters(), apprise=SecretStr("json://127.0.0.1:9/a nonsense://secret-token"))
    assert "secret-token" not in str(caught.value)


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("ibkr_connector.alerts.targets.importlib.import_module", missing)
    with pytest.raises(ConfigurationError) as caught:
        AppriseTarget("json://127.0.0.1/", 1)
    assert 'pip install "ibkr-connector[alerts]"' in caught.value.remedy


def test_a_failing_receiver_gets_three_tries_and_the_next_alert_is_sent() -> None:
    meters, bus = Meters(), EventBus()
    with Receiver() as receiver:
        receiver.status = 503
        alerts = room(meters, webhook=SecretStr(receiver.url))
        alerts.start(bus)
        alerts.start(bus)  # twice changes nothing
        bus.publish(incident(1))
        receiver.wait(lambda posts: len(posts) == 3)
        receiver.status = 200
        bus.publish(incident(1))  # the same again: it never got through, so it is no repeat
        receiver.wait(lambda posts: len(posts) == 4)
        alerts.stop()
        bus.close(5.0)
    assert meters.read().counts["alerts"] == {("webhook", "failed"): 1, ("webhook", "sent"): 1}


def test_a_hanging_target_delays_neither_another_target_nor_the_publisher() -> None:
    pytest.importorskip("apprise", reason="the extra alerts is not installed")
    meters, bus = Meters(), EventBus()
    with Receiver() as slow, Receiver() as quick:
        slow.hold.clear()
        alerts = room(
            meters, webhook=SecretStr(slow.url), apprise=SecretStr(f"json://127.0.0.1:{quick.port}/"), per_minute=100
        )
        alerts.start(bus)
        for number in range(5):
            bus.publish(incident(number))
        quick.wait(lambda posts: len(posts) == 5)
        assert slow.posts == []
        assert {one.name: one.waiting > 0 for one in bus.listeners}["alerts-webhook"]
        slow.hold.set()
        slow.wait(lambda posts: len(posts) == 5)
        alerts.stop()
        bus.close(5.0)


def test_each_target_has_its_own_least_severity() -> None:
    pytest.importorskip("apprise", reason="the extra alerts is not installed")
    bus = EventBus()
    with Receiver() as all_of_them, Receiver() as critical:
        alerts = room(
            Meters(),
            webhook=SecretStr(all_of_them.url),
            webhook_from="info",
            apprise=SecretStr(f"json://127.0.0.1:{critical.port}/"),
        )
        assert alerts.targets == ("webhook", "apprise-1")
        alerts.start(bus)
        for number, severity in enumerate(Severity):
            bus.publish(incident(number, severity))
        all_of_them.wait(lambda posts: len(posts) == 3)
        critical.wait(lambda posts: len(posts) == 1)
        bus.close(5.0)
    assert [post["severity"] for post in all_of_them.posts] == ["info", "warning", "critical"]
    assert [post["type"] for post in critical.posts] == ["failure"]


def test_closing_does_not_wait_for_the_pauses_between_tries() -> None:
    bus, ended = EventBus(), threading.Event()
    with Receiver() as receiver:
        receiver.status = 503
        alerts = room(Meters(), webhook=SecretStr(receiver.url))
        alerts.stop()
        alerts.start(bus)
        bus.publish(incident(1))
        receiver.wait(lambda posts: len(posts) == 1)
        bus.close(5.0)
        ended.set()
    assert len(receiver.posts) == 1
