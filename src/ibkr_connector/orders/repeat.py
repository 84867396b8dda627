"""Whether an order that is asked for under a known name is the very same order."""

from __future__ import annotations

from collections.abc import Sequence

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.groups import GroupLeg
from ibkr_connector.orders.ttl import as_asked

_NEW_REF = "a new ref for a new order; the same ref only with the very same order"
_NEW_REFS = "new refs for the orders of a new group; known ones only with the very same group"


def check_same(plan: Sequence[GroupLeg], known: Sequence[tuple[GroupLeg, OrderState] | None]) -> None:
    """Refuse refs that name other orders already. `known`: what each leg's ref names; None where it is free.

    What is accused is a ref that is taken, never one that is free. Raises `OrderValidationError`.
    """
    pairs = [(leg, *named) for leg, named in zip(plan, known, strict=True) if named is not None]
    free = len(pairs) < len(plan)
    regrouped = not free and len({had.oca for _, had, _ in pairs}) == 1 and all(_regrouped(*two[:2]) for two in pairs)
    for asked, had, state in pairs:
        if not free and _same(asked, had):
            continue
        ref = asked.request.order_ref
        if regrouped:
            text = (
                f"order_ref={ref!r} is in the OCA group {had.oca!r} already ({state.value}): these are the same orders "
                "with another oca_type, name or sequence."
            )
            raise _wrong(ref, text, _NEW_REFS)
        if had.group and len(plan) > 1 and (free or asked.group != had.group):
            raise _wrong(
                ref, f"order_ref={ref!r} belongs to another group already: {had.group!r} ({state.value}).", _NEW_REFS
            )
        raise _wrong(ref, f"order_ref={ref!r} names another order already ({state.value}).", _NEW_REF)


def _wrong(ref: str, text: str, legal: str) -> OrderValidationError:
    return OrderValidationError(text, field="order_ref", value=ref, legal=legal)


def _same(planned: GroupLeg, known: GroupLeg) -> bool:
    asked, had = planned.request, known.request
    return (
        planned.group == known.group
        and planned.parent_ref == known.parent_ref
        and _same_contract(had.contract, asked.contract)
        and as_asked(had, asked).model_copy(update={"contract": asked.contract}) == asked
    )


def _regrouped(planned: GroupLeg, known: GroupLeg) -> bool:
    """Both of an OCA group, and the same order but for that."""
    return bool(planned.oca and known.oca) and _same(_alone(planned), _alone(known))


def _alone(leg: GroupLeg) -> GroupLeg:
    return GroupLeg(request=leg.request.model_copy(update={"oca_group": None, "oca_type": None}))


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
