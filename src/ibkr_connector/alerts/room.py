"""The targets of one connector: each a listener of the bus with a thread, a policy and retries of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ibkr_connector.alerts.alert import alert_of
from ibkr_connector.alerts.policy import AlertPolicy
from ibkr_connector.alerts.targets import AlertTarget, AppriseTarget, SendFailed, WebhookTarget
from ibkr_connector.clock import Clock
from ibkr_connector.config.settings import AlertSettings
from ibkr_connector.events import Event, EventBus, Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.meters import Meters

_log = get_logger(__name__)
_PAUSES_S = (0.5, 2.0)
"""Before the second and the third try."""


class Alerts:
    """Made with the connector, listens from `start` on. Raises ConfigurationError for a target that cannot be."""

    def __init__(self, settings: AlertSettings, *, source: str, clock: Clock, meters: Meters) -> None:
        self._settings = settings
        self._source = source
        self._clock = clock
        self._meters = meters
        self._targets: list[tuple[AlertTarget, Severity]] = []
        self._stopping = threading.Event()
        self._stops: list[Callable[[], None]] = []
        if url := settings.webhook.get_secret_value().strip():
            self._targets.append((WebhookTarget(url), Severity(settings.webhook_from)))
        for number, one in enumerate(settings.apprise.get_secret_value().split(), 1):
            self._targets.append((AppriseTarget(one, number), Severity(settings.apprise_from)))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(target.name for target, _ in self._targets)

    def start(self, bus: EventBus) -> None:
        """Listen. Once."""
        if self._stops:
            return
        for target, least in self._targets:
            policy = AlertPolicy(
                least=least, repeat_after=self._settings.repeat_after, per_minute=self._settings.per_minute
            )
            self._stops.append(bus.subscribe(self._listener(target, policy), name=f"alerts-{target.name}"))

    def stop(self) -> None:
        """No more pauses between tries: what is queued is tried once, and the bus ends the threads."""
        self._stopping.set()

    def _listener(self, target: AlertTarget, policy: AlertPolicy) -> Callable[[Event], None]:
        def listen(event: Event) -> None:
            alert = alert_of(event)
            if alert is None:
                return
            admitted = policy.admit(alert, self._clock.monotonic())
            if admitted is None:
                return
            for pause in (*_PAUSES_S, None):
                try:
                    target.send(admitted, self._source)
                except SendFailed as error:
                    if pause is not None and error.again and not self._stopping.wait(pause):
                        continue
                    policy.failed(admitted)
                    self._meters.count("alerts", target.name, "failed")
                    _log.error("an alert could not be sent", target=target.name, alert=alert.kind, error=str(error))
                else:
                    self._meters.count("alerts", target.name, "sent")
                return

        return listen
