"""Order lives captured from real gateways, told to an order record: it must end as the order did."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.backends.facts import (
    BrokerFact,
    CommissionSeen,
    ExecutionSeen,
    OrderEchoed,
    OrderNotice,
    OrderStatusSeen,
)
from ibkr_connector.models.account import Execution
from ibkr_connector.models.order import OrderRequest, OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.lifecycle import apply
from ibkr_connector.orders.record import OrderRecord
from unit.orders.kit import AAPL, UP, d

pytestmark = pytest.mark.shared
S = OrderState
ACCOUNT = "DU9000001"


def price(told: dict[str, Any], key: str) -> Decimal | None:
    text = told.get(key, "")
    return d(text) if text not in ("", "0") else None


class Replay:
    """The client side of a transcript: it sends what the transcript's client sent and hears what its server said."""

    def __init__(self) -> None:
        self.orders: dict[int, OrderRecord] = {}
        self.asked: set[str] = set()

    def line(self, line: str) -> None:
        who, _, rest = line.partition(" ")
        name, _, body = rest.partition(" ")
        told = json.loads(body) if body.startswith("{") else {}
        if who == "client" and name == "place_order":
            self.place(told)
        elif who == "client" and name == "cancel_order":
            steps.cancel_sent(self.orders[int(told["order_id"])], UP)
        elif who == "server":
            self.hear(name, told)

    def place(self, told: dict[str, Any]) -> None:
        order_id = int(told["order_id"])
        kind = told["order_type"] if told["order_type"] != "FEELINGS" else "LMT"
        request = OrderRequest.make(
            contract=AAPL,
            action=told["action"],
            quantity=told["total_quantity"],
            order_type=kind,
            limit_price=price(told, "lmt_price") if kind in ("LMT", "STP LMT") else None,
            stop_price=price(told, "aux_price") if kind in ("STP", "STP LMT") else None,
            trail_percent=price(told, "trailing_percent"),
            tif=told["tif"],
            order_ref=f"R{order_id}",
        )
        known = self.orders.get(order_id)
        if known is None:
            record = steps.new_record(request, account=ACCOUNT)
            steps.committed(record, order_id=order_id, client_id=1, ctx=UP)
            self.orders[order_id] = record
        elif OrderTerms.of_request(request) != known.terms:
            steps.modify_sent(known, OrderTerms.of_request(request), UP)

    def hear(self, name: str, told: dict[str, Any]) -> None:
        fact = self.fact(name, told)
        if fact is None:
            return
        for record in self.orders.values():
            known = {one.exec_id for one in record.fills.values()}
            if getattr(fact, "order_id", record.order_id) == record.order_id or told.get("exec_id") in known:
                if not isinstance(fact, ExecutionSeen) or fact.execution.order_id == record.order_id:
                    apply(record, fact, UP)

    def fact(self, name: str, told: dict[str, Any]) -> BrokerFact | None:
        if name == "open_order":
            terms = self.orders[told["order_id"]].proposed or self.orders[told["order_id"]].terms
            return OrderEchoed(
                order_id=told["order_id"],
                client_id=int(told["client_id"]),
                perm_id=int(told["perm_id"]),
                order_ref=f"R{told['order_id']}",
                account=told["account"],
                contract=AAPL,
                action=told["action"],
                quantity=d(told["quantity"]),
                order_type=told["order_type"],
                limit_price=price(told, "lmt_price"),
                stop_price=price(told, "aux_price"),
                trail_amount=None,
                trail_percent=terms.trail_percent,
                tif=told["tif"],
                outside_rth=False,
                parent_id=0,
                oca_group="",
                status=told.get("status", ""),
            )
        if name == "order_status":
            return OrderStatusSeen(
                order_id=told["order_id"],
                client_id=int(told["client_id"]),
                perm_id=int(told["perm_id"]),
                status=told["status"],
                filled=d(told["filled"]),
                remaining=d(told["remaining"]),
                avg_fill_price=d(told["avg_fill_price"]),
                why_held=told["why_held"],
            )
        if name == "execution_detail":
            record = self.orders[told["order_id"]]
            return ExecutionSeen(
                execution=Execution(
                    exec_id=told["exec_id"],
                    at=datetime.fromisoformat(told["time"]),
                    account=told["account"],
                    contract=AAPL,
                    side="BUY" if told["side"] == "BOT" else "SELL",
                    quantity=d(told["shares"]),
                    price=d(told["price"]),
                    order_id=told["order_id"],
                    client_id=1,
                    perm_id=record.perm_id,
                    order_ref=record.ref,
                    cum_quantity=d(told["shares"]),
                    avg_price=d(told["price"]),
                )
            )
        if name == "commission_report":
            return CommissionSeen(
                exec_id=told["exec_id"],
                commission=d(told["commission"]),
                currency=told["currency"],
                realized_pnl=d(told["realized_pnl"]),
            )
        if name == "api_error" and told["req_id"] > 0:
            return OrderNotice(order_id=told["req_id"], code=told["code"], text=told["message"])
        return None


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("api_order_rest_cancel_aapl", {1: S.CANCELLED}),
        ("direct_cancel_order", {1: S.CANCELLED}),
        ("api_ioc_fok_aapl", {61: S.CANCELLED, 62: S.CANCELLED, 63: S.CANCELLED}),
        ("place_order_invalid_type_live_error", {40: S.REJECTED}),
        ("place_order_modify_to_market_late_execution", {13: S.FILLED}),
        ("api_stop_loss_management_aapl", {275: S.FILLED, 276: S.CANCELLED, 277: S.FILLED}),
        ("api_tif_attribute_matrix_aapl", {246: S.CANCELLED, 247: S.FILLED}),
        ("api_transmit_false_then_transmit_aapl", {293: S.CANCELLED}),
        ("api_cross_client_cancel_aapl", {296: S.CANCELLED}),
    ],
)
def test_a_captured_life_ends_as_it_did(shared_dir: Path, name: str, ends: dict[int, OrderState]) -> None:
    replay = Replay()
    for line in (shared_dir / "fixtures" / "tws" / "transcripts" / f"{name}.txt").read_text().splitlines():
        replay.line(line)
    assert {order_id: record.state for order_id, record in replay.orders.items()} == ends
    for record in replay.orders.values():
        assert not record.in_doubt
        assert record.drift == ()
        assert record.filled == (record.terms.quantity if record.state is S.FILLED else 0)


def test_a_change_is_acknowledged_by_the_captured_echo(shared_dir: Path) -> None:
    replay = Replay()
    path = shared_dir / "fixtures" / "tws" / "transcripts" / "api_stop_loss_management_aapl.txt"
    for line in path.read_text().splitlines():
        replay.line(line)
    stop = replay.orders[276]
    assert (stop.terms.stop_price, stop.proposed) == (d("14.13"), None)
    assert replay.orders[275].commission == d(1)
    assert replace(stop.terms, stop_price=d("13.13")) != stop.terms
