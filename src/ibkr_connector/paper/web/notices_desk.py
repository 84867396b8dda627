"""Alerts and FYI notices: settings that are kept and never do anything, as nobody is there to be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from typing import Final

from .calls import Call, Endpoint, Fields, Json, Reply, WebError, bad_request
from .hub import WebHub

MAX_ALERTS: Final = 200
MAX_CONDITIONS: Final = 20
FIRST_ALERT: Final = 100_001
_DONE: Final = {"V": 1, "T": 10}
_SETTINGS: Final = {
    "BA": ("Borrow Availability", "Notify me when shares become available that could not be borrowed before."),
    "OE": ("Option or Future expiration", "Notify me before my options or futures expire."),
}
_DISCLAIMER: Final = "Notices of a paper gateway: for tests only."


@dataclass(slots=True)
class _Alert:
    id: int
    account: str
    values: dict[str, Json]
    conditions: list[dict[str, Json]]
    time: str
    active: bool = True
    settings: dict[str, Json] = field(default_factory=dict)


class NoticesDesk:
    """Answers about alerts and below fyi."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._alerts: dict[int, _Alert] = {}
        self._requests = 0
        self._off: set[str] = set()
        self._devices: dict[str, Json] = {}
        self._email = True

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        account = "iserver/account"
        return [
            Endpoint("GET", f"{account}/{{account}}/alerts", "alerts", self._list),
            Endpoint("GET", f"{account}/alert/{{alert}}", "alert", self._detail),
            Endpoint("GET", f"{account}/mta", "mta_alert", self._mta),
            Endpoint("POST", f"{account}/{{account}}/alert", "alert_create", self._create),
            Endpoint("POST", f"{account}/{{account}}/alert/activate", "alert_activate", self._activate),
            Endpoint("DELETE", f"{account}/{{account}}/alert/{{alert}}", "alert_delete", self._delete),
            Endpoint("GET", "fyi/unreadnumber", "fyi", self._unread, "login"),
            Endpoint("GET", "fyi/settings", "fyi", self._settings, "login"),
            Endpoint("POST", "fyi/settings/{code}", "fyi", self._set, "login"),
            Endpoint("GET", "fyi/disclaimer/{code}", "fyi", self._disclaimer, "login"),
            Endpoint("PUT", "fyi/disclaimer/{code}", "fyi", self._read_disclaimer, "login"),
            Endpoint("GET", "fyi/deliveryoptions", "fyi", self._delivery, "login"),
            Endpoint("PUT", "fyi/deliveryoptions/email", "fyi", self._set_email, "login"),
            Endpoint("POST", "fyi/deliveryoptions/device", "fyi", self._add_device, "login"),
            Endpoint("DELETE", "fyi/deliveryoptions/{device}", "fyi", self._remove_device, "login"),
            Endpoint("GET", "fyi/notifications", "fyi", self._nothing, "login"),
            Endpoint("GET", "fyi/notifications/more", "fyi", self._nothing, "login"),
            Endpoint("PUT", "fyi/notifications/{notice}", "fyi", self._mark, "login"),
        ]

    # --- alerts ------------------------------------------------------------------------------------------------------

    def _row(self, alert: _Alert) -> dict[str, Json]:
        fields = Fields(alert.values)
        return {
            "account": alert.account,
            "order_id": alert.id,
            "alert_name": fields.text("alertName"),
            "alert_active": int(alert.active),
            "alert_repeatable": fields.integer("alertRepeatable") or 0,
            "order_time": alert.time,
            "alert_triggered": False,
        }

    def _list(self, call: Call) -> Json:
        account = self._hub.account(call.text("account"))
        return [self._row(alert) for alert in self._alerts.values() if alert.account == account]

    def _mta(self, call: Call) -> Json:
        return []

    def _find(self, call: Call) -> _Alert:
        found = self._alerts.get(call.integer("alert"))
        if found is None:
            raise WebError(503, "Service Unavailable")
        return found

    def _detail(self, call: Call) -> Json:
        alert = self._find(call)
        fields = Fields(alert.values)
        return {
            **self._row(alert),
            "alert_message": fields.text("alertMessage"),
            "tif": fields.text("tif", default="GTC"),
            "expire_time": fields.text("expireTime"),
            "alert_email": fields.text("email"),
            "alert_send_message": fields.integer("sendMessage") or 0,
            "alert_show_popup": fields.integer("showPopup") or 0,
            "alert_play_audio": None,
            "order_status": "PreSubmitted",
            "fg_color": "#000000",
            "bg_color": "#FFFFFF",
            "order_not_editable": False,
            "itws_orders_only": 0,
            "alert_mta_currency": None,
            "alert_mta_defaults": None,
            "tool_id": fields.integer("toolId"),
            "time_zone": "US/Eastern",
            "alert_default_type": None,
            "condition_size": len(alert.conditions),
            "condition_outside_rth": fields.integer("outsideRth") or 0,
            "conditions": [self._condition(each) for each in alert.conditions],
        }

    def _condition(self, values: dict[str, Json]) -> Json:
        fields = Fields(values)
        conidex = fields.text("conidex")
        number = conidex.partition("@")[0]
        item = self._hub.instruments.by_con_id(int(number)) if number.isdigit() and len(number) < 12 else None
        return {
            "condition_type": fields.integer("type"),
            "conidex": conidex,
            "contract_description_1": "" if item is None else item.long_name,
            "condition_operator": fields.text("operator"),
            "condition_trigger_method": fields.text("triggerMethod", default="0"),
            "condition_value": fields.text("value"),
            "condition_logic_bind": fields.text("logicBind", default="n"),
            "condition_time_zone": fields.text("timeZone", default="US/Eastern"),
        }

    def _create(self, call: Call) -> Json:
        account = self._hub.account(call.text("account"))
        values = call.object()
        fields = Fields(values)
        conditions = fields.objects("conditions", MAX_CONDITIONS)
        if not fields.text("alertName"):
            raise bad_request("alertName is missing")
        for each in conditions:
            self._condition(each)
        known = self._alerts.get(fields.integer("orderId") or 0)
        if known is None and len(self._alerts) >= MAX_ALERTS:
            raise WebError(500, "too many alerts")
        number = FIRST_ALERT + self._requests if known is None else known.id
        at = f"{self._hub.clock.now().astimezone(UTC):%Y%m%d-%H:%M:%S}"
        self._alerts[number] = _Alert(number, account, values, conditions, at)
        done = self._done(number, "Alert has been created." if known is None else "Alert has been modified.")
        del done["failure_list"]
        return {**done, "order_status": "PreSubmitted", "warning_message": None}

    def _done(self, number: int, text: str) -> dict[str, Json]:
        self._requests += 1
        return {
            "request_id": self._requests,
            "order_id": number,
            "success": True,
            "text": text,
            "failure_list": None,
        }

    def _activate(self, call: Call) -> Json:
        fields = Fields(call.object())
        number = fields.integer("alertId") or 0
        alert = self._alerts.get(number)
        if alert is None:
            raise WebError(503, "Service Unavailable")
        alert.active = bool(fields.integer("alertActive"))
        return self._done(number, "Alert has been activated." if alert.active else "Alert has been deactivated.")

    def _delete(self, call: Call) -> Json:
        alert = self._find(call)
        del self._alerts[alert.id]
        return self._done(alert.id, "Alert has been deleted.")

    # --- fyi ---------------------------------------------------------------------------------------------------------

    def _unread(self, call: Call) -> Json:
        return {"BN": 0}

    def _nothing(self, call: Call) -> Json:
        return []

    def _mark(self, call: Call) -> Json:
        return {"V": 1, "T": 5, "P": {"R": 1, "ID": call.text("notice")}}

    def _settings(self, call: Call) -> Json:
        return [
            {"FC": code, "H": 0, "A": int(code not in self._off), "FD": text, "FN": name}
            for code, (name, text) in _SETTINGS.items()
        ]

    def _code(self, call: Call) -> str:
        code = call.text("code")
        if code not in _SETTINGS:
            raise bad_request("typecode is not valid")
        return code

    def _set(self, call: Call) -> Json:
        code = self._code(call)
        if Fields(call.object()).flag("enabled"):
            self._off.discard(code)
        else:
            self._off.add(code)
        return _DONE

    def _disclaimer(self, call: Call) -> Json:
        return {"FC": self._code(call), "DT": _DISCLAIMER}

    def _read_disclaimer(self, call: Call) -> Json:
        self._code(call)
        return _DONE

    def _delivery(self, call: Call) -> Json:
        return {"E": list(self._devices.values()), "M": int(self._email)}

    def _set_email(self, call: Call) -> Json:
        self._email = call.flag("enabled")
        return _DONE

    def _add_device(self, call: Call) -> Json:
        fields = Fields(call.object())
        name = fields.text("deviceId")
        if not name or len(self._devices) >= MAX_ALERTS:
            raise bad_request("deviceId is missing")
        self._devices[name] = {
            "NM": fields.text("deviceName"),
            "I": name,
            "UI": fields.text("uiName"),
            "A": int(fields.flag("enabled")),
        }
        return _DONE

    def _remove_device(self, call: Call) -> Reply:
        self._devices.pop(call.text("device"), None)
        return Reply(text="")
