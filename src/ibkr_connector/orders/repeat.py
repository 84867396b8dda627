"""Whether an order that is asked for under a known name is the very same order."""

from __future__ import annotations

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.groups import GroupLeg
from ibkr_connector.orders.ttl import as_asked


def check_same(planned: GroupLeg, known: GroupLeg, state: OrderState) -> None:
    """Refuse a ref that names another order already. Raises `OrderValidationError`."""
    asked, had = planned.request, known.request
    same = (
        planned.group == known.group
        and planned.parent_ref == known.parent_ref
        and _same_contract(had.contract, asked.contract)
        and as_asked(had, asked).model_copy(update={"contract": asked.contract}) == asked
    )
    if not same:
        raise OrderValidationError(
            f"order_ref={asked.order_ref!r} names another order already ({state.value}).",
            field="order_ref",
            value=asked.order_ref,
            legal="a new ref for a new order; the same ref only with the very same order",
        )


def _same_contract(known: Contract, asked: Contract) -> bool:
    if known.con_id and asked.con_id:
        return known.con_id == asked.con_id

    def name(contract: Contract) -> tuple[object, ...]:
        return (
            contract.symbol,
            contract.sec_type,
            contract.currency,
            contract.expiry[:6],
            contract.strike,
            contract.right,
        )

    return name(known) == name(asked)
