"""Broker messages and orders, made short for the tests of an order's life."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.facts import (
    CommissionSeen,
    ExecutionSeen,
    OrderCompleted,
    OrderEchoed,
    OrderNotice,
    OrderStatusSeen,
)
from ibkr_connector.models.account import Execution
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OrderRequest, OrderState
from ibkr_connector.orders import steps
from ibkr_connector.orders.changes import Change, Committed
from ibkr_connector.orders.entries import ChangeEntry, JournalOrder, SendingEntry
from ibkr_connector.orders.record import Context, OrderRecord

NOW = datetime(2026, 3, 12, 15, 0, tzinfo=UTC)
ACCOUNT = "DU9000001"
AAPL = Contract.stock("AAPL").with_con_id(265598)
ENDPOINT = "127.0.0.1:7497"
REF = "REF1"
ORDER_ID, CLIENT_ID, PERM = 11, 3, 9001
UP = Context(link_up=True, epoch=1, now=NOW, client_id=CLIENT_ID)
DOWN = replace(UP, link_up=False)


def d(value: object) -> Decimal:
    return Decimal(str(value))


def request(**values: Any) -> OrderRequest:
    given: dict[str, Any] = {
        "contract": AAPL,
        "action": "BUY",
        "quantity": 100,
        "order_type": "LMT",
        "limit_price": "10.00",
        "order_ref": REF,
    }
    given.update(values)
    return OrderRequest.make(**given)


def market(**values: Any) -> OrderRequest:
    return request(order_type="MKT", limit_price=None, **values)


def sent(order: OrderRequest | None = None, *, order_id: int = ORDER_ID, ctx: Context = UP) -> OrderRecord:
    """An order that was committed and written, and not answered yet."""
    record = steps.new_record(order or request(), account=ACCOUNT)
    steps.committed(record, order_id=order_id, client_id=CLIENT_ID, ctx=ctx)
    return record


def echo(record: OrderRecord | None = None, status: str = "Submitted", **values: Any) -> OrderEchoed:
    terms = (record or sent()).terms
    given: dict[str, Any] = {
        "order_id": ORDER_ID,
        "client_id": CLIENT_ID,
        "perm_id": PERM,
        "order_ref": REF,
        "account": ACCOUNT,
        "contract": terms.contract,
        "action": terms.action.value,
        "quantity": terms.quantity,
        "order_type": terms.order_type,
        "limit_price": terms.limit_price,
        "stop_price": terms.stop_price,
        "trail_amount": terms.trail_amount,
        "trail_percent": terms.trail_percent,
        "tif": terms.tif,
        "outside_rth": terms.outside_rth,
        "parent_id": 0,
        "oca_group": "",
        "status": status,
    }
    given.update(values)
    return OrderEchoed(**given)


def status(word: str, filled: object = 0, remaining: object = 100, **values: Any) -> OrderStatusSeen:
    given: dict[str, Any] = {
        "order_id": ORDER_ID,
        "client_id": CLIENT_ID,
        "perm_id": PERM,
        "status": word,
        "filled": d(filled),
        "remaining": d(remaining),
        "avg_fill_price": Decimal(0),
    }
    given.update(values)
    return OrderStatusSeen(**given)


def fill(quantity: object, exec_id: str = "e1.01", *, price: object = "10.00", **values: Any) -> ExecutionSeen:
    given: dict[str, Any] = {
        "exec_id": exec_id,
        "at": NOW + timedelta(seconds=1),
        "account": ACCOUNT,
        "contract": AAPL,
        "side": "BUY",
        "quantity": d(quantity),
        "price": d(price),
        "order_id": ORDER_ID,
        "client_id": CLIENT_ID,
        "perm_id": PERM,
        "order_ref": REF,
        "cum_quantity": d(quantity),
        "avg_price": d(price),
    }
    given.update(values)
    return ExecutionSeen(execution=Execution(**given))


def commission(exec_id: str = "e1.01", amount: object = "1.00") -> CommissionSeen:
    return CommissionSeen(exec_id=exec_id, commission=d(amount), currency="USD", realized_pnl=None)


def completed(word: str = "Cancelled", filled: object = 0, told: str = "", **values: Any) -> OrderCompleted:
    given: dict[str, Any] = {
        "perm_id": PERM,
        "order_ref": REF,
        "account": ACCOUNT,
        "contract": AAPL,
        "action": "BUY",
        "quantity": d(100),
        "filled": d(filled),
        "order_type": "LMT",
        "status": word,
        "completed_status": told,
    }
    given.update(values)
    return OrderCompleted(**given)


def notice(code: int, text: str = "text", order_id: int = ORDER_ID) -> OrderNotice:
    return OrderNotice(order_id=order_id, code=code, text=text)


def state_of(record: OrderRecord) -> OrderState:
    """Where it stands now (a function, so that type checkers do not take the last answer for the next)."""
    return record.state


def kinds(changes: list[Change]) -> list[str]:
    return [change.kind for change in changes]


def sending(ref: str = REF, order_id: int = ORDER_ID, **values: Any) -> SendingEntry:
    given: dict[str, Any] = {
        "request": request(order_ref=ref),
        "decision": {"allowed": True},
        "account": ACCOUNT,
        "order_id": order_id,
        "client_id": CLIENT_ID,
        "endpoint": ENDPOINT,
        "epoch": 1,
        "sent_at": NOW,
    }
    given.update(values)
    return SendingEntry(**given)


def changing(record: OrderRecord, **new: Any) -> ChangeEntry:
    return ChangeEntry(
        ref=record.ref,
        old=record.terms,
        new=replace(record.terms, **new),
        decision={"allowed": True},
        order_id=ORDER_ID,
        client_id=CLIENT_ID,
        endpoint=ENDPOINT,
        epoch=1,
        sent_at=NOW,
    )


def journal_order(*changes: Change, **values: Any) -> JournalOrder:
    given: dict[str, Any] = {
        "ref": request().order_ref,
        "account": ACCOUNT,
        "request": request(),
        "decision": {},
        "order_id": ORDER_ID,
        "client_id": CLIENT_ID,
        "endpoint": ENDPOINT,
        "group": "G",
        "parent_ref": "P",
        "parent_id": 0,
        "created_at": NOW,
        "updated_at": NOW,
        "ended": None,
        "changes": (Committed(at=NOW, order_id=ORDER_ID, client_id=CLIENT_ID, epoch=1), *changes),
    }
    given.update(values)
    return JournalOrder(**given)
