"""The broker's echo of an order, compared with what was asked.

Only what has a meaning for the order's type is compared (a trailing stop's own stop price moves with the market; a
market order's limit field is noise), and an unset price equals an absent one. An OCA group is compared where one was
asked for: TWS gives a bracket's children a group of its own making. What shares a group may be reduced by the broker
when another order of the group fills: less than was asked for is no drift there, more is.
"""

from __future__ import annotations

from decimal import Decimal

from ibkr_connector.backends.facts import OrderCompleted, OrderEchoed
from ibkr_connector.models.order import Action
from ibkr_connector.orders.changes import Drift, OrderTerms

SEVERE = frozenset({"action", "quantity", "account", "con_id", "symbol"})
"""Differences that ask for a cancel of the order at once."""

PRICES_OF_TYPE: dict[str, tuple[str, ...]] = {
    "MKT": (),
    "LMT": ("limit_price",),
    "STP": ("stop_price",),
    "STP LMT": ("limit_price", "stop_price"),
    "TRAIL": ("trail_amount", "trail_percent"),
}
"""The prices that mean something, by order type."""
_ALL_PRICES = ("limit_price", "stop_price", "trail_amount", "trail_percent")


def action_of(text: str) -> Action:
    """BUY, BOT -> buy; SELL, SLD, SSHORT -> sell."""
    return Action.BUY if text.upper().startswith("B") else Action.SELL


def terms_of_told(fact: OrderEchoed | OrderCompleted) -> OrderTerms:
    """What the broker tells of an order, in the words of an intent."""
    return OrderTerms(
        contract=fact.contract,
        action=action_of(fact.action),
        quantity=fact.quantity,
        order_type=fact.order_type,
        limit_price=fact.limit_price,
        stop_price=fact.stop_price,
        trail_amount=fact.trail_amount,
        trail_percent=fact.trail_percent,
        tif=fact.tif,
        outside_rth=fact.outside_rth,
        oca_group=fact.oca_group,
    )


def compare(intent: OrderTerms, echo: OrderTerms, *, may_shrink: bool = False) -> tuple[Drift, ...]:
    """The fields in which the echo differs from the intent; empty when it says the same to the market.

    `may_shrink`: the broker may have reduced the quantity, for a fill elsewhere in its group.
    """
    found: list[Drift] = []

    def differ(field: str, intended: object, echoed: object) -> None:
        if intended != echoed:
            found.append(Drift(field=field, intended=str(intended), echoed=str(echoed)))

    if intent.contract.con_id and echo.contract.con_id:
        differ("con_id", intent.contract.con_id, echo.contract.con_id)
    elif intent.contract.symbol and echo.contract.symbol:
        differ("symbol", intent.contract.symbol, echo.contract.symbol)
    differ("action", intent.action.value, echo.action.value)
    if not (may_shrink and echo.quantity < intent.quantity):
        differ("quantity", intent.quantity, echo.quantity)
    differ("order_type", intent.order_type, echo.order_type)
    if intent.order_type == echo.order_type:
        for field in PRICES_OF_TYPE.get(intent.order_type, _ALL_PRICES):
            differ(field, _price(getattr(intent, field)), _price(getattr(echo, field)))
    differ("tif", intent.tif, echo.tif)
    differ("outside_rth", intent.outside_rth, echo.outside_rth)
    if intent.oca_group:
        differ("oca_group", intent.oca_group, echo.oca_group)
    return tuple(found)


def compare_names(*, account: str, ref: str, echo_account: str, echo_ref: str) -> tuple[Drift, ...]:
    """Differences in the account and the order ref."""
    found: list[Drift] = []
    if account and echo_account != account:
        found.append(Drift(field="account", intended=account, echoed=echo_account))
    if echo_ref != ref:
        found.append(Drift(field="order_ref", intended=ref, echoed=echo_ref))
    return tuple(found)


def is_severe(drift: tuple[Drift, ...]) -> bool:
    """Whether the order must not live on as the broker holds it."""
    return any(one.field in SEVERE for one in drift)


def _price(value: Decimal | None) -> Decimal | None:
    """Unset prices come as nothing or as zero."""
    return value or None
