"""What the connector writes over the Web API, request by request, seen where Python hands it to the kernel.

Below ibind, requests and urllib3, in `http.client`: a request that any of them wrote a second time would be seen
twice. Knows HTTP's framing, paths and the names of orders in a body, nothing of the connector.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from typing import Any

from proof.history import History

_BASE = "/v1/api/"
_ORDERS = re.compile(r"iserver/account/[^/]+/orders")
_ORDER = re.compile(r"iserver/account/[^/]+/order/(-?\d+)")
_REPLY = re.compile(r"iserver/reply/([^/]+)")
_ORDER_MESSAGES = frozenset({"place", "modify", "cancel", "global_cancel", "reply"})


def read_request(data: bytes) -> dict[str, Any] | None:
    """A request as it is noted, once all of it is there: message, path, and what it names. None: not whole yet."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if len(body) < int(fields.get("content-length") or 0):
        return None
    method, target, _ = (*first.split(" "), "", "")[:3]
    path = target.partition("?")[0].removeprefix(_BASE)
    return {"message": "read", "path": path, **_named(method, path, body)}


def _named(method: str, path: str, body: bytes) -> dict[str, Any]:
    try:
        said: Any = json.loads(body) if body else {}
    except ValueError:
        said = {}
    if method == "POST" and _ORDERS.fullmatch(path):
        orders = said.get("orders") if isinstance(said, dict) else None
        return {"message": "place", "refs": [str(one.get("cOID", "")) for one in orders or ()]}
    if (order := _ORDER.fullmatch(path)) is not None:
        perm_id = int(order[1])
        if method == "POST":
            return {"message": "modify", "perm_id": perm_id}
        return {"message": "global_cancel"} if perm_id < 0 else {"message": "cancel", "perm_id": perm_id}
    if (reply := _REPLY.fullmatch(path)) is not None:
        yes = isinstance(said, dict) and said.get("confirmed") is True
        return {"message": "reply", "reply_id": reply[1], "confirmed": yes}
    return {}


def tap_requests(port: int, history: History, client_id: int, after_write: Callable[[], None]) -> None:
    """Note every request to the gateway's port as `http`, before the kernel gets the end of it.

    `after_write` is called behind what may make an order: a POST of orders, a yes to a question.
    """
    send = http.client.HTTPConnection.send

    def tapped(connection: Any, data: Any) -> None:
        if connection.port != port or not isinstance(data, bytes | bytearray):
            send(connection, data)
            return
        kept = connection.__dict__.get("_proof", b"") + bytes(data)
        found = read_request(kept)
        connection.__dict__["_proof"] = b"" if found is not None else kept
        if found is not None:
            history.add("http", client_id=client_id, **found)
        send(connection, data)
        if found is not None and (found["message"] == "place" or found.get("confirmed")):
            after_write()

    connection_class: Any = http.client.HTTPConnection
    connection_class.send = tapped
