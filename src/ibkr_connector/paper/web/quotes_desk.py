"""Snapshots of quotes, and the end of the subscriptions they start."""

from __future__ import annotations

from typing import Final

from .calls import Call, Endpoint, Fields, Json, WebError, bad_request
from .hub import WebHub
from .quote_fields import DEFAULT_FIELDS, MAX_FIELDS, values

MAX_CONIDS: Final = 100
SERVER_ID: Final = "q0"


class QuotesDesk:
    """Answers below iserver/marketdata, history apart."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        return [
            Endpoint("GET", "iserver/marketdata/snapshot", "snapshot", self._snapshot),
            Endpoint("GET", "md/regsnapshot", "regulatory_snapshot", self._regulatory),
            Endpoint("POST", "iserver/marketdata/unsubscribe", "unsubscribe", self._unsubscribe),
            Endpoint("GET POST", "iserver/marketdata/unsubscribeall", "unsubscribe_all", self._unsubscribe_all),
        ]

    def _snapshot(self, call: Call) -> Json:
        if not self._hub.accounts_asked:
            raise bad_request("Please query /accounts first")
        con_ids = call.conids(limit=MAX_CONIDS)
        wanted = field_list(call.query.get("fields", ""))
        return [self._row(con_id, wanted) for con_id in con_ids]

    def _row(self, con_id: int, wanted: list[str]) -> Json:
        item = self._hub.instruments.by_con_id(con_id)
        row: dict[str, Json] = {"conidEx": str(con_id), "conid": con_id}
        if item is None:
            return row
        if item.sec_type == "FUT" and not self._hub.searched:
            raise bad_request("Please query /secdef/search first")
        if con_id not in self._hub.primed:
            # The first request starts the subscription; only later ones have values.
            self._hub.primed.add(con_id)
            return row
        row |= {"_updated": self._hub.market_ms(), "server_id": SERVER_ID, "6119": SERVER_ID}
        return row | values(self._hub, item, wanted)

    def _regulatory(self, call: Call) -> Json:
        item = self._hub.instrument(call.integer("conid"))
        row: dict[str, Json] = {"conid": item.con_id, "conidEx": str(item.con_id)}
        row |= {"BboExchange": "", "HasDelayed": False}
        return row | values(self._hub, item, ["84", "86", "88", "85", "31", "7059"])

    def _unsubscribe(self, call: Call) -> Json:
        con_id = Fields(call.object()).integer("conid")
        if con_id is None:
            raise bad_request("conid is missing")
        if con_id not in self._hub.primed:
            raise WebError(404, "unknown", {"error": "unknown"})
        self._hub.primed.discard(con_id)
        return {"success": True}

    def _unsubscribe_all(self, call: Call) -> Json:
        self._hub.primed.clear()
        return {"unsubscribed": True}


def field_list(text: str) -> list[str]:
    """The fields a query names; the usual ones without."""
    names = [part.strip() for part in text.split(",") if part.strip()] or list(DEFAULT_FIELDS)
    if len(names) > MAX_FIELDS:
        raise bad_request(f"at most {MAX_FIELDS} fields")
    if not all(name.isascii() and name.isdigit() and len(name) <= 6 for name in names):
        raise bad_request("fields must be numbers")
    return names
