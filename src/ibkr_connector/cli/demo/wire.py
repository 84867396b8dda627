"""One line for each entry of the gateway's truth log: what came over the wire, and what went back."""

from __future__ import annotations

from typing import Any

from ibkr_connector.cli.demo.child import decimal


def told(entry: dict[str, Any], *, web: bool = False) -> str:
    """An entry in the words of the front in use: TWS's messages, or requests and topics of the Web API."""
    order = entry.get("order_id", "")
    return (_on_the_web(entry, order) if web else _on_tws(entry, order)) or f"· {entry['kind']} {order}".rstrip()


def _on_tws(entry: dict[str, Any], order: object) -> str:
    kind = entry["kind"]
    match kind:
        case "recv_place" | "recv_modify":
            held = "" if entry.get("transmit", True) else ", held"
            verb = "placeOrder" if kind == "recv_place" else "placeOrder (change)"
            return f"→ {verb} {order}: {_order(entry)}{held}"
        case "recv_cancel":
            return f"→ cancelOrder {order}"
        case "status":
            return f"← orderStatus {order}: {_status(entry)}"
        case "fill":
            return f"← execDetails {order}: {_fill(entry)}"
        case "commission":
            return f"← commissionReport: {_commission(entry)}"
        case "connect":
            return f"· client {entry['client_id']} connected, server version {entry['server_version']}"
        case _:
            return ""


def _on_the_web(entry: dict[str, Any], order: object) -> str:
    return _request(entry, order) or _answer(entry, order)


def _request(entry: dict[str, Any], order: object) -> str:
    """What came: as it was written, and as it was read."""
    match entry["kind"]:
        case "http":
            path = str(entry["path"]).removeprefix("/v1/api/")
            return f"→ {'DELETE' if entry['request'] == 'cancel_order' else 'POST'} {path}"
        case "recv_place" | "recv_modify" if "symbol" in entry:
            what = "order" if entry["kind"] == "recv_place" else "change of order"
            return f"· read as {what} {order}: {_order(entry)}"
        case "recv_cancel":
            return f"· read as cancel of order {order}".rstrip()
        case "recv_reply":
            return f"· read as the answer {'yes' if entry['confirmed'] else 'no'}"
        case "oauth_token":
            return "→ a live session token was asked for; its RSA signature held"
        case "web_session":
            return "→ ssodh/init: the brokerage session is open" if entry["opened"] else "→ ssodh/init: not opened"
        case _:
            return ""


def _answer(entry: dict[str, Any], order: object) -> str:
    match entry["kind"]:
        case "status":
            return f"← order {order}: {_status(entry)}"
        case "fill":
            return f"← trade of order {order}: {_fill(entry)}"
        case "commission":
            return f"· commission: {_commission(entry)}"
        case "question":
            return f"← question {entry['message_id']}"
        case "oauth_refused":
            return f"← refused: {entry['reason']}"
        case "web_socket":
            return f"· websocket {entry['what']}"
        case _:
            return ""


def _order(entry: dict[str, Any]) -> str:
    prices = [
        f"{label} {entry[name]}" for name, label in (("limit_price", "limit"), ("aux_price", "stop")) if entry.get(name)
    ]
    return " ".join([entry["action"], _plain(entry, "quantity"), entry["symbol"], entry["order_type"], *prices])


def _status(entry: dict[str, Any]) -> str:
    return f"{entry['status']}, filled {_plain(entry, 'filled')}"


def _fill(entry: dict[str, Any]) -> str:
    return f"{entry['side']} {_plain(entry, 'quantity')} at {entry['price']} on {entry['venue']}"


def _commission(entry: dict[str, Any]) -> str:
    gain = f", realised {decimal(entry, 'realized_pnl'):.2f}" if entry.get("realized_pnl") is not None else ""
    return f"{decimal(entry, 'amount'):.2f} {entry['currency']}{gain}"


def _plain(entry: dict[str, Any], name: str) -> str:
    return f"{decimal(entry, name).normalize():f}"
