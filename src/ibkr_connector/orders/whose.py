"""Whose order a broker message is about: ours, by more than its name, or another program's. Pure.

Other programs, other accounts and people at TWS may use the very order ref of ours. A ref alone therefore proves
nothing: an echo or an execution is ours by its permId, or by our ref *and* the client id and account it went out with.
A completed order is told without a client id: it is ours by its permId, and while the permId of ours is not known yet,
if our ref, account, contract and side fit. Everything else becomes a foreign order of its own, counted and never
touched.
"""

from __future__ import annotations

from typing import TypeAlias

from ibkr_connector.backends.facts import BrokerFact, ExecutionSeen, OrderCompleted, OrderEchoed
from ibkr_connector.models.account import Execution
from ibkr_connector.models.contract import Contract
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.drift import action_of, terms_of_told
from ibkr_connector.orders.record import Context, OrderRecord

Named: TypeAlias = OrderEchoed | OrderCompleted | Execution
"""What carries an order ref."""


def is_about(record: OrderRecord, told: Named) -> bool:
    """Whether a message that names a ref or a permId is about this order."""
    if told.perm_id and told.perm_id in record.perm_ids:
        return True
    if not record.ours or not told.order_ref or told.order_ref != record.broker_ref:
        return False
    if isinstance(told, OrderCompleted):
        terms = record.terms
        return (
            not record.perm_ids
            and told.account == record.account
            and action_of(told.action) is terms.action
            and _same_instrument(told.contract, terms.contract)
        )
    if told.client_id != record.client_id:
        return False
    # The number it went out with: ours, even where the account differs (which is then a severe drift).
    return told.account == record.account or (told.order_id == record.order_id and record.order_id > 0)


def _same_instrument(one: Contract, other: Contract) -> bool:
    if one.con_id and other.con_id:
        return one.con_id == other.con_id
    return one.symbol == other.symbol


def foreign(fact: BrokerFact, ctx: Context) -> OrderRecord | None:
    """A record for an order that is not ours: another program's, TWS's own, or older than the journal.

    Only echoes, completed orders and executions say enough to make one; then `apply` the same fact to it. Its `ref` is
    a made-up key that no order ref can equal (two programs may use the same orderRef); `broker_ref` is what was told.
    An execution alone does not tell the order's quantity: until an echo does, it grows with the executions.
    """
    if isinstance(fact, OrderEchoed):
        terms, account, broker_ref = terms_of_told(fact), fact.account, fact.order_ref
        key = f"perm/{fact.perm_id}" if fact.perm_id else f"client/{fact.client_id}/{fact.order_id}"
        order_id, client_id = fact.order_id, fact.client_id
    elif isinstance(fact, OrderCompleted):
        terms = terms_of_told(fact)
        key, order_id, client_id = f"perm/{fact.perm_id}", 0, 0
        account, broker_ref = fact.account, fact.order_ref
    elif isinstance(fact, ExecutionSeen):
        done = fact.execution
        terms = OrderTerms(
            contract=done.contract,
            action=action_of(done.side),
            quantity=max(done.cum_quantity, done.quantity),
            order_type="",
        )
        key = f"perm/{done.perm_id}" if done.perm_id else f"exec/{done.base_id}"
        order_id, client_id = done.order_id, done.client_id
        account, broker_ref = done.account, done.order_ref
    else:
        return None
    return OrderRecord(
        ref=key,
        terms=terms,
        account=account,
        ours=False,
        broker_ref=broker_ref,
        order_id=order_id,
        client_id=client_id,
        committed=True,
        created_at=ctx.now,
    )
