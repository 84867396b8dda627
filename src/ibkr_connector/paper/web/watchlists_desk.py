"""Watchlists: named lists of contracts, kept as long as the gateway runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .calls import Call, Endpoint, Fields, Json, WebError, bad_request
from .hub import WebHub

MAX_LISTS: Final = 200
MAX_ROWS: Final = 500


@dataclass(slots=True)
class _List:
    id: str
    name: str
    con_ids: list[int]
    modified: int


class WatchlistsDesk:
    """Answers below iserver/watchlist."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._lists: dict[str, _List] = {}
        self._messages = 0

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        return [
            Endpoint("GET", "iserver/watchlists", "watchlists", self._all),
            Endpoint("GET", "iserver/watchlist", "watchlist", self._get),
            Endpoint("POST", "iserver/watchlist", "watchlist_create", self._create),
            Endpoint("DELETE", "iserver/watchlist", "watchlist_delete", self._delete),
        ]

    def _message_id(self) -> str:
        self._messages += 1
        return str(self._messages)

    def _all(self, call: Call) -> Json:
        lists = [
            {
                "is_open": False,
                "read_only": False,
                "name": each.name,
                "modified": each.modified,
                "id": each.id,
                "type": "watchlist",
            }
            for each in self._lists.values()
        ]
        data = {"scanners_only": False, "show_scanners": False, "bulk_delete": False, "user_lists": lists}
        return {"data": data, "action": "content", "MID": self._message_id()}

    def _get(self, call: Call) -> Json:
        found = self._lists.get(call.text("id"))
        if found is None:
            raise WebError(503, "Service Unavailable")
        return self._shown(found)

    def _create(self, call: Call) -> Json:
        fields = Fields(call.object())
        name, list_id = fields.text("name"), fields.text("id")
        rows = call.object().get("rows", [])
        if not name or not list_id.isdigit():
            raise bad_request("a watchlist needs a name and an id of digits")
        if not isinstance(rows, list) or len(rows) > MAX_ROWS:
            raise bad_request(f"rows must be a list of at most {MAX_ROWS}")
        if len(self._lists) >= MAX_LISTS and list_id not in self._lists:
            raise WebError(500, "too many watchlists")
        con_ids = []
        for row in rows:
            if not isinstance(row, dict):
                raise bad_request("rows must be a list of objects")
            con_id = Fields(row).integer("C")
            if con_id is not None:
                con_ids.append(self._hub.instrument(con_id).con_id)
        found = self._lists[list_id] = _List(list_id, name, con_ids, self._hub.epoch_ms())
        # The answer to a new list shows none of its rows.
        return {**self._shown(found), "instruments": []}

    def _delete(self, call: Call) -> Json:
        list_id = call.text("id")
        if self._lists.pop(list_id, None) is None:
            raise WebError(503, "Service Unavailable")
        return {"data": {"deleted": list_id}, "action": "context", "MID": self._message_id()}

    def _shown(self, found: _List) -> dict[str, Json]:
        items = [self._hub.instrument(con_id) for con_id in found.con_ids]
        return {
            "id": found.id,
            "hash": str(found.modified),
            "name": found.name,
            "readOnly": False,
            "instruments": [
                {
                    "ST": item.sec_type,
                    "C": str(item.con_id),
                    "conid": item.con_id,
                    "name": item.long_name,
                    "fullName": item.local_symbol,
                    "assetClass": item.sec_type,
                    "ticker": item.symbol,
                    "chineseName": None,
                }
                for item in items
            ],
        }
